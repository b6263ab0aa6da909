"""Whose fault an error is can be told from its type, and a server knows what to answer."""

import pickle

import pytest

from webfw.sansio.errors import LocalProtocolError, ProtocolError, RemoteProtocolError


def test_remote_error_has_a_status() -> None:
    assert RemoteProtocolError("bad").status == 400
    error = RemoteProtocolError("too large", 413)
    assert (str(error), error.args, error.status) == ("too large", ("too large",), 413)


def test_both_are_protocol_errors_and_neither_is_the_other() -> None:
    assert issubclass(RemoteProtocolError, ProtocolError)
    assert issubclass(LocalProtocolError, ProtocolError)
    assert not issubclass(RemoteProtocolError, LocalProtocolError)
    assert not hasattr(LocalProtocolError("ours"), "status")


def test_status_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(RemoteProtocolError("long", 414))).status == 414


def test_message_is_required() -> None:
    with pytest.raises(TypeError):
        RemoteProtocolError()  # type: ignore[call-arg]
