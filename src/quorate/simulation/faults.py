"""The kinds of faults, each a function of the cluster and its luck. It returns what it did, or "" if it could do
nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from quorate.model.ids import MILLISECOND, SECOND

from .ground import DISK_DELAY_NS

if TYPE_CHECKING:
    from .cluster import SimulatedCluster

Fault = Callable[["SimulatedCluster", random.Random], str]


def _trouble(cluster: SimulatedCluster, *names: str) -> None:
    for name in names or ("*",):
        cluster.last_trouble[name] = cluster.world.now


def _running(cluster: SimulatedCluster, luck: random.Random) -> str | None:
    names = [name for name, node in sorted(cluster.nodes.items()) if node.machine.is_on]
    return luck.choice(names) if names else None


def power_cut(cluster: SimulatedCluster, luck: random.Random) -> str:
    """A machine loses power and comes back after a while."""
    name = _running(cluster, luck)
    if name is None:
        return ""
    _trouble(cluster, name)
    cluster.nodes[name].power_off()
    after = luck.randint(1, 40) * SECOND

    def back() -> None:
        _trouble(cluster, name)
        cluster.nodes[name].boot()

    cluster.clock.after(after, back)
    return f"{name} loses power for {after // SECOND} s"


def blackout(cluster: SimulatedCluster, luck: random.Random) -> str:
    """Every machine loses power at once; they come back one after the other. Only what is on the disks is left."""
    _trouble(cluster)
    for node in cluster.nodes.values():
        node.power_off()
        cluster.clock.after(luck.randint(1, 15_000) * MILLISECOND, node.boot)
    return "all machines lose power"


def disk_full(cluster: SimulatedCluster, luck: random.Random) -> str:
    """A disk takes nothing more for a while: that node must acknowledge nothing."""
    name = _running(cluster, luck)
    if name is None:
        return ""
    disk = cluster.nodes[name].machine.disk
    disk.is_full = True
    _trouble(cluster, name)
    duration = luck.randint(2, 20) * SECOND

    def free() -> None:
        _trouble(cluster, name)
        disk.is_full = False

    cluster.clock.after(duration, free)
    return f"the disk of {name} is full for {duration // SECOND} s"


def slow_disk(cluster: SimulatedCluster, luck: random.Random) -> str:
    """Every disk takes its time; what waits for it must wait."""
    for node in cluster.nodes.values():
        node.machine.disk.delay_ns = (20 * MILLISECOND, 900 * MILLISECOND)
    duration = luck.randint(5, 30) * SECOND

    def calm() -> None:
        for node in cluster.nodes.values():
            node.machine.disk.delay_ns = DISK_DELAY_NS

    cluster.clock.after(duration, calm)
    return f"all disks are slow for {duration // SECOND} s"


def kill_manager(cluster: SimulatedCluster, luck: random.Random) -> str:
    name = _running(cluster, luck)
    if name is None:
        return ""
    _trouble(cluster, name)
    cluster.nodes[name].kill_manager()
    return f"kill -9 of the manager on {name}"


def kill_engine(cluster: SimulatedCluster, luck: random.Random) -> str:
    name = _running(cluster, luck)
    if name is None:
        return ""
    _trouble(cluster)  # a flapping peer is taken back late: its neighbours may lose sight of each other's side too
    cluster.nodes[name].kill_engine()
    return f"kill -9 of the engine on {name}"


def stop_process(cluster: SimulatedCluster, luck: random.Random) -> str:
    """SIGSTOP of the engine, the manager, or the whole machine (a virtual machine's pause)."""
    name = _running(cluster, luck)
    if name is None:
        return ""
    which = luck.choice(("engine", "manager", "both"))
    duration = luck.choice((300, 900, 1500, 3000, 5000, 12_000, 25_000)) * MILLISECOND
    _trouble(cluster, name)
    cluster.nodes[name].stop_process(which, duration)
    cluster.clock.after(duration, lambda: _trouble(cluster, name))
    return f"{which} of {name} stands still for {duration / SECOND:.1f} s"


def partition(cluster: SimulatedCluster, luck: random.Random) -> str:
    names = sorted(cluster.nodes)
    luck.shuffle(names)
    cut = luck.randint(1, max(1, len(names) - 1))
    sides = names[:cut], names[cut:]
    cluster.network.partition(*[[cluster.nodes[name].machine.id for name in side] for side in sides])
    _trouble(cluster)
    duration = luck.randint(1, 40) * SECOND

    def heal() -> None:
        _trouble(cluster)
        cluster.network.heal()

    cluster.clock.after(duration, heal)
    return f"{' '.join(sides[0])} | {' '.join(sides[1])} for {duration // SECOND} s"


def one_way_cut(cluster: SimulatedCluster, luck: random.Random) -> str:
    names = sorted(cluster.nodes)
    source, target = luck.sample(names, 2)
    a, b = cluster.nodes[source].machine.id, cluster.nodes[target].machine.id
    cluster.network.cut(a, b)
    _trouble(cluster)
    duration = luck.randint(1, 30) * SECOND

    def mend() -> None:
        _trouble(cluster)
        cluster.network.mend(a, b)

    cluster.clock.after(duration, mend)
    return f"nothing from {source} reaches {target} for {duration // SECOND} s"


def cut_link(cluster: SimulatedCluster, luck: random.Random) -> str:
    """One of two links between all nodes: nothing may come of it."""
    link = luck.choice(cluster.network.links)
    ids = [node.machine.id for node in cluster.nodes.values()]
    for a in ids:
        for b in ids:
            if a != b:
                cluster.network.cut(a, b, link)
    duration = luck.randint(1, 30) * SECOND

    def mend() -> None:
        for a in ids:
            for b in ids:
                if a != b:
                    cluster.network.mend(a, b, link)

    cluster.clock.after(duration, mend)
    if any(cluster.network.unreachable_since(a, b) is not None for a in ids for b in ids if a != b):
        _trouble(cluster)
    return f"link {link} is cut for {duration // SECOND} s"


def bad_wire(cluster: SimulatedCluster, luck: random.Random) -> str:
    """Loss, duplicates and reordering on one link or on all."""
    links = cluster.network.links if luck.random() < 0.5 else (luck.choice(cluster.network.links),)
    for link in links:
        conditions = cluster.network.conditions[link]
        conditions.loss = luck.choice((0.01, 0.1, 0.3))
        conditions.duplicate = luck.choice((0.0, 0.1))
        conditions.reorder = luck.choice((0.0, 0.2))
    _trouble(cluster)
    duration = luck.randint(5, 40) * SECOND

    def calm() -> None:
        _trouble(cluster)
        for link in links:
            conditions = cluster.network.conditions[link]
            conditions.loss = conditions.duplicate = conditions.reorder = 0.0

    cluster.clock.after(duration, calm)
    return f"{' '.join(links)} lose and reorder for {duration // SECOND} s"


def agent_trouble(cluster: SimulatedCluster, luck: random.Random) -> str:
    cluster.faults.fail = luck.choice((0.05, 0.3))
    cluster.faults.slow = luck.choice((0.0, 0.1, 0.3))
    _trouble(cluster)
    duration = luck.randint(5, 30) * SECOND

    def calm() -> None:
        _trouble(cluster)
        cluster.faults.fail = cluster.faults.slow = 0.0

    cluster.clock.after(duration, calm)
    return f"agents fail {cluster.faults.fail:.0%} and hang {cluster.faults.slow:.0%} of the time for {duration // SECOND} s"


def service_dies(cluster: SimulatedCluster, luck: random.Random) -> str:
    """A service ends by itself; its monitor must find out."""
    candidates = [
        (name, resource) for name, node in sorted(cluster.nodes.items()) for resource in sorted(node.machine.services)
    ]
    if not candidates:
        return ""
    name, resource = luck.choice(candidates)
    cluster.ground.deactivate(cluster.nodes[name].machine, resource)
    _trouble(cluster, name)
    return f"{resource} dies on {name}"


def device_trouble(cluster: SimulatedCluster, luck: random.Random) -> str:
    cluster.device.fail = luck.choice((0.3, 1.0))
    cluster.device.slow = luck.choice((0.0, 0.3))
    duration = luck.randint(5, 40) * SECOND

    def calm() -> None:
        cluster.device.fail = cluster.device.slow = 0.0

    cluster.clock.after(duration, calm)
    return f"the fence device fails {cluster.device.fail:.0%} of the time for {duration // SECOND} s"


def device_lies(cluster: SimulatedCluster, luck: random.Random) -> str:
    """The device says off and does nothing. What follows for the liar's node cannot be prevented, only bounded to
    it."""
    cluster.device.lie = 0.5
    duration = luck.randint(5, 20) * SECOND

    def calm() -> None:
        cluster.device.lie = 0.0

    cluster.clock.after(duration, calm)
    return f"the fence device lies for {duration // SECOND} s"


def leave(cluster: SimulatedCluster, luck: random.Random) -> str:
    """An administrator stops the cluster on a node, and starts it again later."""
    name = _running(cluster, luck)
    if name is None or cluster.nodes[name].manager is None:
        return ""
    node = cluster.nodes[name]
    node.ask_to_stop()
    _trouble(cluster, name)

    def back() -> None:
        _trouble(cluster, name)
        if node.departed:
            node.power_off()
            node.boot()

    cluster.clock.after(luck.randint(20, 60) * SECOND, back)
    return f"{name} is asked to leave"


def standby(cluster: SimulatedCluster, luck: random.Random) -> str:
    """No fault but work: an administrator empties a node, and takes it back."""
    name = _running(cluster, luck)
    if name is None:
        return ""
    by = luck.choice(sorted(cluster.nodes))
    cluster.set_standby(by, name, "on")
    cluster.clock.after(luck.randint(2, 12) * SECOND, lambda: cluster.set_standby(by, name, "off"))
    return f"{name} is put into standby through {by}"


FAULTS: dict[str, Fault] = {
    "power-cut": power_cut,
    "blackout": blackout,
    "disk-full": disk_full,
    "slow-disk": slow_disk,
    "kill-manager": kill_manager,
    "kill-engine": kill_engine,
    "stop-process": stop_process,
    "partition": partition,
    "one-way-cut": one_way_cut,
    "cut-link": cut_link,
    "bad-wire": bad_wire,
    "agent-trouble": agent_trouble,
    "service-dies": service_dies,
    "device-trouble": device_trouble,
    "device-lies": device_lies,
    "leave": leave,
    "standby": standby,
}
