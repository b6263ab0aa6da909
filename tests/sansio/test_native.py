"""The C module: when it is used, and that whatever it takes for plain is what Python makes of it."""

import contextlib
import gc
import importlib.util
import os
import subprocess
import sys
import weakref
from collections import defaultdict
from collections.abc import Iterator
from enum import Enum
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
from webfw.sansio.http1 import Chunked, HeadLimits, RequestHead, encode_head, parse_head, status_line
from webfw.sansio.http1 import body as body_module
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


@built
def test_a_build_of_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "REVISION", native_module.REVISION - 1)
    assert native_module._choose(None) is None
    with pytest.raises(ImportError, match="other sources: install webfw"):
        native_module._choose("1")
    monkeypatch.delattr(native, "REVISION")
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
    b"GET / HTTP/1.1\r\r",
    b"GET / HTTP/1.1 \n",
    b"GET / HTTP/1.2\r\n",
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

    def test_nothing_before_the_beginning_is_read(self) -> None:
        whole = LINES[0] + FIELDS[0] + b"\r\n"
        behind: Any = memoryview(whole * 2)[len(whole) :]
        assert in_c(behind) is not None
        assert in_c(behind, -len(whole)) is None

    def test_no_host_is_no_empty_host(self) -> None:
        assert in_c(LINES[0] + b"\r\n", hosts={""}) is None
        assert in_c(LINES[0] + b"Host:\r\n\r\n", hosts={""}).host == ""

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

    @pytest.mark.parametrize("octet", range(256))
    def test_every_octet(self, octet: int) -> None:
        """In each part of a head: what C does not take, Python refuses too, or it ends the part."""
        it = bytes((octet,))
        method = b"G" + it + b"T / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        target = b"GET /" + it + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        name = b"GET / HTTP/1.1\r\nHost: localhost\r\nX" + it + b"Y: x\r\n\r\n"
        value = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + it + b"y\r\n\r\n"
        for data in (method, target, name, value):
            if agree(data):
                continue
            with pytest.raises(RemoteProtocolError):
                parse_head(data, 0, 0, LIMITS)
        for at, word in enumerate(b"content-length"):
            spelled = bytearray(b"content-length")
            spelled[at] = octet
            data = b"POST / HTTP/1.1\r\nHost: localhost\r\n" + spelled + b": 7\r\n\r\n"
            assert not agree(data) or (in_c(data).content_length == 7) == (octet | 32 == word and it != b"\r")

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
        head = LINES[0] + FIELDS[0] + b"\r\n"
        for arguments in (
            (RequestHead, "text", 0, 1, 1, 1, set()),
            (RequestHead, b"", 0, 1, 1, 1, set()),
            (RequestHead, memoryview(head * 2)[::2], 0, 999, 9, 9, set()),
            (RequestHead, head, "0", 999, 9, 9, set()),
            (RequestHead, head, 0, 2.5, 9, 9, set()),
            (RequestHead, head, -1, 999, 9, 9, set()),
            (RequestHead, head, -sys.maxsize - 1, 999, 9, 9, set()),
            (RequestHead, head, sys.maxsize, 999, 9, 9, set()),
            (RequestHead, head, 2**70, 999, 9, 9, set()),
            (RequestHead, head, 0, -1, -1, -1, set()),
        ):
            assert function(*arguments) is None
        with pytest.raises(TypeError):
            function(RequestHead, head, 0, 999, 9, 9, 5)  # what is to know the hosts
        for kind in (object, int, lambda: None):
            with pytest.raises(AttributeError):
                function(kind, head, 0, 999, 9, 9, {"localhost"})


@built
def test_limits_larger_than_any_size_are_limits() -> None:
    head = parse_head(
        LINES[0] + FIELDS[0] + b"\r\n", 0, 0, HeadLimits(max_header_size=2**70, max_fields=2**70)
    )
    assert head is not None
    assert head.host == "localhost"


