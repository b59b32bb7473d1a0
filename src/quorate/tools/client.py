"""Connection to the manager of this node: framed requests over `RUN_DIR/manager.sock`, blocking, with time limits.

Request ids are made here. When the answer to a change is lost (the manager restarts in between), the connection is made
anew and the manager is asked with `Fate` what became of it; only a request that is unknown there is sent again, under
the same id, so that nothing is done twice (DESIGN.md, rules of the log, 11).
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import time
import tomllib
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from quorate.model import protocol

from .failure import CommandFailed, Exit

RUN_DIR_DEFAULT = "/run/quorate"
CONFIG_DEFAULT = "/etc/quorate/quorate.toml"
SOCKET_NAME = "manager.sock"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
RECONNECT_SECONDS = 10.0  # how long a restarting manager is waited for after a lost answer
_HEADER = struct.Struct(">I")

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


def run_dir(environ: Mapping[str, str]) -> str:
    """Which node the caller means: QUORATE_RUN, else `run_dir` of the file QUORATE_CONFIG, else the default."""
    if environ.get("QUORATE_RUN"):
        return environ["QUORATE_RUN"]
    path = environ.get("QUORATE_CONFIG") or CONFIG_DEFAULT
    try:
        with open(path, "rb") as file:
            found = tomllib.load(file).get("run_dir")
    except FileNotFoundError:
        if environ.get("QUORATE_CONFIG"):
            raise CommandFailed(Exit.NOINPUT, f"There is no configuration file {path} (from QUORATE_CONFIG)") from None
        return RUN_DIR_DEFAULT
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CommandFailed(Exit.CONFIG, f"Cannot read {path}: {error}; `quorate check` says more") from None
    return found if isinstance(found, str) and found else RUN_DIR_DEFAULT


def request_id() -> str:
    return secrets.token_hex(12)


class Connection:
    """One connection; requests one after the other. Use as a context manager or call `close`."""

    def __init__(self, directory: str, *, client: str, user: str = "") -> None:
        self.path = os.path.join(directory, SOCKET_NAME)
        self.client = client
        self.user = user
        self._socket: socket.socket | None = None
        self._serial = 0

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def ask(self, request: protocol.Request, answer: type[AnswerT], *, timeout: float = ANSWER_SECONDS) -> AnswerT:
        """Send a request that changes nothing. Raises CommandFailed(102) without a manager, (124) without an answer."""
        try:
            return _expect(self._roundtrip(request, timeout), answer)
        except _Lost:
            self._reconnect(_boottime() + int(RECONNECT_SECONDS * 1e9))
            try:
                return _expect(self._roundtrip(request, timeout), answer)
            except _Lost as lost:
                raise CommandFailed(
                    Exit.DISCONNECT, f"Connection to the cluster on {self.path} was lost: {lost}"
                ) from None

    def change(self, request: protocol.Request, request_key: str, *, timeout: float = ANSWER_SECONDS) -> protocol.Reply:
        """Send a request that changes something, once. After a lost answer its fate is asked for."""
        try:
            return _expect(self._roundtrip(request, timeout), protocol.Reply)
        except _Lost:
            pass
        deadline = _boottime() + int(RECONNECT_SECONDS * 1e9)
        while True:
            self._reconnect(deadline)
            try:
                fate = _expect(
                    self._roundtrip(
                        protocol.Fate(
                            serial=self.next_serial(), request=request_key, user=self.user, client=self.client
                        ),
                        timeout,
                    ),
                    protocol.Reply,
                )
                if fate.rc == 0 and isinstance(fate.data, dict) and fate.data.get("known"):
                    return protocol.Reply(
                        serial=fate.serial,
                        rc=int(fate.data.get("rc", 0)),
                        message=str(fate.data.get("message", "")),
                        data=fate.data.get("data"),
                    )
                return _expect(self._roundtrip(request, timeout), protocol.Reply)
            except _Lost as lost:
                if _boottime() > deadline:
                    raise CommandFailed(
                        Exit.INDETERMINATE,
                        f"The answer was lost and the cluster on {self.path} does not come back ({lost}): "
                        "it is not known whether the change was made",
                    ) from None

    def _connect(self) -> socket.socket:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(CONNECT_SECONDS)
            try:
                connection.connect(self.path)
            except PermissionError:
                connection.close()
                raise CommandFailed(
                    Exit.INSUFFICIENT_PRIV,
                    f"No permission to talk to the cluster on {self.path}: be root or a member of the group haclient",
                ) from None
            except OSError as error:
                connection.close()
                raise CommandFailed(
                    Exit.DISCONNECT,
                    f"The cluster is not running on this node ({self.path}: {error.strerror or error})",
                ) from None
            self._socket = connection
        return self._socket

    def _reconnect(self, deadline: int) -> None:
        """Until the manager listens again; CommandFailed(102) at `deadline` (monotonic nanoseconds)."""
        self.close()
        while True:
            try:
                self._connect()
                return
            except CommandFailed as failure:
                if failure.code != Exit.DISCONNECT or _boottime() > deadline:
                    raise
            time.sleep(0.1)

    def _roundtrip(self, request: protocol.Request, timeout: float) -> protocol.Answer:
        connection = self._connect()
        connection.settimeout(timeout)
        data = protocol.encode(request)
        if len(data) > protocol.FRAME_BYTES_MAX:
            raise CommandFailed(Exit.DATAERR, f"The request is larger than {protocol.FRAME_BYTES_MAX // 2**20} MiB")
        try:
            connection.sendall(_HEADER.pack(len(data)) + data)
            while True:
                answer = protocol.decode_answer(self._frame(connection))
                if not isinstance(answer, protocol.Changed) and answer.serial == request.serial:
                    return answer
        except TimeoutError:
            self.close()
            raise CommandFailed(
                Exit.TIMEOUT, f"The cluster did not answer within {timeout:g} s; the request may still take effect"
            ) from None
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            self.close()
            raise CommandFailed(
                Exit.PROTOCOL, f"The manager's answer makes no sense ({error}): are both from the same version?"
            ) from None
        except OSError as error:
            self.close()
            raise _Lost(str(error)) from None

    def _frame(self, connection: socket.socket) -> bytes:
        (length,) = _HEADER.unpack(_exactly(connection, _HEADER.size))
        if length > protocol.FRAME_BYTES_MAX:
            raise _Lost(f"a frame of {length} bytes")
        return _exactly(connection, length)


def _boottime() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class _Lost(Exception):
    """The connection broke before the answer was complete."""


def _exactly(connection: socket.socket, count: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < count:
        piece = connection.recv(min(count - len(pieces), 1 << 20))
        if not piece:
            raise _Lost("closed by the manager")
        pieces += piece
    return bytes(pieces)


def _expect(answer: protocol.Answer, wanted: type[AnswerT]) -> AnswerT:
    if isinstance(answer, wanted):
        return answer
    if isinstance(answer, protocol.Reply):  # a refusal comes as a plain reply
        raise CommandFailed(answer.rc or Exit.PROTOCOL, answer.message or "The cluster refused the request")
    raise CommandFailed(Exit.PROTOCOL, f"The manager answered with a {type(answer).__name__}")
