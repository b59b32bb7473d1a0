"""The environment of an agent's run: the whole OCF contract.

Source: OCF resource agent API 1.1; the environments that Pacemaker 2.1.5 gave to real agents.
"""

from __future__ import annotations

from collections.abc import Mapping

from quorate.core.effects import RunAgent
from quorate.model.cib.status import FEATURE_SET

from .settings import AgentSettings

_SHARED = {
    "LC_ALL": "C",
    "HA_debug": "0",
    "HA_logfacility": "daemon",
    "HA_LOGFACILITY": "daemon",
    "HA_mcp": "true",
    "HA_cluster_type": "corosync",
    "HA_quorum_type": "corosync",
    "PCMK_debug": "0",
    "PCMK_logfacility": "daemon",
    "PCMK_mcp": "true",
    "PCMK_cluster_type": "corosync",
    "PCMK_quorum_type": "corosync",
    "PCMK_watchdog": "false",
}
# what belongs to this program's own interpreter would mislead the agents that are Python programs
_NOT_INHERITED = frozenset(
    {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "VIRTUAL_ENV", "NOTIFY_SOCKET"}
)
PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EMPTY_LIST = " "  # an empty list of a notification is one blank, so that agents see that it is there


def shared_environment(settings: AgentSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """What every agent gets, whatever its class."""
    environment = {name: value for name, value in inherited.items() if name not in _NOT_INHERITED}
    environment |= _SHARED
    commands = str(settings.command_directory)
    path = [part for part in environment.get("PATH", PATH_DEFAULT).split(":") if part and part != commands]
    environment["PATH"] = ":".join((commands, *path))
    environment["HA_SBIN_DIR"] = commands
    environment["PWD"] = str(settings.working_directory)
    return environment | settings.variables


def executor_environment(shared: Mapping[str, str]) -> dict[str, str]:
    return {**shared, "OCF_OUTPUT_FORMAT": "text", "PCMK_service": "pacemaker-execd"}


def fence_environment(shared: Mapping[str, str]) -> dict[str, str]:
    return {**shared, "OCF_OUTPUT_FORMAT": "log", "PCMK_service": "pacemaker-fenced"}


def ocf_environment(shared: Mapping[str, str], settings: AgentSettings, effect: RunAgent) -> dict[str, str]:
    environment = executor_environment(shared)
    environment |= ocf_basics(settings, effect.provider or "", effect.agent)
    environment["OCF_RESOURCE_INSTANCE"] = effect.resource
    environment["OCF_RESKEY_crm_feature_set"] = FEATURE_SET
    for name, value in effect.parameters.items():
        if name == "OCF_CHECK_LEVEL":
            environment[name] = value
        else:
            environment[f"OCF_RESKEY_{name}"] = value
    for name, value in effect.meta.items():
        plain = name.replace("-", "_")
        if not value and plain.startswith("notify_"):
            value = EMPTY_LIST
        environment[f"OCF_RESKEY_CRM_meta_{plain}"] = value
    if "timeout" not in effect.meta:
        environment["OCF_RESKEY_CRM_meta_timeout"] = str(effect.timeout_ms)
    if effect.interval_ms and "interval" not in effect.meta:
        environment["OCF_RESKEY_CRM_meta_interval"] = str(effect.interval_ms)
    return {name: value.replace("\0", "") for name, value in environment.items() if _is_name(name)}


def ocf_basics(settings: AgentSettings, provider: str, agent: str) -> dict[str, str]:
    return {
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1",
        "OCF_ROOT": str(settings.ocf_root),
        "OCF_EXIT_REASON_PREFIX": "ocf-exit-reason:",
        "OCF_RESOURCE_TYPE": agent,
        "OCF_RESOURCE_PROVIDER": provider,
    }


def _is_name(name: str) -> bool:
    """The kernel takes no "=" or zero in a name; a parameter called so cannot be given to an agent at all."""
    return "=" not in name and "\0" not in name
