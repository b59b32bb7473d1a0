"""The controller: when it schedules, how it carries a graph out, what aborts it, what it waits for."""

from __future__ import annotations

import dataclasses

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.arbitration.conditions import Presence
from quorate.model import entries
from quorate.model.graph import Graph

from .bench import (
    RIGHTS,
    WALL,
    Bench,
    cib_with,
    device,
    event,
    fencing,
    operation,
    pseudo,
    result_of,
    synapse,
)


def change(section: str = "resources") -> entries.Change:
    return entries.Change(
        request="",
        origin="n2",
        client="cibadmin",
        user="root",
        kind="modify",
        section=section,
        xml=b'<nodes><node id="1" uname="n1" type="member"/></nodes>' if section == "nodes" else b"<resources/>",
    )


def active(cib: object = None) -> Bench:
    """A bench whose node is DC of three, with an idle cluster."""
    bench = Bench(cib)  # type: ignore[arg-type]
    bench.all_online()
    bench.schedule()
    assert bench.controller.is_idle
    return bench


# ---- when it schedules ----------------------------------------------------------------------------------------------


def test_a_new_dc_schedules_at_once() -> None:
    bench = Bench()
    bench.all_online()
    assert bench.runs() == [1]
    assert bench.controller.state_name == "S_POLICY_ENGINE"


def test_only_the_dc_acts() -> None:
    bench = Bench()
    bench.dc = "n2"
    bench.all_online()
    bench.foreign(change())
    assert bench.runs() == []
    assert bench.controller.state_name == "S_NOT_DC"


def test_between_views_nothing_is_done() -> None:
    bench = active()
    bench.synced = False
    bench.situation()
    assert bench.controller.state_name == "S_PENDING"
    bench.foreign(change())
    assert bench.runs() == [1]


def test_an_empty_graph_leads_to_idle() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule()
    assert bench.controller.state_name == "S_IDLE"


def test_a_change_schedules_without_waiting() -> None:
    bench = active()
    bench.foreign(change())
    assert bench.runs() == [1, 2]


def test_changes_during_a_run_are_put_together() -> None:
    bench = active()
    for _ in range(4):
        bench.foreign(change())
    assert bench.runs() == [1, 2]
    bench.schedule(synapse(operation(1, "start", "a", "n1")))
    assert bench.runs() == [1, 2, 3]
    assert bench.requests() == []  # the answer was thrown away
    bench.schedule()
    assert bench.controller.is_idle


def test_ceaseless_changes_do_not_starve_the_cluster() -> None:
    bench = active()
    bench.foreign(change())
    for _ in range(12):
        bench.foreign(change())
        bench.wait(100)
        bench.schedule(synapse(operation(1, "start", "a", "n1")), synapse(operation(2, "start", "b", "n1"), 1))
    assert [request.resource for request in bench.requests()] == ["a"]
    bench.result(bench.requests()[0].key)
    assert [request.resource for request in bench.requests()] == ["a"]  # the rest by a newer graph


def test_the_right_to_take_over_disturbs_no_transition() -> None:
    bench = Bench()
    bench.rights = dataclasses.replace(RIGHTS, take_over=False)
    bench.all_online()
    bench.schedule(synapse(operation(1, "start", "a", "n1")))
    bench.rights = RIGHTS
    bench.situation()
    assert bench.runs() == [1]
    assert bench.controller.state_name == "S_TRANSITION_ENGINE"


def test_an_attribute_that_stays_the_same_is_no_change() -> None:
    bench = active()
    update = entries.AttributeUpdate(request="1", node="n2", name="pingd", value="100")
    bench.foreign(update)
    assert len(bench.runs()) == 2
    bench.schedule()
    bench.foreign(dataclasses_replace(update, request="2"))
    assert len(bench.runs()) == 2
    bench.foreign(dataclasses_replace(update, request="3", value="0"))
    assert len(bench.runs()) == 3


def dataclasses_replace(entry: entries.AttributeUpdate, **changes: str) -> entries.AttributeUpdate:
    import msgspec

    return msgspec.structs.replace(entry, **changes)


def test_time_alone_schedules_again() -> None:
    bench = active(cib_with({"cluster-recheck-interval": "60s"}))
    bench.wait(59_000)
    assert len(bench.runs()) == 1
    bench.wait(2_000)
    assert len(bench.runs()) == 2


