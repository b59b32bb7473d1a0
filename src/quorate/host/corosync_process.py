"""Corosync itself: its file checked before anything starts, and the program run where nobody else runs it.

Under systemd (or by hand) Corosync is somebody else's: it is used as it is found. Otherwise the supervisor runs
`corosync -f` as one of its children, starts it again when it ends, and lets it take its leave with the node.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from quorate.host.places import PlaceError
from quorate.model import corosync_conf, settings

_PATH = "/usr/sbin:/usr/local/sbin:/sbin:/usr/bin"
_SOCKET = "@cmap"  # Corosync's name for its map's service, in the abstract namespace (unix(7))


def conf_path() -> Path:
    return Path(os.environ.get("COROSYNC_MAIN_CONFIG_FILE") or corosync_conf.CONF_FILE_DEFAULT)


def check(chosen: settings.Settings) -> None:
    """Raises PlaceError, a sentence for each fault, when this node must not run with Corosync as it is configured."""
    path = conf_path()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise PlaceError(f"{path}: there is no such file; `quorate init --engine corosync` writes one") from None
    except OSError as error:
        raise PlaceError(f"{path}: cannot be read: {error.strerror}; run as root") from None
    problems = corosync_conf.check(text, chosen, str(path))
    faults = [f"{each.place}: {each.text}" for each in problems if each.severity == "error"]
    key = Path(corosync_conf.key_file(text))
    if not faults:
        fault = key_fault(key)
        faults += [fault] if fault else []
    if faults:
        raise PlaceError("\n".join(faults))


def key_fault(key: Path) -> str:
    """What is wrong with Corosync's key file, with its place, or nothing."""
    try:
        facts = os.stat(key)
    except FileNotFoundError:
        return f"{key}: there is no key file; `quorate init --engine corosync` makes one, the same for all nodes"
    except OSError as error:
        return f"{key}: cannot be read ({error.strerror}); run as root"
    problem = corosync_conf.key_problem(facts.st_size, stat.S_IMODE(facts.st_mode), facts.st_uid)
    return f"{key}: {problem}" if problem else ""


def is_running() -> bool:
    """Whether a Corosync answers in this network namespace."""
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
            return any(line.split()[-1] == _SOCKET for line in table)
    except OSError:
        return False


def children() -> list[list[str]]:
    """The command to run under the supervisor, unless somebody else runs Corosync."""
    if is_running():
        return []
    program = shutil.which("corosync", path=_PATH)
    if program is None:
        raise PlaceError(
            'corosync is not installed, and engine = "corosync" needs it: apt-get install corosync, or use '
            'engine = "heartbeat"'
        )
    return [[program, "-f", "-c", str(conf_path())]]
