"""Running a resource's agent on this machine past the cluster: check, start, stop, promote, demote, validate.

Only OCF and LSB agents; parameters as the configuration has them, with overrides. The agent's output comes back whole,
bounded; a time limit ends its process group.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from quorate.core.scheduler import WorkingSet
from quorate.core.scheduler.configuration import parameters
from quorate.core.scheduler.working_set import Kind, Resource

from ..failure import CommandFailed, Exit
from . import agents

OUTPUT_BYTES_MAX = 1024 * 1024
TASKS = {
    "force-check": "monitor",
    "force-start": "start",
    "force-stop": "stop",
    "force-promote": "promote",
    "force-demote": "demote",
    "validate": "validate-all",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCall:
    """`resource` None: an agent by itself (validate)."""

    action: str
    standard: str
    provider: str | None
    agent: str
    resource: str | None
    parameters: dict[str, str]

    @property
    def spec(self) -> str:
        return ":".join(part for part in (self.standard, self.provider, self.agent) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentResult:
    code: int
    output: str
    errors: str
    timed_out: bool = False


def call_for(ws: WorkingSet, rsc: Resource, action: str, overrides: Mapping[str, str], node: str) -> AgentCall:
    """A clone stands for its first instance. CommandFailed(3) for groups and bundles."""
    if rsc.kind is Kind.CLONE and rsc.children and rsc.children[0].kind is Kind.PRIMITIVE:
        rsc = rsc.children[0]
    if rsc.kind is not Kind.PRIMITIVE:
        kind = rsc.kind.name.lower()
        raise CommandFailed(Exit.UNIMPLEMENT_FEATURE, f"Sorry, the {action} option doesn't support {kind} resources")
    found = dict(parameters(ws, rsc, ws.node_by_name.get(node)))
    found.update(overrides)
    return AgentCall(
        action=action,
        standard=rsc.agent_class,
        provider=rsc.agent_provider,
        agent=rsc.agent_type,
        resource=rsc.history_id,
        parameters=found,
    )


def run(call: AgentCall, environ: Mapping[str, str], *, timeout_s: float, level: str = "") -> AgentResult:
    """CommandFailed(64) when there is no such agent."""
    path = _path(call, environ)
    task = TASKS[call.action]
    if call.standard in ("lsb", "service"):
        task = {"monitor": "status"}.get(task, task)
    child = subprocess.Popen(
        [path, task],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(call, environ, level, timeout_s),
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        return AgentResult(code=1, output=_text(out), errors=_text(err), timed_out=True)
    code = child.returncode if child.returncode >= 0 else 1
    if call.standard in ("lsb", "service") and task == "status":
        code = {0: 0, 1: 7, 2: 7, 3: 7, 4: 1}.get(code, 1)
    return AgentResult(code=code, output=_text(out), errors=_text(err))


def _path(call: AgentCall, environ: Mapping[str, str]) -> str:
    if call.standard == "ocf" and call.provider:
        path = os.path.join(agents.resource_directory(environ), call.provider, call.agent)
    elif call.standard in ("lsb", "service"):
        path = os.path.join(agents.INIT_DIRECTORY, call.agent)
    else:
        path = ""
    if not path or not os.access(path, os.X_OK):
        raise CommandFailed(Exit.USAGE, f"{call.standard}:{call.provider or ''}:{call.agent} is not a known resource")
    return path


def _environment(call: AgentCall, environ: Mapping[str, str], level: str, timeout_s: float) -> dict[str, str]:
    env = {key: value for key, value in environ.items() if not key.startswith("OCF_RESKEY_")}
    env.setdefault("PATH", os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
    env |= {
        "LC_ALL": "C",
        "OCF_ROOT": environ.get("OCF_ROOT") or agents.OCF_ROOT_DEFAULT,
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1",
        "OCF_EXIT_REASON_PREFIX": "ocf-exit-reason:",
        "OCF_OUTPUT_FORMAT": "text",
        "OCF_RESOURCE_INSTANCE": call.resource or call.agent,
        "OCF_RESOURCE_TYPE": call.agent,
        "OCF_RESKEY_crm_feature_set": "3.16.1",
        "OCF_RESKEY_CRM_meta_timeout": str(int(timeout_s * 1000)),
        "HA_LOGFACILITY": "none",
    }
    if call.provider:
        env["OCF_RESOURCE_PROVIDER"] = call.provider
    if level:
        env["OCF_CHECK_LEVEL"] = level
    return env | {f"OCF_RESKEY_{name}": value for name, value in call.parameters.items()}


def _text(data: bytes) -> str:
    return data[:OUTPUT_BYTES_MAX].decode(errors="replace")
