"""The connection to the manager: missing daemon, refusals, lost answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.model import protocol
from quorate.tools.backends.live import LiveBackend
from quorate.tools.client import Connection, run_dir
from quorate.tools.failure import CommandFailed, Exit

from .fake_manager import FakeManager


@pytest.fixture
def manager(tmp_path: Path):  # type: ignore[no-untyped-def]
    with FakeManager(str(tmp_path)) as fake:
        yield fake


@pytest.fixture
def backend(manager: FakeManager):  # type: ignore[no-untyped-def]
    opened = LiveBackend(manager.directory, client="test", user="alice")
    yield opened
    opened.close()


def test_without_a_manager_the_exit_code_is_102(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        LiveBackend(str(tmp_path), client="test").status()
    assert caught.value.code == Exit.DISCONNECT
    assert "not running" in caught.value.message


def test_query_and_change(manager: FakeManager, backend: LiveBackend) -> None:
    backend.change("create", section="resources", xml=b'<primitive id="r9" class="ocf" provider="p" type="T"/>')
    assert b'id="r9"' in (backend.query(xpath="//primitive[@id='r9']") or b"")
    assert backend.query(xpath="//nosuch") is None
    assert {request.user for request in manager.asked} == {"alice"}


def test_a_refusal_keeps_code_and_message(manager: FakeManager, backend: LiveBackend) -> None:
    with pytest.raises(CommandFailed) as caught:
        backend.change("modify", xml=b'<primitive id="nosuch"/>')
    assert caught.value.code == Exit.NOSUCH


def test_a_lost_answer_is_asked_for_and_nothing_is_done_twice(manager: FakeManager, backend: LiveBackend) -> None:
    manager.drop_next = True
    backend.change("create", section="resources", xml=b'<primitive id="once" class="ocf" provider="p" type="T"/>')
    changes = [request for request in manager.asked if isinstance(request, protocol.CibChange)]
    fates = [request for request in manager.asked if isinstance(request, protocol.Fate)]
    assert len(changes) == 1
    assert [fate.request for fate in fates] == [changes[0].request]


def test_a_request_that_is_unknown_after_the_loss_is_sent_again_with_its_id(
    manager: FakeManager, backend: LiveBackend
) -> None:
    manager.drop_next = True
    manager.forget_next = True
    backend.set_attribute("a", "1")
    sent = [request for request in manager.asked if isinstance(request, protocol.AttributeSet)]
    assert len(sent) == 2
    assert sent[0].request == sent[1].request


def test_a_status_reply_where_a_reply_is_wanted_is_a_protocol_error(manager: FakeManager) -> None:
    with Connection(manager.directory, client="test") as connection, pytest.raises(CommandFailed) as caught:
        connection.ask(protocol.StatusQuery(serial=1), protocol.Reply)
    assert caught.value.code == Exit.PROTOCOL


def test_the_run_directory_is_found(tmp_path: Path) -> None:
    config = tmp_path / "quorate.toml"
    config.write_text('cluster = "c"\nrun_dir = "/somewhere/run"\n')
    assert run_dir({"QUORATE_CONFIG": str(config)}) == "/somewhere/run"
    assert run_dir({"QUORATE_CONFIG": str(config), "QUORATE_RUN": "/else"}) == "/else"
    with pytest.raises(CommandFailed) as caught:
        run_dir({"QUORATE_CONFIG": str(tmp_path / "none.toml")})
    assert caught.value.code == Exit.NOINPUT
    config.write_text("cluster = ")
    with pytest.raises(CommandFailed) as caught:
        run_dir({"QUORATE_CONFIG": str(config)})
    assert caught.value.code == Exit.CONFIG
