"""Fail counts and last failures, from node attributes; whether they have expired."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from .scores import add_scores, parse_score
from .working_set import Node, OnFail, Operation, Resource, WorkingSet


class Count(enum.Flag):
    DEFAULT = 0
    EFFECTIVE = enum.auto()  # zero once expired
    FILLERS = enum.auto()  # with what runs inside the resource


class FailCount(NamedTuple):
    count: int  # type: ignore[assignment]
    last_failure: int  # wall seconds, 0 when unknown


_INSTANCE = re.compile(r":\d+$")


def strip_instance(name: str) -> str:
    return _INSTANCE.sub("", name)


def fail_name(rsc: Resource) -> str:
    name = rsc.history_id
    return name if rsc.unique else strip_instance(name)


class FailTable:
    """Fail counts and last failures by node, parsed once: {resource name: [(operation or "", value)]}."""

    def __init__(self) -> None:
        self.counts: dict[int, dict[str, list[tuple[str, str]]]] = {}
        self.times: dict[int, dict[str, list[tuple[str, str]]]] = {}

    def of(self, node: Node) -> tuple[dict[str, list[tuple[str, str]]], dict[str, list[tuple[str, str]]]]:
        found = self.counts.get(node.index)
        if found is None:
            found = {}
            times: dict[str, list[tuple[str, str]]] = {}
            for name, value in node.attributes.items():
                if name.startswith("fail-count-"):
                    rsc, _, operation = name[11:].partition("#")
                    found.setdefault(rsc, []).append((operation, value))
                elif name.startswith("last-failure-"):
                    rsc, _, operation = name[13:].partition("#")
                    times.setdefault(rsc, []).append((operation, value))
            self.counts[node.index] = found
            self.times[node.index] = times
        return found, self.times[node.index]


def _table(ws: WorkingSet) -> FailTable:
    table = ws.extra.get("failtable")
    if table is None:
        table = ws.extra["failtable"] = FailTable()
    found: FailTable = table
    return found


def fail_count(
    ws: WorkingSet, node: Node, rsc: Resource, flags: Count = Count.EFFECTIVE | Count.FILLERS,
    operation: Operation | None = None,
) -> FailCount:
    """How often `rsc` failed on `node`, and when last."""
    counts, times = _table(ws).of(node)
    if not counts and not times and not (Count.FILLERS in flags and rsc.fillers):
        return FailCount(0, 0)
    name = fail_name(rsc)
    count = last = 0
    for candidate, entries in counts.items():
        if candidate == name or (not rsc.unique and strip_instance(candidate) == name):
            for _, value in entries:
                count = add_scores(count, parse_score(value, 0) or 0)
    for candidate, entries in times.items():
        if candidate == name or (not rsc.unique and strip_instance(candidate) == name):
            for _, value in entries:
                seconds = parse_score_integer(value)
                last = max(last, seconds)
    if count and last and Count.EFFECTIVE in flags and rsc.failure_timeout_ms and not blocks_on_failure(ws, rsc, node):
        if ws.now > last + rsc.failure_timeout_ms // 1000:
            count = 0
    if Count.FILLERS in flags and rsc.fillers:
        for filler in rsc.fillers:
            more = fail_count(ws, node, filler, flags & ~Count.FILLERS)
            count = add_scores(count, more.count)
            last = max(last, more.last_failure)
    return FailCount(count, last)


def parse_score_integer(text: str) -> int:
    match = re.match(r"\s*(-?\d+)", text)
    return int(match[1]) if match else 0


def blocks_on_failure(ws: WorkingSet, rsc: Resource, node: Node) -> bool:
    """A failed operation with on-fail=block keeps its fail count until it is cleaned up."""
    from .operations import operation_settings

    for op in rsc.ops_xml:
        if op.get("on-fail") == "block" or any(
            pair.get("name") == "on-fail" and pair.get("value") == "block" for pair in op.iter("nvpair")
        ):
            break
    else:
        if not ws.op_defaults or not any(
            pair.get("name") == "on-fail" for block in ws.op_defaults for pair in block.iter("nvpair")
        ):
            return False
    for entry in rsc.operations:
        if entry.node is node and entry.failed:
            settings = operation_settings(ws, rsc, node, entry.task, entry.interval_ms)
            if settings.on_fail is OnFail.BLOCK:
                return True
    return False


def threshold_reached(ws: WorkingSet, rsc: Resource, node: Node) -> Resource | None:
    """The resource (outermost for anonymous clones) that failed too often on `node` to run there, or None."""
    if rsc.migration_threshold == 0 or rsc.failure_ignored:
        return None
    count = fail_count(ws, node, rsc).count
    if count > 0 and count >= rsc.migration_threshold:
        return rsc if rsc.unique else rsc.top
    return None
