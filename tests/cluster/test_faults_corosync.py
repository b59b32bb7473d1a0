"""The faults of `test_faults` on the same cluster with Corosync as its group layer, and Corosync's own death."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import test_faults as faults  # noqa: E402
from test_faults import (  # noqa: E402, F401 - collected here too, with this module's cluster
    NODES,
    explained,
    rounds,
    test_a_stopped_engine_costs_the_node_its_power,
    test_an_engine_that_wakes_accuses_no_one,
    test_every_link_of_the_active_node_is_cut_and_healed,
    test_one_of_two_links_and_then_the_serial_line_are_cut,
    test_the_active_node_is_killed,
    test_the_manager_is_killed_and_services_are_adopted,
    test_the_manager_is_stopped_for_a_while_within_its_grace,
)

from laboratory import Laboratory  # noqa: E402
from laboratory.kernel import boottime_ns  # noqa: E402
from laboratory.stacks import FLOATING, QuorateCorosyncStack, web_server_files  # noqa: E402
from laboratory.stacks.configuration import WEB_RESOURCES, web  # noqa: E402

pytestmark = [pytest.mark.namespaces, pytest.mark.xdist_group("faults-corosync")]


class Cluster(faults.Cluster):
    """Two links and no serial line: Corosync has none."""

    def __init__(self) -> None:
        self.stack = QuorateCorosyncStack()
        if problem := self.stack.missing():
            pytest.skip(problem)
        self.lab = Laboratory(self.stack.plan(NODES, observe=[FLOATING], files=web_server_files()))
        self.lab.cut_cable = self.lab.heal_cable = lambda name: None  # type: ignore[method-assign]
        try:
            self.lab.power_on()
            self.stack.all_online(self.lab)
            self.stack.configure(self.lab, "n1", web(NODES))
            self.lab.client_start(FLOATING)
        except BaseException:
            self.lab.close()
            raise


_current: list[Cluster] = []


@pytest.fixture(scope="module", autouse=True)
def _ending() -> Iterator[None]:
    yield
    while _current:
        _current.pop().lab.close()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """One cluster for all tests, made anew after one that failed."""
    if not _current:
        _current.append(Cluster())
    cluster = _current[0]
    try:
        yield cluster
        assert cluster.lab.double_holders(FLOATING) == []
    except BaseException:
        _current.clear()
        cluster.lab.close()
        raise


@rounds
@pytest.mark.parametrize("where", ["serving", "other", "all"])
def test_corosync_is_killed(cluster: Cluster, where: str, number: int) -> None:  # noqa: F811
    """What was served is served again, whoever is fenced for it, and never by two."""
    with explained(cluster):
        serving = cluster.settle()
        others = [node for node in NODES if node != serving]
        for node in {"serving": [serving], "other": others[:1], "all": [*NODES]}[where]:
            assert cluster.lab.signal(node, signal.SIGKILL, *cluster.stack.engine)
        time.sleep(3)
        for node in NODES:
            cluster.lab.power_on(node)
        cluster.stack.all_online(cluster.lab)
        cluster.stack.runs(cluster.lab, "n1", ["power", *WEB_RESOURCES])
        cluster.lab.await_answer(boottime_ns(), 30)
