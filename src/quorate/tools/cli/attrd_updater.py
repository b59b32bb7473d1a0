"""attrd_updater: query and update transient node attributes, as resource agents do."""

from __future__ import annotations

from quorate.model.time import parse_interval_ms

from ..backends import Backend, open_backend
from ..commands import attributes
from ..commands.attributes import Selection
from ..failure import CommandFailed, Exit
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, OUTPUT_OPTIONS, Parsed, Table, begin, opt
from .output import Output, run_with_output

_COMMAND, _MORE = "Command", "Additional Options"
TABLE = Table(
    "attrd_updater",
    "query and update Pacemaker node attributes",
    (
        *OUTPUT_OPTIONS,
        opt("n name", "The attribute's name", "NAME", group="Required Arguments"),
        opt(
            "P pattern",
            "Operate on all attributes matching this regular expression (with -D or -v)",
            "PATTERN",
            group="Required Arguments",
        ),
        opt(
            "U update",
            "Update attribute's value; if it changes, also the cluster configuration's status",
            "VALUE",
            group=_COMMAND,
        ),
        opt(
            "B update-both",
            "Update attribute's value and time to wait (dampening). Requires -d/--delay",
            "VALUE",
            group=_COMMAND,
        ),
        opt("Y update-delay", "Update attribute's dampening. Requires -d/--delay", group=_COMMAND),
        opt("Q query", "Query the attribute's value", group=_COMMAND),
        opt("D delete", "Unset the attribute", group=_COMMAND),
        opt("R refresh", "(Advanced) Resend all current values to the CIB (nothing to do here)", group=_COMMAND),
        opt("v", "Old name of -U", "VALUE", group=_COMMAND, hidden=True),
        opt(
            "d delay",
            "The time to wait (dampening) in seconds for further changes before sending to the CIB",
            "SECONDS",
            group=_MORE,
        ),
        opt("s set", "(Advanced) The attribute set in which to place the value", "SET", group=_MORE),
        opt("N node", "Set the attribute for the named node (instead of the local one)", "NODE", group=_MORE),
        opt("A all", "Show values of the attribute for all nodes (query only)", group=_MORE),
        opt("l lifetime", "(Not used) Lifetime of the node attribute", "SECTION", group=_MORE),
        opt("p private", "If this creates a new attribute, never write the attribute to CIB", group=_MORE),
        opt("z utilization", "The attribute is a utilization attribute", group=_MORE),
        opt("W wait", "Wait for some event to occur before returning: no, local or cluster", "VALUE", group=_MORE),
        opt("S", "Accepted for compatibility", "VALUE", group=_MORE, hidden=True),
        opt("q quiet", "Accepted for compatibility", group="Application Options", hidden=True),
        *APPLICATION_OPTIONS,
    ),
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    return run_with_output(call, parsed, lambda output: _run(call, parsed, output))


def _run(call: Invocation, parsed: Parsed, output: Output) -> int:
    command = parsed.last_of("update", "v", "update-both", "update-delay", "query", "delete", "refresh")
    if command is None:
        raise CommandFailed(Exit.USAGE, "Must specify a command: one of -U, -B, -Y, -Q, -D or -R")
    name, pattern = parsed.get("name"), parsed.get("pattern")
    kind, value = command
    if not name and not pattern and kind != "refresh":
        raise CommandFailed(Exit.USAGE, "Command requires --name or --pattern argument")
    delay_ms = _delay(parsed)
    if kind in ("update-both", "update-delay") and delay_ms is None:
        raise CommandFailed(Exit.USAGE, f"--{kind} requires --delay")
    node = parsed.get("node") or call.environ.get("OCF_RESKEY_CRM_meta_on_node")
    backend = open_backend(call)
    try:
        if kind == "query":
            return _query(parsed, output, str(name), "" if "all" in parsed else node, backend)
        if kind == "refresh" or kind == "update-delay":
            backend.status(cib=False)  # the log is the only store; a cluster must be there all the same
            return 0
        if not name and kind != "delete":
            attributes.set_value(backend, Selection(section="status", node=node, pattern=pattern), value)
            return 0
        backend.set_attribute(
            str(name or pattern),
            None if kind == "delete" else value,
            node=node,
            set_type="utilization" if "utilization" in parsed else "instance_attributes",
            set_id=parsed.get("set"),
            pattern=name is None,
            private="private" in parsed,
            delay_ms=delay_ms or 0,
        )
        return 0
    finally:
        backend.close()


def _delay(parsed: Parsed) -> int | None:
    text = parsed.get("delay")
    if text is None:
        return None
    delay = parse_interval_ms(text)
    if delay is None or delay < 0:
        raise CommandFailed(
            Exit.USAGE, f"--delay {text!r} is not a time: a number of seconds, or with a unit (5s, 100ms)"
        )
    return delay


def _query(parsed: Parsed, output: Output, name: str, node: str | None, backend: Backend) -> int:
    values = backend.attributes(name, node=node)
    if not values:
        raise CommandFailed(Exit.CONFIG, f"Could not query value of {name}: attribute does not exist")
    for entry in values:
        if output.xml:
            output.element("attribute", name=entry.name, value=entry.value, host=entry.node)
        else:
            output.line(f'name="{entry.name}" host="{entry.node}" value="{entry.value}"')
    return 0
