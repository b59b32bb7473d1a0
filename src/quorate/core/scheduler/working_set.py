"""What the scheduler knows: configuration and status unpacked into nodes, resources, tickets and failures.

`unpack` fills a `WorkingSet` from a CIB; the monitor renders it as it stands then; the scheduler goes on to write its
decisions into the same objects (assignment, actions). Nothing here decides anything.

Tables are indexed by number: `Node.index` in `WorkingSet.nodes`; placement scores are `dict[node index, score]`, where a
node that is absent was never allowed (asymmetric clusters).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .scores import INFINITY

if TYPE_CHECKING:
    from lxml import etree

    from .actions import Action
    from .colocation import Colocation
    from .reasons import Reason
    from .tickets import TicketConstraint


class Kind(enum.IntEnum):
    """The four resource variants."""

    PRIMITIVE = 0
    GROUP = 1
    CLONE = 2
    BUNDLE = 3


class Role(enum.IntEnum):
    """Order has meaning: a higher role includes the lower ones."""

    UNKNOWN = 0
    STOPPED = 1
    STARTED = 2
    UNPROMOTED = 3
    PROMOTED = 4

    @property
    def text(self) -> str:
        return ROLE_TEXT[self]


ROLE_TEXT = ("Unknown", "Stopped", "Started", "Unpromoted", "Promoted")


class NodeKind(enum.Enum):
    CLUSTER = "member"
    REMOTE = "remote"  # both remote and guest nodes; see Node.is_guest


class OnFail(enum.IntEnum):
    """What a failed operation asks for, mildest first (a worse one replaces a milder one)."""

    IGNORE = 0
    DEMOTE = 1
    RESTART = 2  # "recover"
    RESET_REMOTE = 3
    RESTART_CONTAINER = 4
    BAN = 5
    BLOCK = 6
    STOP = 7
    STANDBY = 8
    FENCE = 9


ON_FAIL_TEXT = {
    OnFail.IGNORE: "ignore",
    OnFail.DEMOTE: "demote",
    OnFail.RESTART: "restart",
    OnFail.RESTART_CONTAINER: "restart-container",
    OnFail.RESET_REMOTE: "reset-remote",
    OnFail.BAN: "ban",
    OnFail.BLOCK: "block",
    OnFail.STOP: "stop",
    OnFail.STANDBY: "standby",
    OnFail.FENCE: "fence",
}


class Requires(enum.IntEnum):
    NOTHING = 0
    QUORUM = 1
    FENCING = 2
    UNFENCING = 3


class Discovery(enum.IntEnum):
    """resource-discovery of a location constraint: where probes are sent and the resource may run."""

    ALWAYS = 0
    NEVER = 1
    EXCLUSIVE = 2


class QuorumPolicy(enum.Enum):
    STOP = "stop"
    FREEZE = "freeze"
    IGNORE = "ignore"
    DEMOTE = "demote"
    FENCE = "fence"  # formerly "suicide"


class MultipleActive(enum.Enum):
    STOP_START = "stop_start"
    STOP_UNEXPECTED = "stop_unexpected"
    STOP_ONLY = "stop_only"
    BLOCK = "block"


@dataclass(slots=True, eq=False, kw_only=True)
class Node:
    """A cluster, remote or guest node, with what the status section says of it."""

    index: int
    id: str  # uuid in the CIB: <node id=...>
    name: str
    kind: NodeKind = NodeKind.CLUSTER
    configured: bool = True  # False: only the status section knows it

    online: bool = False
    unclean: bool = False  # must be fenced before anything it may hold moves
    exclusive: bool = False  # a bundle's: for what runs inside only
    unseen: bool = True  # the status section has nothing of it
    pending: bool = False  # is joining
    shutdown: bool = False  # asked to leave
    expected_up: bool = False
    standby: bool = False
    standby_onfail: bool = False
    maintenance: bool = False
    unpacked: bool = False  # its history was read
    is_dc: bool = False
    unhealthy: bool = False
    discovery_enabled: bool = True  # resource-discovery-enabled attribute of remote nodes
    remote_was_fenced: bool = False
    remote_requires_reset: bool = False
    remote_maintenance: bool = False
    shutdown_time: int = 0  # wall seconds
    feature_set: str | None = None

    attributes: dict[str, str] = field(default_factory=dict)
    utilization: dict[str, str] = field(default_factory=dict)
    digests_all: str | None = None
    digests_secure: str | None = None
    fence_reason: str | None = None  # why it must be fenced
    remote_resource: Resource | None = None  # the connection, for remote and guest nodes
    running: list[Resource] = field(default_factory=list)  # primitives active here
    num_resources: int = 0
    assigned: list[Resource] = field(default_factory=list)
    fail_counts: dict[str, int] = field(default_factory=dict)  # attribute name -> raw value, for tools
    capacity: dict[str, int] = field(default_factory=dict)  # utilization left during assignment
    priority: int = 0  # sum of the priorities of what runs here (priority-fencing-delay)
    health: int = 0
    base_score: int = 0

    @property
    def is_remote_or_guest(self) -> bool:
        return self.kind is NodeKind.REMOTE

    @property
    def is_guest(self) -> bool:
        """Hosted by a resource of the cluster (its connection has a container)."""
        return self.kind is NodeKind.REMOTE and self.remote_resource is not None and (
            self.remote_resource.container is not None
        )

    @property
    def is_remote(self) -> bool:
        return self.kind is NodeKind.REMOTE and (
            self.remote_resource is None or self.remote_resource.container is None
        )

    @property
    def is_bundle_node(self) -> bool:
        return self.is_guest and self.remote_resource is not None and (
            self.remote_resource.parent is not None and self.remote_resource.parent.kind is Kind.BUNDLE
        )

    def __repr__(self) -> str:
        return f"<Node {self.name}>"


@dataclass(slots=True, eq=False, kw_only=True)
class Operation:
    """One entry of a resource's operation history (lrm_rsc_op), as it was read."""

    id: str
    key: str
    task: str
    interval_ms: int
    call_id: int
    rc: int
    status: int
    node: Node
    history_id: str  # id of the lrm_resource
    xml: etree._Element
    target_rc: int = -1
    expected_rc: int = -1
    exit_reason: str = ""
    last_change: int | None = None  # wall seconds; None when the entry has none
    failed: bool = False
    expired: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Ticket:
    id: str
    granted: bool = False
    standby: bool = False
    last_granted: int | None = None
    state: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False, kw_only=True)
