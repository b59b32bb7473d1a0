from __future__ import annotations
from .working_set import Resource, WorkingSet, Node
def host_meta(ws: WorkingSet, rsc: Resource, meta: dict[str, str], node: Node | None) -> None:
    return
