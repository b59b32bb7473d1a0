"""What a node says: one line for each report, with time, severity, code, a sentence and the fields.

    2026-11-21T13:40:02.123Z n1 manager notice view-changed: The group is now n1 n2; up: n1 n2; lost: n3 (view=3.1.0)

The sentences are in `sentences`. Under systemd (journal) a line begins with the priority in angle brackets. The file is
opened for appending, and again after SIGHUP.

Nobody waits for a reader: when the pipe or the journal's socket is full, lines are left out, and how many is told with the
next one that gets through. A heartbeat must not depend on who reads the log.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping

from quorate.host.sentences import sentence

_PRIORITY = {"critical": 2, "error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}
_LINE_BYTES_MAX = 4096  # PIPE_BUF: whole or not at all
SEVERITIES = tuple(_PRIORITY)
STANDARD_ERROR = 2


class Log:
    """`process` is the speaker; `path` empty: standard error. Messages below `threshold` are left out."""

    def __init__(self, node: str, process: str, path: str = "", threshold: str = "info") -> None:
        self._speaker = f"{node} {process}"
        self._path = path
        self._threshold = _PRIORITY[threshold]
        self._descriptor = STANDARD_ERROR
        self._left_out = 0
        self._journal = not path and "JOURNAL_STREAM" in os.environ
        self.reopen()

    def reopen(self) -> None:
        """After the file has been moved away (SIGHUP)."""
        if not self._path:
            return
        former = self._descriptor
        try:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as error:
            self._descriptor = STANDARD_ERROR
            self.write("error", "log-file", {"file": self._path, "error": str(error.strerror)})
        if former not in (STANDARD_ERROR, self._descriptor):
            os.close(former)

    def write(self, severity: str, code: str, fields: Mapping[str, str]) -> None:
        priority = _PRIORITY.get(severity, 4)
        if priority > self._threshold:
            return
        text = sentence(code, fields)
        if self._journal:
            line = f"<{priority}>{self._speaker} {code}: {text}\n"
        else:
            line = f"{_timestamp()} {self._speaker} {severity} {code}: {text}\n"
        data = line.encode(errors="replace")
        if len(data) > _LINE_BYTES_MAX:
            data = data[: _LINE_BYTES_MAX - 5] + b" ...\n"
        if self._left_out and self._put(f"{self._speaker} log-full: {self._left_out} lines were left out\n".encode()):
            self._left_out = 0
        if not self._put(data):
            self._left_out += 1

    def _put(self, data: bytes) -> bool:
        for descriptor in dict.fromkeys((self._descriptor, STANDARD_ERROR)):  # a full disk: standard error may still be read
            waiting = select.poll()
            waiting.register(descriptor, select.POLLOUT)
            if any(state & select.POLLOUT for _, state in waiting.poll(0)):
                try:
                    os.write(descriptor, data)
                except OSError:
                    continue
                return True
        return False


def _timestamp() -> str:
    moment = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // 10**9)) + f".{moment // 10**6 % 1000:03d}Z"
