"""The settings of one node as quorate.toml gives them: the keys, their bounds, and what must be equal everywhere.

Decided here: which keys exist (declared once, in `OPTIONS`, from which the reference page and the checks come), their
bounds and defaults, and what is unwise though allowed. The rules between keys are in `settings_reader`; whether the
machine fits the file (addresses that are not local, ports in use, devices, rights of files) is `quorate check`.

`Settings.parse` finds every mistake at once and raises them together as `SettingsError`; each names its place and what
to do. The file is TOML 1.0, read as text: this module opens nothing.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CONFIG_FILE_DEFAULT = "/etc/quorate/quorate.toml"
FILE_BYTES_MAX = 1024 * 1024
NODES_MAX = 32
LINKS_MAX = 8
NODE_ID_MAX = 2**31 - 1
VOTES_MAX = 255
NAME_PATTERN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
BAUD_RATES = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)


# ---- the options, each declared once --------------------------------------------------------------------------------


class Kind(enum.Enum):
    """What a value must be in the file; the text stands in messages and in the reference."""

    TEXT = "text"
    NAME = "name"  # letters, digits, "_", "-", "."
    PATH = "absolute path"
    NUMBER = "whole number"
    SWITCH = "true or false"
    WORDS = "list of texts"
    BY_NODE = "table node = text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """`table` is "" for the top, else "quorum", "nodes", "links". `required`: it must be written."""

    table: str
    name: str
    kind: Kind
    text: str
    default: Any = None
    required: bool = False
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[Any, ...] = ()
    default_text: str = ""  # where the default depends on other values


OPTIONS: tuple[Option, ...] = (
    Option(
        table="",
        name="cluster",
        kind=Kind.NAME,
        required=True,
        text="Name of the cluster. It is bound into every packet, so that two clusters on one network never mix.",
    ),
    Option(
        table="",
        name="node",
        kind=Kind.NAME,
        required=True,
        text="Name of this node: one of the names under [[nodes]]. The only key that differs from node to node.",
    ),
    Option(
        table="",
        name="key_file",
        kind=Kind.PATH,
        default="/etc/quorate/authkey",
        text="The cluster's key, made by `quorate keygen`; owner root, mode 0600, the same file on all nodes.",
    ),
    Option(
        table="",
        name="engine",
        kind=Kind.TEXT,
        default="heartbeat",
        values=("heartbeat", "corosync"),
        text="Group layer: `heartbeat` is the embedded one, `corosync` is Corosync 3 (see corosync.md).",
    ),
    Option(
        table="",
        name="token_ms",
        kind=Kind.NUMBER,
        default=1000,
        minimum=200,
        maximum=30_000,
        text="A peer is lost when all links have been silent for this long, in milliseconds.",
    ),
    Option(
        table="",
        name="state_dir",
        kind=Kind.PATH,
        default="/var/lib/quorate",
        text="Where the configuration of the cluster (CIB), its journal and scheduler inputs are kept.",
    ),
    Option(
        table="",
        name="run_dir",
        kind=Kind.PATH,
        default="/run/quorate",
        text="Sockets and the ledger of running agents; must not survive a boot. QUORATE_RUN overrides it.",
    ),
    Option(
        table="",
        name="manager_stall_ms",
        kind=Kind.NUMBER,
        default=10_000,
        minimum=5_000,
        maximum=600_000,
        text="The manager counts as absent when it has shown no sign of life for this long.",
    ),
    Option(
        table="",
        name="manager_grace_ms",
        kind=Kind.NUMBER,
        default=10_000,
        minimum=0,
        maximum=600_000,
        text="How long nothing moves after the manager of a live node has gone; then the node is fenced.",
    ),
    Option(
        table="",
        name="log_file",
        kind=Kind.TEXT,
        default="",
        text="Where messages go: an absolute path; empty means standard error, which is the journal under systemd.",
    ),
    Option(
        table="",
        name="self_fence_command",
        kind=Kind.WORDS,
        default=(),
        text="Command that ends this node at once, as a list; empty: the kernel's immediate reboot (sysrq).",
    ),
    Option(
        table="quorum",
        name="two_node",
        kind=Kind.SWITCH,
        default=False,
        text="Two nodes, of which each alone may go on once the other is fenced. Needs exactly two nodes.",
    ),
    Option(
        table="quorum",
        name="wait_for_all",
        kind=Kind.SWITCH,
        default_text="true with two_node, else false",
        text="After a boot a node gains quorum only once it has seen all nodes at the same time.",
    ),
    Option(table="nodes", name="name", kind=Kind.NAME, required=True, text="The node's name, as `uname -n` prints it."),
    Option(
        table="nodes",
        name="id",
        kind=Kind.NUMBER,
        minimum=1,
        maximum=NODE_ID_MAX,
        default_text="the low 31 bits of the node's IPv4 address on the first udp link",
        text="The node's number, unique in the cluster; never change it in the life of a cluster.",
    ),
    Option(
        table="nodes",
        name="votes",
        kind=Kind.NUMBER,
        default=1,
        minimum=0,
        maximum=VOTES_MAX,
        text="The node's votes in the quorum.",
    ),
    Option(table="links", name="name", kind=Kind.NAME, required=True, text="Name of the heartbeat path, for messages."),
    Option(
        table="links",
        name="kind",
        kind=Kind.TEXT,
        required=True,
        values=("udp", "serial"),
        text="`udp` over a network, `serial` over a null-modem cable between two nodes.",
    ),
    Option(
        table="links",
        name="port",
        kind=Kind.NUMBER,
        default=5405,
        minimum=1,
        maximum=65_535,
        text="udp: the port on all nodes.",
    ),
    Option(
        table="links",
        name="addresses",
        kind=Kind.BY_NODE,
        text="udp: each node's own IP address on this link (all IPv4 or all IPv6; no host names).",
    ),
    Option(
        table="links",
        name="baud",
        kind=Kind.NUMBER,
        default=115_200,
        values=BAUD_RATES,
        text="serial: speed of the line.",
    ),
    Option(
        table="links",
        name="devices",
        kind=Kind.BY_NODE,
        text="serial: the device on each of the two nodes that the cable joins.",
    ),
)


# ---- mistakes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing that is wrong with the file: where, what, and what to do. `line` 0: not known."""

    source: str
    line: int
    key: str
    what: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.source}, line {self.line}" if self.line else self.source
        key = f"{self.key}: " if self.key else ""
        return f"{place}: {key}{self.what}; {self.remedy}"


