"""Inside a node: who holds the watched addresses, by netlink events and by looking every 10 ms.

`observer.py FILE ADDRESS...`; appends lines `BOOTTIME_NS up|down|seen|gone|gap ADDRESS`, one write each, so that
nothing is lost when the node's power is cut. `up` and `down` are the kernel's events, `seen` and `gone` what a look
found changed (they repeat an event unless one was missed), `gap` a pause of the observer itself longer than 50 ms,
with its length.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300
NLMSG_DONE = 3
RTMGRP_IPV4_IFADDR = 0x10
IFA_LOCAL = 2
STEP_NS = 10_000_000


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def messages(data: bytes) -> Iterator[tuple[int, str]]:
    """(type, IPv4 address) of each address message; the end of a dump as (NLMSG_DONE, "")."""
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if kind == NLMSG_DONE:
            yield kind, ""
        elif kind in (RTM_NEWADDR, RTM_DELADDR):
            body = data[24:length]
            while len(body) >= 4:
                size, attribute = struct.unpack_from("=HH", body)
                if attribute == IFA_LOCAL:
                    yield kind, socket.inet_ntoa(body[4:8])
                if size < 4:
                    break
                body = body[(size + 3) & ~3 :]
        data = data[(length + 3) & ~3 :]


def look(query: socket.socket) -> set[str]:
    query.send(
        struct.pack("=IHHIIBBBBI", 24, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0, socket.AF_INET, 0, 0, 0, 0)
    )
    found: set[str] = set()
    while True:
        for kind, address in messages(query.recv(65536)):
            if kind == NLMSG_DONE:
                return found
            found.add(address)


def main() -> None:
    path, watched = sys.argv[1], sys.argv[2:]
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def record(at: int, what: str, subject: str) -> None:
        os.write(file, f"{at} {what} {subject}\n".encode())

    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    events.bind((0, RTMGRP_IPV4_IFADDR))
    query = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    query.bind((0, 0))
    record(now(), "boot", "-")
    held: set[str] = set()
    last = now()
    while True:
        at = now()
        if at - last > 5 * STEP_NS:
            record(at, "gap", str(at - last))
        last = at
        found = look(query)
        for address in watched:
            if (address in found) != (address in held):
                record(at, "seen" if address in found else "gone", address)
        held = found.intersection(watched)
        while True:
            left = at + STEP_NS - now()
            if left <= 0 or not select.select([events], [], [], left / 1e9)[0]:
                break
            for kind, address in messages(events.recv(65536)):
                if address in watched:
                    record(now(), "up" if kind == RTM_NEWADDR else "down", address)


if __name__ == "__main__":
    main()
