"""This project's own stack, from the checkout's virtual environment."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence

from ..lab import PATH, ROOT, Laboratory
from ..plan import Cable, Plan
from .stack import FENCE_AGENT, Stack, StackError

BIN = f"{ROOT}/.venv/bin"


class QuorateStack(Stack):
    name = "quorate"
    manager: tuple[str, ...] = ("quorated",)
    engine: tuple[str, ...] = ("quorate.host.engine",)

    def missing(self) -> str | None:
        if not os.path.exists(f"{BIN}/quorate"):
            return "There is no .venv with quorate here: run `make demo` or `make test` once."
        return None

    def plan(
        self, nodes: Sequence[str], *, token_ms: int = 1000, heartbeat_networks: Sequence[str] = ("net0", "net1"),
        networks: Sequence[str] = ("net0", "net1"), cables: Sequence[Cable] = (), two_node: bool = False,
        observe: Sequence[str] = (), files: dict[str, tuple[str, int]] | None = None,
    ) -> Plan:  # fmt: skip
        empty = Plan(nodes=tuple(nodes), networks=tuple(networks))
        lines = [
            'cluster = "laboratory"', 'node = "{node}"', 'key_file = "/etc/quorate/authkey"', 'engine = "heartbeat"',
            f"token_ms = {token_ms}", 'state_dir = "/var/lib/quorate"', 'run_dir = "/run/quorate"', "[quorum]",
            f"two_node = {str(two_node).lower()}", "wait_for_all = false",
        ]  # fmt: skip
        for number, node in enumerate(nodes, 1):
            lines += ["[[nodes]]", f'name = "{node}"', f"id = {number}"]
        for number, network in enumerate(heartbeat_networks):
            addresses = ", ".join(f'{node} = "{empty.address(node, network)}"' for node in nodes)
            lines += [
                "[[links]]",
                f'name = "{network}"',
                'kind = "udp"',
                f"port = {5405 + number}",
                f"addresses = {{ {addresses} }}",
            ]
        for cable in cables:
            devices = ", ".join(f'{node} = "{path}"' for node, path in cable.ends.items())
            lines += [
                "[[links]]",
                f'name = "{cable.name}"',
                'kind = "serial"',
                "baud = 115200",
                f"devices = {{ {devices} }}",
            ]
        commands = sorted(os.listdir(f"{ROOT}/scripts"))
        environment = {
            "PATH": f"{BIN}:{PATH}",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "QUORATE_CONFIG": "/etc/quorate/quorate.toml",
        }
        return Plan(
            nodes=tuple(nodes),
            networks=tuple(networks),
            cables=tuple(cables),
            observe=tuple(observe),
            boot=((f"{BIN}/quorate", "run", "--config", "/etc/quorate/quorate.toml"),),
            files={
                "/etc/quorate/quorate.toml": ("\n".join(lines) + "\n", 0o644),
                "/etc/quorate/authkey": (new_key(), 0o600),
                **(files or {}),
            },
            keep_paths=(ROOT,),
            environment=environment,
            # Agents call some commands by the absolute path of the distribution.
            sbin={"fence_laboratory": FENCE_AGENT, **{name: f"{BIN}/{name}" for name in commands}},
        )

    def logs(self, lab: Laboratory, node: str) -> str:
        return lab.read(node, "/var/log/boot-0.log")


def new_key() -> str:
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [f"{BIN}/quorate", "keygen", f"{place}/authkey"], capture_output=True, text=True, check=False
        )  # fmt: skip
        if done.returncode:
            raise StackError(f"quorate keygen: {done.stderr.strip()}")
        with open(f"{place}/authkey") as file:
            return file.read()
