"""Reads quorate.toml: every mistake is found at once, and each names its line, its key and what to do.

`Settings.parse` is the way in. After a mistake the reading goes on with a harmless value in its place.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from .settings import (
    LINKS_MAX,
    NAME_PATTERN,
    NODE_ID_MAX,
    NODES_MAX,
    OPTIONS,
    Kind,
    Link,
    Mistake,
    Node,
    Option,
    Quorum,
    SerialLink,
    Settings,
    SettingsError,
    UdpLink,
)

_LINK_KEYS = {"udp": ("name", "kind", "port", "addresses"), "serial": ("name", "kind", "baud", "devices")}
_Path = tuple[str | int, ...]
_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY = re.compile(r"\s*\"?([A-Za-z0-9_-]+)\"?\s*=")


def _lines_of(text: str) -> dict[_Path, int]:
    """Line of each table and key, found by a look at the shape of the lines (tomllib does not tell)."""
    lines: dict[_Path, int] = {}
    counts: dict[str, int] = {}
    table: _Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            name = header[2]
            table = (name,)
            if header[1] == "[[":
                table = (name, counts.get(name, 0))
                counts[name] = counts.get(name, 0) + 1
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, key[1]), number)
    return lines


class Reader:
    """One reading of one file: collects mistakes, so that all are found at once."""

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source
        self.mistakes: list[Mistake] = []
        self.faulty: set[_Path] = set()
        self.lines = _lines_of(text)

    def settings(self) -> Settings:
        raw = self._load()
        self._unknown_keys(raw)
        top = self._table("", (), raw)
        quorum_raw = self._subtable(raw)
        quorum = self._table("quorum", ("quorum",), quorum_raw)
        node_rows = self._rows("nodes", raw)
        link_rows = self._rows("links", raw)
        nodes = [self._table("nodes", ("nodes", number), row) for number, row in enumerate(node_rows)]
        links = [self._table("links", ("links", number), row) for number, row in enumerate(link_rows)]
        names = [str(node["name"]) for node in nodes if node["name"]]
        self._check_names(top, names)
        built_links = [self._link(number, link, link_rows[number], names) for number, link in enumerate(links)]
        usable = [link for link in built_links if link is not None]
        self._check_links(usable)
        self._check_paths_between(names, usable, len(usable) == len(link_rows))
        built_nodes = self._nodes(nodes, usable)
        two_node, wait_for_all = bool(quorum["two_node"]), quorum["wait_for_all"]
        if two_node and len(node_rows) != 2:
            self._mistake(
                ("quorum", "two_node"),
                f"two_node is set but there are {len(node_rows)} nodes",
                "set it to false; it is for clusters of exactly two",
            )
        if built_nodes and sum(node.votes for node in built_nodes) == 0:
            self._mistake(("nodes",), "no node has a vote", "give votes = 1 to at least one node")
        if top["log_file"] and not str(top["log_file"]).startswith("/"):
            self._mistake(
                ("log_file",), f"{top['log_file']!r} is not an absolute path", "begin it with /, or leave it empty"
            )
        if self.mistakes:
            raise SettingsError(sorted(self.mistakes, key=lambda mistake: mistake.line or 1_000_000))
        return Settings(
            cluster=top["cluster"],
            node=top["node"],
            key_file=top["key_file"],
            engine=top["engine"],
            token_ms=top["token_ms"],
            state_dir=top["state_dir"],
            run_dir=top["run_dir"],
            manager_stall_ms=top["manager_stall_ms"],
            manager_grace_ms=top["manager_grace_ms"],
            log_file=top["log_file"],
            self_fence_command=tuple(top["self_fence_command"]),
            quorum=Quorum(two_node=two_node, wait_for_all=two_node if wait_for_all is None else bool(wait_for_all)),
            nodes=tuple(sorted(built_nodes, key=lambda node: node.id)),
            links=tuple(usable),
            source=self.source,
        )

    # -- shape --

    def _load(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            where = re.search(r"at line (\d+), column (\d+)", str(error))
            line = int(where[1]) if where else self.text.count("\n") + 1
            what = re.sub(r"\s*\(at [^)]*\)", "", str(error))
            mistake = Mistake(
                source=self.source,
                line=line,
                key="",
                what=f"this is not TOML: {what}",
                remedy="correct the line; texts stand in double quotes, tables in [brackets]",
            )
            raise SettingsError([mistake]) from error

    def _subtable(self, raw: dict[str, Any]) -> dict[str, Any]:
        value = raw.get("quorum", {})
        if isinstance(value, dict):
            return value
        self._mistake(("quorum",), "must be a table", "write [quorum] on a line of its own and its keys below")
        return {}

    def _rows(self, name: str, raw: dict[str, Any]) -> list[dict[str, Any]]:
        value = raw.get(name)
        limit = NODES_MAX if name == "nodes" else LINKS_MAX
        if value is None or value == []:
            # A node alone needs no heartbeat path.
            if name == "nodes" or not _is_single(raw.get("nodes")):
                self._mistake((name,), f"there is no [[{name}]]", f"write one [[{name}]] for each of the {name}")
            return []
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            self._mistake((name,), "must be a list of tables", f"write [[{name}]] (two brackets) above each")
            return []
        if len(value) > limit:
            self._mistake(
                (name,), f"{len(value)} {name} are more than the {limit} that a cluster may have", "remove some"
            )
        return value[:limit]

    def _unknown_keys(self, raw: dict[str, Any]) -> None:
        known = [option.name for option in OPTIONS if not option.table] + ["quorum", "nodes", "links"]
        self._unknown_in((), raw, known)
        for name in ("quorum", "nodes", "links"):
            value = raw.get(name)
            keys = [option.name for option in OPTIONS if option.table == name]
            if isinstance(value, dict):
                self._unknown_in((name,), value, keys)
            elif isinstance(value, list):
                for number, row in enumerate(value):
                    if isinstance(row, dict):
                        self._unknown_in((name, number), row, keys)

    def _unknown_in(self, path: _Path, table: dict[str, Any], known: Sequence[str]) -> None:
        for key in table:
            if key in known:
                continue
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            elsewhere = [option.table or "the top" for option in OPTIONS if option.name == key]
            if elsewhere:
                at_top = elsewhere[0] == "the top"
                remedy = "it belongs above the first [table]" if at_top else f"it belongs under [{elsewhere[0]}]"
            elif near:
                remedy = f"did you mean {near[0]!r}?"
            else:
                remedy = "remove it, or see the reference for the keys of this table"
            self._mistake((*path, key), "unknown key", remedy)

    # -- values --

    def _table(self, table: str, path: _Path, raw: dict[str, Any]) -> dict[str, Any]:
        return {
            option.name: self._value(option, (*path, option.name), raw.get(option.name))
            for option in OPTIONS
            if option.table == table
        }

    def _value(self, option: Option, path: _Path, value: Any) -> Any:
        fallback = _fallback(option)
        if value is None:
            if option.required:
                self._mistake(path, "is missing", f"write {option.name} = ... : {option.text}")
            return fallback
        wrong = _wrong_kind(option.kind, value)
        if wrong:
            self._mistake(path, wrong, f"write a {option.kind.value}")
            return fallback
        if option.values and value not in option.values:
            near = difflib.get_close_matches(str(value), [str(one) for one in option.values], n=1, cutoff=0.6)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            self._mistake(
                path,
                f"{value!r} is not one of its values",
                "use one of " + ", ".join(str(one) for one in option.values) + hint,
            )
            return fallback
        low, high = option.minimum, option.maximum
        if low is not None and high is not None and not low <= value <= high:
            self._mistake(path, f"{value} is out of range", f"use {low} to {high}")
            return fallback
        return value

    def _check_names(self, top: dict[str, Any], names: list[str]) -> None:
        seen: dict[str, int] = {}
        for number, name in enumerate(names):
            if name in seen:
                self._mistake(
                    ("nodes", number, "name"), f"{name!r} is the name of two nodes", "give each node its own name"
                )
            seen.setdefault(name, number)
        node = top["node"]
        if node and names and node not in names:
            near = difflib.get_close_matches(node, names, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else "add it under [[nodes]] or use one of " + ", ".join(names)
            self._mistake(("node",), f"this node, {node!r}, is not in the list of nodes", hint)

    # -- links --

    def _link(self, number: int, link: dict[str, Any], raw: dict[str, Any], names: list[str]) -> Link | None:
        path: _Path = ("links", number)
        kind = link["kind"]
        if kind not in _LINK_KEYS:
            return None
        for key in raw:
            other = "serial" if kind == "udp" else "udp"
            if key in _LINK_KEYS[other] and key not in _LINK_KEYS[kind]:
                self._mistake(
                    (*path, key), f"belongs to a {other} link, and this one is {kind}", "remove it or change the kind"
                )
        if kind == "udp":
            return self._udp(path, link, raw, names)
        return self._serial(path, link, raw, names)

    def _udp(self, path: _Path, link: dict[str, Any], raw: dict[str, Any], names: list[str]) -> UdpLink | None:
        before = len(self.mistakes)
        where = (*path, "addresses")
        given = link["addresses"]
        if given is None:
            if "addresses" not in raw:
                self._mistake(where, "is missing", 'write addresses = { NODE = "ADDRESS", ... } with every node')
            return None
        self._strangers(where, given, names)
        missing = [name for name in names if name not in given]
        if missing:
            self._mistake(where, f"this link has no address for {', '.join(missing)}", "add one for every node")
        taken: dict[str, str] = {}
        versions: set[int] = set()
        for node, text in given.items():
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                self._mistake(
                    where, f"{text!r} of {node} is not an IP address", "write the numeric address, not a host name"
                )
                continue
            if address.is_unspecified or address.is_multicast or text == "255.255.255.255":
                self._mistake(
                    where, f"{text} of {node} is not the address of one machine", "write the node's own address"
                )
            if str(address) in taken:
                self._mistake(
                    where,
                    f"{text} is the address of two nodes, {taken[str(address)]} and {node}",
                    "give each node its own",
                )
            taken.setdefault(str(address), node)
            versions.add(address.version)
        if len(versions) > 1:
            self._mistake(where, "IPv4 and IPv6 addresses are mixed in one link", "use one kind, or two links")
        if len(self.mistakes) > before:
            return None
        return UdpLink(name=link["name"], port=link["port"], addresses=dict(given))

    def _serial(self, path: _Path, link: dict[str, Any], raw: dict[str, Any], names: list[str]) -> SerialLink | None:
        before = len(self.mistakes)
        where = (*path, "devices")
        given = link["devices"]
        if given is None:
            if "devices" not in raw:
                self._mistake(where, "is missing", 'write devices = { NODE = "/dev/ttyS0", OTHER = "/dev/ttyS0" }')
            return None
        self._strangers(where, given, names)
        if len(given) != 2:
            self._mistake(
                where,
                f"a serial line joins exactly two nodes, and {len(given)} are named",
                "name the two at its ends; use one link for each pair",
            )
        for node, text in given.items():
            if not text.startswith("/"):
                self._mistake(where, f"{text!r} of {node} is not an absolute path", "write the device as /dev/...")
        if len(self.mistakes) > before:
            return None
        return SerialLink(name=link["name"], baud=link["baud"], devices=dict(given))

    def _strangers(self, where: _Path, given: Mapping[str, str], names: list[str]) -> None:
        for node in given:
            if node not in names:
                near = difflib.get_close_matches(node, names, n=1, cutoff=0.6)
                self._mistake(
                    where,
                    f"{node!r} is not in the list of nodes",
                    f"did you mean {near[0]!r}?" if near else "add it under [[nodes]] or remove it here",
                )

    def _check_links(self, links: list[Link]) -> None:
        """What two links must not share: a name, a socket (address and port), a device."""
        names: dict[str, str] = {}
        sockets: dict[tuple[str, str, int], str] = {}
        devices: dict[tuple[str, str], str] = {}
        for link in links:
            if link.name in names:
                self._mistake(("links",), f"two links have the name {link.name!r}", "give each link its own name")
            names[link.name] = link.name
            if isinstance(link, UdpLink):
                for node, address in link.addresses.items():
                    mine = (node, str(ipaddress.ip_address(address)), link.port)
                    if mine in sockets:
                        self._mistake(
                            ("links",),
                            f"links {sockets[mine]!r} and {link.name!r} both use {address} port {link.port} on {node}",
                            "use another network, or at least another port",
                        )
                    sockets[mine] = link.name
            else:
                for node, device in link.devices.items():
                    if (node, device) in devices:
                        self._mistake(
                            ("links",),
                            f"links {devices[node, device]!r} and {link.name!r} both use {device} on {node}",
                            "use another device",
                        )
                    devices[node, device] = link.name

    def _check_paths_between(self, names: list[str], links: list[Link], complete: bool) -> None:
        """Every pair of nodes needs a path; any valid udp link joins all."""
        if not complete or not links or any(isinstance(link, UdpLink) for link in links):
            return
        joined = {frozenset(link.devices) for link in links if isinstance(link, SerialLink)}
        for number, one in enumerate(names):
            for other in names[number + 1 :]:
                if frozenset((one, other)) not in joined:
                    self._mistake(
                        ("links",),
                        f"{one} and {other} have no heartbeat path",
                        "add a udp link, or a serial link between the two",
                    )

    # -- nodes --

    def _nodes(self, rows: list[dict[str, Any]], links: list[Link]) -> list[Node]:
        first = next((link for link in links if isinstance(link, UdpLink)), None)
        built: list[Node] = []
        owner: dict[int, str] = {}
        for number, row in enumerate(rows):
            name, node_id = row["name"], row["id"]
            if not name:
                continue
            if node_id is None and ("nodes", number, "id") not in self.faulty:
                node_id = _id_from_address(first.addresses.get(name)) if first else None
                if node_id is None:
                    if links or not self.mistakes:
                        self._mistake(
                            ("nodes", number, "id"),
                            f"{name} has no id, and there is no IPv4 address to make one from",
                            f"write id = ... (1 to {NODE_ID_MAX})",
                        )
                    continue
            if node_id is None:
                continue
            if node_id in owner:
                self._mistake(
                    ("nodes", number, "id"),
                    f"{node_id} is the id of two nodes, {owner[node_id]} and {name}",
                    "give each node its own id",
                )
            owner.setdefault(node_id, name)
            built.append(Node(name=name, id=node_id, votes=row["votes"]))
        return built

    def _mistake(self, path: _Path, what: str, remedy: str) -> None:
        self.faulty.add(path)
        line = 0
        for length in range(len(path), 0, -1):  # the key's own line, else its table's
            line = self.lines.get(path[:length], 0)
            if line:
                break
        self.mistakes.append(Mistake(source=self.source, line=line, key=_spelled(path), what=what, remedy=remedy))


def _is_single(rows: Any) -> bool:
    return isinstance(rows, list) and len(rows) == 1


def _spelled(path: _Path) -> str:
    """("nodes", 1, "id") as "nodes[2].id": people count from one."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _fallback(option: Option) -> Any:
    """A harmless value to go on with after a mistake, so that the rest can be checked."""
    if option.required:
        return ""
    return option.default


