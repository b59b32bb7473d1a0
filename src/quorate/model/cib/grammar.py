"""What may stand in a configuration, as tables: for each element its attributes, children and conditions.

One grammar for all schema generations: old and new spellings are accepted side by side (master and clone, Master and
Promoted, acl_user and acl_target), because documents of every generation must load. Free content (the status section)
is not described. Source: Pacemaker Explained and the schemas of Pacemaker 1.0 to 4.0, whose verdicts on the scheduler
corpus are compared in tests/property/test_cib_schema.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .document import Element

MANY = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of attribute value: `matches` decides, `text` names it in messages. `names` an id or `refers` to one."""

    text: str
    matches: Callable[[str], bool]
    is_id: bool = False
    is_reference: bool = False


def _pattern(expression: str) -> Callable[[str], bool]:
    compiled = re.compile(expression)
    return lambda value: compiled.fullmatch(value) is not None


def one_of(*values: str) -> Kind:
    allowed = frozenset(values)
    return Kind(text="one of " + ", ".join(values), matches=lambda value: value in allowed)


_NAME = _pattern(r"[^\W\d][\w.·-]*")
TEXT = Kind(text="text", matches=lambda value: True)
ID = Kind(text="an id (a letter or _, then letters, digits, . _ -)", matches=_NAME, is_id=True)
REFERENCE = Kind(text="the id of another element", matches=_NAME, is_reference=True)
BOOLEAN = one_of("true", "false", "1", "0")
INTEGER = Kind(text="a whole number", matches=_pattern(r"\s*[+-]?[0-9]+\s*"))
COUNT = Kind(text="a whole number, 0 or more", matches=_pattern(r"\s*\+?[0-9]+\s*"))
POSITIVE = Kind(text="a whole number, 1 or more", matches=_pattern(r"\s*\+?0*[1-9][0-9]*\s*"))
SCORE = Kind(
    text="a score: a whole number, INFINITY or -INFINITY", matches=_pattern(r"\s*[+-]?[0-9]+\s*|[+-]?INFINITY")
)
PORTS = Kind(text="a port or a range PORT-PORT", matches=_pattern(r"[0-9]+(-[0-9]+)?"))
DEVICES = Kind(text="device names separated by commas", matches=_pattern(r"[^,]+(,[^,]+)*"))
ROLE = one_of("Stopped", "Started", "Promoted", "Unpromoted", "Master", "Slave")
ACTION = one_of("start", "promote", "demote", "stop")
ORDER_KIND = one_of("Optional", "Mandatory", "Serialize")

