"""Decisions on small clusters, each readable by itself."""

from __future__ import annotations

from lxml import etree

from quorate.core.scheduler import schedule, schedule_bytes, unpack
from quorate.core.scheduler.scores import INFINITY, add_scores, parse_score, score_text
from quorate.core.scheduler.working_set import Role
from quorate.model.graph_xml import from_element, to_element

NOW = 1_700_000_000
DUMMY = 'class="ocf" provider="pacemaker" type="Dummy"'


def cib(resources: str, constraints: str = "", *, options: dict[str, str] | None = None, nodes: int = 3,
        status: dict[int, str] | None = None, states: dict[int, str] | None = None) -> etree._Element:
    settings = {"fencing-enabled": "false", **(options or {})}
    online = 'in_ccm="true" crmd="online" join="member" expected="member"'
    pairs = "".join(f'<nvpair id="o-{k}" name="{k}" value="{v}"/>' for k, v in settings.items())
    return etree.fromstring(
        '<cib have-quorum="1" dc-uuid="1"><configuration><crm_config><cluster_property_set id="options">'
        f"{pairs}</cluster_property_set></crm_config><nodes>"
        + "".join(f'<node id="{i}" uname="n{i}"/>' for i in range(1, nodes + 1))
        + f"</nodes><resources>{resources}</resources><constraints>{constraints}</constraints></configuration><status>"
        + "".join(
            f'<node_state id="{i}" uname="n{i}" {(states or {}).get(i, online)}><lrm id="{i}"><lrm_resources>'
            f"{(status or {}).get(i, '')}</lrm_resources></lrm></node_state>"
            for i in range(1, nodes + 1))
        + "</status></cib>")


def primitive(name: str, inner: str = "") -> str:
    return f'<primitive id="{name}" {DUMMY}>{inner}</primitive>'


def history(name: str, *operations: tuple[str, int, int]) -> str:
    """Entries (task, interval in ms, exit code), oldest first."""
    rows = []
    for number, (task, interval, rc) in enumerate(operations, 1):
        target = 7 if task == "monitor" and not interval else 0
        key = f"{number}:1:{target}:u"
        rows.append(
            f'<lrm_rsc_op id="{name}_{task}_{interval}" operation_key="{name}_{task}_{interval}" operation="{task}" '
            f'call-id="{number}" rc-code="{rc}" op-status="0" interval="{interval}" transition-key="{key}" '
            f'transition-magic="0:{rc};{key}" last-rc-change="{NOW - 100 + number}"/>')
    return f'<lrm_resource id="{name}" {DUMMY}>{"".join(rows)}</lrm_resource>'


def actions(root: etree._Element) -> set[tuple[str, str | None]]:
    graph = schedule(root, NOW).graph
    return {(action.key, action.node) for synapse in graph.synapses for action in synapse.actions}


def test_starts_after_probing_everywhere() -> None:
    graph = schedule(cib(primitive("a")), NOW).graph
    by_key = {(a.key, a.node): (a, s) for s in graph.synapses for a in s.actions}
    probes = {by_key[("a_monitor_0", f"n{i}")][0].id for i in (1, 2, 3)}
    start = by_key[("a_start_0", "n1")][1]
    assert probes <= set(start.inputs)


def test_nothing_to_do_when_all_is_well() -> None:
    status = {1: history("a", ("monitor", 0, 7), ("start", 0, 0)), 2: history("a", ("monitor", 0, 7)),
              3: history("a", ("monitor", 0, 7))}
    assert actions(cib(primitive("a"), status=status)) == set()


def test_location_moves_and_stickiness_holds() -> None:
    status = {1: history("a", ("start", 0, 0)), 2: history("a", ("monitor", 0, 7)), 3: history("a", ("monitor", 0, 7))}
    location = '<rsc_location id="l" rsc="a" node="n2" score="50"/>'
    moved = actions(cib(primitive("a"), location, status=status))
    assert {("a_stop_0", "n1"), ("a_start_0", "n2")} <= moved
    sticky = '<meta_attributes id="m"><nvpair id="s" name="resource-stickiness" value="100"/></meta_attributes>'
    assert actions(cib(primitive("a", sticky), location, status=status)) == set()


