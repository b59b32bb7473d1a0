"""A whole cluster in virtual time: N nodes, their wires, fence devices, a client outside, and the faults of one seed.

Decided here: which faults happen when (from the seed), what a run's phases are, and what must hold. A run has three
phases: the
cluster forms and is configured; trouble, with faults drawn at random; peace, in which everything heals and the
cluster must
converge within a bound. Safety is checked at each change of the ground truth, all through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from quorate.core import effects as fx
from quorate.core.messaging import events as engine_ev
from quorate.core.messaging.configuration import EngineConfiguration, LinkConfiguration, LinkKind, NodeConfiguration
from quorate.core.messaging.engine import HeartbeatEngine
from quorate.core.messaging.replay import ReplayWindow
from quorate.core.node import Manager, ManagerConfiguration
from quorate.model import protocol, wire
from quorate.model.ids import MILLISECOND, SECOND, NodeId

from .configuration import simulated_configuration
from .ground import DISK_DELAY_NS, Ground, Machine, Violation
from .machine import AgentFaults, SimulatedNode
from .network import Network
from .world import World

LINKS = ("net0", "net1")
FORM_NS = 40 * SECOND
PEACE_NS = 240 * SECOND
STEP_NS = SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one seed does. `kinds`: the fault kinds that it draws from (swarm: a random subset of all)."""

    size: int
    trouble_ns: int
    kinds: tuple[str, ...]
    two_node: bool
    policy: str
    token_ms: int = 1000


