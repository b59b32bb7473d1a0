"""Golden scripts of the controller and the fencer: what happens, and what one node does about it.

A script is a text file: lines that begin with ">" are events, "#" comments; below each event stand, indented, the
effects of the node in order (entries that it puts into the log, requests to the driver, timers, messages).
`QUORATE_GOLDEN=write` writes the effects anew; the change is then reviewed as a difference.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from pathlib import Path

import pytest

from quorate.core import effects as fx
from quorate.model import entries, protocol
from quorate.model.graph import Action, Synapse
from quorate.model.ids import MILLISECOND
from tests.unit.controller.bench import (
    RIGHTS,
    Bench,
    cib_with,
    device,
    event,
    fencing,
    operation,
    pseudo,
    result_of,
    synapse,
)

HERE = Path(__file__).parent
SCRIPTS = sorted(HERE.glob("*.txt"))
ACTION = re.compile(
    r"(?P<id>\d+):(?P<what>[a-z_]+)(?:/(?P<interval>\d+))?(?P<rest>(?: [^ @!]+)*?)"
    r"(?: @(?P<after>[\d,]+))?(?: !(?P<priority>\d+))?$"
)


class Script:
    """Runs the events of one script on a bench."""

    def __init__(self) -> None:
        self.resources = ""
        self.topology = ""
        self.options: dict[str, str] = {}
        self.node = "n1"
        self.bench: Bench | None = None

    def run(self, line: str) -> list[str]:
        name, *words = shlex.split(line)
        if self.bench is None and name in ("device", "option", "level", "node"):
            self._prepare(name, words)
            return []
        if self.bench is None:
            cib = cib_with(self.options, self.resources, self.topology)
            self.bench = Bench(cib, node=self.node)
            self.bench.dc = "n1"
        bench = self.bench
        effects, logged = len(bench.effects), len(bench.logged)
        bench.trace = []
        getattr(self, f"do_{name}")(bench, words)
        del effects, logged
        return [text for item in bench.trace if (text := render(item, bench))]

    def _prepare(self, name: str, words: list[str]) -> None:
        pairs = dict(word.split("=", 1) for word in words if "=" in word)
        if name == "device":
            self.resources += device(words[0], **pairs)
        elif name == "option":
            self.options |= pairs
        elif name == "level":
            number = self.topology.count("<fencing-level") + 1
            attributes = " ".join(f'{key}="{value}"' for key, value in pairs.items())
            self.topology += f'<fencing-level id="l{number}" {attributes}/>'
        else:
            self.node = words[0]

    # ---- events -----------------------------------------------------------------------------------------------------

    def do_presence(self, bench: Bench, words: list[str]) -> None:
        bench.presence(**dict(word.split("=") for word in words))
        bench.situation()

    def do_dc(self, bench: Bench, words: list[str]) -> None:
        bench.dc = words[0]
        bench.situation()

    def do_rights(self, bench: Bench, words: list[str]) -> None:
        flags = {right: right in words for right in ("keep", "fence", "write", "take_over", "quorate")}
        policy = next((word.removeprefix("policy=") for word in words if word.startswith("policy=")), "stop")
        bench.rights = dataclasses.replace(RIGHTS, policy=policy, **flags)
        bench.situation()

    def do_unsynced(self, bench: Bench, words: list[str]) -> None:
        bench.synced = False
        bench.situation()

    def do_synced(self, bench: Bench, words: list[str]) -> None:
        bench.synced = True
        bench.situation()

    def do_boot(self, bench: Bench, words: list[str]) -> None:
        bench.state.nodes[words[0]].boot_id = words[1]
        bench.presence(**{words[0]: "online"})
        bench.situation()

    def do_graph(self, bench: Bench, words: list[str]) -> None:
        options = {key: int(value) for key, value in (word.split("=") for word in words)}
        bench.schedule(*self.synapses, **options)
        self.synapses: tuple[Synapse, ...] = ()

    synapses: tuple[Synapse, ...] = ()

    def do_action(self, bench: Bench, words: list[str]) -> None:
        match = ACTION.match(" ".join(words))
        assert match is not None, words
        number, what, rest = int(match["id"]), match["what"], match["rest"].split()
        names = [word for word in rest if "=" not in word]
        attributes = dict(word.split("=", 1) for word in rest if "=" in word)
        made: Action
        if what == "pseudo":
            made = pseudo(number)
        elif what == "fence":
            made = fencing(number, *names, **attributes)
        elif what in ("do_shutdown", "clear_failcount"):
            made = event(number, what, *names, **attributes)
        else:
            made = operation(number, what, *names, int(match["interval"] or 0), **attributes)
        after = [int(each) for each in (match["after"] or "").split(",") if each]
        self.synapses = (*self.synapses, synapse(made, *after, priority=int(match["priority"] or 0)))

    def do_result(self, bench: Bench, words: list[str]) -> None:
        resource, what, *rest = words
        facts = {key: int(value) for key, value in (word.split("=") for word in rest)}
        request = [r for r in bench.requests() if (r.resource, r.operation) == (resource, what)][-1]
        bench.foreign(result_of(request, facts.get("rc", 0), facts.get("status", 0)))

    def do_agent(self, bench: Bench, words: list[str]) -> None:
        pairs = dict(word.split("=", 1) for word in words)
        rc = int(pairs.pop("rc", "0"))
        timed_out = pairs.pop("timed_out", "") == "yes"
        output = pairs.pop("output", "").replace("|", "\n")
        bench.agent_exits(rc=rc, timed_out=timed_out, output=output, **pairs)

    def do_wait(self, bench: Bench, words: list[str]) -> None:
        bench.wait(int(words[0]))

    def do_change(self, bench: Bench, words: list[str]) -> None:
        bench.foreign(
            entries.Change(
                request="",
                origin="n2",
                client="cibadmin",
                user="root",
                kind="modify",
                section="resources",
                xml=b"<resources/>",
            )
        )

    def do_fenced(self, bench: Bench, words: list[str]) -> None:
        """Another executor's result for the last request."""
        fence = list(bench.state.fences.values())[-1].request
        bench.foreign(
            entries.FenceResult(
                id=fence.id,
                target=fence.target,
                boot_id=fence.boot_id,
                action=fence.action,
                executor=fence.executor,
                device="f",
                confirmed=words[0] == "yes",
                reason=" ".join(words[1:]),
            )
        )

    def do_confirm(self, bench: Bench, words: list[str]) -> None:
        request = protocol.FenceConfirmed(serial=1, request="c1", target=words[0], client="stonith_admin")
        bench.carry(bench.fencer.asked(request, "root", bench.now, bench.state, 1_700_000_000))

    def do_hold(self, bench: Bench, words: list[str]) -> None:
        bench.hold = True

    def do_deliver(self, bench: Bench, words: list[str]) -> None:
        bench.hold = False
        bench.deliver()

    def do_lose(self, bench: Bench, words: list[str]) -> None:
        bench.hold = False
        bench.lose()

    def do_state(self, bench: Bench, words: list[str]) -> None:
        state = bench.controller.state_name
        presences = " ".join(f"{name}={presence.value}" for name, presence in bench.state.presences.items())
        bench.trace.append(f"{state} {presences}")


