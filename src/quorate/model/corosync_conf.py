"""corosync.conf: written from quorate's settings, read, and checked against them. Pure text.

Decided here: what a sound file for quorate is. knet with every udp link, aes256 and sha256, and times such that a peer is
lost after quorate's `token_ms`, as with the embedded engine: Corosync forms a new ring after token plus consensus
(corosync.conf(5)), so the two share `token_ms`, 5 to 6, and nothing is added for the number of nodes. Without
encryption, with other nodes or addresses than quorate.toml's, or with times shorter than quorate is told to keep, a
file is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from .settings import SerialLink, Settings, UdpLink

CONF_FILE_DEFAULT = "/etc/corosync/corosync.conf"
KEY_FILE_DEFAULT = "/etc/corosync/authkey"
KEY_BYTES = 256
_KEY_BYTES_MIN, _KEY_BYTES_MAX = 128, 4096
LINKS_MAX = 8  # knet's
_TOKEN_DEFAULT, _COEFFICIENT_DEFAULT = 3000, 650
_PORT_DEFAULT = 5405
_SLOW = 3  # times token_ms


class ConfError(Exception):
    """The text is not a corosync.conf; names the line."""


@dataclass(slots=True)
class Section:
    """`values` in the order of the file; of a key that stands twice the last counts, as in Corosync."""

    name: str
    line: int = 0
    values: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)

    def all(self, name: str) -> list[Section]:
        return [each for each in self.sections if each.name == name]

    def merged(self, name: str) -> Section:
        """All sections of a name as one: Corosync reads them so."""
        merged = Section(name)
        for each in self.all(name):
            merged.line = merged.line or each.line
            merged.values.update(each.values)
            merged.sections += each.sections
        return merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """severity: "error" or "warning"."""

    severity: str
    place: str
    text: str


# ---- writing --------------------------------------------------------------------------------------------------------


def times(token_ms: int) -> tuple[int, int]:
    """Corosync's (token, consensus) that together are `token_ms`; consensus is at least 1.2 times the token."""
    token = token_ms * 5 // 11
    return token, token_ms - token


def write(settings: Settings, log_file: str = "", key_file: str = "") -> str:
    """Raises ValueError, in a sentence, for settings that Corosync cannot do."""
    serial = [link.name for link in settings.links if isinstance(link, SerialLink)]
    if serial:
        raise ValueError(f'Corosync has no serial links: remove {", ".join(serial)}, or use engine = "heartbeat"')
    links = [link for link in settings.links if isinstance(link, UdpLink)]
    if not links:
        raise ValueError("Corosync needs at least one udp link: add one under [[links]]")
    if any(node.votes == 0 for node in settings.nodes) and settings.quorum.two_node:
        raise ValueError("two_node needs one vote for each node: correct votes")
    token, consensus = times(settings.token_ms)
    lines = [
        "# Written by quorate from its own configuration; `quorate check` compares the two.",
        "totem {",
        "    version: 2",
        f"    cluster_name: {settings.cluster}",
        "    transport: knet",
        "    crypto_cipher: aes256",
        "    crypto_hash: sha256",
        *([f"    keyfile: {key_file}"] if key_file else []),
        f"    # Together token_ms = {settings.token_ms} of quorate: a peer is lost after both have passed.",
        f"    token: {token}",
        "    token_coefficient: 0",
        f"    consensus: {consensus}",
    ]
    for number, link in enumerate(links):
        lines += ["    interface {", f"        linknumber: {number}", f"        mcastport: {link.port}", "    }"]
    lines += ["}", "", "nodelist {"]
    for node in settings.nodes:
        lines += ["    node {", f"        name: {node.name}", f"        nodeid: {node.id}"]
        lines += [f"        ring{number}_addr: {link.addresses[node.name]}" for number, link in enumerate(links)]
        lines += [f"        quorum_votes: {node.votes}", "    }"]
    lines += ["}", "", "quorum {", "    provider: corosync_votequorum"]
    if settings.quorum.two_node:
        lines += ["    two_node: 1"]
    lines += [f"    wait_for_all: {int(settings.quorum.wait_for_all)}", "}", "", "logging {"]
    if log_file:
        lines += ["    to_logfile: yes", f"    logfile: {log_file}", "    to_syslog: no", "    to_stderr: no"]
    else:
        lines += ["    to_syslog: yes", "    to_stderr: no"]
    lines += ["    timestamp: hires", "}", ""]
    return "\n".join(lines)


