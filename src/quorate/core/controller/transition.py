"""One run of a transition graph: which actions may begin, which are under way, when it is over.

Decided here: the order (an action begins when the inputs of its synapse are confirmed), what an abort stops (synapses
whose priority is below the abort's), when nothing is left to do. Not decided here: what an action is made into, and
whether its node is there (`machine`).

Source: Pacemaker's description of transition graphs and abort priorities (Pacemaker Development, "Controller").
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from quorate.model.graph import Action, ActionKind, Graph

INFINITY = 1_000_000
MIGRATIONS = ("migrate_to", "migrate_from")


_Entry = tuple[int, int, int, Action]  # -priority, synapse, action id, action


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """An action that was asked for. `key`: by which its end is recognised. `blocking`: an abort waits for its end; a
    fencing does not hold up a new computation, because the new graph asks for it again and meets the same request."""

    action: Action
    key: str
    blocking: bool = True
    adopted: bool = False
    outdated: bool = False  # adopted with other parameters than the graph has


class Transition:
    """`fire` hands out actions one by one; `confirm` and `fail` close them. The caller keeps the graph's promises."""

    def __init__(self, graph: Graph, number: int, uuid: str) -> None:
        self.graph = graph
        self.number = number
        self.uuid = uuid
        self.abort_priority = 0
        self.abort_reason = ""
        self.flights: dict[int, Flight] = {}  # by action id
        self.failed = 0
        self.confirmed = 0
        self._by_key: dict[str, int] = {}
        self._synapse_of = {
            action.id: index for index, synapse in enumerate(graph.synapses) for action in synapse.actions
        }
        self._open_on: dict[str, int] = {}  # unconfirmed operations, by the node that executes them
        for synapse in graph.synapses:
            for action in synapse.actions:
                if action.kind is ActionKind.RESOURCE:
                    self._open_on[executor_of(action)] = self._open_on.get(executor_of(action), 0) + 1
        self._missing: list[int] = []  # unconfirmed inputs, by synapse
        self._dependents: dict[int, list[int]] = {}
        self._ready: list[_Entry] = []  # heap: highest priority, then the graph's order
        self._points: list[_Entry] = []  # the same for pseudo events, which no limit concerns
        self._unfired = sum(len(synapse.actions) for synapse in graph.synapses)
        for index, synapse in enumerate(graph.synapses):
            inputs = sorted({number for number in synapse.inputs if number in self._synapse_of})
            self._missing.append(len(inputs))
            for number in inputs:
                self._dependents.setdefault(number, []).append(index)
            if not inputs:
                self._make_ready(index)

    # ---- reading ----------------------------------------------------------------------------------------------------

    def key(self, action: Action) -> str:
        """Pacemaker's transition key: ACTION:TRANSITION:TARGETRC:UUID."""
        return f"{action.id}:{self.number}:{target_rc(action)}:{self.uuid}"

    def flight_of(self, key: str) -> Flight | None:
        number = self._by_key.get(key)
        return None if number is None else self.flights.get(number)

    @property
    def is_blocked(self) -> bool:
        """Something is under way that an abort must wait for."""
        return any(flight.blocking for flight in self.flights.values())

    @property
    def is_over(self) -> bool:
        """Nothing is under way and nothing can begin any more: all is done, or what is left waits for what has
        failed."""
        return not self.flights and not self._has_fireable()

    @property
    def left(self) -> int:
        """Actions that never began."""
        return self._unfired

    @property
    def is_aborted(self) -> bool:
        return self.abort_priority > 0

    def is_done_on(self, node: str) -> bool:
        """Every operation that the graph has for this node has had its expected outcome."""
        return self._open_on.get(node, 0) == 0

    def fencing_targets(self) -> tuple[tuple[str, str], ...]:
        """(node, action) of every fencing in the graph."""
        found = {
            (action.node, fence_action(action))
            for synapse in self.graph.synapses
            for action in synapse.actions
            if is_fencing(action) and action.node is not None
        }
        return tuple(sorted(found))

    # ---- running ----------------------------------------------------------------------------------------------------

    def abort(self, priority: int, reason: str) -> None:
        """Begin nothing of a lower priority from now on. The greatest abort counts."""
        if priority > self.abort_priority:
            self.abort_priority, self.abort_reason = priority, reason

    def fire(self, may_fire: Callable[[Action], bool]) -> Iterator[Action]:
        """Actions that may begin now, in order. The caller answers each with `begin`, or with `confirm` if it is done
        at once.

        `may_fire` refuses for the moment (limits, a node that is away); a refused action is offered again next time."""
        refused: list[_Entry] = []
        while self._points or self._ready:
            if self._points and (not self._ready or self._points[0] < self._ready[0]):
                heap = self._points
            elif self._ready and not self._is_full():
                heap = self._ready
            elif self._points:
                heap = self._points
            else:
                break
            entry = heapq.heappop(heap)
            priority, action = -entry[0], entry[3]
            if priority < self.abort_priority or not self._may_migrate(action) or not may_fire(action):
                refused.append(entry)
                continue
            self._unfired -= 1
            yield action
        for entry in refused:
            self._push(entry)

    def begin(self, flight: Flight) -> None:
        self.flights[flight.action.id] = flight
        self._by_key[flight.key] = flight.action.id

    def confirm(self, action: Action) -> None:
        """The action has its expected outcome: what waits for it may begin."""
        self._close(action)
        self.confirmed += 1
        if action.kind is ActionKind.RESOURCE:
            self._open_on[executor_of(action)] -= 1
        for index in self._dependents.get(action.id, ()):
            self._missing[index] -= 1
            if self._missing[index] == 0:
                self._make_ready(index)

    def fail(self, action: Action, reason: str) -> None:
        """The action came out otherwise. What waits for it never begins; only what is more important than it still
        does."""
        self._close(action)
        self.failed += 1
        self.abort(self.graph.synapses[self._synapse_of[action.id]].priority + 1, reason)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _close(self, action: Action) -> None:
        flight = self.flights.pop(action.id, None)
        if flight is not None:
            self._by_key.pop(flight.key, None)

    def _make_ready(self, index: int) -> None:
        synapse = self.graph.synapses[index]
        for action in synapse.actions:
            self._push((-synapse.priority, index, action.id, action))

    def _has_fireable(self) -> bool:
        return any(-heap[0][0] >= self.abort_priority for heap in (self._points, self._ready) if heap)

    def _push(self, entry: _Entry) -> None:
        heapq.heappush(self._points if entry[3].kind is ActionKind.PSEUDO else self._ready, entry)

    def _is_full(self) -> bool:
        limit = self.graph.batch_limit
        return limit > 0 and len(self.flights) >= limit

    def _may_migrate(self, action: Action) -> bool:
        if self.graph.migration_limit < 0 or action.operation not in MIGRATIONS or action.kind is ActionKind.PSEUDO:
            return True
        moving = sum(
            flight.action.operation in MIGRATIONS and flight.action.node == action.node
            for flight in self.flights.values()
        )
        return moving < self.graph.migration_limit


def executor_of(action: Action) -> str:
    """The cluster node whose manager runs it."""
    return action.router or action.node or ""


def target_rc(action: Action) -> int:
    return integer(action.attributes.get("CRM_meta_op_target_rc"), 0)


def is_fencing(action: Action) -> bool:
    return action.kind is ActionKind.CLUSTER and action.operation == "stonith"


def fence_action(action: Action) -> str:
    return action.attributes.get("CRM_meta_stonith_action") or "reboot"


def integer(text: str | None, default: int) -> int:
    """A whole number of the graph; anything else counts as the default."""
    try:
        return int(text) if text else default
    except ValueError:
        return default
