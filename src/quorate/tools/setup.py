"""The subcommands that prepare a node: keygen, init, check.

Decided here: what a first configuration looks like and what `check` looks at on the machine. What the file itself may
say is decided in `model.settings`. Every finding names its place and what to do. Exit codes are Pacemaker's: 0 fine,
64 usage, 73 cannot create, 78 configuration, 108 exists already.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from quorate.model import authkey
from quorate.model.settings import (
    BAUD_RATES,
    CONFIG_FILE_DEFAULT,
    FILE_BYTES_MAX,
    Mistake,
    SerialLink,
    Settings,
    SettingsError,
    UdpLink,
)
from quorate.tools import setup_corosync

EXIT_OK = 0
EXIT_USAGE = 64
EXIT_CANNOT_CREATE = 73
EXIT_CONFIG = 78
EXIT_EXISTS = 108
SOCKET_PATH_MAX = 107  # sun_path, unix(7)


def config_path(given: str | None) -> Path:
    """The configuration file: as given, else by QUORATE_CONFIG, else the usual place."""
    return Path(given or os.environ.get("QUORATE_CONFIG") or CONFIG_FILE_DEFAULT)


def read_settings(path: Path) -> Settings:
    """Raises SettingsError, also when the file cannot be read. QUORATE_RUN overrides the run directory."""

    def unreadable(what: str, remedy: str) -> SettingsError:
        return SettingsError([Mistake(source=str(path), line=0, key="", what=what, remedy=remedy)])

    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise unreadable(
            "there is no such file", "write one with `quorate init`, or name it by QUORATE_CONFIG"
        ) from None
    except OSError as error:
        raise unreadable(f"cannot be read ({error.strerror})", "correct its rights or its place") from None
    settings = Settings.parse_bytes(data, str(path))
    run_dir = os.environ.get("QUORATE_RUN")
    return replace(settings, run_dir=run_dir) if run_dir else settings


def read_keys(path: Path) -> tuple[authkey.AuthKey, ...]:
    """The cluster's keys; raises AuthKeyError for a file that is absent, not private, not ours, or damaged."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise authkey.AuthKeyError(
            f"{path}: there is no key file; make one with `quorate keygen` and copy it to all nodes"
        ) from None
    except OSError as error:
        raise authkey.AuthKeyError(
            f"{path}: cannot be read ({error.strerror}); run as root, correct its rights"
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        data = file.read(authkey.FILE_BYTES_MAX + 1)
    return authkey.accept(data, mode=facts.st_mode, owner=facts.st_uid, reader=os.geteuid(), source=str(path))


# ---- keygen ---------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("path", required=False)
@click.option("--force", is_flag=True, help="Replace an existing key file; the new key has the next epoch.")
def keygen(path: str | None, force: bool) -> int:
    """Make the cluster's key file at PATH (default: as the configuration says, else /etc/quorate/authkey)."""
    target = Path(path) if path else _key_path()
    epoch = 1
    if target.exists() or target.is_symlink():
        if not force:
            return _fail(
                EXIT_EXISTS,
                f"{target} exists; every node needs the same key, so keep it, or replace it on all nodes after --force",
            )
        epoch = _next_epoch(target)
    key = authkey.AuthKey(epoch=epoch, secret=secrets.token_bytes(authkey.SECRET_BYTES))
    try:
        _write_whole(target, authkey.render([key]), mode=0o600)
    except OSError as error:
        return _fail(
            EXIT_CANNOT_CREATE, f"{target} cannot be written ({error.strerror}); run as root or name another place"
        )
    click.echo(f"{target}: new key, epoch {epoch}. Copy it to every node (owner root, mode 0600).")
    return EXIT_OK


def _key_path() -> Path:
    try:
        return Path(read_settings(config_path(None)).key_file)
    except SettingsError:
        return Path("/etc/quorate/authkey")


def _next_epoch(target: Path) -> int:
    try:
        newest = authkey.parse(target.read_text("ascii", "replace"), str(target))[0].epoch
    except (OSError, authkey.AuthKeyError):
        return 1
    return newest % authkey.EPOCH_MAX + 1


def _write_whole(target: Path, text: str, mode: int) -> None:
    """Atomic and durable: the file is there whole, with its rights, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


# ---- init -----------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--cluster", required=True, help="Name of the cluster.")
@click.option(
    "--node",
    "nodes",
    multiple=True,
    required=True,
    metavar="NAME=ADDRESS[,ADDRESS...]",
    help="A node and its address on each network; once for each node, in the order of their ids.",
)
@click.option(
    "--serial",
    "serials",
    multiple=True,
    metavar="NODE=DEVICE,NODE=DEVICE",
    help="A null-modem cable between two nodes.",
)
@click.option(
    "--this", "this", metavar="NAME", help="This node's name; default: `uname -n` where it is one of the nodes."
)
@click.option("--port", type=int, default=5405, show_default=True, help="UDP port of the links.")
@click.option("--token-ms", type=int, default=1000, show_default=True, help="Silence after which a peer is lost.")
@click.option("--baud", type=click.Choice([str(rate) for rate in BAUD_RATES]), default="115200", show_default=True)
@click.option("--engine", type=click.Choice(["heartbeat", "corosync"]), default="heartbeat", show_default=True)
@click.option("--corosync-conf", metavar="PATH", help="With corosync: its file; default /etc/corosync/corosync.conf.")
@click.option("--key-file", help="Place of the key file.")
@click.option("--state-dir", help="Directory for what must survive a boot.")
@click.option("--run-dir", help="Directory for sockets.")
@click.option("--config", "config", metavar="PATH", help="File to write; default by QUORATE_CONFIG.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def init(
    cluster: str,
    nodes: tuple[str, ...],
    serials: tuple[str, ...],
    this: str | None,
    port: int,
    token_ms: int,
    baud: str,
    engine: str,
    corosync_conf: str | None,
    key_file: str | None,
    state_dir: str | None,
    run_dir: str | None,
    config: str | None,
    force: bool,
) -> int:
    """Write a first quorate.toml for this node; with --engine corosync also Corosync's file and key."""
    target = config_path(config)
    if target.exists() and not force:
        return _fail(EXIT_EXISTS, f"{target} exists; use --force to replace it, or --config to write another")
    try:
        members = [_parse_node(text) for text in nodes]
        cables = [_parse_serial(text) for text in serials]
    except ValueError as error:
        return _fail(EXIT_USAGE, str(error))
    names = [name for name, _ in members]
    this = this or os.uname().nodename
    if this not in names:
        return _fail(
            EXIT_USAGE,
            f"this machine's name, {this}, is not one of the nodes; say which one it is with --this " + "|".join(names),
        )
    places = {"key_file": key_file, "state_dir": state_dir, "run_dir": run_dir}
    text = first_configuration(
        cluster=cluster,
        this=this,
        members=members,
        cables=cables,
        port=port,
        token_ms=token_ms,
        baud=int(baud),
        places={name: value for name, value in places.items() if value},
        engine=engine,
    )
    try:
        settings = Settings.parse(text, str(target))
    except SettingsError as error:
        for mistake in error.mistakes:
            click.echo(f"error: {mistake.key}: {mistake.what}; {mistake.remedy}", err=True)
        return EXIT_CONFIG
    if engine == "corosync":
        code = setup_corosync.write(settings, Path(corosync_conf) if corosync_conf else None, force, _write_whole)
        if code:
            return code
    try:
        _write_whole(target, text, mode=0o644)
    except OSError as error:
        return _fail(EXIT_CANNOT_CREATE, f"{target} cannot be written ({error.strerror}); run as root or use --config")
    click.echo(f"{target}: written for node {this} of cluster {cluster}.")
    for warning in settings.warnings():
        click.echo(f"warning: {warning}")
    if engine == "heartbeat" and not Path(settings.key_file).exists():
        click.echo(f"Next: quorate keygen (on one node), copy {settings.key_file} to the others;")
    click.echo(
        "Next: write the same file on the other nodes with their own `node = ...`; then quorate check and quorate run."
    )
    return EXIT_OK


def first_configuration(
    *,
    cluster: str,
    this: str,
    members: Sequence[tuple[str, Sequence[str]]],
    cables: Sequence[dict[str, str]],
    port: int,
    token_ms: int,
    baud: int,
    places: dict[str, str],
    engine: str = "heartbeat",
) -> str:
    """The text of a new file. Ids are written out, 1, 2, ..., so that a change of address changes nobody's id."""
    lines = [f"cluster = {_quoted(cluster)}", f"node = {_quoted(this)}  # the only line that differs from node to node"]
    lines += [f"{name} = {_quoted(value)}" for name, value in places.items()]
    if engine != "heartbeat":
        lines.append(f"engine = {_quoted(engine)}")
    lines.append(f"token_ms = {token_ms}")
    if len(members) == 2:
        lines += ["", "[quorum]", "two_node = true  # one of two may go on alone once the other is fenced"]
    for number, (name, _) in enumerate(members, start=1):
        lines += ["", "[[nodes]]", f"name = {_quoted(name)}", f"id = {number}"]
    for network in range(max((len(addresses) for _, addresses in members), default=0)):
        table = {name: addresses[network] for name, addresses in members if network < len(addresses)}
        lines += [
            "",
            "[[links]]",
            f'name = "net{network}"',
            'kind = "udp"',
            f"port = {port}",
            f"addresses = {_inline(table)}",
        ]
    for number, cable in enumerate(cables):
        lines += [
            "",
            "[[links]]",
            f'name = "ser{number}"',
            'kind = "serial"',
            f"baud = {baud}",
            f"devices = {_inline(cable)}",
        ]
    return "\n".join(lines) + "\n"


def _parse_node(text: str) -> tuple[str, list[str]]:
    name, equals, addresses = text.partition("=")
    if not equals or not name or not addresses:
        raise ValueError(f"--node {text}: write NAME=ADDRESS, with more addresses after commas")
    return name.strip(), [address.strip() for address in addresses.split(",")]


def _parse_serial(text: str) -> dict[str, str]:
    ends = dict(part.strip().split("=", 1) for part in text.split(",") if "=" in part)
    if len(ends) != 2:
        raise ValueError(f"--serial {text}: write NODE=DEVICE,NODE=DEVICE with the two ends of the cable")
    return ends


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char >= " " and char != "\x7f" else f"\\u{ord(char):04x}" for char in escaped) + '"'


