"""Cluster options that the controller itself obeys, as the configuration has them now."""

from __future__ import annotations

from dataclasses import dataclass

from quorate.model.cib import Cib, get_option
from quorate.model.time import parse_interval_ms

FALSE = frozenset({"false", "off", "no", "n", "0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerOptions:
    """`fencing`: stonith-enabled. `policy`: no-quorum-policy. Times in milliseconds; 0 for the recheck: never."""

    fencing: bool = True
    startup_fencing: bool = True
    policy: str = "stop"
    dc_deadtime_ms: int = 20_000
    recheck_ms: int = 900_000
    cluster_delay_ms: int = 60_000


def read_options(cib: Cib) -> ControllerOptions:
    def text(*names: str) -> str | None:
        return next((value for name in names if (value := get_option(cib, name)) is not None), None)

    def switch(default: bool, *names: str) -> bool:
        value = text(*names)
        return default if value is None else value.strip().lower() not in FALSE

    def duration(name: str, default: int) -> int:
        value = parse_interval_ms(text(name), default)
        return default if value is None or value < 0 else value

    return ControllerOptions(
        fencing=switch(True, "fencing-enabled", "stonith-enabled", "stonith_enabled"),
        startup_fencing=switch(True, "startup-fencing", "startup_fencing"),
        policy=text("no-quorum-policy") or "stop",
        dc_deadtime_ms=duration("dc-deadtime", 20_000),
        recheck_ms=duration("cluster-recheck-interval", 900_000),
        cluster_delay_ms=duration("cluster-delay", 60_000),
    )
