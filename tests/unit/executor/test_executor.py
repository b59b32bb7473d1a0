"""The executor's machine: what it runs, when, and what it tells the log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import pytest

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.executor import Executor
from quorate.core.executor.machine import PARALLEL_MAX
from quorate.model.entries import ActionCancel, ActionRequest, ActionResult, HistoryCleared
from quorate.model.ids import MILLISECOND, SECOND

T = TypeVar("T")
METADATA = b"""<?xml version="1.0"?>
<resource-agent name="d"><parameters>
<parameter name="foo" reloadable="1"/><parameter name="bar"/><parameter name="secret" private="1" reloadable="1"/>
</parameters><actions><action name="start"/><action name="reload-agent"/></actions></resource-agent>"""


class Bench:
    """One executor on node "a", with the agents' metadata known; time moves only when told."""

    def __init__(self, *, take_over: bool = True, keep: bool = True, metadata: bytes | None = METADATA) -> None:
        self.executor = Executor("a")
        self.now = 1_000 * SECOND
        self.metadata = metadata
        self.give(ev.Started(boot_id="b", incarnation=1, stored=NOTHING, wall=5_000))
        self.rights(take_over=take_over, keep=keep)

    def give(self, event: ev.Event | ev.Inner) -> list[fx.Effect]:
        effects = self.executor.handle(event, self.now)
        for effect in list(effects):
            if isinstance(effect, fx.LoadMetadata) and self.metadata is not None:
                effects.remove(effect)
                effects += self.give(ev.MetadataLoaded(agent=effect.agent, xml=self.metadata))
        return effects

    def rights(self, *, take_over: bool, keep: bool = True, fence: bool = False) -> None:
        why = () if take_over else (("take-over", "unsettled:c"),)
        rights = ev.Rights(
            keep=keep, fence=fence, write=True, take_over=take_over, quorate=keep, policy="stop", why=why
        )
        self.give(
            ev.Situation(
                view=None,
                synced=True,
                node="a",
                dc="a",
                online=("a",),
                graced=(),
                absent=(),
                rights=rights,
                boot_ids=(),
                incarnation=1,
            )  # fmt: skip
        )

    def commit(self, entry: ActionRequest | ActionCancel | HistoryCleared) -> list[fx.Effect]:
        return self.give(ev.Committed(entry=entry, view_index=1, mine=False))

    def exit(self, run: fx.RunAgent | fx.RunFenceAgent, rc: int = 0, **more: object) -> list[fx.Effect]:
        values: dict[str, object] = {"started_at": 5_100, "execution_ms": 20} | more
        return self.give(ev.AgentExited(key=run.key, rc=rc, **values))  # type: ignore[arg-type]

    def done(self, entry: ActionRequest, rc: int = 0, **more: object) -> list[fx.Effect]:
        """Commit, run, end."""
        return self.exit(only(self.commit(entry), fx.RunAgent), rc, **more)


NOTHING = ev.StoredState(promised=0, position=None, cib=None)  # type: ignore[arg-type]
numbers = iter(range(1, 1_000_000))


def request(operation: str = "start", interval_ms: int = 0, resource: str = "r", **more: object) -> ActionRequest:
    values: dict[str, object] = {
        "key": f"{next(numbers)}:1:0:u", "node": "a", "executor": "a", "resource": resource, "agent_class": "ocf",
        "provider": "p", "agent": "d", "operation": operation, "interval_ms": interval_ms, "timeout_ms": 20_000,
        "target_rc": 0, "parameters": {"foo": "1"}, "meta": {"timeout": "20000"},
    }  # fmt: skip
    return ActionRequest(**(values | more))  # type: ignore[arg-type]


def all_of(effects: Iterable[fx.Effect], kind: type[T]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, kind)]


def only(effects: Iterable[fx.Effect], kind: type[T]) -> T:
    found = all_of(effects, kind)
    assert len(found) == 1, effects
    return found[0]


def result(effects: Iterable[fx.Effect]) -> ActionResult:
    entry = only(effects, fx.Log).entry
    assert isinstance(entry, ActionResult)
    return entry


def cancel(monitor: ActionRequest) -> ActionCancel:
    return ActionCancel(
        key=f"{next(numbers)}:1:0:u",
        node=monitor.node,
        executor=monitor.executor,
        resource=monitor.resource,
        operation=monitor.operation,
        interval_ms=monitor.interval_ms,
    )


# ---- single actions ---------------------------------------------------------------------------------------------


