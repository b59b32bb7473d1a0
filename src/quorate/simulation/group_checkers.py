"""What must hold of a group layer, watched from outside: from what the managers sent and got, and from the true state
of the wires.

Checked at each event: ids grow and one id has one content; every view holds the node itself; one order for all members
of a view; members that go together delivered the same; senders are members; at most once, first-in first-out; nothing
invented; each submission has one fate; nodes of a view reach each other; a paused node accuses nobody. Checked at
rest: every submission has its fate, and all who run are together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from quorate.model import group
from quorate.model.ids import MILLISECOND, SECOND, ViewId
from quorate.simulation.network import Network
from quorate.simulation.world import Violation, World

ViewKey = tuple[int, int]


@dataclass(slots=True)
class _Order:
    """The one order of a view: what every member that was there from the beginning must see a prefix of."""

    entries: list[str] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)  # "view m" -> index


@dataclass(slots=True)
class _Run:
    """One run of one manager."""

    number: int
    pending: dict[int, bytes] = field(default_factory=dict)
    view: group.View | None = None
    position: int | None = None  # in the order of the view; None: it joined where the order is not known yet
    early: list[str] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)  # membership only
    last: dict[int, tuple[int, int]] = field(default_factory=dict)  # sender -> (run, token)
    has_left: bool = False
    room: int | None = None


@dataclass(slots=True)
class _Change:
    """How one member came into a view: from where, after how much, with whom."""

    former: ViewKey
    position: int | None
    transitional: tuple[int, ...]
    run: int


class GroupChecker:
    """Sees everything; raises Violation at the first thing that does not hold."""

    def __init__(self, world: World, network: Network, token_ns: int) -> None:
        self._world = world
        self._network = network
        self._token_ns = token_ns
        self._runs: dict[int, _Run] = {}
        self._last_id: dict[int, ViewId] = {}
        self._contents: dict[ViewId, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._orders: dict[ViewKey, _Order] = {}
        self._changes: dict[ViewKey, dict[int, _Change]] = {}
        self._submitted: dict[bytes, int] = {}
        self._run_numbers: dict[int, int] = {}
        self._up_since: dict[int, int] = {}
        self._paused: dict[int, int] = {}
        self._woken: dict[int, tuple[int, int, tuple[int, ...]]] = {}  # node -> paused at, woken at, former nodes
        self.views = 0
        self.deliveries = 0
        self.submissions = 0
        self.lost = 0
        self.pauses_watched = 0

    # ---- what the simulation does -------------------------------------------------------------------------------

    def started(self, node: int) -> None:
        self._up_since[node] = self._world.now

    def crashed(self, node: int) -> None:
        self._up_since.pop(node, None)
        self._runs.pop(node, None)
        self._paused.pop(node, None)
        self._woken.pop(node, None)

    def joined(self, node: int, run: int) -> None:
        self._runs[node] = _Run(run)

    def left(self, node: int) -> None:
        """The manager asked to leave: submissions are still answered, then nothing more comes."""
        self._runs[node].has_left = True

    def killed(self, node: int) -> None:
        self._runs.pop(node, None)

    def submitted(self, node: int, token: int, payload: bytes) -> None:
        run = self._runs[node]
        run.pending[token] = payload
        self._submitted[payload] = node
        self.submissions += 1

    def paused(self, node: int) -> None:
        self._paused[node] = self._world.now
        self._woken.pop(node, None)

    def resumed(self, node: int) -> None:
        since = self._paused.pop(node, self._world.now)
        run = self._runs.get(node)
        if self._world.now - since > self._token_ns and run is not None and run.view is not None:
            self._woken[node] = (since, self._world.now, tuple(run.view.nodes))

    # ---- what the managers get ----------------------------------------------------------------------------------

    def observed(self, node: int, event: group.EngineEvent) -> None:
        run = self._runs.get(node)
        if run is None:
            return
        match event:
            case group.ViewChanged(view=view):
                self._note(node, f"VIEW {view.id} nodes={view.nodes} members={view.members} with={view.transitional}")
                self._on_view(node, run, view)
            case group.Delivered():
                self._note(node, f"GOT {_brief(event.payload)} in {event.view}")
                self._on_delivered(node, run, event)
            case group.SubmissionLost(token=token, cause=cause):
                self._note(node, f"LOST {token} {cause}")
                if run.pending.pop(token, None) is None:
                    self._fail(node, f"token {token} is reported lost ({cause}) but has no open submission")
                self.lost += 1
            case group.FlowControl(room_bytes=room):
                run.room = room
            case _:
                pass

    def _on_view(self, node: int, run: _Run, view: group.View) -> None:
        self.views += 1
        last = self._last_id.get(node)
        if last is not None and view.id <= last:
            self._fail(node, f"view {view.id} does not grow over {last}")
        self._last_id[node] = view.id
        content = (tuple(view.nodes), tuple(view.members))
        if self._contents.setdefault(view.id, content) != content:
            self._fail(node, f"view {view.id} has two contents: {self._contents[view.id]} and {content}")
        if node not in view.nodes or node not in view.members or node not in view.transitional:
            self._fail(node, f"view {view.id} lacks the node itself: {view}")
        if list(view.nodes) != sorted(set(view.nodes)) or not set(view.transitional) <= set(view.members) <= set(
            view.nodes
        ):
            self._fail(node, f"view {view.id} is not sorted or not nested: {view}")
        key = _key(view.id)
        former, position = run.view, run.position
        if former is not None and _key(former.id) == key:
            if view.id.minor != former.id.minor + 1:
                self._fail(node, f"from view {former.id} to {view.id}")
            self._entry(node, run, key, f"view {view.id.minor}")
            if not set(former.members) & set(view.members) >= set(view.transitional):
                self._fail(node, f"transitional of {view.id} is more than who stayed: {view}")
        else:
            self._begin(node, run, view, key, former, position)
        run.view = view

    def _begin(
        self, node: int, run: _Run, view: group.View, key: ViewKey, former: group.View | None, position: int | None
    ) -> None:
        if view.id.minor == 0:
            run.position, run.early = 0, []
            self._orders.setdefault(key, _Order())
            self._compare_change(node, run, view, key, former, position)
            if view.id.coordinator == node:
                self._check_reach(node, view)
            self._check_accusation(node, view)
        else:
            run.position, run.early = None, []
            self._entry(node, run, key, f"view {view.id.minor}")

    def _compare_change(
        self, node: int, run: _Run, view: group.View, key: ViewKey, former: group.View | None, position: int | None
    ) -> None:
        """Members that go together from one view to the next have delivered the same."""
        mine = _Change(_key(former.id) if former else (0, 0), position, tuple(view.transitional), run.number)
        changes = self._changes.setdefault(key, {})
        for other, theirs in changes.items():
            together = other in mine.transitional
            if together != (node in theirs.transitional):
                self._fail(node, f"in view {view.id} nodes {node} and {other} differ on whether they came together")
            if not together:
                continue
            if theirs.former != mine.former:
                self._fail(
                    node, f"{node} and {other} come to {view.id} together from {mine.former} and {theirs.former}"
                )
            if None not in (position, theirs.position) and position != theirs.position:
                self._fail(
                    node,
                    f"{node} and {other} went from {mine.former} to {view.id} after "
                    f"{position} and {theirs.position} entries",
                )
            if set(mine.transitional) != set(theirs.transitional):
                self._fail(
                    node, f"transitional of {view.id}: {mine.transitional} at {node}, {theirs.transitional} at {other}"
                )
        changes[node] = mine

    def _on_delivered(self, node: int, run: _Run, event: group.Delivered) -> None:
        self.deliveries += 1
        view = run.view
        if view is None or event.view != view.id:
            self._fail(node, f"delivered in view {event.view}, but the view is {view.id if view else None}")
            return
        if event.sender not in view.members:
            self._fail(node, f"sender {event.sender} is no member of {view.id}")
        if self._submitted.get(event.payload) != event.sender:
            self._fail(node, f"{event.sender} never submitted {_brief(event.payload)}")
        if event.payload in run.seen:
            self._fail(node, f"{_brief(event.payload)} is delivered twice")
        run.seen.add(event.payload)
        number = _number(event.payload)
        if number <= run.last.get(event.sender, (0, 0)):
            self._fail(node, f"{_brief(event.payload)} of {event.sender} comes after {run.last[event.sender]}")
        run.last[event.sender] = number
        if event.sender == node and number[0] == run.number:
            if event.token is None or run.pending.pop(event.token, None) != event.payload:
                self._fail(node, f"own message {_brief(event.payload)} with token {event.token} has no open submission")
        elif event.token is not None:
            self._fail(node, f"message of another carries token {event.token}")
        self._entry(node, run, _key(view.id), _brief(event.payload))

    def _entry(self, node: int, run: _Run, key: ViewKey, entry: str) -> None:
        """The next thing that this member sees in the view's order."""
        order = self._orders.setdefault(key, _Order())
        if run.position is None:
            run.early.append(entry)
            start = order.positions.get(run.early[0])
            if start is None:
                return
            run.position = start
            entries, run.early = run.early, []
        else:
            entries = [entry]
        for each in entries:
            if run.position < len(order.entries):
                if order.entries[run.position] != each:
                    self._fail(
                        node,
                        f"entry {run.position} of view {key} is {each!r} here and "
                        f"{order.entries[run.position]!r} elsewhere",
                    )
            else:
                order.entries.append(each)
                if each.startswith("view "):
                    order.positions[each] = run.position
            run.position += 1

    # ---- ground truth -------------------------------------------------------------------------------------------

    def _check_reach(self, node: int, view: group.View) -> None:
        """All nodes of a view have lately reached each other, both ways."""
        limit = self._world.now - 2 * self._token_ns
        for a in view.nodes:
            for b in view.nodes:
                since = self._network.unreachable_since(a, b) if a != b else None
                if since is not None and since < limit:
                    self._fail(
                        node, f"view {view.id} has {a} and {b}, but {a} has not reached {b} since {since / SECOND:.3f}"
                    )

    def _check_accusation(self, node: int, view: group.View) -> None:
        """The first view of a node after its pause lacks nobody who runs and could be heard all the time."""
        woken = self._woken.pop(node, None)
        if woken is None:
            return
        paused_at, woken_at, former = woken
        for other in former:
            if other in view.nodes or other == node:
                continue
            up_since = self._up_since.get(other)
            if up_since is None or up_since > paused_at or other in self._paused or other in self._woken:
                continue
            apart = [self._network.unreachable_since(*pair) for pair in ((node, other), (other, node))]
            if not self._was_quiet(paused_at) or apart != [None, None]:
                continue
            self._fail(
                node,
                f"paused {(woken_at - paused_at) / MILLISECOND:.0f} ms, "
                f"its next view {view.id} lacks {other}, who runs",
            )
        self.pauses_watched += 1

    def _was_quiet(self, since: int) -> bool:
        return self._network.last_fault_at < since - 2 * self._token_ns

    # ---- rest ---------------------------------------------------------------------------------------------------

    def is_converged(self, up: tuple[int, ...], joined: tuple[int, ...]) -> bool:
        for node in joined:
            run = self._runs.get(node)
            if run is None or run.view is None or run.pending:
                return False
            if tuple(run.view.nodes) != up or tuple(run.view.members) != joined:
                return False
        return len({self._runs[node].view.id for node in joined}) <= 1  # type: ignore[union-attr]

    def divergence(self) -> str:
        return "; ".join(
            f"{node}: {run.view.id if run.view else None} nodes={run.view.nodes if run.view else ()} "
            f"members={run.view.members if run.view else ()} open={len(run.pending)}"
            for node, run in sorted(self._runs.items())
        )

    def at_rest(self) -> None:
        for node, run in sorted(self._runs.items()):
            if run.pending:
                self._fail(node, f"{len(run.pending)} submissions have no fate, first token {min(run.pending)}")
            if run.position is not None and run.view is not None:
                entries = len(self._orders[_key(run.view.id)].entries)
                if run.position != entries:
                    self._fail(node, f"saw {run.position} of {entries} entries of view {run.view.id}")

        self._compare_late_joiners()

    def _compare_late_joiners(self) -> None:
        """In a view that began without managers, who joined later must see what the first sees."""
        late: dict[ViewKey, list[tuple[int, int, list[str]]]] = {}
        for node, run in sorted(self._runs.items()):
            if run.early and run.view is not None:
                late.setdefault(_key(run.view.id), []).append((int(run.early[0].split()[1]), node, run.early))
        for key, joiners in sorted(late.items()):
            (_, first, reference), *others = sorted(joiners)
            for _, node, entries in others:
                if entries[0] not in reference or reference[reference.index(entries[0]) :] != entries:
                    self._fail(node, f"does not see the same of view {key} as {first}")

    def _note(self, node: int, text: str) -> None:
        self._world.note(f"m{node}", text)

    def _fail(self, node: int, text: str) -> None:
        raise Violation(f"at {self._world.now / SECOND:.3f} s, node {node}: {text}")


def _key(view_id: ViewId) -> ViewKey:
    return (view_id.counter, view_id.coordinator)


def _brief(payload: bytes) -> str:
    return payload.split(b" ", 1)[0].decode()


def _number(payload: bytes) -> tuple[int, int]:
    _, run, token = payload.split(b" ", 1)[0].split(b".")
    return int(run), int(token)
