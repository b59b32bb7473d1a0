"""The client outside: asks for a page over and over, and writes down when it got an answer and from whom.

`requester.py FILE ADDRESS PORT PATH EVERY_MS`, started by the keeper (protocol of `node_init`). A new attempt begins
every EVERY_MS, whatever became of the former ones, so that the first answer after an outage is noticed within that
step; an attempt is given up after 300 ms. Lines: `BEGAN_NS ENDED_NS ok|BODY` or `BEGAN_NS ENDED_NS -|CAUSE`
(BOOTTIME).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from laboratory import kernel  # noqa: E402

GIVE_UP_NS = 300_000_000
ATTEMPTS_MAX = 256


class Attempt:
    __slots__ = ("began", "socket", "sent", "data")

    def __init__(self, address: tuple[str, int], began: int) -> None:
        self.began = began
        self.sent = False
        self.data = b""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(address)


def is_whole(head: bytes, body: bytes) -> bool:
    """Whether all of the body is there; without a length in the head: any of it."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) == int(value)
    return bool(body)


class Requester:
    def __init__(self, path: str, address: tuple[str, int], url: str, every_ns: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._address = address
        self._request = f"GET {url} HTTP/1.0\r\nHost: {address[0]}\r\n\r\n".encode()
        self._every_ns = every_ns
        self._poll = select.epoll()
        self._attempts: dict[int, Attempt] = {}

    def run(self) -> None:
        next_at = kernel.boottime_ns()
        while True:
            now = kernel.boottime_ns()
            if now >= next_at:
                next_at = max(next_at + self._every_ns, now)
                if len(self._attempts) < ATTEMPTS_MAX:
                    self._begin(now)
            for fd, _ in self._poll.poll(max(0.0, (next_at - kernel.boottime_ns()) / 1e9)):
                self._advance(self._attempts[fd])
            now = kernel.boottime_ns()
            for attempt in [each for each in self._attempts.values() if now - each.began > GIVE_UP_NS]:
                self._end(attempt, "-", "timeout")

    def _begin(self, now: int) -> None:
        attempt = Attempt(self._address, now)
        self._attempts[attempt.socket.fileno()] = attempt
        self._poll.register(attempt.socket, select.EPOLLOUT)

    def _advance(self, attempt: Attempt) -> None:
        try:
            if not attempt.sent:
                if number := attempt.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self._end(attempt, "-", errno.errorcode.get(number, str(number)))
                    return
                attempt.socket.send(self._request)
                attempt.sent = True
                self._poll.modify(attempt.socket, select.EPOLLIN)
                return
            data = attempt.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(attempt, "-", errno.errorcode.get(error.errno or 0, str(error)))
            return
        if data:
            attempt.data += data
            return
        head, _, body = attempt.data.partition(b"\r\n\r\n")
        if head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")) and is_whole(head, body):
            self._end(attempt, "ok", body.decode(errors="replace").strip())
        else:
            self._end(attempt, "-", head.split(b"\r\n")[0].decode(errors="replace") or "cut short")

    def _end(self, attempt: Attempt, verdict: str, text: str) -> None:
        del self._attempts[attempt.socket.fileno()]
        attempt.socket.close()
        os.write(self._file, f"{attempt.began} {kernel.boottime_ns()} {verdict}|{text}\n".encode())


def main() -> int:
    path, host, port, url, every_ms = sys.argv[1:]
    kernel.die_with_parent()
    kernel.unshare(kernel.CLONE_NEWNET)
    print(f"child {os.getpid()}", flush=True)
    print(f"built {os.readlink('/proc/self')}", flush=True)
    if sys.stdin.readline().strip() != "go":
        return 1
    print("ready", flush=True)
    time.sleep(0)
    Requester(path, (host, int(port)), url, int(float(every_ms) * 1e6)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
