"""How a command ends early: Pacemaker's exit code and one sentence. The codes themselves are in `model.reports`."""

from __future__ import annotations

from quorate.model.reports import ExitCode as Exit
from quorate.model.reports import exit_description

# What cibadmin and crm_attribute call a failed CIB operation: the C library's word for the errno behind the exit code.
ERRNO_TEXT: dict[int, str] = {
    Exit.NOSUCH: "No such device or address",
    Exit.EXISTS: "File exists",
    Exit.DISCONNECT: "Transport endpoint is not connected",
    Exit.INSUFFICIENT_PRIV: "Permission denied",
    Exit.NOPERM: "Permission denied",
    Exit.USAGE: "Invalid argument",
    Exit.CONFIG: "Update does not conform to the configured schema",
    Exit.DIGEST: "Application of an update diff failed",
    Exit.QUORUM: "Operation requires quorum",
    Exit.TIMEOUT: "Timer expired",
    Exit.MULTIPLE: "Name not unique on network",
    Exit.TEMPFAIL: "Resource temporarily unavailable",
    Exit.PROTOCOL: "Protocol error",
}


def errno_text(code: int) -> str:
    return ERRNO_TEXT.get(code, exit_description(code))


class CommandFailed(Exception):
    """A command ends here with `code`. `message` is one sentence for people, without the command's name."""

    def __init__(self, code: int, message: str, *, output: str = "") -> None:
        super().__init__(message)
        self.code = int(code)
        self.message = message
        self.output = output  # what must still go to standard output (a <failed> document)


__all__ = ["CommandFailed", "Exit", "errno_text", "exit_description"]
