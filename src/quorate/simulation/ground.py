"""Ground truth: machines, their power, and what really runs on them, whatever the cluster believes.

A `Machine` has boots; a boot has services that are active in it. Agents' actions change services; losing power ends
them.
The checkers read this and nothing else when they ask whether a service had two owners.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from quorate.model.entries import Position

DISK_DELAY_NS = (200_000, 4_000_000)


@dataclass(slots=True)
class Disk:
    """What survives a loss of power: durable writes only. A write under way is lost or kept whole (the real storage
    cuts a
    torn tail; that is its own test's business)."""

    promised: int = 0
    position: Position = field(default_factory=lambda: Position(0, 0))
    lineage: int = 0
    cib: bytes | None = None
    journal: list[tuple[Position, bytes]] = field(default_factory=list)
    counter: int = 0
    forks: list[str] = field(default_factory=list)
    is_full: bool = False
    delay_ns: tuple[int, int] = DISK_DELAY_NS


@dataclass(slots=True)
class Running:
    """One agent's action in progress on a machine."""

    key: str
    resource: str
    operation: str
    began_at: int
    manager_run: int


@dataclass(slots=True)
class Machine:
    """One computer. `boot` counts its boots; `services` maps a resource instance to when it became active."""

    name: str
    id: int
    boot: int = 0
    is_on: bool = False
    disk: Disk = field(default_factory=Disk)
    services: dict[str, int] = field(default_factory=dict)
    agents: dict[str, Running] = field(default_factory=dict)
    facts: bytes = b""
    powered_off_at: int = -1
    lied_about: bool = False  # a device said this boot is off, and it is not

    @property
    def boot_id(self) -> str:
        return f"{self.name}-boot{self.boot}"

    def power_off(self, now: int) -> None:
        self.is_on = False
        self.services.clear()
        self.agents.clear()
        self.facts = b""
        self.powered_off_at = now

    def power_on(self) -> None:
        self.boot += 1
        self.is_on = True
        self.lied_about = False


class Violation(AssertionError):
    """An invariant is broken. `code` names it; the message says what was seen."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Ground:
    """All machines of one simulated cluster, and the invariants that are about what is true."""

    def __init__(self, machines: dict[str, Machine], exclusive: frozenset[str]) -> None:
        self.machines = machines
        self.exclusive = exclusive
        self.starts = 0

    def owners(self, resource: str) -> list[str]:
        return [
            name for name, machine in sorted(self.machines.items()) if machine.is_on and resource in machine.services
        ]

    def activate(self, machine: Machine, resource: str, now: int) -> None:
        """A service becomes active: the moment of truth for exclusiveness."""
        if resource not in machine.services:
            machine.services[resource] = now
            self.starts += 1
        if resource not in self.exclusive:
            return
        owners = self.owners(resource)
        honest = [name for name in owners if not self.machines[name].lied_about]
        if len(honest) > 1:
            raise Violation("two-owners", f"{resource} is active on {' and '.join(honest)}")

    def deactivate(self, machine: Machine, resource: str) -> None:
        machine.services.pop(resource, None)
