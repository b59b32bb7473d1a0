"""What the configuration says of an operation: timeout, on-fail, role after a failure, interval and the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quorate.model.rules import RuleInput
from quorate.model.time import parse_interval_ms, parse_moment

from .attributes import AttributeSets, sets_of
from .configuration import parameters, parse_role
from .options import parse_boolean
from .working_set import Node, OnFail, Requires, Resource, Role, WorkingSet

if TYPE_CHECKING:
    from lxml import etree

DEFAULT_TIMEOUT_MS = 20_000
_ON_FAIL = {
    "block": OnFail.BLOCK,
    "fence": OnFail.FENCE,
    "standby": OnFail.STANDBY,
    "ignore": OnFail.IGNORE,
    "nothing": OnFail.IGNORE,
    "migrate": OnFail.BAN,
    "stop": OnFail.STOP,
    "restart": OnFail.RESTART,
    "restart-container": OnFail.RESTART_CONTAINER,
    "demote": OnFail.DEMOTE,
}


@dataclass(slots=True, kw_only=True)
class OperationSettings:
    """`meta` is what goes into the graph as CRM_meta_* (milliseconds already)."""

    meta: dict[str, str] = field(default_factory=dict)
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    on_fail: OnFail = OnFail.RESTART
    on_fail_set: bool = False
    role_after_failure: Role = Role.STARTED
    requires: Requires = Requires.NOTHING
    config: etree._Element | None = None
    extra: dict[str, str] = field(default_factory=dict)  # parameters for this operation only


def op_interval_ms(op: etree._Element) -> int:
    return max(0, parse_interval_ms(op.get("interval"), 0) or 0)


def is_enabled(op: etree._Element) -> bool:
    text = op.get("enabled")
    if text is None and len(op):
        for pair in op.iter("nvpair"):
            if pair.get("name") == "enabled":
                text = pair.get("value")
                break
    return parse_boolean(text, True)


def find_config(rsc: Resource, task: str, interval_ms: int, include_disabled: bool = False) -> etree._Element | None:
    """The <op> for a task; a start, stop, promote or demote is found under any interval."""
    for op in rsc.ops_xml:
        if op.get("name") == task and op_interval_ms(op) == interval_ms and (include_disabled or is_enabled(op)):
            return op
    return None


def _config_for(rsc: Resource, task: str, interval_ms: int) -> etree._Element | None:
    found = find_config(rsc, task, interval_ms, True)
    if found is None and interval_ms == 0 and task in ("migrate_to", "migrate_from"):
        found = find_config(rsc, "migrate", 0)
    if found is None and interval_ms == 0 and task in ("start", "stop", "promote", "demote"):
        found = None
    return found


def _shortest_monitor(rsc: Resource) -> etree._Element | None:
    best: etree._Element | None = None
    best_ms = -1
    for op in rsc.ops_xml:
        if op.get("name") == "monitor" and is_enabled(op):
            interval = op_interval_ms(op)
            if interval > 0 and (best_ms < 0 or interval < best_ms):
                best, best_ms = op, interval
    return best


def _settings_cache(ws: WorkingSet) -> dict[tuple[int, str, int], OperationSettings]:
    cache = ws.extra.get("op_settings")
    if cache is None:
        cache = ws.extra["op_settings"] = {}
    found: dict[tuple[int, str, int], OperationSettings] = cache
    return found


def operation_settings(ws: WorkingSet, rsc: Resource, node: Node | None, task: str, interval_ms: int) -> OperationSettings:
    """Settings of an operation of `rsc` (on `node`, where rules depend on it). Cached."""
    cache = _settings_cache(ws)
    key = (rsc.index, task, interval_ms)
    found = cache.get(key)
    if found is None:
        found = cache[key] = _read_settings(ws, rsc, node, task, interval_ms)
    return found


def _read_settings(ws: WorkingSet, rsc: Resource, node: Node | None, task: str, interval_ms: int) -> OperationSettings:
    config = _config_for(rsc, task, interval_ms)
    is_probe = task == "monitor" and interval_ms == 0
    meta: dict[str, str] = {}
    given = RuleInput(
        now=ws.now, resource_class=rsc.agent_class or None, resource_provider=rsc.agent_provider,
        resource_type=rsc.agent_type or None, operation=task, operation_interval_ms=interval_ms,
    )
    if is_probe or task == "monitor" and config is None and interval_ms == 0:
        minimum = _shortest_monitor(rsc)
        probe_timeout = None
        if config is None and minimum is not None:
            values: dict[str, str] = {}
            sets_of(ws, minimum, "meta_attributes").merge(values, given, ws)
            probe_timeout = minimum.get("timeout") or values.get("timeout")
        if probe_timeout is not None:
            meta["timeout"] = probe_timeout
    if config is not None:
        sets_of(ws, config, "meta_attributes").merge(meta, given, ws)
        for name, value in config.attrib.items():
            if name != "id":
                meta[str(name)] = str(value)
    if ws.op_defaults:
        defaults = ws.extra.get("op_defaults")
        if defaults is None:
            defaults = ws.extra["op_defaults"] = AttributeSets(ws, ws.op_defaults)
        defaults.merge(meta, given, ws)
    meta.pop("id", None)
    if interval_ms > 0:
        meta["interval"] = str(interval_ms)
    else:
        meta.pop("interval", None)
    settings = OperationSettings(meta=meta, config=config)
    if config is not None and len(config):
        sets_of(ws, config, "instance_attributes").merge(settings.extra, given, ws)
    timeout = parse_interval_ms(meta.get("timeout"), None)
    if rsc.is_fencing_device and (task in ("start",) or is_probe):
        device = parameters(ws, rsc, node).get("pcmk_monitor_timeout")
        if device is not None:
            timeout = parse_interval_ms(device, timeout)
    if timeout is None:
        timeout = DEFAULT_TIMEOUT_MS
    settings.timeout_ms = timeout if timeout > 0 else DEFAULT_TIMEOUT_MS
    meta["timeout"] = str(settings.timeout_ms)
    _start_delay(ws, meta, interval_ms)
    settings.requires = Requires.NOTHING
    _on_fail(ws, rsc, task, interval_ms, meta, settings, config)
    return settings


def _start_delay(ws: WorkingSet, meta: dict[str, str], interval_ms: int) -> None:
    delay = meta.get("start-delay")
    if delay is not None:
        value = parse_interval_ms(delay, 0) or 0
        meta["start-delay"] = str(max(0, value))
        return
    origin_text = meta.get("interval-origin")
    if origin_text is not None and interval_ms > 0:
        try:
            origin = parse_moment(origin_text, ws.now)
        except ValueError:
            ws.warn("interval-origin", f"'{origin_text}' is not a date")
            return
        seconds = interval_ms // 1000
        if seconds > 0:
            rest = (ws.now - origin) % seconds if ws.now >= origin else -(origin - ws.now) % seconds
            meta["start-delay"] = str((seconds - rest) % seconds * 1000 if rest else 0)


def _on_fail(
    ws: WorkingSet, rsc: Resource, task: str, interval_ms: int, meta: dict[str, str], settings: OperationSettings,
    config: etree._Element | None,
) -> None:
    text = meta.get("on-fail")
    value: OnFail | None = None
    is_probe = task == "monitor" and interval_ms == 0
    if text is not None:
        value = _ON_FAIL.get(text.lower())
        if value is None:
            ws.warn("on-fail", f"'{text}' is not a value of on-fail (resource {rsc.id}, {task})", rsc.id)
        elif value is OnFail.DEMOTE and not _may_demote(task, interval_ms, meta):
            ws.warn("on-fail", f"on-fail=demote is for promote and recurring monitors of promoted ones ({rsc.id}, {task})",
                    rsc.id)
            value = None
            meta.pop("on-fail", None)
        elif value is OnFail.FENCE and not ws.fencing_enabled:
            ws.warn("on-fail", f"on-fail=fence of {rsc.id} needs fencing; it stops instead", rsc.id)
            value = OnFail.STOP
            settings.role_after_failure = Role.STOPPED
        elif value is OnFail.STOP and task == "stop":
            ws.warn("on-fail", f"on-fail=stop makes no sense for the stop of {rsc.id}", rsc.id)
            value = None
            meta.pop("on-fail", None)
    if value is None and task == "demote" and rsc.promotable:
        value = None
    demote_policy = value is None and (task == "promote" or task == "demote")
    if demote_policy and task == "demote":
        # a demote follows on-fail of the recurring monitor of the promoted role when it has none of its own
        for op in rsc.ops_xml:
            if (
                op.get("name") == "monitor" and is_enabled(op) and op_interval_ms(op) > 0
                and parse_role(op.get("role")) is Role.PROMOTED and op.get("on-fail") in _ON_FAIL
                and op.get("on-fail") != "demote"
            ):
                value = _ON_FAIL[str(op.get("on-fail"))]
                meta["on-fail"] = str(op.get("on-fail"))
                break
        else:
            value = None
    settings.on_fail_set = value is not None
    if value is None or (not rsc.managed and rsc.is_remote_connection and not (is_probe or task == "start")):
        if value is None and rsc.container is not None:
            value = OnFail.RESTART_CONTAINER
        elif rsc.is_remote_connection and not (is_probe or task == "start"):
            if not rsc.managed:
                value = OnFail.STOP
            else:
                value = OnFail.RESET_REMOTE
        elif value is None and task == "stop":
            value = OnFail.FENCE if ws.fencing_enabled else OnFail.BLOCK
        elif value is None:
            value = OnFail.RESTART
    settings.on_fail = value
    role = parse_role(meta.get("role_after_failure"))
    if value is OnFail.STOP or (value is OnFail.RESET_REMOTE and rsc.remote_reconnect_ms):
        role = Role.STOPPED
    if role is Role.UNKNOWN:
        role = Role.UNPROMOTED if task == "promote" else Role.STARTED
    settings.role_after_failure = role


def _may_demote(task: str, interval_ms: int, meta: dict[str, str]) -> bool:
    return task in ("promote", "demote") or (
        task == "monitor" and interval_ms > 0 and parse_role(meta.get("role")) is Role.PROMOTED
    )
