"""crm_error: what an exit code or error number means."""

from __future__ import annotations

import errno
import os

from quorate.model.reports import EXIT_DESCRIPTIONS, exit_name

from ..failure import CommandFailed, Exit, exit_description
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, OUTPUT_OPTIONS, Parsed, Table, begin, opt
from .output import Output, run_with_output

TABLE = Table(
    "crm_error",
    "crm_error - display name or description of a Pacemaker error code",
    (
        *OUTPUT_OPTIONS,
        opt("n name", "Show error's name with its description"),
        opt("l list", "Show all known errors (enabled by default if no rc is specified)"),
        opt("X exit", "Interpret as exit code rather than legacy function return value"),
        opt("r rc", "Interpret as return code rather than legacy function return value"),
        *APPLICATION_OPTIONS,
    ),
    usage="[OPTION?] [-- <rc> [<rc>...]]",
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    return run_with_output(call, parsed, lambda output: _run(parsed, output))


def _run(parsed: Parsed, output: Output) -> int:
    as_exit = "exit" in parsed
    listing = "list" in parsed or not parsed.words
    for code in sorted(EXIT_DESCRIPTIONS if as_exit else {0, *errno.errorcode}) if listing else _codes(parsed.words):
        name, text = _meaning(code, as_exit)
        if output.xml:
            element = output.element("result-code", code=str(code), description=text)
            if "name" in parsed:
                element.set("name", name)
        elif listing:
            output.line(f"{code:5d}: {name:<26s} {text}" if "name" in parsed else f"{code:5d}: {text}")
        else:
            output.line(f"{name} - {text}" if "name" in parsed else text)
    return 0


def _codes(words: list[str]) -> list[int]:
    found = []
    for word in words:
        if not word.lstrip("-").isdigit():
            raise CommandFailed(Exit.USAGE, f"'{word}' is not a number")
        found.append(abs(int(word)))
    return found


def _meaning(code: int, as_exit: bool) -> tuple[str, str]:
    if as_exit:
        return exit_name(code), exit_description(code)
    if code == 0:
        return "OK", "OK"
    return errno.errorcode.get(code, "Unknown"), os.strerror(code)
