"""What `quorate init` writes and `quorate check` looks at when the group layer is Corosync: its file and its key."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from quorate.model import corosync_conf
from quorate.model.settings import Settings

_EXIT_CANNOT_CREATE = 73
_EXIT_CONFIG = 78
_EXIT_EXISTS = 108
_PATH = "/usr/sbin:/usr/local/sbin:/sbin:/usr/bin"
_SOCKET = "@cmap"


def conf_path() -> Path:
    return Path(os.environ.get("COROSYNC_MAIN_CONFIG_FILE") or corosync_conf.CONF_FILE_DEFAULT)


def write(settings: Settings, conf: Path | None, force: bool, write_whole: Callable[[Path, str, int], None]) -> int:
    """Corosync's file from the same settings, and a key unless there is one. Returns the exit code."""
    target = conf or conf_path()
    key = target.with_name("authkey")
    if target.exists() and not force:
        problems = corosync_conf.check(target.read_text(errors="replace"), settings, str(target))
        if any(problem.severity == "error" for problem in problems):
            for problem in problems:
                click.echo(f"{problem.severity}: {problem.place}: {problem.text}", err=True)
            click.echo(f"error: {target} exists and does not fit; correct it, or replace it with --force", err=True)
            return _EXIT_EXISTS
        click.echo(f"{target}: exists and fits; left as it is.")
        return 0
    try:
        text = corosync_conf.write(
            settings, key_file="" if str(key) == corosync_conf.KEY_FILE_DEFAULT else os.path.abspath(key)
        )
    except ValueError as error:
        click.echo(f"error: {error}", err=True)
        return _EXIT_CONFIG
    try:
        write_whole(target, text, 0o644)
        if not key.exists():
            _write_key(key)
            click.echo(f"{key}: new key for Corosync. Copy it to every node (owner root, mode 0400).")
    except OSError as error:
        click.echo(
            f"error: {target} cannot be written ({error.strerror}); run as root or use --corosync-conf", err=True
        )
        return _EXIT_CANNOT_CREATE
    click.echo(f"{target}: written. Copy it to every node: it is the same on all.")
    return 0


def _write_key(key: Path) -> None:
    descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(corosync_conf.KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())


def examine(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """(severity, place, text) of everything about Corosync here that does not fit the settings."""
    if shutil.which("corosync", path=_PATH) is None:
        yield "error", f"{settings.source}: engine", "corosync is not installed; apt-get install corosync"
    path = conf_path()
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        yield "error", str(path), "there is no such file; `quorate init --engine corosync` writes one"
        return
    except OSError as error:
        yield "error", str(path), f"cannot be read ({error.strerror}); run as root"
        return
    problems = corosync_conf.check(text, settings, str(path))
    for problem in problems:
        yield problem.severity, problem.place, problem.text
    try:
        key = Path(corosync_conf.key_file(text))
    except corosync_conf.ConfError:
        return  # told already
    yield from _examine_key(key)


def _examine_key(key: Path) -> Iterator[tuple[str, str, str]]:
    try:
        facts = os.stat(key)
    except FileNotFoundError:
        yield "error", str(key), "there is no key file; corosync-keygen makes one, the same for all nodes"
        return
    except OSError as error:
        yield "error", str(key), f"cannot be read ({error.strerror}); run as root"
        return
    problem = corosync_conf.key_problem(facts.st_size, stat.S_IMODE(facts.st_mode), facts.st_uid)
    if problem:
        yield "error", str(key), problem


def is_running() -> bool:
    """Whether a Corosync answers on this machine (its ports are then its own)."""
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
            return any(line.split()[-1] == _SOCKET for line in table)
    except OSError:
        return False
