"""Engines of a cluster in virtual time, and a stub manager on each that talks all the time.

`EngineNode` drives one HeartbeatEngine the way the host's driver does (header, gatekeeper, codec; only the seal is
left out), and hands its events to whoever listens: the stub here, whole managers elsewhere. `GroupCluster` is N of
them on one network. `run_group` is one seed's run: faults drawn from the seed, then healing, then convergence, all
watched by group_checkers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from quorate.core.messaging.configuration import EngineConfiguration, LinkConfiguration, LinkKind, NodeConfiguration
from quorate.core.messaging.effects import CancelTimer, Effect, Report, SendPacket, SetTimer, StoreCounter, ToManager
from quorate.core.messaging.engine import HeartbeatEngine
from quorate.core.messaging.events import (
    Event,
    LinkTrouble,
    ManagerGone,
    ManagerRequest,
    PacketReceived,
    Started,
    StopRequested,
    TimerFired,
)
from quorate.core.messaging.replay import Gatekeeper
from quorate.model import group, wire
from quorate.model.ids import MILLISECOND, SECOND, NodeId
from quorate.simulation.group_checkers import GroupChecker
from quorate.simulation.network import Network
from quorate.simulation.world import Computer, Violation, World

SEAL = bytes(wire.SEAL_BYTES)
SOCKET_DELAY_NS = 30_000  # manager to engine
CLUSTER = "simulated"

EngineFactory = Callable[[EngineConfiguration], HeartbeatEngine]
Listener = Callable[[group.EngineEvent], None]


def engine_configuration(node: int, nodes: int, links: tuple[str, ...], token_ms: int) -> EngineConfiguration:
    """Nodes 1..`nodes`; a link whose name begins with "serial" is a slow line."""
    ids = range(1, nodes + 1)
    return EngineConfiguration(
        cluster=CLUSTER,
        node=NodeId(node),
        nodes=tuple(NodeConfiguration(id=NodeId(n), name=f"node{n}") for n in ids),
        links=tuple(
            LinkConfiguration(
                name=name,
                number=number,
                kind=LinkKind.SERIAL if name.startswith("serial") else LinkKind.UDP,
                peers=tuple((NodeId(n), f"{name}:{n}") for n in ids if n != node),
                mtu_bytes=256 if name.startswith("serial") else 1400,
                bytes_per_second=11_500 if name.startswith("serial") else 0,
            )
            for number, name in enumerate(links)
        ),
        token_ms=token_ms,
    )


class EngineNode:
    """One computer with its engine. `listener` gets what the engine tells its manager."""

    def __init__(
        self,
        world: World,
        network: Network,
        configuration: EngineConfiguration,
        make_engine: EngineFactory = HeartbeatEngine,
    ) -> None:
        self.world = world
        self.network = network
        self.configuration = configuration
        self.id = int(configuration.node)
        self.computer = Computer(world, f"n{self.id}")
        self.listener: Listener = lambda event: None
        self.engine: HeartbeatEngine | None = None
        self.reports: dict[str, int] = {}
        self._make_engine = make_engine
        self._births = world.births
        self._random = world.stream(f"engine{self.id}")
        self._stored_counter = 0
        self.incarnation = 0
        self._sequences: dict[str, int] = {}
        self._numbers = {link.name: link.number for link in configuration.links}
        self._gatekeeper = Gatekeeper(())
        self._lives: dict[int, int] = {}  # of each peer, the latest life that the engine here has heard
        network.attach(self.id, self._on_datagram)

    # ---- life ---------------------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self.computer.is_on

    def start(self) -> None:
        self.computer.switch_on()
        self.incarnation = self._random.getrandbits(128)
        self._sequences = dict.fromkeys(self._numbers, 0)
        self._gatekeeper = Gatekeeper(tuple(n.id for n in self.configuration.nodes if int(n.id) != self.id))
        self.engine = self._make_engine(self.configuration)
        self._lives = {}
        self._births[self.incarnation] = self.computer.life
        self.handle(Started(incarnation=self.incarnation, counter_floor=self._stored_counter))

    def crash(self) -> None:
        self.computer.crash()
        self.engine = None
        self.world.note(self.computer.name, "CRASH")

    def stop(self) -> None:
        """Orderly: says good-bye first."""
        self.handle(StopRequested(cause="asked to"))
        self.computer.crash()
        self.engine = None
        self.world.note(self.computer.name, "STOP")

    def request(self, request: group.EngineRequest) -> None:
        """From the manager, over its socket."""
        life = self.computer.life

        def arrive() -> None:
            if self.computer.life == life:
                self.computer.receive(lambda: self.handle(ManagerRequest(request=request)))

        self.world.after(SOCKET_DELAY_NS, arrive)

    def manager_gone(self, cause: str) -> None:
        self.computer.receive(lambda: self.handle(ManagerGone(cause=cause)))

    # ---- events and effects -------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        if self.engine is None:
            return
        for effect in self.engine.handle(event, self.world.now):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SendPacket():
                self._send(effect.link, effect.peers, effect.packet)
            case SetTimer(name=name, at=at):
                self.computer.set_timer(name, at, lambda: self.handle(TimerFired(name=name)))
            case CancelTimer(name=name):
                self.computer.cancel_timer(name)
            case ToManager(event=event):
                self.listener(group.decode_event(group.encode(event)))
            case StoreCounter(value=value):
                self._stored_counter = value
            case Report(code=code, fields=fields):
                self.reports[code] = self.reports.get(code, 0) + 1
                self.world.note(self.computer.name, code + " " + " ".join(f"{k}={v}" for k, v in fields))

    def _send(self, link: str, peers: tuple[NodeId, ...], packet: wire.Packet) -> None:
        self._sequences[link] += 1
        header = wire.Header(
            cluster=wire.cluster_tag(CLUSTER),
            source=self.id,
            link=self._numbers[link],
            key_epoch=0,
            incarnation=self.incarnation,
            sequence=self._sequences[link],
        )
        datagram = header.pack() + wire.encode(packet) + SEAL
        if len(datagram) > wire.PACKET_BYTES_MAX:
            raise Violation(f"a packet of {len(datagram)} bytes: {type(packet).__name__}")
        for peer in peers:
            self.network.send(link, self.id, int(peer), datagram)

    def _on_datagram(self, link: str, source: int, datagram: bytes) -> None:
        self.computer.receive(lambda: self._arrived(link, datagram), may_be_lost=True)

    def _arrived(self, link: str, datagram: bytes) -> None:
        header = wire.unpack_header(datagram)
        source = NodeId(header.source)
        if self._gatekeeper.is_replay(source, header.link, header.incarnation, header.sequence):
            self.handle(LinkTrouble(code="replay", peer=source, link=link))
            return
        packet = wire.decode(datagram[wire.HEADER_BYTES : -wire.SEAL_BYTES])
        outcome = self._gatekeeper.opened(
            source,
            header.link,
            header.incarnation,
            header.sequence,
            packet,
            self.world.now,
            self._random.getrandbits(63),
        )
        for answer in outcome.answers:
            self._send(link, (source,), answer)
        if outcome.code is not None:
            self.handle(LinkTrouble(code=outcome.code, peer=source, link=link))
        if outcome.deliver:
            self._check_life(header)
            self.handle(
                PacketReceived(
                    link=link, peer=source, incarnation=header.incarnation, packet=packet, size=len(datagram)
                )
            )

    def _check_life(self, header: wire.Header) -> None:
        """Ground truth: once the engine has heard one life of a peer, nothing of an earlier one may reach it."""
        life = self._births[header.incarnation]
        if life < self._lives.get(header.source, 0):
            raise Violation(
                f"at {self.world.now / SECOND:.3f} s, node {self.id}: a packet of life {life} of node {header.source} "
                f"comes after life {self._lives[header.source]}"
            )
        self._lives[header.source] = life


class StubManager:
    """Joins, submits numbered messages, and lets the checker see all it sends and gets."""

    def __init__(self, node: EngineNode, checker: GroupChecker) -> None:
        self._node = node
        self._checker = checker
        self._random = node.world.stream(f"manager{node.id}")
        self._run = 0
        self._token = 0
        self.is_joined = False
        node.listener = self._on_event

    @property
    def run(self) -> int:
        return self._run

    def join(self) -> None:
        if self.is_joined or not self._node.is_up:
            return
        self._run += 1
        self.is_joined = True
        self._checker.joined(self._node.id, self._run)
        self._node.request(group.Join(incarnation=self._random.getrandbits(64) | 1))

    def leave(self) -> None:
        if self.is_joined:
            self._checker.left(self._node.id)
            self._node.request(group.Leave())
            self.is_joined = False

    def kill(self) -> None:
        """The process ends; its engine sees the socket close."""
        if self.is_joined:
            self.vanish()
            self._node.manager_gone("killed")

    def vanish(self) -> None:
        """The process ends together with its computer."""
        if self.is_joined:
            self._checker.killed(self._node.id)
            self.is_joined = False

    def submit(self, size: int, bulk: bool = False) -> None:
        if not self.is_joined:
            return
        self._token += 1
        name = b"%d.%d.%d " % (self._node.id, self._run, self._token)
        payload = name + bytes(max(0, size - len(name)))
        self._checker.submitted(self._node.id, self._token, payload)
        self._node.request(group.Submit(token=self._token, payload=payload, bulk=bulk))

    def _on_event(self, event: group.EngineEvent) -> None:
        self._checker.observed(self._node.id, event)


class GroupCluster:
    """N engines with stub managers on one network, under one checker."""

    def __init__(
        self,
        seed: int | str,
        nodes: int,
        *,
        token_ms: int = 1000,
        links: tuple[str, ...] = ("lan",),
        make_engine: EngineFactory = HeartbeatEngine,
    ) -> None:
        self.world = World(seed)
        self.network = Network(self.world, links)
        for link in links:
            if link.startswith("serial"):
                self.network.conditions[link].bytes_per_second = 11_500
        self.token_ns = token_ms * MILLISECOND
        self.checker = GroupChecker(self.world, self.network, self.token_ns)
        self.nodes = {
            n: EngineNode(self.world, self.network, engine_configuration(n, nodes, links, token_ms), make_engine)
            for n in range(1, nodes + 1)
        }
        self.managers = {n: StubManager(node, self.checker) for n, node in self.nodes.items()}

    def start(self, *nodes: int) -> None:
        for node in nodes or tuple(self.nodes):
            self.nodes[node].start()
            self.checker.started(node)
            self.managers[node].join()

    def crash(self, node: int) -> None:
        self.managers[node].vanish()
        self.checker.crashed(node)
        self.nodes[node].crash()

    def stop(self, node: int) -> None:
        self.managers[node].kill()
        self.checker.crashed(node)
        self.nodes[node].stop()

    def pause(self, node: int) -> None:
        self.nodes[node].computer.pause()
        self.checker.paused(node)

    def resume(self, node: int) -> None:
        self.checker.resumed(node)
        self.nodes[node].computer.resume()

    def run(self, seconds: float) -> None:
        self.world.run_until(self.world.now + int(seconds * SECOND))

    def run_while(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Runs as long as the condition holds; False if it still does when the time is over."""
        until = self.world.now + int(seconds * SECOND)
        while condition():
            if not self.world.step(until):
                self.world.now = max(self.world.now, until)
                return not condition()
        return True

    def is_converged(self) -> bool:
        """All running nodes are in one view with all their managers, and nothing is unanswered."""
        up = tuple(n for n, node in self.nodes.items() if node.is_up)
        joined = tuple(n for n in up if self.managers[n].is_joined)
        return self.checker.is_converged(up, joined)


