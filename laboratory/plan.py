"""What a laboratory looks like: nodes, networks, cables. Values only; they travel to the keeper as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """A null-modem cable: what is written to one end's device can be read from the other's."""

    name: str
    ends: dict[str, str]  # node -> device path, two of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Networks are numbered from 0: node i (from 1) has on network k the interface eth<k> with 10.<77+k>.0.<i>/24.

    The outside client is at .200 of network 0. `observe`: addresses whose holders are watched. `boot`: argument lists
    started by a node's init at power on (in a process group of their own, output to /var/log/boot-<n>.log).
    `files`: for all nodes, or for one under `node_files`: path -> (content, mode).
    """

    nodes: tuple[str, ...]
    networks: tuple[str, ...] = ("net0", "net1")
    cables: tuple[Cable, ...] = ()
    observe: tuple[str, ...] = ()
    boot: tuple[tuple[str, ...], ...] = ()
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    node_files: dict[str, dict[str, tuple[str, int]]] = field(default_factory=dict)
    keep_paths: tuple[str, ...] = ()  # stay visible although they lie under /tmp, /run, ... (the checkout)
    environment: dict[str, str] = field(default_factory=dict)
    sbin: dict[str, str] = field(default_factory=dict)  # name -> path: programs added to /usr/sbin of every node
    switch_delay_s: float = 0.0  # what the power switch takes from the order to the confirmation at least

    def address(self, node: str, network: int | str = 0) -> str:
        number = network if isinstance(network, int) else self.networks.index(network)
        return f"10.{77 + number}.0.{self.nodes.index(node) + 1}"

    def client_address(self) -> str:
        return "10.77.0.200"

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        raw: dict[str, Any] = json.loads(text)
        raw["cables"] = tuple(Cable(**cable) for cable in raw["cables"])
        for key in ("nodes", "networks", "observe", "keep_paths"):
            raw[key] = tuple(raw[key])
        raw["boot"] = tuple(tuple(argv) for argv in raw["boot"])
        return cls(**raw)
