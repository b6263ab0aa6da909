import copy
import datetime
import io
import subprocess
import sys
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

import webfw.options
from webfw.options import Error, OptionParser

D = datetime.timedelta


@pytest.fixture
def parser():
    return OptionParser()


def parse(parser: OptionParser, *arguments: str) -> list[str]:
    return parser.parse_command_line(["program", *arguments])


def parse_one(text: str, **definition: Any) -> Any:
    parser = OptionParser()
    parser.define("name", **definition)
    parse(parser, f"--name={text}")
    return parser.name


# --- defining ---


def test_access(parser):
    parser.define("my-port", default=5, type=int)
    assert parser.my_port == parser["my-port"] == parser["my_port"] == 5
    parser.my_port = 6
    assert parser.my_port == 6
    parser["my-port"] = 7
    assert parser.my_port == 7
    assert "my_port" in parser
    assert "my-port" in parser
    assert "other" not in parser
    assert 5 not in parser
    assert list(parser) == ["help", "my-port"]
    assert parser.items() == [("help", None), ("my-port", 7)]
    assert parser.as_dict() == {"help": None, "my-port": 7}


def test_unknown_names(parser):
    for attempt in (lambda: parser.other, lambda: parser["other"], lambda: setattr(parser, "other", 1)):
        with pytest.raises(AttributeError, match="Unrecognized option 'other'"):
            attempt()
    with pytest.raises(AttributeError):
        parser["other"] = 1


def test_can_be_copied(parser):
    parser.define("a", 1)
    other = copy.copy(parser)
    assert other.a == 1


def test_type_from_default(parser):
    parser.define("number", 5)
    parser.define("text")
    parser.define("numbers", [1], multiple=True)
    parser.define("texts", multiple=True)
    parse(parser, "--number=6", "--text=7", "--numbers=2,3", "--texts=4,5")
    assert parser.as_dict() == {
        "help": None,
        "number": 6,
        "text": "7",
        "numbers": [2, 3],
        "texts": ["4", "5"],
    }


def test_defaults_of_multiple_options_are_not_shared(parser):
    default = ["a"]
    parser.define("empty", multiple=True)
    parser.define("some", default, multiple=True)
    assert parser.empty == []
    parser.some.append("b")
    assert default == ["a"]


def test_defined_twice(parser):
    parser.define("my-port")
    with pytest.raises(Error, match="'my-port' already defined in .*test_options.py .*test_options.py"):
        parser.define("my_port")


def test_defined_twice_names_both_files(parser, tmp_path):
    files = [tmp_path / "one.py", tmp_path / "two.py"]
    exec(compile("define('x')", str(files[0]), "exec"), {"define": parser.define})
    with pytest.raises(Error) as caught:
        exec(compile("define('x')", str(files[1]), "exec"), {"define": parser.define})
    assert all(str(file) in str(caught.value) for file in files)


def test_groups(parser):
    parser.define("a", 1, group="app")
    parser.define("b_c", 2, group="app")
    parser.define("d", 3)
    assert parser.groups() == {"", "app", __file__}
    assert parser.group_dict("app") == {"a": 1, "b_c": 2}
    assert parser.group_dict(__file__) == {"d": 3}
    assert parser.group_dict("") == parser.as_dict()
    assert parser.group_dict("none") == {}


# --- the command line ---


def test_forms(parser):
    parser.define("port", 1)
    assert parse(parser, "--port=2") == []
    assert parser.port == 2
    parse(parser, "-port=3")
    assert parser.port == 3
    assert parse(parser, "--port=4", "file", "--port=5") == ["file", "--port=5"]
    assert parser.port == 4
    assert parse(parser, "--port=6", "--", "--port=7") == ["--port=7"]
    assert parser.port == 6
    assert parser.parse_command_line([]) == []


def test_dashes_and_underscores(parser):
    parser.define("log_file-name", "")
    for argument in ("--log-file-name=x", "--log_file_name=x", "--log_file-name=x"):
        parser.log_file_name = ""
        parse(parser, argument)
        assert parser.log_file_name == "x"


