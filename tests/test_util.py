import datetime
import gc
import gzip
import sys
import unittest
import warnings
import weakref
import zlib
from functools import partial, wraps
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import webfw.util
from webfw.util import (
    ArgReplacer,
    Configurable,
    GzipDecompressor,
    ObjectDict,
    doctests,
    errno_from_exception,
    exec_in,
    import_object,
    raise_exc_info,
    re_unescape,
    timedelta_to_seconds,
)

# --- names ---


def test_type_names():
    assert webfw.util.unicode_type is str
    assert webfw.util.basestring_type is str
    assert webfw.util.bytes_type is bytes
    assert webfw.util.TimeoutError is TimeoutError


def test_doctests_pass():
    suite = doctests()
    assert suite.countTestCases() >= 2
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun >= 2
    assert result.wasSuccessful(), result.failures


# --- ObjectDict ---


def test_object_dict():
    data = ObjectDict(a=1)
    data.b = 2
    data["c"] = 3
    assert (data.a, data["b"], data.c) == (1, 2, 3)
    assert data == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(AttributeError, match="missing"):
        data.missing  # noqa: B018


# --- import_object, exec_in, exceptions ---


def test_import_object():
    assert import_object("webfw") is webfw
    assert import_object("webfw.util") is webfw.util
    assert import_object("webfw.util.import_object") is import_object
    assert import_object("os.path.join").__name__ == "join"


@pytest.mark.parametrize("name", ["no_such_module_x", "webfw.no_such", "no_such_module_x.name"])
def test_import_object_missing(name):
    with pytest.raises(ImportError, match="no_such"):
        import_object(name)


def test_import_object_imports_submodules_and_reports_their_own_failures(tmp_path, monkeypatch):
    package = tmp_path / "imported_by_test_util"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "fine.py").write_text("value = 5")
    (package / "broken.py").write_text("import a_module_nobody_has")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert import_object("imported_by_test_util.fine").value == 5
    with pytest.raises(ImportError, match="a_module_nobody_has"):
        import_object("imported_by_test_util.broken")
    for name in [name for name in sys.modules if name.startswith("imported_by_test_util")]:
        monkeypatch.delitem(sys.modules, name)


def test_exec_in():
    namespace: dict[str, Any] = {}
    exec_in("a = 1\nb = lambda: a", namespace)
    assert namespace["b"]() == 1
    local: dict[str, Any] = {}
    exec_in(compile("c = a + 1", "<test>", "exec"), namespace, local)
    assert local == {"c": 2}


def test_raise_exc_info_keeps_the_traceback():
    try:
        raise ValueError("first")
    except ValueError:
        info = sys.exc_info()
    with pytest.raises(ValueError, match="first") as caught:
        raise_exc_info(info)
    assert caught.value is info[1]
    assert any(entry.name.startswith("test_raise") for entry in caught.traceback)


def test_raise_exc_info_without_exception():
    with pytest.raises(TypeError):
        raise_exc_info((None, None, None))


def test_raise_exc_info_leaves_no_cycle():
    class Marked(Exception):
        pass

    def fail():
        try:
            raise_exc_info((Marked, Marked(), None))
        except Marked as error:
            return weakref.ref(error)

    gc.disable()
    try:
        assert fail()() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(2, "x"), 2),
        (Exception(5), 5),
        (Exception("a", "b"), "a"),
        (Exception(), None),
        (OSError(), None),
    ],
)
def test_errno_from_exception(error, expected):
    assert errno_from_exception(error) == expected


def test_timedelta_to_seconds():
    assert timedelta_to_seconds(datetime.timedelta(hours=1, milliseconds=500)) == 3600.5


# --- re_unescape ---


@given(st.text())
def test_re_unescape_undoes_escape(text):
    import re

    assert re_unescape(re.escape(text)) == text


@pytest.mark.parametrize("text", [r"\d", r"\0", r"a\bb"])
def test_re_unescape_refuses(text):
    with pytest.raises(ValueError, match="cannot unescape"):
        re_unescape(text)


def test_re_unescape_examples():
    assert re_unescape(r"\/a\.b\_") == "/a.b_"
    assert re_unescape("\\\n") == "\n"


# --- Configurable ---


@pytest.fixture
def family():
    class Base(Configurable):
        @classmethod
        def configurable_base(cls):
            return Base

        @classmethod
        def configurable_default(cls):
            return First

        def initialize(self, a=None, b=None):
            self.a, self.b = a, b

    class First(Base):
        def initialize(self, position=None, **kwargs):
            super().initialize(**kwargs)
            self.position = position

    class Second(Base):
        def initialize(self, other=None, **kwargs):
            super().initialize(**kwargs)
            self.other = other

    class Inner(First):
        @classmethod
        def configurable_base(cls):
            return Inner

        @classmethod
        def configurable_default(cls):
            return InnerFirst

    class InnerFirst(Inner):
        pass

    class InnerSecond(Inner):
        pass

    return ObjectDict(
        Base=Base, First=First, Second=Second, Inner=Inner, InnerFirst=InnerFirst, InnerSecond=InnerSecond
    )


