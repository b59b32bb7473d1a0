"""The commands by name, and how any of them is run: `execute(call)` gives the exit code, whatever happens inside.

A command is a module in this package with `main(call) -> int`. Modules are imported when first needed; `preload` imports
those that agents call all the time.
"""

from __future__ import annotations

import importlib
import os

from ..failure import CommandFailed, Exit
from ..invocation import Invocation

# command -> module in this package
COMMANDS: dict[str, str] = {
    "attrd_updater": "attrd_updater",
    "cibadmin": "cibadmin",
    "crm_attribute": "crm_attribute",
    "crm_diff": "crm_diff",
    "crm_error": "crm_error",
    "crm_failcount": "crm_failcount",
    "crm_master": "crm_master",
    "crm_mon": "crm_mon",
    "crm_node": "crm_node",
    "crm_resource": "crm_resource",
    "crm_rule": "crm_rule",
    "crm_shadow": "crm_shadow",
    "crm_simulate": "crm_simulate",
    "crm_standby": "crm_standby",
    "crm_ticket": "crm_ticket",
    "crm_verify": "crm_verify",
    "crmadmin": "crmadmin",
    "stonith_admin": "stonith_admin",
}
HOT = ("attrd_updater", "cibadmin", "crm_attribute", "crm_master", "crm_node", "crm_resource")


LONG_RUNNING = (
    "wait", "restart", "validate", "force-start", "force-stop", "force-check", "force-promote", "force-demote",
)  # fmt: skip


def execute(call: Invocation) -> int:
    """Run one command to its end. User mistakes and faults of the cluster become one sentence and Pacemaker's code."""
    module = COMMANDS.get(os.path.basename(call.name).removesuffix(".cgi"))
    if module is None:
        call.error(f"{call.name}: unknown command; known are {', '.join(sorted(COMMANDS))}")
        return Exit.USAGE
    try:
        return int(importlib.import_module(f"{__name__}.{module}").main(call))
    except CommandFailed as failure:
        if failure.output:
            call.out.write(failure.output)
        if failure.message:
            call.error(f"{call.name}: {failure.message}")
        return failure.code
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        call.error(f"{call.name}: {place}{error.strerror or error}")
        return Exit.NOINPUT if isinstance(error, FileNotFoundError) else Exit.OSERR
    except RecursionError:
        call.error(f"{call.name}: the input is nested too deeply")
        return Exit.DATAERR


def preload() -> None:
    for name in HOT:
        importlib.import_module(f"{__name__}.{COMMANDS[name]}")


def is_local(name: str, args: list[str], stdout_tty: bool) -> bool:
    """Calls that only the caller's own process can run: they own its screen, or start an editor or a shell."""
    if name == "crm_shadow":
        return True
    if name == "crm_mon":
        return not _ends_by_itself(args) or _any_option(args, ("daemonize",), "d")
    if name == "crm_resource":  # what may take long ends when its caller does
        return _any_option(args, LONG_RUNNING, "")
    return False


def _ends_by_itself(args: list[str]) -> bool:
    return _any_option(
        args, ("one-shot", "output-as", "as-xml", "help", "version", "simple-status", "help-all"), "1Xs?$"
    )


def _any_option(args: list[str], longs: tuple[str, ...], shorts: str) -> bool:
    for arg in args:
        if arg.startswith("--"):
            if arg[2:].partition("=")[0] in longs:
                return True
        elif arg.startswith("-") and any(letter in shorts for letter in arg[1:]):
            return True
    return False