def test_an_action_runs_and_its_result_is_logged() -> None:
    bench = Bench()
    start = request()
    run = only(bench.commit(start), fx.RunAgent)
    assert (run.operation, run.resource, run.timeout_ms, run.parameters) == ("start", "r", 20_000, {"foo": "1"})
    assert bench.executor.running() == (start.key,)
    told = result(bench.exit(run))
    assert (told.key, told.rc, told.status, told.call_id, told.started_at, told.execution_ms) == (
        start.key,
        0,
        0,
        1,
        5_100,
        20,
    )
    assert bench.executor.running() == (start.key,)  # not in the log yet
    bench.give(ev.Applied(entry=told, view_index=2, mine=True))
    assert bench.executor.running() == () and bench.executor.active() == ("r",)


def test_other_nodes_actions_and_repeated_ones_are_not_run() -> None:
    bench = Bench()
    start = request()
    assert bench.commit(request(executor="b")) == []
    assert all_of(bench.commit(start), fx.RunAgent) and bench.commit(start) == []


def test_one_at_a_time_for_a_resource_and_side_by_side_for_others() -> None:
    bench = Bench()
    first = only(bench.commit(request()), fx.RunAgent)
    assert not all_of(bench.commit(request("promote")), fx.RunAgent)
    assert all_of(bench.commit(request(resource="other")), fx.RunAgent)
    after = bench.exit(first)
    assert only(after, fx.RunAgent).operation == "promote"


def test_an_action_for_a_remote_node_has_a_queue_of_its_own() -> None:
    bench = Bench()
    bench.commit(request())
    assert only(bench.commit(request(node="r1")), fx.RunAgent)


@pytest.mark.parametrize(
    ("event", "rc", "status", "text"),
    [
        ({"timed_out": True}, 1, 2, "Resource agent did not complete within 20s"),
        ({"timed_out": True, "alive": True}, 1, 2, "what it does is unknown"),
        ({"missing": True, "reason": "no file"}, 5, 7, "no file"),
        ({"killed": True}, 1, 4, "before it was done"),
        ({"reason": "because"}, 9, 0, "because"),
    ],
)
def test_how_it_ended(event: dict[str, object], rc: int, status: int, text: str) -> None:
    told = result(Bench().done(request("stop"), rc=9, **event))
    assert (told.rc, told.status) == (rc, status) and text in told.reason


def test_notify_never_fails() -> None:
    told = result(Bench().done(request("notify"), rc=1))
    assert (told.rc, told.status) == (0, 0)


def test_a_lost_result_is_logged_again_until_it_is_applied() -> None:
    bench = Bench()
    told = result(bench.done(request()))
    assert result(bench.give(ev.EntryLost(entry=told, cause="view"))) == told
    bench.give(ev.Applied(entry=told, view_index=3, mine=True))
    assert bench.give(ev.EntryLost(entry=told, cause="view")) == []


def test_start_delay() -> None:
    bench = Bench()
    effects = bench.commit(request(start_delay_ms=3_000))
    timer = only(effects, fx.SetTimer)
    assert timer.at == bench.now + 3 * SECOND and not all_of(effects, fx.RunAgent) and bench.executor.running()
    assert only(bench.give(ev.TimerFired(name=timer.name)), fx.RunAgent).operation == "start"


def test_too_many_agents_wait_but_stops_do_not() -> None:
    bench = Bench()
    runs = [only(bench.commit(request("monitor", resource=f"r{n}")), fx.RunAgent) for n in range(PARALLEL_MAX)]
    assert not all_of(bench.commit(request("monitor", resource="more")), fx.RunAgent)
    assert only(bench.commit(request("stop", resource="urgent")), fx.RunAgent)
    assert only(bench.exit(runs[0], rc=7), fx.RunAgent).resource == "more"


# ---- rights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["start", "promote", "migrate_from"])
def test_without_the_right_nothing_is_brought_to_life(operation: str) -> None:
    bench = Bench(take_over=False)
    effects = bench.commit(request(operation))
    told = result(effects)
    assert (told.rc, told.status) == (99, 4) and "unsettled:c" in told.reason
    assert not all_of(effects, fx.RunAgent) and only(effects, fx.Report).code == "action-refused"


@pytest.mark.parametrize("operation", ["stop", "monitor", "demote", "notify", "migrate_to", "reload-agent"])
def test_what_ends_or_watches_is_always_allowed(operation: str) -> None:
    bench = Bench(take_over=False, keep=False)
    assert only(bench.commit(request(operation)), fx.RunAgent)


