"""Inside a node: takes the manager's place at the engine's socket and counts ordered messages.

`flood.py NODES SECONDS`: joins, waits until NODES members are there, then keeps up to 64 messages of 200 bytes under
way and counts what is delivered, its own and the others', for SECONDS.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time
from pathlib import Path

from quorate.host.stamp import StampWriter
from quorate.model import group

UNDER_WAY_MAX = 64
PAYLOAD = b"x" * 200
RUN = Path("/run/quorate")


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Flood:
    def __init__(self) -> None:
        RUN.mkdir(parents=True, exist_ok=True)
        self._stamp = StampWriter(RUN / "manager.stamp", now())
        self._socket = socket.socket(socket.AF_UNIX)
        deadline = now() + 20 * 10**9
        while True:
            try:
                self._socket.connect(str(RUN / "engine.sock"))
                break
            except OSError:
                if now() > deadline:
                    raise
                time.sleep(0.05)
        self._buffer = bytearray()
        self._token = 0
        self.members: tuple[int, ...] = ()
        self.under_way = 0
        self.delivered = 0
        self.lost = 0

    def send(self, *requests: group.EngineRequest) -> None:
        data = b"".join(struct.pack(">I", len(each)) + each for each in map(group.encode, requests))
        self._socket.sendall(data)

    def submit(self) -> None:
        count = UNDER_WAY_MAX - self.under_way
        requests = []
        for _ in range(count):
            self._token += 1
            requests.append(group.Submit(token=self._token, payload=PAYLOAD))
        self.under_way += count
        if requests:
            self.send(*requests)

    def receive(self, timeout: float) -> None:
        self._stamp.stamp(now())
        if not select.select([self._socket], [], [], timeout)[0]:
            return
        self._buffer += self._socket.recv(1 << 20)
        at = 0
        while len(self._buffer) - at >= 4:
            (length,) = struct.unpack_from(">I", self._buffer, at)
            if len(self._buffer) - at < 4 + length:
                break
            self.took(group.decode_event(bytes(self._buffer[at + 4 : at + 4 + length])))
            at += 4 + length
        del self._buffer[:at]

    def took(self, event: group.EngineEvent) -> None:
        if isinstance(event, group.ViewChanged):
            self.members = event.view.members
        elif isinstance(event, group.Delivered):
            self.delivered += 1
            self.under_way -= event.token is not None
        elif isinstance(event, group.SubmissionLost):
            self.lost += 1
            self.under_way -= 1


def main() -> None:
    nodes, seconds = int(sys.argv[1]), float(sys.argv[2])
    flood = Flood()
    flood.send(group.Join(incarnation=int.from_bytes(os.urandom(7), "big")))
    while len(flood.members) < nodes:
        flood.receive(0.1)
    until = now() + int((seconds + 1.0) * 1e9)
    begin = now() + int(0.5e9)
    counted_from: tuple[int, int] | None = None
    while now() < until:
        flood.submit()
        flood.receive(0.05)
        if counted_from is None and now() >= begin:
            counted_from = (now(), flood.delivered)
        if counted_from is not None and now() >= begin + int(seconds * 1e9):
            break
    assert counted_from is not None
    rate = (flood.delivered - counted_from[1]) / ((now() - counted_from[0]) / 1e9)
    print(json.dumps({"rate": rate, "lost": flood.lost}), flush=True)
    end = now() + int(2e9)  # the others measure on
    while now() < end:
        flood.submit()
        flood.receive(0.05)


if __name__ == "__main__":
    main()
