"""Messages a user may see, as data: a code, a place, a sentence, a remedy and an exit code.

Also the table of exit codes that Pacemaker's tools use, because scripts and agents test for them. Nothing is printed
here; tools render reports, tests compare codes.
Source: Pacemaker Explained and `crm_error --exit --list` for numbers and descriptions.
"""

from __future__ import annotations

import enum

import msgspec


class Severity(enum.Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class ExitCode(enum.IntEnum):
    """Exit status of every command, by Pacemaker's names without their prefix."""

    OK = 0
    ERROR = 1
    INVALID_PARAM = 2
    UNIMPLEMENT_FEATURE = 3
    INSUFFICIENT_PRIV = 4
    NOT_INSTALLED = 5
    NOT_CONFIGURED = 6
    NOT_RUNNING = 7
    PROMOTED = 8
    FAILED_PROMOTED = 9
    USAGE = 64
    DATAERR = 65
    NOINPUT = 66
    NOUSER = 67
    NOHOST = 68
    UNAVAILABLE = 69
    SOFTWARE = 70
    OSERR = 71
    OSFILE = 72
    CANTCREAT = 73
    IOERR = 74
    TEMPFAIL = 75
    PROTOCOL = 76
    NOPERM = 77
    CONFIG = 78
    FATAL = 100
    PANIC = 101
    DISCONNECT = 102
    OLD = 103
    DIGEST = 104
    NOSUCH = 105
    QUORUM = 106
    UNSAFE = 107
    EXISTS = 108
    MULTIPLE = 109
    EXPIRED = 110
    NOT_YET_IN_EFFECT = 111
    INDETERMINATE = 112
    UNSATISFIED = 113
    TIMEOUT = 124
    DEGRADED = 190
    DEGRADED_PROMOTED = 191
    NONE = 193
    MAX = 255


EXIT_DESCRIPTIONS: dict[int, str] = {
    0: "OK",
    1: "Error occurred",
    2: "Invalid parameter",
    3: "Unimplemented",
    4: "Insufficient privileges",
    5: "Not installed",
    6: "Not configured",
    7: "Not running",
    8: "Promoted",
    9: "Failed in promoted role",
    64: "Incorrect usage",
    65: "Invalid data given",
    66: "Input file not available",
    67: "User does not exist",
    68: "Host does not exist",
    69: "Necessary service unavailable",
    70: "Internal software bug",
    71: "Operating system error occurred",
    72: "System file not available",
    73: "Cannot create output file",
    74: "I/O error occurred",
    75: "Temporary failure, try again",
    76: "Protocol violated",
    77: "Insufficient privileges",
    78: "Invalid configuration",
    100: "Fatal error occurred, will not respawn",
    101: "System panic required",
    102: "Not connected",
    103: "Update was older than existing configuration",
    104: "Digest mismatch",
    105: "No such object",
    106: "Quorum required",
    107: "Operation not safe",
    108: "Requested item already exists",
    109: "Multiple items match request",
    110: "Requested item has expired",
    111: "Requested item is not yet in effect",
    112: "Could not determine status",
    113: "Not applicable under current conditions",
    124: "Timeout occurred",
    190: "Service is active but might fail soon",
    191: "Service is promoted but might fail soon",
    193: "No exit status available",
}


def exit_name(code: int) -> str:
    """`CRM_EX_NOSUCH` for 105; `CRM_EX_UNKNOWN` for a number that has no name."""
    try:
        return f"CRM_EX_{ExitCode(code).name}"
    except ValueError:
        return "CRM_EX_UNKNOWN"


def exit_description(code: int) -> str:
    return EXIT_DESCRIPTIONS.get(code, "Unknown exit status")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the cause stands. All fields are optional; `line` counts from 1."""

    element: str | None = None
    id: str | None = None
    line: int | None = None
    file: str | None = None

    def __str__(self) -> str:
        parts = []
        if self.element is not None:
            parts.append(f"<{self.element} id={self.id!r}>" if self.id is not None else f"<{self.element}>")
        elif self.id is not None:
            parts.append(repr(self.id))
        if self.line is not None:
            parts.append(f"line {self.line}")
        where = ", ".join(parts)
        if self.file is None:
            return where
        return f"{self.file}: {where}" if where else self.file


NOWHERE = Place()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `code` is stable (tests and scripts match it), `message` a sentence, `remedy` what to do."""

    code: str
    message: str
    severity: Severity = Severity.ERROR
    place: Place = NOWHERE
    remedy: str = ""
    exit_code: int = 1

    def __str__(self) -> str:
        place = str(self.place)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text} ({self.remedy})" if self.remedy else text
