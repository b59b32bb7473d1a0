"""Agents are given what Pacemaker gives them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from quorate.core.effects import RunAgent
from quorate.host.agents import AgentSettings
from quorate.host.agents.environment import fence_environment, ocf_environment, shared_environment
from quorate.host.agents.plans import lsb_plan

SHARED = Path(os.environ.get("QUORATE_SHARED", Path(__file__).parents[4] / "shared"))
SAMPLES = SHARED / "vectors" / "env_samples.json"
SETTINGS = AgentSettings(run_directory=Path("/nowhere"), working_directory=Path("/var/lib/pacemaker/cores"))
OURS = {"PATH", "HA_SBIN_DIR"}  # where this project's own commands are
PEER = {"HA_LOGFILE", "PCMK_logfile"}  # the peer's log file


def effect(values: dict[str, str], agent_class: str = "ocf") -> RunAgent:
    """The effect that must have led to a recorded call."""
    prefix, meta = "OCF_RESKEY_", "OCF_RESKEY_CRM_meta_"
    parameters = {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix) and not name.startswith(meta) and name != "OCF_RESKEY_crm_feature_set"
    }
    if "OCF_CHECK_LEVEL" in values:
        parameters["OCF_CHECK_LEVEL"] = values["OCF_CHECK_LEVEL"]
    given = {name.removeprefix(meta): value.strip() for name, value in values.items() if name.startswith(meta)}
    return RunAgent(
        key="k", resource=values.get("OCF_RESOURCE_INSTANCE", "r"), agent_class=agent_class, provider="test",
        agent=values.get("OCF_RESOURCE_TYPE", "x"), operation="start", interval_ms=int(given.get("interval", "0")),
        timeout_ms=int(given.get("timeout", "20000")), parameters=parameters, meta=given,
    )  # fmt: skip


def recorded() -> list[tuple[str, dict[str, str]]]:
    if not SAMPLES.exists():
        return []
    samples: dict[str, list[str]] = json.loads(SAMPLES.read_text())
    return [
        (name, dict(line.split("=", 1) for line in lines if "=" in line and ": " not in line.split("=", 1)[0]))
        for name, lines in sorted(samples.items())
    ]


@pytest.mark.skipif(not SAMPLES.exists(), reason="33 recorded environments: the shared vectors are not here")
def test_recorded_environments_are_built_alike() -> None:
    inherited = {"PATH": "/bin"}
    compared = 0
    for name, values in recorded():
        if "OCF_RESOURCE_INSTANCE" not in values:
            continue
        built = ocf_environment(shared_environment(SETTINGS, inherited), SETTINGS, effect(values))
        assert {k: v for k, v in built.items() if k not in OURS} == {
            k: v for k, v in values.items() if k not in PEER
        }, name
        compared += 1
    assert compared == 24


@pytest.mark.skipif(not SAMPLES.exists(), reason="recorded environments: the shared vectors are not here")
def test_recorded_fence_and_lsb_environments_are_built_alike(tmp_path: Path) -> None:
    samples = dict(recorded())
    shared = shared_environment(SETTINGS, {})
    fence = {k: v for k, v in fence_environment(shared).items() if k not in OURS | {"PWD"}}
    assert fence == {k: v for k, v in samples["fence.monitor"].items() if k not in PEER | {"action", "mode"}}
    (tmp_path / "x").write_text("")
    settings = AgentSettings(run_directory=tmp_path, init_directory=tmp_path)
    lsb = lsb_plan(settings, shared, effect({}, "lsb")).environment
    assert {k: v for k, v in lsb.items() if k not in OURS} == {
        k: v for k, v in samples["lsb.start"].items() if k not in PEER and not k.startswith("ARGV")
    }


def test_own_commands_come_first_and_the_interpreter_stays_out() -> None:
    shared = shared_environment(
        SETTINGS, {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/x", "VIRTUAL_ENV": "/y", "HOME": "/root"}
    )
    own = str(Path(sys.executable).parent)
    assert shared["PATH"] == f"{own}:/usr/bin:/bin" and shared["HA_SBIN_DIR"] == own and shared["HOME"] == "/root"
    assert not {"PYTHONPATH", "VIRTUAL_ENV"} & set(shared)


def test_meta_attributes_have_underscores_and_empty_lists_a_blank() -> None:
    given = effect({"OCF_RESKEY_CRM_meta_notify_stop_uname": "", "OCF_RESKEY_CRM_meta_clone-max": "2"})
    built = ocf_environment({}, SETTINGS, given)
    assert built["OCF_RESKEY_CRM_meta_notify_stop_uname"] == " " and built["OCF_RESKEY_CRM_meta_clone_max"] == "2"
    assert built["OCF_RESKEY_CRM_meta_timeout"] == "20000"


def test_names_that_no_environment_can_hold_are_left_out() -> None:
    given = effect({"OCF_RESKEY_a": "x\0y"})
    given.parameters["b=c"] = "z"
    built = ocf_environment({}, SETTINGS, given)
    assert built["OCF_RESKEY_a"] == "xy" and not [name for name in built if "=" in name]
