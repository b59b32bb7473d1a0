"""quorate status and links."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from quorate.model import protocol
from quorate.tools import overview

from .fake_manager import FakeManager

LINKS = (
    protocol.LinkState(peer="node2", link="net1", kind="udp", address="192.0.2.2", up=True),
    protocol.LinkState(peer="node2", link="cable", kind="serial", address="/dev/ttyS0", up=False),
)


def test_status_and_links(tmp_path: Path) -> None:
    with FakeManager(str(tmp_path)) as manager:
        manager.banners = ("FENCING IS SWITCHED OFF",)
        manager.links = LINKS
        runner = CliRunner(env={"QUORATE_RUN": str(tmp_path)})
        shown = runner.invoke(overview.status)
        assert shown.output.startswith("!! FENCING IS SWITCHED OFF\n")
        assert "Quorum:   yes, 2 of 2 votes" in shown.output
        assert "Links:    1 of 2 up; see `quorate links`" in shown.output
        assert shown.exit_code == 1
        table = runner.invoke(overview.links)
        assert table.output.splitlines()[2] == "node2  cable  serial  /dev/ttyS0  DOWN"
        assert table.exit_code == 1
        facts = json.loads(runner.invoke(overview.status, ["--json"]).output)
        assert facts["cluster"] == "test" and len(facts["nodes"]) == 2


def test_without_a_cluster(tmp_path: Path) -> None:
    result = CliRunner(env={"QUORATE_RUN": str(tmp_path)}).invoke(overview.status)
    assert result.exit_code == 102
