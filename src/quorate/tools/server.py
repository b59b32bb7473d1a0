"""The tool server: one process on a node that has everything imported and runs the commands for the thin clients.

`python -m quorate.tools.server --config FILE` listens on RUN_DIR/tools.sock. A call brings its arguments, directory and
environment; its output goes back as it is written, then its exit code. Each call has a thread of its own; nothing is
shared between calls. Decided here: who is served (root; others are told to run the command themselves, so that no file
is opened with rights the caller does not have), how many at once, how much output, and which commands cannot be run on
behalf of another process (those that refresh a screen or start an editor).

Frames both ways: one letter, 4 bytes length (big endian), data. From the client: `C` the call, `I` standard input
(empty: its end). From the server: `1`, `2` output, `I` standard input is wanted, `0` the exit code in decimal, `X` run it
yourself.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from .client import run_dir
from .failure import CommandFailed, Exit
from .invocation import INPUT_BYTES_MAX, Invocation

CALLS_MAX = 64  # at once; more wait to be accepted
CALL_BYTES_MAX = 4 * 1024 * 1024
OUTPUT_BYTES_MAX = 128 * 1024 * 1024
FLUSH_BYTES = 32 * 1024
CLIENT_SECONDS = 60.0  # a client that neither reads nor writes for so long is dropped
SOCKET_NAME = "tools.sock"
_CREDENTIALS = struct.Struct("iII")


class ClientGone(Exception):
    """The caller went away or broke the rules of the frames; its call ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a thin client sent."""

    name: str
    args: list[str]
    environ: dict[str, str]
    cwd: str
    stdin_tty: bool
    stdout_tty: bool


def parse_call(body: bytes) -> Call:
    """Raises ClientGone when it is not a call."""
    fields = [field.decode(errors="surrogateescape") for field in body.split(b"\0")]
    try:
        count = int(fields[0])
        words = fields[1 : 1 + count]
        kept = int(fields[1 + count])
        environ = dict(entry.partition("=")[::2] for entry in fields[2 + count : 2 + count + kept])
        cwd, flags = fields[2 + count + kept], fields[3 + count + kept]
        if len(words) != count or count < 1 or len(fields) != 4 + count + kept:
            raise ValueError(f"{len(fields)} fields")
    except (ValueError, IndexError) as error:
        raise ClientGone(f"malformed call: {error}") from None
    return Call(
        name=words[0],
        args=words[1:],
        environ=environ,
        cwd=cwd,
        stdin_tty=flags[:1] == "1",
        stdout_tty=flags[1:2] == "1",
    )


class Channel:
    """The client's end of one call: frames in and out, bounded, in the order written."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._pending: list[bytes] = []
        self._pending_kind = b"1"
        self._pending_bytes = 0
        self._sent = 0

    def receive(self, limit: int) -> tuple[bytes, bytes]:
        header = self._exactly(5)
        length = int.from_bytes(header[1:], "big")
        if length > limit:
            raise ClientGone(f"a frame of {length} bytes")
        return header[:1], self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self.connection.recv(min(count - len(data), 1 << 20))
            if not piece:
                raise ClientGone("closed")
            data += piece
        return bytes(data)

    def write(self, kind: bytes, text: str) -> None:
        data = text.encode(errors="surrogateescape")
        if kind != self._pending_kind:
            self.flush()
            self._pending_kind = kind
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._pending:
            data = b"".join(self._pending)
            self._pending.clear()
            self._pending_bytes = 0
            self._sent += len(data)
            if self._sent > OUTPUT_BYTES_MAX:
                raise ClientGone("too much output")
            self._send(self._pending_kind, data)

    def read_input(self) -> bytes:
        self.flush()
        self._send(b"I", b"")
        pieces: list[bytes] = []
        total = 0
        while True:
            kind, data = self.receive(1 << 20)
            if kind != b"I":
                raise ClientGone(f"frame {kind!r} instead of input")
            if not data:
                return b"".join(pieces)
            total += len(data)
            if total > INPUT_BYTES_MAX:
                raise CommandFailed(Exit.DATAERR, f"Standard input is larger than {INPUT_BYTES_MAX // 2**20} MiB")
            pieces.append(data)

    def finish(self, code: int) -> None:
        """Last output and the exit code in one packet."""
        tail = _frame(b"0", b"%d" % code)
        if self._pending:
            data = b"".join(self._pending)
            self._pending.clear()
            tail = _frame(self._pending_kind, data) + tail
        self._raw(tail)

    def refer_back(self) -> None:
        self._send(b"X", b"")

    def _send(self, kind: bytes, data: bytes) -> None:
        self._raw(_frame(kind, data))

    def _raw(self, data: bytes) -> None:
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise ClientGone(str(error)) from None


