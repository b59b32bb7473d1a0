"""Fence devices as resources: to start one is to register it and let its agent check the device.

The state is in memory only: a restarted manager has registered nothing, and its probe says so.
Source: Pacemaker Explained, "Fencing": start, stop and monitor of stonith resources.
"""

from __future__ import annotations

from quorate.core import effects as fx
from quorate.model.entries import ActionRequest
from quorate.model.time import parse_interval_ms

from .queue import Name

_CONTROL = ("pcmk_", "CRM_meta_")
_NOT_PASSED = frozenset({"crm_feature_set", "action", "provides", "priority"})


class Devices:
    def __init__(self) -> None:
        self._registered: dict[Name, ActionRequest] = {}

    def registered(self) -> tuple[str, ...]:
        return tuple(sorted(resource for _, resource in self._registered))

    def is_registered(self, name: Name) -> bool:
        return name in self._registered

    def register(self, name: Name, request: ActionRequest) -> None:
        self._registered[name] = request

    def unregister(self, name: Name) -> None:
        self._registered.pop(name, None)


def monitor_effect(request: ActionRequest, run: str) -> fx.RunFenceAgent:
    """The agent's own check of the device; `pcmk_monitor_action` and `pcmk_monitor_timeout` have their say."""
    parameters = request.parameters
    action = parameters.get("pcmk_monitor_action") or "monitor"
    timeout_ms = parse_interval_ms(parameters.get("pcmk_monitor_timeout"), request.timeout_ms) or request.timeout_ms
    passed = {
        name: value for name, value in parameters.items() if not name.startswith(_CONTROL) and name not in _NOT_PASSED
    }
    return fx.RunFenceAgent(
        key=run, agent=request.agent, action=action, timeout_ms=timeout_ms, parameters={"action": action, **passed}
    )
