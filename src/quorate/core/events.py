"""What the drivers tell the manager. Each comes with `now` (BOOTTIME ns) as the second argument of `handle`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from quorate.model import entries, group, protocol
from quorate.model.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredState:
    """What the disk held at the start: None where there was nothing. `report` names a damaged file that was passed
    over.

    `journal`: the changes since `cib`, encoded `entries.Change` with the position after each; `position` is that
    after all
    of them."""

    promised: int
    position: entries.Position
    cib: bytes | None
    report: str = ""
    journal: tuple[tuple[entries.Position, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The manager begins. `boot_id` of the machine, `incarnation` a random number, `wall` seconds now, `facts` what
    `SaveFacts` kept during this boot (empty: nothing)."""

    boot_id: str
    incarnation: int
    stored: StoredState
    wall: int
    facts: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class WallClock:
    """The driver's wall time, given before events whose handling stamps status (monotonic enough: never used to
    decide safety)."""

    wall: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FromEngine:
    event: group.EngineEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A SaveState, SavePromise or AppendJournal is durable; `error` if it is not (disk full: this node must not
    acknowledge)."""

    key: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentExited:
    """An agent's action is over. `rc` is the OCF exit code (LSB and systemd already mapped). Exactly one per
    RunAgent/RunFenceAgent.

    `timed_out`: ended by its timeout. `killed`: by KillAgent. `missing`: the agent is not installed. `alive`: its
    process group could not be ended within the
    grace: what it does is unknown. `reason`: last ocf-exit-reason; `output`: bounded standard output (fence lists,
    metadata), `errors`: bounded standard error."""

    key: str
    rc: int
    timed_out: bool = False
    killed: bool = False
    missing: bool = False
    alive: bool = False
    reason: str = ""
    output: str = ""
    errors: str = ""
    started_at: int = 0  # wall seconds
    execution_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataLoaded:
    """The agent's metadata XML, or None with the reason."""

    agent: str
    xml: bytes | None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """The answer to RunScheduler: the graph, or None with the error. `messages`: warnings for people. `input_name`:
    where the driver kept the input, for people."""

    key: int
    graph: Graph | None
    error: str = ""
    messages: tuple[str, ...] = ()
    input_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A client's request; `uid` of its real user, checked by the driver."""

    client: int
    uid: int
    user: str
    request: protocol.Request


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientGone:
    client: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked:
    """SIGTERM: leave cleanly (empty this node first); a second one stops at once, leaving services running."""

    at_once: bool = False


# ---- inside the manager: what the log tells its machines --------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """An entry took its place in the agreed order and the replicated state has changed accordingly.

    `view_index`: its number in this view. Not yet committed. `mine`: submitted by this node."""

    entry: entries.Entry
    view_index: int
    mine: bool
    rc: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """An entry is committed (once for each entry that gets there, in order). Side effects may run now, rights
    permitting."""

    entry: entries.Entry
    view_index: int
    mine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLost:
    """An entry that this node submitted was not delivered, or was void at a view change. Derive it anew."""

    entry: entries.Entry
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What this node may do now (see core/quorum). `quorate` as in have-quorum; `why`: code of the reason for each
    missing right."""

    keep: bool
    fence: bool
    write: bool
    take_over: bool
    quorate: bool
    policy: str  # effective no-quorum-policy
    why: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The standing facts after each synchronisation, given to every machine of the manager when one of them changes.

    Names sorted. `online`: synced members. `absent`: known nodes that are not members. `graced`: absent managers of
    live
    nodes whose grace has not run out (counted as online, nothing moves). `dc`: None while synchronising."""

    view: group.View | None
    synced: bool
    node: str
    dc: str | None
    online: tuple[str, ...]
    graced: tuple[str, ...]
    absent: tuple[str, ...]
    rights: Rights
    boot_ids: tuple[tuple[str, str], ...]  # of every node ever seen in this cluster's life
    incarnation: int


Event = Union[
    Started,
    WallClock,
    FromEngine,
    TimerFired,
    Saved,
    AgentExited,
    MetadataLoaded,
    Scheduled,
    Asked,
    ClientGone,
    StopAsked,
]
Inner = Union[Applied, Committed, EntryLost, Situation]