def test_sys_argv(parser, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", "--a=b=c", "rest"])
    parser.define("a")
    assert parser.parse_command_line() == ["rest"]
    assert parser.a == "b=c"


def test_missing_value(parser):
    parser.define("port", 1)
    with pytest.raises(Error, match="Option 'port' requires a value"):
        parse(parser, "--port", "5")


@pytest.mark.parametrize(
    "argument", ["--other=1", "--other", "-", "--no-port", "--no-flag=true", "--no-flags"]
)
def test_unknown_argument_prints_help(parser, capsys, argument):
    parser.define("port", 1)
    parser.define("flag", False)
    parser.define("flags", type=bool, multiple=True)
    with pytest.raises(Error, match="Unrecognized command line option"):
        parse(parser, argument)
    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--flag", True),
        ("--flag=", True),
        ("--flag=true", True),
        ("--flag=1", True),
        ("--flag=YES", True),
        ("--flag=on", True),
        ("--flag=false", False),
        ("--flag=0", False),
        ("--flag=F", False),
        ("--flag=no", False),
        ("--flag=off", False),
        ("--no-flag", False),
        ("--no_flag", False),
    ],
)
def test_flags(parser, argument, expected):
    parser.define("flag", not expected)
    parse(parser, argument)
    assert parser.flag is expected


def test_an_option_may_be_called_no_something(parser):
    parser.define("flag", True)
    parser.define("no-flag", False)
    parse(parser, "--no-flag")
    assert (parser.flag, parser.no_flag) == (True, True)


def test_help(parser, capsys):
    parser.define("port", 1)
    with pytest.raises(SystemExit) as caught:
        parse(parser, "--help")
    assert caught.value.code == 0
    assert "--port" in capsys.readouterr().err
    parse(parser, "--help=false")


# --- values ---


def test_plain_types():
    assert parse_one("é", type=str) == "é"
    assert parse_one("é", type=bytes) == b"\xc3\xa9"
    assert parse_one("-5", type=int) == -5
    assert parse_one("1.5", type=float) == 1.5
    assert parse_one("1j", type=complex) == 1j
    assert parse_one("a", type=lambda text: text * 2) == "aa"


@pytest.mark.parametrize("kind", [int, float, bool, complex, datetime.datetime, datetime.timedelta])
def test_unreadable_values(kind):
    with pytest.raises(Error, match=f"Option 'name': cannot read 'junk' as {kind.__name__}") as caught:
        parse_one("junk", type=kind)
    assert isinstance(caught.value, ValueError)


def test_unreadable_value_of_a_function_without_name():
    class Reader:
        def __call__(self, text):
            raise ValueError("never")

        def __repr__(self):
            return "a reader"

    with pytest.raises(Error, match="cannot read 'x' as a reader \\(never\\)"):
        parse_one("x", type=Reader())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2", [1, 2]),
        ("1:3,7,9:9", [1, 2, 3, 7, 9]),
        ("5:", [5]),
        ("-2:1", [-2, -1, 0, 1]),
    ],
)
def test_integers(text, expected):
    assert parse_one(text, type=int, multiple=True) == expected


@pytest.mark.parametrize("text", ["3:1", "1:2:3", ":3", "", "1,,2", "0:1000000000000"])
def test_bad_integers(text):
    with pytest.raises(Error, match="'name'"):
        parse_one(text, type=int, multiple=True)


def test_several_of_other_types():
    assert parse_one("a,b:c,,d", multiple=True) == ["a", "b:c", "", "d"]
    assert parse_one("1h,2m", type=D, multiple=True) == [D(hours=1), D(minutes=2)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", D(seconds=90)),
        ("1h30m", D(minutes=90)),
        (" 1 h 30 min ", D(minutes=90)),
        ("1.5h", D(minutes=90)),
        (".5h", D(minutes=30)),
        ("5.h", D(hours=5)),
        ("1w2d", D(days=9)),
        ("1 week 2 days", D(days=9)),
        ("10ms5us", D(milliseconds=10, microseconds=5)),
        ("-1h30m", D(minutes=-30)),
        ("1h-30m", D(minutes=30)),
        ("+45", D(seconds=45)),
        ("1e3", D(seconds=1000)),
        ("1 minute", D(minutes=1)),
        ("2 seconds", D(seconds=2)),
    ],
)
def test_durations(text, expected):
    assert parse_one(text, type=D) == expected


@pytest.mark.parametrize("text", ["", "h", "1x", "1M", "1h x", "1:00", "1e99", "1h, 2m", "٣s"])
def test_bad_durations(text):
    with pytest.raises(Error, match="cannot read"):
        parse_one(text, type=D)