# ---- one seed ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class GroupRun:
    """What one seed did. `violation` is None when all held."""

    seed: int
    nodes: int
    violation: str | None = None
    digest: int = 0
    steps: int = 0
    virtual_seconds: float = 0.0
    views: int = 0
    deliveries: int = 0
    submissions: int = 0
    lost: int = 0
    convergence_seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    trace: tuple[str, ...] = ()


class _Faults:
    """Draws faults for one run: each seed has its own mixture ("swarm")."""

    KINDS = (
        "crash",
        "stop",
        "pause",
        "short-pause",
        "cut-one-way",
        "cut-both",
        "cut-link",
        "partition",
        "heal",
        "congestion",
        "loss",
        "reorder",
        "duplicate",
        "replay",
        "manager-kill",
        "manager-leave",
        "large",
        "flood",
    )

    def __init__(self, cluster: GroupCluster, kinds: tuple[str, ...] = ()) -> None:
        self.cluster = cluster
        self.random: random.Random = cluster.world.stream("faults")
        drawn = tuple(kind for kind in self.KINDS if self.random.random() < 0.5)
        self.kinds = kinds or drawn or ("crash",)
        self.gap_tokens = self.random.choice((0.2, 0.7, 2.0))
        self.counts: dict[str, int] = {}
        self.until = 0

    def run(self, until: int) -> None:
        self.until = until
        self._next()

    def _next(self) -> None:
        world = self.cluster.world
        gap = int(self.random.expovariate(1.0) * self.gap_tokens * self.cluster.token_ns)
        when = world.now + gap + MILLISECOND
        if when < self.until:
            world.at(when, self._inject)

    def _inject(self) -> None:
        kind = self.random.choice(self.kinds)
        if self._do(kind):
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.cluster.world.note("world", kind)
        self._next()

    def _do(self, kind: str) -> bool:
        cluster, draw = self.cluster, self.random
        node = draw.choice(tuple(cluster.nodes))
        other = draw.choice([n for n in cluster.nodes if n != node])
        engine_node = cluster.nodes[node]
        token = cluster.token_ns
        network = cluster.network
        if kind in ("crash", "stop"):
            if not engine_node.is_up or engine_node.computer.is_paused:
                return False
            (cluster.crash if kind == "crash" else cluster.stop)(node)
            cluster.world.after(int(draw.uniform(0.05, 4) * token), lambda: self._revive(node))
        elif kind in ("pause", "short-pause"):
            if not engine_node.is_up or engine_node.computer.is_paused:
                return False
            cluster.pause(node)
            length = draw.uniform(1.0, 4.0) if kind == "pause" else draw.uniform(0.1, 1.0)
            cluster.world.after(int(length * token), lambda: self._wake(node))
        elif kind == "cut-one-way":
            network.cut(node, other)
            cluster.world.after(int(draw.uniform(0.5, 5) * token), lambda: network.mend(node, other))
        elif kind == "cut-both":
            network.cut(node, other)
            network.cut(other, node)
        elif kind == "cut-link":
            network.cut(node, other, draw.choice(network.links))
        elif kind == "partition":
            side = [n for n in cluster.nodes if draw.random() < 0.5]
            network.partition(side, [n for n in cluster.nodes if n not in side])
        elif kind == "heal":
            network.heal()
        elif kind == "congestion":
            conditions = network.conditions[draw.choice(network.links)]
            conditions.delay_ns_max = int(draw.choice((0.01, 0.1, 0.4)) * token)
            network.disturbed()
        elif kind in ("loss", "reorder", "duplicate"):
            for conditions in network.conditions.values():
                setattr(conditions, kind, draw.choice((0.0, 0.02, 0.1, 0.3)))
        elif kind == "replay":
            for _ in range(10):
                network.replay(node)
        elif kind in ("manager-kill", "manager-leave"):
            manager = cluster.managers[node]
            if not manager.is_joined or engine_node.computer.is_paused:
                return False
            (manager.kill if kind == "manager-kill" else manager.leave)()
            cluster.world.after(int(draw.uniform(0, 1) * token), lambda: self._rejoin(node))
        elif kind == "large":
            cluster.managers[node].submit(draw.choice((5_000, 60_000)), bulk=draw.random() < 0.5)
        elif kind == "flood":
            for _ in range(200):
                cluster.managers[node].submit(draw.choice((20, 200, 900)))
        return True

    def _revive(self, node: int) -> None:
        if not self.cluster.nodes[node].is_up:
            self.cluster.start(node)

    def _rejoin(self, node: int) -> None:
        if not self.cluster.nodes[node].computer.is_paused:
            self.cluster.managers[node].join()
        else:
            self.cluster.world.after(self.cluster.token_ns, lambda: self._rejoin(node))

    def _wake(self, node: int) -> None:
        if self.cluster.nodes[node].computer.is_paused:
            self.cluster.resume(node)

    def end(self) -> None:
        """Everything works again."""
        self.cluster.network.heal()
        for node, engine_node in self.cluster.nodes.items():
            self._wake(node)
            if not engine_node.is_up:
                self.cluster.start(node)
            else:
                self._rejoin(node)