class BundleReplica:
    """One replica of a bundle: the resources that Pacemaker implies for it."""

    offset: int
    ip: Resource | None = None
    container: Resource
    remote: Resource | None = None  # the connection to the guest node inside
    child: Resource | None = None  # the instance of what runs inside
    node: Node | None = None  # the guest node
    ip_address: str | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class BundleInfo:
    """The bundle element's own settings."""

    agent: str  # docker, podman
    image: str
    replicas_max: int = 1
    replicas_per_host: int = 1
    promoted_max: int = 0
    child: Resource | None = None  # the implied clone of the primitive inside
    replicas: list[BundleReplica] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    control_port: str | None = None
    host_network: str | None = None
    attribute_target: str | None = None
    add_host: bool = True
    ports: list[dict[str, str]] = field(default_factory=list)
    mounts: list[dict[str, str]] = field(default_factory=list)


@dataclass(slots=True, eq=False, kw_only=True)
class CloneInfo:
    """Settings and counters of a clone."""

    clone_max: int = 0
    clone_node_max: int = 1
    promoted_max: int = 0
    promoted_node_max: int = 0
    interleave: bool = False
    ordered: bool = False
    clone_min: int = 0
    anonymous_numbers_made: int = 0
    child_xml: etree._Element | None = None
    notify_confirm: bool = False
    promoted_now: int = 0
    stop_notifier: Any = None
    start_notifier: Any = None
    demote_notifier: Any = None
    promote_notifier: Any = None
    start_ordered: bool = False
    added_promoted_constraints: bool = False
    added_promotion_scores: bool = False