@given(
    st.dictionaries(st.sampled_from(["w", "d", "h", "m", "s", "ms", "us"]), st.integers(0, 1000), min_size=1),
    st.sampled_from(["", " "]),
)
def test_durations_add_up(parts, blank):
    text = blank.join(f"{number}{blank}{unit}" for unit, number in parts.items())
    units = dict(  # noqa: C408
        w="weeks", d="days", h="hours", m="minutes", s="seconds", ms="milliseconds", us="microseconds"
    )
    assert parse_one(text, type=D) == D(**{units[unit]: number for unit, number in parts.items()})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-02", (2024, 1, 2)),
        ("2024-01-02 03:04", (2024, 1, 2, 3, 4)),
        ("2024-01-02 03:04:05", (2024, 1, 2, 3, 4, 5)),
        ("2024-01-02T03:04", (2024, 1, 2, 3, 4)),
        ("2024-01-02T03:04:05Z", (2024, 1, 2, 3, 4, 5, 0, datetime.UTC)),
        ("20240102", (2024, 1, 2)),
        ("20240102 03:04", (2024, 1, 2, 3, 4)),
        ("20240102 03:04:05", (2024, 1, 2, 3, 4, 5)),
        ("03:04", (1900, 1, 1, 3, 4)),
        ("03:04:05", (1900, 1, 1, 3, 4, 5)),
        ("Tue Jan  2 03:04:05 2024", (2024, 1, 2, 3, 4, 5)),
    ],
)
def test_dates(text, expected):
    assert parse_one(text, type=datetime.datetime) == datetime.datetime(*expected)


# --- setting ---


def test_setting_checks_types(parser):
    parser.define("port", 1)
    parser.define("ports", type=int, multiple=True)
    parser.define("ratio", 1.0)
    with pytest.raises(Error, match="'port' is required to be a int \\(<class 'str'> given\\)"):
        parser.port = "1"
    for bad in (5, (1,), ["a"]):
        with pytest.raises(Error, match="'ports' is required to be a list of int"):
            parser.ports = bad
    parser.ports = [1, None]
    parser.port = None
    assert parser.port is None
    parser.ratio = 2
    assert type(parser.ratio) is float


def test_setting_options_of_a_function_type(parser):
    parser.define("any", type=lambda text: text)
    parser.any = 5
    assert parser.any == 5


def test_callbacks(parser, tmp_path):
    seen = []
    parser.define("a", type=int, callback=seen.append)
    parser.define("b", type=int, multiple=True, callback=seen.append)
    parse(parser, "--a=1", "--b=2,3")
    parser.a = 4
    file = tmp_path / "config.py"
    file.write_text("b = [5]")
    parser.parse_config_file(str(file))
    assert seen == [1, [2, 3], 4, [5]]


def test_parse_callbacks_run_after_the_last_source(parser, tmp_path):
    seen = []
    parser.define("a", 1)
    parser.add_parse_callback(lambda: seen.append(parser.a))
    file = tmp_path / "config.py"
    file.write_text("a = 3")
    parser.parse_command_line(["program", "--a=2"], final=False)
    parser.parse_config_file(str(file), final=False)
    assert seen == []
    parse(parser, "--a=4")
    assert seen == [4]
    parser.parse_config_file(str(file))
    assert seen == [4, 3]
    parser.run_parse_callbacks()
    assert seen == [4, 3, 3]


# --- files ---


