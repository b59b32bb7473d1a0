"""Planted bugs: what the simulator must catch, or it proves nothing.

Each mutant replaces a function of the core for the time of a run. The core itself has no hooks for them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from quorate.core import events as ev
from quorate.core.arbitration import conditions
from quorate.core.arbitration.conditions import Presence
from quorate.core.quorum import rights as quorum
from quorate.core.replication import apply as apply_module
from quorate.core.replication import establish as establish_module
from quorate.core.replication import machine as log
from quorate.core.replication import plan as plan_module
from quorate.model import entries, group
from quorate.model.cib import status


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """`plant` returns the patches. `sizes` and `kinds` (of faults): where it shows soon, if not everywhere."""

    text: str
    plant: Callable[[], list[Any]]
    sizes: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()


MUTANTS: dict[str, Mutant] = {}


def _mutant(
    text: str, sizes: tuple[int, ...] = (), kinds: str = ""
) -> Callable[[Callable[[], list[Any]]], Callable[[], list[Any]]]:
    def register(plant: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
        MUTANTS[plant.__name__.replace("_", "-")] = Mutant(
            text=text, plant=plant, sizes=sizes, kinds=tuple(kinds.split())
        )
        return plant

    return register


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for patch in MUTANTS[name].plant():
            stack.enter_context(patch)
        yield


# ---- fencing and takeover -----------------------------------------------------------------------------------------


@_mutant("a lost node counts as settled: its services start elsewhere before it is fenced", kinds="partition")
def lost_is_settled() -> list[Any]:
    rows = dict(apply_module._NODE_STATES)
    rows[Presence.LOST] = (False, "offline", "down", "down")
    return [
        mock.patch.object(apply_module, "_NODE_STATES", rows),
        mock.patch.object(quorum, "blocks_takeover", lambda presence: False),
        mock.patch.dict(conditions._METHODS, {Presence.LOST: conditions.Method.POWER}),
    ]


@_mutant("a fencing that failed counts as done", kinds="partition device-trouble")
def failed_fencing_counts() -> list[Any]:
    original = apply_module._fenced

    def fenced(state: Any, entry: entries.FenceResult) -> Any:
        changes = {name: getattr(entry, name) for name in entry.__struct_fields__} | {"confirmed": not entry.void}
        return original(state, entries.FenceResult(**changes))

    return [mock.patch.object(apply_module, "_fenced", fenced)]


@_mutant("a fencing request counts as done when it is made", kinds="partition one-way-cut")
def requested_is_fenced() -> list[Any]:
    original = apply_module._fence

    def fence(state: Any, entry: entries.FenceRequest) -> Any:
        outcome = original(state, entry)
        if not outcome.void and entry.action != "on":
            apply_module.settle(state, entry.target, Presence.DOWN)
        return outcome

    return [mock.patch.object(apply_module, "_fence", fence)]


# ---- quorum -------------------------------------------------------------------------------------------------------


@_mutant("quorum off by one: half of the votes less one is enough", sizes=(3, 5), kinds="partition")
def quorum_off_by_one() -> list[Any]:
    return [mock.patch.object(quorum.Electorate, "majority", property(lambda self: self.expected // 2))]


@_mutant("every partition is quorate", sizes=(3, 5), kinds="partition")
def always_quorate() -> list[Any]:
    return [mock.patch.object(quorum, "is_quorate", lambda electorate, known: (True, ""))]


@_mutant(
    "two nodes: a lone node that boots does not wait for its peer", sizes=(2,), kinds="blackout partition power-cut"
)
def no_wait_for_all() -> list[Any]:
    original = quorum.is_quorate

    def is_quorate(electorate: Any, known: Any) -> Any:
        return original(electorate, dataclasses.replace(known, seen_all=True))

    return [mock.patch.object(quorum, "is_quorate", is_quorate)]


# ---- the log ------------------------------------------------------------------------------------------------------


@_mutant("acknowledged before it is on the disk (persist after send)", kinds="blackout slow-disk")
def persist_after_send() -> list[Any]:
    return [mock.patch.object(log.Replication, "_durable_index", lambda self: self._index)]


@_mutant("committed when delivered, without acknowledgements", kinds="partition")
def commit_without_acks() -> list[Any]:
    return [mock.patch.object(log.Replication, "_may_commit", lambda self, index, slot: True)]


@_mutant("one acknowledgement commits", kinds="partition")
def one_ack_commits() -> list[Any]:
    def may_commit(self: Any, index: int, slot: Any) -> bool:
        counted = self._durable if slot.config else self._received
        return any(counted.get(name, 0) >= index for name in self._synced)

    return [mock.patch.object(log.Replication, "_may_commit", may_commit)]


@_mutant("the highest promised epoch wins a merge, not the lineage", kinds="partition")
def promise_is_lineage() -> list[Any]:
    def rank(hello: entries.Hello) -> tuple[Any, ...]:
        return (hello.promised, hello.cib_version, hello.synced, -hello.node_id)

    return [mock.patch.object(plan_module, "rank", rank)]


@_mutant("the configuration of the lowest node wins a merge", kinds="partition")
def lowest_node_wins() -> list[Any]:
    return [mock.patch.object(plan_module, "rank", lambda hello: (-hello.node_id,))]


@_mutant("a rebooted node's old history is believed", kinds="power-cut blackout")
def history_believed() -> list[Any]:
    return [mock.patch.object(status, "erase_node", lambda cib, name: False)]


@_mutant("each node applies a failure's count by itself, the odd ones not at all", kinds="standby")
def replicas_diverge() -> list[Any]:
    original = log.Replication._apply

    def apply(self: Any, sender: int, entry: Any, *, mine: bool) -> None:
        if isinstance(entry, entries.AttributeUpdate | entries.HistoryCleared) and self.identity.node_id % 2:
            entry = entries.Noted(request="", rc=0, message="")
        if isinstance(entry, entries.Change) and self.identity.node_id % 2 and self.state.position.index == 2:
            entry = entries.Noted(request="", rc=0, message="")
        original(self, sender, entry, mine=mine)

    return [mock.patch.object(log.Replication, "_apply", apply)]


@_mutant("each member takes itself for the DC", kinds="standby partition")
def everybody_is_dc() -> list[Any]:
    original = log.Replication._maybe_dc

    def maybe_dc(self: Any) -> None:
        original(self)
        if self.dc is not None and self.identity.node in self._synced:
            self.dc = self.identity.node

    return [mock.patch.object(log.Replication, "_maybe_dc", maybe_dc)]


@_mutant("a position goes back: the lineage is not recorded", kinds="partition blackout")
def lineage_forgotten() -> list[Any]:
    def maybe_lineage(self: Any) -> None:
        if self.view is not None and self._synced:
            self.lineage_reached = True

    return [mock.patch.object(log.Replication, "_maybe_lineage", maybe_lineage)]


# ---- executing ------------------------------------------------------------------------------------------------------


@_mutant("an agent that was ended by its timeout counts as having done it", kinds="agent-trouble standby")
def timeout_is_success() -> list[Any]:
    from quorate.core.executor import Executor

    original = Executor.handle

    def handle(self: Any, event: Any, now: int, *rest: Any) -> Any:
        if isinstance(event, ev.AgentExited) and event.timed_out:
            event = ev.AgentExited(key=event.key, rc=0, started_at=event.started_at)
        return original(self, event, now, *rest)

    return [mock.patch.object(Executor, "handle", handle)]


@_mutant("an action runs when it is delivered, before it is committed", kinds="partition")
def run_when_delivered() -> list[Any]:
    from quorate.core.executor import Executor

    original = Executor.handle

    def handle(self: Any, event: Any, now: int, *rest: Any) -> Any:
        out = list(original(self, event, now, *rest))
        if isinstance(event, ev.Applied) and isinstance(event.entry, (entries.ActionRequest, entries.ActionCancel)):
            out += original(
                self, ev.Committed(entry=event.entry, view_index=event.view_index, mine=event.mine), now, *rest
            )
        return out

    return [mock.patch.object(Executor, "handle", handle)]


@_mutant(
    "the fencer does not ask for its right again, and a lone node fences the majority", sizes=(3, 5), kinds="partition"
)
def fence_without_right() -> list[Any]:
    original = quorum.rights

    def rights(electorate: Any, known: Any) -> ev.Rights:
        granted = original(electorate, known)
        return dataclasses.replace(
            granted, fence=known.synced, take_over=known.synced and granted.take_over, quorate=known.synced
        )

    from quorate.core.node import machine as node

    return [mock.patch.object(node, "rights", rights)]


@_mutant("a manager that is gone is taken for lost at once, without its grace", kinds="kill-manager stop-process")
def no_grace() -> list[Any]:
    original = establish_module._miss

    def miss(state: Any, name: str, view: group.View) -> None:
        original(state, name, view)
        record = state.nodes[name]
        if record.presence is Presence.GRACED:
            record.presence = Presence.DOWN
            apply_module.write_node_state(state, name)

    return [mock.patch.object(establish_module, "_miss", miss)]


@_mutant("an acknowledgement meant for another view is accepted", kinds="partition kill-engine standby")
def stale_view_accepted() -> list[Any]:
    deliver, start_from = log.Replication._delivered, log.Replication._start_from
    kept: dict[int, list[tuple[int, entries.Ack]]] = {}

    def delivered(self: Any, event: group.Delivered, now: int) -> None:
        envelope = entries.decode(event.payload)
        if self.view is not None and envelope.view != self.view.id and isinstance(envelope.message, entries.Ack):
            kept.setdefault(id(self), []).append((event.sender, envelope.message))
        deliver(self, event, now)

    def start(self: Any, state: Any) -> None:
        start_from(self, state)
        for sender, ack in kept.pop(id(self), []):
            self._acked(sender, ack, mine=False)

    return [
        mock.patch.object(log.Replication, "_delivered", delivered),
        mock.patch.object(log.Replication, "_start_from", start),
    ]


@_mutant("a member does not wait for the source's state and goes on with its own", kinds="partition power-cut")
def snapshot_skipped() -> list[Any]:
    original = plan_module.make_plan

    def make_plan(hellos: Any) -> Any:
        return dataclasses.replace(original(hellos), needs=())

    return [mock.patch.object(log, "make_plan", make_plan)]


@_mutant(
    "a restarted manager leaves the agents of the former one in action", kinds="kill-manager standby agent-trouble"
)
def orphans_live() -> list[Any]:
    from .machine import SimulatedNode

    return [mock.patch.object(SimulatedNode, "ends_orphans", False)]
