"""The group layer in virtual time: seeds with all faults, planted bugs, and the promises on time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from quorate.core.messaging.effects import SendPacket
from quorate.core.messaging.events import PacketReceived
from quorate.model import group, wire
from quorate.model.ids import MILLISECOND, SECOND, NodeId
from quorate.simulation.group import GroupCluster, run_group
from quorate.simulation.mutants_group import MUTANTS, GroupMutant, hunt

SEEDS = int(os.environ.get("QUORATE_GROUP_SEEDS", "6"))


@pytest.mark.parametrize("nodes", [2, 3, 5, 8])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_invariants_hold(seed: int, nodes: int) -> None:
    run = run_group(seed, nodes)
    assert run.violation is None, run.violation + "\n" + "\n".join(run.trace[-60:])
    assert run.views and run.deliveries


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_planted_bug_is_caught(mutant: GroupMutant) -> None:
    assert hunt(mutant) is not None, f"{mutant.name}: {mutant.bug}: no checker bites"


def test_the_same_seed_gives_the_same_trace_under_any_hash_seed() -> None:
    program = "from quorate.simulation.group import run_group; r = run_group(5, 5); print(r.digest, r.steps, r.views)"
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


# ---- promises on time, at token 1000 ms ---------------------------------------------------------------------------


def together(nodes: int = 3, links: tuple[str, ...] = ("lan",), token_ms: int = 1000) -> GroupCluster:
    cluster = GroupCluster("promises", nodes, links=links, token_ms=token_ms)
    cluster.start()
    assert cluster.run_while(lambda: not cluster.is_converged(), 5)
    return cluster


def settle_ms(cluster: GroupCluster, seconds: float = 20) -> float:
    began = cluster.world.now
    assert cluster.run_while(lambda: not cluster.is_converged(), seconds), cluster.checker.divergence()
    return (cluster.world.now - began) / MILLISECOND


def test_cold_start_takes_a_fraction_of_the_token() -> None:
    cluster = GroupCluster("cold", 3)
    cluster.start()
    assert settle_ms(cluster) < 200


def test_cold_start_with_one_node_missing_waits_one_token() -> None:
    cluster = GroupCluster("cold", 3)
    cluster.start(1, 2)
    assert 1000 <= settle_ms(cluster) < 1200


def test_a_crash_is_a_new_view_shortly_after_the_token() -> None:
    for victim in (1, 2, 3):
        cluster = together()
        cluster.run(0.55)
        cluster.crash(victim)
        assert 850 < settle_ms(cluster) < 1150


def test_a_good_bye_is_a_new_view_at_once() -> None:
    cluster = together()
    cluster.stop(1)
    assert settle_ms(cluster) < 20


def test_a_restarted_node_is_back_at_once() -> None:
    cluster = together()
    cluster.crash(2)
    settle_ms(cluster)
    cluster.start(2)
    assert settle_ms(cluster) < 300


def test_a_healed_partition_merges_after_the_proving_time() -> None:
    cluster = together(5)
    cluster.network.partition((1, 2), (3, 4, 5))
    cluster.run(3)
    assert not cluster.is_converged()
    cluster.network.heal()
    assert settle_ms(cluster) < 1500


def test_one_message_takes_one_or_two_hops() -> None:
    cluster = together()
    for node in (1, 2, 3):
        cluster.managers[node].submit(200)
        assert settle_ms(cluster) < 1.1
        cluster.run(0.3)


def test_losing_one_of_two_links_changes_no_view_and_delays_little() -> None:
    cluster = together(links=("lan", "ring"))
    views = cluster.checker.views
    for a in (1, 2, 3):
        for b in (1, 2, 3):
            if a != b:
                cluster.network.cut(a, b, "lan")
    cluster.managers[2].submit(200)
    assert settle_ms(cluster) < 600
    cluster.run(3)
    assert cluster.checker.views == views


def test_the_serial_line_alone_keeps_the_view_and_carries_small_messages() -> None:
    cluster = together(2, links=("lan", "serial0"))
    cluster.run(2)
    views = cluster.checker.views
    cluster.network.cut(1, 2, "lan")
    cluster.network.cut(2, 1, "lan")
    cluster.run(2)
    for node in (1, 2):
        for _ in range(10):
            cluster.managers[node].submit(200)
    assert settle_ms(cluster) < 3000
    cluster.managers[1].submit(20_000)
    assert settle_ms(cluster) < 15_000
    assert cluster.checker.views == views


def test_the_largest_message_goes_through() -> None:
    cluster = together()
    cluster.managers[2].submit(group.MESSAGE_BYTES_MAX)
    cluster.managers[3].submit(100)
    assert settle_ms(cluster, 60) <= 60_000


def test_a_dead_manager_never_costs_the_node_view() -> None:
    cluster = together()
    seen: list[group.View] = []
    node = cluster.nodes[1]
    inner = node.listener

    def listen(event: group.EngineEvent) -> None:
        if isinstance(event, group.ViewChanged):
            seen.append(event.view)
        inner(event)

    node.listener = listen
    cluster.managers[3].kill()
    cluster.run(2)
    cluster.managers[3].join()
    settle_ms(cluster)
    assert [(view.nodes, view.members, view.transitional, view.id.minor) for view in seen] == [
        ((1, 2, 3), (1, 2), (1, 2), 1),
        ((1, 2, 3), (1, 2, 3), (1, 2), 2),
    ]


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_a_paused_node_accuses_nobody(nodes: int) -> None:
    for node in range(1, nodes + 1):
        cluster = together(nodes)
        cluster.run(1)
        cluster.pause(node)
        cluster.run(5)
        cluster.resume(node)
        settle_ms(cluster, 10)
        assert cluster.checker.pauses_watched == 1
        assert cluster.nodes[node].reports["paused"] == 1


def test_a_pause_shorter_than_the_token_costs_nothing() -> None:
    cluster = together()
    views = cluster.checker.views
    for node in (1, 2, 3):
        cluster.pause(node)
        cluster.run(0.8)
        cluster.resume(node)
        cluster.run(2)
    assert cluster.checker.views == views


def test_one_way_loss_is_diagnosed_and_ends_in_two_views() -> None:
    cluster = together(2)
    told: list[group.Diagnosis] = []
    inner = cluster.nodes[2].listener

    def listen(event: group.EngineEvent) -> None:
        if isinstance(event, group.Diagnosis):
            told.append(event)
        inner(event)

    cluster.nodes[2].listener = listen
    cluster.network.cut(2, 1)
    cluster.run(6)
    assert [(each.code, each.peer, each.link) for each in told] == [("one-way", 1, "lan")]
    assert "nodes=(1,)" in cluster.checker.divergence() and "nodes=(2,)" in cluster.checker.divergence()


@pytest.mark.parametrize("token_ms", [200, 5000])
def test_other_tokens_scale(token_ms: int) -> None:
    cluster = together(3, token_ms=token_ms)
    cluster.run(1)
    cluster.crash(1)
    assert 0.85 * token_ms < settle_ms(cluster, 20) < 1.15 * token_ms


def test_thirty_two_nodes() -> None:
    cluster = GroupCluster("many", 32)
    cluster.start()
    assert settle_ms(cluster) < 400
    cluster.crash(7)
    assert settle_ms(cluster) < 1200
    assert cluster.world.now < 3 * SECOND


def test_a_node_back_from_a_pause_accepts_no_view_without_those_whom_it_hears() -> None:
    """A third node that has just started may invite it before the others have taken it back (found by seed 1369)."""
    cluster = together(3)
    cluster.run(1)
    cluster.pause(3)
    cluster.run(3)
    cluster.resume(3)
    engine = cluster.nodes[3].engine
    assert engine is not None
    peer = engine.detector.peers[NodeId(2)]
    own = cluster.nodes[3].incarnation
    propose = wire.Propose((99_999, 2), ((2, peer.run), (3, own & wire.RUN_MASK)))
    effects = engine.handle(
        PacketReceived(link="lan", peer=NodeId(2), incarnation=peer.run, packet=propose, size=100), cluster.world.now
    )
    (answer,) = [effect.packet for effect in effects if isinstance(effect, SendPacket)]
    assert isinstance(answer, wire.Refuse) and answer.unheard == (1,)


@pytest.mark.parametrize("paused", [(2, 3), (1, 5), (1, 2, 3, 4)])
def test_nodes_that_come_back_from_a_pause_together_do_not_wait_for_each_other_for_ever(
    paused: tuple[int, ...],
) -> None:
    cluster = together(5)
    cluster.run(1)
    for node in paused:
        cluster.pause(node)
    cluster.run(3)
    for node in paused:
        cluster.resume(node)
        cluster.run(0.3)
    assert settle_ms(cluster) < 4000


@pytest.mark.parametrize(("seed", "nodes"), [(1369, 5), (7108, 8), (7186, 8)])
def test_seeds_that_once_failed(seed: int, nodes: int) -> None:
    run = run_group(seed, nodes)
    assert run.violation is None, run.violation
