"""Words and times as Pacemaker's tools print them. Source: output of crm_mon and crm_resource (2.1.5 and 3)."""

from __future__ import annotations

import time

RC_TEXT = {
    0: "ok", 1: "error", 2: "invalid parameter", 3: "unimplemented feature", 4: "insufficient privileges",
    5: "not installed", 6: "not configured", 7: "not running", 8: "promoted", 9: "promoted (failed)",
    190: "degraded", 191: "promoted (degraded)", 193: "unknown",
}  # fmt: skip
STATUS_TEXT = {
    -2: "unknown", -1: "pending", 0: "complete", 1: "Cancelled", 2: "Timed Out", 3: "NOT SUPPORTED", 4: "Error",
    5: "Hard error", 6: "Fatal error", 7: "Not installed", 8: "Internal communication failure", 9: "Cannot execute now",
    10: "No fence device", 11: "CIB secrets unavailable",
}  # fmt: skip


def rc_text(code: int) -> str:
    return RC_TEXT.get(code, "unknown")


def status_text(status: int) -> str:
    return STATUS_TEXT.get(status, "UNKNOWN!")


def calendar(seconds: float) -> str:
    """`Sat Nov 21 11:59:11 2026`, local time."""
    return time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(seconds))


def iso(seconds: float) -> str:
    """`2026-11-21 11:59:11Z`, or with the offset of the local zone."""
    local = time.localtime(seconds)
    offset = local.tm_gmtoff
    if offset == 0:
        return time.strftime("%Y-%m-%d %H:%M:%SZ", local)
    sign = "-" if offset < 0 else "+"
    minutes = abs(offset) // 60
    return time.strftime("%Y-%m-%d %H:%M:%S ", local) + f"{sign}{minutes // 60:02d}:{minutes % 60:02d}"


def interval(milliseconds: int) -> str:
    """`10s`, `1m30s`, `15.001s`, `33ms`."""
    if milliseconds <= 0:
        return "0s"
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{value}{unit}" for value, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if value]
    if seconds and rest:
        parts.append(f"{seconds}.{rest:03d}s")
    elif seconds:
        parts.append(f"{seconds}s")
    elif rest:
        parts.append(f"{rest}ms")
    return "".join(parts)


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
