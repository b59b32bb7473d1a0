"""Cluster options: declared once, decoded into the working set. Old names are read, today's names are kept."""

from __future__ import annotations

from dataclasses import dataclass

from quorate.model.time import parse_interval_ms

from .scores import INFINITY, parse_score
from .working_set import QuorumPolicy, WorkingSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    name: str
    default: str
    kind: str  # "boolean", "duration", "score", "integer", "enum", "string"
    values: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    text: str = ""


OPTIONS: tuple[Option, ...] = (
    Option(name="no-quorum-policy", default="stop", kind="enum", old=("no_quorum_policy", "no_quorum-policy"),
           values=("stop", "freeze", "ignore", "demote", "fence", "suicide"),
           text="what to do when the partition has no quorum"),
    Option(name="shutdown-lock", default="false", kind="boolean",
           text="keep resources of a cleanly stopped node for that node"),
    Option(name="shutdown-lock-limit", default="0", kind="duration", text="how long a shutdown lock lasts, 0 for ever"),
    Option(name="symmetric-cluster", default="true", kind="boolean", old=("symmetric_cluster",),
           text="resources may run anywhere unless a constraint says otherwise"),
    Option(name="maintenance-mode", default="false", kind="boolean", text="leave every resource alone"),
    Option(name="start-failure-is-fatal", default="true", kind="boolean",
           text="a failed start bans the node at once"),
    Option(name="enable-startup-probes", default="true", kind="boolean",
           text="look for resources that are already active on a joining node"),
    Option(name="fencing-enabled", default="true", kind="boolean", old=("stonith-enabled", "stonith_enabled"),
           text="failed nodes are fenced"),
    Option(name="fencing-action", default="reboot", kind="enum", old=("stonith-action", "stonith_action"),
           values=("reboot", "off", "poweroff"), text="what fencing does"),
    Option(name="fencing-timeout", default="60s", kind="duration", old=("stonith-timeout",),
           text="how long to wait for on, off and reboot"),
    Option(name="have-watchdog", default="false", kind="boolean", text="a watchdog is present (set by the cluster)"),
    Option(name="fencing-watchdog-timeout", default="0", kind="duration", old=("stonith-watchdog-timeout",),
           text="after this time an unseen node is taken to have fenced itself"),
    Option(name="concurrent-fencing", default="true", kind="boolean", text="several fencings at the same time"),
    Option(name="startup-fencing", default="true", kind="boolean", old=("startup_fencing",),
           text="fence nodes of unknown state"),
    Option(name="priority-fencing-delay", default="0", kind="duration",
           text="delay for fencing of the node that runs what matters more"),
    Option(name="node-pending-timeout", default="0", kind="duration",
           text="fence a node that does not finish joining"),
    Option(name="cluster-delay", default="60s", kind="duration", old=("transition-idle-timeout", "transition_timeout"),
           text="round trip delay over the network"),
    Option(name="batch-limit", default="0", kind="integer", text="actions at the same time"),
    Option(name="migration-limit", default="-1", kind="integer", text="live migrations of a node at the same time"),
    Option(name="stop-all-resources", default="false", kind="boolean", old=("stop_all_resources",),
           text="stop everything"),
    Option(name="stop-removed-resources", default="true", kind="boolean",
           old=("stop-orphan-resources", "stop_orphan_resources"), text="stop what is no longer configured"),
    Option(name="cancel-removed-actions", default="true", kind="boolean",
           old=("stop-orphan-actions", "stop_orphan_actions"), text="cancel operations that are no longer configured"),
    Option(name="remove-after-stop", default="false", kind="boolean", text="forget a resource when it is stopped"),
    Option(name="placement-strategy", default="default", kind="enum",
           values=("default", "utilization", "minimal", "balanced"), text="how utilization decides placement"),
    Option(name="node-health-strategy", default="none", kind="enum",
           values=("none", "migrate-on-red", "only-green", "progressive", "custom"), text="how health attributes count"),
    Option(name="node-health-base", default="0", kind="score", text="what a node's health starts from"),
    Option(name="node-health-green", default="0", kind="score", text="score of green"),
    Option(name="node-health-yellow", default="0", kind="score", text="score of yellow"),
    Option(name="node-health-red", default="-INFINITY", kind="score", text="score of red"),
    Option(name="default-resource-stickiness", default="0", kind="score", text="obsolete"),
    Option(name="is-managed-default", default="true", kind="boolean", text="obsolete"),
    Option(name="default-action-timeout", default="20s", kind="duration", text="obsolete"),
    Option(name="cluster-name", default="", kind="string", text="the cluster's name"),
    Option(name="site-name", default="", kind="string", text="the site's name"),
)
BY_NAME = {option.name: option for option in OPTIONS}
NEW_NAME = {old: option.name for option in OPTIONS for old in option.old}
_TRUE = ("true", "on", "yes", "y", "1")
_FALSE = ("false", "off", "no", "n", "0")


