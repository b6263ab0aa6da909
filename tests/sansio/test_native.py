"""The C module: when it is used, and that whatever it takes for plain is what Python makes of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webfw import sansio
from webfw.httputil import HTTPHeaders
from webfw.httputil import headers as headers_module
from webfw.sansio import native as native_module
from webfw.sansio.errors import LocalProtocolError, RemoteProtocolError
from webfw.sansio.http1 import HeadLimits, RequestHead, encode_head, parse_head
from webfw.sansio.http1 import encode as encode_module
from webfw.sansio.http1 import head as head_module
from webfw.sansio.native import IMPLEMENTATION, native

ROOT = Path(__file__).resolve().parents[2]

built = pytest.mark.skipif(native is None, reason="not built")


# --- which one ---


def import_with(speedups: str | None, before: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "WEBFW_SPEEDUPS"}
    if speedups is not None:
        environment["WEBFW_SPEEDUPS"] = speedups
    code = (
        f"import sys\n{before}\n"
        "from webfw.sansio.native import IMPLEMENTATION\n"
        "from webfw.sansio.websocket.frames import apply_mask\n"
        "print(IMPLEMENTATION, type(apply_mask).__name__, 'webfw.sansio._native' in sys.modules)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=50
    )


NATIVE = "native builtin_function_or_method True\n"
PURE = "pure function False\n"
MISSING = "sys.modules['webfw.sansio._native'] = None"  # as if it had not been built


@built
@pytest.mark.parametrize(("speedups", "printed"), [(None, NATIVE), ("", NATIVE), ("0", PURE), ("1", NATIVE)])
def test_choice_where_it_has_been_built(speedups: str | None, printed: str) -> None:
    done = import_with(speedups)
    assert (done.stdout, done.stderr) == (printed, "")


@pytest.mark.parametrize("speedups", [None, "0"])
def test_choice_where_it_has_not_been_built(speedups: str | None) -> None:
    done = import_with(speedups, MISSING)
    assert (done.stdout.split()[:2], done.stderr) == (["pure", "function"], "")


def test_forced_where_it_has_not_been_built() -> None:
    done = import_with("1", MISSING)
    assert done.returncode == 1
    assert "ImportError: WEBFW_SPEEDUPS=1 " in done.stderr
    assert "pip install" in done.stderr


def test_the_choice_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process has; and that a choice is made from the variable alone."""
    assert native_module._choose(os.environ.get("WEBFW_SPEEDUPS")) is native
    assert native_module._choose("0") is None
    assert ("pure" if native is None else "native") == IMPLEMENTATION
    monkeypatch.delattr(sansio, "_native", raising=False)
    monkeypatch.setitem(sys.modules, "webfw.sansio._native", None)
    with pytest.raises(ImportError, match="pip install"):
        native_module._choose("1")
    assert native_module._choose(None) is None


# --- request heads ---

LIMITS = HeadLimits()

LINES = [
    b"GET / HTTP/1.1\r\n",
    b"POST /form?a=%20&b HTTP/1.1\r\n",
    b"HEAD /x HTTP/1.1\r\n",
    b"A-TOKEN!~ /" + b"x" * 40 + b" HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"CONNECT /a HTTP/1.1\r\n",
    b"GET http://b/ HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"GET /# HTTP/1.1\r\n",
    b"GET / HTTP/1.1\n",
    b"X" * 25 + b" / HTTP/1.1\r\n",
]
FIELDS = [
    b"Host: localhost\r\n",
    b"host:localhost\t \r\n",
    b"HOST: [::1]:80\r\n",
    b"Host: a,b\r\n",
    b"Accept: */*\r\n",
    b"X-Empty:\r\n",
    b"X-Text: \xe9\t\x80\r\n",
    b"Connection: Keep-Alive\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade, x\r\n",
    b"Connection:\r\n",
    b"Upgrade: websocket\r\n",
    b"Content-Length: 12\r\n",
    b"Content-Length: 000000000000000012\r\n",
    b"Content-Length: 0000000000000000012\r\n",
    b"Content-Length: +1\r\n",
    b"Content-Length:\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"X-Bad: a\x00b\r\n",
    b" folded\r\n",
    b"no colon\r\n",
    b": no name\r\n",
    b"X: bare\rcr\r\n",
    b"X: lf\n",
    b"Content_Length: 5\r\n",
    b"Hos: t\r\n",
    b"Transfer-Encodin\xe7: x\r\n",
]


