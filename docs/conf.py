"""How the manual is built: Sphinx with Markdown pages and a reference from the docstrings."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import webfw
from webfw.cli.settings import SETTINGS

project = "webfw"
author = "the webfw authors"
copyright = f"2026, {author}"
version = release = webfw.version

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "reference/_settings.md"]
default_role = "any"
suppress_warnings = ["ref.any"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # those of asyncio refer to pages of another manual
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


def skip_what_is_pythons(app, what, name, obj, skip, options):
    """Leave out what a module only passes on from the standard library, such as TimeoutError."""
    module = getattr(obj, "__module__", None) or ""
    return True if what == "module" and isinstance(obj, type) and not module.startswith("webfw") else skip


def write_settings(app):
    """Make what reference/configuration.md includes from the table of settings, so that the two cannot differ."""
    path = Path(__file__).resolve().parent / "reference" / "_settings.md"
    text = "\n".join(reference_of_settings()) + "\n"
    if (
        not path.exists() or path.read_text(encoding="utf-8") != text
    ):  # a new time would have the page made anew
        path.write_text(text, encoding="utf-8")


def reference_of_settings():
    """The lines of the reference: a heading for each section, an entry for each setting."""
    section = None
    for setting in SETTINGS.values():
        if setting.section != section:
            section = setting.section
            yield from ("", f"## {section}")
        help = setting.help[:1].upper() + setting.help[1:]
        default = "" if setting.default is None else f", default `{setting.show(setting.default)}`"
        values = (
            f"`{setting.kind.metavar}`: {setting.kind.wanted.rstrip(',')}"
            if setting.kind.metavar
            else setting.kind.wanted
        )
        yield from ("", f"`{setting.name}`", f": {help}.", "")
        yield f"  `{setting.flag}` · `{setting.variable}` · {values}{default}" + (
            "" if setting.reloads else " · *taken only at a start*"
        )


def setup(app):
    app.connect("builder-inited", write_settings)
    app.connect("autodoc-skip-member", skip_what_is_pythons)
