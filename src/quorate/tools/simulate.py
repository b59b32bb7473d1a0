"""crm_simulate: what the cluster would do, and where that would lead."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import dataclass

from lxml import etree

from quorate.core.scheduler import schedule, unpack
from quorate.core.scheduler.pipeline import Schedule
from quorate.core.scheduler.working_set import Kind, Resource, Role, WorkingSet
from quorate.model.graph_xml import to_bytes, to_element
from quorate.model.time import moment_text, parse_moment

from . import simulate_summary
from .backends import open_backend
from .failure import CommandFailed, Exit
from .invocation import Invocation
from .monitor.lines import Lines
from .monitor.options import Shown
from .monitor.status import ClusterStatus
from .monitor.text import _nodes, _resources
from .options import APPLICATION_OPTIONS, OUTPUT_OPTIONS, Parsed, Table, begin, opt
from .simulate_execution import Execution, FailedAction

_RUN, _FORCE, _SHOW, _DATA = "Operations", "Synthetic cluster events", "Artifact options", "Data sources"
TABLE = Table("crm_simulate", "Simulate a Pacemaker cluster's response to events", (
    *OUTPUT_OPTIONS,
    opt("R run", "Process the supplied input and show what actions the cluster will take in response", group=_RUN),
    opt("S simulate", "Like --run, but also simulate taking those actions and show the resulting new status", group=_RUN),
    opt("X in-place", "Like --simulate, but also store the results back to the input file", group=_RUN),
    opt("s show-scores", "Show assignment scores", group=_RUN),
    opt("U show-utilization", "Show utilization information", group=_RUN),
    opt("P profile", "Process all the XML files in the named directory to create profiling data", "DIR", group=_RUN),
    opt("N repeat", "With --profile, repeat each test N times and print timings", "N", group=_RUN),
    opt("j pending", "Display pending state if record-pending is enabled", group=_RUN, hidden=True),
    opt("u node-up", "Simulate bringing a node online", "NODE", group=_FORCE),
    opt("d node-down", "Simulate taking a node offline", "NODE", group=_FORCE),
    opt("f node-fail", "Simulate a node failing", "NODE", group=_FORCE),
    opt("i op-inject", "Generate a failure for the cluster to react to in the simulation: "
        "RESOURCE_TASK_INTERVALMS@NODE=RC", "OPSPEC", group=_FORCE),
    opt("F op-fail", "If the specified task occurs during the simulation, have it fail with return code RC: "
        "RESOURCE_TASK_INTERVALMS@NODE=RC", "OPSPEC", group=_FORCE),
    opt("t set-datetime", "Set date/time (ISO 8601 format)", "DATETIME", group=_FORCE),
    opt("q quorum", "Set to '1' (or 'true') to indicate cluster has quorum", "QUORUM", group=_FORCE),
    opt("w watchdog", "Set to '1' (or 'true') to indicate cluster has an active watchdog device", "DEVICE", group=_FORCE),
    opt("g ticket-grant", "Simulate granting a ticket", "TICKET", group=_FORCE),
    opt("r ticket-revoke", "Simulate revoking a ticket", "TICKET", group=_FORCE),
    opt("b ticket-standby", "Simulate making a ticket standby", "TICKET", group=_FORCE),
    opt("e ticket-activate", "Simulate activating a ticket", "TICKET", group=_FORCE),
    opt("I save-input", "Save the input configuration to the named file", "FILE", group=_SHOW),
    opt("O save-output", "Save the output configuration to the named file", "FILE", group=_SHOW),
    opt("G save-graph", "Save the transition graph (XML format) to the named file", "FILE", group=_SHOW),
    opt("D save-dotfile", "Save the transition graph (DOT format) to the named file", "FILE", group=_SHOW),
    opt("a all-actions", "Display all possible actions in DOT graph", group=_SHOW),
    opt("L live-check", "Connect to CIB manager and use the current CIB contents as input", group=_DATA),
    opt("x xml-file", "Retrieve XML from the named file", "FILE", group=_DATA),
    opt("p xml-pipe", "Retrieve XML from stdin", group=_DATA),
    opt("Q quiet", "Display only essential output", group=_DATA),
    opt("json", "Display the decisions as JSON", group=_DATA),
    *APPLICATION_OPTIONS,
))
_INJECTION = re.compile(r"^(.+)_([a-z_-]+?)_(\d+)@([^=]+)=(\d+)$")


@dataclass(slots=True)
class _Session:
    call: Invocation
    parsed: Parsed
    root: etree._Element
    now: int
    notice: str | None  # of the time that is simulated
    quiet: bool

    def say(self, text: str = "") -> None:
        if not self.quiet:
            self.call.print(text)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return Exit.OK
    if parsed.get("profile") is not None:
        return _profile(call, parsed)
    root = _read(call, parsed)
    now, notice = _time(call, parsed, root)
    session = _Session(call, parsed, root, now, notice, "quiet" in parsed or "json" in parsed)
    return _run(session)


def _read(call: Invocation, parsed: Parsed) -> etree._Element:
    name = parsed.get("xml-file")
    if name is not None:
        data = call.read_file(name)
    elif "xml-pipe" in parsed:
        data = call.read_input()
    else:
        backend = open_backend(call)
        answer = backend.query()
        if answer is None:
            raise CommandFailed(Exit.NOINPUT, "the cluster has no CIB")
        data = answer
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, remove_comments=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise CommandFailed(Exit.DATAERR, f"{name or 'the input'} is not well-formed XML: {error}") from None
    if root.tag != "cib":
        raise CommandFailed(Exit.DATAERR, f"{name or 'the input'} holds <{root.tag}>, not <cib>")
    return root


def _time(call: Invocation, parsed: Parsed, root: etree._Element) -> tuple[int, str | None]:
    given = parsed.get("set-datetime")
    if given is not None:
        try:
            return parse_moment(given), f"Setting effective cluster time: {given}"
        except ValueError as error:
            raise CommandFailed(Exit.USAGE, f"--set-datetime: {error}") from None
    recorded = root.get("execution-date")
    if recorded is not None and recorded.isdigit():
        return int(recorded), f"Using the original execution date of: {moment_text(int(recorded))}"
    return int(call.wall()), None


def _run(session: _Session) -> int:
    parsed, call, root = session.parsed, session.call, session.root
    injected = _inject(session, root)
    if root.get("validate-with") == "none":
        session.say('Schema validation of configuration is disabled (support for validate-with set to "none" is deprecated '
                    "and will be removed in a future release)")
    if session.notice:
        session.say(session.notice)
    before = unpack(root, session.now)
    _status(session, before, "Current cluster status")
    if injected:
        session.say()
        session.say("Performing Requested Modifications:")
        for line in injected:
            session.say(f"  * {line}")
    simulate = "simulate" in parsed or "in-place" in parsed
    wants = simulate or "run" in parsed or "show-scores" in parsed or "show-utilization" in parsed or any(
        key in parsed for key in ("save-graph", "save-dotfile", "save-output", "json"))
    if parsed.get("save-input"):
        _write(call, parsed.text("save-input"), etree.tostring(root))
    if not wants:
        return Exit.OK
    scores = "show-scores" in parsed
    done = schedule(root, session.now, show_scores=scores or "json" in parsed,
                    show_utilization="show-utilization" in parsed)
    ws = done.working_set
    assert ws is not None
    if scores or "show-utilization" in parsed:
        _scores(session, done)
    if parsed.get("save-graph"):
        _write(call, parsed.text("save-graph"), to_bytes(done.graph))
    if parsed.get("save-dotfile"):
        _write(call, parsed.text("save-dotfile"), dot(done).encode())
    if "json" in parsed:
        call.print(json.dumps(as_json(done), indent=2))
    session.say()
    session.say("Transition Summary:")
    for line in simulate_summary.lines(ws):
        session.say(f"  * {line}")
    if not simulate and not parsed.get("save-output"):
        return Exit.OK
    return _simulate(session, done, simulate)


def _simulate(session: _Session, done: Schedule, shown: bool) -> int:
    ws = done.working_set
    assert ws is not None
    result = deepcopy(session.root)
    session.say()
    session.say("Executing Cluster Transition:")
    failures = tuple(_failure(text) for key, text in session.parsed.items if key == "op-fail")
    execution = Execution(result, ws, lambda text: session.say(f"  * {text}"), failures, session.now)
    complete = execution.run(done.graph)
    if session.parsed.get("save-output"):
        _write(session.call, session.parsed.text("save-output"), etree.tostring(result))
    if "in-place" in session.parsed and session.parsed.get("xml-file"):
        _write(session.call, session.parsed.text("xml-file"), etree.tostring(result))
    if not complete and not failures:
        session.say("An invalid transition was produced")
    if shown and not session.quiet:
        if session.notice:
            session.say(session.notice)
        session.say()
        after = unpack(result, session.now)
        _status(session, after, "Revised Cluster Status")
    return Exit.OK


# ---- injections -------------------------------------------------------------------------------------------------


def _failure(text: str) -> FailedAction:
    match = _INJECTION.match(text)
    if match is None:
        raise CommandFailed(Exit.USAGE, f"'{text}' is not RESOURCE_TASK_INTERVALMS@NODE=RC")
    return FailedAction(f"{match[1]}_{match[2]}_{match[3]}", match[4], int(match[5]))


def _state(root: etree._Element, name: str) -> etree._Element:
    status = root.find("status")
    if status is None:
        status = etree.SubElement(root, "status")
    for element in status.iterfind("node_state"):
        if element.get("uname") == name:
            return element
    identifier = name
    for node in root.iterfind("configuration/nodes/node"):
        if node.get("uname") == name:
            identifier = str(node.get("id"))
    return etree.SubElement(status, "node_state", {"id": identifier, "uname": name})


def _inject(session: _Session, root: etree._Element) -> list[str]:
    """Apply the events that were asked for to the input. Returns what was done."""
    told: list[str] = []
    for key, value in session.parsed.items:
        if key == "quorum":
            root.set("have-quorum", value)
            told.append(f"Setting quorum: {value}")
        elif key in ("node-up", "node-down", "node-fail"):
            state = _state(root, value)
            up = key == "node-up"
            for name, text in (("in_ccm", "true" if up else "false"), ("crmd", "online" if up else "offline"),
                               ("join", "member" if up else "down"),
                               ("expected", "down" if key == "node-down" else "member")):
                state.set(name, text)
            word = {"node-up": "Bringing node {} online", "node-down": "Taking node {} offline",
                    "node-fail": "Failing node {}"}[key]
            told.append(word.format(value))
        elif key in ("ticket-grant", "ticket-revoke", "ticket-standby", "ticket-activate"):
            told.append(_ticket(root, key, value))
        elif key == "op-inject":
            told.append(_inject_operation(session, root, value))
        elif key == "watchdog":
            config = root.find("configuration/crm_config")
            if config is not None:
                block = etree.SubElement(config, "cluster_property_set", {"id": "simulated-watchdog", "score": "1000000"})
                etree.SubElement(block, "nvpair", {"id": "simulated-have-watchdog", "name": "have-watchdog", "value": value})
            told.append(f"Setting watchdog: {value}")
    return told


def _ticket(root: etree._Element, key: str, name: str) -> str:
    status = root.find("status")
    if status is None:
        status = etree.SubElement(root, "status")
    tickets = status.find("tickets")
    if tickets is None:
        tickets = etree.SubElement(status, "tickets")
    state = next((child for child in tickets if child.get("id") == name), None)
    if state is None:
        state = etree.SubElement(tickets, "ticket_state", {"id": name})
    attribute, value, verb = {
        "ticket-grant": ("granted", "true", "Granting"), "ticket-revoke": ("granted", "false", "Revoking"),
        "ticket-standby": ("standby", "true", "Making standby"), "ticket-activate": ("standby", "false", "Activating"),
    }[key]
    state.set(attribute, value)
    return f"{verb} ticket {name}" if "standby" not in verb else f"Making ticket {name} standby"


def _inject_operation(session: _Session, root: etree._Element, text: str) -> str:
    failure = _failure(text)
    match = _INJECTION.match(text)
    assert match is not None
    ws = unpack(root, session.now)
    rsc = ws.resource_by_id.get(match[1]) or ws.resource_by_id.get(f"{match[1]}:0")
    if rsc is None:
        raise CommandFailed(Exit.NOSUCH, f"--op-inject: there is no resource '{match[1]}'")
    from quorate.model.graph import Action, ActionKind

    execution = Execution(root, ws, lambda _: None, (), session.now)
    action = Action(id=0, kind=ActionKind.RESOURCE, operation=match[2], key=failure.key, node=failure.node,
                    resource=match[1], resource_class=rsc.agent_class, resource_provider=rsc.agent_provider,
                    resource_type=rsc.agent_type)
    state = execution._node_state(failure.node)
    execution._record(state, action, match[2], int(match[3]), failure.rc, 0 if match[2] != "monitor" or match[3] != "0"
                      else 7, failure.rc == 0)
    return f"Injecting {failure.key}@{failure.node}={failure.rc} into the configuration"


# ---- what is shown ----------------------------------------------------------------------------------------------


def _status(session: _Session, ws: WorkingSet, title: str) -> None:
    if session.quiet:
        return
    instances, disabled, blocked = 0, 0, 0
    for rsc in ws.resources:
        counted = _count(rsc)
        instances += counted[0]
        disabled += counted[1]
        blocked += counted[2]
    if ws.maintenance_mode and title.startswith("Current"):
        session.say()
        session.say("              *** Resource management is DISABLED ***")
        session.say("  The cluster will not attempt to start, stop or recover services")
        session.say()
    if (disabled or blocked) and title.startswith("Current"):
        session.say(f"{disabled} of {instances} resource instances DISABLED and {blocked} BLOCKED from further action due "
                    "to failure")
        session.say()
    shown = Shown(sections={"nodes", "resources"}, inactive=True)
    status = ClusterStatus(ws=ws, now=session.now, reply=None, shown=shown)
    session.say(f"{title}:")
    for number in range(2):
        lines = Lines()
        if number:
            _resources(status, lines).write_list()
        else:
            _nodes(status, lines)
        if not lines.lines:
            continue
        if number:
            session.say()
        for line in lines.lines:
            # the sections stand one level deeper than crm_mon's
            session.say(f"  {'* ' if not line.startswith(' ') else ''}{line}" if line else "")


def _count(rsc: Resource) -> tuple[int, int, int]:
    if rsc.kind is Kind.BUNDLE and rsc.bundle is not None:
        parts = [part for replica in rsc.bundle.replicas
                 for part in (replica.ip, replica.child, replica.container, replica.remote) if part is not None]
        found = [_count(part) for part in parts]
    elif rsc.children:
        found = [_count(child) for child in rsc.children]
    elif rsc.removed and rsc.role <= Role.STOPPED:
        return 0, 0, 0
    else:
        disabled = rsc.target_role is Role.STOPPED or rsc.target_role is Role.UNPROMOTED and rsc.top.promotable
        return 1, int(disabled), int(rsc.blocked)
    return sum(one[0] for one in found), sum(one[1] for one in found), sum(one[2] for one in found)


def _scores(session: _Session, done: Schedule) -> None:
    if not session.quiet:
        session.call.print()
        session.call.print("Assignment Scores:")
    for line in done.scores:
        session.call.print(line if session.quiet else f"  * {line}")


def as_json(done: Schedule) -> dict[str, object]:
    """The decisions as plain values."""
    ws = done.working_set
    assert ws is not None
    return {
        "actions": [
            {"id": action.id, "kind": action.kind.value, "operation": action.operation, "key": action.key,
             "node": action.node, "resource": action.resource, "inputs": list(synapse.inputs)}
            for synapse in done.graph.synapses for action in synapse.actions
        ],
        "nodes": simulate_summary.node_changes(ws),
        "resources": [
            {"verb": change.verb, "resource": change.resource, "details": change.details, "reason": change.reason.strip()}
            for change in simulate_summary.resource_changes(ws)
        ],
        "scores": done.scores,
        "messages": [{"level": m.level, "code": m.code, "text": m.text, "place": m.place} for m in done.messages],
    }


def dot(done: Schedule) -> str:
    """The graph for graphviz."""
    rows = [' digraph "g" {']
    names: dict[int, str] = {}
    for synapse in done.graph.synapses:
        for action in synapse.actions:
            names[action.id] = f"{action.key} {action.node}" if action.node else action.key
    edges: list[str] = []
    for synapse in done.graph.synapses:
        for action in synapse.actions:
            for number in synapse.inputs:
                edges.append(f'"{names[number]}" -> "{names[action.id]}" [ style = bold]')
            color = "orange" if action.kind.value == "pseudo_event" else "black"
            edges.append(f'"{names[action.id]}" [ style=bold color="green" fontcolor="{color}"]')
    return "\n".join([*rows, *sorted(edges), "}"]) + "\n"


def _write(call: Invocation, name: str, data: bytes) -> None:
    with open(call.path(name), "wb") as file:
        file.write(data)


def _profile(call: Invocation, parsed: Parsed) -> int:
    import os
    import time

    directory = call.path(parsed.text("profile"))
    repeat = max(1, int(parsed.text("repeat", "1") or 1))
    for name in sorted(os.listdir(directory)):
        if not name.endswith(".xml"):
            continue
        root = etree.fromstring(call.read_file(os.path.join(directory, name)),
                                etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
        began = time.perf_counter()
        for _ in range(repeat):
            schedule(root, int(call.wall()))
        call.print(f"* Testing {name} ... {time.perf_counter() - began:.2f} secs")
    return Exit.OK


def graph_element(done: Schedule) -> etree._Element:
    return to_element(done.graph)
