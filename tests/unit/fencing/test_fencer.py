"""The fencer: requests, their execution, failures, and what voids them."""

from __future__ import annotations

import dataclasses

import pytest

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.arbitration.conditions import Presence
from quorate.model import entries, protocol
from tests.unit.controller.bench import RIGHTS, Bench, agent_metadata, cib_with, device

DEVICE = device("f", pcmk_host_list="n1 n2 n3", pcmk_reboot_retries="1", pcmk_off_retries="1", pcmk_on_retries="1")


def bench_with(resources: str = DEVICE, node: str = "n1", topology: str = "") -> Bench:
    bench = Bench(cib_with(resources=resources, topology=topology), node=node)
    bench.dc = "n1"
    bench.all_online()
    return bench


def want(bench: Bench, target: str = "n3", action: str = "reboot", delay_ms: int = 0) -> None:
    """As the controller does: the effects go the usual way."""
    effects = bench.fencer.want(
        target, action, cause="lost", delay_ms=delay_ms, timeout_ms=60_000, now=bench.now, state=bench.state
    )
    bench.carry(effects)


def requests(bench: Bench) -> list[entries.FenceRequest]:
    return [entry for entry in bench.logged if isinstance(entry, entries.FenceRequest)]


def results(bench: Bench) -> list[entries.FenceResult]:
    return [entry for entry in bench.logged if isinstance(entry, entries.FenceResult)]


def request_for(executor: str, target: str = "n3", **changes: object) -> entries.FenceRequest:
    facts: dict[str, object] = {
        "id": "r1",
        "target": target,
        "boot_id": f"boot-{target}",
        "action": "reboot",
        "origin": "n1",
        "client": "test",
        "executor": executor,
        "devices": ("f",),
        "timeout_ms": 60_000,
        "delay_ms": 0,
        "cause": "lost",
        "at": 0,
    }
    return entries.FenceRequest(**(facts | changes))  # type: ignore[arg-type]


def lost(bench: Bench, node: str = "n3") -> None:
    bench.presence(**{node: "lost"})
    bench.situation()


# ---- the straight way -----------------------------------------------------------------------------------------------


def test_a_request_is_carried_out_and_settles_the_node() -> None:
    bench = bench_with()
    lost(bench)
    want(bench)
    (agent,) = bench.agents()
    assert (agent.agent, agent.action) == ("fence_test", "reboot")
    assert agent.parameters["port"] == "n3" and agent.parameters["action"] == "reboot"
    assert bench.fencer.running() == (requests(bench)[0].id,)
    bench.agent_exits(rc=0)
    (result,) = results(bench)
    assert result.confirmed and result.device == "f" and result.boot_id == "boot-n3"
    assert bench.state.presence("n3") is Presence.DOWN
    assert bench.fencer.running() == ()
    assert "fenced" in bench.codes()


def test_nothing_is_run_before_the_request_is_committed() -> None:
    bench = bench_with()
    lost(bench)
    bench.hold = True
    want(bench)
    assert len(requests(bench)) == 1 and bench.agents() == []
    entry = bench.transit[0]
    bench.transit.clear()
    committed = bench._apply(entry, mine=True)
    bench.give(committed[0])
    assert bench.agents() == []
    bench.give(committed[1])
    assert len(bench.agents()) == 1


def test_only_the_named_executor_runs_it() -> None:
    bench = bench_with()
    lost(bench)
    bench.foreign(request_for("n2"))
    assert bench.agents() == []
    assert bench.fencer.running() == ()


def test_the_target_never_executes_its_own() -> None:
    bench = bench_with(node="n3")
    bench.foreign(request_for("n3", target="n3"))
    assert bench.agents() == []
    assert not results(bench)[0].confirmed


def test_requests_for_the_same_need_are_one() -> None:
    bench = bench_with()
    lost(bench)
    want(bench)
    want(bench)
    want(bench, action="off")
    assert len(requests(bench)) == 1
    assert len(bench.agents()) == 1


def test_a_priority_delay_comes_before_all() -> None:
    bench = bench_with()
    lost(bench)
    want(bench, delay_ms=15_000)
    assert bench.agents() == []
    bench.wait(14_000)
    assert bench.agents() == []
    bench.wait(2_000)
    assert len(bench.agents()) == 1


