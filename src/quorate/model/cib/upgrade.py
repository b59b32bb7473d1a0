"""Bringing a configuration to the newest schema."""

from __future__ import annotations

from .document import SCHEMA_DEFAULT
from .edit import Edit


def upgrade(edit: Edit) -> None:
    edit.set(edit.cib.root, "validate-with", SCHEMA_DEFAULT)
