"""Frames on local sockets and pipes: four bytes of length, big endian, then the value.

`FrameReader` takes bytes as they come and gives whole frames; `FrameWriter` holds what the other side has not read yet,
up to a bound. Neither blocks.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque

HEADER_BYTES = 4
_HEADER = struct.Struct(">I")
_READ_BYTES = 256 * 1024
_JOIN_BYTES = 64 * 1024


class FrameTooLong(ValueError):
    """The other side announced or queued more than is allowed."""


def frame(data: bytes) -> bytes:
    return _HEADER.pack(len(data)) + data


class FrameReader:
    def __init__(self, frame_bytes_max: int) -> None:
        self._limit = frame_bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now. Raises FrameTooLong."""
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        at = 0
        while len(buffer) - at >= HEADER_BYTES:
            (length,) = _HEADER.unpack_from(buffer, at)
            if length > self._limit:
                raise FrameTooLong(f"a frame of {length} bytes; at most {self._limit} are allowed")
            end = at + HEADER_BYTES + length
            if len(buffer) < end:
                break
            frames.append(bytes(buffer[at + HEADER_BYTES : end]))
            at = end
        if at:
            del buffer[:at]
        return frames


class FrameWriter:
    """Bytes that wait for a non-blocking descriptor. `pending` is their number."""

    def __init__(self, pending_bytes_max: int) -> None:
        self._limit = pending_bytes_max
        self._chunks: deque[bytes | memoryview] = deque()
        self.pending = 0

    def put(self, data: bytes) -> None:
        """Raises FrameTooLong when the other side does not drain."""
        size = len(data) + HEADER_BYTES
        if self.pending + size > self._limit:
            raise FrameTooLong(f"{self.pending + size} bytes wait for a reader; at most {self._limit} are allowed")
        self.pending += size
        if len(data) < _JOIN_BYTES:
            self._chunks.append(_HEADER.pack(len(data)) + data)
        else:
            self._chunks += (_HEADER.pack(len(data)), data)

    def flush(self, descriptor: int) -> bool:
        """Write what fits; True if nothing is left. Raises OSError when the other side is gone."""
        chunks = self._chunks
        while chunks:
            chunk = chunks.popleft()
            while chunks and len(chunk) + len(chunks[0]) <= _JOIN_BYTES:
                joined = [chunk]
                size = len(chunk)
                while chunks and size + len(chunks[0]) <= _JOIN_BYTES:
                    size += len(chunks[0])
                    joined.append(chunks.popleft())
                chunk = b"".join(joined)
            try:
                written = os.write(descriptor, chunk)
            except BlockingIOError:
                written = 0
            self.pending -= written
            if written < len(chunk):
                chunks.appendleft(memoryview(chunk)[written:])
                return False
        return True


def read_available(connection: socket.socket) -> bytes | None:
    """What has arrived, b"" at the end of the stream, None if nothing waits."""
    try:
        return connection.recv(_READ_BYTES)
    except BlockingIOError:
        return None
    except ConnectionResetError:
        return b""