def test_configurable_default(family):
    made = family.Base()
    assert type(made) is family.First
    assert made.a is None
    assert family.Base(7, a=1).position == 7
    assert type(family.Second()) is family.Second


def test_configurable_class_and_arguments(family):
    family.Base.configure(family.Second, a=5)
    assert type(family.Base()) is family.Second
    assert family.Base().a == 5
    assert family.Base(a=6, other=1).a == 6
    assert family.Base().other is None
    # Saved arguments belong to the base, not to the implementation.
    assert family.Second().a is None
    assert family.First().a is None
    assert family.Base.configured_class() is family.Second
    assert family.First.configured_class() is family.Second


def test_configurable_none_keeps_default_with_arguments(family):
    family.Base.configure(None, a=9)
    assert type(family.Base()) is family.First
    assert family.Base().a == 9
    family.Base.configure(None)
    assert family.Base().a is None


def test_configurable_by_name(family, monkeypatch):
    monkeypatch.setattr(webfw.util, "_ImplementationForTest", family.Second, raising=False)
    family.Base.configure("webfw.util._ImplementationForTest", b=2)
    assert type(family.Base()) is family.Second
    assert family.Base().b == 2
    with pytest.raises(ImportError):
        family.Base.configure("webfw.util.no_such_class")


@pytest.mark.parametrize("bad", [int, object, 5])
def test_configurable_refuses_strangers(family, bad):
    with pytest.raises(ValueError, match="Invalid subclass"):
        family.Base.configure(bad)


def test_configurable_hierarchy(family):
    assert type(family.Inner()) is family.InnerFirst
    family.Inner.configure(family.InnerSecond, a=3)
    assert type(family.Inner()) is family.InnerSecond
    assert type(family.Base()) is family.First
    # A base that is the implementation of another base makes its own choice.
    family.Base.configure(family.Inner, b=4)
    made = family.Base()
    assert type(made) is family.InnerSecond
    assert (made.a, made.b) == (3, 4)
    assert (family.Inner().a, family.Inner().b) == (3, None)
    assert family.Base(a=10).a == 10
    family.Base.configure(family.Inner, a=20)
    assert family.Base().a == 20


def test_configurable_base_that_is_its_own_default():
    class Alone(Configurable):
        @classmethod
        def configurable_base(cls):
            return Alone

        @classmethod
        def configurable_default(cls):
            return Alone

    assert type(Alone()) is Alone


def test_configurable_save_and_restore(family):
    family.Base.configure(family.Second, a=1)
    saved = family.Base._save_configuration()
    family.Base.configure(None)
    family.Base._restore_configuration(saved)
    assert type(family.Base()) is family.Second
    assert family.Base().a == 1


def test_configurable_itself_is_abstract():
    with pytest.raises(NotImplementedError):
        Configurable()
    with pytest.raises(NotImplementedError):
        Configurable.configurable_default()


# --- ArgReplacer ---


def example(x, y, callback=None, *rest, z=None):
    return x, y, callback, rest, z


@pytest.mark.parametrize(
    ("name", "position"), [("x", 0), ("callback", 2), ("z", None), ("rest", None), ("q", None)]
)
def test_arg_replacer_position(name, position):
    replacer = ArgReplacer(example, name)
    assert (replacer.name, replacer.arg_pos) == (name, position)


def test_arg_replacer_positional():
    replacer = ArgReplacer(example, "callback")
    arguments = (1, 2, "old", 4)
    assert replacer.get_old_value(arguments, {}) == "old"
    assert replacer.replace("new", arguments, {"z": 5}) == ("old", [1, 2, "new", 4], {"z": 5})
    assert arguments == (1, 2, "old", 4)


def test_arg_replacer_keyword():
    replacer = ArgReplacer(example, "callback")
    assert replacer.get_old_value((1,), {"callback": "old", "y": 2}) == "old"
    assert replacer.replace("new", (1,), {"callback": "old"}) == ("old", (1,), {"callback": "new"})


def test_arg_replacer_absent():
    replacer = ArgReplacer(example, "callback")
    assert replacer.get_old_value((1, 2), {}) is None
    assert replacer.get_old_value((1, 2), {}, "default") == "default"
    assert replacer.replace("new", (1, 2), {}) == (None, (1, 2), {"callback": "new"})


