"""Fence devices as the configuration has them: which there are, which node each can fence, with which parameters.

Decided here: the meaning of pcmk_host_map, pcmk_host_list, pcmk_host_check, pcmk_host_argument, pcmk_ACTION_action,
pcmk_ACTION_timeout, pcmk_ACTION_retries, pcmk_delay_base, pcmk_delay_max; the levels of fencing-topology; what an
agent's metadata says that fencing needs. Not decided here: who runs a device and when (`plan`, `machine`).

Source: Pacemaker Explained, "Fencing" (special device options, topology); the Fence Agent API for metadata.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quorate.model.agents import parse_metadata
from quorate.model.cib import Cib, status
from quorate.model.cib.nvpairs import ordered_sets
from quorate.model.time import parse_interval_ms

if TYPE_CHECKING:
    from quorate.model.cib.document import Element

RETRIES_DEFAULT = 2  # tries of an action in all, as Pacemaker
LEVEL_INDEX_MAX = 9
_SEPARATORS = re.compile(r"[\s,;]+")


class HostCheck(enum.Enum):
    """How it is found out whether a device can fence a node."""

    STATIC = "static-list"
    DYNAMIC = "dynamic-list"
    STATUS = "status"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """What an agent's metadata says that fencing needs. `actions` empty: metadata not known, assume the usual."""

    actions: frozenset[str] = frozenset()
    port_parameter: str = "port"
    on_target: bool = False  # `on` is run by the target itself (unfencing)
    automatic: bool = False  # `on` is run when a node joins

    def supports(self, action: str) -> bool:
        return not self.actions or action in self.actions


UNKNOWN_AGENT = AgentFacts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One stonith-class primitive that is enabled. `options` are the pcmk_* ones, `parameters` the agent's own."""

    id: str
    agent: str
    priority: int
    options: Mapping[str, str]
    parameters: Mapping[str, str]
    hosts: Mapping[str, str] = field(default_factory=dict)  # node -> name or port that the device knows it by
    banned: frozenset[str] = frozenset()  # nodes that may not run it

    @property
    def metadata_name(self) -> str:
        return f"stonith:{self.agent}"

    def host_check(self, facts: AgentFacts) -> HostCheck:
        """As configured; else by the lists if there are any, else by what the agent can do."""
        given = self.options.get("pcmk_host_check", "")
        for check in HostCheck:
            if given == check.value:
                return check
        if self.hosts:
            return HostCheck.STATIC
        if not facts.actions:
            return HostCheck.DYNAMIC
        if "list" in facts.actions or "list-status" in facts.actions:
            return HostCheck.DYNAMIC
        return HostCheck.STATUS if "status" in facts.actions else HostCheck.NONE

    def alias(self, node: str) -> str:
        """The name or port by which the device knows a node."""
        return self.hosts.get(node, node)

    def action_name(self, action: str) -> str:
        """What the agent is told for `action` (pcmk_reboot_action and the like)."""
        return self.options.get(f"pcmk_{action}_action", action)

    def action_timeout_ms(self, action: str, default_ms: int) -> int:
        value = parse_interval_ms(self.options.get(f"pcmk_{action}_timeout"), default_ms)
        return default_ms if not value or value < 0 else value

    def tries(self, action: str) -> int:
        text = self.options.get(f"pcmk_{action}_retries", "")
        return max(1, min(10, int(text))) if text.isdigit() else RETRIES_DEFAULT

    def delay_bounds_ms(self, node: str) -> tuple[int, int]:
        """Least and greatest delay before this device fences `node`."""
        base = _delay_ms(self.options.get("pcmk_delay_base"), node)
        most = _delay_ms(self.options.get("pcmk_delay_max"), node)
        return base, max(base, most)

    def agent_parameters(self, facts: AgentFacts, action: str, node: str | None, node_id: int) -> dict[str, str]:
        """Everything that goes to the agent's standard input, the action included."""
        given = dict(self.parameters)
        given["action"] = self.action_name(action)
        if node is not None:
            given["nodename"] = node
            if node_id:
                given["nodeid"] = str(node_id)
            argument = self.options.get("pcmk_host_argument", "")
            if argument != "none" and (argument or facts.port_parameter):
                name = argument or facts.port_parameter
                if argument or name not in self.parameters:  # a fixed port= means a device for one node
                    given[name] = self.alias(node)
        return given


