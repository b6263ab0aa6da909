"""Bodies of requests as browsers make them: forms, forms with files, JSON; nothing is sent from here."""

import mimetypes
import uuid
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from webfw.escape import json_encode, utf8

__all__ = ["File", "Pairs", "encode_body", "pairs_of"]

#: Names and values: a dictionary, whose values may be lists, or pairs.
Pairs = Mapping[str, Any] | Iterable[tuple[str, Any]]
#: A file to be sent: its content; or its name and content; or these and its type.
File = bytes | str | tuple[str, bytes | str] | tuple[str, bytes | str, str]

# What a browser writes for characters that would end the parameter (WHATWG HTML, "multipart/form-data").
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


def pairs_of(pairs: Pairs) -> list[tuple[str, Any]]:
    """Names and values one by one: a list among the values of a dictionary stands for several of that name."""
    if not isinstance(pairs, Mapping):
        return list(pairs)
    found: list[tuple[str, Any]] = []
    for name, value in pairs.items():
        found.extend((name, one) for one in (value if isinstance(value, (list, tuple)) else [value]))
    return found


def encode_body(
    body: bytes | str | None, json: Any, form: Pairs | None, files: Mapping[str, Any] | None
) -> tuple[bytes | None, str | None]:
    """Encode what was given of these; return the body and its Content-Type, None where there is none.

    :param json: anything `json_encode` takes; ``...`` where there is no such body, since None is one.
    :raises ValueError: more than one of them was given (a form may have files).
    """
    if (body is not None) + (json is not ...) + (form is not None or files is not None) > 1:
        raise ValueError("a request has one body: body, json, or form and files")
    if files is not None:
        return _multipart(pairs_of(form or ()), files)
    if form is not None:
        return urlencode(pairs_of(form)).encode("ascii"), "application/x-www-form-urlencoded"
    if json is not ...:
        return json_encode(json).encode("utf-8"), "application/json"
    return utf8(body), None


def _multipart(form: list[tuple[str, Any]], files: Mapping[str, Any]) -> tuple[bytes, str]:
    """Encode fields and files (RFC 7578)."""
    boundary = uuid.uuid4().hex
    parts: list[bytes] = []

    def add(disposition: str, content: bytes, content_type: str | None) -> None:
        kind = f"\r\nContent-Type: {content_type}" if content_type else ""
        head = f"--{boundary}\r\nContent-Disposition: form-data; {disposition}{kind}\r\n\r\n"
        parts.extend((head.encode("utf-8"), content, b"\r\n"))

    for name, value in form:
        add(
            f'name="{name.translate(_ESCAPES)}"',
            value if isinstance(value, bytes) else utf8(str(value)),
            None,
        )
    for name, file in files.items():
        for one in file if isinstance(file, list) else [file]:
            filename, content, content_type = _file(name, one)
            disposition = f'name="{name.translate(_ESCAPES)}"; filename="{filename.translate(_ESCAPES)}"'
            add(disposition, content, content_type)
    parts.append(f"--{boundary}--\r\n".encode("ascii"))
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _file(name: str, file: File) -> tuple[str, bytes, str]:
    if not isinstance(file, tuple):
        file = (name, file)
    filename, content = file[0], utf8(file[1])
    guessed = mimetypes.guess_type(filename)[0] or "application/octet-stream"
    return filename, content, file[2] if len(file) == 3 else guessed