def test_the_right_is_asked_at_the_moment_of_execution() -> None:
    bench = Bench()
    run = only(bench.commit(request("stop")), fx.RunAgent)
    bench.commit(request())
    bench.rights(take_over=False)
    told = [effect.entry for effect in all_of(bench.exit(run), fx.Log)]
    assert [(entry.operation, entry.rc) for entry in told if isinstance(entry, ActionResult)] == [
        ("stop", 0),
        ("start", 99),
    ]


def test_a_restart_in_place_needs_only_the_right_to_keep() -> None:
    bench = Bench()
    bench.done(request())
    bench.rights(take_over=False)
    bench.done(request("stop"))
    assert only(bench.commit(request()), fx.RunAgent)
    assert result(bench.commit(request(resource="new"))).rc == 99
    bench.rights(take_over=False, keep=False)
    bench.done(request("monitor", resource="x"), rc=7)
    assert result(bench.commit(request(resource="x"))).rc == 99


def test_promotion_in_place_needs_to_have_been_promoted() -> None:
    bench = Bench()
    bench.done(request())
    bench.rights(take_over=False)
    assert result(bench.commit(request("promote"))).rc == 99
    bench.rights(take_over=True)
    bench.done(request("promote"))
    bench.rights(take_over=False)
    bench.done(request("demote"))
    assert only(bench.commit(request("promote")), fx.RunAgent)


def test_what_moved_away_is_not_held_any_more() -> None:
    bench = Bench()
    bench.done(request())
    bench.rights(take_over=False)
    bench.done(request("migrate_to"))
    assert result(bench.commit(request())).rc == 99


# ---- monitors ---------------------------------------------------------------------------------------------------


def test_a_monitor_comes_back_and_reports_changes_only() -> None:
    bench = Bench()
    monitor = request("monitor", 10_000)
    run = only(bench.commit(monitor), fx.RunAgent)
    assert bench.executor.running() == (monitor.key,)
    effects = bench.exit(run)
    assert result(effects).changed_at == 5_100
    timer = only(effects, fx.SetTimer)
    assert timer.at == bench.now + 10 * SECOND
    for rc, reason, news in ((0, "", False), (7, "", True), (7, "", False), (7, "gone", True), (0, "", True)):
        bench.now += 10 * SECOND
        run = only(bench.give(ev.TimerFired(name=timer.name)), fx.RunAgent)
        effects = bench.exit(run, rc, reason=reason, started_at=5_200 + rc)
        assert len(all_of(effects, fx.Log)) == news and only(effects, fx.SetTimer).name == timer.name
        if news:
            assert (result(effects).rc, result(effects).call_id) == (rc, 1)
    assert bench.give(ev.TimerFired(name="executor-a:r:monitor:99")) == []


def test_when_only_the_reason_changes_the_time_of_the_change_stays() -> None:
    bench = Bench()
    effects = bench.exit(only(bench.commit(request("monitor", 10_000)), fx.RunAgent), 7, started_at=5_100)
    run = only(bench.give(ev.TimerFired(name=only(effects, fx.SetTimer).name)), fx.RunAgent)
    assert result(bench.exit(run, 7, reason="x", started_at=5_900)).changed_at == 5_100


def test_cancel_ends_a_monitor_in_flight_and_is_answered() -> None:
    bench = Bench()
    monitor = request("monitor", 10_000)
    run = only(bench.commit(monitor), fx.RunAgent)
    asked = cancel(monitor)
    effects = bench.commit(asked)
    assert only(effects, fx.KillAgent).key == run.key
    told = result(effects)
    assert (told.key, told.status, told.operation, told.interval_ms) == (asked.key, 1, "monitor", 10_000)
    assert bench.exit(run, killed=True) == []
    assert bench.commit(asked) == []


def test_cancel_of_a_waiting_monitor_takes_its_timer() -> None:
    bench = Bench()
    monitor = request("monitor", 10_000)
    timer = only(bench.done(monitor), fx.SetTimer)
    assert only(bench.commit(cancel(monitor)), fx.CancelTimer).name == timer.name
    assert bench.give(ev.TimerFired(name=timer.name)) == []


def test_cancel_of_what_is_not_there_is_answered_too() -> None:
    assert result(Bench().commit(cancel(request("monitor", 10_000)))).status == 1


