"""`ExpectLog`: what it takes out of the log, what it leaves, and when it complains."""

import logging
from collections.abc import Iterator

import pytest

from webfw.testing import ExpectLog


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, list[str]]]:
    """A logger that lets WARNING through, and what has passed it."""
    logger = logging.getLogger("tests.expectlog")
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    yield logger, seen
    logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


Log = tuple[logging.Logger, list[str]]


def test_what_is_expected_is_taken_out(log: Log) -> None:
    logger, seen = log
    with ExpectLog(logger, "one") as expected:
        logger.warning("one %d", 1)
        logger.warning("two")
        logger.error("one more")
    logger.warning("one after")
    assert seen == ["two", "one after"]
    assert expected.matched == 2
    assert not expected.logged_stack


def test_the_name_of_a_logger_will_do(log: Log) -> None:
    logger, seen = log
    with ExpectLog("tests.expectlog", "one"):
        logger.warning("one")
    assert seen == []


def test_a_missing_record_is_a_failure(log: Log) -> None:
    message = "did not get expected log message: 'one' on 'tests.expectlog'"
    with pytest.raises(Exception, match=message), ExpectLog(log[0], "one"):
        log[0].warning("another one")  # it is matched from its beginning on
    assert log[1] == ["another one"]
    assert log[0].filters == []


def test_it_need_not_be_required(log: Log) -> None:
    with ExpectLog(log[0], "one", required=False) as expected:
        pass
    assert expected.matched == 0


def test_an_exception_is_not_hidden(log: Log) -> None:
    with pytest.raises(KeyError), ExpectLog(log[0], "one"):
        raise KeyError("own")
    assert log[0].filters == []


def test_records_with_a_traceback(log: Log) -> None:
    with ExpectLog(log[0], "one") as expected:
        try:
            raise ValueError
        except ValueError:
            log[0].exception("one")
    assert expected.logged_stack


def test_a_level(log: Log) -> None:
    logger, seen = log
    with ExpectLog(logger, "one", level=logging.INFO) as expected:
        assert logger.level == logging.INFO
        logger.info("one")
        logger.warning("one")
    assert seen == ["one"]
    assert expected.matched == 1
    assert logger.level == logging.WARNING


def test_the_root() -> None:
    root = logging.getLogger()
    with ExpectLog("", "one") as expected:
        root.warning("one")
    assert expected.matched == 1


def test_records_below_warning_are_deprecated(log: Log) -> None:
    log[0].setLevel(logging.DEBUG)
    with pytest.warns(DeprecationWarning, match="level="), ExpectLog(log[0], "one"):
        log[0].info("one")
    with ExpectLog(log[0], "one") as expected:
        log[0].debug("one")
    assert expected.deprecated_level_matched == logging.DEBUG
    assert log[1] == []