@dataclass(slots=True)
class FenceDevice:
    """The power switch. It stands beside the network: cuts of the heartbeats do not reach it."""

    fail: float = 0.0
    slow: float = 0.0
    lie: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What came of one run."""

    seed: int
    plan: Plan
    virtual_s: float
    steps: int
    faults: Counter[str] = field(default_factory=Counter)
    fencings: int = 0
    starts: int = 0
    acknowledged: int = 0
    digest: int = 0
    violation: str = ""
    trace: tuple[str, ...] = ()


class SimulatedCluster:
    """`run()` plays the whole seed and returns its outcome; a violation is an outcome, not an exception."""

    def __init__(
        self,
        seed: int,
        plan: Plan,
        *,
        make_engine: Callable[[EngineConfiguration], HeartbeatEngine] = HeartbeatEngine,
        make_manager: Callable[[ManagerConfiguration], Manager] = Manager,
    ) -> None:
        self.plan = plan
        self.world = World(seed)
        self.clock = self.world
        self.seed = seed
        self._luck = self.world.stream("faults")
        self._agents_luck = self.world.stream("agents")
        self.faults = AgentFaults()
        self.device = FenceDevice()
        self.network = Network(self.world, LINKS)
        names = [f"n{i + 1}" for i in range(plan.size)]
        machines = {name: Machine(name=name, id=i + 1) for i, name in enumerate(names)}
        self.configuration = simulated_configuration(names, self.world.stream("configuration"), plan.policy)
        self.ground = Ground(machines, self.configuration.exclusive)
        self.nodes: dict[str, SimulatedNode] = {}
        for name in names:
            self.nodes[name] = SimulatedNode(
                machines[name], self, self._engine_settings(name, machines), self._manager_settings(name, machines),
                make_engine, make_manager,
            )  # fmt: skip
            self.network.attach(machines[name].id, self._receiver(name))
        self._windows: dict[tuple[str, int, str], tuple[int, ReplayWindow]] = {}
        self._sequence = 0
        self._serial = 0
        self._asked: dict[int, str] = {}
        self.acknowledged: set[str] = set()
        self.last_trouble = dict.fromkeys(names, -(10**18))
        self.in_trouble = False
        self.lies = 0
        self.outcome = Outcome(seed=seed, plan=plan, virtual_s=0.0, steps=0)

    # ---- building -----------------------------------------------------------------------------------------------

    def _engine_settings(self, name: str, machines: dict[str, Machine]) -> EngineConfiguration:
        peers = tuple((NodeId(m.id), m.name) for m in machines.values() if m.name != name)
        return EngineConfiguration(
            cluster="simulated",
            token_ms=self.plan.token_ms,
            node=NodeId(machines[name].id),
            nodes=tuple(NodeConfiguration(id=NodeId(m.id), name=m.name) for m in machines.values()),
            links=tuple(
                LinkConfiguration(name=link, number=i, kind=LinkKind.UDP, peers=peers) for i, link in enumerate(LINKS)
            ),
        )

    def _manager_settings(self, name: str, machines: dict[str, Machine]) -> ManagerConfiguration:
        return ManagerConfiguration(
            cluster="simulated",
            node=name,
            nodes=tuple((m.name, m.id, 1) for m in machines.values()),
            two_node=self.plan.two_node,
            wait_for_all=self.plan.two_node,
            settings_digest="simulated",
        )

    # ---- surroundings of the nodes ------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        return probability > 0 and self._agents_luck.random() < probability

    def between(self, low: int, high: int) -> int:
        return self._agents_luck.randint(low, high)

    def send(self, node: str, link: str, peers: tuple[int, ...], packet: wire.Packet) -> None:
        sender = self.nodes[node]
        assert sender.engine is not None
        self._sequence += 1
        head = sender.engine_incarnation.to_bytes(16, "big") + self._sequence.to_bytes(8, "big")
        data = head + wire.encode(packet)
        for peer in peers:
            self.network.send(link, sender.machine.id, peer, data)

    def _receiver(self, name: str) -> Callable[[str, int, bytes], None]:
        def receive(link: str, source: int, data: bytes) -> None:
            node = self.nodes[name]
            if not node.engine_process.alive:
                return
            incarnation, sequence = int.from_bytes(data[:16], "big"), int.from_bytes(data[16:24], "big")
            key = (name, source, link)
            known, window = self._windows.get(key, (0, None))
            if incarnation < known:
                return
            if window is None or incarnation > known:
                window = ReplayWindow()
                self._windows[key] = (incarnation, window)
            if window.is_replay(sequence):
                return
            window.accept(sequence)
            node.receive(
                engine_ev.PacketReceived(
                    link=link,
                    peer=NodeId(source),
                    incarnation=incarnation,
                    packet=wire.decode(data[24:]),
                    size=len(data),
                )
            )

        return receive

    def fence(self, by: str, effect: fx.RunFenceAgent, done: Callable[[int], None]) -> None:
        """The device takes its time; off is off once it says so, unless it lies."""
        action = effect.action
        target = effect.parameters.get("port") or effect.parameters.get("nodename") or ""
        slow = self.chance(self.device.slow)
        timeout = effect.timeout_ms * MILLISECOND
        delay = timeout + SECOND if slow else self.between(50 * MILLISECOND, 900 * MILLISECOND)
        if action in ("monitor", "status", "list", "metadata"):
            self.clock.after(20 * MILLISECOND, lambda: done(0))
            return
        self._check_cause(by, target)
        fails, lies = self.chance(self.device.fail), self.chance(self.device.lie)

        def act() -> None:
            node = self.nodes.get(target)
            if node is None or fails:
                done(1)
                return
            self.world.note("device", f"{action} {target} for {by}{' (a lie)' if lies else ''}")
            if lies:
                node.machine.lied_about = True
                self.lies += 1
            elif action in ("off", "reboot"):
                node.power_off()
                self.last_trouble[target] = self.world.now
                self.outcome.fencings += 1
            if action in ("reboot", "on") and not lies:
                self.clock.after(self.between(4 * SECOND, 12 * SECOND), node.boot)
            done(0)

        if slow:
            self.clock.after(timeout, lambda: done(124))
            if self.chance(0.5):
                self.clock.after(delay, lambda: self._late(action, target))
            return
        self.clock.after(delay, act)

    def _late(self, action: str, target: str) -> None:
        """A device that timed out and acts all the same."""
        node = self.nodes.get(target)
        if node is not None and action in ("off", "reboot"):
            node.power_off()
            self.last_trouble[target] = self.world.now
            self.clock.after(8 * SECOND, node.boot)

    def _check_cause(self, by: str, target: str) -> None:
        """Nothing is fenced that has had no trouble, and nothing without a recorded cause."""
        manager = self.nodes[by].manager
        assert manager is not None
        view = manager.situation.view
        if view is None or (not self.plan.two_node and 2 * len(view.nodes) <= self.plan.size):
            raise Violation("fenced-without-quorum", f"{by} fences {target} from a view without a majority")
        open_requests = [f.request for f in manager.state.fences.values() if f.request.target == target and f.is_open]
        if not any(request.cause for request in open_requests):
            raise Violation("no-cause", f"{by} fences {target} and no request says why")
        if (
            self.world.now - max(self.last_trouble[target], self.last_trouble.get("*", -(10**18))) > 90 * SECOND
            and not self.faults.fail
        ):
            raise Violation(
                "needless-fencing", f"{by} fences {target}, which has had no trouble: {open_requests[0].cause}"
            )

    def observe(self, node: str, effect: fx.Effect) -> None:
        if isinstance(effect, fx.Report) and effect.severity not in ("debug",):
            fields = " ".join(f"{key}={value}" for key, value in effect.fields.items())
            self.world.note(node, f"{effect.severity} {effect.code} {fields}")
        elif isinstance(effect, (fx.RunAgent, fx.RunFenceAgent)):
            if isinstance(effect, fx.RunAgent) and effect.interval_ms == 0:
                self._check_committed(node, effect)
            what = (
                f"{effect.resource} {effect.operation}"
                if isinstance(effect, fx.RunAgent)
                else f"fence {effect.action} {effect.parameters.get('port')}"
            )
            self.world.note(node, f"runs {what}")

    def _check_committed(self, node: str, effect: fx.RunAgent) -> None:
        """What runs is known to a majority, or to everybody in the view. Members that died or resynchronise are not asked."""
        manager = self.nodes[node].manager
        assert manager is not None and manager.replication is not None
        wanted = (node, effect.resource, effect.operation)
        request = next(
            (r for r in manager.state.pending.values() if (r.executor, r.resource, r.operation) == wanted), None
        )
        if request is None or manager.situation.view is None:
            return
        ignorant = [
            name
            for name, other in self.nodes.items()
            if other.manager is not None
            and other.manager.situation.view is not None
            and other.manager.situation.view.id == manager.situation.view.id
            and other.manager.situation.synced
            and request.key not in other.manager.state.pending
        ]
        if 2 * len(ignorant) >= self.plan.size:
            raise Violation(
                "not-committed", f"{node} runs {effect.resource} {effect.operation}, unknown to {' '.join(ignorant)}"
            )

    def answered(self, node: str, client: int, answer: protocol.Answer) -> None:
        if isinstance(answer, protocol.Reply):
            option = self._asked.pop(answer.serial, None)
            if option is not None and answer.rc == 0:
                self.acknowledged.add(option)
                self.outcome.acknowledged += 1

    # ---- the client ---------------------------------------------------------------------------------------------

    def ask_change(self, node: str) -> None:
        """Set one more cluster option through this node."""
        self._serial += 1
        option = f"client-{self._serial}"
        pair = f'<nvpair id="{option}" name="{option}" value="1"/>'
        xml = f'<crm_config><cluster_property_set id="cib-bootstrap-options">{pair}</cluster_property_set></crm_config>'
        self._asked[self._serial] = option
        self.nodes[node].ask(
            1,
            protocol.CibChange(
                serial=self._serial,
                request=f"request-{self._serial}",
                client="simulated",
                kind="modify",
                section="crm_config",
                xml=xml.encode(),
                allow_create=True,
            ),
        )

    def set_standby(self, node: str, name: str, value: str) -> None:
        """The administrator, through `node`: nothing may run on `name`, or it may again."""
        self._serial += 1
        uuid = self.nodes[name].machine.id
        xml = (
            f'<nodes><node id="{uuid}" uname="{name}"><instance_attributes id="nodes-{uuid}">'
            f'<nvpair id="nodes-{uuid}-standby" name="standby" value="{value}"/></instance_attributes></node></nodes>'
        )
        self.nodes[node].ask(
            1,
            protocol.CibChange(
                serial=self._serial,
                request=f"standby-{self._serial}",
                client="simulated",
                kind="modify",
                section="nodes",
                xml=xml.encode(),
                allow_create=True,
            ),
        )

    def _configure(self) -> None:
        """The administrator's configuration, through the node that is there first; asked again until it is
        acknowledged."""
        if "configured" in self.acknowledged:
            return
        node = next(
            (n for _, n in sorted(self.nodes.items()) if n.manager is not None and n.manager.situation.rights.write),
            None,
        )
        if node is not None:
            self._serial += 1
            self._asked[self._serial] = "configured"
            node.ask(
                1,
                protocol.CibChange(
                    serial=self._serial,
                    request="configure",
                    client="simulated",
                    kind="replace",
                    section="configuration",
                    xml=self.configuration.xml,
                ),
            )
        self.clock.after(2 * SECOND, self._configure)

    # ---- phases ----------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        try:
            self._form()
            self._trouble()
            self._peace()
        except Violation as violation:
            self.outcome.violation = str(violation)
        except Exception as error:  # our own mistake, with its place: an outcome like any violation
            import traceback

            place = traceback.extract_tb(error.__traceback__)[-1]
            self.outcome.violation = (
                f"exception: {type(error).__name__}: {error} ({place.filename.rsplit('/', 1)[-1]}:{place.lineno})"
            )
        self.outcome.virtual_s = self.world.now / SECOND
        self.outcome.steps = self.world.steps
        self.outcome.starts = self.ground.starts
        self.outcome.digest = self.world.digest
        if self.outcome.violation:
            self.outcome.trace = tuple(self.world.trace)[-400:]
        return self.outcome

    def _form(self) -> None:
        for i, node in enumerate(self.nodes.values()):
            self.clock.after(self._luck.randint(0, 1500) * MILLISECOND + i, node.boot)
        self.clock.after(3 * SECOND, self._configure)
        self._await(lambda: not self.unsettled(), self.world.now + FORM_NS, "the cluster does not form")

    def _trouble(self) -> None:
        from .faults import FAULTS

        self.in_trouble = True
        end = self.world.now + self.plan.trouble_ns
        while self.world.now < end:
            pause = int(self._luck.expovariate(1 / 1.5) * SECOND)
            self.world.run_until(min(end, self.world.now + pause))
            if self._luck.random() < 0.4:
                self.ask_change(self._luck.choice(sorted(self.nodes)))
                continue
            kind = self._luck.choice(self.plan.kinds)
            told = FAULTS[kind](self, self._luck)
            if told:
                self.outcome.faults[kind] += 1
                self.world.note("fault", f"{kind}: {told}")
        self.in_trouble = False

    def _peace(self) -> None:
        """Everything heals: the wires, the devices, the agents; an operator switches on what is off and cleans up
        failures."""
        self.world.note("peace", "everything heals")
        self.network.heal()
        self.faults.fail = self.faults.slow = 0.0
        self.device.fail = self.device.slow = self.device.lie = 0.0
        for node in self.nodes.values():
            node.machine.disk.is_full = False
            node.machine.disk.delay_ns = DISK_DELAY_NS
            for process in (node.engine_process, node.manager_process):
                if process.stopped_until > self.world.now:
                    process.stopped_until = self.world.now
                    node.wake(process)
        self.clock.after(15 * SECOND, self._switch_on)
        self.clock.after(30 * SECOND, self._clean_up)
        self.clock.after(45 * SECOND, self._switch_on)
        self._await(
            lambda: not self.unsettled(),
            self.world.now + PEACE_NS,
            "the cluster does not converge",
        )
        self._check_at_rest()

    def _switch_on(self) -> None:
        for node in self.nodes.values():
            if not node.machine.is_on or node.departed:
                if node.departed:
                    node.power_off()
                node.boot()

    def _clean_up(self) -> None:
        node = next(
            (n for _, n in sorted(self.nodes.items()) if n.manager is not None and n.manager.situation.synced), None
        )
        if node is not None:
            for name in sorted(self.nodes):
                self.set_standby(node.name, name, "off")
            self._serial += 1
            node.ask(1, protocol.ClearHistory(serial=self._serial, request=f"cleanup-{self._serial}"))
        if self.unsettled():
            self.clock.after(40 * SECOND, self._clean_up)

    def _await(self, is_done: Callable[[], bool], deadline: int, what: str) -> None:
        while True:
            self.world.run_until(self.world.now + STEP_NS)
            if is_done():
                return
            if self.world.now > deadline:
                raise Violation("no-convergence", f"{what}: {self.unsettled()}")

    # ---- what must hold ------------------------------------------------------------------------------------------

    def unsettled(self) -> str:
        """Why the cluster is not at rest yet; "" when it is."""
        managers = {}
        for name, node in self.nodes.items():
            manager = node.manager
            if manager is None or not manager.situation.synced:
                return f"{name} has not joined"
            managers[name] = manager
        dcs = {manager.situation.dc for manager in managers.values()}
        if len(dcs) != 1 or None in dcs:
            return f"no one DC: {sorted(str(dc) for dc in dcs)}"
        everyone = tuple(sorted(self.nodes))
        for name, manager in managers.items():
            if tuple(sorted(manager.situation.online)) != everyone:
                return f"{name} sees {manager.situation.online} online"
            assert manager.replication is not None
            if not manager.replication.is_stable():
                return f"{name}'s log is not stable"
        if "configured" not in self.acknowledged:
            return "the configuration is not acknowledged"
        dc = managers[next(iter(dcs)) or ""]
        if not dc.controller.is_idle:
            return f"the DC {dc.situation.dc} is in {dc.controller.state_name}"
        for fence in dc.state.fences.values():
            if fence.is_open:
                return f"the fencing of {fence.request.target} is under way"
        for resource, wanted in self.configuration.wanted.items():
            owners = self.ground.owners(resource)
            if len(owners) != wanted:
                return f"{resource} is active on {owners or 'no node'}, not on {wanted}"
        return ""

    def _check_at_rest(self) -> None:
        digests = {name: node.manager.state.digest() for name, node in self.nodes.items() if node.manager is not None}
        if len(set(digests.values())) != 1:
            raise Violation("replicas-differ", f"at rest the replicas differ: {digests}")
        some = next(iter(self.nodes.values())).manager
        assert some is not None
        kept = some.state.cib
        # two sides that were told of each other's death both went on: no log can keep both their histories
        kept_all = set() if self.lies else self.acknowledged - {"configured"}
        for option in sorted(kept_all):
            if kept.find_id(option) is None:
                raise Violation("lost-write", f"the acknowledged change {option} is gone")
        for fence in some.state.fences.values():
            if fence.is_open:
                raise Violation("open-fencing", f"{fence.request.target}: {fence.request.cause}")
