"""A transition graph: the actions that lead from the present state to the wanted one, and their order.

Made by `core/scheduler`, run by `core/controller`, shown by tools. Its XML (see the serialiser in `model/graph_xml`) is
that of Pacemaker's `transition_graph`, which agents' meta attributes and `crm_simulate --save-graph` need exactly.
"""

from __future__ import annotations

import enum

import msgspec


class ActionKind(enum.Enum):
    RESOURCE = "rsc_op"  # run an agent's action on a node
    PSEUDO = "pseudo_event"  # a point in the order, nothing is run
    CLUSTER = "crm_event"  # stonith, do_shutdown, lrm_delete, clear_failcount, ...


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One action. `node` is the target's name; `router` the cluster node that executes it for a remote or guest node.

    `key` is RESOURCE_OPERATION_INTERVALMS (or OPERATION-NODE for cluster events); `attributes` is everything inside
    the XML's <attributes>: the agent's parameters by plain name and CRM_meta_* values.
    """

    id: int
    kind: ActionKind
    operation: str  # start, stop, monitor, promote, demote, notify, migrate_to, migrate_from, reload-agent, stonith, ...
    key: str
    node: str | None = None
    node_uuid: str | None = None
    router: str | None = None
    resource: str | None = None  # short id as the status section and the agent know it
    resource_long: str | None = None  # with the instance number where it differs
    resource_class: str | None = None
    resource_provider: str | None = None
    resource_type: str | None = None
    attributes: dict[str, str] = {}
    downed: tuple[str, ...] = ()  # nodes that are down once this is done (fencing)
    priority: int = 0


class Synapse(msgspec.Struct, frozen=True, kw_only=True):
    """Actions that may begin once every action in `inputs` is confirmed (in our graphs: one action each)."""

    id: int
    actions: tuple[Action, ...]
    inputs: tuple[int, ...]
    priority: int = 0


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Options stand as the scheduler computed them; times are milliseconds."""

    synapses: tuple[Synapse, ...]
    transition_id: int = 0
    batch_limit: int = 0
    migration_limit: int = -1
    cluster_delay_ms: int = 60_000
    stonith_timeout_ms: int = 60_000
    failed_stop_offset: str = "INFINITY"
    failed_start_offset: str = "INFINITY"
    recheck_at: int | None = None  # wall seconds of the next date that changes the outcome
    node_pending_timeout_ms: int = 0
    shutdown_lock_ms: int = 0