def test_a_date_in_the_graph_schedules_again() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(recheck_at=WALL + 30)
    bench.wait(29_000)
    assert len(bench.runs()) == 1
    bench.wait(2_000)
    assert len(bench.runs()) == 2


def test_a_failing_scheduler_is_tried_again_later() -> None:
    bench = Bench()
    bench.all_online()
    bench.give(ev.Scheduled(key=1, graph=None, error="boom"))
    assert "scheduling-failed" in bench.codes()
    assert bench.runs() == [1]
    bench.wait(10_000)
    assert bench.runs() == [1, 2]


def test_a_stale_answer_is_ignored() -> None:
    bench = active()
    bench.give(ev.Scheduled(key=1, graph=Graph(synapses=(synapse(operation(1, "start", "a", "n1")),))))
    assert bench.requests() == []


# ---- carrying a graph out -------------------------------------------------------------------------------------------


def test_actions_wait_for_their_inputs() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(
        synapse(operation(1, "stop", "a", "n2")),
        synapse(pseudo(2), 1),
        synapse(operation(3, "start", "a", "n1"), 2),
        synapse(operation(4, "monitor", "a", "n1", 10_000), 3),
    )
    first = bench.requests()
    assert [(request.operation, request.node) for request in first] == [("stop", "n2")]
    assert bench.controller.state_name == "S_TRANSITION_ENGINE"
    bench.result(first[0].key)
    assert [request.operation for request in bench.requests()] == ["stop", "start"]
    bench.result(bench.requests()[-1].key)
    bench.result(bench.requests()[-1].key)
    assert bench.requests()[-1].interval_ms == 10_000
    assert bench.controller.is_idle
    assert bench.runs() == [1]  # own results that the graph expected abort nothing


def test_transition_keys_are_pacemakers() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(synapse(operation(5, "monitor", "a", "n2", CRM_meta_op_target_rc="7")))
    key = bench.requests()[0].key
    number, transition, target, uuid = key.split(":")
    assert (number, transition, target) == ("5", "1", "7")
    assert [len(part) for part in uuid.split("-")] == [8, 4, 4, 4, 12]
    assert bench.requests()[0].target_rc == 7


def test_parameters_and_meta_are_kept_apart() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(synapse(operation(1, "start", "a", "n1", ip="10.0.0.1", CRM_meta_timeout="5000")))
    request = bench.requests()[0]
    assert request.parameters == {"ip": "10.0.0.1"}
    assert request.timeout_ms == 5000
    assert request.meta["on_node"] == "n1"


def test_batch_limit() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(*(synapse(operation(n, "start", f"r{n}", "n1")) for n in range(1, 6)), batch_limit=2)
    assert len(bench.requests()) == 2
    bench.result(bench.requests()[0].key)
    assert len(bench.requests()) == 3


def test_migration_limit_counts_by_node() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(
        synapse(operation(1, "migrate_to", "a", "n1")),
        synapse(operation(2, "migrate_to", "b", "n1")),
        synapse(operation(3, "migrate_to", "c", "n2")),
        migration_limit=1,
    )
    assert [request.resource for request in bench.requests()] == ["a", "c"]


def test_an_unexpected_probe_is_awaited_by_nobody_and_computed_anew() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(
        synapse(operation(1, "monitor", "a", "n1", CRM_meta_op_target_rc="7")),
        synapse(operation(2, "start", "a", "n2"), 1),
    )
    bench.result(bench.requests()[0].key, rc=0)
    assert len(bench.requests()) == 1
    assert bench.runs() == [1, 2]


def test_a_failure_lets_what_is_under_way_end_before_computing_anew() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(
        synapse(operation(1, "start", "a", "n1")),
        synapse(operation(2, "start", "b", "n2")),
        synapse(operation(3, "start", "c", "n2"), 2),
    )
    first, second = bench.requests()
    bench.result(first.key, rc=1)
    assert bench.runs() == [1]
    assert "action-failed" in bench.codes()
    bench.result(second.key)
    assert len(bench.requests()) == 2  # c is not begun any more
    assert bench.runs() == [1, 2]


