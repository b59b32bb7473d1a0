"""One call of a command, as a value: arguments, place, environment and streams.

Commands never touch `sys` or `os.environ`: many calls run at once in the tool server, each with its caller's directory
and environment. Relative file names are the caller's.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

INPUT_BYTES_MAX = 64 * 1024 * 1024


class Sink(Protocol):
    def write(self, text: str, /) -> object: ...


@dataclass(slots=True, kw_only=True)
class Invocation:
    name: str
    args: list[str]
    out: Sink
    err: Sink
    cwd: str = "/"
    environ: Mapping[str, str] = field(default_factory=dict)
    read_input: Callable[[], bytes] = bytes
    user: str = ""  # the real user, when the process that runs the command stands in for another
    out_is_tty: bool = False
    interactive: bool = False  # runs in the caller's own process: may refresh, may ask
    wall: Callable[[], float] = time.time

    def path(self, name: str) -> str:
        return os.path.join(self.cwd, name)

    def read_file(self, name: str) -> bytes:
        """Contents of the caller's file. Pipes work too (no seeking). Raises OSError."""
        if name == "-":
            return self.read_input()
        with open(self.path(name), "rb") as file:
            data = file.read(INPUT_BYTES_MAX + 1)
        if len(data) > INPUT_BYTES_MAX:
            raise OSError(f"{name} is larger than {INPUT_BYTES_MAX // 2**20} MiB")
        return data

    def print(self, text: str = "") -> None:
        self.out.write(text + "\n")

    def error(self, text: str) -> None:
        self.err.write(text + "\n")

    def derived(self, name: str, args: list[str], *, out: Sink | None = None, err: Sink | None = None) -> Invocation:
        """The same caller, another command (crm_standby is crm_attribute with other words)."""
        return Invocation(
            name=name,
            args=args,
            out=out or self.out,
            err=err or self.err,
            cwd=self.cwd,
            environ=self.environ,
            read_input=self.read_input,
            user=self.user,
            out_is_tty=self.out_is_tty,
            interactive=self.interactive,
            wall=self.wall,
        )


def from_process(name: str, args: list[str]) -> Invocation:
    """The call that this very process was started for."""
    return Invocation(
        name=name,
        args=args,
        out=sys.stdout,
        err=sys.stderr,
        cwd=os.getcwd(),
        environ=dict(os.environ),
        read_input=_read_stdin,
        out_is_tty=sys.stdout.isatty(),
        interactive=True,
    )


def _read_stdin() -> bytes:
    data = sys.stdin.buffer.read(INPUT_BYTES_MAX + 1)
    if len(data) > INPUT_BYTES_MAX:
        raise OSError(f"standard input is larger than {INPUT_BYTES_MAX // 2**20} MiB")
    return data


def captured(
    name: str, *args: str, environ: Mapping[str, str] | None = None, stdin: bytes = b"", cwd: str = "/"
) -> tuple[Invocation, io.StringIO, io.StringIO]:
    """For tests: a call whose output is kept."""
    out, err = io.StringIO(), io.StringIO()
    call = Invocation(
        name=name, args=list(args), out=out, err=err, cwd=cwd, environ=environ or {}, read_input=lambda: stdin
    )
    return call, out, err
