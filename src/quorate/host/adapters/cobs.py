"""Frames on a byte stream that may lose and damage bytes: COBS with a checksum, zero bytes between frames.

Source: Cheshire and Baker, Consistent Overhead Byte Stuffing (1997). The checksum (CRC-32) keeps line noise from the
cipher; authenticity is not its business. A frame that is damaged is dropped and counted, the next zero starts afresh.
"""

from __future__ import annotations

import zlib

_CHECK_BYTES = 4


def encode(payload: bytes) -> bytes:
    """One frame, with its delimiters."""
    data = payload + zlib.crc32(payload).to_bytes(_CHECK_BYTES, "big")
    out = bytearray(b"\0")
    runs = data.split(b"\0")
    for index, run in enumerate(runs):
        while len(run) >= 254:
            out.append(255)
            out += run[:254]
            run = run[254:]
            if not run and index == len(runs) - 1:
                break
        else:
            out.append(len(run) + 1)
            out += run
    out.append(0)
    return bytes(out)


def decode(frame: bytes) -> bytes | None:
    """The payload of what stood between two delimiters; None if it is damaged."""
    out = bytearray()
    at, end = 0, len(frame)
    while at < end:
        code = frame[at]
        stop = at + code
        if code == 0 or stop > end:
            return None
        out += frame[at + 1 : stop]
        at = stop
        if code != 255 and at < end:
            out.append(0)
    if len(out) < _CHECK_BYTES or zlib.crc32(out[:-_CHECK_BYTES]).to_bytes(_CHECK_BYTES, "big") != out[-_CHECK_BYTES:]:
        return None
    return bytes(out[:-_CHECK_BYTES])


class Decoder:
    """Collects bytes into frames. Bounded: a run of bytes without a delimiter longer than a frame is dropped."""

    def __init__(self, payload_bytes_max: int) -> None:
        self._limit = payload_bytes_max + payload_bytes_max // 254 + 16
        self._buffer = bytearray()
        self.damaged = 0

    def feed(self, data: bytes) -> list[bytes]:
        payloads: list[bytes] = []
        *whole, rest = bytes(self._buffer + data).split(b"\0")
        for piece in whole:
            if not piece:
                continue
            payload = decode(piece) if len(piece) <= self._limit else None
            if payload is None:
                self.damaged += 1
            else:
                payloads.append(payload)
        if len(rest) > self._limit:
            self.damaged += 1
            rest = b""
        self._buffer = bytearray(rest)
        return payloads