def _inline(table: dict[str, str]) -> str:
    return "{ " + ", ".join(f"{_quoted(key)} = {_quoted(value)}" for key, value in table.items()) + " }"


# ---- check ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """severity: "error" (the node cannot run) or "warning" (it can, but that is unwise)."""

    severity: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.place}: {self.text}"


@click.command()
@click.argument("path", required=False)
def check(path: str | None) -> int:
    """Explain what is wrong with the configuration file PATH (default: by QUORATE_CONFIG) on this machine."""
    target = config_path(path)
    try:
        settings = read_settings(target)
    except SettingsError as error:
        for mistake in error.mistakes:
            click.echo(f"error: {mistake}", err=True)
        return EXIT_CONFIG
    findings = list(examine(settings))
    for finding in findings:
        click.echo(str(finding), err=finding.severity == "error")
    if any(finding.severity == "error" for finding in findings):
        return EXIT_CONFIG
    links = ", ".join(f"{link.name} ({link.kind})" for link in settings.my_links) or "none"
    click.echo(
        f"{target}: node {settings.node} (id {settings.node_id}) of cluster {settings.cluster}; "
        f"{len(settings.nodes)} nodes; links: {links}; digest {settings.digest()}"
    )
    click.echo("fine" if not findings else f"usable, with {len(findings)} warning{'s' if len(findings) > 1 else ''}")
    return EXIT_OK


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything about this machine that does not fit the settings, worst first within each part."""
    place = settings.source
    for part in (_examine_key, _examine_links, _examine_places, _examine_self_fence):
        yield from part(settings)
    for warning in settings.warnings():
        yield Finding(severity="warning", place=place, text=warning)
    uname = os.uname().nodename
    if uname != settings.node:
        yield Finding(
            severity="warning",
            place=f"{place}: node",
            text=f"this machine calls itself {uname}, the file says "
            f"{settings.node}; agents that use the host's name may be confused: make them equal",
        )


def _examine_key(settings: Settings) -> Iterator[Finding]:
    if settings.engine == "corosync":
        for severity, place, text in setup_corosync.examine(settings):
            yield Finding(severity=severity, place=place, text=text)
        return
    try:
        read_keys(Path(settings.key_file))
    except authkey.AuthKeyError as error:
        source, _, text = str(error).partition(": ")
        yield Finding(severity="error", place=source, text=text)


def _examine_links(settings: Settings) -> Iterator[Finding]:
    running = is_running(settings) or (settings.engine == "corosync" and setup_corosync.is_running())
    for link in settings.my_links:
        place = f"{settings.source}: link {link.name}"
        if isinstance(link, UdpLink):
            yield from _examine_address(place, link.addresses[settings.node], link.port, running)
        else:
            yield from _examine_device(place, link, settings.node)


def _examine_address(place: str, address: str, port: int, running: bool) -> Iterator[Finding]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for candidate in (0, port):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, candidate))
            except OSError as error:
                text = _bind_trouble(error, address, port)
                if error.errno == errno.EADDRINUSE and running:
                    return  # by this very node
                yield Finding(severity="error", place=place, text=text)
                return


def _bind_trouble(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is not an address of this machine; configure it on an interface or correct addresses"
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {address} is in use by another program (`ss -ulpn 'sport = :{port}'` shows it); stop it "
            "or choose another port on all nodes"
        )
    if error.errno == errno.EACCES:
        return f"port {port} of {address} may not be used by this user; run as root or choose a port above 1023"
    return f"{address} port {port} cannot be used ({error.strerror})"


def _examine_device(place: str, link: SerialLink, node: str) -> Iterator[Finding]:
    device = link.devices[node]
    try:
        facts = os.stat(device)
    except OSError as error:
        yield Finding(
            severity="error", place=place, text=f"{device}: {error.strerror}; correct devices or load the driver"
        )
        return
    if not stat.S_ISCHR(facts.st_mode):
        yield Finding(severity="error", place=place, text=f"{device} is not a serial device; correct devices")
    elif not os.access(device, os.R_OK | os.W_OK):
        yield Finding(
            severity="error", place=place, text=f"{device} may not be read and written by this user; run as root"
        )


def _examine_places(settings: Settings) -> Iterator[Finding]:
    for key, name in (("state_dir", settings.state_dir), ("run_dir", settings.run_dir)):
        nearest = Path(name)
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        place = f"{settings.source}: {key}"
        if not nearest.is_dir():
            yield Finding(severity="error", place=place, text=f"{nearest} is not a directory; name another place")
        elif not os.access(nearest, os.W_OK | os.X_OK):
            yield Finding(severity="error", place=place, text=f"{nearest} may not be written by this user; run as root")
    longest = os.path.join(settings.run_dir, "scheduler.sock")
    if len(os.fsencode(longest)) > SOCKET_PATH_MAX:
        yield Finding(
            severity="error",
            place=f"{settings.source}: run_dir",
            text=f"the path is too long for sockets (more than {SOCKET_PATH_MAX} bytes with their names); shorten it",
        )
    if settings.log_file and not Path(settings.log_file).parent.is_dir():
        yield Finding(
            severity="error",
            place=f"{settings.source}: log_file",
            text=f"{Path(settings.log_file).parent} is not a directory; make it or name another place",
        )
    if os.path.realpath(settings.state_dir) == os.path.realpath(settings.run_dir):
        yield Finding(
            severity="error",
            place=f"{settings.source}: run_dir",
            text="is the same directory as state_dir; one must survive a boot and the other must not",
        )


def _examine_self_fence(settings: Settings) -> Iterator[Finding]:
    command = settings.self_fence_command
    if command and shutil.which(command[0]) is None:
        yield Finding(
            severity="error",
            place=f"{settings.source}: self_fence_command",
            text=f"{command[0]} cannot be executed; install it or correct the path",
        )


def is_running(settings: Settings) -> bool:
    """Whether a manager answers on this node's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.path.join(settings.run_dir, "manager.sock"))
        except OSError:
            return False
        return True


def _fail(code: int, text: str) -> int:
    click.echo(f"error: {text}", err=True)
    return code
