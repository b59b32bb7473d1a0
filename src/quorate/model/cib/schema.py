"""placeholder"""
from __future__ import annotations
from ..reports import Report
from .document import Cib
from .edit import Edit
def validate(cib: Cib) -> list[Report]:
    return []
def validate_edit(edit: Edit) -> list[Report]:
    return []