def test_a_devices_delay_comes_once() -> None:
    bench = bench_with(device("f", pcmk_host_list="n3", pcmk_delay_base="3s", pcmk_reboot_retries="2"))
    lost(bench)
    want(bench)
    assert bench.agents() == []
    bench.wait(3_000)
    assert len(bench.agents()) == 1
    bench.agent_exits(rc=1)
    assert len(bench.agents()) == 2  # the second try at once


# ---- rights and boots -----------------------------------------------------------------------------------------------


def test_the_right_is_asked_for_again_after_the_delay() -> None:
    bench = bench_with(device("f", pcmk_host_list="n3", pcmk_delay_base="3s"))
    lost(bench)
    want(bench)
    bench.rights = dataclasses.replace(RIGHTS, fence=False, take_over=False, quorate=False)
    bench.presence(n2="lost")
    bench.situation()
    bench.wait(3_000)
    assert bench.agents() == []
    assert not results(bench)[0].confirmed


def test_between_views_a_job_waits_and_then_goes_on() -> None:
    bench = bench_with(device("f", pcmk_host_list="n3", pcmk_delay_base="3s"))
    lost(bench)
    want(bench)
    bench.synced = False
    bench.situation()
    bench.wait(3_000)
    assert bench.agents() == [] and results(bench) == []
    assert bench.fencer.running() == (requests(bench)[0].id,)
    bench.synced = True
    bench.situation()
    assert len(bench.agents()) == 1


def test_a_node_that_is_back_before_anything_was_done_is_not_shot() -> None:
    bench = bench_with(device("f", pcmk_host_list="n3", pcmk_delay_base="3s"))
    lost(bench)
    want(bench)
    bench.presence(n3="online")
    bench.situation()
    bench.wait(3_000)
    assert bench.agents() == []
    (result,) = results(bench)
    assert result.void and "not touched" in result.reason


def test_a_node_that_is_back_after_a_failed_try_is_not_tried_again() -> None:
    bench = bench_with(device("f", pcmk_host_list="n3", pcmk_reboot_retries="5"))
    lost(bench)
    want(bench)
    bench.presence(n3="online")
    bench.situation()
    bench.agent_exits(rc=1)
    assert len(bench.agents()) == 1
    assert results(bench)[0].void


def test_a_member_that_must_be_fenced_is() -> None:
    """A stop has failed there: that it is a member is no reason to spare it."""
    bench = bench_with(device("f", pcmk_host_list="n3", pcmk_delay_base="3s"))
    want(bench)
    bench.wait(3_000)
    assert len(bench.agents()) == 1


def test_a_newer_boot_voids_the_request() -> None:
    bench = bench_with(device("f", pcmk_host_list="n3", pcmk_delay_base="3s"))
    lost(bench)
    want(bench)
    bench.state.nodes["n3"].boot_id = "boot-later"
    bench.situation()
    bench.wait(3_000)
    assert bench.agents() == []
    (result,) = results(bench)
    assert result.void and not result.confirmed
    assert bench.state.presence("n3") is not Presence.DOWN


def test_a_newer_boot_settles_what_was_owed_before_it_was_asked_for() -> None:
    bench = bench_with(device("g", pcmk_host_list="n9"))
    lost(bench)
    want(bench)  # no device: fails, and will be tried again
    bench.fencer.want("n3", "reboot", cause="lost", delay_ms=0, timeout_ms=60_000, now=bench.now, state=bench.state)
    before = len(requests(bench))
    bench.state.nodes["n3"].boot_id = "boot-later"
    bench.situation()
    bench.wait(120_000)
    assert len(requests(bench)) == before


def test_a_request_that_names_an_old_boot_is_void_in_the_log() -> None:
    bench = bench_with()
    bench.state.nodes["n3"].boot_id = "boot-later"
    bench.foreign(request_for("n1"))
    assert bench.agents() == []


def test_a_result_that_is_lost_is_said_again() -> None:
    bench = bench_with()
    lost(bench)
    want(bench)
    bench.hold = True
    bench.agent_exits(rc=0)
    assert bench.fencer.running() == (requests(bench)[0].id,)
    bench.lose()
    assert len(results(bench)) == 2
    bench.deliver()
    assert bench.state.presence("n3") is Presence.DOWN