Check = Callable[[Element], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One element. `children`: tag -> (least, most). `check`: what tables cannot say; its answer is the complaint."""

    attributes: Mapping[str, Kind] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    children: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    check: Check | None = None


def _any(*tags: str) -> dict[str, tuple[int, int]]:
    return dict.fromkeys(tags, (0, MANY))


# ---- conditions -----------------------------------------------------------------------------------------------------


def _resource_class(element: Element) -> str | None:
    if element.get("template") is not None and element.tag == "primitive":
        if element.get("class") is not None or element.get("type") is not None:
            return "has both template and class or type; keep one of them"
        return None
    if element.get("class") is None or element.get("type") is None:
        return "needs class and type" + (", or template" if element.tag == "primitive" else "")
    if element.get("class") == "ocf" and element.get("provider") is None:
        return 'needs provider (such as "heartbeat"), because its class is ocf'
    return None


def _one_resource(element: Element) -> str | None:
    count = sum(1 for child in element.iterchildren("primitive", "group"))
    return None if count == 1 else f"needs exactly one primitive or group inside, and has {count}"


def _one_container(element: Element) -> str | None:
    count = sum(1 for child in element.iterchildren("docker", "podman", "rkt"))
    return None if count == 1 else f"needs exactly one of docker, podman or rkt inside, and has {count}"


def _has_sets(element: Element) -> bool:
    return element.find("resource_set") is not None


def _location(element: Element) -> str | None:
    ways = [element.get("rsc") is not None, element.get("rsc-pattern") is not None, _has_sets(element)]
    if sum(ways) != 1:
        return "needs exactly one of rsc, rsc-pattern or resource_set"
    if _has_sets(element) and element.get("role") is not None:
        return "has role beside resource_set; put it on the set"
    if element.get("node") is not None:
        if element.get("score") is None:
            return "needs score beside node"
        if element.find("rule") is not None:
            return "has both node and rule; keep one of them"
        return None
    if element.get("score") is not None:
        return "has score but no node" if element.find("rule") is None else "has score beside a rule, which has its own"
    return None if element.find("rule") is not None else "needs node and score, or a rule"


def _pair_or_sets(first: str, second: str) -> Check:
    def check(element: Element) -> str | None:
        both = element.get(first) is not None and element.get(second) is not None
        neither = element.get(first) is None and element.get(second) is None
        if both and not _has_sets(element):
            return None
        if neither and _has_sets(element):
            return None
        return f"needs either {first} and {second}, or resource_set"

    return check


def _order(element: Element) -> str | None:
    if element.get("score") is not None and element.get("kind") is not None:
        return "has both score and kind; keep the latter"
    return _pair_or_sets("first", "then")(element)


def _ticket(element: Element) -> str | None:
    return None if (element.get("rsc") is not None) != _has_sets(element) else "needs either rsc or resource_set"


def _level(element: Element) -> str | None:
    by_attribute = element.get("target-attribute") is not None and element.get("target-value") is not None
    half = (element.get("target-attribute") is None) != (element.get("target-value") is None)
    ways = sum([element.get("target") is not None, element.get("target-pattern") is not None, by_attribute])
    return None if ways == 1 and not half else (
        "needs exactly one of target, target-pattern, or target-attribute with target-value"
    )  # fmt: skip


def _permission(element: Element) -> str | None:
    ways = [name for name in ("xpath", "reference", "object-type") if element.get(name) is not None]
    if len(ways) != 1:
        return "needs exactly one of xpath, reference or object-type"
    if element.get("attribute") is not None and ways != ["object-type"]:
        return "may have attribute only beside object-type"
    return None


def _only_reference(element: Element, allowed: tuple[str, ...]) -> str | None:
    if element.get("id") is not None:
        return "has both id and id-ref; keep one of them"
    if set(element.attrib) - {"id-ref", *allowed} or element.find("*") is not None:
        return "has more than id-ref; what it refers to says the rest"
    return None


def _id_or_reference(*needed: str) -> Check:
    def check(element: Element) -> str | None:
        if element.get("id-ref") is not None:
            return _only_reference(element, needed)
        for name in ("id", *needed):
            if element.get(name) is None:
                return f"needs {name}" + (" or id-ref" if name == "id" else "")
        return None

    return check


def _set(element: Element) -> str | None:
    complaint = _id_or_reference()(element)
    if complaint is not None or element.get("id-ref") is not None:
        return complaint
    if element.get("score") is not None and element.get("kind") is not None:
        return "has both score and kind; keep one of them"
    return None if element.find("resource_ref") is not None else "needs at least one resource_ref inside"


def _rule(element: Element) -> str | None:
    if element.get("id-ref") is not None:
        return _only_reference(element, ())
    if element.get("id") is None:
        return "needs id or id-ref"
    if element.get("score") is not None and element.get("score-attribute") is not None:
        return "has both score and score-attribute; keep one of them"
    if not any(True for _ in element.iterchildren(*_CONDITIONS)):
        return "needs at least one expression inside"
    return None


def _date(element: Element) -> str | None:
    operation = element.get("operation")
    start, end = element.get("start") is not None, element.get("end") is not None
    if operation in (None, "in_range"):
        return None if start or end else "needs start or end, because its operation is in_range"
    if operation == "gt":
        return None if start else "needs start, because its operation is gt"
    if operation == "lt":
        return None if end else "needs end, because its operation is lt"
    return None if element.find("date_spec") is not None else "needs a date_spec inside"


def _port(element: Element) -> str | None:
    return None if (element.get("port") is None) != (element.get("range") is None) else "needs either port or range"


def _source(element: Element) -> str | None:
    both = (element.get("source-dir") is None) != (element.get("source-dir-root") is None)
    return None if both else "needs either source-dir or source-dir-root"


def _promoted_max(element: Element) -> str | None:
    both = element.get("masters") is not None and element.get("promoted-max") is not None
    return "has both masters and promoted-max; keep the latter" if both else None


def _old_acl(element: Element) -> str | None:
    if element.get("tag") is None and element.get("ref") is None and element.get("xpath") is None:
        return "needs tag, ref or xpath"
    return None


# ---- the elements ---------------------------------------------------------------------------------------------------

_CONDITIONS = ("expression", "date_expression", "rsc_expression", "op_expression", "rule")
_DATE_PARTS = dict.fromkeys(
    ("years", "months", "weeks", "days", "hours", "minutes", "seconds", "monthdays", "weekdays", "yearsdays",
     "yeardays", "weekyears", "moon"), TEXT,
)  # fmt: skip
_NVSET = Shape(
    attributes={"id": ID, "id-ref": REFERENCE, "score": SCORE},
    children={"nvpair": (0, MANY), "rule": (0, 1)},
    check=_id_or_reference(),
)
_EXTRA = _any("meta_attributes", "instance_attributes")
_CONTAINER = Shape(
    attributes={
        "image": TEXT, "replicas": INTEGER, "replicas-per-host": INTEGER, "masters": INTEGER, "promoted-max": INTEGER,
        "run-command": TEXT, "network": TEXT, "options": TEXT,
    },
    required=("image",),
    check=_promoted_max,
)  # fmt: skip
_CLONE = Shape(
    attributes={"id": ID, "description": TEXT}, required=("id",), children=_EXTRA | _any("primitive", "group"),
    check=_one_resource,
)  # fmt: skip
_CLASS = one_of("ocf", "lsb", "heartbeat", "stonith", "upstart", "service", "systemd", "nagios")
_OLD_ACL = Shape(
    attributes={"id": ID, "tag": TEXT, "ref": REFERENCE, "xpath": TEXT, "attribute": TEXT},
    required=("id",),
    check=_old_acl,
)
_ROLE_NAMED = Shape(attributes={"id": REFERENCE}, required=("id",))
_ACL_TARGET = Shape(attributes={"id": TEXT, "name": TEXT}, required=("id",), children=_any("role"))
_ACL_GROUP = Shape(attributes={"id": ID, "name": TEXT}, required=("id",), children=_any("role"))
_SETS_OR_LIFETIME = {"resource_set": (0, MANY), "lifetime": (0, 1)}

ELEMENTS: dict[str, Shape] = {
    "configuration": Shape(
        children={
            "crm_config": (1, 1), "nodes": (1, 1), "resources": (1, 1), "constraints": (1, 1), "rsc_defaults": (0, 1),
            "op_defaults": (0, 1), "fencing-topology": (0, 1), "acls": (0, 1), "tags": (0, 1), "alerts": (0, 1),
        }
    ),
    "crm_config": Shape(children=_any("cluster_property_set")),
    "rsc_defaults": Shape(children=_any("meta_attributes")),
    "op_defaults": Shape(children=_any("meta_attributes")),
    "cluster_property_set": _NVSET,
    "meta_attributes": _NVSET,
    "instance_attributes": _NVSET,
    "utilization": _NVSET,
    "nvpair": Shape(
        attributes={"id": ID, "id-ref": REFERENCE, "name": TEXT, "value": TEXT}, check=_id_or_reference("name")
    ),
    # nodes
    "nodes": Shape(children=_any("node")),
    "node": Shape(
        attributes={"id": TEXT, "uname": TEXT, "type": one_of("normal", "member", "ping", "remote"),
                    "description": TEXT, "score": SCORE},
        required=("id", "uname"),
        children=_any("instance_attributes", "utilization"),
    ),
    # resources
    "resources": Shape(children=_any("primitive", "template", "group", "clone", "master", "bundle")),
    "primitive": Shape(
        attributes={"id": ID, "class": _CLASS, "provider": TEXT, "type": TEXT, "template": REFERENCE,
                    "description": TEXT},
        required=("id",),
        children=_EXTRA | {"operations": (0, 1), "utilization": (0, MANY)},
        check=_resource_class,
    ),
    "template": Shape(
        attributes={"id": ID, "class": _CLASS, "provider": TEXT, "type": TEXT, "description": TEXT},
        required=("id",),
        children=_EXTRA | {"operations": (0, 1), "utilization": (0, MANY)},
        check=_resource_class,
    ),
    "group": Shape(
        attributes={"id": ID, "description": TEXT}, required=("id",), children=_EXTRA | {"primitive": (1, MANY)}
    ),
    "clone": _CLONE,
    "master": _CLONE,
    "bundle": Shape(
        attributes={"id": ID, "description": TEXT},
        required=("id",),
        children=_EXTRA | {"docker": (0, 1), "podman": (0, 1), "rkt": (0, 1), "network": (0, 1), "storage": (0, 1),
                           "primitive": (0, 1)},
        check=_one_container,
    ),
    "docker": _CONTAINER,
    "podman": _CONTAINER,
    "rkt": _CONTAINER,
    "network": Shape(
        attributes={"ip-range-start": TEXT, "control-port": INTEGER, "host-interface": TEXT, "host-netmask": INTEGER,
                    "add-host": BOOLEAN},
        children=_any("port-mapping"),
    ),
    "port-mapping": Shape(
        attributes={"id": ID, "port": INTEGER, "internal-port": INTEGER, "range": PORTS}, required=("id",), check=_port
    ),
    "storage": Shape(children=_any("storage-mapping")),
    "storage-mapping": Shape(
        attributes={"id": ID, "source-dir": TEXT, "source-dir-root": TEXT, "target-dir": TEXT, "options": TEXT},
        required=("id", "target-dir"),
        check=_source,
    ),
    "operations": Shape(attributes={"id": ID, "id-ref": REFERENCE}, children=_any("op")),
    "op": Shape(
        attributes={
            "id": ID, "name": TEXT, "interval": TEXT, "description": TEXT, "start-delay": TEXT, "interval-origin": TEXT,
            "timeout": TEXT, "enabled": BOOLEAN, "record-pending": BOOLEAN, "role": ROLE,
            "requires": one_of("nothing", "quorum", "fencing", "unfencing"),
            "on-fail": one_of("ignore", "block", "demote", "stop", "restart", "standby", "fence", "restart-container"),
        },
        required=("id", "name", "interval"),
        children=_EXTRA,
    ),
    # constraints
    "constraints": Shape(children=_any("rsc_location", "rsc_colocation", "rsc_order", "rsc_ticket")),
    "rsc_location": Shape(
        attributes={"id": ID, "rsc": REFERENCE, "rsc-pattern": TEXT, "role": ROLE, "node": TEXT, "score": SCORE,
                    "resource-discovery": one_of("always", "never", "exclusive")},
        required=("id",),
        children=_SETS_OR_LIFETIME | {"rule": (0, MANY)},
        check=_location,
    ),
    "rsc_colocation": Shape(
        attributes={
            "id": ID, "rsc": REFERENCE, "with-rsc": REFERENCE, "score": SCORE, "rsc-role": ROLE, "with-rsc-role": ROLE,
            "node-attribute": TEXT, "influence": TEXT, "rsc-instance": INTEGER, "with-rsc-instance": INTEGER,
            "score-attribute": TEXT, "score-attribute-mangle": TEXT,
        },
        required=("id",),
        children=_SETS_OR_LIFETIME,
        check=_pair_or_sets("rsc", "with-rsc"),
    ),
    "rsc_order": Shape(
        attributes={
            "id": ID, "first": REFERENCE, "then": REFERENCE, "first-action": ACTION, "then-action": ACTION,
            "symmetrical": BOOLEAN, "require-all": BOOLEAN, "score": SCORE, "kind": ORDER_KIND,
            "first-instance": INTEGER, "then-instance": INTEGER,
        },
        required=("id",),
        children=_SETS_OR_LIFETIME,
        check=_order,
    ),
    "rsc_ticket": Shape(
        attributes={"id": ID, "rsc": REFERENCE, "rsc-role": ROLE, "ticket": TEXT,
                    "loss-policy": one_of("stop", "demote", "fence", "freeze")},
        required=("id", "ticket"),
        children={"resource_set": (0, MANY)},
        check=_ticket,
    ),
    "resource_set": Shape(
        attributes={
            "id": ID, "id-ref": REFERENCE, "sequential": BOOLEAN, "require-all": BOOLEAN, "action": ACTION,
            "role": ROLE, "ordering": one_of("group", "listed"), "score": SCORE, "kind": ORDER_KIND,
        },
        children=_any("resource_ref"),
        check=_set,
    ),
    "resource_ref": _ROLE_NAMED,
    "lifetime": Shape(children={"rule": (1, MANY)}),
    # rules
    "rule": Shape(
        attributes={"id": ID, "id-ref": REFERENCE, "score": SCORE, "score-attribute": TEXT, "role": TEXT,
                    "boolean-op": one_of("or", "and")},
        children=_any(*_CONDITIONS),
        check=_rule,
    ),
    "expression": Shape(
        attributes={
            "id": ID, "attribute": TEXT, "value": TEXT,
            "operation": one_of("lt", "gt", "lte", "gte", "eq", "ne", "defined", "not_defined"),
            "type": one_of("string", "integer", "number", "version"),
            "value-source": one_of("literal", "param", "meta"),
        },
        required=("id", "attribute", "operation"),
    ),
    "date_expression": Shape(
        attributes={"id": ID, "operation": one_of("in_range", "gt", "lt", "date_spec"), "start": TEXT, "end": TEXT},
        required=("id",),
        children={"duration": (0, 1), "date_spec": (0, 1)},
        check=_date,
    ),
    "duration": Shape(attributes={"id": ID, **_DATE_PARTS}, required=("id",)),
    "date_spec": Shape(attributes={"id": ID, **_DATE_PARTS}, required=("id",)),
    "rsc_expression": Shape(attributes={"id": ID, "class": TEXT, "provider": TEXT, "type": TEXT}, required=("id",)),
    "op_expression": Shape(attributes={"id": ID, "name": TEXT, "interval": TEXT}, required=("id", "name")),
    # fencing, acls, tags, alerts
    "fencing-topology": Shape(children=_any("fencing-level")),
    "fencing-level": Shape(
        attributes={"id": ID, "target": TEXT, "target-pattern": TEXT, "target-attribute": TEXT, "target-value": TEXT,
                    "index": POSITIVE, "devices": DEVICES},
        required=("id", "index", "devices"),
        check=_level,
    ),
    "acls": Shape(children=_any("acl_target", "acl_group", "acl_role", "acl_user")),
    "acl_target": _ACL_TARGET,
    "acl_group": _ACL_GROUP,
    "acl_role": Shape(
        attributes={"id": ID, "description": TEXT}, required=("id",),
        children=_any("acl_permission", "read", "write", "deny"),
    ),
    "acl_user": Shape(attributes={"id": ID}, required=("id",), children=_any("role_ref", "read", "write", "deny")),
    "role": _ROLE_NAMED,
    "role_ref": _ROLE_NAMED,
    "acl_permission": Shape(
        attributes={"id": ID, "kind": one_of("read", "write", "deny"), "xpath": TEXT, "reference": REFERENCE,
                    "object-type": TEXT, "attribute": TEXT, "description": TEXT},
        required=("id", "kind"),
        check=_permission,
    ),
    "read": _OLD_ACL,
    "write": _OLD_ACL,
    "deny": _OLD_ACL,
    "tags": Shape(children=_any("tag")),
    "tag": Shape(attributes={"id": ID}, required=("id",), children={"obj_ref": (1, MANY)}),
    "obj_ref": Shape(attributes={"id": TEXT}, required=("id",)),
    "alerts": Shape(children=_any("alert")),
    "alert": Shape(
        attributes={"id": ID, "description": TEXT, "path": TEXT}, required=("id", "path"),
        children=_EXTRA | {"select": (0, 1), "recipient": (0, MANY)},
    ),
    "recipient": Shape(
        attributes={"id": ID, "description": TEXT, "value": TEXT}, required=("id", "value"), children=_EXTRA
    ),
    "select": Shape(
        children=dict.fromkeys(("select_attributes", "select_fencing", "select_nodes", "select_resources"), (0, 1))
    ),
    "select_attributes": Shape(children=_any("attribute")),
    "select_fencing": Shape(),
    "select_nodes": Shape(),
    "select_resources": Shape(),
    "attribute": Shape(attributes={"id": ID, "name": TEXT}, required=("id", "name")),
}  # fmt: skip

ROOT = Shape(
    attributes={
        "crm_feature_set": TEXT, "validate-with": TEXT, "epoch": COUNT, "num_updates": COUNT, "admin_epoch": COUNT,
        "remote-tls-port": COUNT, "remote-clear-port": COUNT, "have-quorum": BOOLEAN, "dc-uuid": TEXT,
        "no-quorum-panic": BOOLEAN, "cib-last-written": TEXT, "update-origin": TEXT, "update-client": TEXT,
        "update-user": TEXT, "execution-date": TEXT, "generated": TEXT, "cib_feature_revision": TEXT,
        "cib_feature_revision_max": TEXT, "ignore_dtd": TEXT, "ccm_transition": TEXT, "num_peers": TEXT,
        "last_written": TEXT, "debug_source": TEXT, "origin": TEXT, "request_id": TEXT, "crm-debug-origin": TEXT,
        "num_peers_seen": TEXT, "cib-origin": TEXT,
    },
    required=("epoch", "num_updates", "admin_epoch"),
    children={"configuration": (1, 1), "status": (0, 1)},
)  # fmt: skip

# elements whose id is a name of something outside the document, and need not be unique
OUTSIDE_IDS = frozenset({"node", "acl_target", "obj_ref", "resource_ref", "role", "role_ref"})
SCHEMA_NAMES = re.compile(r"none|pacemaker-next|pacemaker-0\.[67]|transitional-0\.6|pacemaker-1\.[0-3]"
                          r"|pacemaker-2\.(10|[0-9])|pacemaker-3\.(10|[0-9])|pacemaker-4\.[0-9]+")  # fmt: skip
