"""What a node says: one line for each report, with time, severity, code, a sentence and the fields.

    2026-11-21T13:40:02.123Z n1 manager notice view-changed: The group is now n1, n2 (view=3.1.0)

Sentences for codes that people meet often stand in `SENTENCES`; any other code is shown with its fields. Under systemd
(journal) a line begins with the priority in angle brackets. The file is opened for appending, and again after SIGHUP.

Nobody waits for a reader: when the pipe or the journal's socket is full, lines are left out, and how many is told with the
next one that gets through. A heartbeat must not depend on who reads the log.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping

_PRIORITY = {"critical": 2, "error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}
_LINE_BYTES_MAX = 4096  # PIPE_BUF: whole or not at all
SEVERITIES = tuple(_PRIORITY)
STANDARD_ERROR = 2

SENTENCES: dict[str, str] = {
    "started": "{process} started (version {version})",
    "stopping": "{process} stops: {cause}",
    "realtime-refused": "{what}",
    "engine-gone": "The engine is gone: {cause}",
    "engine-connected": "Connected to the engine",
    "manager-joined": "The manager has connected to the engine",
    "manager-gone": "The manager is absent: {cause}",
    "manager-killed": "The manager showed no sign of life for {age_ms} ms and is killed; it is started again",
    "child-ended": "{child} ended ({how}); it is started again in {delay_ms} ms",
    "link-fault": "Link {link}: {cause}; it is tried again until it works",
    "client-refused": "A client of user {uid} was refused: only root and members of the group {group} may ask",
    "client-cut": "A client was cut: {cause}",
    "orphan": "An action of a former manager ({what}, process {pid}): {outcome}",
    "storage-failed": "{what} could not be made durable: {error}; free space on the disk or replace it",
    "scheduler-died": "The scheduler worker ended: {cause}; it is started again",
    "self-fencing": "This node ends itself ({how}): {cause}",
}


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


def sentence(code: str, fields: Mapping[str, str]) -> str:
    """The report for people: known codes as a sentence, the fields not used in it behind."""
    template = SENTENCES.get(code, "")
    rest = {name: value for name, value in fields.items() if f"{{{name}}}" not in template}
    try:
        text = template.format_map(fields)
    except (KeyError, IndexError, ValueError):
        text, rest = "", dict(fields)
    tail = " ".join(f"{name}={_one_line(value)}" for name, value in rest.items())
    if not text:
        return tail or code
    return f"{_one_line(text)} ({tail})" if tail else _one_line(text)


def _one_line(value: str) -> str:
    return " ".join(str(value).split()) if any(c in str(value) for c in "\n\r\t") else str(value)


def _timestamp() -> str:
    moment = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment // 10**9)) + f".{moment // 10**6 % 1000:03d}Z"
