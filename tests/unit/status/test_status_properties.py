"""Whatever the order of entries: replicas agree, records are unique, nothing is lost between nodes."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from quorate.model.cib import Cib, status
from quorate.model.entries import ActionCancel, ActionRequest, ActionResult, HistoryCleared

CONFIGURATION = b"""<cib admin_epoch="0" epoch="1" num_updates="0" validate-with="pacemaker-3.9"><configuration>
<crm_config/><nodes><node id="1" uname="a"/><node id="2" uname="b"/></nodes><resources/><constraints/></configuration>
<status/></cib>"""

Step = Callable[[Cib], bool]
nodes = st.sampled_from(["a", "b", "remote"])
resources = st.sampled_from(["r", "s:0", "s:1"])
operations = st.sampled_from([("start", 0), ("stop", 0), ("monitor", 0), ("monitor", 5000), ("promote", 0), ("notify", 0),
                              ("migrate_to", 0), ("reload-agent", 0)])  # fmt: skip
keys = st.builds("{}:1:{}:u".format, st.integers(0, 5), st.sampled_from([0, 7, 8]))
texts = st.text(max_size=8)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    node, resource, (operation, interval_ms), key = draw(nodes), draw(resources), draw(operations), draw(keys)
    match draw(st.sampled_from(["pending", "result", "cancel", "clear", "attribute", "delete", "void", "erase"])):
        case "pending":
            request = ActionRequest(
                key=key, node=node, executor="a", resource=resource, agent_class="ocf", provider="p", agent="x",
                operation=operation, interval_ms=interval_ms, timeout_ms=1, target_rc=0, parameters={"p": draw(texts)},
            )  # fmt: skip
            return lambda cib: status.record_pending(cib, request)
        case "result":
            result = ActionResult(
                key=key, node=node, executor="a", resource=resource, agent_class="ocf", provider="p", agent="x",
                operation=operation, interval_ms=interval_ms, rc=draw(st.sampled_from([0, 1, 7, 8, 99])),
                status=draw(st.sampled_from([0, 1, 2, 4])), call_id=draw(st.integers(1, 9)), reason=draw(texts),
                started_at=draw(st.integers(1, 3)), digest="d",
            )  # fmt: skip
            return lambda cib: status.record_result(cib, result) and (status.count_failure(cib, result) or True)
        case "cancel":
            cancel = ActionCancel(
                key=key, node=node, executor="a", resource=resource, operation=operation, interval_ms=interval_ms
            )
            return lambda cib: status.record_cancel(cib, cancel)
        case "clear":
            cleared = HistoryCleared(
                request="q", node=draw(st.none() | nodes), resource=draw(st.none() | st.sampled_from(["r", "s", "s:0"])),
                operation=draw(st.none() | st.just(operation)), failures_only=draw(st.booleans()),
                failcounts=draw(st.booleans()), history=draw(st.booleans()),
            )  # fmt: skip
            return lambda cib: status.clear_history(cib, cleared)
        case "attribute":
            name, value = draw(texts), draw(st.none() | texts)
            return lambda cib: status.set_attribute(cib, node, name, value)
        case "delete":
            pattern = draw(st.sampled_from(["^fail-count", "", "[", "a|b"]))
            return lambda cib: status.delete_attributes(cib, node, pattern)
        case "void":
            return lambda cib: status.void_pending(cib, node, {key})
        case _:
            return lambda cib: status.erase_node(cib, node)


@settings(max_examples=150)
@given(st.lists(steps(), max_size=25))
def test_replicas_agree_and_records_are_unique(sequence: list[Step]) -> None:
    one, two = Cib.parse(CONFIGURATION), Cib.parse(CONFIGURATION)
    for step in sequence:
        before = one.serialize()
        changed = step(one)
        assert step(two) == changed
        assert changed == (one.serialize() != before)
        two = Cib.parse(two.serialize())  # a snapshot was transferred in between
        assert one.serialize() == two.serialize()
    for resource in one.status.iter("lrm_resource"):
        ids = [record.get("id") for record in resource]
        assert len(ids) == len(set(ids))
    for part in one.status.iter("instance_attributes"):
        names = [pair.get("name") for pair in part]
        assert len(names) == len(set(names))


@settings(max_examples=60)
@given(st.lists(steps(), max_size=15), st.lists(steps(), max_size=15))
def test_a_nodes_history_travels_whole(here: list[Step], there: list[Step]) -> None:
    mine, other = Cib.parse(CONFIGURATION), Cib.parse(CONFIGURATION)
    for steps_of, cib in ((here, mine), (there, other)):
        for step in steps_of:
            step(cib)
    for name in status.node_names(other):
        brought = status.node_state_bytes(other, name)
        assert brought is not None
        status.replace_node_state(mine, brought)
        found, wanted = status.find_node_state(mine, name), status.find_node_state(other, name)
        assert found is not None and wanted is not None
        assert [etree.tostring(part) for part in found] == [etree.tostring(part) for part in wanted]
