"""What the records say: how long a client was without answer, and whether an address ever had two holders. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    began: int
    ended: int
    answer: str | None  # the body, None when there was none
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    last_good: Request
    first_good: Request

    @property
    def duration_ns(self) -> int:
        return self.first_good.ended - self.last_good.ended


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Holding:
    """From the first to the last instant at which the node may have held the address; `end` None: it still does."""

    begin: int
    end: int | None
    node: str


def parse_requests(text: str) -> list[Request]:
    requests = []
    for line in text.splitlines():
        times, _, rest = line.partition("|")
        parts = times.split()
        if len(parts) != 3:
            continue  # the line being written
        good = parts[2] == "ok"
        requests.append(
            Request(
                began=int(parts[0]), ended=int(parts[1]), answer=rest if good else None, failure="" if good else rest
            )
        )
    return sorted(requests, key=lambda request: request.ended)


def longest_outage(requests: Sequence[Request], since: int, until: int | None = None) -> Outage | None:
    """The longest time between two good answers that follow each other, of those that end after `since`.

    None when there is none: no answer before, or none after.
    """
    good = [request for request in requests if request.answer is not None]
    found: Outage | None = None
    for before, after in zip(good, good[1:], strict=False):
        if after.ended < since or (until is not None and before.ended > until):
            continue
        outage = Outage(last_good=before, first_good=after)
        if found is None or outage.duration_ns > found.duration_ns:
            found = outage
    return found


def holdings(node: str, observations: str, address: str, power_offs: Iterable[int]) -> list[Holding]:
    """When `node` held `address`. Power off (the confirmed instant) ends a holding that no event ended."""
    marks: list[tuple[int, bool]] = [(at, False) for at in power_offs]
    for line in observations.splitlines():
        parts = line.split()
        if len(parts) != 3:
            continue
        time, what, subject = parts
        if what == "boot":
            marks.append((int(time), False))
        elif subject == address and what in ("up", "seen", "down", "gone"):
            marks.append((int(time), what in ("up", "seen")))
    found: list[Holding] = []
    begin: int | None = None
    for at, has in sorted(marks):
        if has and begin is None:
            begin = at
        elif not has and begin is not None:
            found.append(Holding(begin=begin, end=at, node=node))
            begin = None
    if begin is not None:
        found.append(Holding(begin=begin, end=None, node=node))
    return found


def overlaps(held: Mapping[str, Sequence[Holding]]) -> list[tuple[Holding, Holding]]:
    """Pairs of holdings of different nodes that have an instant in common."""
    ordered = sorted(holding for each in held.values() for holding in each)
    found = []
    for number, first in enumerate(ordered):
        for second in ordered[number + 1 :]:
            if first.end is not None and second.begin >= first.end:
                break
            if first.node != second.node:
                found.append((first, second))
    return found
