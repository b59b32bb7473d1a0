from __future__ import annotations
from .working_set import Resource, WorkingSet
def unpack_bundle(ws: WorkingSet, rsc: Resource, element) -> bool:
    return False
