"""What the worker runs: the CIB's bytes in, the transition graph and the warnings for people out."""

from __future__ import annotations

from quorate.core.scheduler import schedule_bytes
from quorate.model.graph import Graph


def schedule(cib: bytes, wall: int) -> tuple[Graph, tuple[str, ...]]:
    """Raises what the CIB or the scheduler raises; the worker turns it into an answer."""
    result = schedule_bytes(cib, wall)
    told = (message for message in result.messages if message.level in ("error", "warning"))
    return result.graph, tuple(f"{message.text} ({message.place})" if message.place else message.text for message in told)
