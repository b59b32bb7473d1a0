"""What a status shows: sections, remarks, filters, words; on small CIBs and a manager of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quorate.model import protocol
from quorate.model.cib import parse_fragment
from quorate.tools import cli
from quorate.tools.invocation import captured
from quorate.tools.monitor import html, text, words
from quorate.tools.monitor.options import Shown, choose
from quorate.tools.monitor.status import build, name_key

from .fake_manager import FakeManager

NOW = 1_800_000_000


def history(
    rsc: str, task: str = "start", rc: int = 0, interval: int = 0, call: int = 5, target: int = 0, extra: str = ""
) -> str:
    return (
        f'<lrm_rsc_op id="{rsc}_{task}_{interval}" operation_key="{rsc}_{task}_{interval}" operation="{task}" '
        f'transition-key="1:1:{target}:u" transition-magic="0:{rc};1:1:{target}:u" call-id="{call}" rc-code="{rc}" '
        f'op-status="0" interval="{interval}" last-rc-change="1799999000" exec-time="33" queue-time="0" {extra}/>'
    )


def lrm(node: str, *resources: tuple[str, str]) -> str:
    """`resources`: name and its operations."""
    entries = "".join(
        f'<lrm_resource id="{n}" type="Dummy" class="ocf" provider="pacemaker">{ops}</lrm_resource>'
        for n, ops in resources
    )
    return f'<lrm id="{node}"><lrm_resources>{entries}</lrm_resources></lrm>'


def cib(resources: str, *, states: str = "", constraints: str = "", options: str = "", nodes: str = "") -> bytes:
    nodes = nodes or '<node id="1" uname="node1"/><node id="2" uname="node2"/>'
    pairs = f'<cluster_property_set id="o"><nvpair id="o-f" name="stonith-enabled" value="false"/>{options}</cluster_property_set>'
    return (
        f'<cib crm_feature_set="3.20.1" validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="0" have-quorum="1" '
        f'dc-uuid="1"><configuration><crm_config>{pairs}</crm_config><nodes>{nodes}</nodes><resources>{resources}</resources>'
        f"<constraints>{constraints}</constraints></configuration><status>{states}</status></cib>"
    ).encode()


def state(number: int, content: str = "", *, online: bool = True) -> str:
    up = (
        'in_ccm="true" crmd="online" join="member" expected="member"'
        if online
        else 'in_ccm="false" crmd="offline" join="down" expected="down"'
    )
    return f'<node_state id="{number}" uname="node{number}" {up}>{content}</node_state>'


def primitive(name: str, inner: str = "") -> str:
    return f'<primitive id="{name}" class="ocf" provider="pacemaker" type="Dummy">{inner}</primitive>'


def show(data: bytes, **shown: object) -> str:
    chosen = Shown(**shown)  # type: ignore[arg-type]
    return text.render(build(parse_fragment(data), NOW, shown=chosen))


def test_a_failure_is_listed_with_its_reason() -> None:
    failed = history("r1") + history("r1", "monitor", rc=1, interval=10_000, call=6, extra='exit-reason="it broke"')
    out = show(cib(primitive("r1"), states=state(1, lrm("1", ("r1", failed))) + state(2)))
    assert "  * r1\t(ocf:pacemaker:Dummy):\t FAILED node1\n" in out
    assert "Failed Resource Actions:\n  * r1 10s-interval monitor on node1 returned 'error' (it broke) at " in out
    assert out.endswith(" after 33ms\n")


def test_details_name_the_operation() -> None:
    failed = history("r1") + history("r1", "monitor", rc=1, interval=10_000, call=6)
    out = show(cib(primitive("r1"), states=state(1, lrm("1", ("r1", failed))) + state(2)), detail=True)
    assert "  * r1_monitor_10000 on node1 'error' (1): call=6, status='complete', last-rc-change='" in out
    assert "  * Node node1 (1): online, feature set <3.15.1\n" in out


def test_a_group_says_how_many_members_are_inactive() -> None:
    group = f'<group id="g">{primitive("a")}{primitive("b")}{primitive("c")}</group>'
    data = cib(group, states=state(1, lrm("1", ("a", history("a")))) + state(2))
    assert "  * Resource Group: g (2 members inactive):\n    * a\t(ocf:pacemaker:Dummy):\t Started node1\n" in show(
        data
    )
    assert "    * c\t(ocf:pacemaker:Dummy):\t Stopped\n" in show(data, inactive=True)


def test_where_a_clone_does_not_run_has_reasons() -> None:
    clone = f'<clone id="c">{primitive("r")}</clone>'
    states = state(1, lrm("1", ("r", history("r")))) + state(
        2, lrm("2", ("r", history("r", "monitor", rc=5, target=7)))
    )
    out = show(cib(clone, states=states), inactive=True)
    assert "  * Clone Set: c [r]:\n    * Started: [ node1 ]\n    * Stopped (Not installed): [ node2 ]\n" in out
    assert "Failed Resource Actions" not in out


def test_by_node_and_brief() -> None:
    data = cib(
        primitive("a") + primitive("b"), states=state(1, lrm("1", ("a", history("a")), ("b", history("b")))) + state(2)
    )
    out = show(data, by_node=True)
    assert "  * Node node1: online:\n    * Resources:\n      * a\t(ocf:pacemaker:Dummy):\t Started\n" in out
    assert "Active Resources" not in out
    assert "      * 2\t(ocf:pacemaker:Dummy):\tActive \n" in show(data, by_node=True, brief=True)
    assert "  * 2/2\t(ocf:pacemaker:Dummy):\tActive node1\n" in show(data, brief=True, inactive=True)


def test_bans_are_listed() -> None:
    ban = '<rsc_location id="ban" rsc="a" node="node2" score="-INFINITY"/><rsc_location id="like" rsc="a" node="node1" score="5"/>'
    out = show(cib(primitive("a"), states=state(1) + state(2), constraints=ban), sections={"bans"})
    assert "Negative Location Constraints:\n  * ban\tprevents a from running on node2\n" in out


def test_nodes_in_every_state() -> None:
    standby = '<instance_attributes id="i"><nvpair id="i-s" name="standby" value="on"/></instance_attributes>'
    nodes = f'<node id="1" uname="node1">{standby}</node>'
    nodes += '<node id="2" uname="node2"/><node id="3" uname="node3"/>'
    out = show(cib(primitive("a"), nodes=nodes, states=state(1) + state(2) + state(3, online=False)))
    assert "  * Node node1: standby\n  * Online: [ node2 ]\n  * OFFLINE: [ node3 ]\n" in out


def test_maintenance_is_announced() -> None:
    options = '<nvpair id="o-m" name="maintenance-mode" value="true"/>'
    out = show(cib(primitive("a"), options=options, states=state(1) + state(2)))
    assert (
        "*** Resource management is DISABLED ***\n  The cluster will not attempt to start, stop or recover services\n"
        in out
    )


def test_filters_by_node_and_resource() -> None:
    data = cib(
        primitive("a") + primitive("b"),
        states=state(1, lrm("1", ("a", history("a")))) + state(2, lrm("2", ("b", history("b")))),
    )
    out = show(data, only_node="node1")
    assert "Online: [ node1 ]" in out and "* b" not in out
    assert "* a" not in show(data, only_resource="b")


def test_html_is_escaped() -> None:
    page = html.render(build(parse_fragment(cib(primitive("a"), states=state(1))), NOW), title="<x>")
    assert "<title>&lt;x&gt;</title>" in page and page.count("<ul>") == page.count("</ul>")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0s"), (33, "33ms"), (10_000, "10s"), (15_001, "15.001s"), (90_000, "1m30s"), (3_600_000, "1h")],
)
def test_intervals(value: int, shown: str) -> None:
    assert words.interval(value) == shown


def test_names_with_numbers_sort_as_numbers() -> None:
    assert sorted(["node10", "node9", "Node1", "a"], key=name_key) == ["a", "Node1", "node9", "node10"]


def test_sections_are_chosen_from_left_to_right() -> None:
    sections = {"nodes"}
    choose(sections, "all", include=False, default=frozenset({"nodes"}))
    choose(sections, "dc,times", include=True, default=frozenset())
    choose(sections, "dc", include=False, default=frozenset())
    assert sections == {"times"}


# ---- live --------------------------------------------------------------------------------------------------------------


def fence(number: int, state: str, target: str = "node2") -> protocol.FenceRecord:
    return protocol.FenceRecord(
        id=str(number), target=target, action="reboot", origin="node1", client="controller", executor="node1", device="fd", state=state,
        reason="no power" if state == "failed" else "", cause="lost", began_at=NOW, ended_at=0 if state == "pending" else NOW + number,
    )  # fmt: skip


def run(directory: Path, *args: str) -> str:
    call, out, err = captured("crm_mon", *args, environ={"QUORATE_RUN": str(directory), "TZ": "UTC"})
    assert cli.execute(call) == 0, err.getvalue()
    return out.getvalue()


def test_banners_stand_on_top_and_fencing_at_the_end(tmp_path: Path) -> None:
    with FakeManager(str(tmp_path)) as manager:
        manager.banners = ("FENCING IS SWITCHED OFF", "no arbiter")
        manager.fences = (fence(1, "success"), fence(2, "failed"), fence(3, "pending"), fence(4, "success"))
        out = run(tmp_path, "-1")
        assert out.startswith(
            "!! FENCING IS SWITCHED OFF\n!! no arbiter\n\nCluster Summary:\n  * Stack: heartbeat (Pacemaker is running)\n"
        )
        assert (
            f"Failed Fencing Actions:\n  * reboot of node2 by node1 for controller@node1 failed (no power) at {words.iso(NOW + 2)}\n"
            in out
        )
        assert "Pending Fencing Actions:\n  * reboot of node2 for controller@node1 pending\n" in out
        assert "Fencing History" not in out
        assert run(tmp_path, "-1", "-m").count("reboot of node2 by node1 for controller@node1 successful") == 1
        assert run(tmp_path, "-1", "-m", "3").count("successful") == 2
        document = run(tmp_path, "--output-as=xml")
        assert document.count("<fence_event ") == 4 and "<!-- FENCING IS SWITCHED OFF -->" in document
        facts = json.loads(run(tmp_path, "-1", "--output-as=json"))
        assert facts["banners"][0] == "FENCING IS SWITCHED OFF" and facts["cluster"]["quorate"] is True


def test_without_a_cluster_every_form_says_so(tmp_path: Path) -> None:
    for args, where in ((["-1"], "err"), (["--output-as=xml"], "out"), (["-s"], "out")):
        call, out, err = captured("crm_mon", *args, environ={"QUORATE_RUN": str(tmp_path)})
        assert cli.execute(call) == 102
        assert "not running" in (out if where == "out" else err).getvalue()
