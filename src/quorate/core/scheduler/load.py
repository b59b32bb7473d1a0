from __future__ import annotations
def create_utilization_constraints(ws, rsc): return
