"""Where the values of settings come from, and what is said of wrong ones."""

from pathlib import Path
from typing import Any

import pytest

from webfw.cli.errors import CommandError
from webfw.cli.sources import Configuration, read_configuration


def read(
    tmp_path: Path,
    toml: str = "",
    environ: dict[str, str] | None = None,
    name: str = "webfw.toml",
    **flags: Any,
) -> Configuration:
    if toml:
        (tmp_path / name).write_text(toml)
    return read_configuration(flags, environ or {}, None, tmp_path)


def complaint(
    tmp_path: Path, toml: str = "", environ: dict[str, str] | None = None, name: str = "webfw.toml"
) -> str:
    with pytest.raises(CommandError) as info:
        read(tmp_path, toml, environ, name)
    assert info.value.status == 2
    return str(info.value).replace(f"{tmp_path}/", "")


def test_nobody_says_anything(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found["workers"] == 1
    assert found.origin("workers") == "default"
    assert not found.is_set("workers")
    assert found["bind"] == ["127.0.0.1:8000"]
    assert found.file is None
    assert found.apps == ()


def test_who_counts_before_whom(tmp_path: Path) -> None:
    toml = "workers = 2\ntimeout = 3\nthreads = 4\n"
    environ = {"WEBFW_TIMEOUT": "30", "WEBFW_THREADS": "40"}
    found = read(tmp_path, toml, environ, threads=400)
    assert (found["workers"], found["timeout"], found["threads"]) == (2, 30.0, 400)
    assert found.origin("workers") == f"{tmp_path}/webfw.toml:1"
    assert found.origin("timeout") == "WEBFW_TIMEOUT"
    assert found.origin("threads") == "--threads"
    assert found.file == tmp_path / "webfw.toml"


def test_a_table_of_pyproject(tmp_path: Path) -> None:
    toml = '[project]\nname = "x"\nworkers = 9\n\n[tool.webfw]\nlog-level = "debug"\nbind = ["unix:/x", "8000"]\n'
    found = read(tmp_path, toml, name="pyproject.toml")
    assert found["log_level"] == "debug"
    assert found["bind"] == ["unix:/x", "8000"]
    assert found.origin("log_level") == f"{tmp_path}/pyproject.toml:6"


def test_a_pyproject_without_that_table_is_no_file_of_ours(tmp_path: Path) -> None:
    assert read(tmp_path, '[project]\nname = "x"\n', name="pyproject.toml").file is None


def test_webfw_toml_counts_before_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.webfw]\nworkers = 7\n")
    assert read(tmp_path, "workers = 2\n")["workers"] == 2


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_file_that_is_named(tmp_path: Path, by: str) -> None:
    (tmp_path / "webfw.toml").write_text("workers = 2\n")
    (tmp_path / "other.toml").write_text("workers = 3\n")
    environ = {"WEBFW_CONFIG": "other.toml"} if by == "variable" else {}
    file = "other.toml" if by == "flag" else None
    assert read_configuration({}, environ, file, tmp_path)["workers"] == 3


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nosuch\.toml: no such file or directory"):
        read_configuration({}, {}, "nosuch.toml", tmp_path)


def test_port_of_the_environment(tmp_path: Path) -> None:
    found = read(tmp_path, environ={"PORT": "5000"})
    assert (found["bind"], found.origin("bind")) == ([":5000"], "PORT")
    assert read(tmp_path, environ={"PORT": "5000", "WEBFW_BIND": "a:1, b:2"})["bind"] == ["a:1", "b:2"]
    assert complaint(tmp_path, environ={"PORT": "many"}).startswith("PORT: ")


