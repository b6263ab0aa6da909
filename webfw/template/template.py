"""`Template`: one page, from its text to its bytes; the steps between are other modules."""

import ast
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from webfw.escape import to_unicode
from webfw.template import sources
from webfw.template.nodes import File
from webfw.template.parser import parse
from webfw.template.program import Program
from webfw.template.runtime import NAMESPACE, Piece, escaper, join
from webfw.template.whitespace import MODES, default_mode

if TYPE_CHECKING:
    from webfw.template.loader import BaseLoader

__all__ = ["Template"]


class _Unset:
    """Marks an argument that was not given where None means something."""


_UNSET: Final = _Unset()


class Template:
    """A compiled template.

    :param template_string: its text, str or UTF-8 bytes.
    :param name: its name, for errors, for the default of `whitespace` and for relative names in ``include``
        and ``extends``.
    :param loader: where included and extended templates, the namespace and the defaults of the other
        parameters come from; see `Loader`.
    :param compress_whitespace: older form of `whitespace`: True for ``single``, False for ``all``.
    :param autoescape: name of the function (any expression) applied to every ``{{ }}`` of this file, or
        None for none; default ``xhtml_escape``. It is called with UTF-8 bytes and returns str or bytes.
    :param whitespace: ``all``, ``single`` or ``oneline``, see `filter_whitespace`; by default ``single``
        when the name ends in ``.html`` or ``.js``, else ``all``.
    :raises ParseError: when the template, or one it extends or includes, is not well-formed; for invalid
        Python the error is a `SyntaxError` as well.
    :raises ValueError: for an unknown `whitespace`, or both `whitespace` and `compress_whitespace`.
    :raises UnicodeDecodeError: when bytes are not UTF-8.
    :raises TypeError: when `template_string` is neither str nor bytes.
    """

    def __init__(
        self,
        template_string: str | bytes,
        name: str = "<string>",
        loader: "BaseLoader | None" = None,
        compress_whitespace: bool | _Unset = _UNSET,
        autoescape: str | _Unset | None = _UNSET,
        whitespace: str | None = None,
    ) -> None:
        self.name: str = name
        if not isinstance(compress_whitespace, _Unset):
            if whitespace is not None:
                raise ValueError("whitespace and compress_whitespace exclude each other")
            whitespace = "single" if compress_whitespace else "all"
        if whitespace is None:
            whitespace = (loader.whitespace if loader is not None else None) or default_mode(name)
        if whitespace not in MODES:
            raise ValueError(f"unknown whitespace mode {whitespace!r}: it must be one of {', '.join(MODES)}")
        self.autoescape: str | None
        if not isinstance(autoescape, _Unset):
            self.autoescape = autoescape
        else:
            self.autoescape = loader.autoescape if loader is not None else "xhtml_escape"
        self.loader = loader
        #: Names known to the template besides the default ones; with a loader, the loader's own dict.
        self.namespace: dict[str, Any] = loader.namespace if loader is not None else {}
        path = loader.source_path(name) if loader is not None else None
        self.file = File(name, to_unicode(template_string), self.autoescape, path)
        parse(self.file, whitespace)
        self._program = Program(self.file, loader)
        #: The code object of the function the page became.
        self.compiled: CodeType = self._program.code
        self._module_name = name.replace(".", "_")

    @property
    def code(self) -> str:
        """The page as Python source, for reading."""
        return ast.unparse(self._program.tree)

    @property
    def is_async(self) -> bool:
        """Whether the page contains ``await``, so that only `generate_async` renders it."""
        return self._program.awaits is not None

    def generate(self, /, **kwargs: Any) -> bytes:
        """Render the page with `kwargs` as its variables and return UTF-8 bytes.

        Whatever an expression raises comes out of here, with a traceback through the template's own lines.

        :raises TypeError: when the page contains ``await``; use `generate_async` then.
        """
        if self._program.awaits is not None:
            file, line = self._program.awaits
            raise TypeError(
                f"template {self.name!r} contains 'await' ({file.name}:{line}):"
                " render it with 'await template.generate_async(...)'"
            )
        pieces: list[Piece] = []
        try:
            self._start(pieces, kwargs)
        except Exception:
            self._show_sources()
            raise
        return join(pieces)

    async def generate_async(self, /, **kwargs: Any) -> bytes:
        """Render the page as `generate` does, whether or not it contains ``await``."""
        if self._program.awaits is None:
            return self.generate(**kwargs)
        pieces: list[Piece] = []
        try:
            await self._start(pieces, kwargs)
        except Exception:
            self._show_sources()
            raise
        return join(pieces)

    def _start(self, pieces: list[Piece], arguments: dict[str, Any]) -> Any:
        """Call the page's function, which fills `pieces`; await the result of an asynchronous page."""
        names = {**NAMESPACE, "__name__": self._module_name, **self.namespace, **arguments}
        function = FunctionType(self.compiled, names)
        return function(pieces.append, pieces.extend, escaper(names["xhtml_escape"]), names["_tt_text"])

    def _show_sources(self) -> None:
        for filename, text in self._program.sources.items():
            sources.publish(filename, text)
