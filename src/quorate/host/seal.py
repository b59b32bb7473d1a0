"""Authentication and encryption of every packet: AES-256-GCM under a key of its own for each run of an engine.

The key is derived (HKDF) from the cluster's secret for each sender, incarnation (128 random bits) and key epoch; the
cluster's name is bound in. The nonce is link and sequence, the clear header is associated data. Whether an authentic
packet is also fresh, `core/messaging/replay` decides.

Bounds: the keys of 64 runs that never proved themselves are kept, and at most 200 a second are derived, so that packets
with invented incarnations cost little; above that they are dropped unread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from quorate.model import wire
from quorate.model.authkey import AuthKey
from quorate.model.ids import SECOND

_STRANGERS_MAX = 64
_DERIVED_PER_SECOND = 200
_LABEL = b"quorate packet key 1\0"

_CipherKey = tuple[int, int, int]  # source, incarnation, key epoch


class SealBroken(Exception):
    """Not made with our key for this cluster, or damaged. `code` is that of the Diagnosis; "" is not worth one."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Seal:
    """Seals what this node sends and opens what it receives."""

    def __init__(self, keys: Iterable[AuthKey], cluster: str, node: int, incarnation: int) -> None:
        ordered = tuple(keys)
        self._cluster = cluster.encode()
        self._tag = wire.cluster_tag(cluster)
        self._node = node
        self._incarnation = incarnation
        self._secrets = {key.epoch & 0xFF: key.secret for key in reversed(ordered)}
        self._epoch = ordered[0].epoch & 0xFF
        self._cipher = self._derive(node, incarnation, self._epoch)
        self._sequences: dict[int, int] = {}
        self._admitted: dict[_CipherKey, AESGCM] = {}
        self._strangers: OrderedDict[_CipherKey, AESGCM] = OrderedDict()
        self._second = -1
        self._derived = 0

    def seal(self, link: int, body: bytes) -> bytes:
        """The datagram for one link; the same bytes may go to several peers."""
        sequence = self._sequences.get(link, 0) + 1
        self._sequences[link] = sequence
        header = wire.Header(
            cluster=self._tag,
            source=self._node,
            link=link,
            key_epoch=self._epoch,
            incarnation=self._incarnation,
            sequence=sequence,
        ).pack()
        return header + self._cipher.encrypt(_nonce(link, sequence), body, header)

    def open(self, header: wire.Header, datagram: bytes, now: int) -> bytes:
        """The body. Raises SealBroken."""
        key = (header.source, header.incarnation, header.key_epoch)
        cipher = self._admitted.get(key)
        known = cipher is not None
        if cipher is None:
            cipher = self._stranger(key, now)
        try:
            return cipher.decrypt(
                _nonce(header.link, header.sequence), datagram[wire.HEADER_BYTES :], datagram[: wire.HEADER_BYTES]
            )
        except InvalidTag:
            raise SealBroken("garbage" if known else "wrong-key") from None

    def admit(self, header: wire.Header) -> None:
        """The incarnation has proved that it lives: keep its key apart from those of strangers, forget its
        forerunner's."""
        key = (header.source, header.incarnation, header.key_epoch)
        for old in [old for old in self._admitted if old[0] == key[0] and old[1] != key[1]]:
            del self._admitted[old]
        cipher = self._strangers.pop(key, None)
        if cipher is not None:
            self._admitted[key] = cipher

    def _stranger(self, key: _CipherKey, now: int) -> AESGCM:
        cipher = self._strangers.get(key)
        if cipher is not None:
            self._strangers.move_to_end(key)
            return cipher
        if key[2] not in self._secrets:
            raise SealBroken("wrong-key")
        second = now // SECOND
        if second != self._second:
            self._second, self._derived = second, 0
        self._derived += 1
        if self._derived > _DERIVED_PER_SECOND:
            raise SealBroken("")
        cipher = self._strangers[key] = self._derive(*key)
        if len(self._strangers) > _STRANGERS_MAX:
            self._strangers.popitem(last=False)
        return cipher

    def _derive(self, source: int, incarnation: int, epoch: int) -> AESGCM:
        info = _LABEL + source.to_bytes(4, "big") + bytes((epoch,)) + self._cluster
        return AESGCM(HKDF(SHA256(), 32, incarnation.to_bytes(16, "big"), info).derive(self._secrets[epoch]))


def _nonce(link: int, sequence: int) -> bytes:
    return (link << 48 | sequence).to_bytes(12, "big")