def parse_boolean(text: str | None, default: bool = False) -> bool:
    if text is None:
        return default
    folded = text.strip().lower()
    if folded in _TRUE:
        return True
    if folded in _FALSE:
        return False
    return default


def is_valid(option: Option, text: str) -> bool:
    if option.kind == "boolean":
        return text.strip().lower() in _TRUE or text.strip().lower() in _FALSE
    if option.kind == "duration":
        return parse_interval_ms(text) is not None
    if option.kind == "score":
        return parse_score(text) is not None
    if option.kind == "enum":
        return text in option.values
    if option.kind == "integer":
        return text.strip().lstrip("+-").isdigit()
    return True


def decode(ws: WorkingSet, configured: dict[str, str]) -> None:
    """Fill the working set's options from the configured pairs; a bad value is reported and the default used."""
    known: dict[str, str] = {}
    for name, text in configured.items():
        today = NEW_NAME.get(name, name)
        if today != name and today in configured:
            continue
        option = BY_NAME.get(today)
        if option is not None and not is_valid(option, text):
            ws.warn("option-value", f"'{text}' is not a value of {name}; using '{option.default}'", name)
            continue
        known[today] = text
    ws.options_set = known
    options = {option.name: option.default for option in OPTIONS}
    options.update(known)
    ws.options = options

    def flag(name: str) -> bool:
        return parse_boolean(options[name])

    def span(name: str) -> int:
        return parse_interval_ms(options[name], 0) or 0

    ws.fencing_enabled = flag("fencing-enabled")
    ws.fencing_action = "off" if options["fencing-action"] == "poweroff" else options["fencing-action"]
    ws.fencing_timeout_ms = span("fencing-timeout")
    ws.startup_fencing = flag("startup-fencing")
    ws.concurrent_fencing = flag("concurrent-fencing")
    ws.priority_fencing_delay_ms = span("priority-fencing-delay")
    ws.symmetric = flag("symmetric-cluster")
    ws.maintenance_mode = flag("maintenance-mode")
    ws.stop_all = flag("stop-all-resources")
    ws.stop_removed_resources = flag("stop-removed-resources")
    ws.cancel_removed_actions = flag("cancel-removed-actions")
    ws.start_failure_is_fatal = flag("start-failure-is-fatal")
    ws.enable_startup_probes = flag("enable-startup-probes")
    ws.remove_after_stop = flag("remove-after-stop")
    ws.shutdown_lock = flag("shutdown-lock")
    ws.shutdown_lock_ms = span("shutdown-lock-limit") if ws.shutdown_lock else 0
    ws.node_pending_timeout_ms = span("node-pending-timeout")
    ws.cluster_delay_ms = span("cluster-delay")
    ws.placement_strategy = options["placement-strategy"]
    ws.have_fencing_device = flag("have-watchdog") and span("fencing-watchdog-timeout") != 0
    policy = options["no-quorum-policy"]
    if policy in ("suicide", "fence"):
        policy = "fence" if ws.fencing_enabled else "stop"
    ws.quorum_policy = QuorumPolicy(policy)


def health_score(ws: WorkingSet, text: str) -> int:
    """Score of a health attribute's value (a colour or a number)."""
    if text in ("red", "yellow", "green"):
        strategy = ws.options["node-health-strategy"]
        if strategy == "migrate-on-red":
            return -INFINITY if text == "red" else 0
        if strategy == "only-green":
            return 0 if text == "green" else -INFINITY
        return parse_score(ws.options[f"node-health-{text}"]) or 0
    return parse_score(text) or 0