# ---- reading --------------------------------------------------------------------------------------------------------


def parse(text: str, source: str) -> Section:
    """Raises ConfError."""
    root = Section("")
    path = [root]
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.endswith("{"):
            name = line[:-1].strip()
            if not name:
                raise ConfError(f"{source}, line {number}: a section has no name; write NAME {{")
            if len(path) > 8:
                raise ConfError(f"{source}, line {number}: sections are nested too deeply; a closing brace is missing")
            section = Section(name, number)
            path[-1].sections.append(section)
            path.append(section)
        elif line == "}":
            if len(path) == 1:
                raise ConfError(f"{source}, line {number}: this closing brace closes nothing; remove it")
            path.pop()
        else:
            key, colon, value = line.partition(":")
            if not colon or not key.strip():
                raise ConfError(
                    f"{source}, line {number}: {line[:60]!r} is neither KEY: VALUE nor a section; correct it"
                )
            path[-1].values[key.strip()] = value.strip()
    if len(path) > 1:
        raise ConfError(f"{source}, line {path[-1].line}: section {path[-1].name} is not closed; add a brace")
    return root


# ---- checking -------------------------------------------------------------------------------------------------------


def check(text: str, settings: Settings, source: str = CONF_FILE_DEFAULT) -> list[Problem]:
    """What is wrong with a file, or unwise, for a node with these settings."""
    try:
        root = parse(text, source)
    except ConfError as error:
        place, _, what = str(error).partition(": ")
        return [Problem(severity="error", place=place, text=what)]
    found: list[Problem] = []
    for part in (_check_totem, _check_times, _check_nodes, _check_links, _check_quorum):
        found += (
            Problem(severity=severity, place=f"{source}: {place}", text=what)
            for severity, place, what in part(root, settings)
        )
    return found


_Finding = tuple[str, str, str]


def _check_totem(root: Section, settings: Settings) -> Iterator[_Finding]:
    totem = root.merged("totem").values
    name = totem.get("cluster_name", "")
    if name != settings.cluster:
        yield "error", "totem.cluster_name", f"is {name!r}, and quorate.toml says {settings.cluster!r}; make them equal"
    transport = totem.get("transport", "knet")
    if transport != "knet":
        yield "error", "totem.transport", f"{transport} has neither encryption nor several links; use knet"
    secured = totem.get("secauth", "off") == "on"
    cipher = totem.get("crypto_cipher", "aes256" if secured else "none")
    digest = totem.get("crypto_hash", "sha256" if secured else "none")
    if cipher == "none":
        yield (
            "error",
            "totem.crypto_cipher",
            "there is no encryption: whoever reaches the network could speak for a node; set crypto_cipher: aes256 and "
            "crypto_hash: sha256, and make a key with corosync-keygen for all nodes",
        )
    elif digest == "none":
        yield "error", "totem.crypto_hash", "messages are not authenticated; set crypto_hash: sha256"
    elif digest in ("md5", "sha1"):
        yield "warning", "totem.crypto_hash", f"{digest} is weak; use sha256 on all nodes"


