"""Heartbeat link over a serial line between two nodes: termios, COBS frames, pacing with priorities.

The kernel's buffer holds 4 KiB, at 115,200 baud a third of a second: a heartbeat behind it would be late. So packets
wait here, the urgent ones first, and no more than about 25 ms' worth of bytes is handed to the kernel ahead of time.
What does not fit the bounded queue is dropped, the least urgent first. A device that vanishes is closed and tried
again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
import tty
from collections import deque

from quorate.host.adapters import LinkError, cobs

_QUEUE_BYTES_MAX = 16 * 1024
_AHEAD_SECONDS = 0.025
_AHEAD_BYTES_MIN = 256
_READ_BYTES = 4096
_PRIORITIES = 4
_PACKET_BYTES_MAX = 8192 + 64
_GONE = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.EBADF)


class SerialLink:
    kind = "serial"

    def __init__(self, name: str, number: int, device: str, peer: int, baud: int) -> None:
        self.name = name
        self.number = number
        self.dropped = 0
        self._device = device
        self._peer = peer
        self._baud = baud
        self._ahead = max(_AHEAD_BYTES_MIN, int(baud / 10 * _AHEAD_SECONDS))
        self._descriptor = -1
        self._decoder = cobs.Decoder(_PACKET_BYTES_MAX)
        self._queues: list[deque[bytes]] = [deque() for _ in range(_PRIORITIES)]
        self._waiting = 0  # bytes in the queues
        self._rest = b""  # of a frame begun

    @property
    def damaged(self) -> int:
        return self._decoder.damaged

    def open(self) -> None:
        """Raises LinkError with a sentence for people."""
        try:
            descriptor = os.open(self._device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise LinkError(self._explain(error)) from None
        try:
            self._configure(descriptor)
        except (termios.error, OSError) as error:
            os.close(descriptor)
            text = error.args[-1] if error.args else error
            place = f"link {self.name}: {self._device}"
            raise LinkError(f"{place} is not a serial line ({text}); correct `devices`") from None
        self._descriptor = descriptor
        self._decoder = cobs.Decoder(_PACKET_BYTES_MAX)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self._rest = b""
        self._waiting = 0
        for queue in self._queues:
            queue.clear()

    def fileno(self) -> int:
        return self._descriptor

    @property
    def wants_write(self) -> bool:
        return bool(self._waiting or self._rest)

    def address_of(self, peer: int) -> str:
        return self._device

    def sender_at(self, address: str) -> int | None:
        return self._peer

    def receive(self, limit: int) -> list[tuple[bytes, str]]:
        """Raises OSError when the device is gone."""
        received: list[tuple[bytes, str]] = []
        while self._descriptor >= 0 and len(received) < limit:
            try:
                data = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                raise OSError(errno.EIO, "the line was hung up")
            received += [(payload, self._device) for payload in self._decoder.feed(data)]
        return received

    def send(self, peers: tuple[int, ...], datagram: bytes, priority: int) -> str | None:
        if self._descriptor < 0:
            return f"{self._device} is closed"
        frame = cobs.encode(datagram)
        self._queues[min(priority, _PRIORITIES - 1)].append(frame)
        self._waiting += len(frame)
        while self._waiting > _QUEUE_BYTES_MAX:
            queue = next(queue for queue in reversed(self._queues) if queue)
            self._waiting -= len(queue.popleft())
            self.dropped += 1
        return self.flush()

    def flush(self) -> str | None:
        """Hand to the kernel what it will send within the next moment. The cause if the device is gone."""
        try:
            while self._descriptor >= 0 and (self._rest or self._waiting):
                if self._queued_in_kernel() > self._ahead:
                    return None
                if not self._rest:
                    self._rest = self._next_frame()
                written = os.write(self._descriptor, self._rest)
                self._rest = self._rest[written:]
        except BlockingIOError:
            return None
        except OSError as error:
            return f"{self._device}: {error.strerror}"
        return None

    def _next_frame(self) -> bytes:
        frame = next(queue for queue in self._queues if queue).popleft()
        self._waiting -= len(frame)
        return frame

    def _queued_in_kernel(self) -> int:
        (count,) = struct.unpack("i", fcntl.ioctl(self._descriptor, termios.TIOCOUTQ, b"\0\0\0\0"))
        return int(count)

    def _configure(self, descriptor: int) -> None:
        """Raw, eight bits, no flow control, no modem lines, and nobody else's."""
        speed = getattr(termios, f"B{self._baud}")
        tty.setraw(descriptor, termios.TCSANOW)
        attributes = termios.tcgetattr(descriptor)
        attributes[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
        attributes[4] = attributes[5] = speed
        attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
        fcntl.ioctl(descriptor, termios.TIOCEXCL)
        termios.tcflush(descriptor, termios.TCIOFLUSH)

    def _explain(self, error: OSError) -> str:
        place = f"link {self.name}: {self._device}"
        if error.errno == errno.ENOENT:
            return f"{place} does not exist; plug the adapter in or correct `devices`"
        if error.errno == errno.EBUSY:
            return f"{place} is used by another program (see `fuser -v {self._device}`, or a getty); stop it"
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"{place} may not be opened by this user; run as root"
        return f"{place} cannot be opened: {error.strerror}"
