"""Group scenarios as readable scripts: each command is followed by what the cluster then did.

A script is a text file in this folder. Lines that begin with a command run it; indented lines are the expected
outcome. With QUORATE_REGENERATE=1 the outcomes are written anew; read the diff before you commit it.

    nodes 3 lan,ring 1000     three nodes, two links, token 1000 ms (links and token may be left out)
    start 1 2 | crash 1 | stop 1 | pause 1 | resume 1 | join 1 | leave 1 | kill-manager 1
    submit 1 200 | cut 1 2 [link] | mend 1 2 [link] | partition 1,2 3 | heal | run 2.5
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quorate.simulation.group import GroupCluster

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))
SHOWN = ("link-up", "link-down", "proposing", "VIEW", "GOT", "LOST", "paused", "diagnosis", "does-not")


class Script:
    """Runs the commands of one script and tells what they led to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._cluster: GroupCluster | None = None
        self._shown = 0

    @property
    def cluster(self) -> GroupCluster:
        assert self._cluster is not None, "the first command is `nodes`"
        return self._cluster

    def do(self, line: str) -> list[str]:
        command, *words = line.split()
        if command == "nodes":
            count, links, token = (*words, *("3", "lan", "1000")[len(words) :])
            self._cluster = GroupCluster(self._name, int(count), links=tuple(links.split(",")), token_ms=int(token))
            return []
        began = self.cluster.world.now
        self.cluster.world.trace.clear()
        self._command(command, words)
        return [self._line(entry, began) for entry in self.cluster.world.trace if entry.split()[2] in SHOWN]

    def _command(self, command: str, words: list[str]) -> None:
        cluster = self.cluster
        match command:
            case "start":
                cluster.start(*map(int, words))
            case "crash" | "stop" | "pause" | "resume":
                for word in words:
                    getattr(cluster, command)(int(word))
            case "join" | "leave":
                getattr(cluster.managers[int(words[0])], command)()
            case "kill-manager":
                cluster.managers[int(words[0])].kill()
            case "submit":
                cluster.managers[int(words[0])].submit(int(words[1]))
            case "cut" | "mend":
                getattr(cluster.network, command)(int(words[0]), int(words[1]), *words[2:])
            case "partition":
                cluster.network.partition(*([int(n) for n in side.split(",")] for side in words))
            case "heal":
                cluster.network.heal()
            case "run":
                cluster.run(float(words[0]))
            case _:
                raise ValueError(f"unknown command {command}")

    @staticmethod
    def _line(entry: str, began: int) -> str:
        time, rest = entry.strip().split(" ", 1)
        return f"    {float(time) / 1000 - began / 1e9:5.2f} {rest}"


def outcome(path: Path) -> str:
    script = Script(path.stem)
    lines: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("    "):
            continue
        lines.append(line)
        if line.strip() and not line.startswith("#"):
            lines += script.do(line)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    text = outcome(path)
    if os.environ.get("QUORATE_REGENERATE"):
        path.write_text(text)
    assert text == path.read_text()


def test_there_are_scripts() -> None:
    assert SCRIPTS
