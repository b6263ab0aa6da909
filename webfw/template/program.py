"""The code of one page, ready to run: compiled, every function with its own file name."""

import ast
from types import CodeType
from typing import TYPE_CHECKING

from webfw.template.assembly import Assembly
from webfw.template.emit import MAIN, Emission
from webfw.template.errors import ParseError
from webfw.template.fragments import check
from webfw.template.nodes import File

if TYPE_CHECKING:
    from webfw.template.loader import BaseLoader

__all__ = ["Program"]


class Program:
    """One page compiled.

    Attributes: `code` of its function, `tree` it came from, `awaits` (file and line of the first ``await``
    or None), and `sources`: the texts, by file name, of those files of the page that are not on disk.

    :raises ParseError: when the page cannot be assembled or compiled.
    """

    def __init__(self, file: File, loader: "BaseLoader | None") -> None:
        assembly = Assembly(loader)
        try:
            emission = Emission(assembly, asynchronous=False, plain_html=True)
            emission.page(file)
            rebound = "xhtml_escape" in emission.bound
            if emission.awaits or rebound:
                emission = Emission(
                    assembly, asynchronous=emission.awaits is not None, plain_html=not rebound
                )
                emission.page(file)
            module = self._compile(emission, file)
        except RecursionError:
            raise ParseError("directives or expressions are nested too deeply", file.name, 1) from None
        self.tree: ast.Module = emission.tree
        self.awaits = emission.awaits
        code = next(c for c in module.co_consts if isinstance(c, CodeType) and c.co_name == MAIN)
        self.code = _entitled(code, file.filename, emission.titles)
        files = [file, *(owner for owner, _ in emission.titles.values())]
        self.sources = {owner.filename: owner.text for owner in files if not owner.on_disk}

    @staticmethod
    def _compile(emission: Emission, file: File) -> CodeType:
        try:
            return compile(emission.tree, file.filename, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as exc:
            check(emission.fragments)
            # The fault is in no single piece: too many loops inside each other, for one.
            message = exc.msg if isinstance(exc, SyntaxError) else str(exc)
            raise ParseError(message, file.name, getattr(exc, "lineno", None) or 1) from None


def _entitled(code: CodeType, filename: str, titles: dict[str, tuple[File, str]]) -> CodeType:
    """Return `code`, and the code inside it, with the file and function names tracebacks shall show."""
    title = code.co_name
    if title in titles:
        file, title = titles[title]
        filename = file.filename
    constants = tuple(
        _entitled(constant, filename, titles) if isinstance(constant, CodeType) else constant
        for constant in code.co_consts
    )
    return code.replace(co_filename=filename, co_name=title, co_consts=constants)