def effective_times(root: Section) -> tuple[int, int]:
    """(token, consensus) in milliseconds as Corosync will run, by its defaults and the number of nodes. Raises
    ValueError."""
    totem = root.merged("totem").values
    nodes = len(root.merged("nodelist").all("node"))
    token = int(totem.get("token", _TOKEN_DEFAULT))
    if nodes > 2:
        token += (nodes - 2) * int(totem.get("token_coefficient", _COEFFICIENT_DEFAULT))
    return token, int(totem.get("consensus", token * 12 // 10))


def _check_times(root: Section, settings: Settings) -> Iterator[_Finding]:
    try:
        token, consensus = effective_times(root)
    except ValueError:
        yield "error", "totem", "token, token_coefficient and consensus are numbers of milliseconds; correct them"
        return
    together = token + consensus
    good_token, good_consensus = times(settings.token_ms)
    remedy = (
        f"write token: {good_token}, token_coefficient: 0, consensus: {good_consensus}, or change token_ms in quorate.toml "
        "on all nodes"
    )
    if together < settings.token_ms:
        yield (
            "error",
            "totem.token",
            f"is shorter than the manager can keep: a peer is lost after {together} ms (token {token} and consensus "
            f"{consensus}), and quorate.toml says token_ms = {settings.token_ms}; {remedy}",
        )
    elif together > _SLOW * settings.token_ms:
        yield (
            "warning",
            "totem.token",
            f"a peer is lost after {together} ms only (token {token} and consensus {consensus}), and quorate.toml says "
            f"token_ms = {settings.token_ms}; {remedy}",
        )


def _check_nodes(root: Section, settings: Settings) -> Iterator[_Finding]:
    listed: dict[str, str] = {}
    for number, node in enumerate(root.merged("nodelist").all("node"), start=1):
        name, id = node.values.get("name", ""), node.values.get("nodeid", "")
        if not name or not id:
            yield "error", f"nodelist.node {number}", "has no name or no nodeid; write both"
            continue
        listed[name] = id
    for known in settings.nodes:
        id = listed.pop(known.name, "")
        if not id:
            yield "error", "nodelist", f"node {known.name} of quorate.toml is missing; add it with nodeid: {known.id}"
        elif id != str(known.id):
            yield (
                "error",
                "nodelist",
                f"node {known.name} has nodeid {id}, and {known.id} in quorate.toml; make them equal",
            )
    for name in listed:
        yield "error", "nodelist", f"node {name} is not in quorate.toml; add it there under [[nodes]] or remove it here"


def _check_links(root: Section, settings: Settings) -> Iterator[_Finding]:
    serial = [link.name for link in settings.links if isinstance(link, SerialLink)]
    if serial:
        yield "error", "nodelist", f"Corosync has no serial links; remove {', '.join(serial)} from quorate.toml"
    links = [link for link in settings.links if isinstance(link, UdpLink)]
    if len(links) > LINKS_MAX:
        yield "error", "nodelist", f"Corosync has at most {LINKS_MAX} links, and quorate.toml has {len(links)}"
    ports = {
        each.values.get("linknumber", "0"): each.values.get("mcastport")
        for each in root.merged("totem").all("interface")
    }
    for number, link in enumerate(links):
        port = ports.get(str(number)) or str(_PORT_DEFAULT + number)
        if port != str(link.port):
            yield (
                "error",
                f"totem.interface {number}",
                f"link {link.name} has port {link.port} in quorate.toml, and {port} here; write mcastport: {link.port}",
            )
    for node in root.merged("nodelist").all("node"):
        name = node.values.get("name", "")
        for number, link in enumerate(links):
            wanted = link.addresses.get(name)
            given = node.values.get(f"ring{number}_addr", "")
            if wanted is not None and not _same_address(given, wanted):
                yield (
                    "error",
                    f"nodelist, node {name}",
                    f"ring{number}_addr is {given or 'missing'}, and {wanted} on link {link.name} of quorate.toml; "
                    "make them equal",
                )


def _check_quorum(root: Section, settings: Settings) -> Iterator[_Finding]:
    quorum = root.merged("quorum").values
    if quorum.get("provider") != "corosync_votequorum":
        yield "error", "quorum.provider", "Corosync says nothing of its rings without it; write corosync_votequorum"
    two_node = quorum.get("two_node", "0") == "1"
    if two_node != settings.quorum.two_node and len(settings.nodes) == 2:
        yield (
            "warning",
            "quorum.two_node",
            f"is {int(two_node)}, and {str(settings.quorum.two_node).lower()} in quorate.toml: Corosync's opinion only "
            "vetoes; make them equal",
        )


def _same_address(given: str, wanted: str) -> bool:
    try:
        return ipaddress.ip_address(given) == ipaddress.ip_address(wanted)
    except ValueError:
        return False


def key_problem(size: int, mode: int, owner: int) -> str:
    """What is wrong with Corosync's key file, or nothing."""
    if mode & 0o077:
        return f"others may read or write it (mode {mode & 0o7777:04o}); chmod 0400 it, and make a new key"
    if owner != 0:
        return f"belongs to user {owner}; chown it to root"
    if not _KEY_BYTES_MIN <= size <= _KEY_BYTES_MAX:
        return f"is {size} bytes long, and Corosync takes {_KEY_BYTES_MIN} to {_KEY_BYTES_MAX}; use corosync-keygen"
    return ""


def key_file(text: str) -> str:
    """Where Corosync with this file looks for its key."""
    return parse(text, "").merged("totem").values.get("keyfile", KEY_FILE_DEFAULT)