# ---- reading the configuration --------------------------------------------------------------------------------------


def read_devices(cib: Cib) -> tuple[Device, ...]:
    """All enabled devices, the more important (priority) first, then by id."""
    resources = cib.section("resources")
    found: list[Device] = []
    for primitive in resources.iter("primitive") if resources is not None else ():
        device = _device(cib, primitive)
        if device is not None:
            found.append(device)
    return tuple(sorted(found, key=lambda device: (-device.priority, device.id)))


def _device(cib: Cib, primitive: Element) -> Device | None:
    template = cib.find_id(primitive.get("template") or "") if primitive.get("template") else None
    source = primitive if template is None else template
    if (primitive.get("class") or source.get("class")) != "stonith":
        return None
    meta = _pairs(primitive, template, "meta_attributes")
    if _role(cib, primitive, meta) == "Stopped":
        return None
    pairs = _pairs(primitive, template, "instance_attributes")
    identity = primitive.get("id", "")
    return Device(
        id=identity,
        agent=primitive.get("type") or source.get("type") or "",
        priority=_integer(meta.get("priority") or pairs.get("priority")),
        options={name: value for name, value in pairs.items() if name.startswith("pcmk_")},
        parameters={
            name: value
            for name, value in pairs.items()
            if not name.startswith(("pcmk_", "CRM_meta_")) and name not in ("crm_feature_set", "action", "priority")
        },
        hosts=_hosts(pairs),
        banned=_banned(cib, identity),
    )