def _talk(cluster: GroupCluster, until: int) -> None:
    """Every manager submits now and then until the end."""
    draw = cluster.world.stream("talk")
    gap_tokens = draw.choice((0.01, 0.05, 0.3))

    def say(node: int) -> None:
        if cluster.world.now < until:
            cluster.managers[node].submit(draw.choice((16, 60, 200)), bulk=draw.random() < 0.1)
            cluster.world.after(int(draw.expovariate(1.0) * gap_tokens * cluster.token_ns) + 1, lambda: say(node))

    for node in cluster.nodes:
        say(node)


def convergence_bound_seconds(cluster: GroupCluster) -> float:
    """After healing: the longest proving time of any link, then time to hear, to lose patience twice, and to repair."""
    proving = 0
    for node in cluster.nodes.values():
        if node.engine is not None:
            detector = node.engine.detector
            proving = max(
                [
                    proving,
                    *(detector.proving_ns(link) for peer in detector.peers.values() for link in peer.links.values()),
                ]
            )
    return (proving + 16 * cluster.token_ns) / SECOND


def run_group(
    seed: int,
    nodes: int,
    make_engine: EngineFactory = HeartbeatEngine,
    kinds: tuple[str, ...] = (),
    make_cluster: Callable[..., GroupCluster] | None = None,
) -> GroupRun:
    """One run: start in disorder, faults for some tokens, healing, convergence, silence. `kinds` instead of those that
    the seed would draw; `make_cluster` (name, nodes, token_ms, links) for another engine."""
    draw = random.Random(f"{seed}/run")
    token_ms = draw.choice((200, 1000))
    links = (
        draw.choice((("lan",), ("lan", "ring"), ("lan", "serial0")))
        if nodes <= 3
        else draw.choice((("lan",), ("lan", "ring")))
    )
    name = f"group/{nodes}/{seed}"
    if make_cluster is not None:
        cluster = make_cluster(name, nodes, token_ms=token_ms, links=links)
    else:
        cluster = GroupCluster(name, nodes, token_ms=token_ms, links=links, make_engine=make_engine)
    result = GroupRun(seed=seed, nodes=nodes)
    world = cluster.world
    faults = _Faults(cluster, kinds)
    try:
        for node in cluster.nodes:
            world.at(int(draw.uniform(0, 1.5) * cluster.token_ns), lambda node=node: faults._revive(node))  # type: ignore[misc]
        end = int(draw.uniform(6, 18) * cluster.token_ns)
        _talk(cluster, end)
        faults.run(end)
        world.run_until(end)
        faults.end()
        world.note("world", "HEALED")
        bound = convergence_bound_seconds(cluster)
        healed_at = world.now
        if not cluster.run_while(lambda: not cluster.is_converged(), bound):
            raise Violation(f"no convergence within {bound:.1f} s after healing: {cluster.checker.divergence()}")
        result.convergence_seconds = (world.now - healed_at) / SECOND
        for manager in cluster.managers.values():
            manager.submit(100)
        if not cluster.run_while(lambda: not cluster.is_converged(), 4 * cluster.token_ns / SECOND):
            raise Violation(f"submissions after convergence are unanswered: {cluster.checker.divergence()}")
        world.run_until(world.now + cluster.token_ns)
        cluster.checker.at_rest()
    except (Violation, AssertionError, KeyError, IndexError) as error:
        result.violation = f"{type(error).__name__}: {error}"
        result.trace = tuple(world.trace)
    result.digest = world.digest
    result.steps = world.steps
    result.virtual_seconds = world.now / SECOND
    result.views = cluster.checker.views
    result.deliveries = cluster.checker.deliveries
    result.submissions = cluster.checker.submissions
    result.lost = cluster.checker.lost
    result.faults = {
        **faults.counts,
        **{k: v for k, v in cluster.network.counters.items() if k not in ("sent", "arrived")},
    }
    return result
