"""How the manual is built: Sphinx with Markdown pages and a reference from the docstrings."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import webfw  # noqa: E402

project = "webfw"
author = "the webfw authors"
copyright = f"2026, {author}"
version = release = webfw.version

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
default_role = "any"
suppress_warnings = ["ref.any"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}

# The manual builds without a network; links to Python's own come back when the inventory is there.
intersphinx_mapping = {}

html_theme = "furo"
html_title = f"webfw {version}"
html_static_path = []
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0f766e", "color-brand-content": "#0f766e"},
    "dark_css_variables": {"color-brand-primary": "#2dd4bf", "color-brand-content": "#2dd4bf"},
}
