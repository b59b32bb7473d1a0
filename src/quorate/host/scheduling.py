"""What the worker runs: the CIB's bytes in, the transition graph and the warnings for people out."""

from __future__ import annotations

from quorate.core.scheduler import schedule as decide
from quorate.model.cib import Cib
from quorate.model.graph import Graph


def schedule(cib: bytes, wall: int) -> tuple[Graph, tuple[str, ...]]:
    """Raises what the CIB or the scheduler raises; the worker turns it into an answer."""
    result = decide(Cib.parse(cib).root, wall)
    return result.graph, tuple(getattr(result, "messages", ()))
