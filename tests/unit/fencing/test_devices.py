"""What the configuration says about fence devices, and the plans that follow from it."""

from __future__ import annotations

import pytest

from quorate.core.fencing.devices import (
    UNKNOWN_AGENT,
    AgentFacts,
    HostCheck,
    node_attributes,
    parse_agent,
    read_devices,
    running_on,
    topology,
)
from quorate.core.fencing.plan import choose_executor, delay_ms, levels_for, steps_of, total_timeout_ms
from quorate.core.replication.state import ReplicatedState
from quorate.model.agents import AgentError
from quorate.model.cib import Cib
from tests.unit.controller.bench import agent_metadata, cib_with, device

FACTS = {"fence_test": parse_agent(agent_metadata(), "stonith:fence_test")}


def one(**options: str) -> object:
    (found,) = read_devices(cib_with(resources=device("f", **options)))
    return found


def test_parameters_and_options_are_told_apart() -> None:
    (found,) = read_devices(
        cib_with(resources=device("f", pcmk_host_list="n1", ip="10.0.0.9", crm_feature_set="3.16", action="reboot"))
    )
    assert found.parameters == {"ip": "10.0.0.9"}
    assert found.options == {"pcmk_host_list": "n1"}


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ({"pcmk_host_list": "n1 n2,n3;n4"}, {"n1": "n1", "n2": "n2", "n3": "n3", "n4": "n4"}),
        ({"pcmk_host_map": "n1:p1;n2:p2,p3"}, {"n1": "p1", "n2": "p2,p3"}),
        ({"pcmk_host_map": "n1:7", "pcmk_host_list": "n1 n2"}, {"n1": "7", "n2": "n2"}),
        ({}, {}),
    ],
)
def test_host_lists_and_maps(options: dict[str, str], hosts: dict[str, str]) -> None:
    (found,) = read_devices(cib_with(resources=device("f", **options)))
    assert found.hosts == hosts


@pytest.mark.parametrize(
    ("options", "actions", "check"),
    [
        ({"pcmk_host_list": "n1"}, "list status", HostCheck.STATIC),
        ({}, "off list status", HostCheck.DYNAMIC),
        ({}, "off status", HostCheck.STATUS),
        ({}, "off", HostCheck.NONE),
        ({"pcmk_host_check": "none", "pcmk_host_list": "n1"}, "list", HostCheck.NONE),
        ({"pcmk_host_check": "status"}, "list", HostCheck.STATUS),
        ({"pcmk_host_check": "static-list"}, "list", HostCheck.STATIC),
    ],
)
def test_how_it_is_found_out_whom_a_device_knows(options: dict[str, str], actions: str, check: HostCheck) -> None:
    (found,) = read_devices(cib_with(resources=device("f", **options)))
    assert found.host_check(AgentFacts(actions=frozenset(actions.split()))) is check


def test_a_stopped_device_is_none() -> None:
    stopped = '<meta_attributes id="m"><nvpair id="t" name="target-role" value="Stopped"/></meta_attributes>'
    assert read_devices(cib_with(resources=device("f", meta=stopped))) == ()


def test_a_device_in_a_stopped_group_is_none() -> None:
    group = (
        f'<group id="g">{device("f")}<meta_attributes id="m"><nvpair id="t" name="target-role" value="stopped"/>'
        "</meta_attributes></group>"
    )
    assert read_devices(cib_with(resources=group)) == ()


def test_a_template_gives_what_the_primitive_lacks() -> None:
    resources = (
        '<template id="t" class="stonith" type="fence_t"><instance_attributes id="ti">'
        '<nvpair id="ti1" name="ip" value="10.0.0.1"/><nvpair id="ti2" name="user" value="u"/></instance_attributes>'
        '</template><primitive id="f" template="t"><instance_attributes id="fi">'
        '<nvpair id="fi1" name="ip" value="10.0.0.2"/>'
        "</instance_attributes></primitive>"
    )
    (found,) = read_devices(cib_with(resources=resources))
    assert (found.agent, found.parameters) == ("fence_t", {"ip": "10.0.0.2", "user": "u"})


def test_what_the_agent_is_told() -> None:
    (found,) = read_devices(
        cib_with(resources=device("f", pcmk_host_map="n2:plug7", pcmk_reboot_action="off", ip="10.0.0.9"))
    )
    told = found.agent_parameters(FACTS["fence_test"], "reboot", "n2", 2)
    assert told == {"ip": "10.0.0.9", "action": "off", "nodename": "n2", "nodeid": "2", "port": "plug7"}


