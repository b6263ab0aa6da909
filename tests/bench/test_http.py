"""The measurement of requests: what is asked of whom, what a round does, and what is expected of the figures."""

import sys
from pathlib import Path

import pytest

from bench import http, peers, shapes
from bench.http import Results, Sample, summary
from bench.peers import Cast, Peer
from bench.shapes import SHAPES, Load, Stage

TITLES = [load.title for stages in SHAPES.values() for stage in stages for load in stage.loads]


def sample(user: float, system: float = 0.0) -> Sample:
    return Sample(user, system, rate=1000.0, requests=10)


@pytest.fixture
def cast(monkeypatch: pytest.MonkeyPatch) -> Cast:
    monkeypatch.setattr(peers, "prepare", lambda: (Path(sys.executable), {}))
    return Cast()


def test_every_load_has_a_title_of_its_own() -> None:
    assert len(set(TITLES)) == len(TITLES)


def test_every_shape_is_served_by_webfw_on_the_port_it_is_told() -> None:
    for stages in SHAPES.values():
        for stage in stages:
            assert stage.peers[0].name == "webfw"
            for peer in stage.peers:
                assert any("4711" in word for word in peer.command(4711)), (stage.name, peer.name)
                scripts = [word for word in peer.command(4711) if word.endswith(".py")]
                assert all(Path(word).exists() for word in scripts)


def test_the_names_that_http_had_are_still_there() -> None:
    for name in (
        "serving",
        "Peer",
        "prepare",
        "cpu_time",
        "machine",
        "write",
        "parser",
        "script",
        "available",
    ):
        assert callable(getattr(http, name))


def test_the_file_is_as_long_as_it_is_said_to_be() -> None:
    assert shapes.make_file().stat().st_size == shapes.FILE_SIZE == 10240


def test_applications_agree_on_what_is_asked_for() -> None:
    assert shapes.pages.routes("routes-200")[shapes.pages.MIDDLE] == shapes.pages.MIDDLE
    assert shapes.pages.routes("routes-1") == [100]
    assert shapes.is_record(shapes.pages.encoded())
    assert not shapes.is_record(b"{}")


def test_one_that_does_not_serve_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, cast: Cast, capsys: pytest.CaptureFixture[str]
) -> None:
    order = []

    def one_server(stage: Stage, place: http.Place, results: Results, *rest: object) -> None:
        order.append(place[0].name)
        if place[0].name == "b" and len(order) > 3:
            raise SystemExit("b does not serve:\n  no")
        results.add("x", place[0].name, sample(1))

    monkeypatch.setattr(http, "one_server", one_server)
    stage = Stage("s", [], [Load("x")], bool)
    places = [(Peer(name, "", lambda port: []), Path("python")) for name in "abc"]
    results = http.run({"s": (stage, places)}, 3, 1.0, None, cast)
    assert order == [
        "a",
        "b",
        "c",
        "b",
        "c",
        "a",
        "c",
        "a",
    ]  # the order turns; b has failed in the second round
    assert {name: len(found) for name, found in results.samples["x"].items()} == {"a": 3, "c": 3}
    assert cast.left_out == {"b: s": "b does not serve: no"}
    assert "left out: b: s (b does not serve: no)" in capsys.readouterr().err


def figures(**totals: dict[str, float]) -> dict[str, object]:
    names = {"hello": "hello, 1 field", "one": "1 route", "many": "200 routes"}
    shapes = {
        names.get(key, key): {peer: summary([sample(cost)]) for peer, cost in rows.items()}
        for key, rows in totals.items()
    }
    return {"shapes": shapes, "memory": {"webfw": {"kib": 6.1}}}


def test_expectations_are_judged() -> None:
    found = http.verdicts(
        figures(hello={"webfw": 10, "tornado": 130, "uvicorn": 12}, one={"webfw": 10}, many={"webfw": 11})
    )
    assert found == [
        "met: hello, 1 field: webfw to tornado: 0.08, at most 0.0833 expected",
        "MISSED: hello, 1 field: webfw to uvicorn: 0.83, at most 0.8 expected",
        "met: 200 routes to 1: 1.10, at most 1.15 expected",
        "MISSED: KiB of an idle connection: 6.10, at most 6 expected",
    ]


def test_costs_are_flat_over_connections() -> None:
    wide = {
        load.title: {"webfw": cost}
        for load, cost in zip(SHAPES["connections"][0].loads, (20, 10, 10, 11), strict=True)
    }
    found = http.verdicts(figures(**wide))
    assert found[0].startswith("MISSED: 1 to 2,000 connections: 2.00")
    assert found[1].startswith("met: 64 to 2,000 connections: 1.10")


def test_tables_are_of_what_was_measured() -> None:
    results = Results()
    results.add("hello, 1 field", "webfw", sample(8, 2))
    results.add("hello, 1 field", "tornado", sample(80, 20))
    results.memory["webfw"] = [1.5, 2.0, 1.75]
    stages = {stage.name: (stage, []) for stage in [*SHAPES["hello"], *SHAPES["memory"]]}
    first, second = http.tables(stages, results)
    assert first.splitlines()[2] == "| webfw | 8.0 | 2.0 | 10.0 | 10.0 to 10.0 | 1,000 | 10.0 |  |"
    assert second.splitlines()[2] == "| webfw | 1.8 | 1.5 to 2.0 |"


def test_the_command_chooses() -> None:
    options = http.arguments(
        ["--shapes", "asgi,hello", "--peers", "webfw,hypercorn", "--json", "x", "--rounds", "2"]
    )
    assert (options.shapes, options.peers) == (["asgi", "hello"], ["webfw", "hypercorn"])
    assert options.command == "python -m bench http --shapes asgi,hello --peers webfw,hypercorn --rounds 2"
    with pytest.raises(SystemExit):
        http.arguments(["--rounds", "0"])


@pytest.mark.needs("cc")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="epoll")
def test_the_floor_is_measured(cast: Cast) -> None:
    """A whole round of the one server that needs nothing: started, checked, loaded, and the figures of it."""
    hello = SHAPES["hello"][0]
    connections = SHAPES["connections"][0]
    few = Stage("few", [], [Load("1", connections=1), Load("100", connections=100)], connections.expected)
    place = shapes.FLOOR, Path(sys.executable)
    results = http.run({"hello": (hello, [place]), "few": (few, [place])}, 1, 0.1, None, cast)
    assert cast.left_out == {}
    assert set(results.samples) == {"hello, 1 field", "hello, 8 fields", "1", "100"}
    for title in results.samples:
        (found,) = results.samples[title]["floor"]
        assert found.requests > 100
        assert 0 <= found.user + found.system < 500