def test_group_stays_together_in_order() -> None:
    root = cib(f'<group id="g">{primitive("a")}{primitive("b")}</group>', nodes=2)
    graph = schedule(root, NOW).graph
    by_key = {a.key: (a, s) for s in graph.synapses for a in s.actions if a.operation == "start"}
    assert by_key["a_start_0"][0].node == by_key["b_start_0"][0].node
    assert by_key["a_start_0"][0].id in by_key["b_start_0"][1].inputs


def test_failed_monitor_recovers() -> None:
    monitor = '<operations><op id="o" name="monitor" interval="10s"/></operations>'
    status = {1: history("a", ("start", 0, 0), ("monitor", 10_000, 1)), 2: history("a", ("monitor", 0, 7)),
              3: history("a", ("monitor", 0, 7))}
    done = actions(cib(primitive("a", monitor), status=status))
    assert {("a_stop_0", "n1"), ("a_start_0", "n1")} <= done


def test_lost_node_is_fenced_before_recovery() -> None:
    fence = '<primitive id="f" class="stonith" type="fence_x"/>'
    lost = 'in_ccm="false" crmd="offline" join="down" expected="member"'
    status = {1: history("a", ("start", 0, 0)), 2: history("a", ("monitor", 0, 7)) + history("f", ("start", 0, 0)),
              3: history("a", ("monitor", 0, 7)) + history("f", ("monitor", 0, 7))}
    root = cib(fence + primitive("a"), options={"fencing-enabled": "true"}, status=status, states={1: lost})
    graph = schedule(root, NOW).graph
    fencing = next(a for s in graph.synapses for a in s.actions if a.operation == "stonith")
    assert fencing.node == "n1" and fencing.downed == ("1",)
    start = next((a, s) for s in graph.synapses for a in s.actions if a.key == "a_start_0")
    assert start[0].node != "n1"
    reached, work = set(), list(start[1].inputs)
    inputs = {a.id: s.inputs for s in graph.synapses for a in s.actions}
    while work:
        number = work.pop()
        if number not in reached:
            reached.add(number)
            work.extend(inputs[number])
    assert fencing.id in reached


def test_without_quorum_nothing_starts() -> None:
    root = cib(primitive("a"))
    root.set("have-quorum", "0")
    assert not {key for key, _ in actions(root) if key.endswith("_start_0")}


def test_target_role_stopped() -> None:
    stopped = '<meta_attributes id="m"><nvpair id="s" name="target-role" value="Stopped"/></meta_attributes>'
    ws = unpack(cib(primitive("a", stopped)), NOW)
    assert ws.resource_by_id["a"].next_role is Role.STOPPED
    assert not {key for key, _ in actions(cib(primitive("a", stopped))) if key.endswith("_start_0")}


def test_old_names_are_read() -> None:
    root = cib(primitive("a"), options={"stonith-enabled": "false", "no-quorum-policy": "suicide"})
    ws = unpack(root, NOW)
    assert not ws.fencing_enabled and ws.quorum_policy.value == "stop"


def test_input_is_left_alone_and_worker_agrees() -> None:
    root = cib(primitive("a") + f'<clone id="c">{primitive("b")}</clone>')
    before = etree.tostring(root)
    one = schedule(root, NOW).graph
    assert etree.tostring(root) == before
    assert schedule_bytes(before, NOW).graph == one


def test_graph_survives_its_xml() -> None:
    graph = schedule(cib(primitive("a") + primitive("b")), NOW).graph
    again = from_element(to_element(graph))
    assert [(a.key, a.node, s.inputs) for s in again.synapses for a in s.actions] == [
        (a.key, a.node, s.inputs) for s in graph.synapses for a in s.actions]


def test_bad_input_is_told() -> None:
    root = cib(primitive("a"), '<rsc_location id="l" rsc="ghost" node="n1" score="1"/>'
                               '<rsc_colocation id="c" rsc="a" with-rsc="a" score="lots"/>')
    codes = {message.code for message in schedule(root, NOW).messages}
    assert {"constraint-resource", "score"} <= codes


def test_scores() -> None:
    assert add_scores(INFINITY, -INFINITY) == -INFINITY
    assert add_scores(INFINITY, -5) == INFINITY
    assert parse_score("-INFINITY") == -INFINITY and parse_score("x") is None and parse_score(None, 3) == 3
    assert score_text(2 * INFINITY) == "INFINITY"