@pytest.mark.parametrize(
    ("options", "parameters", "expected"),
    [
        ({}, "port", {"port": "n2"}),
        ({}, "plug", {"plug": "n2"}),
        ({}, "ip", {}),
        ({"pcmk_host_argument": "domain"}, "port", {"domain": "n2"}),
        ({"pcmk_host_argument": "none"}, "port", {}),
        ({"port": "5"}, "port", {"port": "5"}),
    ],
)
def test_the_name_of_the_target(options: dict[str, str], parameters: str, expected: dict[str, str]) -> None:
    (found,) = read_devices(cib_with(resources=device("f", **options)))
    told = found.agent_parameters(parse_agent(agent_metadata(parameters=parameters), "f"), "off", "n2", 0)
    assert {name: value for name, value in told.items() if name not in ("action", "nodename")} == expected


def test_timeouts_and_tries() -> None:
    (found,) = read_devices(cib_with(resources=device("f", pcmk_off_timeout="7s", pcmk_off_retries="4")))
    assert (found.action_timeout_ms("off", 60_000), found.action_timeout_ms("on", 60_000)) == (7_000, 60_000)
    assert (found.tries("off"), found.tries("reboot")) == (4, 2)


def test_delays_are_bounded_and_follow_from_the_request() -> None:
    (found,) = read_devices(cib_with(resources=device("f", pcmk_delay_base="2s", pcmk_delay_max="5s")))
    drawn = [delay_ms(found, "n2", f"request-{number}") for number in range(50)]
    assert all(2_000 <= value <= 5_000 for value in drawn)
    assert len(set(drawn)) > 10
    assert delay_ms(found, "n2", "request-1") == drawn[1]


def test_delays_by_node() -> None:
    (found,) = read_devices(cib_with(resources=device("f", pcmk_delay_base="n1:0s;n2:10s")))
    assert [delay_ms(found, node, "r") for node in ("n1", "n2", "n3")] == [0, 10_000, 0]


# ---- levels ---------------------------------------------------------------------------------------------------------


def test_without_a_topology_each_device_is_a_level_certain_ones_first() -> None:
    cib = cib_with(resources=device("a") + device("b", pcmk_host_list="n2") + device("c", pcmk_host_list="n9"))
    levels = levels_for(cib, "n2", FACTS)
    assert [[each.id for each in level.devices] for level in levels] == [["b"], ["a"]]


def test_priority_orders_devices() -> None:
    cib = cib_with(resources=device("a", pcmk_host_list="n2") + device("b", pcmk_host_list="n2", priority="10"))
    assert [level.devices[0].id for level in levels_for(cib, "n2", FACTS)] == ["b", "a"]


TOPOLOGY = (
    '<fencing-level id="l2" target="n2" index="2" devices="c"/>'
    '<fencing-level id="l1" target="n2" index="1" devices="a,b"/>'
    '<fencing-level id="p" target-pattern="n[23]" index="1" devices="c"/>'
    '<fencing-level id="t" target-attribute="rack" target-value="7" index="1" devices="a"/>'
)


def test_the_topology_is_followed_from_its_lowest_level() -> None:
    cib = cib_with(resources=device("a") + device("b") + device("c"), topology=TOPOLOGY)
    assert topology(cib, "n2", {}) == (("a", "b"), ("c",))
    assert topology(cib, "N3", {}) == (("c",),)
    assert topology(cib, "n1", {"rack": "7"}) == (("a",),)
    assert topology(cib, "n1", {}) == ()
    assert [[each.id for each in level.devices] for level in levels_for(cib, "n2", FACTS)] == [["a", "b"], ["c"]]


def test_a_level_with_a_missing_device_is_passed_over() -> None:
    cib = cib_with(resources=device("a") + device("c"), topology=TOPOLOGY)
    assert [[each.id for each in level.devices] for level in levels_for(cib, "n2", FACTS)] == [["c"]]


def test_uname_in_a_topology_is_the_nodes_name() -> None:
    level = '<fencing-level id="u" target-attribute="#uname" target-value="n3" index="1" devices="a"/>'
    assert topology(cib_with(resources=device("a"), topology=level), "n3", {}) == (("a",),)


def steps(cib: Cib, target: str, action: str, facts: dict[str, AgentFacts] = FACTS) -> list[tuple[str, str, bool]]:
    level = levels_for(cib, target, facts)[0]
    found = steps_of(level, action, target, "r", 60_000, facts)
    return [(step.device.id, step.action, step.essential) for step in found]


