"""The same core in virtual time, with faults drawn from a seed and invariants checked from ground truth."""
