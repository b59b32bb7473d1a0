"""crm_resource: look at resources, move them, change their parameters, clean up after them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quorate.core.scheduler import WorkingSet
from quorate.core.scheduler.working_set import Resource
from quorate.model.time import parse_interval_ms

from ..backends import Backend, open_backend
from ..commands import locations, resources
from ..commands.agent_actions import TASKS
from ..commands.resources import INSTANCE, META, UTILIZATION
from ..failure import CommandFailed, Exit, exit_description
from ..invocation import Invocation
from ..monitor.resources import bundle_parts, nodes_of
from ..monitor.words import iso
from ..options import APPLICATION_OPTIONS, OUTPUT_OPTIONS, Parsed, Table, begin, opt
from . import resource_agents, resource_lists
from .output import Output, run_with_output

_QUERY, _COMMAND, _PLACE, _ADVANCED, _MORE = "Queries", "Commands", "Locations", "Advanced", "Additional Options"
TABLE = Table(
    "crm_resource",
    "crm_resource - perform tasks related to Pacemaker cluster resources",
    (
        *OUTPUT_OPTIONS,
        opt("L list", "List all cluster resources with status", group=_QUERY),
        opt(
            "l list-raw",
            "List IDs of all instantiated resources (individual members rather than groups etc.)",
            group=_QUERY,
        ),
        opt("c list-cts", "List resources in the form of the peer's test suite", group=_QUERY, hidden=True),
        opt(
            "O list-operations",
            "List active resource operations, optionally filtered by --resource and/or --node",
            group=_QUERY,
        ),
        opt(
            "o list-all-operations",
            "List all resource operations, optionally filtered by --resource and/or --node",
            group=_QUERY,
        ),
        opt("list-standards", "List supported standards", group=_QUERY),
        opt("list-ocf-providers", "List all available OCF providers", group=_QUERY),
        opt(
            "list-agents", "List all agents available for the named standard and/or provider", "STD:PROV", group=_QUERY
        ),
        opt("list-ocf-alternatives", "List all available providers for the named OCF agent", "AGENT", group=_QUERY),
        opt("show-metadata", "Show the metadata for the named class:provider:agent", "SPEC", group=_QUERY),
        opt("q query-xml", "Show XML configuration of resource (after any template expansion)", group=_QUERY),
        opt("w query-xml-raw", "Show XML configuration of resource (before any template expansion)", group=_QUERY),
        opt(
            "g get-parameter",
            "Display named parameter for resource (use instance attribute unless --meta or --utilization is specified)",
            "PARAM",
            group=_QUERY,
        ),
        opt(
            "G get-property",
            "Display named property of resource ('type', 'class', 'provider')",
            "PROPERTY",
            group=_QUERY,
        ),
        opt("W locate", "Show node(s) currently running resource", group=_QUERY),
        opt("a constraints", "Display the location and colocation constraints that apply to a resource", group=_QUERY),
        opt("A stack", "Equivalent to --constraints --recursive", group=_QUERY),
        opt(
            "Y why", "Show why resources are not running, optionally filtered by --resource and/or --node", group=_QUERY
        ),
        opt(
            "C cleanup",
            "If resource has any past failures, clear its history and fail count. Optionally filtered by "
            "--resource, --node, --operation and --interval (otherwise all).",
            group=_COMMAND,
        ),
        opt(
            "R refresh P reprobe",
            "Delete resource's history (including failures) so its current state is rechecked. "
            "Optionally filtered by --resource and --node (otherwise all).",
            group=_COMMAND,
        ),
        opt(
            "p set-parameter",
            "Set named parameter for resource (requires -v). Use instance attribute unless --meta or "
            "--utilization is specified.",
            "PARAM",
            group=_COMMAND,
        ),
        opt(
            "d delete-parameter",
            "Delete named parameter for resource. Use instance attribute unless --meta or --utilization is specified.",
            "PARAM",
            group=_COMMAND,
        ),
        opt(
            "S set-property",
            "Set resource property (type, class, provider) (requires -t and -v)",
            "PROPERTY",
            group=_COMMAND,
            hidden=True,
        ),
        opt(
            "M move migrate",
            "Create a constraint to move resource. If --node is specified, the constraint will be to move to "
            "that node, otherwise it will be to ban the current node.",
            group=_PLACE,
        ),
        opt(
            "B ban",
            "Create a constraint to keep resource off a node. Optional: --node, --lifetime, --promoted.",
            group=_PLACE,
        ),
        opt(
            "U clear un-move unmove un-migrate unmigrate",
            "Remove all constraints created by the --ban and/or --move "
            "commands. Requires: --resource. Optional: --node, --promoted, --expired.",
            group=_PLACE,
        ),
        opt("e expired", "Modifies the --clear argument to remove constraints with expired lifetimes.", group=_PLACE),
        opt(
            "u lifetime",
            "Lifespan (as ISO 8601 duration) of created constraints (with -B, -M)",
            "TIMESPEC",
            group=_PLACE,
        ),
        opt("promoted master", "Limit scope of command to promoted role (with -B, -M, -U).", group=_PLACE),
        opt("D delete", "(Advanced) Delete a resource from the CIB. Required: -t", group=_ADVANCED),
        opt("F fail", "(Advanced) Tell the cluster this resource has failed", group=_ADVANCED),
        opt(
            "restart",
            "(Advanced) Tell the cluster to restart this resource and anything that depends on it",
            group=_ADVANCED,
        ),
        opt("wait", "(Advanced) Wait until the cluster settles into a stable state", group=_ADVANCED),
        opt(
            "digests",
            "(Advanced) Show parameter hashes that Pacemaker uses to detect configuration changes",
            group=_ADVANCED,
        ),
        *(
            opt(
                f"force-{verb}",
                f"(Advanced) Bypass the cluster and {verb} a resource on the local node",
                group=_ADVANCED,
            )
            for verb in ("demote", "stop", "start", "promote")
        ),
        opt(
            "force-check",
            "(Advanced) Bypass the cluster and check the state of a resource on the local node",
            "LEVEL",
            optional=True,
            group=_ADVANCED,
        ),
        opt(
            "validate",
            "Validate resource configuration by calling agent's validate-all action",
            "LEVEL",
            optional=True,
            group=_COMMAND,
        ),
        opt("N node H host-uname host", "Node name", "NAME", group=_MORE),
        opt("recursive", "Follow colocation chains when using --set-parameter or --constraints", group=_MORE),
        opt("t resource-type", "Resource XML element (primitive, group, etc.) (with -D)", "ELEMENT", group=_MORE),
        opt("v parameter-value property-value", "Value to use with -p", "PARAM", group=_MORE),
        opt("m meta", "Use resource meta-attribute instead of instance attribute (with -p, -g, -d)", group=_MORE),
        opt(
            "z utilization",
            "Use resource utilization attribute instead of instance attribute (with -p, -g, -d)",
            group=_MORE,
        ),
        opt("n operation", "Operation to clear instead of all (with -C -r)", "OPERATION", group=_MORE),
        opt("I interval", "Interval of operation to clear (default 0) (with -C -r -n)", "N", group=_MORE),
        opt("class", "The standard the resource agent conforms to", "CLASS", group=_MORE),
        opt("agent", "The agent to use (for example, IPaddr)", "AGENT", group=_MORE),
        opt("provider", "The vendor that supplies the resource agent", "PROVIDER", group=_MORE),
        opt("option", "Specify a device configuration parameter as NAME=VALUE", "PARAM", group=_MORE),
        opt("s set-name", "(Advanced) XML ID of attributes element to use (with -p, -d)", "ID", group=_MORE),
        opt("i nvpair", "(Advanced) XML ID of nvpair element to use (with -p, -d)", "ID", group=_MORE),
        opt(
            "T timeout",
            "(Advanced) Abort if command does not finish in this time (with --restart, --wait, --force-*)",
            "N",
            group=_MORE,
        ),
        opt(
            "f force",
            "If making CIB changes, do so regardless of quorum. See help for individual commands for additional "
            "behavior.",
            group=_MORE,
        ),
        opt(
            "x xml-file", "Read the configuration from a file instead of the cluster", "FILE", group=_MORE, hidden=True
        ),
        opt("Q quiet", "Be less descriptive in output.", group="Application Options"),
        opt("r resource", "Resource ID", "ID", group="Application Options"),
        *APPLICATION_OPTIONS,
    ),
)

_OPERATIONS = (
    "list", "list-raw", "list-cts", "list-operations", "list-all-operations", "list-standards", "list-ocf-providers",
    "list-agents", "list-ocf-alternatives", "show-metadata", "query-xml", "query-xml-raw", "get-parameter",
    "get-property", "locate", "constraints", "stack", "why", "cleanup", "refresh", "set-parameter", "delete-parameter",
    "move", "ban", "clear", "delete", "fail", "restart", "wait", "digests", "force-demote", "force-stop", "force-start",
    "force-promote", "force-check", "validate", "set-property",
)  # fmt: skip
_NO_RESOURCE = frozenset(
    {
        "list",
        "list-raw",
        "list-cts",
        "list-operations",
        "list-all-operations",
        "list-standards",
        "list-ocf-providers",
        "list-agents",
        "list-ocf-alternatives",
        "show-metadata",
        "why",
        "cleanup",
        "refresh",
        "wait",
        "validate",
    }
)
WAIT_MS = 3_600_000


@dataclass(slots=True, kw_only=True)
class Context:
    """What every operation gets."""

    call: Invocation
    parsed: Parsed
    output: Output
    backend: Backend
    value: str
    name: str

    @property
    def node(self) -> str | None:
        return self.parsed.get("node")

    @property
    def kind(self) -> str:
        last = self.parsed.last_of("meta", "utilization")
        return INSTANCE if last is None else META if last[0] == "meta" else UTILIZATION

    def look(self) -> WorkingSet:
        return resources.look(self.backend, self.call.wall())


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    return run_with_output(call, parsed, lambda output: _run(call, parsed, output))


def _run(call: Invocation, parsed: Parsed, output: Output) -> int:
    chosen = parsed.last_of(*_OPERATIONS) or ("list", "")
    kind, value = chosen
    name = parsed.text("resource")
    if not name and kind not in _NO_RESOURCE:
        raise CommandFailed(Exit.USAGE, "Must supply a resource id with -r")
    if kind in ("list-standards", "list-ocf-providers", "list-agents", "list-ocf-alternatives", "show-metadata"):
        return resource_agents.show(call, output, kind, value)
    if kind == "set-property":
        raise CommandFailed(Exit.UNIMPLEMENT_FEATURE, "--set-property is not available: use cibadmin --modify")
    if kind == "validate" and not name:
        return resource_agents.validate_agent(call, parsed, output)
    backend = open_backend(call)
    context = Context(call=call, parsed=parsed, output=output, backend=backend, value=value, name=name)
    try:
        return _HANDLERS[kind](context)
    except CommandFailed as failure:
        if failure.code == Exit.NOSUCH and not output.xml and failure.message.endswith("not found"):
            failure.message += f"\nError performing operation: {exit_description(failure.code)}"
        raise
    finally:
        backend.close()


# ---- changes -----------------------------------------------------------------------------------------------------------


def _set_parameter(context: Context) -> int:
    value = context.parsed.get("parameter-value")
    if value is None:
        raise CommandFailed(Exit.USAGE, "You need to supply a value with the -v option")
    force = "force" in context.parsed
    changes = resources.set_parameter(
        context.backend,
        context.name,
        context.value,
        value,
        kind=context.kind,
        set_id=context.parsed.get("set-name"),
        pair_id=context.parsed.get("nvpair"),
        force=force,
        recursive="recursive" in context.parsed,
    )
    for change in changes:
        if context.output.xml:
            continue
        if change.redirected_from is not None:
            context.output.line(
                f"Performing update of '{change.name}' on '{change.owner}', the parent of '{change.redirected_from}'"
            )
        new = f" set={change.set_id}" if change.set_id else ""
        context.output.line(f"Set '{change.owner}' option: id={change.id}{new} name={change.name} value={change.value}")
    return 0


def _delete_parameter(context: Context) -> int:
    change = resources.delete_parameter(
        context.backend,
        context.name,
        context.value,
        kind=context.kind,
        set_id=context.parsed.get("set-name"),
        pair_id=context.parsed.get("nvpair"),
        force="force" in context.parsed,
    )
    if change is not None and not context.output.xml:
        if change.redirected_from is not None:
            context.output.line(
                f"Performing update of '{change.name}' on '{change.owner}', the parent of '{change.redirected_from}'"
            )
        context.output.line(f"Deleted '{change.owner}' option: id={change.id} name={change.name}")
    return 0


def _delete(context: Context) -> int:
    tag = context.parsed.get("resource-type")
    if tag is None:
        raise CommandFailed(
            Exit.NOSUCH, "You need to specify a resource type with -t\nError performing operation: No such object"
        )
    resources.delete_resource(context.backend, context.name, tag)
    return 0


# ---- locations -----------------------------------------------------------------------------------------------------------


def _until(context: Context) -> int | None:
    until = locations.lifetime_end(context.parsed.get("lifetime"), context.call.wall())
    if until is not None and not context.output.xml:
        context.output.line(f"Migration will take effect until: {iso(until)}")
    return until


def _warn(context: Context, ban: locations.Ban | None) -> None:
    if ban is None or context.output.xml or "quiet" in context.parsed:
        return
    verb = "being promoted" if ban.promoted else "running"
    context.output.line(
        f"WARNING: Creating rsc_location constraint '{ban.id}' with a score of -INFINITY for resource {ban.resource} on "
        f"{ban.node}.\n\tThis will prevent {ban.resource} from {verb} on {ban.node} until the constraint is removed "
        "using the clear option or by editing the CIB with an appropriate tool\n\tThis will be the case even if "
        f"{ban.node} is the last node in the cluster"
    )


def _move(context: Context) -> int:
    ws = context.look()
    rsc = resources.require(ws, context.name)
    promoted = "promoted" in context.parsed
    if context.node is None:
        _warn(context, locations.move_away(context.backend, ws, rsc, promoted=promoted, until=_until(context)))
        return 0
    locations.require_node(ws, context.node)
    _warn(
        context,
        locations.move(
            context.backend,
            ws,
            rsc,
            context.node,
            promoted=promoted,
            until=_until(context),
            force="force" in context.parsed,
        ),
    )
    return 0


def _ban(context: Context) -> int:
    ws = context.look()
    rsc = resources.require(ws, context.name)
    promoted = "promoted" in context.parsed
    if context.node is None:
        made = locations.move_away(context.backend, ws, rsc, promoted=promoted, until=_until(context))
    else:
        locations.require_node(ws, context.node)
        made = locations.ban(context.backend, ws, rsc, context.node, promoted=promoted, until=_until(context))
    _warn(context, made)
    return 0


def _clear(context: Context) -> int:
    ws = context.look()
    if context.node is not None:
        locations.require_node(ws, context.node)
    removed = locations.clear(
        context.backend,
        ws,
        context.name,
        node=context.node,
        force="force" in context.parsed,
        expired="expired" in context.parsed,
    )
    for id in removed:
        if not context.output.xml:
            context.output.line(f"Removing constraint: {id}")
    return 0


# ---- in the running cluster ------------------------------------------------------------------------------------------------


def _interval_ms(context: Context) -> int | None:
    text = context.parsed.get("interval")
    if text is None:
        return None
    value = parse_interval_ms(text)
    if value is None:
        raise CommandFailed(Exit.USAGE, f"--interval {text!r} is not a time")
    return value


def _clear_history(context: Context) -> int:
    ws = context.look()
    name, node = context.name or None, context.node
    if name is not None:
        rsc = resources.require(ws, name)
        if "force" not in context.parsed:
            rsc = rsc.top_with_bundle
        targets: list[str | None] = [*sorted({r.history_id for r in _primitives(rsc)})]
    else:
        targets = [None]
    if node is not None:
        locations.require_node(ws, node)
    if not context.backend.live:
        context.call.error(
            f"Dry run: skipping clean-up of {name or 'all resources'} on {node or 'all nodes'} due to CIB_file"
        )
        return 0
    operation = context.parsed.get("operation")
    if operation is not None and name is None:
        raise CommandFailed(Exit.USAGE, "--operation needs --resource")
    failures_only = "refresh" not in context.parsed
    for target in targets:
        resources.clear_history(
            context.backend,
            resource=target,
            node=node,
            operation=operation,
            interval_ms=_interval_ms(context),
            failures_only=failures_only,
        )
    _report_cleanup(context, ws, targets, node)
    return 0


def _primitives(rsc: Resource) -> list[Resource]:
    if not rsc.children and rsc.bundle is None:
        return [rsc]
    parts = list(bundle_parts(rsc)) if rsc.bundle is not None else rsc.children
    return [leaf for part in parts for leaf in _primitives(part)]


def _report_cleanup(context: Context, ws: WorkingSet, targets: list[str | None], node: str | None) -> None:
    if context.output.xml:
        return
    if targets == [None]:
        context.output.line(f"Cleaned up all resources on {node or 'all nodes'}")
        return
    nodes = [node] if node else [n.name for n in ws.nodes if n.online]
    for target in targets:
        for where in nodes:
            context.output.line(f"Cleaned up {target} on {where}")
    count = len(targets) * len(nodes)
    if "refresh" in context.parsed and count:
        context.output.line(f"Waiting for {count} {'reply' if count == 1 else 'replies'} from the controller")
        for number in range(count):
            context.output.line("... got reply (done)" if number == count - 1 else "... got reply")


def _fail(context: Context) -> int:
    ws = context.look()
    rsc = resources.require(ws, context.name)
    node = context.node
    if node is None:
        where = nodes_of(rsc)
        if len(where) != 1:
            raise CommandFailed(Exit.USAGE, f"{context.name} is active on {len(where)} nodes: name one with --node")
        node = where[0].name
    locations.require_node(ws, node)
    resources.fail(context.backend, context.name, node)
    return 0


def _timeout_ms(context: Context) -> int:
    text = context.parsed.get("timeout")
    value = parse_interval_ms(text, None) if text is not None else WAIT_MS
    if value is None:
        raise CommandFailed(Exit.USAGE, f"--timeout {text!r} is not a time")
    return value


def _wait(context: Context) -> int:
    resources.wait(context.backend, _timeout_ms(context))
    return 0


def _restart(context: Context) -> int:
    """Stop it by its target role, wait, put the role back as it was, wait."""
    ws = context.look()
    rsc = resources.require(ws, context.name)
    if not nodes_of(rsc):
        raise CommandFailed(Exit.ERROR, f"{context.name} is not running anywhere and so cannot be restarted")
    if "quiet" not in context.parsed and not context.output.xml:
        context.output.line(f"Set '{rsc.id}' option: target-role=Stopped until everything is stopped")
    name = rsc.id if rsc.parent is None or not rsc.history_id else rsc.history_id
    before = _own_target_role(context.backend, name)
    resources.set_parameter(context.backend, name, "target-role", "Stopped", kind=META, force=True)
    try:
        resources.wait(context.backend, _timeout_ms(context))
    finally:
        if before is None:
            resources.delete_parameter(context.backend, name, "target-role", kind=META, force=True)
        else:
            resources.set_parameter(context.backend, name, "target-role", before, kind=META, force=True)
    resources.wait(context.backend, _timeout_ms(context))
    return 0


def _own_target_role(backend: Backend, name: str) -> str | None:
    element = resources.element_of(backend, name)
    return next(
        (p.get("value") for p in element.iterfind("meta_attributes/nvpair") if p.get("name") == "target-role"), None
    )


def _agent(kind: str) -> Callable[[Context], int]:
    def handle(context: Context) -> int:
        node = context.node or context.backend.local_node()
        return resource_agents.run_for_resource(
            context.call, context.parsed, context.output, context.look(), kind, context.value, node
        )

    return handle


def _digests(context: Context) -> int:
    if context.node is None:
        raise CommandFailed(Exit.USAGE, "Must supply a node name with -N for --digests")
    given = resource_agents.overrides(context.parsed.words)
    return resource_agents.digests(context.output, context.look(), context.name, context.node, given)


_HANDLERS: dict[str, Callable[[Context], int]] = {
    **{kind: _agent(kind) for kind in TASKS},
    "digests": _digests,
    "list": lambda c: resource_lists.show_all(c.output, c.look()),
    "list-raw": lambda c: resource_lists.show_raw(c.output, c.look()),
    "list-cts": lambda c: resource_lists.show_cts(c.output, c.look()),
    "list-operations": lambda c: resource_lists.show_operations(c.output, c.look(), c.name, c.node, active=True),
    "list-all-operations": lambda c: resource_lists.show_operations(c.output, c.look(), c.name, c.node, active=False),
    "query-xml": lambda c: resource_lists.show_xml(c.output, c.look(), c.backend, c.name, raw=False),
    "query-xml-raw": lambda c: resource_lists.show_xml(c.output, c.look(), c.backend, c.name, raw=True),
    "get-parameter": lambda c: resource_lists.show_parameter(c.output, c.look(), c.name, c.value, c.kind),
    "get-property": lambda c: resource_lists.show_property(c.output, c.look(), c.name, c.value),
    "locate": lambda c: resource_lists.show_locations(c.output, c.look(), c.name),
    "constraints": lambda c: resource_lists.show_constraints(
        c.output, c.look(), c.name, recursive="recursive" in c.parsed, force="force" in c.parsed
    ),
    "stack": lambda c: resource_lists.show_constraints(
        c.output, c.look(), c.name, recursive=True, force="force" in c.parsed
    ),
    "why": lambda c: resource_lists.show_why(c.output, c.look(), c.name, c.node),
    "cleanup": _clear_history,
    "refresh": _clear_history,
    "set-parameter": _set_parameter,
    "delete-parameter": _delete_parameter,
    "move": _move,
    "ban": _ban,
    "clear": _clear,
    "delete": _delete,
    "fail": _fail,
    "wait": _wait,
    "restart": _restart,
}
