"""A node's address goes and comes back while its engine runs. A program for `unshare --net`: it changes the loopback's
addresses, which no other process may see. Argument: a directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.contract.real_engines import RealCluster  # noqa: E402

PREFIX = "10.99.1."


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def main(directory: Path) -> None:
    ip("link", "set", "lo", "up")
    for number in (1, 2, 3):
        ip("addr", "add", f"{PREFIX}{number}/32", "dev", "lo")
    with RealCluster(directory, 3) as cluster:
        for node in cluster.nodes:
            node.config.write_text(node.config.read_text().replace("127.0.0.", PREFIX))
        cluster.start()

        def members(*numbers: int) -> bool:
            return all(
                node.view is not None and node.view.members == numbers
                for node in cluster.nodes
                if node.number in numbers
            )

        ip("addr", "del", f"{PREFIX}1/32", "dev", "lo")
        cluster.until(lambda: members(2, 3) and members(1))
        assert "send-error" in cluster.nodes[0].diagnoses
        ip("addr", "add", f"{PREFIX}1/32", "dev", "lo")
        cluster.until(lambda: members(1, 2, 3))
        assert all(node.process is not None and node.process.poll() is None for node in cluster.nodes)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