def test_after_a_failure_what_is_more_important_still_begins() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(
        synapse(operation(1, "start", "a", "n1")),
        synapse(operation(2, "start", "b", "n1")),
        synapse(operation(3, "notify", "b", "n1"), 2, priority=1_000_000),
    )
    first, second = bench.requests()
    bench.result(first.key, rc=1)
    bench.result(second.key)
    assert bench.requests()[-1].operation == "notify"


def test_a_change_of_configuration_aborts() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(synapse(operation(1, "start", "a", "n1")), synapse(operation(2, "start", "b", "n1"), 1))
    bench.foreign(change())
    assert bench.runs() == [1]
    bench.result(bench.requests()[0].key)
    assert len(bench.requests()) == 1
    assert bench.runs() == [1, 2]


def test_a_monitor_that_fails_later_is_acted_on() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(synapse(operation(1, "monitor", "a", "n1", 10_000)))
    key = bench.requests()[0].key
    bench.result(key)
    assert bench.controller.is_idle
    bench.result(key, rc=7)
    assert bench.runs() == [1, 2]


def test_degraded_counts_as_expected() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(synapse(operation(1, "monitor", "a", "n1", 10_000)))
    bench.result(bench.requests()[0].key, rc=190)
    assert bench.controller.is_idle


def test_cancel_and_history_and_shutdown() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(
        synapse(operation(1, "cancel", "a", "n1", CRM_meta_operation="monitor", CRM_meta_interval="10000")),
        synapse(operation(2, "delete", "old", "n1"), 1),
        synapse(event(3, "clear_failcount", "n1", "a"), 2),
        synapse(event(4, "do_shutdown", "n3"), 3),
    )
    kinds = [type(entry) for entry in bench.logged]
    assert kinds == [entries.ActionCancel, entries.HistoryCleared, entries.HistoryCleared, entries.ShutdownDone]
    cancel, deleted, cleared, left = bench.logged
    assert isinstance(cancel, entries.ActionCancel) and cancel.interval_ms == 10_000 and cancel.operation == "monitor"
    assert isinstance(deleted, entries.HistoryCleared) and deleted.history and not deleted.failcounts
    assert isinstance(cleared, entries.HistoryCleared) and cleared.failcounts and not cleared.history
    assert isinstance(left, entries.ShutdownDone) and left.node == "n3"
    assert bench.state.nodes["n3"].leaving
    assert bench.controller.is_idle


def test_a_node_is_let_go_only_when_its_probes_are_known() -> None:
    """A manager that has just begun knows nothing of what runs: leaving then would leave services behind."""
    bench = Bench()
    bench.all_online()
    bench.schedule(
        synapse(operation(1, "monitor", "a", "n3", CRM_meta_op_target_rc="7")), synapse(event(2, "do_shutdown", "n3"))
    )
    assert not any(isinstance(entry, entries.ShutdownDone) for entry in bench.logged)
    bench.result(bench.requests()[0].key, rc=0)  # it runs there
    assert not any(isinstance(entry, entries.ShutdownDone) for entry in bench.logged)
    assert bench.runs() == [1, 2]
    bench.schedule(synapse(operation(1, "stop", "a", "n3")), synapse(event(2, "do_shutdown", "n3"), 1))
    bench.result(bench.requests()[-1].key)
    assert isinstance(bench.logged[-1], entries.ShutdownDone)


def test_a_request_for_a_node_that_is_away_is_held() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule()
    bench.presence(n2="joining")
    bench.situation()
    bench.schedule(synapse(operation(1, "start", "a", "n2")), synapse(operation(2, "start", "b", "n1")))
    assert [request.node for request in bench.requests()] == ["n1"]
    assert not bench.controller.is_idle


# ---- losses ---------------------------------------------------------------------------------------------------------


def test_entries_in_transit_are_awaited_before_computing_anew() -> None:
    bench = Bench()
    bench.all_online()
    bench.hold = True
    bench.schedule(synapse(operation(1, "start", "a", "n1")))
    bench.rights = dataclasses.replace(RIGHTS, quorate=False, why=(("fence", "votes"),))
    bench.situation()
    assert bench.runs() == [1]
    bench.deliver()
    assert bench.runs() == [1, 2]


