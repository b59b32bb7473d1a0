"""Whole clusters in virtual time: seeds without a violation, planted bugs that are caught, one seed one trace.

`quorate simulate` runs the long campaigns; its last figures stand in docs/simulation.md.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from quorate.simulation.campaign import hunt, plan_for, run_seed
from quorate.simulation.faults import FAULTS
from quorate.simulation.mutants import MUTANTS

SEEDS = range(1, 25)
# planted bugs that show within a few seeds; `quorate simulate --mutants` hunts all of them
QUICK = (
    "failed-fencing-counts",
    "quorum-off-by-one",
    "commit-without-acks",
    "persist-after-send",
    "snapshot-skipped",
    "replicas-diverge",
    "everybody-is-dc",
    "run-when-delivered",
    "fence-without-right",
)
QUICK_SEEDS = range(1, 11)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_violation(seed: int):
    outcome = run_seed(seed)
    assert outcome.violation == "", "\n".join([*outcome.trace[-60:], outcome.violation])
    assert outcome.starts > 0


@pytest.mark.parametrize("name", QUICK)
def test_planted_bug_is_caught(name: str):
    outcome = hunt(name, QUICK_SEEDS, (2, 3, 5), 1)
    assert outcome is not None, f"{name} escaped: {MUTANTS[name].text}"


def test_every_fault_kind_can_happen():
    seen: set[str] = set()
    for seed in range(200):
        seen |= set(plan_for(seed).kinds)
    assert seen == set(FAULTS)


def test_the_same_seed_gives_the_same_trace_under_any_hash_seed():
    program = "from quorate.simulation.campaign import run_seed; o = run_seed(5); print(o.digest, o.steps, o.violation)"
    answers = set()
    for hash_seed in ("0", "1", "4242"):
        environment = dict(os.environ, PYTHONHASHSEED=hash_seed)
        answers.add(
            subprocess.run(
                [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
            ).stdout
        )
    assert len(answers) == 1, answers
