"""Rules of the CIB: which conditions hold for a node, a resource, an operation and a moment.

Evaluates <rule> elements with <expression>, <date_expression>, <rsc_expression>, <op_expression> and nested rules.
Says also when the answer may change next, so that the cluster can look again then.
Source: Pacemaker Explained, "Rules".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .time import Duration, add_duration, calendar_moment, parse_interval_ms, parse_moment

if TYPE_CHECKING:
    from lxml import etree

_EMPTY: Mapping[str, str] = {}


@dataclass(slots=True)
class RuleInput:
    """What a rule may look at. A part that is None makes the conditions that need it false."""

    now: int
    node_attributes: Mapping[str, str] | None = None
    resource_class: str | None = None
    resource_provider: str | None = None
    resource_type: str | None = None
    operation: str | None = None
    operation_interval_ms: int = 0
    parameters: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)
    match: re.Match[str] | None = None  # of a resource pattern: %0..%9 in attribute names
    next_change: int | None = None  # set by evaluation
    problems: list[str] = field(default_factory=list)

    def may_change_at(self, moment: int) -> None:
        if moment > self.now and (self.next_change is None or moment < self.next_change):
            self.next_change = moment


def evaluate_rule(rule: etree._Element, given: RuleInput) -> bool:
    """Whether `rule` holds. Conditions that cannot be understood count as not held and are told in `given.problems`."""
    any_of = rule.get("boolean-op") == "or"
    results = [evaluate_condition(child, given) for child in rule if isinstance(child.tag, str)]
    if not results:
        return not any_of
    return any(results) if any_of else all(results)


def evaluate_condition(condition: etree._Element, given: RuleInput) -> bool:
    tag = condition.tag
    if tag == "rule":
        return evaluate_rule(condition, given)
    if tag == "expression":
        return _evaluate_expression(condition, given)
    if tag == "date_expression":
        return _evaluate_date(condition, given)
    if tag == "rsc_expression":
        return _evaluate_resource(condition, given)
    if tag == "op_expression":
        return _evaluate_operation(condition, given)
    given.problems.append(f"<{tag} id='{condition.get('id')}'> is not a rule's condition")
    return False


def _evaluate_resource(condition: etree._Element, given: RuleInput) -> bool:
    if given.resource_class is None:
        return False
    return (
        condition.get("class") in (None, given.resource_class)
        and condition.get("provider") in (None, given.resource_provider)
        and condition.get("type") in (None, given.resource_type)
    )


def _evaluate_operation(condition: etree._Element, given: RuleInput) -> bool:
    if given.operation is None or condition.get("name") != given.operation:
        return False
    interval = condition.get("interval")
    return interval is None or parse_interval_ms(interval, -1) == given.operation_interval_ms


# ---- node attributes --------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?)")


def _as_number(text: str) -> float | None:
    match = _NUMBER.match(text.strip())
    return None if match is None else float(match[0])


def _as_integer(text: str) -> int | None:
    number = _as_number(text)
    return None if number is None else int(number)


def _version_key(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)]


def compare_values(left: str | None, right: str | None, kind: str) -> int:
    """-1, 0 or 1. A value that is not of its kind makes the comparison one of strings."""
    if left is None or right is None:
        return (left is not None) - (right is not None)
    if kind in ("integer", "number"):
        convert = _as_integer if kind == "integer" else _as_number
        first, second = convert(left), convert(right)
        if first is not None and second is not None:
            return (first > second) - (first < second)
    elif kind == "version":
        one, two = _version_key(left), _version_key(right)
        width = max(len(one), len(two))
        one += [0] * (width - len(one))
        two += [0] * (width - len(two))
        return (one > two) - (one < two)
    folded, other = left.lower(), right.lower()
    return (folded > other) - (folded < other)


def _evaluate_expression(condition: etree._Element, given: RuleInput) -> bool:
    if given.node_attributes is None:
        return False
    name = condition.get("attribute")
    operation = condition.get("operation")
    if name is None or operation is None:
        given.problems.append(f"expression '{condition.get('id')}' needs an attribute and an operation")
        return False
    if given.match is not None:
        name = _expand_match(name, given.match)
    actual = given.node_attributes.get(name)
    if operation == "defined":
        return actual is not None
    if operation == "not_defined":
        return actual is None
    wanted = condition.get("value")
    source = condition.get("value-source", "literal")
    if wanted is not None and source == "param":
        wanted = given.parameters.get(wanted)
    elif wanted is not None and source == "meta":
        wanted = given.meta.get(wanted)
    kind = condition.get("type")
    if kind is None:
        kind = "string"
        if operation in ("lt", "lte", "gt", "gte"):
            kind = "number" if "." in (actual or "") or "." in (wanted or "") else "integer"
    order = compare_values(actual, wanted, kind)
    if operation == "eq":
        return order == 0
    if operation == "ne":
        return order != 0
    if actual is None or wanted is None:
        return False
    if operation == "lt":
        return order < 0
    if operation == "lte":
        return order <= 0
    if operation == "gt":
        return order > 0
    if operation == "gte":
        return order >= 0
    given.problems.append(f"expression '{condition.get('id')}': unknown operation '{operation}'")
    return False


def _expand_match(text: str, match: re.Match[str]) -> str:
    def group(found: re.Match[str]) -> str:
        number = int(found[1])
        return (match[number] or "") if number <= (match.re.groups or 0) else ""

    return re.sub(r"%(\d)", group, text)


# ---- dates ------------------------------------------------------------------------------------------------------


def duration_of(element: etree._Element) -> Duration:
    """The <duration> element as a span. Raises ValueError."""
    return Duration(
        years=int(element.get("years", 0)), months=int(element.get("months", 0)), weeks=int(element.get("weeks", 0)),
        days=int(element.get("days", 0)), hours=int(element.get("hours", 0)), minutes=int(element.get("minutes", 0)),
        seconds=int(element.get("seconds", 0)),
    )


def _evaluate_date(condition: etree._Element, given: RuleInput) -> bool:
    try:
        return _date_holds(condition, given)
    except ValueError as error:
        given.problems.append(f"date_expression '{condition.get('id')}': {error}")
        return False


def _date_holds(condition: etree._Element, given: RuleInput) -> bool:
    now = given.now
    operation = condition.get("operation", "in_range")
    start_text, end_text = condition.get("start"), condition.get("end")
    start = parse_moment(start_text, now) if start_text is not None else None
    end = parse_moment(end_text, now) if end_text is not None else None
    if operation == "date_spec":
        spec = condition.find("date_spec")
        if spec is None:
            raise ValueError("operation date_spec without a date_spec element")
        return _spec_holds(spec, now)
    if operation == "gt":
        if start is None:
            raise ValueError("operation gt needs a start")
        if now > start:
            return True
        given.may_change_at(start + 1)
        return False
    if operation == "lt":
        if end is None:
            raise ValueError("operation lt needs an end")
        if now < end:
            given.may_change_at(end)
            return True
        return False
    if operation != "in_range":
        raise ValueError(f"unknown operation '{operation}'")
    if start is None and end is None:
        raise ValueError("operation in_range needs a start or an end")
    duration = condition.find("duration")
    if end is None and start is not None and duration is not None:
        end = add_duration(start, duration_of(duration))
    if start is not None and now < start:
        given.may_change_at(start)
        return False
    if end is not None:
        if now > end:
            return False
        given.may_change_at(end + 1)
    return True


def _spec_holds(spec: etree._Element, now: int) -> bool:
    fields = calendar_moment(now)._asdict()
    for name, text in spec.attrib.items():
        name = str(name)
        if name in ("id", "moon"):
            continue
        if name not in fields:
            raise ValueError(f"date_spec has no field '{name}'")
        if not _in_range(fields[name], str(text)):
            return False
    return True


_RANGE = re.compile(r"^(\d*)(?:(-)(\d*))?$")


def _in_range(value: int, text: str) -> bool:
    match = _RANGE.match(text.strip())
    if match is None or not text.strip():
        raise ValueError(f"'{text}' is not a range")
    low, dash, high = match.groups()
    if dash is None:
        return value == int(low)
    return (not low or value >= int(low)) and (not high or value <= int(high))