@built
def test_functions_outlive_their_module() -> None:
    """What the functions need is there as long as one of them is, also when the garbage collector has come by."""
    assert native is not None
    spec = importlib.util.spec_from_file_location(native.__name__, native.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module is not native
    function = module.plain_head
    module.itself = module
    gone = weakref.ref(module)
    del module
    gc.collect()
    assert gone() is not None  # a function has its module
    assert function(RequestHead, LINES[0] + FIELDS[0] + b"\r\n", 0, 999, 9, 9, {"localhost"}).method == "GET"
    del function
    gc.collect()
    assert gone() is None


@built
def test_nothing_is_left_behind() -> None:
    """Neither by what is plain nor by what is not, nor by what goes wrong half-way."""
    assert native is not None

    class Half:
        __slots__ = ("host", "method")

    head = b"PUT /path HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\nX-Y: z\r\n\r\n"
    names = {"Host": "Host", "X-Long-Name": "X-Long-Name"}
    block = "Host: localhost\r\nX-Long-Name: a value\r\n"
    bodies: list[Any] = [b"body", b"", "no body", 5]
    messages: list[Any] = [[("Name", "value")] * 9, (("a", "b"),), {"A": "b"}.items(), [("a",)], [5], 5]
    blocks: list[Any] = [
        block,
        block + "Host: b\r\n",
        block + "Other: c\r\n",
        block + "no line",
        "\xe9",
        "\ud800",
        5,
    ]

    def each() -> None:
        for kind, data in ((RequestHead, head), (RequestHead, head[:-2]), (Half, head), (object, head)):
            for hosts in ({"localhost"}, set[str](), 5):
                with contextlib.suppress(AttributeError, TypeError):
                    native.plain_head(kind, data, 0, 999, 9, 99, hosts)
        for fields in messages:
            for body in bodies:
                native.plain_message("HTTP/1.1 200 OK", fields, body)
        for one in blocks:
            native.plain_fields(one, names)
            native.plain_fields(one, 5)
            native.raw_fields(one)
        for key in (b"1234", b"123", "1234"):
            for payload in (b"", b"payload", "payload"):
                with contextlib.suppress(ValueError, TypeError):
                    native.apply_mask(key, payload)

    each()
    gc.collect()
    kept = [names["X-Long-Name"], RequestHead, native]
    counts = [sys.getrefcount(one) for one in kept]
    before = sys.getallocatedblocks()
    for _ in range(300):
        each()
    gc.collect()
    assert sys.getallocatedblocks() - before < 200
    assert [sys.getrefcount(one) for one in kept] == counts


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
@pytest.mark.usefixtures("pure")
@pytest.mark.parametrize("octet", range(256))
def test_every_octet_of_a_message(octet: int) -> None:
    it = chr(octet)
    for line, field in (
        (f"x{it}y", ("a", "b")),
        ("x", (f"a{it}b", "c")),
        ("x", ("a", f"b{it}c")),
        ("x", ("a", it)),
    ):
        wanted = encoded(line, [field], b"")
        known = native.plain_message(line, [field], b"")  # type: ignore[union-attr]
        assert known == (wanted if octet < 128 and isinstance(wanted, bytes) else None)


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


class Shown(str, Enum):  # noqa: UP042  # a StrEnum is shown as what it is
    """Text that is shown as other text."""

    NAME = "X-Name"
    VALUE = "value"


@pytest.mark.parametrize("twin", ["native", "pure"])
def test_a_message_of_enumerations(twin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if twin == "pure":
        monkeypatch.setattr(encode_module, "_plain_message", None)
    line = status_line(200, Shown.VALUE)
    assert encode_head(line, [(Shown.NAME, Shown.VALUE)]) == b"HTTP/1.1 200 value\r\nX-Name: value\r\n\r\n"


@pytest.mark.parametrize("fields", [{"A": "b", "C": "\xe9"}.items(), iter([("A", "b"), ("C", "\xe9")])])
def test_what_can_be_read_only_once_is_read_once(fields: Any) -> None:
    assert encode_head("x", fields) == b"x\r\nA: b\r\nC: \xe9\r\n\r\n"


@built
def test_nobodys_code_runs_in_c() -> None:
    """What could run some, Python has: it decides what an exception means, and whether to read again."""

    class Broken:
        def __iter__(self) -> Iterator[tuple[str, str]]:
            raise KeyboardInterrupt

    class Pair(tuple[str, str]):
        __slots__ = ()

    class Body(bytes):
        pass

    plain_message = native.plain_message  # type: ignore[union-attr]
    many = type("Many", (list,), {})([("a", "b")])
    for fields in (Broken(), iter([("a", "b")]), {"a": "b"}.keys(), many, [Pair(("a", "b"))], {("a", "b")}):
        assert plain_message("x", fields, b"") is None
    assert plain_message(Shown.VALUE, [], b"") is None
    assert plain_message("x", [(Shown.NAME, "b")], b"") is None
    assert plain_message("x", [("a", Shown.VALUE)], b"") is None
    assert plain_message("x", [], Body(b"")) is None
    assert plain_message("x", (("a", "b"),), b"") == b"x\r\na: b\r\n\r\n"


@built
def test_a_room_is_filled_to_its_end() -> None:
    plain_message = native.plain_message  # type: ignore[union-attr]
    for fields in ([], [("A", "b")], [("Name", "value")] * 40):
        rest = len(encode_head("", fields))
        for size in range(4090 - rest, 4100 - rest):
            line = "x" * size
            wanted = encode_head(line, fields, b"body")
            assert plain_message(line, fields, b"body") in (None, wanted)
            for name, value in ((line, "v"), ("N", line), (line, "")):
                wanted = encode_head("l", [*fields, (name, value)])
                assert plain_message("l", [*fields, (name, value)], b"") in (None, wanted)


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
    for odd in (
        5,
        b"",
        "\xe9: a\r\n",
        "Host: \xe9\r\n",
        "Host: \ud800\r\n",
        "\n",
        "\r\n",
        "Host\r\n",
        "Host: a\r",
    ):
        assert native.plain_fields(odd, headers_module._names) is None  # type: ignore[union-attr]
    assert native.plain_fields(block, 5) is None  # type: ignore[union-attr]
    assert native.plain_fields("Host: a\r\n", defaultdict(str)) is None  # type: ignore[union-attr]
    assert HTTPHeaders.from_fields(block + "Host: b\r\n").get_list("Host") == ["a", "b"]


# --- chunks ---

CHUNKS = st.lists(
    st.one_of(
        st.builds(lambda size: b"%x\r\n%b\r\n" % (size, b"x" * size), st.integers(0, 20)),
        st.sampled_from(
            [
                b"1\r\na\r\n",
                b"001\r\nb\r\n",
                b"A\r\n0123456789\r\n",
                b"1;a=b\r\nc\r\n",
                b"1\r\ncd\r\n",
                b"1\r\nd\n",
            ]
        ),
        st.sampled_from(
            [
                b"0000001\r\ne\r\n",
                b"00000001\r\nf\r\n",
                b"fffffff\r\n",
                b"1\n",
                b"\r\n",
                b"g\r\n",
                b"1 \r\nh\r\n",
            ]
        ),
    ),
    max_size=6,
).map(b"".join)


def decoded(data: bytes, max_size: int | None) -> tuple[Any, ...]:
    decoder = Chunked(max_size)
    try:
        payload, end = decoder.receive(data, 0)
    except RemoteProtocolError as error:
        return error.status, str(error)
    return payload, end, decoder.size, decoder.done, decoder._state, decoder._left, decoder._held


@built
@settings(max_examples=400)
@given(CHUNKS, st.one_of(st.none(), st.integers(0, 30)), st.integers(0, 200))
def test_chunks_in_c_are_those_of_python(data: bytes, max_size: int | None, cut: int) -> None:
    for given_data in (data, data[:cut]):
        in_c = decoded(given_data, max_size)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(body_module, "_plain_chunks", None)
            assert in_c == decoded(given_data, max_size)


@built
def test_plain_chunks_are_taken() -> None:
    plain_chunks = native.plain_chunks  # type: ignore[union-attr]
    many = b"1\r\na\r\n" * 1000 + b"3\r\nbcd\r\n"
    assert plain_chunks(many + b"0\r\n\r\n", 0, 9999) == (b"a" * 1000 + b"bcd", len(many))
    assert plain_chunks(many, 0, 1002) == (b"a" * 1000, 6000)
    assert plain_chunks(many, 6, 3) == (b"aaa", 24)
    assert plain_chunks(bytearray(b"xx2\r\nab\r\n"), 2, 9) == (b"ab", 9)
    for size in range(8):
        assert plain_chunks(b"2\r\nab\r\n"[:size], 0, 9) == ((b"ab", 7) if size == 7 else (b"", 0))
    assert plain_chunks(many, len(many), 9) == (b"", len(many))
    assert plain_chunks(many, 0, -1) == (b"", 0)
    for start in (-1, len(many) + 1):
        with pytest.raises(ValueError, match="start"):
            plain_chunks(many, start, 9)
    for arguments in ((many, 0), ("text", 0, 9), (many, "0", 9), (many, 0, None)):
        with pytest.raises(TypeError):
            plain_chunks(*arguments)