@dataclass(slots=True, eq=False)
class Resource:
    """A resource of any variant. Instances of clones are resources of their own, children of the clone."""

    index: int
    kind: Kind
    id: str  # unique here: instances carry ":N"
    history_id: str  # as the status section and agents know it (anonymous instances have no number)
    xml: etree._Element  # template applied; attribute sets and operations as configured

    parent: Resource | None = None
    children: list[Resource] = field(default_factory=list)
    agent_class: str = ""
    agent_provider: str | None = None
    agent_type: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    config_xml: etree._Element | None = None
    ops_xml: list[etree._Element] = field(default_factory=list)
    clone: CloneInfo | None = None
    bundle: BundleInfo | None = None
    number: int = -1  # instance number of a clone's child

    # options
    priority: int = 0
    stickiness: int = 0
    migration_threshold: int = INFINITY
    failure_timeout_ms: int = 0
    failure_expiration_ms: int = 0
    multiple_active: MultipleActive = MultipleActive.STOP_START
    requires: Requires = Requires.NOTHING
    target_role: Role = Role.UNKNOWN
    remote_reconnect_ms: int = 0
    affinity_sort: int = 0

    # flags
    managed: bool = True
    blocked: bool = False
    removed: bool = False  # formerly "orphan": no longer configured
    maintenance: bool = False
    critical: bool = True
    unique: bool = False
    promotable: bool = False
    notify: bool = False
    migratable: bool = False
    failed: bool = False
    failure_ignored: bool = False
    stop_on_failure: bool = False  # "stop if fail": was stopped by on-fail=stop
    start_pending: bool = False
    is_fencing_device: bool = False
    is_unfencing_device: bool = False
    is_remote_connection: bool = False
    allow_remote_hosts: bool = True
    removed_filler: bool = False
    exclusive_discovery: bool = False
    stop_unexpected: bool = False
    inside_group_container: bool = False
    removed_container: bool = False
    use_container_ip: bool = False
    reload: bool = False
    stop_needed: bool = False
    ignore_failed_migration: bool = False
    demote_promoted: bool = False  # on-fail=demote asked for it
    never_promote: bool = False

    # status
    role: Role = Role.STOPPED
    next_role: Role = Role.UNKNOWN
    next_role_reason: str | None = None
    running_on: list[Node] = field(default_factory=list)
    probed_on: dict[int, Node] = field(default_factory=dict)
    known_on: dict[int, Node] = field(default_factory=dict)
    pending_task: str | None = None  # "Starting", "Promoting", ... for display
    pending_node: Node | None = None
    pending_action: str | None = None  # task name
    lock_node: Node | None = None
    lock_time: int = 0
    partial_source: Node | None = None  # live migration under way
    partial_target: Node | None = None
    dangling: list[Node] = field(default_factory=list)  # migrated away or failed there: needs a stop
    container: Resource | None = None  # the resource that holds this one (guest's connection)
    fillers: list[Resource] = field(default_factory=list)  # resources inside this one
    remote_node: Node | None = None  # for a connection: the node it leads to
    operations: list[Operation] = field(default_factory=list)
    # last failure seen, for tools
    failures: list[Operation] = field(default_factory=list)

    # configuration looked up per node
    utilization: dict[str, int] = field(default_factory=dict)
    parameter_cache: dict[int, dict[str, str]] = field(default_factory=dict)
    parameters_vary: bool = True

    # placement
    allowed: dict[int, int] = field(default_factory=dict)  # node index -> score
    discovery: dict[int, Discovery] = field(default_factory=dict)
    locations: list[Any] = field(default_factory=list)
    this_with: list[Colocation] = field(default_factory=list)
    with_this: list[Colocation] = field(default_factory=list)
    tickets: list[TicketConstraint] = field(default_factory=list)
    this_with_cache: list[Colocation] | None = None
    with_this_cache: list[Colocation] | None = None

    # decisions
    provisional: bool = True  # not yet assigned
    assigning: bool = False
    merging: bool = False
    assigned: Node | None = None
    assigned_score: int = 0
    sort_index: int = 0
    promotion_score: int = 0
    promotion_tie: int = 0
    counts: dict[int, int] = field(default_factory=dict)  # clone: instances per node while assigning
    actions: list[Action] = field(default_factory=list)
    action_by_key: dict[str, list[Action]] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)
    detect_loop: bool = False
    restarting: bool = False
    promoted_location: list[Any] = field(default_factory=list)

    @property
    def is_removed(self) -> bool:
        return self.removed

    @property
    def top(self) -> Resource:
        """The outermost collective this belongs to, a bundle excluded (a bundle's child clone stands for itself)."""
        rsc = self
        while rsc.parent is not None and rsc.parent.kind is not Kind.BUNDLE:
            rsc = rsc.parent
        return rsc

    @property
    def top_with_bundle(self) -> Resource:
        rsc = self
        while rsc.parent is not None:
            rsc = rsc.parent
        return rsc

    @property
    def enclosing_clone(self) -> Resource | None:
        rsc = self.parent
        while rsc is not None:
            if rsc.kind is Kind.CLONE:
                return rsc
            rsc = rsc.parent
        return None

    @property
    def is_bundled(self) -> bool:
        return self.top_with_bundle.kind is Kind.BUNDLE and self.kind is not Kind.BUNDLE

    @property
    def agent(self) -> str:
        """class[:provider]:type as tools print it."""
        parts = (self.agent_class, self.agent_provider, self.agent_type)
        return ":".join(part for part in parts if part)

    def __repr__(self) -> str:
        return f"<Resource {self.id}>"


