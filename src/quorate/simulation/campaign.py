"""Many seeds: `quorate simulate`. Draws each seed's plan, runs it, counts what it covered, and tells of a violation.

Decided here: how a seed becomes a plan (swarm: each seed draws from a random subset of the fault kinds), how the
work is
shared over processes, what is printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from quorate.model.ids import SECOND

from .cluster import Outcome, Plan, SimulatedCluster
from .faults import FAULTS
from .mutants import MUTANTS, planted

SIZES = (2, 3, 5)


def plan_for(
    seed: int, sizes: Sequence[int] = SIZES, kinds: Sequence[str] = tuple(FAULTS), trouble_s: int = 70
) -> Plan:
    """The plan of a seed: a function of the seed and the options alone."""
    luck = random.Random(f"plan/{seed}")
    size = luck.choice(tuple(sizes))
    density = luck.choice((0.15, 0.3, 0.6)) if len(kinds) > 4 else 1.0  # few kinds by themselves show what many hide
    subset = [kind for kind in kinds if luck.random() < density] or [luck.choice(tuple(kinds))]
    policy = luck.choice(("stop", "stop", "freeze", "suicide")) if size > 2 else luck.choice(("stop", "freeze"))
    token_ms = luck.choice((1000, 2000, 3000))
    return Plan(
        token_ms=token_ms,
        size=size,
        trouble_ns=trouble_s * SECOND,
        kinds=tuple(subset),
        two_node=size == 2,
        policy=policy,
    )


def run_seed(
    seed: int, sizes: Sequence[int] = SIZES, kinds: Sequence[str] = tuple(FAULTS), mutant: str = ""
) -> Outcome:
    plan = plan_for(seed, sizes, kinds)
    if not mutant:
        return SimulatedCluster(seed, plan).run()
    with planted(mutant):
        return SimulatedCluster(seed, plan).run()


def _job(arguments: tuple[int, tuple[int, ...], tuple[str, ...], str]) -> Outcome:
    return run_seed(*arguments)


def outcomes(
    seeds: Sequence[int], sizes: Sequence[int], kinds: Sequence[str], mutant: str = "", jobs: int = 1
) -> Iterator[Outcome]:
    work = [(seed, tuple(sizes), tuple(kinds), mutant) for seed in seeds]
    if jobs <= 1:
        yield from map(_job, work)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(_job, work, chunksize=1)


def hunt(mutant: str, seeds: Sequence[int], sizes: Sequence[int], jobs: int) -> Outcome | None:
    """The first seed that catches a planted bug, or None. Faults are those that concern it."""
    for outcome in outcomes(seeds, sizes, MUTANTS[mutant].kinds or tuple(FAULTS), mutant, jobs):
        if outcome.violation:
            return outcome
    return None


def tell(outcome: Outcome, lines: int) -> None:
    plan = outcome.plan
    print(f"seed {outcome.seed}: {plan.size} nodes, no-quorum-policy {plan.policy}, faults {' '.join(plan.kinds)}")
    for line in outcome.trace[-lines:]:
        print("   ", line)
    print(f"seed {outcome.seed}: VIOLATION {outcome.violation}")
    print(f"replay: quorate simulate --nodes {plan.size} --replay {outcome.seed}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="quorate simulate", description="Run whole clusters in virtual time with faults drawn from seeds."
    )
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="how many seeds (default 100)")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the first seed (default 1)")
    parser.add_argument("--nodes", default="2,3,5", help="sizes to draw from (default 2,3,5)")
    parser.add_argument("--faults", default=",".join(FAULTS), help="kinds of faults: " + ", ".join(FAULTS))
    parser.add_argument("--replay", type=int, metavar="SEED", help="run one seed and print its trace")
    parser.add_argument(
        "--trace", type=int, default=60, metavar="LINES", help="lines of trace for a violation (default 60)"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each core)")
    parser.add_argument("--mutants", action="store_true", help="plant each known bug in turn; every one must be caught")
    parser.add_argument("--mutant", default="", help="plant this bug: " + ", ".join(MUTANTS))
    options = parser.parse_args(arguments)
    try:
        sizes = tuple(int(part) for part in options.nodes.split(","))
    except ValueError:
        parser.error(f"--nodes {options.nodes}: give numbers separated by commas, such as 2,3,5")
    kinds = tuple(kind for kind in options.faults.split(",") if kind)
    unknown = [kind for kind in kinds if kind not in FAULTS]
    if unknown or not all(2 <= size <= 8 for size in sizes):
        parser.error(f"unknown faults {unknown}" if unknown else "sizes are 2 to 8")
    if options.mutant and options.mutant not in MUTANTS:
        parser.error(f"no mutant {options.mutant}; there are {', '.join(MUTANTS)}")
    seeds = range(options.first, options.first + options.seeds)
    if options.replay is not None:
        return _replay(options.replay, sizes, kinds, options.mutant, options.trace)
    if options.mutants:
        return _mutants(seeds, sizes, options.jobs)
    return _campaign(seeds, sizes, kinds, options.mutant, options.jobs, options.trace)


def _replay(seed: int, sizes: Sequence[int], kinds: Sequence[str], mutant: str, lines: int) -> int:
    outcome = run_seed(seed, sizes, kinds, mutant)
    if outcome.violation:
        tell(outcome, lines)
        return 1
    print(f"seed {seed}: no violation, {outcome.virtual_s:.0f} s of virtual time, trace digest {outcome.digest:08x}")
    return 0


def _mutants(seeds: Sequence[int], sizes: Sequence[int], jobs: int) -> int:
    escaped = []
    for name, mutant in MUTANTS.items():
        began = time.monotonic()
        outcome = hunt(name, seeds, mutant.sizes or sizes, jobs)
        if outcome is None:
            escaped.append(name)
            print(f"{name:28} ESCAPED {len(seeds)} seeds  ({mutant.text})", flush=True)
        else:
            print(
                f"{name:28} caught by seed {outcome.seed:4} in {time.monotonic() - began:5.1f} s: {outcome.violation[:100]}",
                flush=True,
            )
    print(f"{len(MUTANTS) - len(escaped)} of {len(MUTANTS)} planted bugs caught")
    return 1 if escaped else 0


def _campaign(
    seeds: Sequence[int], sizes: Sequence[int], kinds: Sequence[str], mutant: str, jobs: int, lines: int
) -> int:
    began = time.monotonic()
    faults: Counter[str] = Counter()
    virtual = steps = starts = fencings = acknowledged = 0
    digest = 0
    bad: list[Outcome] = []
    for done, outcome in enumerate(outcomes(seeds, sizes, kinds, mutant, jobs), 1):
        faults.update(outcome.faults)
        virtual += int(outcome.virtual_s)
        steps += outcome.steps
        starts += outcome.starts
        fencings += outcome.fencings
        acknowledged += outcome.acknowledged
        digest ^= (outcome.digest * 2_654_435_761 + outcome.seed) & 0xFFFFFFFF
        if outcome.violation:
            bad.append(outcome)
            tell(outcome, lines if len(bad) <= 3 else 0)
        if sys.stderr.isatty() and done % 10 == 0:
            print(f"\r{done}/{len(seeds)} seeds, {len(bad)} violations", end="", file=sys.stderr, flush=True)
    wall = time.monotonic() - began
    print(f"{len(seeds)} seeds of {', '.join(map(str, sizes))} nodes: {len(bad)} violations")
    print(
        f"virtual time {virtual / 3600:.1f} h in {wall:.0f} s of real time ({virtual / max(wall, 0.001):.0f} times as fast), {steps} steps"
    )
    print(
        f"starts {starts}, fencings {fencings}, acknowledged changes {acknowledged}, digest of all traces {digest:08x}"
    )
    print("faults: " + ", ".join(f"{kind} {faults[kind]}" for kind in sorted(kinds)))
    if bad:
        print("seeds with violations: " + " ".join(str(outcome.seed) for outcome in bad))
    return 1 if bad else 0
