"""The controller: on the DC, schedules when something relevant has changed and carries the transition graph out."""

from .machine import Controller

__all__ = ["Controller"]
