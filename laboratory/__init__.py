"""Test equipment: whole machines as namespaces of this one, with power, cables, a client outside and observers inside.

Needs root and Linux; knows nothing of what runs in the nodes. See `lab.Laboratory` and `plan.Plan`.
"""

from .lab import ROOT, Laboratory, needs
from .machine import LaboratoryError
from .plan import Cable, Plan
from .timeline import Holding, Outage, Request

__all__ = ["ROOT", "Cable", "Holding", "Laboratory", "LaboratoryError", "Outage", "Plan", "Request", "needs"]
