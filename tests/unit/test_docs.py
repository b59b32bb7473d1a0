"""The tables in docs/rules.md and docs/scenarios.md tell the truth: every file, test and planted bug they name exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from quorate.simulation.mutants import MUTANTS
from quorate.simulation.mutants_group import MUTANTS as GROUP_MUTANTS

ROOT = Path(__file__).parents[2]
PAGES = ("docs/rules.md", "docs/scenarios.md", "docs/ARCHITECTURE.md", "README.md")
NAMED = re.compile(r"`((?:src|tests|docs|agents|laboratory|demo|bench)/[\w./-]+)(?:::(\w+))?`")
LINKS = re.compile(r"\]\((?!https?:)([\w./-]+)\)")


def names_of_tests(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_named_file_and_test_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    wrong = []
    for path, test in NAMED.findall(text):
        if not (ROOT / path).exists():
            wrong.append(path)
        elif test and test not in names_of_tests(ROOT / path):
            wrong.append(f"{path}::{test}")
    wrong += [link for link in LINKS.findall(text) if not ((ROOT / page).parent / link).exists()]
    assert wrong == []


def test_every_named_planted_bug_exists() -> None:
    known = {*MUTANTS, *(mutant.name for mutant in GROUP_MUTANTS)}
    named = set(re.findall(r"`mutant ([a-z-]+)`", (ROOT / "docs/rules.md").read_text()))
    assert named - known == set()


@pytest.mark.parametrize(("page", "first"), [("docs/rules.md", r"\d+ "), ("docs/scenarios.md", r"[MCRSDX]\d+ ")])
def test_rows_have_all_their_columns(page: str, first: str) -> None:
    lines = (ROOT / page).read_text().splitlines()
    rows = [line for line in lines if re.match(rf"\| {first}", line)]
    width = {"docs/rules.md": 4, "docs/scenarios.md": 3}[page]
    assert len(rows) >= 30
    assert [row for row in rows if len(row.strip("|").split(" | ")) != width] == []


def test_all_rules_and_invariants_have_a_row() -> None:
    text = (ROOT / "docs/rules.md").read_text()
    log, invariants = text.split("## Invariants")
    assert [int(n) for n in re.findall(r"^\| (\d+) ", log, re.M)] == list(range(1, 13))
    assert [int(n) for n in re.findall(r"^\| (\d+) ", invariants, re.M)] == list(range(1, 19))
