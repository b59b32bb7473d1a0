"""What the manager's machines ask for. The driver (daemon or simulator) carries effects out in list order.

Machines inside the manager use `Log` to put an entry into the replicated log; `core/node` turns it into engine traffic.
All others go to the driver. Every effect that takes time is answered by an event of `core/events` with the same key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

from quorate.model import entries, group, protocol

if TYPE_CHECKING:
    from quorate.model.cib import Cib


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Fire `TimerFired(name)` at `at` (BOOTTIME ns); replaces a timer of the same name. A late one is harmless."""

    name: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTimer:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A message a user may see: `code` from the machine's own list, `fields` for the text. severity: debug, info,
    notice, warning, error, critical. Logs, alerts and explanations are views of it."""

    severity: str
    code: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Put an entry into the replicated log (inside the manager only). Lost ones come back as `EntryLost`."""

    entry: entries.Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class ToEngine:
    request: group.EngineRequest


# ---- storage ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveState:
    """Store atomically and durably: the promise, and the configuration as the new generation. Answer: `Saved(key)`.

    `journal_from`: journal records before this one may be dropped once it is durable. `cib` is serialised by the
    driver at once (before it returns), so the machine may go on changing it."""

    key: int
    promised: int
    position: entries.Position
    cib: Cib


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendJournal:
    """Append configuration entries (encoded `entries.Change`) with the position after each. Answer: `Saved(key)`
    after fsync."""

    key: int
    records: tuple[tuple[entries.Position, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavePromise:
    """Store the promised epoch durably. Answer: `Saved(key)`."""

    key: int
    promised: int
    lineage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveFork:
    """Keep what this node had and the cluster has not chosen: a file named in the report. No answer."""

    name: str
    cib: Cib


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveFacts:
    """Keep `data` in the run directory (gone with the boot): what a restarted manager must know. Given back in
    `Started.facts`."""

    data: bytes


# ---- agents -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAgent:
    """Run one action of a resource agent (ocf, lsb, systemd, service). Answer: exactly one `AgentExited(key)`.

    `key` is unique on this node for this manager's run. The driver writes the ledger before it executes, builds the
    environment (CONTRACT: OCF_*),
    and at `timeout_ms` ends the whole process group (`AgentExited.timed_out`)."""

    key: str
    resource: str  # instance id for OCF_RESOURCE_INSTANCE
    agent_class: str
    provider: str | None
    agent: str
    operation: str
    interval_ms: int
    timeout_ms: int
    parameters: dict[str, str]
    meta: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFenceAgent:
    """Run a fence agent with `parameters` as k=v lines on standard input (action= included). Answer:
    `AgentExited(key)`."""

    key: str
    agent: str  # fence_ipmilan, ...
    action: str
    timeout_ms: int
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class KillAgent:
    """End the process group of a running action now (its `AgentExited` follows, `killed`)."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMetadata:
    """Ask the agent for its metadata (cached by the driver). Answer: `MetadataLoaded(agent)`."""

    agent: str  # class[:provider]:type


# ---- scheduling, clients, the node ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScheduler:
    """Schedule this CIB (serialised by the driver at once) as of the driver's wall time. Answer: `Scheduled(key)`."""

    key: int
    cib: Cib


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply to a client's request. `client` is the driver's number for the connection."""

    client: int
    answer: protocol.Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class StopNode:
    """This node must not go on: `reboot`/`off` by self-fencing (sysrq or the like), or `exit` of the manager.

    how: "reboot" | "off" | "exit" | "left" (clean departure: the whole stack stops)."""

    how: str
    cause: str


Effect = Union[
    SetTimer,
    CancelTimer,
    Report,
    Log,
    ToEngine,
    SaveState,
    AppendJournal,
    SavePromise,
    SaveFork,
    SaveFacts,
    RunAgent,
    RunFenceAgent,
    KillAgent,
    LoadMetadata,
    RunScheduler,
    Answer,
    StopNode,
]