def test_a_reboot_by_one_device_is_one_step() -> None:
    assert steps(cib_with(resources=device("a", pcmk_host_list="n2")), "n2", "reboot") == [("a", "reboot", True)]


def test_a_reboot_by_a_device_that_cannot_is_off_and_on() -> None:
    facts = {"fence_test": AgentFacts(actions=frozenset({"on", "off"}))}
    cib = cib_with(resources=device("a", pcmk_host_list="n2"))
    assert steps(cib, "n2", "reboot", facts) == [("a", "off", True), ("a", "on", False)]


def test_a_reboot_by_several_is_all_off_then_all_on() -> None:
    cib = cib_with(resources=device("a") + device("b") + device("c"), topology=TOPOLOGY)
    assert steps(cib, "n2", "reboot") == [
        ("a", "off", True),
        ("b", "off", True),
        ("a", "on", False),
        ("b", "on", False),
    ]


def test_the_whole_time_counts_every_level_and_delay() -> None:
    cib = cib_with(
        resources=device("a", pcmk_host_list="n2", pcmk_off_timeout="10s", pcmk_delay_base="5s")
        + device("b", pcmk_host_list="n2", pcmk_off_timeout="20s")
    )
    levels = levels_for(cib, "n2", FACTS)
    assert total_timeout_ms(levels, "off", "n2", "r", 1_000, FACTS) == 35_000


# ---- who does it ----------------------------------------------------------------------------------------------------


def chosen(
    cib: Cib,
    target: str,
    action: str = "off",
    attempt: int = 1,
    online: tuple[str, ...] = ("n1", "n2", "n3"),
    facts: dict[str, AgentFacts] = FACTS,
) -> str | None:
    state = ReplicatedState(cib=cib)
    return choose_executor(state, online, target, action, levels_for(cib, target, facts), facts, attempt, "n2")


STATUS = (
    '<node_state id="3" uname="n3"><lrm id="3"><lrm_resources><lrm_resource id="a" type="fence_test" class="stonith">'
    '<lrm_rsc_op id="a_last_0" operation="start" rc-code="0" call-id="5"/>'
    '<lrm_rsc_op id="a_monitor_0" operation="monitor" rc-code="7" call-id="2"/>'
    "</lrm_resource></lrm_resources></lrm></node_state>"
)


def started_on_n3() -> Cib:
    cib = cib_with(resources=device("a", pcmk_host_list="n1 n2 n3"))
    text = cib.serialize().replace(b"<status/>", f"<status>{STATUS}</status>".encode())
    return Cib.parse(text)


def test_the_node_that_runs_the_device_does_it() -> None:
    assert running_on(started_on_n3(), "a") == ("n3",)
    assert chosen(started_on_n3(), "n1") == "n3"


def test_never_the_target() -> None:
    assert chosen(started_on_n3(), "n3") == "n2"
    assert chosen(started_on_n3(), "n3", online=("n3",)) is None


def test_each_attempt_begins_with_another_node() -> None:
    assert [chosen(started_on_n3(), "n1", attempt=attempt) for attempt in (1, 2, 3)] == ["n3", "n2", "n3"]


def test_a_banned_node_does_not() -> None:
    ban = '<rsc_location id="b" rsc="a" node="n2" score="-INFINITY"/>'
    cib = cib_with(resources=device("a", pcmk_host_list="n1"), constraints=ban)
    assert chosen(cib, "n1") == "n3"


def test_unfencing_on_the_target_is_done_there() -> None:
    facts = {"fence_test": parse_agent(agent_metadata(on='on_target="1" automatic="1"'), "f")}
    assert facts["fence_test"].on_target and facts["fence_test"].automatic
    assert chosen(started_on_n3(), "n1", "on", facts=facts) == "n1"


def test_metadata_that_is_none() -> None:
    with pytest.raises(AgentError):
        parse_agent(b"usage: fence_test", "stonith:fence_test")
    assert UNKNOWN_AGENT.supports("reboot")


def test_attributes_of_a_node() -> None:
    cib = cib_with()
    text = cib.serialize().replace(
        b'<node id="1" uname="n1"/>',
        b'<node id="1" uname="n1"><instance_attributes id="i"><nvpair id="i1" name="rack" value="7"/>'
        b"</instance_attributes></node>",
    )
    assert node_attributes(Cib.parse(text), "n1") == {"rack": "7"}
