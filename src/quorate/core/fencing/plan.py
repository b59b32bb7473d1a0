"""How a node is fenced: the devices that may do it, level by level, and the steps of each.

Decided here: which devices are tried in which order, when a reboot is made of off and on, how long each step and the
whole may take, the delays, and which node runs it. All are pure functions of the replicated state and the request, so
that every node comes to the same plan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quorate.core.events import Situation
from quorate.core.replication.state import ReplicatedState
from quorate.model.cib import Cib

from .devices import (
    UNKNOWN_AGENT,
    AgentFacts,
    Device,
    HostCheck,
    node_attributes,
    read_devices,
    running_on,
    topology,
)

CHECK_TIMEOUT_MS = 20_000  # list and status, as Pacemaker's default action timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One run of one agent. `essential`: the level fails without it (`on` after `off` is not)."""

    device: Device
    action: str
    timeout_ms: int
    tries: int
    delay_ms: int
    essential: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Devices of which all must succeed."""

    devices: tuple[Device, ...]


def levels_for(cib: Cib, target: str, facts: Mapping[str, AgentFacts]) -> tuple[Level, ...]:
    """Levels in the order in which they are tried; without a topology each fitting device is a level of its own.

    A device whose host list is static must have the target in it; of the others it is known only when they are asked,
    so those come after all that are certain."""
    devices = {device.id: device for device in read_devices(cib)}
    configured = topology(cib, target, node_attributes(cib, target))
    if configured:
        levels = (tuple(devices[name] for name in names if name in devices) for names in configured)
        whole = zip(levels, configured, strict=True)
        return tuple(Level(devices=level) for level, names in whole if len(level) == len(names) and level)
    certain, perhaps = [], []
    for device in devices.values():
        check = device.host_check(facts.get(device.agent, UNKNOWN_AGENT))
        if check is HostCheck.STATIC:
            if target in device.hosts:
                certain.append(Level(devices=(device,)))
        elif check is HostCheck.NONE:
            certain.append(Level(devices=(device,)))
        else:
            perhaps.append(Level(devices=(device,)))
    return (*certain, *perhaps)


def steps_of(
    level: Level, action: str, target: str, request: str, timeout_ms: int, facts: Mapping[str, AgentFacts]
) -> list[Step]:
    """The steps of one level. A reboot by several devices, or by one that cannot, is off (all), then on (all)."""
    delays = {device.id: delay_ms(device, target, request) for device in level.devices}

    def step(device: Device, what: str, *, delayed: bool, essential: bool = True) -> Step:
        return Step(
            device=device,
            action=what,
            timeout_ms=device.action_timeout_ms(what, timeout_ms),
            tries=device.tries(what),
            delay_ms=delays[device.id] if delayed else 0,
            essential=essential,
        )

    def reboots(device: Device) -> bool:
        known = facts.get(device.agent, UNKNOWN_AGENT)
        return "pcmk_reboot_action" in device.options or known.supports("reboot")

    if action != "reboot" or (len(level.devices) == 1 and reboots(level.devices[0])):
        return [step(device, action, delayed=action != "on") for device in level.devices]
    off = [step(device, "off", delayed=True) for device in level.devices]
    return off + [step(device, "on", delayed=False, essential=False) for device in level.devices]


def delay_ms(device: Device, target: str, request: str) -> int:
    """The device's delay for this request: its base and a part up to its maximum that the request's id decides."""
    least, most = device.delay_bounds_ms(target)
    if most <= least:
        return least
    draw = int.from_bytes(hashlib.sha256(f"{request}:{device.id}".encode()).digest()[:8], "big")
    return least + draw % (most - least + 1)


def total_timeout_ms(
    levels: Sequence[Level], action: str, target: str, request: str, timeout_ms: int, facts: Mapping[str, AgentFacts]
) -> int:
    """How long all levels may take one after another, with what it takes to ask devices whom they know."""
    total = 0
    for level in levels:
        for step in steps_of(level, action, target, request, timeout_ms, facts):
            total += step.timeout_ms + step.delay_ms
        total += sum(
            CHECK_TIMEOUT_MS
            for device in level.devices
            if device.host_check(facts.get(device.agent, UNKNOWN_AGENT)) in (HostCheck.DYNAMIC, HostCheck.STATUS)
        )
    return max(total, timeout_ms)


def may_end_itself(situation: Situation, target: str) -> bool:
    """no-quorum-policy=suicide: a partition without quorum may fence nobody, but each of its members ends itself."""
    rights = situation.rights
    return rights.policy == "suicide" and not rights.quorate and not rights.fence and target in situation.online


def choose_executor(
    state: ReplicatedState,
    online: Sequence[str],
    target: str,
    action: str,
    levels: Sequence[Level],
    facts: Mapping[str, AgentFacts],
    attempt: int,
    node: str,
) -> str | None:
    """Who runs it: never the target, unless unfencing must run there; the node where the first device is started, then
    the node that asks, then the others; each further attempt begins one further on."""
    devices = levels[0].devices if levels else ()
    if action == "on" and any(facts.get(device.agent, UNKNOWN_AGENT).on_target for device in devices):
        return target if target in online else None
    able = [name for name in online if name != target and all(name not in device.banned for device in devices)]
    if not able:
        return None
    started = running_on(state.cib, devices[0].id) if devices else ()
    able.sort(key=lambda name: (name not in started, name != node, name))
    return able[(attempt - 1) % len(able)]