def test_a_lost_request_is_derived_anew_after_a_moment() -> None:
    bench = Bench()
    bench.all_online()
    bench.hold = True
    bench.schedule(synapse(operation(1, "start", "a", "n1")))
    bench.lose("overflow")
    assert bench.runs() == [1]
    bench.wait(200)
    assert bench.runs() == [1, 2]


def test_members_change_nothing_is_awaited_and_nothing_repeated() -> None:
    bench = Bench()
    bench.all_online()
    graph = (synapse(operation(1, "start", "slow", "n1")), synapse(operation(2, "monitor", "slow", "n1", 10_000), 1))
    bench.schedule(*graph)
    assert [request.operation for request in bench.requests()] == ["start"]
    bench.presence(n3="lost")
    bench.situation()
    assert bench.runs() == [1, 2]  # the start on n1 is still under way
    bench.schedule(*graph)
    assert [request.operation for request in bench.requests()] == ["start"]  # adopted, not asked for again
    bench.result(bench.requests()[0].key)
    assert [request.operation for request in bench.requests()] == ["start", "monitor"]


def test_a_new_dc_waits_for_what_the_former_began() -> None:
    bench = Bench()
    former = entries.ActionRequest(
        key="9:4:0:former",
        node="n3",
        executor="n3",
        resource="a",
        agent_class="ocf",
        provider="heartbeat",
        agent="Dummy",
        operation="start",
        interval_ms=0,
        timeout_ms=20_000,
        target_rc=0,
        parameters={},
    )
    bench.presence(n1="online", n2="online", n3="online")
    bench.foreign(former)
    bench.situation()
    bench.schedule(synapse(operation(1, "start", "a", "n3")), synapse(operation(2, "start", "b", "n3"), 1))
    assert bench.requests() == []
    bench.foreign(result_of(former))
    assert [request.resource for request in bench.requests()] == ["b"]


def test_an_adopted_action_with_other_parameters_is_looked_at_again() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(synapse(operation(1, "start", "a", "n1", ip="10.0.0.1")))
    bench.presence(n3="lost")
    bench.situation()
    bench.schedule(synapse(operation(1, "start", "a", "n1", ip="10.0.0.2")))
    bench.result(bench.requests()[0].key)
    assert bench.runs() == [1, 2, 3]


def test_an_executor_that_never_answers() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(synapse(operation(1, "stop", "a", "n2")))
    bench.wait(79_000)
    assert "action-lost" not in bench.codes()
    bench.wait(2_000)
    result = bench.logged[-1]
    assert isinstance(result, entries.ActionResult)
    assert (result.status, result.rc, result.executor) == (2, 1, "n2")
    assert bench.state.pending == {}
    assert bench.runs() == [1, 2]


def test_a_refused_action_is_not_repeated_at_full_speed() -> None:
    bench = Bench()
    bench.all_online()
    for expected in (1, 2):
        bench.schedule(synapse(operation(1, "start", "a", "n1")))
        bench.result(bench.requests()[-1].key, rc=99, status=4)
        assert len(bench.runs()) == expected
        bench.wait(4_000)
    bench.schedule(synapse(operation(1, "start", "a", "n1")))
    bench.result(bench.requests()[-1].key, rc=99, status=4)
    before = len(bench.runs())
    bench.presence(n3="lost")
    bench.situation()
    assert len(bench.runs()) == before + 1  # another situation, another right


def test_the_dc_that_loses_its_office_forgets() -> None:
    bench = Bench()
    bench.all_online()
    bench.schedule(synapse(operation(1, "start", "a", "n1")), synapse(operation(2, "start", "b", "n1"), 1))
    bench.dc = "n2"
    bench.situation()
    bench.result(bench.requests()[0].key)
    assert len(bench.requests()) == 1
    assert bench.controller.state_name == "S_NOT_DC"


# ---- patience -------------------------------------------------------------------------------------------------------


def test_while_a_manager_is_in_its_grace_nothing_moves() -> None:
    bench = active()
    bench.presence(n3="graced")
    bench.situation()
    bench.foreign(change())
    assert bench.runs() == [1]
    assert not bench.controller.is_idle
    bench.wait(9_000)
    assert bench.logged == []
    bench.wait(2_000)
    lapsed = bench.logged[0]
    assert isinstance(lapsed, entries.ManagerLapsed) and lapsed.node == "n3"
    assert bench.state.presence("n3") is Presence.LOST


