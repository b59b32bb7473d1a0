"""Transient attributes through the manager: agents' ways of calling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.model import protocol
from quorate.tools import cli
from quorate.tools.invocation import captured

from .fake_manager import FakeManager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[FakeManager]:
    with FakeManager(str(tmp_path)) as fake:
        yield fake


def run(manager: FakeManager, *words: str, **environ: str) -> tuple[int, str, str]:
    call, out, err = captured(*words, environ={"QUORATE_RUN": manager.directory, **environ})
    return cli.execute(call), out.getvalue(), err.getvalue()


def sets(manager: FakeManager) -> list[protocol.AttributeSet]:
    return [request for request in manager.asked if isinstance(request, protocol.AttributeSet)]


def test_an_agents_promotion_score(manager: FakeManager) -> None:
    assert run(manager, "crm_attribute", "-p", "-v", "10", OCF_RESOURCE_INSTANCE="db")[0] == 0
    assert run(manager, "crm_master", "-l", "reboot", "-v", "-INFINITY", OCF_RESOURCE_INSTANCE="db2")[0] == 0
    assert manager.attributes == {("node1", "master-db"): "10", ("node1", "master-db2"): "-INFINITY"}
    assert run(manager, "crm_attribute", "--promotion=db", "-G", "-q")[1] == "10\n"
    assert run(manager, "crm_attribute", "--promotion", "-D", OCF_RESOURCE_INSTANCE="db")[0] == 0
    assert ("node1", "master-db") not in manager.attributes
    assert run(manager, "crm_attribute", "--promotion=db", "-G", "-q")[0] == 105


def test_one_question_for_one_update(manager: FakeManager) -> None:
    run(manager, "attrd_updater", "-n", "pingd", "-B", "1000", "-d", "5s", "-N", "node2")
    assert len(manager.asked) == 1
    request = sets(manager)[0]
    assert (request.name, request.value, request.node, request.delay_ms, request.wait) == (
        "pingd",
        "1000",
        "node2",
        5000,
        False,
    )


def test_queries(manager: FakeManager) -> None:
    run(manager, "attrd_updater", "-n", "a", "-U", "1")
    run(manager, "attrd_updater", "-n", "a", "-U", "2", "-N", "node2")
    assert run(manager, "attrd_updater", "-n", "a", "-Q")[1] == 'name="a" host="node1" value="1"\n'
    assert run(manager, "attrd_updater", "-n", "a", "-Q", "-A")[1].count("\n") == 2
    assert (
        run(manager, "crm_attribute", "-t", "status", "-N", "node2", "-n", "a", "-G")[1]
        == "scope=status  name=a value=2\n"
    )
    assert run(manager, "attrd_updater", "-n", "none", "-Q")[0] == 78
    assert run(manager, "attrd_updater", "-n", "a", "-B", "1")[0] == 64


def test_patterns(manager: FakeManager) -> None:
    run(manager, "attrd_updater", "-P", "ping.*", "-D")
    assert sets(manager)[0].pattern is True and sets(manager)[0].value is None


def test_the_node_an_agent_runs_for(manager: FakeManager) -> None:
    assert run(manager, "crm_node", "-n", OCF_RESKEY_CRM_meta_on_node="remote7") == (0, "remote7\n", "")
    run(manager, "attrd_updater", "-n", "a", "-U", "1", OCF_RESKEY_CRM_meta_on_node="remote7")
    assert sets(manager)[0].node == "remote7"


def test_nodes_and_controller(manager: FakeManager) -> None:
    assert run(manager, "crm_node", "-l")[1] == "1 node1 member\n2 node2 member\n"
    assert run(manager, "crm_node", "-p")[1] == "node1 node2 \n"
    assert run(manager, "crm_node", "-q")[1] == "1\n"
    assert run(manager, "crm_node", "-i")[1] == "1\n"
    assert run(manager, "crm_node", "-N", "9") == (68, "", "Node is not known to cluster\n")
    assert run(manager, "crm_node", "-N", "0")[0] == 64
    assert run(manager, "crmadmin", "-D")[1] == "Designated Controller is: node1\n"
    assert run(manager, "crmadmin", "-S", "node1")[1] == "Controller on node1 in state S_IDLE: ok\n"
    assert run(manager, "crmadmin", "-S", "node2")[1] == "Controller on node2 in state S_NOT_DC: ok\n"
    assert run(manager, "crmadmin", "-S", "nobody")[0] == 105


def test_cleaning_up_and_fencing(manager: FakeManager) -> None:
    code, out, _ = run(manager, "crm_resource", "-C", "-r", "web", "-N", "node1")
    assert (code, out) == (0, "Cleaned up web on node1\n")
    request = next(r for r in manager.asked if isinstance(r, protocol.ClearHistory))
    assert (request.resource, request.node, request.failures_only) == ("web", "node1", True)
    assert "... got reply (done)" in run(manager, "crm_resource", "-R", "-r", "web")[1]
    assert run(manager, "crm_resource", "-F", "-r", "web")[0] == 0
    assert run(manager, "stonith_admin", "-L")[1] == "fd\nf2\n2 fence devices found\n"
    assert run(manager, "stonith_admin", "-l", "other")[1] == "0 fence devices found\n"
    assert run(manager, "stonith_admin", "-Q", "fd")[0] == 0
    assert run(manager, "stonith_admin", "-Q", "none")[0] == 105
    assert run(manager, "stonith_admin", "-B", "node2", "-t", "5")[0] == 0
    asked = next(r for r in manager.asked if isinstance(r, protocol.FenceAsked))
    assert (asked.target, asked.action, asked.timeout_ms) == ("node2", "reboot", 5000)
    manager.refuse["fence"] = protocol.Reply(serial=0, rc=1, message="no device")
    assert run(manager, "stonith_admin", "-F", "unknown")[0] == 105
    assert run(manager, "stonith_admin", "-F", "node2")[0] == 1
    assert run(manager, "stonith_admin", "-C", "node2")[0] == 0