def test_a_state_change_cancels_monitors_and_waits_for_the_one_in_flight() -> None:
    bench = Bench()
    slow, quick = request("monitor", 10_000), request("monitor", 11_000)
    timer = only(bench.done(quick), fx.SetTimer)
    run = only(bench.commit(slow), fx.RunAgent)
    effects = bench.commit(request("stop"))
    assert only(effects, fx.KillAgent).key == run.key and only(effects, fx.CancelTimer).name == timer.name
    after = bench.exit(run, killed=True)
    assert only(after, fx.RunAgent).operation == "stop" and not all_of(after, fx.Log)


def test_probe_and_notify_leave_monitors_alone() -> None:
    bench = Bench()
    bench.done(request("monitor", 10_000))
    for operation in ("monitor", "notify"):
        assert not all_of(bench.commit(request(operation)), fx.CancelTimer)


def test_the_same_monitor_again_takes_the_place_of_the_former() -> None:
    bench = Bench()
    former, later = request("monitor", 10_000), request("monitor", 10_000, parameters={"foo": "2"})
    bench.done(former)
    effects = bench.commit(later)
    assert only(effects, fx.CancelTimer)
    assert result(bench.exit(only(effects, fx.RunAgent))).key == later.key


def test_refreshed_history_ends_monitors_and_cleaned_failures_are_news_again() -> None:
    bench = Bench()
    monitor = request("monitor", 10_000)
    timer = only(bench.done(monitor, rc=7), fx.SetTimer)
    bench.commit(HistoryCleared(request="c", node=None, resource="r", failures_only=True))
    run = only(bench.give(ev.TimerFired(name=timer.name)), fx.RunAgent)
    assert result(bench.exit(run, 7)).rc == 7
    bench.commit(HistoryCleared(request="c", node="b", resource="r"))
    assert only(bench.commit(HistoryCleared(request="d", node="a", resource="r")), fx.CancelTimer)


# ---- metadata and digests ---------------------------------------------------------------------------------------


def test_digests_follow_the_metadata() -> None:
    told = result(Bench().done(request(parameters={"foo": "1", "bar": "2", "secret": "x", "CRM_meta_x": "y"})))
    assert told.restart_parameters == "  bar  " and told.secure_parameters == "  secret  "
    assert told.restart_digest == "592070f16088ad2988879eb02fda8b2b"  # of bar="2" alone
    assert len({told.digest, told.restart_digest, told.secure_digest}) == 3
    monitor = result(Bench().done(request("monitor", 10_000, parameters={})))
    assert (
        monitor.restart_digest is None and monitor.digest == "4811cef7f7f94e3a35a70be7916cb2fd" == monitor.secure_digest
    )
    stop = result(Bench().done(request("stop")))
    assert stop.restart_digest is None and stop.secure_digest is None


def test_a_result_waits_a_little_for_the_metadata() -> None:
    bench = Bench(metadata=None)
    effects = bench.commit(request())
    assert only(effects, fx.LoadMetadata).agent == "ocf:p:d"
    held = bench.exit(only(effects, fx.RunAgent))
    timer = only(held, fx.SetTimer)
    assert not all_of(held, fx.Log) and len(bench.executor.running()) == 1
    assert not all_of(bench.commit(request("monitor", resource="o")), fx.LoadMetadata)  # it is on its way
    told = result(bench.give(ev.TimerFired(name=timer.name)))
    assert told.restart_digest is None
    bench.give(ev.MetadataLoaded(agent="ocf:p:d", xml=METADATA))
    assert result(bench.done(request("promote"))).restart_parameters == "  bar  "


def test_metadata_that_is_not_to_be_had_holds_nothing_up() -> None:
    bench = Bench(metadata=None)
    run = only(bench.commit(request()), fx.RunAgent)
    assert not all_of(bench.exit(run), fx.Log)
    effects = bench.give(ev.MetadataLoaded(agent="ocf:p:d", xml=None, error="it is broken"))
    assert result(effects).rc == 0 and only(effects, fx.Report).fields["error"] == "it is broken"
    again = bench.commit(request("promote"))
    assert not all_of(again, fx.LoadMetadata) and result(bench.exit(only(again, fx.RunAgent)))


# ---- fence devices ----------------------------------------------------------------------------------------------


def device(operation: str, interval_ms: int = 0, **parameters: str) -> ActionRequest:
    given = {"ipaddr": "10.0.0.1", "pcmk_host_list": "b", "crm_feature_set": "3.16.1"} | parameters
    return request(
        operation, interval_ms, "fd", agent_class="stonith", provider=None, agent="fence_x", parameters=given
    )


