"""What a stack must be able to do for demonstrations, tests and measurements, whatever it is made of."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar
from xml.etree import ElementTree

from ..kernel import boottime_ns
from ..lab import ROOT, Laboratory
from ..machine import LaboratoryError
from ..plan import Cable, Plan
from .configuration import Configuration

T = TypeVar("T")
FENCE_AGENT = f"{ROOT}/agents/fence/fence_laboratory"


class StackError(Exception):
    """The stack did not do what was waited for; the text says what was seen instead."""


class Stack(ABC):
    name: str
    manager: tuple[str, ...]  # words of the manager's command line, and of the group layer's
    engine: tuple[str, ...]

    @abstractmethod
    def missing(self) -> str | None:
        """What must be installed for it, as a sentence, or None."""

    @abstractmethod
    def plan(
        self, nodes: Sequence[str], *, token_ms: int = 1000, heartbeat_networks: Sequence[str] = ("net0", "net1"),
        networks: Sequence[str] = ("net0", "net1"), cables: Sequence[Cable] = (), two_node: bool = False,
        observe: Sequence[str] = (), files: dict[str, tuple[str, int]] | None = None,
    ) -> Plan: ...  # fmt: skip

    @abstractmethod
    def logs(self, lab: Laboratory, node: str) -> str: ...

    # ---- commands, the same for all -------------------------------------------------------------------------------

    def configure(self, lab: Laboratory, node: str, configuration: Configuration) -> None:
        xml = f"<configuration>{''.join(configuration.sections().values())}</configuration>"
        command = ["cibadmin", "--modify", "--allow-create", "--xml-text", xml]
        self.until("the configuration is accepted", lambda: lab.run(node, command), timeout=30)

    def status(self, lab: Laboratory, node: str) -> ElementTree.Element:
        """crm_mon's XML as the node sees the cluster."""
        done = lab.run(node, ["crm_mon", "--one-shot", "--output-as=xml"], timeout=20)
        return ElementTree.fromstring(done.stdout)

    def online(self, lab: Laboratory, node: str) -> set[str]:
        tree = self.status(lab, node)
        return {
            each.get("name", "")
            for each in tree.findall("./nodes/node")
            if each.get("online") == "true" and each.get("pending") != "true" and each.get("unclean") != "true"
        }

    def running(self, lab: Laboratory, node: str) -> dict[str, set[str]]:
        """Resource -> the nodes it is active on, as the node sees it."""
        found: dict[str, set[str]] = {}
        for resource in self.status(lab, node).iter("resource"):
            on = {each.get("name", "") for each in resource.findall("node")}
            busy = resource.get("active") != "true" or resource.get("failed") == "true" or resource.get("pending")
            found.setdefault(resource.get("id", ""), set()).update(set() if busy else on)
        return found

    def until(self, what: str, ask: Callable[[], T], timeout: float = 60, step: float = 0.1) -> T:
        """Ask until the answer is true; commands that fail meanwhile count as false."""
        deadline = boottime_ns() + int(timeout * 1e9)
        while True:
            try:
                answer, seen = ask(), ""
                if answer:
                    return answer
                seen = repr(answer)
            except (LaboratoryError, ElementTree.ParseError) as error:
                seen = str(error)
            if boottime_ns() > deadline:
                raise StackError(f"not within {timeout:.0f} s: {what} (last seen: {seen})")
            time.sleep(step)

    def all_online(self, lab: Laboratory, nodes: Sequence[str] | None = None, timeout: float = 90) -> None:
        wanted = set(nodes or lab.plan.nodes)
        viewer = sorted(wanted)[0]
        self.until(f"{' '.join(sorted(wanted))} online", lambda: self.online(lab, viewer) >= wanted, timeout)

    def runs(self, lab: Laboratory, viewer: str, resources: Sequence[str], timeout: float = 60) -> None:
        def ask() -> bool:
            running = self.running(lab, viewer)
            return all(running.get(each) for each in resources)

        self.until(f"{' '.join(resources)} running", ask, timeout)