def test_a_result_found_between_views_is_said_in_the_next() -> None:
    bench = bench_with()
    lost(bench)
    want(bench)
    bench.synced = False
    bench.situation()
    bench.hold = True
    bench.agent_exits(rc=0)
    bench.lose()
    assert len(results(bench)) == 1
    bench.synced = True
    bench.situation()
    assert len(results(bench)) == 2
    bench.deliver()
    assert bench.state.presence("n3") is Presence.DOWN


def test_without_quorum_suicide_is_done_by_each_member_itself() -> None:
    for node, ends in (("n1", False), ("n2", True)):
        bench = bench_with(node=node)
        bench.rights = dataclasses.replace(RIGHTS, fence=False, take_over=False, quorate=False, policy="suicide")
        bench.presence(n3="lost")
        bench.situation()
        want(bench, target="n2")
        want(bench, target="n3")  # the others are not ours to fence
        assert [(request.target, request.executor) for request in requests(bench)] == [("n2", "n2")]
        stops = [effect for effect in bench.effects if isinstance(effect, fx.StopNode)]
        assert [stop.how for stop in stops] == (["reboot"] if ends else [])
        assert bench.agents() == []


def test_a_request_for_oneself_is_no_suicide_while_there_is_quorum() -> None:
    bench = bench_with(node="n2")
    bench.rights = dataclasses.replace(RIGHTS, policy="suicide")
    bench.situation()
    bench.foreign(request_for("n2", target="n2", devices=()))
    assert not any(isinstance(effect, fx.StopNode) for effect in bench.effects)


# ---- failures -------------------------------------------------------------------------------------------------------


def test_devices_are_tried_in_turn() -> None:
    bench = bench_with(
        device("a", pcmk_host_list="n3", pcmk_reboot_retries="1") + device("b", pcmk_host_list="n3", agent="fence_b")
    )
    lost(bench)
    want(bench)
    bench.agent_exits(rc=1, errors="login failed")
    assert bench.agents()[-1].key.endswith(":2")
    bench.agent_exits(rc=0)
    assert results(bench)[0].confirmed and results(bench)[0].device == "b"


def test_a_failed_action_is_tried_again_while_there_is_time() -> None:
    bench = bench_with(device("f", pcmk_host_list="n3"))
    lost(bench)
    want(bench)
    bench.agent_exits(rc=1)
    assert len(bench.agents()) == 2
    bench.agent_exits(rc=1, errors="no route\nlogin failed")
    (result,) = results(bench)
    assert not result.confirmed
    assert "login failed" in result.reason
    assert "fencing-failed" in bench.codes()


def test_a_timeout_is_not_tried_again() -> None:
    bench = bench_with(device("f", pcmk_host_list="n3", pcmk_reboot_timeout="10s"))
    lost(bench)
    want(bench)
    bench.wait(10_000)
    bench.agent_exits(rc=1, timed_out=True)
    assert len(bench.agents()) == 1
    assert "timed out" in results(bench)[0].reason


def test_an_agent_that_cannot_be_ended_is_no_success() -> None:
    bench = bench_with()
    lost(bench)
    want(bench)
    bench.agent_exits(rc=0, alive=True)
    assert not results(bench)[0].confirmed


def test_no_device_is_a_failure_with_its_reason() -> None:
    bench = bench_with(device("f", pcmk_host_list="n1 n2"))
    lost(bench)
    want(bench)
    assert results(bench)[0].reason == "no fencing device can fence n3"


