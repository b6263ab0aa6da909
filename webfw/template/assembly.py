"""Which files and blocks make up a page: inheritance and inclusion, by a loader; makes no code."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from webfw.template.errors import ParseError
from webfw.template.lexer import Code
from webfw.template.nodes import Block, File, Include, walk

if TYPE_CHECKING:
    from webfw.template.loader import BaseLoader

__all__ = ["Assembly", "Blocks"]

#: The block that counts for every name.
Blocks: TypeAlias = Mapping[str, Block]


class Assembly:
    """Finds the files a page is made of.

    :param loader: where included and extended files come from; None when the page has no loader.
    """

    def __init__(self, loader: "BaseLoader | None") -> None:
        self._loader = loader

    def load(self, name: str, by: File, at: Code, word: str) -> File:
        """Return the file that directive `word` of file `by` names; its line is noted on whatever is raised.

        :raises ParseError: when there is no loader; and whatever the loader raises for a file it does not
            have.
        """
        if self._loader is None:
            raise ParseError(f"{{% {word} %}} needs a template loader, and there is none", by.name, at.line)
        try:
            return self._loader.load(name, by.name).file
        except ParseError as exc:
            if not exc.lineno:
                exc.filename, exc.lineno = by.name, at.line
            else:
                exc.add_note(f"({word} at {by.name}:{at.line})")
            raise
        except Exception as exc:
            exc.add_note(f"({word} at {by.name}:{at.line})")
            raise

    def lineage(self, file: File) -> list[File]:
        """Return the files `file` is descended from, itself last."""
        files = [file]
        while file.extends is not None:
            name, at = file.extends
            parent = self.load(name, file, at, "extends")
            if parent in files:
                raise ParseError(f"template {name!r} extends itself", file.name, at.line)
            files.append(parent)
            file = parent
        files.reverse()
        return files

    def blocks(self, lineage: list[File]) -> Blocks:
        """Return for every name the last block defined with it, from the oldest file to the youngest."""
        found: dict[str, Block] = {}
        for file in lineage:
            self._collect(file, found)
        return found

    def _collect(self, file: File, found: dict[str, Block]) -> None:
        for node in walk(file.body):
            if isinstance(node, Block):
                found[node.name] = node
            elif isinstance(node, Include):
                included = self.load(node.name, file, node.at, "include")
                if included.extends is None:  # otherwise its blocks are a page of their own
                    self._collect(included, found)
