"""The page on limits has every limit there is, with its default: what the records and the table of settings say."""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from webfw.cli.settings import SETTINGS
from webfw.httpserver import HTTPServer, Limits
from webfw.httputil.forms import ParseMultipartConfig, ParseUrlEncodedConfig
from webfw.sansio.http1 import HeadLimits
from webfw.sansio.multipart import MultipartLimits
from webfw.websocket.settings import ConnectionSettings
from webfw.wsgi import WSGIContainer

PAGE = (Path(__file__).resolve().parent.parent / "docs/topics/limits.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| ")
]

# What is no limit, and what is said in words.
NO_LIMITS = {"head", "enabled"}
IN_WORDS = {
    "max_connections": "by the limit on open files",
    "ping_interval": "none",
    "ping_timeout": "the interval",
}

SECONDS = ("_timeout", "_grace", "timeout")


def shown(name: str, value: Any) -> str:
    """A default as the page writes it."""
    if value is None:
        return "none"
    if isinstance(value, (bool, str)):
        return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"
    if name.endswith(SECONDS):
        return f"{value:g} s" if value else "0: any time"
    if name.endswith("_rate"):
        return f"{value} B/s"
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if (value >= 2 * size and not value % size) or value == size:
            return f"{value // size} {unit}"
    return str(value) if value else "0: any number"


def row_of(name: str) -> list[str]:
    found = [row for row in ROWS if f"`{name}`" in row[:2] or row[0].startswith(f"`{name}`")]
    assert found, f"docs/topics/limits.md does not know {name}"
    return found[0]


RECORDS = [
    *((Limits, field.name, getattr(Limits(), field.name)) for field in dataclasses.fields(Limits)),
    *(
        (HeadLimits, field.name, getattr(Limits().head, field.name))
        for field in dataclasses.fields(HeadLimits)
    ),
    *(
        (ParseMultipartConfig, field.name, field.default)
        for field in dataclasses.fields(ParseMultipartConfig)
    ),
    *(
        (ParseUrlEncodedConfig, field.name, field.default)
        for field in dataclasses.fields(ParseUrlEncodedConfig)
    ),
]


@pytest.mark.parametrize(
    ("name", "default"), [(name, default) for _, name, default in RECORDS if name not in NO_LIMITS]
)
def test_limits_of_the_server(name: str, default: Any) -> None:
    expected = IN_WORDS.get(name) or shown(name, default)
    row = row_of(name)
    assert any(cell.startswith(expected) for cell in row), f"{name} is {expected}"


@pytest.mark.parametrize("field", dataclasses.fields(MultipartLimits), ids=lambda field: str(field.name))
def test_limits_of_forms(field: Any) -> None:
    name = "max_part_header_size" if field.name == "max_header_size" else field.name
    expected = str(field.default) if name == "max_name_length" else shown(name, field.default)
    assert expected in row_of(name)


@pytest.mark.parametrize("field", dataclasses.fields(ConnectionSettings), ids=lambda field: str(field.name))
def test_limits_of_websockets(field: Any) -> None:
    expected = IN_WORDS.get(field.name) or shown(field.name, field.default)
    assert expected in row_of(f"websocket_{field.name}")


@pytest.mark.parametrize("name", ["max_waiting", "request_timeout", "max_response_backlog"])
def test_limits_of_wsgi(name: str) -> None:
    default = inspect.signature(WSGIContainer.__init__).parameters[name].default
    assert shown(name, default) in row_of(name)


LIMITING = [
    setting
    for setting in SETTINGS.values()
    if setting.section == "Limits"
    or setting.name.endswith("timeout")
    or re.match(r"(max|min)_(?!.*_jitter)|(threads|backlog)$", setting.name)
]


@pytest.mark.parametrize("setting", LIMITING, ids=lambda setting: str(setting.name))
def test_settings_of_serve(setting: Any) -> None:
    flag = "--" + setting.name.replace("_", "-")
    assert f"`{flag}`" in PAGE
    rows = [row for row in ROWS if f"`{flag}`" in row]
    if rows and setting.default is not None and setting.name not in ("max_requests", "max_memory"):
        assert any(cell.startswith(shown(setting.name, setting.default)) for cell in rows[0])


def test_parameters_of_the_server() -> None:
    """What the page calls the same is the same; what it gives another name has that."""
    parameters = inspect.signature(HTTPServer.initialize).parameters
    fields = {field.name for field in dataclasses.fields(Limits)} | {
        f.name for f in dataclasses.fields(HeadLimits)
    }
    for row in ROWS:
        name = row[0].strip("`")
        if len(row) == 6 and name in fields:
            parameter = name if row[1] == "same" else row[1].strip("`")
            assert (parameter in parameters) if parameter else (name not in parameters), name