@pytest.fixture
def configure(parser, tmp_path):
    parser.define("port", 1)
    parser.define("my-name", "")
    parser.define("ports", type=int, multiple=True)
    parser.define("words", multiple=True)
    parser.define("flag", False)
    parser.define("duration", type=D)
    parser.define("when", type=datetime.datetime)
    path = tmp_path / "config.py"

    def run(source: str | bytes) -> dict[str, Any]:
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        parser.parse_config_file(str(path))
        return parser.as_dict()

    return run


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        ("port = 80", "port", 80),
        ("port = '80'", "port", 80),
        ("port = None", "port", None),
        ("my_name = 'é☃'", "my-name", "é☃"),
        ("ports = [1, 2]", "ports", [1, 2]),
        ("ports = '1,3:5'", "ports", [1, 3, 4, 5]),
        ("words = 'a,b'", "words", ["a", "b"]),
        ("flag = 'no'", "flag", False),
        ("flag = True", "flag", True),
        ("duration = '1h30m'", "duration", D(minutes=90)),
        ("from datetime import *\nwhen = datetime(2024, 1, 2)", "when", datetime.datetime(2024, 1, 2)),
        ("import os\nmy_name = os.path.basename(__file__)", "my-name", "config.py"),
        ("unknown = 5\nport = 81", "port", 81),
        (b"# coding: latin-1\nmy_name = '\xe9'", "my-name", "é"),
    ],
)
def test_config_files(configure, source, name, expected):
    assert configure(source)[name] == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("port = 1.5", "'port' is required to be a int \\(<class 'float'> given\\) in .*config.py"),
        ("port = 'x'", "'port': cannot read 'x' as int .* in .*config.py"),
        ("ports = 5", "'ports' is required to be a list of int or a comma-separated string in .*config.py"),
        ("ports = ['1']", "'ports' is required to be a list of int"),
        ("words = ['a', 5]", "'words' is required to be a list of str"),
        ("my_name = b'x'", "'my-name' is required to be a str"),
        ("flag = 0", "'flag' is required to be a bool"),
    ],
)
def test_bad_values_in_config_files(configure, source, message):
    with pytest.raises(Error, match=message):
        configure(source)


def test_bad_config_files(configure, parser, tmp_path):
    with pytest.raises(SyntaxError) as caught:
        configure("port = (")
    assert caught.value.filename == str(tmp_path / "config.py")
    with pytest.raises(ZeroDivisionError):
        configure("1/0")
    with pytest.raises(FileNotFoundError):
        parser.parse_config_file(str(tmp_path / "missing.py"))


def test_later_sources_win(configure, parser):
    parse(parser, "--port=5")
    assert configure("port = 6")["port"] == 6
    parse(parser, "--port=7")
    assert parser.port == 7


# --- help ---


def test_print_help(parser, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program"])
    parser.define("zeta", 5, help="the last one", group="main")
    parser.define("alpha", metavar="NAME", help="a long help text " * 5, group="main")
    parser.define("a_name_too_long_for_its_column", metavar="X", help="below", group="main")
    parser.define("quiet", "", group="main")
    output = io.StringIO()
    parser.print_help(output)
    assert output.getvalue() == (
        "Usage: program [OPTIONS]\n"
        "\n"
        "Options:\n"
        "\n"
        "  --help                           show this help information\n"
        "\n"
        "main options:\n"
        "\n"
        "  --a-name-too-long-for-its-column=X\n"
        "                                   below\n"
        "  --alpha=NAME                     a long help text a long help text a long\n"
        "                                   help text a long help text a long help text\n"
        "  --quiet\n"
        "  --zeta                           the last one (default 5)\n"
        "\n"
    )


# --- mocking ---


def test_mockable(parser):
    parser.define("a", 1)
    with mock.patch.object(parser.mockable(), "a", 5):
        assert parser.a == 5
    assert parser.a == 1
    mockable = parser.mockable()
    with mock.patch.object(mockable, "a", 5):
        with mock.patch.object(mockable, "a", 6):
            assert (parser.a, mockable.a) == (6, 6)
        assert parser.a == 5
    assert parser.a == 1
    with pytest.raises(AttributeError):
        del mockable.a
    with pytest.raises(AttributeError):
        mockable.other = 1


# --- the global parser ---


def test_global_functions():
    code = """
import sys
from webfw.options import *
from webfw.options import options
define("port", 1, help="the port", multiple=False, group="mine")
seen = []
add_parse_callback(lambda: seen.append(options.port))
open(sys.argv[1], "w").write("port = 3")
assert parse_command_line(["program", "--port=2", "--logging=none", "x"]) == ["x"]
parse_config_file(sys.argv[1])
assert seen == [2, 3], seen
assert options.group_dict("mine") == {"port": 3}
assert options.log_rotate_mode == "size"
print_help()
print_help(sys.stdout)
"""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [sys.executable, "-c", code, f"{directory}/config.py"], capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == done.stdout
    assert "webfw/log.py options:" in done.stdout.replace("\\", "/")
    assert "--port" in done.stdout


def test_global_parser_has_the_logging_options():
    assert webfw.options.options.logging == "info"
    assert "log_file_prefix" in webfw.options.options
