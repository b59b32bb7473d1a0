"""crm_rule: whether a rule of the configuration holds now or at a given time."""

from __future__ import annotations

from lxml import etree

from quorate.model.cib import Cib, CibError, parse_fragment
from quorate.model.rules import RuleInput, evaluate_rule
from quorate.model.time import parse_moment

from ..backends import open_backend
from ..failure import CommandFailed, Exit
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, OUTPUT_OPTIONS, Parsed, Table, begin, opt
from .output import Output, run_with_output

TABLE = Table(
    "crm_rule",
    "evaluate rules from the Pacemaker configuration",
    (
        *OUTPUT_OPTIONS,
        opt("c check", "Check whether a rule is in effect", group="Modes (mutually exclusive)"),
        opt("X xml-text", "Use argument for XML (or stdin if '-')", "XML", group="Data"),
        opt("d date", "Whether the rule is in effect on a given date", "DATE", group="Additional Options"),
        opt(
            "r rule", "The ID of the rule to check (may be specified multiple times)", "ID", group="Additional Options"
        ),
        *APPLICATION_OPTIONS,
    ),
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    return run_with_output(call, parsed, lambda output: _run(call, parsed, output))


def _run(call: Invocation, parsed: Parsed, output: Output) -> int:
    if "check" not in parsed:
        raise CommandFailed(Exit.USAGE, "No mode operation given: use --check")
    ids = parsed.all("rule")
    if not ids:
        raise CommandFailed(Exit.USAGE, "--check requires use of --rule=")
    root = _document(call, parsed)
    now = _moment(call, parsed)
    worst = 0
    for id in ids:
        code, text = check(root, id, now)
        if output.xml:
            output.element("rule-check", **{"rule-id": id, "rc": str(code)})
        elif code in (0, Exit.EXPIRED, Exit.NOT_YET_IN_EFFECT, Exit.UNSATISFIED):
            output.line(text)
        else:
            call.error(text)
        worst = worst or code
    return worst


def _document(call: Invocation, parsed: Parsed) -> etree._Element:
    text = parsed.get("xml-text")
    if text is None:
        backend = open_backend(call)
        try:
            return backend.cib().root
        finally:
            backend.close()
    try:
        data = call.read_input() if text == "-" else text.encode(errors="surrogateescape")
        return Cib(parse_fragment(data)).root
    except CibError as error:
        raise CommandFailed(Exit.DATAERR, f"Couldn't parse input string: {error}") from None


def _moment(call: Invocation, parsed: Parsed) -> int:
    text = parsed.get("date")
    if text is None:
        return int(call.wall())
    try:
        return parse_moment(text)
    except ValueError as error:
        raise CommandFailed(Exit.DATAERR, f"Invalid date {text!r}: {error}") from None


def check(root: etree._Element, id: str, now: int) -> tuple[int, str]:
    """Exit code and sentence for one rule. Only rules with exactly one date expression can be told apart in time."""
    found = [e for e in root.iter("rule") if e.get("id") == id]
    if not found:
        return Exit.NOSUCH, f"Could not determine whether rule {id} is in effect: Rule not found"
    rule = found[0]
    dates = rule.findall("date_expression")
    if len(dates) != 1 or len(rule) != 1:
        return Exit.UNIMPLEMENT_FEATURE, (
            f"Could not determine whether rule {id} is in effect: Rule must contain exactly one date_expression"
        )
    if evaluate_rule(rule, RuleInput(now=now)):
        return 0, f"Rule {id} is still in effect"
    date = dates[0]
    start, end = _edge(date.get("start")), _edge(date.get("end"))
    operation = date.get("operation") or "in_range"
    if operation in ("in_range", "lt", "date_spec") and end is not None and now >= end:
        return Exit.EXPIRED, f"Rule {id} is expired"
    if operation in ("in_range", "gt") and start is not None and now <= start:
        return Exit.NOT_YET_IN_EFFECT, f"Rule {id} has not yet taken effect"
    return Exit.UNSATISFIED, f"Rule {id} is not in effect"


def _edge(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_moment(text)
    except ValueError:
        return None