def test_a_manager_back_within_its_grace_costs_nothing() -> None:
    bench = active()
    bench.presence(n3="graced")
    bench.situation()
    bench.wait(5_000)
    bench.presence(n3="online")
    bench.situation()
    bench.wait(10_000)
    assert not any(isinstance(entry, entries.ManagerLapsed) for entry in bench.logged)
    assert bench.runs() == [1, 2]


def test_a_graced_manager_does_not_protect_another_that_is_lost() -> None:
    bench = active()
    bench.presence(n3="graced")
    bench.situation()
    assert bench.runs() == [1]
    bench.presence(n2="lost")
    bench.situation()
    assert bench.runs() == [1, 2]


def test_the_grace_is_counted_by_all_so_that_a_new_dc_does_not_prolong_it() -> None:
    bench = Bench()
    bench.dc = "n2"
    bench.presence(n1="online", n2="online", n3="graced")
    bench.situation()
    bench.wait(8_000)
    bench.dc = "n1"
    bench.presence(n2="online")
    bench.situation()
    bench.wait(2_500)
    assert any(isinstance(entry, entries.ManagerLapsed) for entry in bench.logged)


def test_nodes_never_seen_are_not_shot_while_they_boot() -> None:
    bench = Bench(cib_with({"dc-deadtime": "20s"}, device("f", pcmk_host_list="n1 n2 n3")))
    bench.presence(n1="online", n2="online")
    bench.rights = dataclasses.replace(RIGHTS, take_over=False)
    bench.situation()
    starting = operation(3, "start", "a", "n1")
    bench.schedule(synapse(fencing(1, "n3")), synapse(operation(2, "monitor", "a", "n1")), synapse(starting))
    assert [request.operation for request in bench.requests()] == ["monitor"]  # a start would be refused now
    bench.wait(19_000)
    assert not any(isinstance(entry, entries.FenceRequest) for entry in bench.logged)
    bench.wait(2_000)
    assert any(isinstance(entry, entries.FenceRequest) for entry in bench.logged)


def test_patience_ends_when_all_are_there() -> None:
    bench = Bench()
    bench.presence(n1="online", n2="online")
    bench.situation()
    bench.presence(n3="online")
    bench.situation()
    bench.schedule(synapse(operation(1, "start", "a", "n1")))
    bench.schedule(synapse(operation(1, "start", "a", "n1")))
    assert [request.operation for request in bench.requests()] == ["start"]


# ---- fencing switched off -------------------------------------------------------------------------------------------


def test_without_fencing_the_absent_lapse_with_a_warning() -> None:
    bench = active(cib_with({"stonith-enabled": "false"}))
    bench.presence(n3="lost")
    bench.situation()
    lapsed = bench.logged[0]
    assert isinstance(lapsed, entries.PeerLapsed)
    assert (lapsed.node, lapsed.boot_id, lapsed.cause) == ("n3", "boot-n3", "stonith-disabled")
    assert "fencing-disabled" in bench.codes()
    assert bench.state.presence("n3") is Presence.LAPSED
    assert len(bench.runs()) == 2


def test_without_fencing_nothing_is_computed_before_the_lapse_is_in_the_log() -> None:
    bench = active(cib_with({"stonith-enabled": "false"}))
    bench.hold = True
    bench.presence(n3="lost")
    bench.situation()
    assert len(bench.runs()) == 1
    assert bench.controller.state_name == "S_INTEGRATION"
    bench.deliver()
    assert len(bench.runs()) == 2


def test_without_quorum_nobody_lapses() -> None:
    bench = active(cib_with({"stonith-enabled": "false"}))
    bench.rights = dataclasses.replace(RIGHTS, fence=False, take_over=False, quorate=False)
    bench.presence(n2="lost", n3="lost")
    bench.situation()
    assert bench.logged == []


def test_without_fencing_unseen_nodes_get_their_time() -> None:
    bench = Bench(cib_with({"stonith-enabled": "false"}))
    bench.presence(n1="online", n2="online")
    bench.situation()
    assert bench.runs() == []
    bench.wait(21_000)
    assert isinstance(bench.logged[0], entries.PeerLapsed)
    assert bench.runs() == [1]


# ---- fencing --------------------------------------------------------------------------------------------------------


