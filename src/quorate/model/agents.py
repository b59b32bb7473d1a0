"""What agents say about themselves: the metadata of OCF, fence and LSB agents as values. Parses, never runs.

Agents' metadata is read leniently: a document type is passed over (nothing is loaded), unknown elements are ignored,
and what is absent gets the specification's default. Source: OCF resource agent API 1.0 and 1.1; FenceAgentAPI.md of the
fence-agents project; LSB "Comment conventions for init scripts".
"""

from __future__ import annotations

import re

import msgspec
from lxml import etree

from .reports import ExitCode, Place, Report
from .time import parse_interval_ms

METADATA_BYTES_MAX = 4 * 1024 * 1024
PRIVATE_NAMES = frozenset({"passwd", "password"})  # kept out of digests and listings even where not marked private
_TRUE = frozenset({"1", "true", "on", "yes", "y"})


class AgentError(Exception):
    """Metadata that cannot be used."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """`kind` is the agent's word for the type (string, integer, boolean, select, time, second, ...)."""

    name: str
    kind: str = "string"
    default: str | None = None
    required: bool = False
    unique: bool = False
    unique_group: str | None = None
    reloadable: bool = False
    private: bool = False
    deprecated: bool = False
    obsoletes: str | None = None
    values: tuple[str, ...] = ()
    short: str = ""
    long: str = ""


class AgentAction(msgspec.Struct, frozen=True, kw_only=True):
    """An advertised action; times are milliseconds, None where the agent says nothing. `on_target` and `automatic`
    concern the `on` of a fence agent: run on the target itself, and by itself when the node joins (unfencing)."""

    name: str
    timeout_ms: int | None = None
    interval_ms: int | None = None
    start_delay_ms: int | None = None
    depth: int = 0
    role: str | None = None
    on_target: bool = False
    automatic: bool = False


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """`version` is the agent's own, `ocf_version` that of the API it follows ("1.0" unless it says more)."""

    name: str
    version: str = ""
    ocf_version: str = "1.0"
    short: str = ""
    long: str = ""
    parameters: tuple[Parameter, ...] = ()
    actions: tuple[AgentAction, ...] = ()

    def parameter(self, name: str) -> Parameter | None:
        return next((each for each in self.parameters if each.name == name), None)

    def action(self, name: str, role: str | None = None) -> AgentAction | None:
        """The first action of that name (and role, where one is asked for)."""
        for each in self.actions:
            if each.name == name and (role is None or each.role in (None, role)):
                return each
        return None

    def has_action(self, name: str) -> bool:
        return self.action(name) is not None

    @property
    def reload_action(self) -> str | None:
        """`reload-agent` (OCF 1.1), `reload` of an OCF 1.0 agent, or None when parameters cannot be reloaded."""
        if self.has_action("reload-agent"):
            return "reload-agent"
        return "reload" if self.has_action("reload") and self.ocf_version == "1.0" else None

    @property
    def restart_parameters(self) -> tuple[str, ...] | None:
        """Parameters whose change needs a restart; None if every change does. By `reloadable` in OCF 1.1, by `unique`
        in OCF 1.0."""
        action = self.reload_action
        if action is None:
            return None
        if action == "reload-agent":
            return tuple(each.name for each in self.parameters if not each.reloadable)
        return tuple(each.name for each in self.parameters if each.unique)

    @property
    def private_parameters(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.parameters if each.private or each.name in PRIVATE_NAMES)

    @property
    def unfences(self) -> bool:
        """Whether a fence agent must switch nodes on before they may run anything."""
        action = self.action("on")
        return action is not None and action.automatic


