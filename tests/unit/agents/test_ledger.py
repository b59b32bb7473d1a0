"""What a manager that was killed had under way is ended by the next one; services and strangers are left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from quorate.host.agents import ledger as module
from quorate.host.agents.ledger import MARK, Ledger, boot_id, start_time

MANAGER = """
import asyncio, os, signal, sys
from pathlib import Path
from quorate.core import effects as fx
from quorate.host.agents import AgentRunner, AgentSettings
root = Path(sys.argv[1])
async def main():
    settings = AgentSettings(run_directory=root / "run", ocf_root=root / "ocf", working_directory=root)
    runner = AgentRunner(asyncio.get_running_loop(), print, settings)
    runner.prepare()
    for operation in ("start", "monitor"):
        runner.perform(fx.RunAgent(key=operation, resource="r", agent_class="ocf", provider="t", agent="x",
            operation=operation, interval_ms=0, timeout_ms=60000, parameters={}, meta={}))
    while not (root / "ready").exists():
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""

# its service runs on, in a group of its own; then the agent hangs with a child in its group
AGENT = """#!/bin/sh
if [ $1 = monitor ]; then exit 0; fi
setsid sleep 60 >/dev/null 2>&1 & echo $! >service
sleep 60 & echo $! >child
echo $$ >agent; touch ready; sleep 60
"""


def is_alive(pid: int) -> bool:
    return start_time(pid) is not None


def pid_in(path: Path) -> int:
    return int(path.read_text())


def test_a_killed_managers_actions_are_ended_and_services_are_not(tmp_path: Path) -> None:
    program = tmp_path / "ocf/resource.d/t/x"
    program.parent.mkdir(parents=True)
    program.write_text(AGENT)
    program.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", MANAGER, str(tmp_path)], timeout=20)
    assert done.returncode == -signal.SIGKILL
    agent, child, service = (pid_in(tmp_path / name) for name in ("agent", "child", "service"))
    assert is_alive(agent) and is_alive(child)
    ledger = Ledger(tmp_path / "run/ledger")
    outcomes = {orphan.key: (orphan.outcome, orphan.what) for orphan in ledger.end_orphans()}
    try:
        assert outcomes["start"] == ("ended", f"{program} start")
        assert outcomes.get("monitor", ("gone",))[0] == "gone"
        assert not is_alive(agent) and not is_alive(child) and is_alive(service)
        assert ledger.end_orphans() == [] and not list(ledger.directory.iterdir())
    finally:
        os.kill(service, signal.SIGKILL)


def entry(ledger: Ledger, text: str) -> None:
    ledger.directory.mkdir(parents=True, exist_ok=True)
    (ledger.directory / "1-1-1").write_text(text)


def test_a_reused_number_is_not_killed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with subprocess.Popen(["sleep", "60"], process_group=0) as stranger:
        entry(ledger, f"k\t{boot_id()}\tm\tx start\n{stranger.pid}\t{(start_time(stranger.pid) or 0) - 1}\n")
        assert [orphan.outcome for orphan in ledger.end_orphans()] == ["gone"]
        assert stranger.poll() is None
        entry(ledger, f"k\tanother-boot\tm\tx start\n{stranger.pid}\t{start_time(stranger.pid)}\n")
        assert ledger.end_orphans() == [] and stranger.poll() is None
        stranger.kill()


def test_killed_between_the_ledger_and_the_process_number(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    environment = {**os.environ, MARK: "the-mark"}
    script = tmp_path / "agent"
    script.write_text(textwrap.dedent("#!/bin/sh\nsetsid sleep 60 & sleep 60\n"))
    script.chmod(0o755)
    with subprocess.Popen([str(script), "start"], env=environment, process_group=0) as agent:
        entry(ledger, f"k\t{boot_id()}\tthe-mark\t{script} start\n")
        time.sleep(0.05)
        assert [(orphan.outcome, orphan.pid) for orphan in ledger.end_orphans()] == [("ended", agent.pid)]
        assert agent.wait() == -signal.SIGKILL
    left = module.find_marked("the-mark", "sleep 60")
    assert left and not module.find_marked("other-mark", "sleep 60")
    os.kill(left, signal.SIGKILL)


@pytest.mark.parametrize("text", ["", "\n", "x", "a\tb\n", "k\tBOOT\tm\tx\nnot\tnumbers\n", "\xff"])
def test_entries_without_meaning_are_removed(tmp_path: Path, text: str) -> None:
    ledger = Ledger(tmp_path)
    entry(ledger, text.replace("BOOT", boot_id()))
    assert all(orphan.outcome == "gone" for orphan in ledger.end_orphans())
    assert not list(tmp_path.iterdir())


def test_what_survives_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    monkeypatch.setattr(module, "END_GRACE_S", 0.05)
    monkeypatch.setattr(module, "_kill_group", lambda pid: None)
    with subprocess.Popen(["sleep", "60"], process_group=0) as process:
        entry(ledger, f"k\t{boot_id()}\tm\tx start\n{process.pid}\t{start_time(process.pid)}\n")
        assert [orphan.outcome for orphan in ledger.end_orphans()] == ["survives"]
        process.kill()


def test_keys_with_tabs_and_lines_stay_one_entry(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    path, mark = ledger.begin("a\tb\nc", "x start")
    fields = path.read_text().splitlines()[0].split("\t")
    assert fields == ["a b c", boot_id(), mark, "x start"]
    ledger.end(path)
    ledger.end(path)
    assert start_time(2**22 + 1) is None
