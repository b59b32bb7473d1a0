"""docs/rules.md and docs/scenarios.md name only files, tests and planted bugs that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from quorate.simulation.mutants import MUTANTS
from quorate.simulation.mutants_group import MUTANTS as GROUP_MUTANTS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/rules.md", "docs/scenarios.md")
PATH = re.compile(r"`((?:src|tests|docs|agents|demo|laboratory|bench)/[\w./-]+)(?:::(\w+))?`")
BUG = re.compile(r"`([a-z]+(?:-[a-z]+)+)`")


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_exists(page: str):
    missing = []
    for path, test in PATH.findall((ROOT / page).read_text()):
        file = ROOT / path
        if not file.exists():
            missing.append(path)
        elif test and not any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == test
            for node in ast.walk(ast.parse(file.read_text()))
        ):
            missing.append(f"{path}::{test}")
    assert not missing


def test_planted_bugs_exist_and_each_is_named():
    known = set(MUTANTS) | {mutant.name for mutant in GROUP_MUTANTS}
    rows = [line for line in (ROOT / "docs/rules.md").read_text().splitlines() if line.startswith("|")]
    named = {bug for row in rows for bug in BUG.findall(row.rsplit("|", 2)[1])}
    assert named <= known, named - known
    # these are not shown to be caught, or guard no row of their own (docs/simulation.md)
    assert set(MUTANTS) - named <= {
        "everybody-is-dc",
        "fence-without-right",
        "no-wait-for-all",
        "stale-view-accepted",
        "orphans-live",
    }


def test_every_scenario_has_a_row():
    text = (ROOT / "docs/scenarios.md").read_text()
    groups = {"M": 7, "C": 3, "R": 12, "S": 13, "X": 4}
    for letter, count in groups.items():
        for number in range(1, count + 1):
            assert re.search(rf"^\| {letter}{number} ", text, re.MULTILINE), f"{letter}{number}"
    assert "| D1 to D5 " in text
