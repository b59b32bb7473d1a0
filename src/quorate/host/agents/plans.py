"""How each class of agent is run: which program, with what arguments, environment and input, and what its code means.

Source: OCF resource agent API 1.1; Linux Standard Base, "Init Script Actions"; FenceAgentAPI; Pacemaker Administration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quorate.core.effects import RunAgent

from .environment import executor_environment, fence_environment, ocf_basics, ocf_environment
from .settings import AgentSettings

OCF_OK, OCF_ERROR, OCF_UNIMPLEMENTED, OCF_PERMISSION, OCF_NOT_INSTALLED, OCF_NOT_RUNNING = 0, 1, 3, 4, 5, 7
_plain_name = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*")
_LSB_STATUS = {0: OCF_OK, 1: OCF_NOT_RUNNING, 2: OCF_NOT_RUNNING, 3: OCF_NOT_RUNNING, 4: OCF_ERROR}
_LSB_STATUS |= {150: OCF_NOT_INSTALLED, 151: OCF_PERMISSION}
_LSB_ACTIONS = frozenset({"start", "stop", "status", "restart", "reload", "force-reload"})


class NoSuchAgent(Exception):
    """There is no such agent here; the message says where it was looked for."""


class UnknownAction(Exception):
    """This class of agent has no such action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`lsb_status`: the exit code is one of an LSB status call."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    stdin: bytes | None = None
    lsb: bool = False
    lsb_status: bool = False

    def code(self, exit_code: int) -> int:
        """The OCF code of an exit code; a signal is an error."""
        if exit_code < 0:
            return OCF_ERROR
        if not self.lsb:
            return exit_code
        if self.lsb_status:
            return _LSB_STATUS.get(exit_code, OCF_ERROR)
        return exit_code if exit_code <= OCF_NOT_RUNNING else OCF_ERROR


def find_ocf(settings: AgentSettings, provider: str | None, agent: str) -> Path:
    if not _plain_name.fullmatch(provider or "") or not _plain_name.fullmatch(agent):
        raise NoSuchAgent(f"ocf:{provider}:{agent} is not the name of an agent")
    places = settings.ocf_directories()
    for directory in places:
        path = directory / str(provider) / agent
        if path.is_file():
            return path
    raise NoSuchAgent(f"ocf:{provider}:{agent} is not installed: no {provider}/{agent} in {_listed(places)}")


def find_lsb(settings: AgentSettings, agent: str) -> Path:
    path = settings.init_directory / agent
    if not _plain_name.fullmatch(agent) or not path.is_file():
        raise NoSuchAgent(f"lsb:{agent} is not installed: no {path}")
    return path


def find_fence(settings: AgentSettings, agent: str) -> Path:
    if _plain_name.fullmatch(agent):
        for directory in settings.fence_directories:
            path = directory / agent
            if path.is_file():
                return path
    raise NoSuchAgent(f"stonith:{agent} is not installed: no {agent} in {_listed(settings.fence_directories)}")


def _listed(places: tuple[Path, ...]) -> str:
    return ", ".join(str(place) for place in places)


def ocf_plan(settings: AgentSettings, shared: Mapping[str, str], effect: RunAgent) -> Plan:
    path = find_ocf(settings, effect.provider, effect.agent)
    return Plan(argv=(str(path), effect.operation), environment=ocf_environment(shared, settings, effect))


def ocf_metadata_plan(settings: AgentSettings, shared: Mapping[str, str], provider: str, agent: str) -> Plan:
    path = find_ocf(settings, provider, agent)
    environment = executor_environment(shared) | ocf_basics(settings, provider, agent)
    environment["OCF_RESOURCE_INSTANCE"] = agent
    return Plan(argv=(str(path), "meta-data"), environment=environment)


def lsb_plan(settings: AgentSettings, shared: Mapping[str, str], effect: RunAgent) -> Plan:
    path = find_lsb(settings, effect.agent)
    action = "status" if effect.operation == "monitor" else effect.operation
    if action not in _LSB_ACTIONS:
        raise UnknownAction(f"an LSB script has no action {effect.operation}")
    return Plan(
        argv=(str(path), action), environment=executor_environment(shared), lsb=True, lsb_status=action == "status"
    )


def fence_plan(
    settings: AgentSettings, shared: Mapping[str, str], agent: str, action: str, parameters: Mapping[str, str]
) -> Plan:
    """Options on standard input, one to a line; they never appear among the arguments or in the environment."""
    path = find_fence(settings, agent)
    options = {**parameters} if "action" in parameters else {"action": action, **parameters}
    lines = [f"{name}={_one_line(value)}\n" for name, value in options.items()]
    return Plan(argv=(str(path),), environment=fence_environment(shared), stdin="".join(lines).encode())


def _one_line(value: str) -> str:
    """A line break would begin another option."""
    return value.replace("\r", " ").replace("\n", " ")
