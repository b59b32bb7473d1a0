"""Measurements, each with its method, on this stack or on Corosync and Pacemaker in the same laboratory."""
