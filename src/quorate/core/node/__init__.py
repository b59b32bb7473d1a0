"""The manager of one node: wires the machines, routes their events and effects."""

from .machine import Manager, ManagerConfiguration

__all__ = ["Manager", "ManagerConfiguration"]
