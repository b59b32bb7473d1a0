"""What an embedded engine must know about itself and its cluster, checked when it is made.

Every duration of the protocol derives from `token_ms`, so that one number moves detection and stability together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from quorate.model.ids import MILLISECOND, SECOND, NodeId

TOKEN_MS_MIN = 200
TOKEN_MS_MAX = 30_000
NODES_MAX = 32


class LinkKind(Enum):
    UDP = "udp"
    SERIAL = "serial"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfiguration:
    id: NodeId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfiguration:
    """One heartbeat path of this node. `number` (0..255) names the link in headers and is the same on all its nodes.

    `peers` are those reachable by it, with the address to show. `mtu_bytes` bounds ordinary packets (the sealed
    datagram); adapters must still carry single packets up to wire.PACKET_BYTES_MAX. `bytes_per_second` 0 means: not
    paced.
    """

    name: str
    number: int
    kind: LinkKind
    peers: tuple[tuple[NodeId, str], ...]
    mtu_bytes: int = 1400
    bytes_per_second: int = 0

    @property
    def is_slow(self) -> bool:
        return self.kind is LinkKind.SERIAL


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfiguration:
    """All durations are derived in nanoseconds; the defaults are those measured for token 1000.

    `fragment_bytes` is the payload of one block, `fragment_slow_bytes` where a member is reached by slow links only.
    `window_blocks` may be ordered beyond stable. `queue_bytes` is the room offered to the manager; twice as much is
    taken before a submission is refused, because what the manager sent before it read the last FlowControl must not
    be lost.
    """

    cluster: str
    node: NodeId
    nodes: tuple[NodeConfiguration, ...]
    links: tuple[LinkConfiguration, ...]
    token_ms: int = 1000
    window_blocks: int = 256
    submit_window_blocks: int = 64
    fragment_bytes: int = 1200
    fragment_slow_bytes: int = 200
    queue_bytes: int = 32 * 1024 * 1024
    queue_slow_bytes: int = 4096

    def __post_init__(self) -> None:
        if not TOKEN_MS_MIN <= self.token_ms <= TOKEN_MS_MAX:
            raise ValueError(f"token_ms is {self.token_ms}; choose {TOKEN_MS_MIN} to {TOKEN_MS_MAX}")
        ids = [node.id for node in self.nodes]
        if len(set(ids)) != len(ids):
            raise ValueError("two nodes have the same id; give each node an id of its own")
        if self.node not in ids:
            raise ValueError(f"this node's id {self.node} is not among the configured nodes {ids}")
        if len(ids) > NODES_MAX:
            raise ValueError(f"{len(ids)} nodes are configured; at most {NODES_MAX} are supported")
        if len({link.name for link in self.links}) != len(self.links):
            raise ValueError("two links have the same name; give each link a name of its own")
        if len({link.number for link in self.links}) != len(self.links):
            raise ValueError("two links have the same number; give each link a number of its own")
        for link in self.links:
            unknown = [peer for peer, _ in link.peers if peer not in ids or peer == self.node]
            if unknown:
                raise ValueError(f"link {link.name} names peers {unknown} that are not other configured nodes")

    @property
    def token_ns(self) -> int:
        return self.token_ms * MILLISECOND

    @property
    def beat_ns(self) -> int:
        """Interval of heartbeats."""
        return self.token_ns // 10

    @property
    def beat_fast_ns(self) -> int:
        """Interval of heartbeats while this run has no view yet."""
        return self.token_ns // 40

    @property
    def hold_ns(self) -> int:
        """A change is held so long for others to join it, unless all who remain agree already."""
        return self.token_ns * 15 // 100

    @property
    def retry_ns(self) -> int:
        """Resending of proposals, installs and fetches."""
        return self.token_ns // 40

    @property
    def resend_ns(self) -> int:
        """Resending of submissions and probing of the order's top when nothing moves."""
        return self.token_ns // 50

    @property
    def proving_ns(self) -> int:
        """How long beats must come before a link that was down is up again; doubles for a link that flaps."""
        return self.token_ns

    @property
    def proving_ns_max(self) -> int:
        return max(32 * SECOND, self.token_ns)

    @property
    def answer_ns(self) -> int:
        """A member that does not answer a proposal so long is left out of the next one."""
        return self.token_ns // 2

    @property
    def patience_ns(self) -> int:
        """So long a node waits for the node that should propose; then it does without it for as long."""
        return 2 * self.token_ns

    @property
    def pause_window_ns(self) -> int:
        """So long after its own pause a node forms no view that lacks a former member."""
        return 3 * self.token_ns
