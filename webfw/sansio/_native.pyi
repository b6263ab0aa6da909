"""What the C module offers, where it has been built."""

from collections.abc import Container, Iterable
from typing import TypeVar

_Head = TypeVar("_Head")

REVISION: int

def apply_mask(key: bytes | bytearray | memoryview, payload: bytes | bytearray | memoryview, /) -> bytes: ...
def plain_head(
    kind: type[_Head],
    data: bytes,
    start: int,
    max_size: int,
    max_fields: int,
    max_target: int,
    hosts: Container[str],
    /,
) -> _Head | None: ...
def plain_message(first_line: str, fields: Iterable[tuple[str, str]], body: bytes, /) -> bytes | None: ...
def plain_fields(block: str, names: dict[str, str], /) -> dict[str, str] | None: ...
def raw_fields(block: str, /) -> list[tuple[bytes, bytes]] | None: ...
def plain_chunks(data: bytes | bytearray | memoryview, start: int, room: int, /) -> tuple[bytes, int]: ...
