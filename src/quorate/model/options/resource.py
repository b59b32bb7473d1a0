"""Meta options of resources and options of operations. Names and defaults are Pacemaker's (2.1 and 3)."""

from __future__ import annotations

from .option import Option, ValueKind

_S, _I, _B, _T, _L, _W = (
    ValueKind.STRING,
    ValueKind.INTEGER,
    ValueKind.BOOLEAN,
    ValueKind.TIME,
    ValueKind.SELECT,
    ValueKind.SCORE,
)

RESOURCE_OPTIONS: tuple[Option, ...] = (
    Option(
        name="priority",
        kind=_W,
        default="0",
        short="Which resources to keep when not all can run",
        long="Those of lower priority are stopped first; fencing delays add up the priorities of a node's resources.",
    ),
    Option(
        name="critical",
        kind=_B,
        default="true",
        short="Whether the resource takes those it is colocated with along when it fails too often",
    ),
    Option(
        name="target-role",
        kind=_L,
        default="Started",
        values=("Stopped", "Started", "Unpromoted", "Promoted"),
        synonyms=(("Slave", "Unpromoted"), ("Master", "Promoted")),
        short="The state the cluster brings the resource to",
    ),
    Option(
        name="is-managed",
        kind=_B,
        default="true",
        short="Whether the cluster may start and stop the resource",
        long="If false, it is only monitored.",
    ),
    Option(name="maintenance", kind=_B, default="false", short="Leave the resource alone: no start, stop or monitor"),
    Option(
        name="resource-stickiness",
        kind=_W,
        default="0",
        short="How much the resource prefers to stay where it is",
        long="For instances of clones the default is 1.",
    ),
    Option(
        name="requires",
        kind=_L,
        default=None,
        values=("nothing", "quorum", "fencing", "unfencing"),
        short="What a start needs",
        long="nothing. quorum. fencing: quorum, and every failed node fenced. unfencing: and this node unfenced. "
        "The default is "
        "quorum for fence devices, unfencing where a device unfences, fencing where fencing is enabled, else quorum.",
    ),
    Option(
        name="migration-threshold",
        kind=_W,
        default="INFINITY",
        short="Failures on a node after which the resource may not run there",
        long="0 means never.",
    ),
    Option(
        name="failure-timeout",
        kind=_T,
        default="0",
        short="After how long a failure is forgotten",
        long="0 means never.",
    ),
    Option(
        name="multiple-active",
        kind=_L,
        default="stop_start",
        values=("block", "stop_only", "stop_start", "stop_unexpected"),
        short="What to do when the resource is active on more than one node",
    ),
    Option(
        name="allow-migrate",
        kind=_B,
        default=None,
        short="Whether to move the resource live where possible",
        long="The default is true for remote nodes, else false.",
    ),
    Option(
        name="allow-unhealthy-nodes", kind=_B, default="false", short="Whether node health is ignored for this resource"
    ),
    Option(
        name="container-attribute-target",
        kind=_L,
        default=None,
        values=("host",),
        short="Whether a bundle's attributes are kept for its host",
    ),
    Option(name="remote-node", kind=_S, default=None, short="Name of the guest node that this resource is"),
    Option(name="remote-addr", kind=_S, default=None, short="Address of the guest node; its name if not set"),
    Option(name="remote-port", kind=_I, default="3121", short="Port of the guest node's executor"),
    Option(
        name="remote-connect-timeout", kind=_T, default="60s", short="How long connecting to the guest node may take"
    ),
    Option(name="remote-allow-migrate", kind=_B, default="true", short="Whether the guest node may be moved live"),
    # clones
    Option(
        name="clone-max",
        kind=_I,
        default=None,
        minimum=0,
        short="How many instances there are",
        long="The default is the number of nodes.",
    ),
    Option(name="clone-node-max", kind=_I, default="1", minimum=1, short="How many instances one node may run"),
    Option(
        name="clone-min",
        kind=_I,
        default="0",
        minimum=0,
        short="How many instances must run before what depends on the clone may start",
    ),
    Option(
        name="globally-unique",
        kind=_B,
        default=None,
        short="Whether instances differ from one another",
        long="The default is true if clone-node-max is above 1, else false.",
    ),
    Option(name="notify", kind=_B, default="false", short="Tell all instances before and after one of them acts"),
    Option(name="ordered", kind=_B, default="false", short="Start instances one after the other"),
    Option(
        name="interleave",
        kind=_B,
        default="false",
        short="Wait only for the instance on the same node of a clone this one is ordered after",
    ),
    Option(
        name="promotable", kind=_B, default="false", short="Whether instances have the roles Promoted and Unpromoted"
    ),
    Option(
        name="promoted-max",
        kind=_I,
        default="1",
        older=("master-max",),
        minimum=0,
        short="How many instances may be promoted",
    ),
    Option(
        name="promoted-node-max",
        kind=_I,
        default="1",
        older=("master-node-max",),
        minimum=0,
        short="How many instances may be promoted on one node",
    ),
)

OPERATION_OPTIONS: tuple[Option, ...] = (
    Option(name="name", kind=_S, default=None, short="The action, such as start, stop or monitor"),
    Option(
        name="interval",
        kind=_T,
        default="0",
        minimum=0,
        short="How often a recurring operation runs",
        long="0: on demand.",
    ),
    Option(
        name="timeout",
        kind=_T,
        default="20s",
        minimum=0,
        short="How long the action may take",
        long="Then everything it started is killed and it counts as failed.",
    ),
    Option(
        name="on-fail",
        kind=_L,
        default=None,
        values=("ignore", "block", "demote", "stop", "restart", "standby", "fence", "restart-container"),
        short="What a failure leads to",
        long="The default is fence for a failed stop where fencing is enabled (else block), demote for a failed "
        "demote, "
        "else restart.",
    ),
    Option(
        name="role",
        kind=_L,
        default=None,
        values=("Stopped", "Started", "Unpromoted", "Promoted"),
        synonyms=(("Slave", "Unpromoted"), ("Master", "Promoted")),
        short="Run only while the resource has this role",
    ),
    Option(name="enabled", kind=_B, default="true", short="If false, the operation is treated as not there"),
    Option(name="record-pending", kind=_B, default="true", short="Show the operation as pending while it runs"),
    Option(name="start-delay", kind=_T, default="0", minimum=0, short="Wait this long before the first run"),
    Option(
        name="interval-origin",
        kind=_S,
        default=None,
        short="A date from which intervals are counted",
        long="Cannot stand beside start-delay.",
    ),
    Option(name="description", kind=_S, default=None, short="Free text"),
)