# --- what is wrong, and where ---


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        ("\n# a comment\nworker = 2\n", "webfw.toml:3: there is no setting 'worker'; did you mean workers?"),
        ("nothing-like-it = 2\n", "webfw.toml:1: there is no setting 'nothing-like-it'"),
        (
            "workers = 'many'\n",
            "webfw.toml:1: workers: a whole number, 0 to 1024, or auto is wanted, not 'many'",
        ),
        (
            "timeout = 1\nworkers = true\n",
            "webfw.toml:2: workers: a whole number, 0 to 1024, or auto is wanted, not True",
        ),
        (
            "bind = ['nowhere']\n",
            "webfw.toml:1: bind: bind address 'nowhere' has no port: write nowhere:PORT",
        ),
        ("[limits]\nmax_body_size = 1\n", "webfw.toml:1: there is no setting 'limits'"),
        (
            "[webfw]\nworkers = 2\n",
            "webfw.toml:1: there is no table [webfw]: write the settings without it, at the top of the file",
        ),
        ("webfw = 2\n", "webfw.toml:1: there is no setting 'webfw'"),
        ("workers = = 2\n", "webfw.toml:1: invalid value"),
        ("[[apps]]\napp = 'a:b'\nhots = 'x'\n", "webfw.toml:3: apps have no 'hots'; did you mean host?"),
        ("[[apps]]\napp = 'a:b'\n[[apps]]\napp = 5\n", "webfw.toml:4: app: a text is wanted, not 5"),
        ("[apps]\napp = 'a:b'\n", "webfw.toml:1: apps is an array of tables: write [[apps]]"),
        ("apps = 5\n", "webfw.toml:1: apps is an array of tables: write [[apps]]"),
    ],
)
def test_a_file_with_a_mistake(tmp_path: Path, toml: str, text: str) -> None:
    assert complaint(tmp_path, toml) == text


def test_a_mistake_in_pyproject(tmp_path: Path) -> None:
    toml = "[tool.other]\nworkers = 'x'\n[tool.webfw]\ntimeout = 3\nworkers = 'x'\n"
    assert complaint(tmp_path, toml, name="pyproject.toml").startswith("pyproject.toml:5: workers: ")
    assert (
        complaint(tmp_path, "[tool]\nwebfw = 5\n", name="pyproject.toml")
        == "pyproject.toml: [tool.webfw] is no table"
    )


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "webfw.toml").write_bytes(b"workers = \xff")
    assert complaint(tmp_path) == "webfw.toml: it is not UTF-8 (byte 10)"


def test_a_file_as_deep_as_a_well(tmp_path: Path) -> None:
    toml = "bind = " + "[" * 5000 + "]" * 5000
    assert complaint(tmp_path, toml) == "webfw.toml: its values are nested too deep"


@pytest.mark.parametrize("mask", ["1000", "8", "-1"])
def test_a_mask_that_is_none(tmp_path: Path, mask: str) -> None:
    assert "an octal number" in complaint(tmp_path, environ={"WEBFW_UMASK": mask})


def test_nowhere_to_listen(tmp_path: Path) -> None:
    assert complaint(tmp_path, environ={"WEBFW_BIND": ""}).startswith("WEBFW_BIND: a list of 1 or more")
    assert complaint(tmp_path, "bind = []").startswith("webfw.toml:1: bind: a list of 1 or more")


def test_a_wrong_variable(tmp_path: Path) -> None:
    text = complaint(tmp_path, environ={"WEBFW_WORKERS": "1025"})
    assert text == "WEBFW_WORKERS: a whole number, 0 to 1024, or auto is wanted, not 1025"


def test_a_variable_that_is_no_setting_is_only_noticed(tmp_path: Path) -> None:
    environ = {"WEBFW_WORKER": "2", "WEBFW_LOOP": "asyncio", "OTHER": "x"}
    assert read(tmp_path, environ=environ).warnings == (
        "WEBFW_WORKER is no setting; did you mean WEBFW_WORKERS?",
    )


# --- several applications ---


def test_applications_by_host_and_path(tmp_path: Path) -> None:
    toml = """\
workers = 2

[[apps]]
app = "shop:app"
host = "shop.example"

[[apps]]
app = "admin.wsgi:application"
path = "/admin"
threads = 4
"""
    found = read(tmp_path, toml)
    first, second = found.apps
    assert first == {"app": "shop:app", "host": "shop.example", "origin": f"{tmp_path}/webfw.toml:3"}
    assert second["threads"] == 4
    assert second["origin"] == f"{tmp_path}/webfw.toml:7"


def test_applications_in_pyproject(tmp_path: Path) -> None:
    toml = "[[tool.webfw.apps]]\napp = 'a:b'\npath = 5\n"
    assert (
        complaint(tmp_path, toml, name="pyproject.toml") == "pyproject.toml:3: path: a text is wanted, not 5"
    )
