"""A null-modem cable between two nodes: two pseudo-terminals and a pump that is as slow as the line."""

from __future__ import annotations

import asyncio
import os
import tty

BYTES_PER_SECOND = 11_520  # 115,200 baud, 8N1
CHUNK = 256


class NullModem:
    """`devices[node]` is the path to be bound into the node. The slaves stay open here, so that a node may come and
    go."""

    def __init__(self, name: str, ends: tuple[str, str]) -> None:
        self.name = name
        self.connected = True
        self.devices: dict[str, str] = {}
        self._masters: list[int] = []
        self._slaves: list[int] = []
        for node in ends:
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._masters.append(master)
            self._slaves.append(slave)
            self.devices[node] = os.ttyname(slave)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        for number in (0, 1):
            loop.add_reader(self._masters[number], self._pump, number)

    def _pump(self, number: int) -> None:
        source, target = self._masters[number], self._masters[1 - number]
        try:
            data = os.read(source, CHUNK)
        except BlockingIOError:
            return
        if self.connected:
            try:
                os.write(target, data)
            except BlockingIOError:
                pass  # nobody reads at the other end: a line has no memory
        self._loop.remove_reader(source)
        self._loop.call_later(len(data) / BYTES_PER_SECOND, self._loop.add_reader, source, self._pump, number)
