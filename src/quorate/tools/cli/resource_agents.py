"""What crm_resource does with agents: lists, metadata, running one by hand, parameter digests."""

from __future__ import annotations

from lxml import etree

from quorate.core.scheduler import WorkingSet
from quorate.core.scheduler.configuration import parameters
from quorate.core.scheduler.working_set import Kind
from quorate.model.cib import operation_digest, restart_digest, secure_digest
from quorate.model.time import parse_interval_ms

from ..commands import agent_actions, agents, resources
from ..commands.agent_actions import AgentCall, AgentResult
from ..failure import CommandFailed, Exit, exit_description
from ..invocation import Invocation
from ..monitor.resources import nodes_of
from ..monitor.words import rc_text
from ..options import Parsed
from .output import Output

TIMEOUT_MS = 20_000


def show(call: Invocation, output: Output, kind: str, value: str) -> int:
    """The --list-* options and --show-metadata."""
    if kind == "show-metadata":
        text = agents.metadata(call.environ, value)
        if output.xml:
            output.element("metadata").text = etree.CDATA(text)
        else:
            call.out.write(text if text.endswith("\n") else text + "\n")
        return 0
    standard, _, provider = value.partition(":")
    if kind == "list-standards":
        names, title, missing = agents.standards(), "standards", "No standards found"
    elif kind == "list-ocf-providers":
        names, title, missing = agents.providers(call.environ), "providers", "No OCF providers found"
    elif kind == "list-ocf-alternatives":
        names, title = agents.providers(call.environ, value), "providers"
        missing = f"No OCF providers found for {value}"
    else:
        names, title = agents.agents(call.environ, standard, provider or None), "agents"
        missing = f"No agents found for standard '{standard}'" + (f" and provider '{provider}'" if provider else "")
    if not names:
        code = Exit.NOSUCH if kind == "list-ocf-alternatives" else Exit.ERROR
        raise CommandFailed(code, f"{missing}\nError performing operation: {exit_description(code)}")
    if output.xml and kind == "list-standards":
        holder = output.element("list", name=title, count=str(len(names)))
        for name in names:
            etree.SubElement(holder, "item").text = name
    elif output.xml:
        about = {
            "list-agents": {"standard": standard, "provider": provider},
            "list-ocf-providers": {"standard": "ocf"},
            "list-ocf-alternatives": {"for": value},
        }[kind]
        holder = output.element(title, **{key: text for key, text in about.items() if text})
        for name in names:
            etree.SubElement(holder, title.rstrip("s")).text = name
    else:
        for name in names:
            output.line(name)
    return 0


