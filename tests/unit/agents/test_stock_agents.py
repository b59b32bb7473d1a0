"""The distribution's own agents through the runner, in a network namespace of the test's own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.host.agents import AgentRunner, AgentSettings

AGENTS = Path("/usr/lib/ocf/resource.d")
NAMESPACE = f"qexec-{os.getpid()}"
CYCLE = ("monitor", "start", "monitor", "stop", "monitor")


async def _cycle(agent: str, run_directory: Path, parameters: dict[str, str]) -> list[list[Any]]:
    got: asyncio.Queue[ev.AgentExited | ev.MetadataLoaded] = asyncio.Queue()
    settings = AgentSettings(run_directory=run_directory)
    runner = AgentRunner(asyncio.get_running_loop(), got.put_nowait, settings)
    runner.prepare()
    provider, name = agent.split(":")
    answers: list[list[Any]] = []
    for number, operation in enumerate(CYCLE):
        runner.perform(
            fx.RunAgent(key=str(number), resource="t", agent_class="ocf", provider=provider, agent=name,
                        operation=operation, interval_ms=0, timeout_ms=30_000, parameters=parameters,
                        meta={"on_node": "here"})  # fmt: skip
        )
        answer = await got.get()
        assert isinstance(answer, ev.AgentExited)
        answers.append([operation, answer.rc, answer.reason or answer.errors[-300:]])
    return answers


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    inside = ["ip", "-n", NAMESPACE]
    try:
        subprocess.run([*inside, "link", "set", "lo", "up"], check=True)
        subprocess.run([*inside, "link", "add", "left", "type", "veth", "peer", "name", "right"], check=True)
        subprocess.run([*inside, "address", "add", "10.99.0.1/24", "dev", "left"], check=True)
        for link in ("left", "right"):
            subprocess.run([*inside, "link", "set", link, "up"], check=True)
        yield NAMESPACE
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


NGINX = """\
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{}}
http {{ access_log off; server {{ listen 127.0.0.1:8099; location / {{ return 200 "here"; }} }} }}
"""


def parameters_of(agent: str, place: Path) -> dict[str, str]:
    match agent:
        case "heartbeat:IPaddr2":
            return {"ip": "10.99.0.5", "cidr_netmask": "24", "nic": "left"}
        case "heartbeat:nginx":
            (place / "nginx.conf").write_text(NGINX.format(place=place))
            return {"configfile": str(place / "nginx.conf"), "status10url": "http://127.0.0.1:8099/"}
        case "heartbeat:anything":
            return {"binfile": "/bin/sleep", "cmdline_options": "100", "pidfile": str(place / "pid")}
        case _:
            return {"state": str(place / "state")}


NEEDS = {"heartbeat:nginx": "nginx"}


@pytest.mark.namespaces
@pytest.mark.parametrize(
    "agent", ["heartbeat:IPaddr2", "heartbeat:nginx", "heartbeat:anything", "heartbeat:Dummy", "pacemaker:Dummy"]
)
def test_a_whole_cycle(namespace: str, agent: str, tmp_path: Path) -> None:
    if not (AGENTS / agent.replace(":", "/")).exists() or not shutil.which(NEEDS.get(agent, "sh")):
        pytest.skip(f"{agent} is not installed")
    arguments = [agent, str(tmp_path / "run"), json.dumps(parameters_of(agent, tmp_path))]
    command = ["ip", "netns", "exec", namespace, sys.executable, __file__, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    expected = [list(pair) for pair in zip(CYCLE, (7, 0, 0, 0, 7), strict=True)]
    assert [answer[:2] for answer in answers] == expected, answers


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_cycle(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])))))