def parse_metadata(data: bytes, agent: str = "") -> Metadata:
    """The metadata that an agent printed. `agent` names it in messages. AgentError if there is no such XML in it."""
    if len(data) > METADATA_BYTES_MAX:
        raise _error(agent, f"prints {len(data)} bytes of metadata, more than {METADATA_BYTES_MAX}")
    start = data.find(b"<")
    if start < 0:
        raise _error(agent, "prints no metadata")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, recover=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(data[start:].rstrip(b"\0 \r\n\t"), parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        line = getattr(error, "lineno", None)
        raise _error(agent, f"prints metadata that is not well-formed XML: {error}", line) from None
    if root is None or root.tag != "resource-agent":
        raise _error(agent, f"prints <{'nothing' if root is None else root.tag}> where <resource-agent> belongs")
    return Metadata(
        name=root.get("name", agent),
        version=_version(root),
        ocf_version=_ocf_version(root),
        short=_described(root, "shortdesc") or root.get("shortdesc", ""),
        long=_described(root, "longdesc"),
        parameters=tuple(_parameter(each) for each in root.iterfind("parameters/parameter") if each.get("name")),
        actions=tuple(_action(each) for each in root.iterfind("actions/action") if each.get("name")),
    )


def _error(agent: str, message: str, line: int | None = None) -> AgentError:
    return AgentError(
        Report(code="agent-metadata", message=f"the agent {message}", exit_code=ExitCode.DATAERR,
               place=Place(file=agent or None, line=line), remedy="run it by hand: meta-data, fence agents -o metadata")
    )  # fmt: skip


def _text(element: etree._Element | None) -> str:
    return "" if element is None else "".join(str(part) for part in element.itertext()).strip()


def _described(parent: etree._Element, tag: str) -> str:
    """The English description where there are several, else the first."""
    found = parent.findall(tag)
    for each in found:
        language = each.get("lang", "en")
        if language.startswith("en"):
            return _text(each)
    return _text(found[0]) if found else ""


def _version(root: etree._Element) -> str:
    """An OCF 1.1 agent has its own version in the attribute; <version> is that of the API then."""
    return root.get("version") or _text(root.find("version"))


def _ocf_version(root: etree._Element) -> str:
    text = _text(root.find("version"))
    if root.get("version") is None and root.find("actions/action[@name='reload-agent']") is None and text != "1.1":
        return "1.0"  # an old agent, whose <version> is its own
    return text if re.fullmatch(r"\d+(\.\d+)*", text) else "1.0"


def _is_true(text: str | None) -> bool:
    return text is not None and text.strip().lower() in _TRUE


def _parameter(element: etree._Element) -> Parameter:
    content = element.find("content")
    default = None if content is None else content.get("default")
    group = element.get("unique-group")
    return Parameter(
        name=element.get("name", ""),
        kind="string" if content is None else content.get("type", "string"),
        default=default,
        required=_is_true(element.get("required")),
        unique=_is_true(element.get("unique")) or group is not None,
        unique_group=group,
        reloadable=_is_true(element.get("reloadable")),
        private=_is_true(element.get("private")),
        deprecated=_is_true(element.get("deprecated")) or element.find("deprecated") is not None,
        obsoletes=element.get("obsoletes"),
        values=() if content is None else tuple(each.get("value", "") for each in content.iterfind("option")),
        short=_described(element, "shortdesc"),
        long=_described(element, "longdesc"),
    )


def _action(element: etree._Element) -> AgentAction:
    depth = element.get("depth", "0")
    return AgentAction(
        name=element.get("name", ""),
        timeout_ms=parse_interval_ms(element.get("timeout")),
        interval_ms=parse_interval_ms(element.get("interval")),
        start_delay_ms=parse_interval_ms(element.get("start-delay")),
        depth=int(depth) if depth.isdecimal() else 0,
        role=element.get("role"),
        on_target=_is_true(element.get("on_target")),
        automatic=_is_true(element.get("automatic")),
    )


# ---- LSB ------------------------------------------------------------------------------------------------------------

_LSB_BEGIN = re.compile(r"^###\s*BEGIN INIT INFO\s*$")
_LSB_END = re.compile(r"^###\s*END INIT INFO\s*$")
_LSB_KEY = re.compile(r"^#\s*([A-Za-z0-9-]+):\s*(.*)$")


def parse_lsb(script: bytes, name: str) -> Metadata:
    """Metadata of an init script from its header; a script without one has only its name."""
    keys: dict[str, str] = {}
    key = None
    inside = False
    for line in script[:METADATA_BYTES_MAX].decode("utf-8", "replace").splitlines():
        if _LSB_BEGIN.match(line):
            inside = True
        elif _LSB_END.match(line):
            break
        elif inside and (match := _LSB_KEY.match(line)):
            key = match[1].lower()
            keys[key] = match[2].strip()
        elif inside and key == "description" and re.match(r"^#(\t|  )", line):
            keys[key] += "\n" + line[1:].strip()
    lasting = ("start", "stop", "status", "restart", "force-reload")
    return Metadata(
        name=name,
        version="1.0",
        short=keys.get("short-description", name),
        long=keys.get("description", ""),
        actions=(*(AgentAction(name=each, timeout_ms=15_000) for each in lasting),
                 AgentAction(name="monitor", timeout_ms=15_000, interval_ms=15_000),
                 AgentAction(name="meta-data", timeout_ms=5_000)),
    )  # fmt: skip
