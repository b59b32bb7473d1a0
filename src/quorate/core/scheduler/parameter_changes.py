from __future__ import annotations
def check_history(ws): return
def clear_removed_fail_counts(ws): return
