"""Cluster options that fencing obeys."""

from __future__ import annotations

from quorate.model.cib import Cib, get_option
from quorate.model.time import parse_interval_ms

STONITH_TIMEOUT_MS_DEFAULT = 60_000


def stonith_timeout_ms(cib: Cib) -> int:
    text = get_option(cib, "fencing-timeout") or get_option(cib, "stonith-timeout")
    value = parse_interval_ms(text, STONITH_TIMEOUT_MS_DEFAULT)
    return STONITH_TIMEOUT_MS_DEFAULT if not value or value < 0 else value
