"""Reading the cluster's key file: who may own it and who may read it.

The format is `model/authkey`. The file must belong to root or to the user who runs the engine, and nobody else may read
it: otherwise it is refused, with the command that puts it right.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from quorate.model import authkey


def load_keys(path: Path) -> tuple[authkey.AuthKey, ...]:
    """All keys of the file, the one for sending first. Raises authkey.AuthKeyError, one sentence with place and
    remedy."""
    return authkey.parse(_read_private(path), str(path))


def _read_private(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise authkey.AuthKeyError(
            f"{path}: there is no key file; make one with `quorate keygen` and copy it to every node, mode 0600"
        ) from None
    except OSError as error:
        raise authkey.AuthKeyError(f"{path}: cannot be read: {error.strerror}; it must be readable for root") from None
    try:
        _check_rights(path, os.fstat(handle))
        data = os.read(handle, authkey.FILE_BYTES_MAX + 1)
    finally:
        os.close(handle)
    if len(data) > authkey.FILE_BYTES_MAX or not data.isascii():
        raise authkey.AuthKeyError(f"{path}: is not a key file; make one with `quorate keygen`, or copy it anew")
    return data.decode("ascii")


def _check_rights(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise authkey.AuthKeyError(f"{path}: is not a regular file; make a key with `quorate keygen`")
    if facts.st_uid not in (0, os.geteuid()):
        raise authkey.AuthKeyError(f"{path}: belongs to user {facts.st_uid}; do `chown root:root {path}`")
    if facts.st_mode & 0o077:
        mode = stat.S_IMODE(facts.st_mode)
        raise authkey.AuthKeyError(f"{path}: mode {mode:04o} lets others at the key; do `chmod 600 {path}`")
