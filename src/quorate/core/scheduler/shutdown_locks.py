from __future__ import annotations


def apply_shutdown_locks(ws): return
