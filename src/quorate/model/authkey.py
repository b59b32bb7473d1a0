"""The cluster's key file: a text armour around 32 random bytes with a key epoch.

Format: comment lines begin with "#"; then one line for each key, at most two (the second while a key is being changed):

    key EPOCH BASE64 CHECK

EPOCH is 1 to 255; the highest is used for sending, all are accepted. CHECK is the first eight hexadecimal digits of
SHA-256 over a label, the epoch and the key, so that a truncated or retyped file is found. Messages never show a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

SECRET_BYTES = 32
EPOCH_MAX = 255  # one byte in each packet
KEYS_MAX = 2
FILE_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthKey:
    epoch: int
    secret: bytes = field(repr=False)


class AuthKeyError(Exception):
    """The key file cannot be used; the text names file, line and remedy."""


def accept(data: bytes, *, mode: int, owner: int, reader: int, source: str) -> tuple[AuthKey, ...]:
    """The keys of a file as it was read, with its mode and owner; `reader` is the user who reads it. Raises
    AuthKeyError for one that is not private, not ours, or damaged."""
    if not stat.S_ISREG(mode):
        raise AuthKeyError(f"{source}: is not a regular file; name the key file itself")
    if mode & 0o077:
        raise AuthKeyError(
            f"{source}: others may read or write it (mode {stat.S_IMODE(mode):04o}); chmod 0600 it, and make a new key "
            "if somebody may have read this one"
        )
    if owner not in (0, reader):
        raise AuthKeyError(f"{source}: belongs to user {owner}; chown it to root")
    if len(data) > FILE_BYTES_MAX:
        raise AuthKeyError(f"{source}: is too long for a key file; this is something else")
    return parse(data.decode("ascii", "replace"), source)


def parse(text: str, source: str) -> tuple[AuthKey, ...]:
    """All keys of the file, highest epoch first."""
    keys: list[AuthKey] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        key = _parse_line(words)
        if key is None:
            raise AuthKeyError(
                f"{source}, line {number}: this is not a key of quorate or it is damaged; copy the file "
                "again from a node where it works, or make a new one with `quorate keygen` for all nodes"
            )
        if any(other.epoch == key.epoch for other in keys):
            raise AuthKeyError(f"{source}, line {number}: two keys have the epoch {key.epoch}; remove one")
        keys.append(key)
    if not keys:
        raise AuthKeyError(f"{source}: there is no key in this file; make one with `quorate keygen`")
    if len(keys) > KEYS_MAX:
        raise AuthKeyError(f"{source}: {len(keys)} keys are more than the {KEYS_MAX} allowed; remove the oldest")
    return tuple(sorted(keys, key=lambda key: -key.epoch))


def render(keys: Sequence[AuthKey]) -> str:
    lines = ["# Key of a quorate cluster. Keep it secret: owner root, mode 0600, the same file on all nodes."]
    for key in keys:
        lines.append(f"key {key.epoch} {base64.b64encode(key.secret).decode()} {_check(key.epoch, key.secret)}")
    return "\n".join(lines) + "\n"


def _parse_line(words: Sequence[str]) -> AuthKey | None:
    if len(words) != 4 or words[0] != "key" or not words[1].isascii() or not words[1].isdigit():
        return None
    epoch = int(words[1][:6])
    try:
        secret = base64.b64decode(words[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(secret) != SECRET_BYTES or not 1 <= epoch <= EPOCH_MAX or _check(epoch, secret) != words[3]:
        return None
    return AuthKey(epoch=epoch, secret=secret)


def _check(epoch: int, secret: bytes) -> str:
    return hashlib.sha256(b"quorate key file" + bytes([epoch]) + secret).hexdigest()[:8]
