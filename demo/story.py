"""The story of a fault, from what the laboratory, the nodes' logs, the observers and the client wrote down. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from laboratory import Holding, Outage

LOG_LINE = re.compile(r"^(\d{4}-\d\d-\d\dT[\d:.]+)Z (\S+) (\S+) (\S+) ([a-z-]+): (.*)$")

# What of a node's log belongs to the story of a lost node, in the words of the log itself.
CODES = (
    "link-down",
    "view-changed",
    "quorum-lost",
    "dc",
    "dc-active",
    "fencing-requested",
    "fencing-begun",
    "fencing-failed",
    "fenced",
)


@dataclass(frozen=True, slots=True, order=True)
class Step:
    at: int  # BOOTTIME ns
    who: str
    what: str


def log_steps(text: str, since: int, wall_minus_boottime_ns: int, codes: Iterable[str] = CODES) -> list[Step]:
    """Lines of a node's log with one of the codes, written at or after `since`."""
    wanted = frozenset(codes)
    found = []
    for line in text.splitlines():
        match = LOG_LINE.match(line)
        if match is None or match[5] not in wanted or match[3] == "supervisor":
            continue
        wall = datetime.datetime.fromisoformat(match[1] + "+00:00")
        at = round(wall.timestamp() * 1_000_000) * 1000 - wall_minus_boottime_ns
        if at >= since - 1_000_000:  # the log has milliseconds
            found.append(Step(max(at, since), match[2], f"{match[5]}: {match[6]}"))
    return found


def first_of_each(steps: Iterable[Step]) -> list[Step]:
    """Of lines that several nodes wrote about the same thing the first one; the same node's repetitions are dropped."""
    seen: set[str] = set()
    kept = []
    for step in sorted(steps):
        if step.what not in seen:
            seen.add(step.what)
            kept.append(step)
    return kept


def switch_steps(events: Iterable[Mapping[str, Any]], since: int) -> list[Step]:
    found = []
    for event in events:
        if event["t"] < since:
            continue
        if event["event"] == "switch-order":
            found.append(Step(event["t"], event["by"], f"orders the power switch: {event['action']} {event['plug']}"))
        elif event["event"] == "switch-confirmed":
            found.append(Step(event["t"], "switch", f"confirms: {event['action']} {event['plug']}"))
    return found


def address_steps(holdings: Mapping[str, Iterable[Holding]], address: str, since: int) -> list[Step]:
    return [
        Step(each.begin, node, f"holds {address} now")
        for node, held in holdings.items()
        for each in held
        if each.begin >= since
    ]


def client_steps(outage: Outage) -> list[Step]:
    return [
        Step(outage.last_good.ended, "client", f"last answer from {outage.last_good.answer}"),
        Step(outage.first_good.ended, "client", f"first answer from {outage.first_good.answer}"),
    ]


def told(steps: Iterable[Step], zero: int) -> str:
    return "\n".join(f"  {(step.at - zero) / 1e9:+8.3f} s  {step.who:7} {step.what}" for step in sorted(steps))
