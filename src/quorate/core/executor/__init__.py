"""Runs what the log asks of this node: one action at a time for each resource, monitors, results to the log."""

from __future__ import annotations

from .machine import Executor

__all__ = ["Executor"]
