"""The same bytes to a site under Tornado and under webfw: no difference that is not listed with a reason.

Tornado runs as a program in a process of its own and is only looked at from outside.
"""

import ast
import asyncio
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.cases import cases, logged, tries
from tests.compat.differences import DEFECTS, DIFFERENCES, LOGGED, LOGGED_DEFECTS, Logged, unexplained
from tests.compat.talk import Case, Outcome, talk

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FRAMEWORKS = ("tornado", "webfw")
#: Connections to one server at a time.
AT_ONCE = 8
#: The modification time of every file of the site: Thu, 04 Mar 2021 05:06:07 GMT.
MODIFIED = 1614834367

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tornado") is None, reason="tornado is not installed (dependency group test)"
)

Outcomes = dict[str, tuple[Outcome, Outcome]]


def names_of_tries() -> list[str]:
    """The keys of TRIES in tries.py, which only a framework's process can import."""
    tree = ast.parse((HERE / "tries.py").read_text(encoding="utf-8"))
    found = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TRIES"
    )
    assert isinstance(found, ast.Dict)
    return [ast.literal_eval(key) for key in found.keys if key is not None]


CASES = {case.name: case for case in [*cases(), *tries(names_of_tries())]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the site, with known times and links."""
    site = tmp_path_factory.mktemp("compat") / "site"
    shutil.copytree(HERE / "site", site)
    (site / "static" / "link").symlink_to("a.txt")
    (site / "static" / "link-out").symlink_to(HERE / "app.py")
    for path in (site, *site.rglob("*")):
        if not path.is_symlink():
            os.utime(path, (MODIFIED, MODIFIED))
    return site


@pytest.fixture(scope="module")
def ports(site: Path) -> Iterator[dict[str, dict[str, int]]]:
    """Both sites running; the port of every server."""
    running = {
        name: subprocess.Popen(
            [sys.executable, str(HERE / "serve.py"), name, str(site)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        )
        for name in FRAMEWORKS
    }
    try:
        found = {}
        for name, process in running.items():
            assert process.stdout is not None
            found[name] = json.loads(process.stdout.readline())
        yield found
    finally:
        for process in running.values():
            process.communicate("")


@pytest.fixture(scope="module")
def outcomes(ports: dict[str, dict[str, int]]) -> Outcomes:
    """Every case played against both."""
    found: dict[str, dict[str, Outcome]] = {name: {} for name in FRAMEWORKS}

    async def play(framework: str) -> None:
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(case: Case) -> None:
            async with limit:
                found[framework][case.name] = await talk(case, ports[framework][case.server])

        await asyncio.gather(*map(one, CASES.values()))

    async def both() -> None:
        await asyncio.gather(*map(play, FRAMEWORKS))

    asyncio.run(both())
    return {name: (found["tornado"][name], found["webfw"][name]) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_same_answer(name: str, outcomes: Outcomes) -> None:
    theirs, ours = outcomes[name]
    left = unexplained(CASES[name], theirs, ours)
    if left:
        shown = "\n".join(["", "tornado:", *theirs.lines(), "", "webfw:", *ours.lines()])
        pytest.fail(f"not listed in differences.py: {', '.join(sorted(left))}{shown}", pytrace=False)


def test_every_row_explains_something(outcomes: Outcomes) -> None:
    used: set[str] = set()
    for name, (theirs, ours) in outcomes.items():
        unexplained(CASES[name], theirs, ours, used)
    assert [row.title for row in [*DIFFERENCES, *DEFECTS] if row.title not in used] == []


def test_rows_are_in_the_manual() -> None:
    page = (ROOT / "docs" / "topics" / "differences.md").read_text(encoding="utf-8")
    rows = [f"| {row.title} | {row.reason} |" for row in [*DIFFERENCES, *LOGGED]]
    assert [row for row in rows if row not in page] == []


def test_most_answers_are_the_same(outcomes: Outcomes) -> None:
    """The site works: nearly all cases are answered, and most of them with success."""
    answered = [name for name, (theirs, ours) in outcomes.items() if theirs.responses and ours.responses]
    well = [name for name in answered if all(r.status < 400 for r in outcomes[name][1].responses)]
    assert len(answered) > 0.97 * len(outcomes)
    assert len(well) > 0.6 * len(outcomes)


# --- what is logged ---

LOGS = b"GET /logs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
Record = tuple[str, str, str, bool]


def plain(name: str, level: str, message: str, traceback: bool) -> Record:
    """A record without the framework's name, durations, and what a request looks like."""
    name = re.sub("^(tornado|webfw)", "FW", name)
    message = re.sub(r"\d+\.\d+ms", "0ms", message.partition("\n")[0])
    return name, level, re.sub(r"\b(tornado|webfw)\b", "FW", message), traceback


@pytest.fixture(scope="module")
def records(ports: dict[str, dict[str, int]], outcomes: Outcomes) -> dict[str, list[list[Record]]]:
    """What each case logs: theirs and ours."""
    found: dict[str, list[list[Record]]] = {case.name: [] for case in logged()}

    async def play(framework: str) -> None:
        for case in logged():
            port = ports[framework][case.server]
            fetch = Case("logs", LOGS, case.server)
            await talk(fetch, port)
            await talk(case, port)
            lines = json.loads((await talk(fetch, port)).responses[0].body)
            found[case.name].append(
                [plain(*line) for line in lines if not re.search("/logs|[?]probe", line[2])]
            )

    for framework in FRAMEWORKS:
        asyncio.run(play(framework))
    return found


def loggings(theirs: list[Record], ours: list[Record]) -> tuple[list[Record], list[Record]]:
    """The records only one of them has."""
    return [r for r in theirs if r not in ours], [r for r in ours if r not in theirs]


def belongs(row: Logged, name: str, theirs: list[Record], ours: list[Record]) -> bool:
    matches = row.cases.fullmatch(name) is not None
    return matches and all(row.records.search(" ".join(record[:3])) for record in [*theirs, *ours])


@pytest.mark.parametrize("name", [case.name for case in logged()])
def test_same_log(name: str, records: dict[str, list[list[Record]]]) -> None:
    theirs, ours = loggings(*records[name])
    if (theirs or ours) and not any(belongs(row, name, theirs, ours) for row in [*LOGGED, *LOGGED_DEFECTS]):
        pytest.fail(f"only tornado: {theirs}\nonly webfw: {ours}", pytrace=False)


def test_every_row_of_the_log_explains_something(records: dict[str, list[list[Record]]]) -> None:
    rows = [*LOGGED, *LOGGED_DEFECTS]
    stale = {row.title for row in rows}
    for name, both in records.items():
        theirs, ours = loggings(*both)
        if theirs or ours:
            stale -= {row.title for row in rows if belongs(row, name, theirs, ours)}
    assert stale == set()