@dataclass(slots=True, kw_only=True)
class Message:
    """Something a user should know about the input. `code` is stable; `text` is English."""

    level: str  # "error", "warning", "info"
    code: str
    text: str
    place: str | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class WorkingSet:
    """Everything unpacked. `now` is wall seconds of the run."""

    now: int
    cib: etree._Element
    options: dict[str, str] = field(default_factory=dict)  # as set, today's names, defaults filled in
    options_set: dict[str, str] = field(default_factory=dict)  # only those the configuration sets
    nodes: list[Node] = field(default_factory=list)
    ordered_nodes: list[Node] = field(default_factory=list)  # by name, numbers in it as numbers
    node_by_name: dict[str, Node] = field(default_factory=dict)
    node_by_id: dict[str, Node] = field(default_factory=dict)
    resources: list[Resource] = field(default_factory=list)  # top level, configured order, removed ones at the end
    resource_by_id: dict[str, Resource] = field(default_factory=dict)  # every resource, by id
    resource_by_history: dict[str, list[Resource]] = field(default_factory=dict)
    all_resources: list[Resource] = field(default_factory=list)
    tickets: dict[str, Ticket] = field(default_factory=dict)
    templates: dict[str, list[str]] = field(default_factory=dict)  # template id -> resource ids
    tags: dict[str, list[str]] = field(default_factory=dict)
    failures: list[Operation] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    dc: Node | None = None

    # decoded options
    has_quorum: bool = False
    quorum_policy: QuorumPolicy = QuorumPolicy.STOP
    fencing_enabled: bool = True
    fencing_action: str = "reboot"
    fencing_timeout_ms: int = 60_000
    startup_fencing: bool = True
    concurrent_fencing: bool = True
    priority_fencing_delay_ms: int = 0
    have_fencing_device: bool = False
    enable_unfencing: bool = False
    have_remote_nodes: bool = False
    symmetric: bool = True
    maintenance_mode: bool = False
    stop_all: bool = False
    stop_removed_resources: bool = True
    cancel_removed_actions: bool = True
    start_failure_is_fatal: bool = True
    enable_startup_probes: bool = True
    remove_after_stop: bool = False
    shutdown_lock: bool = False
    shutdown_lock_ms: int = 0
    node_pending_timeout_ms: int = 0
    cluster_delay_ms: int = 60_000
    placement_strategy: str = "default"
    default_resource_discovery: bool = True

    recheck_at: int | None = None
    resource_defaults: list[etree._Element] = field(default_factory=list)
    op_defaults: list[etree._Element] = field(default_factory=list)
    disabled_resources: int = 0
    blocked_resources: int = 0
    resource_instances: int = 0

    # constraints
    locations: list[Any] = field(default_factory=list)
    colocations: list[Colocation] = field(default_factory=list)
    orderings: list[Any] = field(default_factory=list)
    ticket_constraints: list[TicketConstraint] = field(default_factory=list)

    # decisions
    actions: list[Action] = field(default_factory=list)
    action_by_key: dict[str, list[Action]] = field(default_factory=dict)
    fencing_ordered_first: list[Action] = field(default_factory=list)
    removed_to_forget: list[Any] = field(default_factory=list)
    score_lines: list[str] | None = None  # filled when asked for
    utilization_lines: bool = False
    next_action_id: int = 1
    next_order_id: int = 1
    early_actions: list[tuple[str, Resource | None, Node, str]] = field(default_factory=list)  # asked for by the status
    acting: bool = False  # unpacking is over: demands become actions at once
    deferred_checks: list[tuple[Resource, Node, Operation]] = field(default_factory=list)
    fence_actions: dict[str, Action] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def recheck(self, at: int | None) -> None:
        """The outcome may change at wall second `at`; the earliest such moment is kept."""
        if at is not None and at > self.now and (self.recheck_at is None or at < self.recheck_at):
            self.recheck_at = at

    def warn(self, code: str, text: str, place: str | None = None, level: str = "warning") -> None:
        self.messages.append(Message(level=level, code=code, text=text, place=place))
