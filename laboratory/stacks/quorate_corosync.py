"""This project's stack with Corosync as its group layer."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence

from quorate.model import corosync_conf
from quorate.model.settings import Settings

from ..lab import PATH, Laboratory
from ..plan import Cable, Plan
from .quorate import QuorateStack
from .stack import StackError

LOG = "/var/log/corosync.log"


class QuorateCorosyncStack(QuorateStack):
    name = "quorate on corosync"
    engine = ("corosync", "-f")

    def missing(self) -> str | None:
        if shutil.which("corosync", path=PATH) is None:
            return "Corosync is not installed: as root, apt-get install --no-install-recommends corosync."
        return super().missing()

    def plan(
        self, nodes: Sequence[str], *, token_ms: int = 1000, heartbeat_networks: Sequence[str] = ("net0", "net1"),
        networks: Sequence[str] = ("net0", "net1"), cables: Sequence[Cable] = (), two_node: bool = False,
        observe: Sequence[str] = (), files: dict[str, tuple[str, int]] | None = None,
    ) -> Plan:  # fmt: skip
        if cables:
            raise StackError("Corosync has no serial links; plan it without cables")
        plan = super().plan(
            nodes, token_ms=token_ms, heartbeat_networks=heartbeat_networks, networks=networks, two_node=two_node,
            observe=observe, files=files,
        )  # fmt: skip
        text, mode = plan.files["/etc/quorate/quorate.toml"]
        text = text.replace('engine = "heartbeat"', 'engine = "corosync"')
        settings = Settings.parse(text.replace("{node}", nodes[0]), "quorate.toml")
        conf = corosync_conf.write(settings, log_file=LOG)
        added = {
            "/etc/quorate/quorate.toml": (text, mode),
            "/etc/corosync/corosync.conf": (conf, 0o644),
            "/etc/corosync/authkey": (os.urandom(corosync_conf.KEY_BYTES // 2).hex(), 0o400),
        }
        return dataclasses.replace(plan, files={**plan.files, **added})

    def logs(self, lab: Laboratory, node: str) -> str:
        return super().logs(lab, node) + lab.read(node, LOG)