def _wrong_kind(kind: Kind, value: Any) -> str:
    shown = f"{value!r}"[:60]
    match kind:
        case Kind.TEXT:
            return "" if isinstance(value, str) else f"{shown} is not a text in quotes"
        case Kind.NAME:
            if not isinstance(value, str):
                return f"{shown} is not a text in quotes"
            return (
                "" if NAME_PATTERN.fullmatch(value) else f"{shown} is not a name (letters, digits, _ - . ; at most 64)"
            )
        case Kind.PATH:
            return "" if isinstance(value, str) and value.startswith("/") else f"{shown} is not an absolute path"
        case Kind.NUMBER:
            return "" if isinstance(value, int) and not isinstance(value, bool) else f"{shown} is not a whole number"
        case Kind.SWITCH:
            return "" if isinstance(value, bool) else f"{shown} is neither true nor false"
        case Kind.WORDS:
            fine = isinstance(value, list) and all(isinstance(word, str) for word in value)
            return "" if fine else f"{shown} is not a list of texts"
        case Kind.BY_NODE:
            fine = isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
            return "" if fine else f"{shown} is not a table of node = text"


def _id_from_address(address: str | None) -> int | None:
    """The low 31 bits of an IPv4 address, as Corosync does (corosync.conf(5), clear_node_high_bit)."""
    if address is None:
        return None
    parsed = ipaddress.ip_address(address)
    if parsed.version != 4:
        return None
    return int(parsed) & NODE_ID_MAX or None