def render(item: object, bench: Bench) -> str:
    """One effect as one line; ids and keys shortened to what a reader needs."""
    match item:
        case str():
            return item
        case entries.ActionRequest():
            interval = f"/{item.interval_ms}" if item.interval_ms else ""
            number = ":".join(item.key.split(":")[:3])
            return f"log action {item.resource} {item.operation}{interval} on {item.node} key {number}"
        case entries.ActionCancel():
            return f"log cancel {item.resource} {item.operation}/{item.interval_ms} on {item.node}"
        case entries.ActionResult():
            outcome = f"rc {item.rc} status {item.status}: {item.reason}"
            return f"log result {item.resource} {item.operation} on {item.node} {outcome}"
        case entries.FenceRequest():
            devices = ",".join(item.devices) or "none"
            how = f"{item.action} by {item.executor} with {devices} attempt {item.attempt}"
            return f"log fence {item.target} ({item.boot_id}) {how}"
        case entries.FenceResult():
            kinds = [kind for kind in ("confirmed", "unknown", "void", "by_hand") if getattr(item, kind)] or ["failed"]
            return f"log fence-result {item.target} {' '.join(kinds)} {item.reason}".rstrip()
        case entries.HistoryCleared():
            return f"log clear {item.resource} on {item.node} history={item.history} failcounts={item.failcounts}"
        case entries.ManagerLapsed() | entries.PeerLapsed() | entries.ShutdownDone():
            return f"log {type(item).__name__} {item.node}"
        case entries.AttributeUpdate():
            return f"log attribute {item.name} of {item.node}"
        case fx.RunScheduler():
            return f"run-scheduler {item.key}"
        case fx.RunFenceAgent():
            port = item.parameters.get("port", "")
            return f"run-agent {item.agent} {item.action} port={port} timeout {item.timeout_ms} ms"
        case fx.SetTimer():
            name = re.sub(r"job:.*", "job", item.name)
            return f"timer {name} +{(item.at - bench.now) // MILLISECOND} ms"
        case fx.Report():
            names = ("node", "target", "resource", "operation", "reason", "text")
            facts = [item.fields[name] for name in names if item.fields.get(name)]
            return f"{item.severity}: {item.code} {' '.join(facts)}".rstrip() if item.severity != "debug" else ""
        case fx.CancelTimer() | fx.LoadMetadata():
            return ""
        case _:
            return f"{type(item).__name__}"


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_script(path: Path) -> None:
    script = Script()
    lines: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith(">"):
            lines.append(line)
            lines += [f"    {effect}" for effect in script.run(line[1:].strip())]
        elif line.startswith("#") or not line.strip():
            lines.append(line)
    text = "\n".join(lines) + "\n"
    if os.environ.get("QUORATE_GOLDEN") == "write":
        path.write_text(text)
    assert path.read_text() == text


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 10
