"""Fencing: devices from the configuration, requests in the log, their execution by another node."""

from .machine import Fencer

__all__ = ["Fencer"]
