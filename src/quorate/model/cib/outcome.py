"""What became of an operation."""

from __future__ import annotations

import msgspec

from quorate.model.reports import Report


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`rc` is the exit code of Pacemaker's tools (0 is OK); on any other value the document is unchanged.

    `patch` is the version 2 patch set of what changed, None where nothing did. `config_changed` also covers the epochs
    and the schema: it tells what must be on disk before it is acknowledged.
    """

    rc: int
    message: str
    patch: bytes | None = None
    config_changed: bool = False
    changed: bool = False
    reports: tuple[Report, ...] = ()


def failure(rc: int, message: str, *reports: Report) -> Outcome:
    return Outcome(rc=int(rc), message=message, reports=reports)
