"""The engine on simulated Corosync: seeds with all faults, and planted bugs that the checkers must find."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from quorate.core.corosync import machine, packets
from quorate.core.corosync.machine import CorosyncGroup
from quorate.core.corosync.outgoing import Outgoing
from quorate.model.ids import NO_VIEW, ViewId
from quorate.simulation.corosync import CorosyncCluster, SimulatedCorosync
from quorate.simulation.group import GroupRun, run_group

SEEDS = int(os.environ.get("QUORATE_GROUP_SEEDS", "6"))


def run(seed: int, nodes: int, kinds: tuple[str, ...] = ()) -> GroupRun:
    return run_group(seed, nodes, kinds=kinds, make_cluster=CorosyncCluster)


@pytest.mark.parametrize("nodes", [2, 3, 5, 8])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_invariants_hold(seed: int, nodes: int) -> None:
    done = run(seed, nodes)
    assert done.violation is None, done.violation + "\n" + "\n".join(done.trace[-60:])
    assert done.views and done.deliveries


def test_the_same_seed_gives_the_same_trace_under_any_hash_seed() -> None:
    program = (
        "from quorate.simulation.group import run_group; from quorate.simulation.corosync import CorosyncCluster; "
        "r = run_group(5, 5, make_cluster=CorosyncCluster); print(r.digest, r.steps, r.views)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": value, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for value in ("0", "1", "4711")
    }
    assert len(outputs) == 1


# ---- planted bugs ---------------------------------------------------------------------------------------------------

_freeze = CorosyncGroup._freeze


def _no_freeze(self: CorosyncGroup, change: str) -> None:
    was = self._frozen
    _freeze(self, change)
    self._frozen = was


def _always_together(other: packets.Standing, mine: packets.Standing) -> bool:
    return mine.previous != NO_VIEW and other.previous != NO_VIEW


def _number_from_nothing(self: CorosyncGroup, ring: Any, agreed: Any) -> ViewId:
    return ViewId(ring.sequence, ring.node, 0)


def _lose_in_silence(self: Outgoing) -> list[int]:
    count = len(self._sent)
    self._sent.clear()
    self.again()
    return [] if count else []


PLANTED: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "no-freeze": (CorosyncGroup, "_freeze", _no_freeze),
    "always-together": (machine, "_came_along", _always_together),
    "number-from-nothing": (CorosyncGroup, "_next_id", _number_from_nothing),
    "queued-is-delivered": (Outgoing, "lose_begun", _lose_in_silence),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bug_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, bug = PLANTED[name]
    monkeypatch.setattr(owner, attribute, bug)
    hunts = ((seed, nodes, kinds) for seed in range(30) for nodes in (3, 5) for kinds in ((), ("pause", "flood")))
    assert any(run(*hunt).violation for hunt in hunts), f"{name}: no checker bites"


def test_the_model_is_awkward() -> None:
    """What Corosync does to its clients happens in the runs, or they prove nothing."""
    refused = again = dropped = 0
    for seed in range(4):
        seen: list[CorosyncCluster] = []

        def make(*args: Any, seen: list[CorosyncCluster] = seen, **named: Any) -> CorosyncCluster:
            seen.append(CorosyncCluster(*args, **named))
            return seen[-1]

        run_group(seed, 5, make_cluster=make)
        for node in seen[0].nodes.values():
            counters = node.machine.counters  # type: ignore[attr-defined]
            refused += counters["try_again"]
            again += counters["agreements_again"]
            dropped += counters["dropped_other_view"]
        assert isinstance(seen[0].corosync, SimulatedCorosync)
    assert refused and again and dropped
