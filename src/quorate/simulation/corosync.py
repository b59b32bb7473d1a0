"""Corosync as a client sees it, in virtual time: rings, closed process groups, quorum, with all that makes them awkward.

Modelled: a ring forms a token after a loss and sooner after a gain; nodes that go together from ring to ring deliver the
same rest of the old one, others do not; what was queued may be sent in the new ring before the group is told of it, and
is not delivered where the sender is unknown; a node that was frozen misses what the others did and comes back either
through a ring of its own or directly; the group's changes come stepwise, in another order at each node; quorum's callback
comes on a stream of its own, early or late; a multicast is queued or refused with "try again".

Who is in a ring follows from the simulated network's cuts alone: Corosync repairs loss and order itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from quorate.core.corosync import interface
from quorate.core.corosync.machine import CorosyncGroup
from quorate.model import group
from quorate.model.ids import MILLISECOND, NodeId
from quorate.simulation.group import SOCKET_DELAY_NS, GroupCluster, Listener, StubManager
from quorate.simulation.group_checkers import GroupChecker, ViewKey, _Run
from quorate.simulation.network import Network
from quorate.simulation.world import Computer, World

MachineFactory = Callable[[NodeId, int], CorosyncGroup]

_LATE_NS = 300 * MILLISECOND
_REFUSED = 0.1
_QUEUE_MAX = 50


@dataclass(frozen=True, slots=True)
class _Entry:
    """`kind`: "data", "join", "leave", or "sync" (the end of Corosync's own synchronisation)."""

    kind: str
    sender: int = 0
    data: bytes = b""
    joined: tuple[int, ...] = ()


@dataclass(slots=True)
class _RingLog:
    """A ring and the one order of what was sent in it."""

    id: interface.Ring
    members: tuple[int, ...]
    entries: list[_Entry] = field(default_factory=list)
    is_synced: bool = False


class _Daemon:
    """One node's Corosync. `known`: who is in the group, as it knows."""

    def __init__(self, node: int) -> None:
        self.node = node
        self.highest_sequence = 0
        self.forget()

    def forget(self) -> None:
        self.ring: _RingLog | None = None
        self.position = 0
        self.known: tuple[int, ...] = ()
        self.together: tuple[int, ...] = ()  # came along through all rings since the last synchronisation
        self.queue: deque[_Entry] = deque()
        self.client = 0  # number of the open handle; 0: none
        self.client_is_in = False


class SimulatedCorosync:
    """All daemons of a cluster."""

    def __init__(self, world: World, network: Network, token_ns: int) -> None:
        self.world = world
        self.network = network
        self.token_ns = token_ns
        self._random = world.stream("corosync")
        self._nodes: dict[int, CorosyncNode] = {}
        self._daemons: dict[int, _Daemon] = {}
        self._wanted: dict[tuple[int, ...], int] = {}  # a component that should be a ring -> since
        self._departed: tuple[int, ...] = ()
        world.after(token_ns // 20, self._scan)

    def add(self, node: CorosyncNode) -> None:
        self._nodes[node.id] = node
        self._daemons[node.id] = _Daemon(node.id)
        self.network.attach(node.id, lambda link, source, data: None)

    # ---- a node's life ------------------------------------------------------------------------------------------

    def started(self, node: int) -> None:
        self._daemons[node].forget()
        self._departed = tuple(other for other in self._departed if other != node)
        self._form((node,))

    def ended(self, node: int, orderly: bool) -> None:
        self._daemons[node].forget()
        if orderly:
            self._departed += (node,)

    # ---- what a client asks for ---------------------------------------------------------------------------------

    def join(self, node: int, client: int) -> None:
        daemon = self._daemons[node]
        daemon.client, daemon.client_is_in = client, False
        self._enqueue(daemon, _Entry("join", node))

    def leave(self, node: int) -> None:
        daemon = self._daemons[node]
        daemon.client, daemon.client_is_in = 0, False
        daemon.queue = deque(entry for entry in daemon.queue if entry.kind not in ("join", "data"))
        self._enqueue(daemon, _Entry("leave", node))

    def multicast(self, node: int, data: bytes) -> bool:
        daemon = self._daemons[node]
        busy = daemon.ring is None or not daemon.ring.is_synced or len(daemon.queue) >= _QUEUE_MAX
        if busy or self._random.random() < _REFUSED:
            return False
        self._enqueue(daemon, _Entry("data", node, data))
        return True

    def _enqueue(self, daemon: _Daemon, entry: _Entry) -> None:
        daemon.queue.append(entry)
        self.world.after(self._random.randint(50_000, MILLISECOND), lambda: self._send(daemon))

    def _send(self, daemon: _Daemon) -> None:
        """The token comes by: what waits enters the order. During synchronisation only what was queued before it."""
        if not daemon.queue or daemon.ring is None or not self._runs(daemon.node):
            return
        if daemon.ring.is_synced or (daemon.queue[0].kind == "data" and self._random.random() < 0.5):
            self._append(daemon.ring, daemon.queue.popleft())
        if daemon.queue:
            self.world.after(self._random.randint(50_000, MILLISECOND), lambda: self._send(daemon))

    def _append(self, ring: _RingLog, entry: _Entry) -> None:
        ring.entries.append(entry)
        upto = len(ring.entries)
        for member in ring.members:
            delay = self._random.randint(50_000, MILLISECOND)
            self.world.after(delay, lambda d=self._daemons[member]: self._pump(d, ring, upto))  # type: ignore[misc]

    # ---- delivery -----------------------------------------------------------------------------------------------

    def _runs(self, node: int) -> bool:
        computer = self._nodes[node].computer
        return computer.is_on and not computer.is_paused

    def _pump(self, daemon: _Daemon, ring: _RingLog, upto: int) -> None:
        while daemon.ring is ring and daemon.position < min(upto, len(ring.entries)) and self._runs(daemon.node):
            entry = ring.entries[daemon.position]
            daemon.position += 1
            self._deliver(daemon, ring, entry)

    def _deliver(self, daemon: _Daemon, ring: _RingLog, entry: _Entry) -> None:
        sender = entry.sender
        match entry.kind:
            case "data":
                if sender in daemon.known:
                    self._tell(daemon, interface.Received(node=sender, data=entry.data))
            case "join":
                if sender == daemon.node:
                    daemon.client_is_in = True
                again = sender in daemon.known
                daemon.known = tuple(sorted({*daemon.known, sender}))
                left = (sender,) if again else ()
                self._tell(daemon, interface.MembersChanged(members=daemon.known, left=left, joined=(sender,)))
                if sender == daemon.node:
                    self._tell(daemon, interface.TotemChanged(ring=ring.id, nodes=ring.members))
            case "leave":
                if sender in daemon.known:
                    daemon.known = tuple(node for node in daemon.known if node != sender)
                    if sender != daemon.node:
                        self._tell(daemon, interface.MembersChanged(members=daemon.known, left=(sender,)))
            case _:
                self._synced(daemon, ring, entry.joined)

    def _synced(self, daemon: _Daemon, ring: _RingLog, joined: tuple[int, ...]) -> None:
        """The group's changes, stepwise, then the ring."""
        left = tuple(node for node in daemon.known if node not in daemon.together)
        if left:
            daemon.known = tuple(node for node in daemon.known if node not in left)
            self._tell(daemon, interface.MembersChanged(members=daemon.known, left=left))
        new = [node for node in joined if node not in daemon.known]
        self._random.shuffle(new)
        for node in new:
            daemon.known = tuple(sorted({*daemon.known, node}))
            self._tell(daemon, interface.MembersChanged(members=daemon.known, joined=(node,)))
        daemon.together = ring.members
        self._tell(daemon, interface.TotemChanged(ring=ring.id, nodes=ring.members))

    def _tell(self, daemon: _Daemon, event: interface.Event) -> None:
        if daemon.client and daemon.client_is_in:
            self._nodes[daemon.node].heard(event, daemon.client)

    # ---- rings --------------------------------------------------------------------------------------------------

    def _scan(self) -> None:
        """Who hears whom now; what has been so for long enough becomes a ring."""
        self.world.after(self.token_ns // 20, self._scan)
        components = self._components()
        wanted: dict[tuple[int, ...], int] = {}
        for component in components:
            rings = {self._daemons[node].ring.id: self._daemons[node].ring for node in component}  # type: ignore[union-attr]
            ring = next(iter(rings.values()))
            if len(rings) == 1 and ring is not None and ring.members == component:
                for node in component:
                    self._pump(self._daemons[node], ring, len(ring.entries))  # after a short freeze
                continue
            since = self._wanted.get(component, self.world.now)
            missing = {m for r in rings.values() if r is not None for m in r.members} - {*component, *self._departed}
            patience = self.token_ns if missing else self.token_ns // 4
            if self.world.now - since >= patience:
                self._form(component)
            else:
                wanted[component] = since
                self._perhaps_alone(component)
        self._wanted = wanted

    def _perhaps_alone(self, component: tuple[int, ...]) -> None:
        """Who wakes and finds its ring gone may first be a ring of its own."""
        for node in component:
            ring = self._daemons[node].ring
            if ring is None or len(ring.members) == 1:
                continue
            if all(self._daemons[other].ring is not ring for other in ring.members if other != node):
                if self._random.random() < 0.3:
                    self._form((node,))

    def _components(self) -> list[tuple[int, ...]]:
        found: list[list[int]] = []
        for node in sorted(self._nodes):
            if not self._runs(node) or self._daemons[node].ring is None:
                continue
            for component in found:
                if all(self._hear_each_other(node, other) for other in component):
                    component.append(node)
                    break
            else:
                found.append([node])
        return [tuple(component) for component in found]

    def _hear_each_other(self, one: int, other: int) -> bool:
        return all(self.network.unreachable_since(*pair) is None for pair in ((one, other), (other, one)))

    def _form(self, members: tuple[int, ...]) -> None:
        daemons = [self._daemons[node] for node in members]
        sequence = max(daemon.highest_sequence for daemon in daemons) + 4
        ring = _RingLog(interface.Ring(sequence, members[0]), members)
        self.world.note("corosync", f"RING {sequence}.{members[0]} {members}")
        old: list[_RingLog] = []
        for daemon in daemons:
            if daemon.ring is not None and daemon.ring not in old:
                old.append(daemon.ring)
        for former in old:
            self._close(former, [daemon for daemon in daemons if daemon.ring is former])
        for daemon in daemons:
            daemon.ring, daemon.position, daemon.highest_sequence = ring, 0, sequence
            if daemon.queue:
                self.world.after(self._random.randint(50_000, MILLISECOND), lambda d=daemon: self._send(d))  # type: ignore[misc]
            self._tell_quorum(daemon, ring)
        self.world.after(self._random.randint(1, 30) * MILLISECOND, lambda: self._finish(ring))

    def _close(self, former: _RingLog, together: list[_Daemon]) -> None:
        """Who goes on together delivers the same of the old ring: all that one of them has."""
        nodes = tuple(daemon.node for daemon in together)
        held = max(daemon.position for daemon in together)
        own = [index + 1 for index, entry in enumerate(former.entries) if entry.sender in nodes]
        delivers_own = self._random.random() < 0.5  # behind a gap it may not
        upto = max([held, *own[-1:]]) if delivers_own else held
        upto = self._random.randint(upto, len(former.entries)) if delivers_own else upto
        for daemon in together:
            self._pump(daemon, former, upto)
            daemon.together = tuple(node for node in nodes if node in (daemon.together or nodes))

    def _finish(self, ring: _RingLog) -> None:
        """Corosync's services have synchronised: one place in the order for all."""
        daemons = [self._daemons[node] for node in ring.members]
        if any(daemon.ring is not ring for daemon in daemons):
            return  # changed again before that
        if not all(self._runs(daemon.node) for daemon in daemons):
            self.world.after(5 * MILLISECOND, lambda: self._finish(ring))
            return
        ring.is_synced = True
        joined = tuple(daemon.node for daemon in daemons if daemon.node in daemon.known)
        self._append(ring, _Entry("sync", joined=joined))
        for daemon in daemons:
            if daemon.queue:
                self._send(daemon)

    def _tell_quorum(self, daemon: _Daemon, ring: _RingLog) -> None:
        late = self._random.random() < 0.2
        delay = self._random.randint(0, _LATE_NS if late else 40 * MILLISECOND)
        quorate = 2 * len(ring.members) > len(self._nodes)
        event = interface.QuorumChanged(ring=ring.id, nodes=ring.members, quorate=quorate)
        node = self._nodes[daemon.node]
        life = node.computer.life

        def arrive() -> None:
            if node.computer.life == life and daemon.ring is ring:
                node.computer.receive(lambda: node.handle(event))

        self.world.after(delay, arrive)


class CorosyncNode:
    """One computer with Corosync and the engine on it, as `simulation.group.EngineNode` is with the embedded one."""

    def __init__(
        self, world: World, corosync: SimulatedCorosync, node: int, token_ms: int, make_machine: MachineFactory
    ) -> None:
        self.world = world
        self.id = node
        self.computer = Computer(world, f"n{node}")
        self.listener: Listener = lambda event: None
        self.engine = None  # there is no embedded one
        self.machine: CorosyncGroup | None = None
        self.reports: dict[str, int] = {}
        self._corosync = corosync
        self._token_ms = token_ms
        self._make_machine = make_machine
        self._client = 0
        self._woke_at = 0
        corosync.add(self)

    @property
    def is_up(self) -> bool:
        return self.computer.is_on

    def start(self) -> None:
        self.computer.switch_on()
        self.machine = self._make_machine(NodeId(self.id), self._token_ms)
        self._tick_at = self.world.now
        self._tick()
        self._corosync.started(self.id)
        self.handle(interface.Found())

    def crash(self) -> None:
        self._end("CRASH", orderly=False)

    def stop(self) -> None:
        self._end("STOP", orderly=True)

    def _end(self, how: str, orderly: bool) -> None:
        self.computer.crash()
        self.machine = None
        self._corosync.ended(self.id, orderly)
        self.world.note(self.computer.name, how)

    def request(self, request: group.EngineRequest) -> None:
        life = self.computer.life

        def arrive() -> None:
            if self.computer.life == life:
                self.computer.receive(lambda: self.handle(interface.ManagerRequest(request=request)))

        self.world.after(SOCKET_DELAY_NS, arrive)

    def manager_gone(self, cause: str) -> None:
        self.computer.receive(lambda: self.handle(interface.ManagerGone(cause=cause)))

    def heard(self, event: interface.Event, client: int) -> None:
        def arrive() -> None:
            if self._client == client:
                self.handle(event)
                self.handle(interface.Drained())

        self.computer.receive(arrive)

    def _tick(self) -> None:
        """The driver's clock: shows when this computer did not run."""
        gap = self.world.now - self._tick_at
        self._tick_at = self.world.now + 50 * MILLISECOND
        if gap > self._token_ms * MILLISECOND // 2:
            self.handle(interface.Paused(gap_ms=gap // MILLISECOND))
        self.computer.set_timer("driver", self._tick_at, self._tick)

    def handle(self, event: interface.Event) -> None:
        gap = self.world.now - self._tick_at
        if gap > self._token_ms * MILLISECOND // 2:
            self._tick()  # the pause is noticed before anything else
        events: deque[interface.Event] = deque([event])
        while events and self.machine is not None:
            for effect in self.machine.handle(events.popleft(), self.world.now):
                self._carry_out(effect, events)

    def _carry_out(self, effect: interface.Effect, events: deque[interface.Event]) -> None:
        match effect:
            case interface.Multicast(data=data):
                events.append(interface.Sent(accepted=self._corosync.multicast(self.id, data)))
            case interface.ToManager(event=event):
                self.listener(group.decode_event(group.encode(event)))
            case interface.SetTimer(name=name, at=at):
                self.computer.set_timer(name, at, lambda: self.handle(interface.TimerFired(name=name)))
            case interface.CancelTimer(name=name):
                self.computer.cancel_timer(name)
            case interface.JoinGroup():
                self._client += 1
                self._corosync.join(self.id, self._client)
            case interface.LeaveGroup():
                self._client += 1
                self._corosync.leave(self.id)
            case interface.Report(code=code, fields=fields):
                self.reports[code] = self.reports.get(code, 0) + 1
                self.world.note(self.computer.name, code + " " + " ".join(f"{k}={v}" for k, v in fields))


class CorosyncChecker(GroupChecker):
    """As for every engine, but for one thing: where nodes part, the last messages of a view may be in another order on
    the other side. Corosync sends in the new ring, before it tells of it, what was queued in the old one. Who goes on
    together, and who is together at the end, has delivered exactly the same."""

    def __init__(self, world: World, network: Network, token_ns: int) -> None:
        super().__init__(world, network, token_ns)
        self._seen: dict[tuple[ViewKey, int, int], list[str]] = {}

    def _on_view(self, node: int, run: _Run, view: group.View) -> None:
        former = run.view
        if former is not None and view.id.minor > former.id.minor + 1 and view.transitional == (node,):
            run.view = None  # the others went on without it while it did not run; it came along from nowhere
        super()._on_view(node, run, view)

    def _entry(self, node: int, run: _Run, key: ViewKey, entry: str) -> None:
        self._seen.setdefault((key, node, run.number), []).append(entry)

    def _compare_change(
        self, node: int, run: _Run, view: group.View, key: ViewKey, former: group.View | None, position: int | None
    ) -> None:
        super()._compare_change(node, run, view, key, former, None)
        mine = self._changes[key][node]
        for other in mine.transitional:
            theirs = self._changes[key].get(int(other))
            if theirs is not None and other != node:
                self._compare(mine.former, (node, run.number), (int(other), theirs.run))

    def _compare(self, key: ViewKey, one: tuple[int, int], other: tuple[int, int]) -> None:
        """Of two that were in a view to its end: what they saw since it last changed."""
        ends = [_since_last_change(self._seen.get((key, *each), [])) for each in (one, other)]
        if ends[0] != ends[1]:
            self._fail(one[0], f"{one[0]} and {other[0]} were in view {key} to its end and saw different messages")

    def at_rest(self) -> None:
        super().at_rest()
        runs = [(node, run) for node, run in sorted(self._runs.items()) if run.view is not None]
        for node, run in runs[1:]:
            first, first_run = runs[0]
            assert run.view is not None
            if first_run.view == run.view or first_run.view is None or first_run.view.id == run.view.id:
                key = (run.view.id.counter, run.view.id.coordinator)
                self._compare(key, (node, run.number), (first, first_run.number))


def _since_last_change(entries: list[str]) -> list[str]:
    changes = [index for index, entry in enumerate(entries) if entry.startswith("view ")]
    return entries[changes[-1] :] if changes else entries


class CorosyncCluster(GroupCluster):
    """N nodes on simulated Corosync with stub managers, under the same checker."""

    def __init__(
        self, seed: int | str, nodes: int, *, token_ms: int = 1000, links: tuple[str, ...] = ("lan",),
        make_machine: MachineFactory = CorosyncGroup,
    ) -> None:  # fmt: skip
        self.world = World(seed)
        self.network = Network(self.world, tuple(link for link in links if not link.startswith("serial")))
        self.token_ns = token_ms * MILLISECOND
        self.checker = CorosyncChecker(self.world, self.network, self.token_ns)
        self.corosync = SimulatedCorosync(self.world, self.network, self.token_ns)
        made = {n: CorosyncNode(self.world, self.corosync, n, token_ms, make_machine) for n in range(1, nodes + 1)}
        self.nodes = made  # type: ignore[assignment]
        self.managers = {n: StubManager(node, self.checker) for n, node in made.items()}  # type: ignore[arg-type]
