"""crm_attribute: query and update cluster options, defaults and node attributes."""

from __future__ import annotations

from ..backends import Backend, open_backend
from ..commands import attributes
from ..commands.attributes import Found, Selection
from ..failure import CommandFailed, Exit, errno_text
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, OUTPUT_OPTIONS, Parsed, Table, begin, opt
from .output import Output, run_with_output

_SELECT, _COMMAND, _MORE = "Selecting attributes", "Commands", "Additional options"
TABLE = Table(
    "crm_attribute",
    "crm_attribute - query and update Pacemaker cluster options and node attributes",
    (
        *OUTPUT_OPTIONS,
        opt(
            "i id attr-id",
            "(Advanced) Operate on instance of specified attribute with this XML ID",
            "XML_ID",
            group=_SELECT,
        ),
        opt(
            "n name attr-name",
            "Operate on attribute or option with this name. For queries, this is optional, in which "
            "case all matching attributes will be returned.",
            "NAME",
            group=_SELECT,
        ),
        opt(
            "P pattern",
            "Operate on all attributes matching this pattern (with -G, or with -v/-D and -l reboot)",
            "PATTERN",
            group=_SELECT,
        ),
        opt(
            "p promotion",
            "Operate on node attribute used as promotion score for specified resource, or resource given in "
            "OCF_RESOURCE_INSTANCE environment variable if none is specified; this also defaults -l/--lifetime to reboot",
            "RESOURCE",
            optional=True,
            group=_SELECT,
        ),
        opt(
            "s set-name",
            "(Advanced) Operate on instance of specified attribute that is within set with this XML ID",
            "NAME",
            group=_SELECT,
        ),
        opt("D delete delete-attr", "Delete the attribute/option", group=_COMMAND),
        opt("G query get-value", "Query the current value of the attribute/option.", group=_COMMAND),
        opt("v update attr-value", "Update the value of the attribute/option", "VALUE", group=_COMMAND),
        opt("d default", "(Advanced) Default value to display if none is found in configuration", "VALUE", group=_MORE),
        opt("l lifetime", "Lifetime of the node attribute. Valid values: reboot, forever", "LIFETIME", group=_MORE),
        opt(
            "N node uname node-uname",
            "Set a node attribute for named node (instead of a cluster option).",
            "NODE",
            group=_MORE,
        ),
        opt("U", "Old name of -N", "NODE", group=_MORE, hidden=True),
        opt(
            "t type",
            "Which part of the configuration to update/delete/query the option in. Valid values: crm_config, "
            "rsc_defaults, op_defaults, tickets, nodes, status",
            "SECTION",
            group=_MORE,
        ),
        opt("z utilization", "Set an utilization attribute for the node.", group=_MORE),
        opt("Q", "Old name of -q", group=_MORE, hidden=True),
        opt("u uuid node-uuid", "Old name of -N, by id", "ID", group=_MORE, hidden=True),
        opt("q quiet", "Print only the value on stdout", group="Application Options"),
        *APPLICATION_OPTIONS,
    ),
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    return run_with_output(call, parsed, lambda output: _run(call, parsed, output))


def _run(call: Invocation, parsed: Parsed, output: Output) -> int:
    selection = _selection(call, parsed)
    command = parsed.last_of("query", "update", "delete")
    backend = open_backend(call)
    try:
        if command is None or command[0] == "query":
            return _query(parsed, output, backend, selection)
        if command[0] == "update":
            return _update(call, backend, selection, command[1])
        found = attributes.delete(backend, selection)
        if found is not None and "quiet" not in parsed and "Q" not in parsed and not output.xml:
            kind = "option" if selection.section in attributes.OPTION_SECTIONS else "attribute"
            output.line(f"Deleted {selection.section} {kind}: id={found.id} name={found.name}")
        return 0
    finally:
        backend.close()


def _update(call: Invocation, backend: Backend, selection: Selection, value: str) -> int:
    try:
        attributes.set_value(backend, selection, value)
    except CommandFailed as failure:
        if failure.code == Exit.NOSUCH and not failure.message.startswith("Could not map"):
            call.error(f"Error setting {selection.name}={value} (section={selection.section}): {failure.message}")
            raise CommandFailed(failure.code, f"Error performing operation: {errno_text(failure.code)}") from None
        raise
    return 0


def _selection(call: Invocation, parsed: Parsed) -> Selection:
    name = parsed.get("name")
    lifetime = parsed.get("lifetime")
    if "promotion" in parsed:
        resource = parsed.text("promotion") or call.environ.get("OCF_RESOURCE_INSTANCE", "")
        if not resource:
            raise CommandFailed(
                Exit.USAGE, "-p/--promotion must be called from an OCF resource agent or with a resource ID specified"
            )
        name = attributes.promotion_score_name(resource)
        lifetime = lifetime or "reboot"
    node = parsed.get("node") or parsed.get("U") or parsed.get("uuid")
    section = _section(parsed, node, lifetime, "promotion" in parsed)
    if section in ("nodes", "status") and node is None:
        node = call.environ.get("OCF_RESKEY_CRM_meta_on_node") or call.environ.get("CRM_meta_on_node")
    return Selection(
        section=section,
        node=node,
        name=name,
        pattern=parsed.get("pattern"),
        set_id=parsed.get("set-name"),
        pair_id=parsed.get("id"),
        utilization="utilization" in parsed,
    )


def _section(parsed: Parsed, node: str | None, lifetime: str | None, promotion: bool) -> str:
    section = parsed.get("type")
    if lifetime in ("reboot", "status"):
        return "status"
    if lifetime in ("forever", "nodes"):
        return "nodes" if section in (None, "nodes", "status") else str(section)
    if lifetime is not None:
        raise CommandFailed(Exit.USAGE, f"Invalid lifetime {lifetime!r}: it is reboot or forever")
    if section is None:
        return "nodes" if node is not None or "utilization" in parsed or promotion else "crm_config"
    if section not in attributes.SECTIONS:
        raise CommandFailed(Exit.NOSUCH, f"Unknown section {section!r}: one of {', '.join(attributes.SECTIONS)}")
    return section


def _query(parsed: Parsed, output: Output, backend: Backend, selection: Selection) -> int:
    try:
        found = attributes.find(backend, selection)
    except CommandFailed as failure:
        if failure.code != Exit.NOSUCH or parsed.get("default") is None or failure.message.startswith("Could not map"):
            raise
        found = []
    default = parsed.get("default")
    if not found and default is not None and selection.name is not None:
        _show(parsed, output, selection, Found(name=selection.name, value=default, host=selection.node), host=True)
        return 0
    if not found:
        raise CommandFailed(Exit.NOSUCH, f"Error performing operation: {errno_text(Exit.NOSUCH)}")
    for entry in found:
        _show(parsed, output, selection, entry)
    return 0


def _show(parsed: Parsed, output: Output, selection: Selection, found: Found, *, host: bool = False) -> None:
    if output.xml:
        element = output.element("attribute", name=found.name, value=found.value, scope=selection.section)
        if host and found.host:
            element.set("host", found.host)
    elif "quiet" in parsed or "Q" in parsed:
        output.line(found.value)
    else:
        output.line(f"scope={selection.section}  name={found.name} value={found.value}")