def test_failures_lengthen_the_pause_and_it_is_never_given_up() -> None:
    bench = bench_with(device("f", pcmk_host_list="n9"))
    lost(bench)
    times: list[int] = []
    for _ in range(9):
        want(bench)
        while not bench.state.fences or len(requests(bench)) == len(times):
            before = bench.now
            bench.wait(500)
            assert bench.now - before < 10**12
        times.append(bench.now // 1_000_000_000)
        for request in requests(bench):
            if bench.state.fences[request.id].is_open:
                bench.foreign(
                    entries.FenceResult(
                        id=request.id,
                        target="n3",
                        boot_id="boot-n3",
                        action="reboot",
                        executor=request.executor,
                        device="",
                        confirmed=False,
                        reason="no",
                    )
                )
    pauses = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_executor_that_is_lost_leaves_an_unknown_outcome() -> None:
    bench = bench_with()
    lost(bench)
    bench.foreign(request_for("n2"))
    bench.presence(n2="lost")
    bench.situation()
    (result,) = results(bench)
    assert result.unknown and not result.confirmed
    assert bench.state.presence("n3") is Presence.LOST


def test_an_executor_that_never_answers_leaves_an_unknown_outcome() -> None:
    bench = bench_with()
    lost(bench)
    bench.foreign(request_for("n2"))
    bench.wait(89_000)
    assert results(bench) == []
    bench.wait(2_000)
    assert results(bench)[0].unknown


def test_only_the_dc_judges_that() -> None:
    bench = bench_with()
    bench.dc = "n2"
    lost(bench)
    bench.foreign(request_for("n2"))
    bench.wait(120_000)
    assert results(bench) == []


def test_a_lost_request_is_asked_for_again() -> None:
    bench = bench_with()
    lost(bench)
    bench.hold = True
    want(bench)
    bench.lose("overflow")
    bench.wait(300)
    assert len(requests(bench)) == 2


def test_what_a_new_graph_does_not_want_is_dropped() -> None:
    bench = bench_with()
    lost(bench)
    bench.hold = True
    want(bench)
    bench.lose("overflow")
    bench.fencer.want_only(())
    bench.wait(300)
    assert len(requests(bench)) == 1


# ---- off, then on ---------------------------------------------------------------------------------------------------


def off_and_on() -> Bench:
    bench = Bench(cib_with(resources=DEVICE))
    bench.metadata = agent_metadata("on off status monitor")
    bench.all_online()
    lost(bench)
    want(bench)
    return bench


def test_the_node_counts_as_fenced_when_it_is_off() -> None:
    bench = off_and_on()
    assert bench.agents()[-1].action == "off"
    bench.agent_exits(rc=0)
    assert bench.state.presence("n3") is Presence.DOWN
    assert bench.agents()[-1].action == "on"


def test_a_failed_on_changes_nothing() -> None:
    bench = off_and_on()
    bench.agent_exits(rc=0)
    bench.agent_exits(rc=1)
    assert len(results(bench)) == 1
    assert bench.fencer._execution.jobs == {}


def test_all_devices_of_a_level_must_succeed() -> None:
    level = (
        '<fencing-level id="l" target="n3" index="1" devices="a,b"/>'
        '<fencing-level id="m" target="n3" index="2" devices="c"/>'
    )
    devices = "".join(device(name, pcmk_off_retries="1") for name in "abc")
    bench = Bench(cib_with(resources=devices, topology=level))
    bench.metadata = agent_metadata("on off reboot monitor")  # asks nobody: check "none"
    bench.all_online()
    lost(bench)
    want(bench, action="off")
    bench.agent_exits(rc=0)
    assert results(bench) == []
    bench.agent_exits(rc=1)
    assert results(bench) == []  # the next level
    bench.agent_exits(rc=0)
    assert results(bench)[0].confirmed and results(bench)[0].device == "c"


# ---- devices that must be asked -------------------------------------------------------------------------------------


def test_a_device_with_a_dynamic_list_is_asked_first() -> None:
    bench = bench_with(device("f", pcmk_reboot_retries="1"))
    lost(bench)
    want(bench)
    assert bench.agents()[-1].action == "list"
    bench.agent_exits(rc=0, output="n1,\nn3,alias\n")
    assert bench.agents()[-1].action == "reboot"


def test_its_list_is_remembered_for_a_while() -> None:
    bench = bench_with(device("f", pcmk_reboot_retries="1"))
    lost(bench)
    want(bench)
    bench.agent_exits(rc=0, output="n2\nn3\n")
    bench.agent_exits(rc=0)
    lost(bench, "n2")
    want(bench, target="n2")
    assert bench.agents()[-1].action == "reboot"


def test_a_device_that_does_not_know_the_target_is_passed_over() -> None:
    bench = bench_with(device("f") + device("g"))
    lost(bench)
    want(bench)
    bench.agent_exits(rc=0, output="n1\n")
    assert bench.agents()[-1].action == "list"
    bench.agent_exits(rc=1, errors="no connection")
    assert "does not know n3" in results(bench)[0].reason and "no connection" in results(bench)[0].reason


@pytest.mark.parametrize(("rc", "action"), [(0, "reboot"), (2, "reboot"), (1, "status")])
def test_status_tells_whether_a_device_knows_the_target(rc: int, action: str) -> None:
    bench = bench_with(device("f", pcmk_host_check="status"))
    lost(bench)
    want(bench)
    assert bench.agents()[-1].action == "status"
    bench.agent_exits(rc=rc)
    assert bench.agents()[-1].action == action


def test_without_metadata_the_agent_is_taken_as_most_are() -> None:
    bench = Bench(cib_with(resources=DEVICE))
    bench.metadata = None
    bench.all_online()
    lost(bench)
    want(bench)
    assert bench.agents() == []
    bench.wait(5_000)
    assert bench.agents()[-1].action == "reboot"


# ---- operators ------------------------------------------------------------------------------------------------------


def ask(bench: Bench, request: protocol.FenceAsked | protocol.FenceConfirmed) -> None:
    bench.carry(bench.fencer.asked(request, "root", bench.now, bench.state, 1_700_000_000))


def test_an_operators_request_takes_the_same_path_on_any_node() -> None:
    bench = bench_with()
    bench.dc = "n2"
    bench.situation()
    ask(bench, protocol.FenceAsked(serial=1, request="q1", target="n3", action="off", client="stonith_admin"))
    (request,) = requests(bench)
    assert (request.id, request.origin, request.client) == ("q1", "n1", "stonith_admin")
    bench.agent_exits(rc=0)
    assert results(bench)[0].confirmed
    assert bench.fencer.is_final(results(bench)[0])


def test_an_unknown_target_is_refused_with_a_reason() -> None:
    bench = bench_with()
    ask(bench, protocol.FenceAsked(serial=1, request="q1", target="n9", action="off"))
    assert results(bench)[0].reason == "no fencing device can fence n9"


def test_an_operators_confirmation_settles_the_debt() -> None:
    bench = bench_with()
    lost(bench)
    bench.foreign(request_for("n2"))
    ask(bench, protocol.FenceConfirmed(serial=1, request="c1", target="n3", client="stonith_admin"))
    (result,) = results(bench)
    assert result.by_hand and result.confirmed and result.id == "r1"
    assert bench.state.presence("n3") is Presence.DOWN


def test_a_living_member_is_not_confirmed_off() -> None:
    bench = bench_with()
    ask(bench, protocol.FenceConfirmed(serial=1, request="c1", target="n3"))
    assert not results(bench)[0].confirmed
    assert bench.state.presence("n3") is Presence.ONLINE


def test_an_operators_request_voided_by_a_view_change_is_asked_again() -> None:
    bench = bench_with()
    ask(bench, protocol.FenceAsked(serial=1, request="q1", target="n3", action="off"))
    fence = bench.state.fences["q1"]
    fence.result = entries.FenceResult(
        id="q1", target="n3", boot_id="boot-n3", action="off", executor="n1", device="", confirmed=False, void=True
    )
    bench.situation()
    assert len(requests(bench)) == 2


def test_devices_are_listed() -> None:
    bench = bench_with(device("a", pcmk_host_list="n1") + device("b", pcmk_host_list="n3"))
    assert bench.fencer.devices(bench.state) == ("a", "b")
    assert bench.fencer.devices(bench.state, "n3") == ("b",)


# ---- metadata -------------------------------------------------------------------------------------------------------


def test_metadata_is_asked_for_once() -> None:
    bench = bench_with()
    bench.situation()
    loads = [effect for effect in bench.effects if isinstance(effect, fx.LoadMetadata)]
    assert [load.agent for load in loads] == ["stonith:fence_test"]


def test_metadata_that_cannot_be_read_is_reported() -> None:
    bench = Bench(cib_with(resources=DEVICE))
    bench.metadata = b"usage"
    bench.all_online()
    assert "fence-agent-metadata" in bench.codes()


def test_other_agents_metadata_is_nobodys_business() -> None:
    bench = bench_with()
    assert bench.give(ev.MetadataLoaded(agent="ocf:heartbeat:Dummy", xml=b"")) == []