def overrides(words: list[str]) -> dict[str, str]:
    """NAME=VALUE words. CommandFailed(64)."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise CommandFailed(Exit.USAGE, f"'{word}' is not NAME=VALUE")
        found[name] = value
    return found


def validate_agent(call: Invocation, parsed: Parsed, output: Output) -> int:
    """--validate with --class, --provider, --agent and --option instead of a resource."""
    standard, agent = parsed.get("class"), parsed.get("agent")
    if not standard or not agent:
        raise CommandFailed(Exit.USAGE, "--validate requires either -r, or --class and --agent (and --provider)")
    wanted = AgentCall(
        action="validate",
        standard=standard,
        provider=parsed.get("provider"),
        agent=agent,
        resource=None,
        parameters=overrides(parsed.all("option")),
    )
    return _run(call, parsed, output, wanted, parsed.text("validate"))


def run_for_resource(
    call: Invocation, parsed: Parsed, output: Output, ws: WorkingSet, kind: str, level: str, node: str
) -> int:
    rsc = resources.require(ws, parsed.text("resource"))
    wanted = agent_actions.call_for(ws, rsc, kind, overrides(parsed.words), node)
    if (
        kind in ("force-start", "force-promote", "force-demote")
        and rsc.enclosing_clone is not None
        and "force" not in parsed
    ):
        if any(n.name == node for n in nodes_of(rsc)):
            raise CommandFailed(
                Exit.UNSAFE, f"It is not safe to {kind} {rsc.id} here: the cluster claims it is already active"
            )
    return _run(call, parsed, output, wanted, level)


def _run(call: Invocation, parsed: Parsed, output: Output, wanted: AgentCall, level: str) -> int:
    text = parsed.get("timeout")
    timeout_ms = parse_interval_ms(text, None) if text is not None else TIMEOUT_MS
    if timeout_ms is None:
        raise CommandFailed(Exit.USAGE, f"--timeout {text!r} is not a time")
    result = agent_actions.run(wanted, call.environ, timeout_s=timeout_ms / 1000, level=level)
    if output.xml:
        _xml(output, wanted, result)
    else:
        _text(output, wanted, result)
    if result.code:
        raise CommandFailed(result.code, f"Error performing operation: {exit_description(result.code)}")
    return 0


def _text(output: Output, wanted: AgentCall, result: AgentResult) -> None:
    target = f" for {wanted.resource} ({wanted.spec})" if wanted.resource else f" ({wanted.spec})"
    if result.timed_out:
        output.line(f"Operation {wanted.action}{target} could not be executed (Timed Out)")
    else:
        output.line(f"Operation {wanted.action}{target} returned {result.code} ({rc_text(result.code)})")
    for part in (result.output, result.errors):
        if part:
            output.line(part)


def _xml(output: Output, wanted: AgentCall, result: AgentResult) -> None:
    element = output.element("resource-agent-action", action=wanted.action)
    element.set("class", wanted.standard)
    element.set("type", wanted.agent)
    if wanted.resource:
        element.set("rsc", wanted.resource)
    if wanted.provider:
        element.set("provider", wanted.provider)
    etree.SubElement(element, "overrides")
    status = etree.SubElement(element, "agent-status", code=str(result.code), message=rc_text(result.code))
    status.set("execution_code", "2" if result.timed_out else "0")
    status.set("execution_message", "Timed Out" if result.timed_out else "complete")
    if result.output or result.errors:
        command = etree.SubElement(element, "command", code=str(result.code))
        for source, part in (("stdout", result.output), ("stderr", result.errors)):
            if part:
                etree.SubElement(command, "output", source=source).text = part


def digests(output: Output, ws: WorkingSet, name: str, node: str, given: dict[str, str]) -> int:
    """The hashes by which the cluster sees that parameters have changed, of a start on `node`."""
    rsc = resources.require(ws, name)
    if rsc.kind is not Kind.PRIMITIVE:
        raise CommandFailed(Exit.NOSUCH, f"Digests exist for primitive resources only, not for {name}")
    if node not in ws.node_by_name:
        raise CommandFailed(Exit.NOSUCH, f"Node '{node}' not found")
    values = dict(parameters(ws, rsc, ws.node_by_name[node])) | given
    private, restart = _recorded(ws, rsc.history_id, node)
    shown = [
        ("all", "all parameters", operation_digest(values), values),
        ("nonprivate", "non-private parameters", secure_digest(values, private),
         {k: v for k, v in values.items() if k not in private}),
    ]  # fmt: skip
    if restart is not None:
        kept = {k: v for k, v in values.items() if k in restart}
        shown.append(("nonreloadable", "non-reloadable parameters", restart_digest(values, restart), kept))
    holder = output.element("digests", resource=name, node=node, task="start", interval="0ms") if output.xml else None
    for kind, text, digest, kept in shown:
        if holder is None:
            output.line(f"{digest} ({text})")
            continue
        element = etree.SubElement(holder, "digest", type=kind, hash=digest)
        etree.SubElement(element, "parameters", {k: kept[k] for k in sorted(kept)})
    return 0


def _recorded(ws: WorkingSet, name: str, node: str) -> tuple[set[str], set[str] | None]:
    """Private parameters, and those whose change needs a restart, as the last operations on the node tell."""
    private: set[str] = set()
    restart: set[str] | None = None
    for state in ws.cib.iterfind("status/node_state"):
        if state.get("uname") != node:
            continue
        for entry in state.iterfind("lrm/lrm_resources/lrm_resource"):
            if entry.get("id") != name:
                continue
            for op in entry.iterfind("lrm_rsc_op"):
                private |= set(op.get("op-secure-params", "").split())
                if op.get("op-force-restart") is not None:
                    restart = set(op.get("op-force-restart", "").split())
    return private, restart