def test_starts_wait_for_the_fencing() -> None:
    bench = active(cib_with(resources=device("f", pcmk_host_list="n1 n2 n3")))
    bench.presence(n3="lost")
    bench.situation()
    bench.schedule(synapse(fencing(1, "n3")), synapse(operation(2, "start", "a", "n1"), 1))
    request = bench.logged[-1]
    assert isinstance(request, entries.FenceRequest)
    assert (request.target, request.boot_id, request.action, request.executor) == ("n3", "boot-n3", "reboot", "n1")
    assert bench.requests() == []
    bench.agent_exits(rc=0)
    assert bench.state.presence("n3") is Presence.DOWN
    assert [request.operation for request in bench.requests()] == ["start"]


def test_a_fencing_that_fails_blocks_what_waits_for_it_and_is_tried_again() -> None:
    bench = active(cib_with(resources=device("f", pcmk_host_list="n1 n2 n3", pcmk_reboot_retries="1")))
    bench.presence(n3="lost")
    bench.situation()
    graph = (synapse(fencing(1, "n3")), synapse(operation(2, "start", "a", "n1"), 1))
    for attempt in (1, 2, 3):
        bench.schedule(*graph)
        bench.wait(60_000)
        requests = [entry for entry in bench.logged if isinstance(entry, entries.FenceRequest)]
        assert [request.attempt for request in requests] == list(range(1, attempt + 1))
        if requests[-1].executor == "n1":
            bench.agent_exits(rc=1, errors="no answer")
        else:
            bench.foreign(
                entries.FenceResult(
                    id=requests[-1].id,
                    target="n3",
                    boot_id="boot-n3",
                    action="reboot",
                    executor="n2",
                    device="",
                    confirmed=False,
                    reason="no answer",
                )
            )
        assert bench.requests() == []
        assert bench.state.presence("n3") is Presence.LOST
        assert not bench.controller.is_idle


def test_no_right_no_fencing() -> None:
    bench = active(cib_with(resources=device("f", pcmk_host_list="n1 n2 n3")))
    bench.rights = dataclasses.replace(RIGHTS, fence=False, take_over=False, quorate=False)
    bench.presence(n2="lost", n3="lost")
    bench.situation()
    bench.schedule(synapse(fencing(1, "n3")))
    assert bench.logged == []


def test_a_confirmation_that_settles_nothing_is_a_failure() -> None:
    """The target has booted since: a success for its former boot says nothing of it now."""
    bench = active(cib_with(resources=device("f", pcmk_host_list="n1 n2 n3")))
    bench.presence(n3="lost")
    bench.situation()
    bench.schedule(synapse(fencing(1, "n3")), synapse(operation(2, "start", "a", "n1"), 1))
    bench.state.nodes["n3"].boot_id = "boot-later"
    bench.agent_exits(rc=0)
    assert bench.requests() == []


def test_unfencing_marks_the_node() -> None:
    bench = active(cib_with(resources=device("f", pcmk_host_list="n1 n2 n3")))
    bench.foreign(change())
    bench.schedule(synapse(fencing(1, "n2", "on", CRM_meta_digests_all="f:fence_test:abc,")))
    bench.agent_exits(rc=0)
    updates = {entry.name: entry.value for entry in bench.logged if isinstance(entry, entries.AttributeUpdate)}
    assert updates["#digests-all"] == "f:fence_test:abc,"
    assert "#node-unfenced" in updates


def test_options_are_read_from_the_configuration() -> None:
    bench = Bench(cib_with({"stonith-enabled": "off", "no-quorum-policy": "freeze", "dc-deadtime": "2min"}))
    options = bench.controller.options(bench.state)
    assert (options.fencing, options.policy, options.dc_deadtime_ms) == (False, "freeze", 120_000)


def test_effects_for_the_driver_only() -> None:
    bench = active()
    assert all(not isinstance(effect, fx.Log) for effect in bench.effects)


def test_a_stream_of_writes_is_scheduled_for_a_few_times_a_second() -> None:
    bench = active()
    answered = 0
    for _ in range(100):  # a write each 10 ms
        bench.foreign(change())
        if len(bench.runs()) > answered:
            answered = len(bench.runs())
            bench.schedule()
        bench.wait(10)
    assert 5 <= len(bench.runs()) <= 16