class SettingsError(Exception):
    """The file cannot be used. `mistakes` holds all that was found, in the order of the file."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in mistakes))


# ---- the settings ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    name: str
    id: int
    votes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpLink:
    """`addresses` has one for every node of the cluster."""

    name: str
    port: int
    addresses: Mapping[str, str]
    kind: str = "udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialLink:
    """`devices` has exactly two nodes."""

    name: str
    baud: int
    devices: Mapping[str, str]
    kind: str = "serial"


Link = UdpLink | SerialLink


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    two_node: bool = False
    wait_for_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A valid quorate.toml. Nodes are sorted by id, links stand in the order of the file."""

    cluster: str
    node: str
    key_file: str
    engine: str
    token_ms: int
    state_dir: str
    run_dir: str
    manager_stall_ms: int
    manager_grace_ms: int
    log_file: str
    self_fence_command: tuple[str, ...]
    quorum: Quorum
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    source: str = field(default="", compare=False)

    @staticmethod
    def parse(text: str, source: str) -> Settings:
        """Raises SettingsError with every mistake in `text`. `source` is the file's name for messages."""
        from .settings_reader import Reader

        return Reader(text, source).settings()

    @staticmethod
    def parse_bytes(data: bytes, source: str) -> Settings:
        """As `parse`, for a file as it was read (up to FILE_BYTES_MAX + 1 bytes of it)."""

        def unreadable(what: str, remedy: str) -> SettingsError:
            return SettingsError([Mistake(source=source, line=0, key="", what=what, remedy=remedy)])

        if len(data) > FILE_BYTES_MAX:
            raise unreadable(f"is longer than {FILE_BYTES_MAX} bytes", "this is not a configuration of quorate")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise unreadable(f"byte {error.start} is not UTF-8", "save the file as UTF-8") from None
        return Settings.parse(text, source)

    @property
    def me(self) -> Node:
        return next(node for node in self.nodes if node.name == self.node)

    @property
    def node_id(self) -> int:
        return self.me.id

    def name_of(self, node_id: int) -> str | None:
        """The name of a node id, None for one that the file does not know."""
        return next((node.name for node in self.nodes if node.id == node_id), None)

    def id_of(self, name: str) -> int | None:
        return next((node.id for node in self.nodes if node.name == name), None)

    @property
    def my_links(self) -> tuple[Link, ...]:
        """The links that end at this node: every udp link, and the serial links with a device here."""
        return tuple(link for link in self.links if isinstance(link, UdpLink) or self.node in link.devices)

    def digest(self) -> str:
        """Over what must be equal on all nodes: nodes that differ in it refuse to form one cluster.

        Paths, devices and times of the local machine may differ; `token_ms` may not, since each side's patience is
        part of the other's safety."""
        shared = {
            "cluster": self.cluster,
            "engine": self.engine,
            "token_ms": self.token_ms,
            "quorum": [self.quorum.two_node, self.quorum.wait_for_all],
            "nodes": [[node.name, node.id, node.votes] for node in self.nodes],
            "links": [
                [link.name, link.port, sorted(link.addresses.items())]
                if isinstance(link, UdpLink)
                else [link.name, link.baud, sorted(link.devices)]
                for link in self.links
            ],
        }
        return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:32]

    def warnings(self) -> tuple[str, ...]:
        """What is allowed but unwise, in sentences with the remedy."""
        found: list[str] = []
        if len(self.nodes) > 1 and len(self.links) == 1:
            found.append("there is one heartbeat path only, so one cable can part the nodes: add a second [[links]]")
        if len(self.nodes) == 2 and not self.quorum.two_node:
            found.append(
                "two nodes without two_node: when one is lost the other has no majority and stops everything; "
                "set two_node = true under [quorum] and configure fencing"
            )
        if self.quorum.two_node and not self.quorum.wait_for_all:
            found.append(
                "two_node without wait_for_all: a node that boots alone may fence a peer that is well; "
                "leave wait_for_all out or set it to true"
            )
        if len(self.nodes) == 1:
            found.append("there is one node only: nothing can be taken over; add the others under [[nodes]]")
        total = sum(node.votes for node in self.nodes)
        if total % 2 == 0 and len(self.nodes) > 2:
            found.append(
                f"an even number of votes ({total}): a split into equal halves leaves no side with quorum; "
                "an odd number of nodes, or other votes, avoids that"
            )
        if self.manager_grace_ms and self.manager_grace_ms < self.token_ms:
            found.append(
                "manager_grace_ms is shorter than token_ms: a manager's restart may cost the node its power; "
                "use 10000 or more"
            )
        return tuple(found)
