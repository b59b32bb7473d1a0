"""The scheduler and crm_simulate against the shared corpus: every case, in this process, by the corpus's own judge.

Skipped with a count of zero where the corpus is absent. `scheduler_floor.json` holds the numbers that were reached; they
may only grow. The directory is found beside the checkout or by QUORATE_SHARED.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

from quorate.tools.invocation import Invocation
from quorate.tools.simulate import main

HERE = Path(__file__).resolve().parent
FLOOR = HERE / "scheduler_floor.json"
LEVELS = ("actions", "order", "params", "scores", "summary")


def shared() -> Path:
    return Path(os.environ.get("QUORATE_SHARED") or HERE.parents[2] / "shared")


def load_judge(root: Path) -> ModuleType:
    place = root / "conformance"
    sys.path.insert(0, str(place))
    spec = importlib.util.spec_from_file_location("corpus_judge", place / "judge.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def simulate(args: list[str]) -> str:
    out = io.StringIO()
    main(Invocation(name="crm_simulate", args=args, out=out, err=io.StringIO(), cwd="/"))
    return out.getvalue()


def test_corpus_does_not_slide_back(capsys: pytest.CaptureFixture[str]) -> None:
    root = shared()
    corpus = root / "corpus" / "scheduler"
    if not (corpus / "cases.tsv").is_file() or not (root / "conformance" / "judge.py").is_file():
        pytest.skip("scheduler corpus is absent: 0 cases run")
    judge = load_judge(root)
    floor = json.loads(FLOOR.read_text())
    counts = dict.fromkeys((*LEVELS, "all"), 0)
    cases = [line.split("\t") for line in (corpus / "cases.tsv").read_text().splitlines() if line]
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "graph.xml"
        for name, *extra in cases:
            graph.unlink(missing_ok=True)
            source = str(corpus / "xml" / f"{name}.xml")
            summary = simulate(["-x", source, "-S", *extra])
            scores = simulate(["-x", source, "-G", str(graph), "-sSQ", *extra])
            verdict, _ = judge.compare_case(corpus, name, graph, scores, summary)
            for level in LEVELS:
                counts[level] += verdict[level]
            counts["all"] += all(verdict.values())
    with capsys.disabled():
        print(f"\nscheduler corpus: {len(cases)} cases run: " + " ".join(f"{k} {v}" for k, v in counts.items()))
    short = {level: (counts[level], wanted) for level, wanted in floor.items() if counts[level] < wanted}
    assert not short, f"fewer cases than before (now, floor): {short}"
