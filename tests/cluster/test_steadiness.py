"""A busy machine costs no membership: both cores kept busy by other processes for minutes, at the default token."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from laboratory import Laboratory
from laboratory.kernel import boottime_ns
from laboratory.stacks import FLOATING, QuorateStack, web_server_files
from laboratory.stacks.configuration import WEB_RESOURCES, web

pytestmark = [pytest.mark.namespaces, pytest.mark.soak]

NODES = ("n1", "n2", "n3")
MINUTES = float(os.environ.get("QUORATE_SOAK_MINUTES", "10"))


@pytest.fixture
def busy_cores() -> Iterator[None]:
    count = (os.cpu_count() or 1) * 2
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def test_no_false_loss_of_membership(busy_cores: None) -> None:
    stack = QuorateStack()
    if problem := stack.missing():
        pytest.skip(problem)
    with Laboratory(stack.plan(NODES, observe=[FLOATING], files=web_server_files())) as lab:
        lab.power_on()
        stack.all_online(lab)
        stack.configure(lab, "n1", web(NODES))
        stack.runs(lab, "n1", ["power", *WEB_RESOURCES])
        time.sleep(3)
        before = {node: len(stack.logs(lab, node).splitlines()) for node in NODES}
        began = boottime_ns()
        while boottime_ns() - began < MINUTES * 60e9:
            time.sleep(1)
        for node in NODES:
            said = stack.logs(lab, node).splitlines()[before[node] :]
            assert [line for line in said if " view-changed:" in line or " link-down:" in line] == []
        assert [event for event in lab.events() if event["event"] == "switch-order"] == []
