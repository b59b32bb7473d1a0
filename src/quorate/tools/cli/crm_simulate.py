"""crm_simulate: see `tools/simulate.py`."""

from __future__ import annotations

from ..simulate import main

__all__ = ["main"]
