"""The manager of one node: wires the machines, routes their events and effects."""

from .configuration import ManagerConfiguration
from .machine import Manager

__all__ = ["Manager", "ManagerConfiguration"]
