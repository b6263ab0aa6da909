"""Templates: text with directives in, bytes out; this page is the list of what the room offers.

Compatible with the template language of Tornado 6.6; ``docs/topics/templates.md`` is its manual.
"""

from webfw.template.errors import ParseError
from webfw.template.loader import BaseLoader, DictLoader, Loader
from webfw.template.template import Template
from webfw.template.whitespace import filter_whitespace

__all__ = ["BaseLoader", "DictLoader", "Loader", "ParseError", "Template", "filter_whitespace"]