@pytest.fixture
def pure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python alone."""
    monkeypatch.setattr(head_module, "_plain_head", None)
    monkeypatch.setattr(encode_module, "_plain_message", None)
    monkeypatch.setattr(headers_module, "_plain_fields", None)


def in_c(
    data: bytes | bytearray, start: int = 0, limits: HeadLimits = LIMITS, hosts: set[str] | None = None
) -> Any:
    return native.plain_head(  # type: ignore[union-attr]
        RequestHead,
        data,
        start,
        limits.max_header_size,
        limits.max_fields,
        limits.max_target,
        hosts or {"localhost"},
    )


def agree(data: bytes, start: int = 0, limits: HeadLimits = LIMITS) -> bool:
    """Whether C takes it, which must then be what Python makes of it."""
    known = in_c(data, start, limits)
    if known is None:
        return False
    wanted = parse_head(data, start, start, limits)
    assert {name: getattr(known, name) for name in RequestHead.__slots__} == {
        name: getattr(wanted, name) for name in RequestHead.__slots__
    }
    assert [type(getattr(known, name)) for name in RequestHead.__slots__] == [
        type(getattr(wanted, name)) for name in RequestHead.__slots__
    ]
    return True


@built
@pytest.mark.usefixtures("pure")
class TestHeads:
    @settings(max_examples=400)
    @given(
        st.sampled_from(LINES),
        st.lists(st.sampled_from(FIELDS), max_size=5),
        st.sampled_from([b"\r\n", b"\n", b"", b"\r"]),
        st.sampled_from([b"", b"GET / HT", b"\x00\r\n"]),
        st.sampled_from([b"", b"abc", b"\r\n"]),
        st.tuples(st.integers(0, 400), st.integers(0, 255), st.booleans()),
    )
    def test_what_c_takes_is_what_python_makes_of_it(
        self,
        line: bytes,
        fields: list[bytes],
        end: bytes,
        behind: bytes,
        before: bytes,
        change: tuple[int, int, bool],
    ) -> None:
        data = bytearray(before + line + b"".join(fields) + end + behind)
        at, octet, wanted = change
        if wanted and at < len(data):
            data[at] = octet
        agree(bytes(data), len(before))

    @pytest.mark.parametrize("line", LINES[:4])
    @pytest.mark.parametrize("field", [b"", *(FIELDS[n] for n in (4, 5, 6, 7, 8, 11, 12, 13, 25, 26))])
    def test_plain_ones_are_taken(self, line: bytes, field: bytes) -> None:
        for data in (line + FIELDS[0] + field + b"\r\n", line + field + FIELDS[1] + b"\r\nrest"):
            assert agree(data)
            assert agree(b"before" + data, 6)
            assert in_c(bytearray(data)).fields == in_c(data).fields

    @pytest.mark.parametrize("at", [*LINES[4:]])
    def test_other_lines_are_not(self, at: bytes) -> None:
        assert in_c(at + FIELDS[0] + b"\r\n") is None

    @pytest.mark.parametrize("field", [FIELDS[n] for n in (0, 2, 3, 9, 10, *range(14, 25), 27)])
    def test_other_fields_are_not(self, field: bytes) -> None:
        assert in_c(LINES[0] + FIELDS[0] + field + b"\r\n") is None

    def test_twice_what_may_come_once(self) -> None:
        for field in (FIELDS[0], FIELDS[7], FIELDS[12]):
            assert in_c(LINES[0] + (b"" if b"ost" in field else FIELDS[0]) + field * 2 + b"\r\n") is None

    def test_nothing_beyond_the_end_is_read(self) -> None:
        whole = LINES[1] + FIELDS[0] + FIELDS[12] + b"\r\n"
        for size in range(len(whole)):
            assert in_c(whole[:size]) is None
        assert in_c(whole) is not None
        assert in_c(whole, len(whole)) is None
        assert in_c(whole, len(whole) + 1) is None

    def test_limits(self) -> None:
        data = LINES[1] + FIELDS[0] + FIELDS[4] * 2 + b"\r\n"
        size, target = len(data), len(b"/form?a=%20&b")
        assert agree(data, limits=HeadLimits(max_header_size=size, max_fields=3, max_target=target))
        assert in_c(data, limits=HeadLimits(max_header_size=size - 1)) is None
        assert in_c(data, limits=HeadLimits(max_fields=2)) is None
        assert in_c(data, limits=HeadLimits(max_target=target - 1)) is None

    def test_a_host_is_looked_at_in_python_first(self) -> None:
        data = LINES[0] + b"Host: first.example\r\n\r\n"
        known = head_module._valid_hosts
        known.discard("first.example")
        assert in_c(data, hosts=known) is None
        assert parse_head(data, 0, 0, LIMITS) is not None
        assert in_c(data, hosts=known).host == "first.example"

    def test_data_may_grow_again(self) -> None:
        data = bytearray(LINES[0] + FIELDS[0] + b"\r\n")
        for _ in range(2):
            in_c(data)
            data += b"more"


@built
def test_a_fault_is_worded_in_python() -> None:
    with pytest.raises(RemoteProtocolError, match="no Host field"):
        parse_head(b"GET / HTTP/1.1\r\n\r\n", 0, 0, LIMITS)


@built
@pytest.mark.parametrize("name", ["plain_head", "plain_message", "plain_fields", "raw_fields"])
def test_wrong_arguments(name: str) -> None:
    function = getattr(native, name)
    with pytest.raises(TypeError, match="takes"):
        function(1, 2, 3, 4, 5, 6, 7, 8)
    if name == "plain_head":
        for arguments in (
            (RequestHead, "text", 0, 1, 1, 1, set()),
            (RequestHead, b"", "0", 1, 1, 1, set()),
            (RequestHead, LINES[0] + FIELDS[0] + b"\r\n", 0, 999, 9, 9, 5),
        ):
            with pytest.raises(TypeError):
                function(*arguments)
        assert function(RequestHead, b"", -1, 1, 1, 1, set()) is None


# --- messages into bytes ---

TEXTS = st.text(st.sampled_from("ab-\t ~:!\r\n\x00\x7f\x80\xe9\u2028\ud800"), max_size=6)


def encoded(line: str, fields: Any, body: bytes) -> bytes | str:
    try:
        return encode_head(line, fields, body)
    except LocalProtocolError as error:
        return str(error)


@built
@pytest.mark.usefixtures("pure")
@settings(max_examples=300)
@given(TEXTS, st.lists(st.tuples(TEXTS, TEXTS), max_size=4), st.binary(max_size=9))
def test_a_message_in_c_is_that_of_python(line: str, fields: list[tuple[str, str]], body: bytes) -> None:
    known = native.plain_message(line, fields, body)  # type: ignore[union-attr]
    assert known is None or known == encoded(line, fields, body)


@built
def test_plain_messages_are_taken() -> None:
    plain_message = native.plain_message  # type: ignore[union-attr]
    assert plain_message("HTTP/1.1 200 OK", [], b"") == b"HTTP/1.1 200 OK\r\n\r\n"
    fields = {"A": "b", "Set-Cookie": "", "X": " a\tb"}
    wanted = b"HTTP/1.1 200 OK\r\nA: b\r\nSet-Cookie: \r\nX:  a\tb\r\n\r\nbody"
    assert plain_message("HTTP/1.1 200 OK", fields.items(), b"body") == wanted
    for room in range(4030, 4100):
        known = plain_message("x", [("A", "b" * room)], b"")
        assert known is None or known == b"x\r\nA: " + b"b" * room + b"\r\n\r\n"
    assert plain_message("x", [("A", "b" * 4000)], b"") is not None
    assert plain_message("x", [("A", "b" * 5000)], b"") is None
    many = [("Name", "value")] * 600
    assert plain_message("x", many, b"") is None
    assert encode_head("x", many).count(b"\r\nName: value") == 600


@built
@pytest.mark.parametrize(
    ("line", "fields", "body"),
    [
        (b"x", [], b""),
        ("x", 5, b""),
        ("x", ["ab"], b""),
        ("x", [("a",)], b""),
        ("x", [("a", 5)], b""),
        ("x", [(5, "a")], b""),
        ("x", [("", "a")], b""),
        ("x", [], "text"),
    ],
)
def test_other_messages_are_not(line: Any, fields: Any, body: Any) -> None:
    assert native.plain_message(line, fields, body) is None  # type: ignore[union-attr]


@built
def test_what_goes_wrong_in_an_iterator_is_raised() -> None:
    class Broken:
        def __iter__(self) -> Iterator[tuple[str, str]]:
            yield "a", "b"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        native.plain_message("x", Broken(), b"")  # type: ignore[union-attr]


# --- field maps ---

BLOCKS = st.lists(
    st.tuples(
        st.sampled_from(["Host", "host", "X-A", "x-a", "Cookie", "caf\xe9", "A:B", "", " x"]),
        st.text(st.sampled_from("a: \t\r\x00\x80\xff"), max_size=6),
        st.sampled_from(["\r\n", "\r\n", "\n", "\r\r\n", ""]),
    ),
    max_size=5,
)


def mapped(block: str) -> dict[str, Any] | str:
    try:
        return HTTPHeaders.from_fields(block)._fields
    except Exception as error:
        return str(error)


@built
@pytest.mark.usefixtures("pure")
@settings(max_examples=300)
@given(BLOCKS)
def test_a_map_in_c_is_that_of_python(lines: list[tuple[str, str, str]]) -> None:
    block = "".join(f"{name}:{value}{end}" for name, value, end in lines)
    wanted = mapped(block)  # knows the names from now on
    known = native.plain_fields(block, headers_module._names)  # type: ignore[union-attr]
    assert known is None or (known == wanted and list(known) == list(wanted))


@built
def test_plain_maps_are_taken() -> None:
    block = "Host: a\r\nX-One:  b \t\r\nx-two:\r\n"
    HTTPHeaders.from_fields(block)
    known = native.plain_fields(block, headers_module._names)  # type: ignore[union-attr]
    assert known == {"Host": "a", "X-One": "b", "X-Two": ""}
    assert native.plain_fields("", {}) == {}  # type: ignore[union-attr]
    assert native.plain_fields(5, {}) is None  # type: ignore[union-attr]
    assert HTTPHeaders.from_fields(block + "Host: b\r\n").get_list("Host") == ["a", "b"]