@dataclass(frozen=True, slots=True)
class ChannelSink:
    channel: Channel
    kind: bytes

    def write(self, text: str, /) -> None:
        self.channel.write(self.kind, text)


def _frame(kind: bytes, data: bytes) -> bytes:
    return kind + len(data).to_bytes(4, "big") + data


class Server:
    """`run`: executes one command (`cli.execute`); `local`: tells which calls only the client itself can run."""

    def __init__(
        self,
        directory: str,
        run: Callable[[Invocation], int],
        local: Callable[[Call], bool],
        *,
        allowed: Callable[[int], bool] = lambda uid: uid == 0,
    ) -> None:
        self.directory = directory
        self.path = os.path.join(directory, SOCKET_NAME)
        self._run = run
        self._local = local
        self._allowed = allowed
        self._slots = threading.BoundedSemaphore(CALLS_MAX)
        self._listener: socket.socket | None = None

    def listen(self) -> None:
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        temporary = f"{self.path}.{os.getpid()}"
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        listener.bind(temporary)
        os.chmod(temporary, 0o666)  # everyone may ask; who is served is decided by SO_PEERCRED
        listener.listen(128)
        os.rename(temporary, self.path)  # takes the place of a dead server's socket in one step
        self._listener = listener

    def serve(self) -> None:
        """Until `close`."""
        listener = self._listener
        assert listener is not None
        while True:
            self._slots.acquire()
            try:
                connection, _ = listener.accept()
            except OSError:
                self._slots.release()
                return
            threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def close(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _serve_one(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._converse(connection)
        except (ClientGone, OSError):
            pass  # nobody is left to be told
        except Exception:  # our bug: this call ends, the others go on, the journal has the trace
            traceback.print_exc()
        finally:
            self._slots.release()

    def _converse(self, connection: socket.socket) -> None:
        connection.settimeout(CLIENT_SECONDS)
        _pid, uid, _gid = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        channel = Channel(connection)
        kind, body = channel.receive(CALL_BYTES_MAX)
        if kind != b"C":
            raise ClientGone(f"frame {kind!r} instead of a call")
        call = parse_call(body)
        if not self._allowed(uid) or self._local(call):
            channel.refer_back()
            return
        invocation = Invocation(
            name=call.name,
            args=call.args,
            out=ChannelSink(channel, b"1"),
            err=ChannelSink(channel, b"2"),
            cwd=call.cwd,
            environ={**call.environ, "QUORATE_RUN": self.directory},
            read_input=channel.read_input,
            out_is_tty=call.stdout_tty,
        )
        channel.finish(self._run(invocation))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="quorate-tools", description="Runs the short commands for their thin clients")
    parser.add_argument("--config", help="quorate.toml of this node")
    parser.add_argument("--run-dir", help="directory of the sockets, instead of the configuration's")
    options = parser.parse_args(argv)
    environ = dict(os.environ)
    if options.config:
        environ["QUORATE_CONFIG"] = options.config
    try:
        directory = options.run_dir or run_dir(environ)
    except CommandFailed as failure:
        print(f"quorate tool server: {failure.message}", file=sys.stderr)
        return failure.code
    from . import cli

    cli.preload()
    server = Server(directory, cli.execute, lambda call: cli.is_local(call.name, call.args, call.stdout_tty))
    try:
        server.listen()
    except OSError as error:
        print(f"quorate tool server: cannot listen on {server.path}: {error}", file=sys.stderr)
        return Exit.OSERR
    signal.signal(signal.SIGTERM, lambda *_: server.close())
    signal.signal(signal.SIGINT, lambda *_: server.close())
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
