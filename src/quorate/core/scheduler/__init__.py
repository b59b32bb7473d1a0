"""Decides what the cluster should do: `schedule(cib, now) -> Schedule`, a pure function.

`unpack` alone gives the working set that the monitor shows. The pipeline stands in `pipeline.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .working_set import WorkingSet

if TYPE_CHECKING:
    from lxml import etree

    from .pipeline import Schedule

__all__ = ["WorkingSet", "schedule", "schedule_bytes", "unpack"]


def unpack(cib: etree._Element, now: int) -> WorkingSet:
    """Configuration and status of a CIB (an element `cib`, not modified) as a working set. `now` is wall seconds."""
    from .configuration import unpack_configuration
    from .status import unpack_status

    ws = WorkingSet(now=now, cib=cib)
    unpack_configuration(ws)
    unpack_status(ws)
    return ws


def schedule(cib: etree._Element, now: int, *, show_scores: bool = False, show_utilization: bool = False) -> Schedule:
    """The transition that leads from the CIB's status to what its configuration asks for. The CIB is not modified."""
    from .pipeline import run

    ws = unpack(cib, now)
    if show_scores:
        ws.score_lines = []
    ws.utilization_lines = show_utilization
    return run(ws)


def schedule_bytes(data: bytes, now: int) -> Schedule:
    """`schedule` for the worker process: the CIB as XML. Raises lxml.etree.XMLSyntaxError."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, remove_comments=True)
    return schedule(etree.fromstring(data, parser), now)
