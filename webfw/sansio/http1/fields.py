"""A field block as pairs of octets, as ASGI wants them; the map that handlers see is ``httputil.headers``."""

from webfw.sansio.native import native

__all__ = ["raw_fields"]

_raw_fields = None if native is None else native.raw_fields


def raw_fields(block: str) -> list[tuple[bytes, bytes]]:
    """The fields of a validated block in their order, each name in lower case, values without whitespace around them.

    :param block: `RequestHead.fields`.
    """
    if _raw_fields is not None and (known := _raw_fields(block)) is not None:
        return known  # type: ignore[no-any-return]
    pairs = []
    for line in block.encode("latin-1").split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            pairs.append((name.lower(), value.strip(b" \t")))
    return pairs