def _pairs(primitive: Element, template: Element | None, tag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for holder in (primitive, template):
        for each in ordered_sets(holder, tag) if holder is not None else ():
            for pair in each.iterchildren("nvpair"):
                if pair.get("name") and pair.get("value") is not None:
                    found.setdefault(pair.get("name", ""), pair.get("value", ""))
    return found


def _role(cib: Cib, primitive: Element, meta: Mapping[str, str]) -> str:
    """target-role of the primitive, else of the group or clone around it, else the default."""
    if "target-role" in meta:
        return meta["target-role"].capitalize()
    parent = primitive.getparent()
    while parent is not None and parent.tag in ("group", "clone", "master"):
        role = _pairs(parent, None, "meta_attributes").get("target-role")
        if role is not None:
            return role.capitalize()
        parent = parent.getparent()
    defaults = cib.section("rsc_defaults")
    role = _pairs(defaults, None, "meta_attributes").get("target-role") if defaults is not None else None
    return (role or "Started").capitalize()


def _hosts(pairs: Mapping[str, str]) -> dict[str, str]:
    """pcmk_host_map ("node:port;node:port") and pcmk_host_list ("node node")."""
    hosts: dict[str, str] = {}
    for part in re.split(r"[\s;]+", pairs.get("pcmk_host_map", "")):
        node, colon, port = part.partition(":")
        if not colon:
            node, _, port = part.partition("=")
        if node and port:
            hosts[node] = port
    for node in _SEPARATORS.split(pairs.get("pcmk_host_list", "")):
        if node:
            hosts.setdefault(node, node)
    return hosts


def _banned(cib: Cib, device: str) -> frozenset[str]:
    """Nodes on which a plain location constraint forbids the device."""
    constraints = cib.section("constraints")
    found = set()
    for location in constraints.iterchildren("rsc_location") if constraints is not None else ():
        if location.get("rsc") == device and location.get("node") and location.get("score", "").upper() == "-INFINITY":
            found.add(location.get("node", ""))
    return frozenset(found)


def _delay_ms(text: str | None, node: str) -> int:
    """A delay for all nodes, or a map "n1:5s;n2:0s"."""
    if not text:
        return 0
    if ":" in text:
        for part in re.split(r"[\s;]+", text):
            name, _, value = part.partition(":")
            if name == node:
                return max(0, parse_interval_ms(value, 0) or 0)
        return 0
    return max(0, parse_interval_ms(text, 0) or 0)


def _integer(text: str | None) -> int:
    try:
        return int(text) if text else 0
    except ValueError:
        return 0


# ---- topology -------------------------------------------------------------------------------------------------------


def topology(cib: Cib, target: str, attributes: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """The levels for `target`, lowest index first: each the ids of devices of which all must succeed. Empty: none
    apply.

    Levels that name the node come before those with a pattern, and those before an attribute's, as in Pacemaker."""
    section = cib.section("fencing-topology")
    if section is None:
        return ()
    by_kind: dict[int, dict[int, tuple[str, ...]]] = {}
    for level in section.iterchildren("fencing-level"):
        kind = _level_matches(level, target, attributes)
        index = _integer(level.get("index"))
        if kind is None or not 1 <= index <= LEVEL_INDEX_MAX:
            continue
        devices = tuple(device for device in _SEPARATORS.split(level.get("devices", "")) if device)
        by_kind.setdefault(kind, {}).setdefault(index, devices)
    if not by_kind:
        return ()
    chosen = by_kind[min(by_kind)]
    return tuple(chosen[index] for index in sorted(chosen))


def _level_matches(level: Element, target: str, attributes: Mapping[str, str]) -> int | None:
    if level.get("target") is not None:
        return 0 if level.get("target", "").lower() == target.lower() else None
    pattern = level.get("target-pattern")
    if pattern is not None:
        try:
            return 1 if re.search(pattern, target, re.IGNORECASE) else None
        except re.error:
            return None
    name = level.get("target-attribute")
    if name is not None:
        value = target if name == "#uname" else attributes.get(name)
        return 2 if value is not None and value == level.get("target-value") else None
    return None


def node_attributes(cib: Cib, node: str) -> dict[str, str]:
    """Configured and transient attributes of a node; transient ones win."""
    found: dict[str, str] = {}
    nodes = cib.section("nodes")
    for element in nodes.iterchildren("node") if nodes is not None else ():
        if element.get("uname") == node:
            found |= _pairs(element, None, "instance_attributes")
    return found | status.attributes(cib, node)


# ---- where a device runs, what an agent is --------------------------------------------------------------------------


def running_on(cib: Cib, device: str) -> tuple[str, ...]:
    """Nodes on which the device's resource is started, by the history; in the order of the status section."""
    return tuple(node for node in status.node_names(cib) if _is_started(cib, node, device))


def _is_started(cib: Cib, node: str, device: str) -> bool:
    state = status.find_node_state(cib, node)
    best, started = -1, False
    for record in _records(state, device):
        call = _integer(record.get("call-id"))
        operation, rc = record.get("operation"), record.get("rc-code")
        if call < best or operation not in ("start", "stop", "monitor"):
            continue
        if operation == "start":
            best, started = call, rc == "0"
        elif operation == "stop":
            best, started = call, rc != "0"
        else:
            best, started = call, rc == "0"
    return started


def _records(state: Element | None, device: str) -> Iterator[Element]:
    for resource in state.iterfind("lrm/lrm_resources/lrm_resource") if state is not None else ():
        if resource.get("id") == device:
            yield from resource.iterchildren("lrm_rsc_op")


def parse_agent(xml: bytes, agent: str) -> AgentFacts:
    """What matters of a fence agent's metadata; raises AgentError when it cannot be read."""
    metadata = parse_metadata(xml, agent)
    port = next((name for name in ("port", "plug") if metadata.parameter(name) is not None), "")
    on = metadata.action("on")
    return AgentFacts(
        actions=frozenset(action.name for action in metadata.actions),
        port_parameter=port,
        on_target=on is not None and on.on_target,
        automatic=metadata.unfences,
    )
