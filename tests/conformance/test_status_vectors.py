"""Recorded runs of Pacemaker's commands on CIBs in files: exit codes and output, command by command, in this process.

The recordings are not part of the project; where they are absent the test is skipped and says how many runs it knows.
`status_floor.json` holds what is reached; a change must not fall below it. Differences that are wanted are in
docs/commands.md.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from pathlib import Path

import pytest

from quorate.tools import cli
from quorate.tools.invocation import captured

VECTORS = Path(os.environ.get("QUORATE_VECTORS", "/nonexistent"))
FLOOR = Path(__file__).with_name("status_floor.json")
CANDIDATES = (VECTORS, Path(__file__).parents[3] / "shared" / "vectors")


def _vectors() -> Path | None:
    return next((place for place in CANDIDATES if (place / "status_vectors.json").is_file()), None)


def _plain(text: str) -> str:
    """Without what differs from run to run: the time of the look and the request line."""
    text = re.sub(r"(Last updated: ).*", r"\1TIME", text)
    text = re.sub(r'<last_update time="[^"]*"', '<last_update time="TIME"', text)
    return re.sub(r'request="[^"]*"', 'request=""', text)


def measure(place: Path) -> dict[str, dict[str, int]]:
    """Runs, equal exit codes and equal outputs by command."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: {"runs": 0, "code": 0, "output": 0})
    for entry in json.loads((place / "status_vectors.json").read_text()):
        path = str(place / "status_cibs" / f"{entry['cib']}.xml")
        for run in entry["runs"]:
            argv = [path if word == "CIB" else word for word in run["argv"]]
            call, out, _ = captured(argv[0], *argv[1:], environ={"CIB_file": path, "TZ": "UTC"})
            try:
                code = cli.execute(call)
            except Exception as error:  # counted as a difference; the floor tells
                code = f"{type(error).__name__}: {error}"
            kind = "crm_mon xml" if argv[0] == "crm_mon" and "--output-as=xml" in argv else argv[0]
            count = counts[kind]
            count["runs"] += 1
            count["code"] += code == run["rc"]
            count["output"] += _plain(out.getvalue()) == _plain(run["stdout"])
    return dict(sorted(counts.items()))


def test_status_vectors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    floor = json.loads(FLOOR.read_text())
    place = _vectors()
    if place is None:
        pytest.skip(f"{sum(f['runs'] for f in floor.values())} recorded runs are not here (set QUORATE_VECTORS)")
    monkeypatch.setenv("TZ", "UTC")
    reached = measure(place)
    with capsys.disabled():
        print(
            "\nstatus vectors, equal (exit code / output) of runs: "
            + ", ".join(f"{name} {c['code']}/{c['output']} of {c['runs']}" for name, c in reached.items())
        )
    for name, wanted in floor.items():
        assert reached[name]["code"] >= wanted["code"], name
        assert reached[name]["output"] >= wanted["output"], name
