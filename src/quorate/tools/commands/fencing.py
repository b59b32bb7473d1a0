"""Fencing by hand: who can fence whom, do it, confirm it, what was done."""

from __future__ import annotations

from quorate.model import protocol

from ..backends import Backend
from ..failure import CommandFailed, Exit

MARGIN_SECONDS = 10.0  # the manager's own limit comes first


def devices(backend: Backend, target: str | None = None) -> list[str]:
    """Registered devices, those that can fence `target` if one is named."""
    data = backend.request("fence-devices", target=target).data
    return [str(name) for name in data] if isinstance(data, list | tuple) else []


def require_device(backend: Backend, name: str) -> None:
    if name not in devices(backend):
        raise CommandFailed(Exit.NOSUCH, f"There is no fence device '{name}'")


def fence(
    backend: Backend, target: str, action: str, *, timeout_ms: int, tolerance_ms: int = 0, delay_ms: int = 0
) -> None:
    """`action`: off, reboot or on. Returns when it is done. CommandFailed says why not."""
    backend.request(
        "fence",
        timeout=timeout_ms / 1000 + delay_ms / 1000 + MARGIN_SECONDS,
        target=target,
        action=action,
        timeout_ms=timeout_ms,
        tolerance_ms=tolerance_ms,
        delay_ms=delay_ms,
    )


def confirm(backend: Backend, target: str) -> None:
    """The operator's word that the node is off."""
    backend.request("confirm", target=target)


def history(backend: Backend, target: str | None) -> list[protocol.FenceRecord]:
    """Newest first; None: of all nodes."""
    found = [r for r in backend.status(cib=False).fences if target is None or r.target == target]
    return sorted(found, key=lambda r: -(r.ended_at or r.began_at))


def clear_history(backend: Backend, target: str | None) -> None:
    backend.request("fence-history", target=target, clear=True)