def test_arg_replacer_methods_and_partials():
    class Thing:
        def method(self, a, callback=None):
            pass

    assert ArgReplacer(Thing.method, "callback").arg_pos == 2
    assert ArgReplacer(Thing().method, "callback").arg_pos == 1
    assert ArgReplacer(partial(example, 1), "callback").arg_pos == 1

    @wraps(example)
    def wrapper(*args, **kwargs):
        return example(*args, **kwargs)

    assert ArgReplacer(wrapper, "callback").arg_pos is None


def test_arg_replacer_unknown_signature():
    with pytest.raises(TypeError, match="unsupported callable"):
        ArgReplacer(dict, "x")


# --- GzipDecompressor ---


def decode_in_pieces(data: bytes, size: int, max_length: int) -> bytes:
    decompressor = GzipDecompressor()
    output = []
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        while piece:
            chunk = decompressor.decompress(piece, max_length)
            assert not max_length or len(chunk) <= max_length
            output.append(chunk)
            piece = decompressor.unconsumed_tail
    output.append(decompressor.flush())
    return b"".join(output)


@given(
    st.lists(st.binary(max_size=300) | st.just(b"a" * 5000), max_size=6),
    st.integers(1, 400),
    st.integers(0, 200),
)
def test_gzip_any_members_any_pieces(members, size, max_length):
    data = b"".join(gzip.compress(member) for member in members)
    assert decode_in_pieces(data, size, max_length) == b"".join(members)


def test_gzip_limit_spans_members():
    data = gzip.compress(b"abc") * 3
    decompressor = GzipDecompressor()
    assert decompressor.decompress(data, 5) == b"abcab"
    assert decompressor.decompress(decompressor.unconsumed_tail, 5) == b"cabc"
    assert decompressor.unconsumed_tail == b""
    assert decompressor.flush() == b""


def test_gzip_nothing_is_fine():
    decompressor = GzipDecompressor()
    assert decompressor.flush() == b""
    assert decompressor.decompress(b"", 10) == b""
    assert decompressor.flush() == b""


@pytest.mark.parametrize("junk", [b"junk", b"\0\0\0", b"\x1f\x8c123"])
def test_gzip_trailing_garbage(junk):
    decompressor = GzipDecompressor()
    with pytest.raises(zlib.error, match="not a gzip stream"):
        decompressor.decompress(gzip.compress(b"abc") + junk, 0)
    decompressor = GzipDecompressor()
    assert decompressor.decompress(gzip.compress(b"abc"), 0) == b"abc"
    with pytest.raises(zlib.error):
        decompressor.decompress(junk, 0)


@pytest.mark.parametrize("data", [b"not gzip at all", zlib.compress(b"abc")])
def test_gzip_other_formats(data):
    with pytest.raises(zlib.error):
        GzipDecompressor().decompress(data, 0)


def test_gzip_checksum():
    data = gzip.compress(b"abc")
    with pytest.raises(zlib.error, match="incorrect data check"):
        GzipDecompressor().decompress(data[:-8] + bytes(8), 0)


@pytest.mark.parametrize("cut", range(1, 22))
def test_gzip_truncation(cut):
    data = gzip.compress(b"abc")
    for complete in (b"", data):
        decompressor = GzipDecompressor()
        decompressor.decompress(complete + data[:-cut], 0)
        with pytest.raises(zlib.error, match="truncated"):
            decompressor.flush()


def test_gzip_tail_must_be_used():
    decompressor = GzipDecompressor()
    decompressor.decompress(gzip.compress(b"a" * 100), 10)
    with pytest.raises(ValueError, match="unconsumed_tail"):
        decompressor.flush()


def test_gzip_bad_limits():
    with pytest.raises(ValueError, match="negative"):
        GzipDecompressor().decompress(b"", -1)
    with pytest.warns(DeprecationWarning, match="max_length"):
        assert GzipDecompressor().decompress(gzip.compress(b"abc")) == b"abc"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GzipDecompressor().decompress(gzip.compress(b"abc"), 0)


def test_gzip_many_tiny_members_are_linear(monkeypatch):
    """zlib copies what follows a member; count the bytes it is given instead of measuring time."""
    given_bytes = 0
    original = zlib.decompressobj

    class Counting:
        def __init__(self, wbits):
            self.inner = original(wbits)

        def decompress(self, data, limit):
            nonlocal given_bytes
            given_bytes += len(data)
            return self.inner.decompress(data, limit)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    data = gzip.compress(b"") * 5000
    assert GzipDecompressor().decompress(data, 0) == b""
    assert given_bytes <= 5000 * 512