def test_a_device_is_registered_by_its_start() -> None:
    bench = Bench(take_over=False)
    assert result(bench.commit(device("monitor"))).rc == 7
    run = only(bench.commit(device("start", pcmk_monitor_action="status", pcmk_monitor_timeout="7s")), fx.RunFenceAgent)
    assert (run.agent, run.action, run.timeout_ms) == ("fence_x", "status", 7_000)
    assert run.parameters == {"action": "status", "ipaddr": "10.0.0.1"}
    assert result(bench.exit(run)).rc == 0 and bench.executor.devices() == ("fd",)
    assert result(bench.commit(device("monitor"))).rc == 0
    monitor = bench.commit(device("monitor", 60_000))
    assert result(bench.exit(only(monitor, fx.RunFenceAgent), 2)).rc == 1
    stopped = bench.commit(device("stop"))
    assert result(stopped).rc == 0 and bench.executor.devices() == () and not all_of(stopped, fx.RunFenceAgent)


def test_a_device_that_does_not_answer_is_not_registered() -> None:
    bench = Bench()
    told = result(bench.exit(only(bench.commit(device("start")), fx.RunFenceAgent), 1, timed_out=True))
    assert (told.rc, told.status) == (1, 2) and told.reason.startswith("Fence agent did not complete")
    assert bench.executor.devices() == ()
    assert (result(bench.commit(device("promote"))).rc, bench.executor.running() != ()) == (3, True)


# ---- stopping everything ----------------------------------------------------------------------------------------


def test_stop_all_goes_backwards_one_at_a_time() -> None:
    bench = Bench()
    for name in ("first", "second", "third"):
        bench.done(request(resource=name))
    bench.done(request("monitor", 10_000, "third"))
    waiting = only(bench.commit(request("monitor", resource="first")), fx.RunAgent)
    bench.rights(take_over=False, keep=False)
    effects = bench.executor.stop_all(bench.now)
    run = only(effects, fx.RunAgent)
    assert (run.resource, run.operation) == ("third", "stop") and bench.executor.is_stopping
    assert bench.executor.stop_all(bench.now) == []
    effects = bench.exit(run)
    assert result(effects).key.split(":")[1] == "-1"
    run = only(effects, fx.RunAgent)
    assert run.resource == "second"
    effects = bench.exit(run, 1, reason="stuck")
    assert not all_of(effects, fx.RunAgent)  # the probe of the first is under way
    run = only(bench.exit(waiting), fx.RunAgent)
    assert run.resource == "first"
    reports = {report.code: report for report in all_of(bench.exit(run), fx.Report)}
    assert reports["stop-all-failed"].fields == {"resources": "second"} and not bench.executor.is_stopping


def test_stop_all_with_nothing_active_says_so() -> None:
    codes = [report.code for report in all_of(Bench().executor.stop_all(0), fx.Report)]
    assert codes == ["stopping-all", "all-stopped"]


@pytest.mark.parametrize(("rc", "how"), [(0, "left"), (1, "exit")])
def test_what_comes_after_stop_all(rc: int, how: str) -> None:
    bench = Bench()
    bench.done(request())
    run = only(bench.executor.stop_all(bench.now), fx.RunAgent)
    left, stay = (fx.StopNode(how=how, cause="test") for how in ("left", "exit"))
    assert bench.executor.stop_all(bench.now, then=[left], otherwise=[stay]) == []
    assert only(bench.exit(run, rc), fx.StopNode).how == how
    assert only(Bench().executor.stop_all(0, then=[left]), fx.StopNode) == left


def test_starts_are_refused_while_all_is_stopped() -> None:
    bench = Bench()
    bench.done(request())
    bench.executor.stop_all(bench.now)
    told = result(bench.commit(request(resource="late")))
    assert told.rc == 99 and "stops all" in told.reason


def test_adopted_services_are_stopped_too() -> None:
    bench = Bench()
    bench.done(request("monitor"), rc=0)
    assert only(bench.executor.stop_all(bench.now), fx.RunAgent).operation == "stop"


def test_a_late_end_of_an_unknown_run_is_harmless() -> None:
    assert Bench().give(ev.AgentExited(key="run-99:x", rc=0)) == []


def test_queue_time_is_told() -> None:
    bench = Bench()
    run = only(bench.commit(request()), fx.RunAgent)
    bench.commit(request("promote"))
    bench.now += 70 * MILLISECOND
    promote = only(bench.exit(run), fx.RunAgent)
    assert result(bench.exit(promote)).queue_ms == 70
