"""Real processes, small ones: ends, timeouts, floods, leftovers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.host.agents import AgentRunner, alternatives, list_agents, providers, standards
from quorate.host.agents import process as process_module

from .conftest import Bench, agent


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually_dead(pid: int) -> bool:
    deadline = time.time() + 5
    while alive(pid) and time.time() < deadline:
        time.sleep(0.01)
    return not alive(pid)


def test_code_reason_and_output(bench: Bench) -> None:
    bench.ocf(
        'echo out; echo "ocf-exit-reason:first" >&2; echo "ocf-exit-reason: last one " >&2; echo noise >&2; exit 7'
    )
    exited = bench.exited(agent())
    assert (exited.rc, exited.reason, exited.output, exited.timed_out) == (7, "last one", "out\n", False)
    assert exited.errors.endswith("noise\n") and exited.started_at > 1_000_000_000 and exited.execution_ms < 5_000


def test_what_the_process_is_like(bench: Bench) -> None:
    bench.ocf('echo "$1 $(pwd) $(umask) $(readlink /proc/self/fd/0) $(ls /proc/self/fd | wc -l)"\n'
              'echo $$ $(cut -d" " -f5 /proc/$$/stat); grep SigIgn /proc/$$/status')  # fmt: skip
    with open("/dev/null") as extra:
        os.set_inheritable(extra.fileno(), False)
        lines = bench.exited(agent("start")).output.splitlines()
    assert lines[0] == f"start {bench.root} 0026 /dev/null 4"  # three and the directory itself
    pid, group = lines[1].split()
    assert pid == group
    assert int(lines[2].split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0
    assert os.umask(0o022) == 0o022


def test_a_script_without_interpreter_line(bench: Bench) -> None:
    bench.program("ocf/resource.d/test/x", 'echo "hello $1"\n')
    assert bench.exited(agent()).output == "hello monitor\n"


def test_a_daemon_that_holds_the_output_open_does_not_hold_up_the_end(bench: Bench) -> None:
    bench.ocf("sleep 30 & echo $!; exit 0")
    began = time.time()
    exited = bench.exited(agent("start"))
    assert exited.rc == 0 and time.time() - began < 5
    daemon = int(exited.output)
    assert alive(daemon)  # it was started for good
    os.kill(daemon, signal.SIGKILL)


def test_the_timeout_ends_the_whole_group(bench: Bench) -> None:
    bench.ocf("sleep 30 & echo $! $$; trap '' TERM; sleep 30")
    exited = bench.exited(agent(timeout_ms=300))
    assert exited.timed_out and not exited.alive and not exited.killed and 250 < exited.execution_ms < 5_000
    assert all(eventually_dead(int(pid)) for pid in exited.output.split())


def test_kill(bench: Bench) -> None:
    bench.ocf("echo $$; sleep 30")
    effects = (agent(), fx.KillAgent(key="k"), fx.KillAgent(key="k"), fx.KillAgent(key="unknown"))
    exited = bench.exited(*effects)
    assert exited.killed and not exited.timed_out


def test_what_cannot_be_ended_is_reported_as_such(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.ocf("sleep 0.6")
    monkeypatch.setattr(process_module, "KILL_GRACE_S", 0.1)
    monkeypatch.setattr(process_module, "_kill_group", lambda pid: None)
    runners: list[AgentRunner] = []

    def note(runner: AgentRunner) -> None:
        runners.append(runner)

    try:
        exited = bench.exited(agent(timeout_ms=100), after=note)
    except AssertionError:
        pass  # the ledger's entry stays, for the next manager
    else:
        pytest.fail(f"the ledger forgot it: {exited}")
    assert list(bench.settings.run_directory.glob("ledger/*"))


@pytest.mark.parametrize("stream", ["1", "2"])
def test_megabytes_of_output_neither_block_nor_grow(bench: Bench, stream: str) -> None:
    bench.ocf(f"echo ocf-exit-reason:early >&2; head -c 30000000 /dev/zero | tr '\\0' 'x' >&{stream}; exit 3")
    exited = bench.exited(agent())
    assert exited.rc == 3 and exited.reason == "early"
    assert len(exited.output) + len(exited.errors) <= 1024 * 1024 + 64 * 1024


def test_output_that_is_not_text(bench: Bench) -> None:
    bench.ocf("printf '\\377\\376\\n'; printf 'ocf-exit-reason:\\377\\n' >&2; exit 1")
    exited = bench.exited(agent())
    assert exited.reason == "\ufffd" and exited.output == "\ufffd\ufffd\n"


def test_ended_by_a_signal(bench: Bench) -> None:
    bench.ocf("kill -SEGV $$")
    exited = bench.exited(agent())
    assert exited.rc == 1 and exited.reason == "the agent was ended by signal 11" and not exited.killed


@pytest.mark.parametrize("name", ["nope", "../test/x", "", "a/b"])
def test_an_agent_that_is_not_there(bench: Bench, name: str) -> None:
    bench.ocf("exit 0")
    exited = bench.exited(agent(name=name))
    assert exited.missing and exited.rc == 5 and exited.reason.startswith(f"ocf:test:{name} is not")


def test_an_agent_without_an_interpreter_or_permission(bench: Bench) -> None:
    bench.program("ocf/resource.d/test/x", "#!/no/such/interpreter\n")
    assert bench.exited(agent()).missing
    bench.program("ocf/resource.d/test/x", "#!/bin/sh\n", executable=False)
    exited = bench.exited(agent())
    assert exited.rc == 4 and not exited.missing and "Permission denied" in exited.reason


def test_many_at_once_each_answered_once(bench: Bench) -> None:
    bench.ocf("exit $OCF_RESKEY_code")
    effects = [agent(key=str(code), parameters={"code": str(code)}) for code in range(40)]
    answers = bench.run(*effects)
    assert sorted(int(answer.key) for answer in answers if isinstance(answer, ev.AgentExited)) == list(range(40))
    assert all(isinstance(answer, ev.AgentExited) and answer.rc == int(answer.key) for answer in answers)


def test_no_ledger_no_action(bench: Bench) -> None:
    bench.ocf("touch ran")

    def ruin(runner: AgentRunner) -> None:
        directory = runner.ledger.directory
        directory.rmdir()
        directory.write_text("")
        runner.perform(agent(key="second"))

    try:
        exited = bench.run(after=ruin, answers=1)[0]
    finally:
        (bench.root / "run/ledger").unlink()
    assert isinstance(exited, ev.AgentExited) and exited.rc == 1 and "without the ledger" in exited.reason
    assert not (bench.root / "ran").exists()


# ---- fence agents -----------------------------------------------------------------------------------------------


def test_fence_agent_reads_its_options(bench: Bench) -> None:
    bench.fence('echo "$# $OCF_OUTPUT_FORMAT ${OCF_ROOT-none}"; cat; env | grep -c hunter2; exit 2')
    effect = fx.RunFenceAgent(key="k", agent="fence_x", action="off", timeout_ms=9_000,
                              parameters={"port": "n1", "passwd": "hunter2", "odd": "two\nlines"})  # fmt: skip
    exited = bench.exited(effect)
    assert exited.rc == 2
    assert exited.output == "0 log none\naction=off\nport=n1\npasswd=hunter2\nodd=two lines\n0\n"


def test_fence_agent_that_never_reads(bench: Bench) -> None:
    bench.fence("exit 0")
    effect = fx.RunFenceAgent(key="k", agent="fence_x", action="off", timeout_ms=9_000, parameters={"x": "y" * 50_000})
    assert bench.exited(effect).rc == 0
    effect = fx.RunFenceAgent(key="k", agent="fence_x", action="off", timeout_ms=9_000, parameters={"x": "y" * 70_000})
    assert "longer than" in bench.exited(effect).reason


def test_missing_fence_agent_names_the_places(bench: Bench) -> None:
    exited = bench.exited(fx.RunFenceAgent(key="k", agent="fence_no", action="off", timeout_ms=1, parameters={}))
    assert exited.missing and f"no fence_no in {bench.root}/fence" in exited.reason


# ---- init scripts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "code", "rc"),
    [("monitor", 0, 0), ("monitor", 1, 7), ("monitor", 3, 7), ("monitor", 4, 1), ("monitor", 150, 5),
     ("monitor", 151, 4),
     ("monitor", 99, 1), ("start", 0, 0), ("start", 5, 5), ("stop", 7, 7), ("stop", 8, 1)],
)  # fmt: skip
def test_init_scripts_codes(bench: Bench, operation: str, code: int, rc: int) -> None:
    bench.program("init.d/x", f'#!/bin/sh\necho "$1 ${{OCF_ROOT-none}}"; exit {code}\n')
    exited = bench.exited(agent(operation, agent_class="lsb", provider=None))
    assert exited.rc == rc
    assert exited.output == ("status none\n" if operation == "monitor" else f"{operation} none\n")


def test_init_scripts_know_few_actions(bench: Bench) -> None:
    bench.program("init.d/x", "#!/bin/sh\n")
    assert bench.exited(agent("promote", agent_class="lsb")).rc == 3
    assert bench.exited(agent(agent_class="lsb", name="y")).missing
    assert bench.exited(agent(agent_class="service")).rc == 0
    assert bench.exited(agent(agent_class="upstart")).missing


# ---- metadata ---------------------------------------------------------------------------------------------------


def metadata(bench: Bench, name: str, times: int = 1) -> list[ev.MetadataLoaded]:
    answers = bench.run(*(fx.LoadMetadata(agent=name) for _ in range(times)))
    return [answer for answer in answers if isinstance(answer, ev.MetadataLoaded)]


def test_metadata_of_each_class(bench: Bench) -> None:
    bench.ocf('echo "<resource-agent name=\\"$1\\"/>"; echo x >>count')
    loaded = metadata(bench, "ocf:test:x", 3)
    assert [answer.xml for answer in loaded] == [b'<resource-agent name="meta-data"/>\n'] * 3
    assert (bench.root / "count").read_text() == "x\n"  # asked once
    bench.fence('read line; test "$line" = action=metadata && echo "<resource-agent/>"')
    assert metadata(bench, "stonith:fence_x")[0].xml == b"<resource-agent/>\n"
    bench.program("init.d/x", "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: x\n# Short-Description: short & sweet\n"
                              "# Description: long\n#   and longer\n### END INIT INFO\n")  # fmt: skip
    xml = metadata(bench, "lsb:x")[0].xml or b""
    assert b"short &amp; sweet" in xml and b"long and longer" in xml


@pytest.mark.parametrize(
    ("body", "error"), [("exit 3", "ended with code 3"), ("echo hi", "printed no metadata"), ("kill -9 $$", "code -9")]
)
def test_metadata_that_is_not_to_be_had(bench: Bench, body: str, error: str) -> None:
    bench.ocf(body)
    loaded = metadata(bench, "ocf:test:x")[0]
    assert loaded.xml is None and error in loaded.error


@pytest.mark.parametrize("name", ["ocf:test:no", "stonith:no", "lsb:no", "odd:x", "nonsense", ""])
def test_metadata_of_what_is_not_there(bench: Bench, name: str) -> None:
    loaded = metadata(bench, name)[0]
    assert loaded.xml is None and loaded.error and loaded.agent == name


# ---- listing ----------------------------------------------------------------------------------------------------


def test_listing(bench: Bench) -> None:
    bench.ocf("", "one")
    bench.program("more/other/two", "")
    bench.program("more/test/three", "")
    bench.program("more/test/readme", "", executable=False)
    bench.fence("")
    bench.program("fence/fence_ack_manual", "")
    assert providers(bench.settings) == ["other", "test"]
    assert list_agents(bench.settings, "ocf", "test") == ["one", "three"]
    assert list_agents(bench.settings, "ocf") == ["one", "three", "two"]
    assert list_agents(bench.settings, "stonith") == ["fence_x"]
    assert list_agents(bench.settings, "odd") == []
    assert alternatives(bench.settings, "two") == ["other"]
    assert "lsb" not in standards(bench.settings)
    bench.program("init.d/x", "")
    assert standards(bench.settings)[:3] == ["ocf", "lsb", "service"] and list_agents(bench.settings, "lsb") == ["x"]
