"""What `webfw.testing` offers, though it is imported on first use."""

import pytest

import webfw.testing
from webfw.testing import cases, fakes


def test_every_name_leads_somewhere() -> None:
    for name in webfw.testing.__all__:
        assert getattr(webfw.testing, name) is not None
        assert name in dir(webfw.testing)
    assert webfw.testing.AsyncTestCase is cases.AsyncTestCase
    assert webfw.testing.FakeWire is fakes.FakeWire


def test_all_at_once() -> None:
    namespace: dict[str, object] = {}
    exec("from webfw.testing import *", namespace)
    assert set(webfw.testing.__all__) <= set(namespace)


def test_modules_that_programs_look_for() -> None:
    import unittest

    import webfw.gen

    assert webfw.testing.unittest is unittest
    assert webfw.testing.gen is webfw.gen


def test_other_names() -> None:
    with pytest.raises(AttributeError, match="nosuch"):
        webfw.testing.nosuch  # noqa: B018
