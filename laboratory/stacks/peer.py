"""Corosync 3 with Pacemaker, as the distribution packages them, to compare with."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence

from ..lab import PATH, ROOT, Laboratory
from ..plan import Cable, Plan
from .stack import FENCE_AGENT, Stack


class PeerStack(Stack):
    name = "corosync+pacemaker"
    manager = ("pacemaker-controld",)
    engine = ("corosync", "-f")

    def missing(self) -> str | None:
        absent = [name for name in ("corosync", "pacemakerd", "cibadmin") if shutil.which(name, path=PATH) is None]
        if absent:
            return "The peers are not installed: as root, apt-get install --no-install-recommends corosync pacemaker pacemaker-cli-utils."
        return None

    def plan(
        self, nodes: Sequence[str], *, token_ms: int = 1000, heartbeat_networks: Sequence[str] = ("net0", "net1"),
        networks: Sequence[str] = ("net0", "net1"), cables: Sequence[Cable] = (), two_node: bool = False,
        observe: Sequence[str] = (), files: dict[str, tuple[str, int]] | None = None,
    ) -> Plan:  # fmt: skip
        empty = Plan(nodes=tuple(nodes), networks=tuple(networks))
        node_list = ""
        for number, node in enumerate(nodes, 1):
            rings = "".join(f"    ring{k}_addr: {empty.address(node, n)}\n" for k, n in enumerate(heartbeat_networks))
            node_list += f"  node {{\n    name: {node}\n    nodeid: {number}\n{rings}  }}\n"
        conf = (
            f"totem {{\n  version: 2\n  cluster_name: bench\n  transport: knet\n  token: {token_ms}\n"
            "  crypto_cipher: aes256\n  crypto_hash: sha256\n}\n"
            f"nodelist {{\n{node_list}}}\n"
            f"quorum {{\n  provider: corosync_votequorum\n{'  two_node: 1' if two_node else ''}\n}}\n"
            "logging {\n  to_logfile: yes\n  logfile: /var/log/corosync/corosync.log\n  to_syslog: no\n  timestamp: hires\n}\n"
        )
        boot = "corosync -f & until corosync-cfgtool -s >/dev/null 2>&1; do sleep 0.05; done; exec pacemakerd -f"
        return Plan(
            nodes=tuple(nodes),
            networks=tuple(networks),
            cables=tuple(cables),
            observe=tuple(observe),
            boot=(("sh", "-c", boot),),
            files={
                "/etc/corosync/corosync.conf": (conf, 0o644),
                "/etc/corosync/authkey": (secrets.token_hex(128), 0o400),
                **(files or {}),
            },
            keep_paths=(ROOT,),
            environment={"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"},
            sbin={"fence_laboratory": FENCE_AGENT},
        )

    def logs(self, lab: Laboratory, node: str) -> str:
        return lab.read(node, "/var/log/pacemaker/pacemaker.log") + lab.read(node, "/var/log/corosync/corosync.log")
