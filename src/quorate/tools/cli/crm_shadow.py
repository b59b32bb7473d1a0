"""crm_shadow: try changes on a copy of the configuration before they become true."""

from __future__ import annotations

import os
import subprocess

from quorate.model.cib import Cib, CibError, diff, parse_fragment

from ..backends import Backend, open_backend, shadow_path
from ..commands import cib as cib_commands
from ..failure import CommandFailed, Exit
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, Parsed, Table, begin, opt
from .output import serialize

_QUERY, _COMMAND, _MORE = "Queries", "Commands", "Additional Options"
TABLE = Table(
    "crm_shadow",
    "perform Pacemaker configuration changes in a sandbox\n\nThis command sets up an environment in which "
    "configuration tools (cibadmin,\ncrm_resource, etc.) work offline instead of against a live cluster, allowing\n"
    "changes to be previewed and tested for side effects.",
    (
        opt("w which", "Indicate the active shadow copy", group=_QUERY),
        opt("p display", "Display the contents of the active shadow copy", group=_QUERY),
        opt("d diff", "Display the changes in the active shadow copy", group=_QUERY),
        opt("F file", "Display the location of the active shadow copy file", group=_QUERY),
        opt("E edit", "Edit the contents of the active shadow copy with your favorite $EDITOR", group=_QUERY),
        opt("c create", "Create the named shadow copy of the active cluster configuration", "NAME", group=_COMMAND),
        opt(
            "e create-empty", "Create the named shadow copy with an empty cluster configuration", "NAME", group=_COMMAND
        ),
        opt("C commit", "Upload the contents of the named shadow copy to the cluster", "NAME", group=_COMMAND),
        opt("D delete", "Delete the contents of the named shadow copy", "NAME", group=_COMMAND),
        opt("r reset", "Recreate named shadow copy from the active cluster configuration", "NAME", group=_COMMAND),
        opt("s switch", "(Advanced) Switch to the named shadow copy", "NAME", group=_COMMAND),
        opt("f force", "(Advanced) Force the action to be performed", group=_MORE),
        opt("b batch", "(Advanced) Don't spawn a new shell", group=_MORE),
        opt("a all", "(Advanced) Upload entire CIB, including status, with --commit", group=_MORE),
        opt("v validate-with", "(Advanced) Create an older configuration version", "SCHEMA", group=_MORE),
        *APPLICATION_OPTIONS,
    ),
    usage="<query>|<command> [options]",
)
_COMMANDS = (
    "which",
    "display",
    "diff",
    "file",
    "edit",
    "create",
    "create-empty",
    "commit",
    "delete",
    "reset",
    "switch",
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    command = parsed.last_of(*_COMMANDS)
    if command is None:
        raise CommandFailed(Exit.USAGE, "No command given: see --help")
    kind, value = command
    if kind in ("which", "display", "diff", "file", "edit"):
        return _active(call, kind)
    path = shadow_path(call, value)
    if kind in ("create", "create-empty", "reset"):
        return _create(call, parsed, kind, value, path)
    if not os.path.exists(path):
        raise CommandFailed(Exit.NOSUCH, f"Could not access shadow instance '{value}': {path} does not exist")
    if kind == "switch":
        return _shell(call, parsed, value)
    if kind == "delete":
        if "force" not in parsed:
            raise CommandFailed(Exit.UNSAFE, f"Deleting the shadow copy '{value}' needs --force")
        os.unlink(path)
        _say_unset(call, value)
        return 0
    return _commit(call, parsed, value, path)


def _active(call: Invocation, kind: str) -> int:
    name = call.environ.get("CIB_shadow")
    if not name:
        raise CommandFailed(Exit.NOSUCH, "No active shadow configuration defined")
    path = shadow_path(call, name)
    if kind == "which":
        call.print(name)
    elif kind == "file":
        call.print(path)
    elif kind == "display":
        call.out.write(_load(path, name).serialize(pretty=True).decode())
    elif kind == "diff":
        found = parse_fragment(diff(Cib.parse(_live_cib(call).encode()), _load(path, name)))
        if found.find("change") is not None:
            call.out.write(serialize(found))
            return Exit.ERROR
    else:
        if not call.interactive:
            raise CommandFailed(Exit.USAGE, "--edit needs a terminal")
        subprocess.run([call.environ.get("EDITOR") or "vi", path], check=False)
    return 0


def _load(path: str, name: str) -> Cib:
    try:
        with open(path, "rb") as file:
            return Cib.parse(file.read())
    except FileNotFoundError:
        raise CommandFailed(Exit.NOSUCH, f"Could not access shadow instance '{name}': {path} does not exist") from None
    except CibError as error:
        raise CommandFailed(Exit.CONFIG, f"{path}: {error}") from None


def _live(call: Invocation) -> Backend:
    """The cluster itself (or CIB_file), whatever shadow is active."""
    plain = call.derived(call.name, call.args)
    plain.environ = {k: v for k, v in call.environ.items() if k != "CIB_shadow"}
    return open_backend(plain)


def _live_cib(call: Invocation) -> str:
    backend = _live(call)
    try:
        return cib_commands.read(backend)
    finally:
        backend.close()


def _create(call: Invocation, parsed: Parsed, kind: str, name: str, path: str) -> int:
    exists = os.path.exists(path)
    if exists and "force" not in parsed and kind != "reset":
        raise CommandFailed(
            Exit.CANTCREAT,
            f"A shadow instance '{name}' already exists. To prevent accidental destruction of "
            "the shadow file, the --force flag is required in order to proceed.",
        )
    if not exists and kind == "reset":
        raise CommandFailed(Exit.NOSUCH, f"Could not access shadow instance '{name}': {path} does not exist")
    text = cib_commands.empty(parsed.get("validate-with")) if kind == "create-empty" else (_live_cib(call))
    os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return _shell(call, parsed, name)


def _shell(call: Invocation, parsed: Parsed, name: str) -> int:
    """A shell in which the shadow is active; in batch mode, how to get there."""
    if "batch" in parsed or not call.interactive or not call.out_is_tty:
        call.print("A new shadow instance was created. To begin using it, enter the following into your shell:")
        call.print(f"\texport CIB_shadow={name}")
        return 0
    call.print(f"Setting up shadow instance '{name}'; type exit to leave it")
    shell = call.environ.get("SHELL") or "/bin/sh"
    return subprocess.run([shell], env={**call.environ, "CIB_shadow": name}, check=False).returncode


def _say_unset(call: Invocation, name: str) -> None:
    if call.environ.get("CIB_shadow") == name:
        call.print("Now type Ctrl-D to exit the crm_shadow shell, or enter the following into your shell:")
        call.print("\tunset CIB_shadow")


def _commit(call: Invocation, parsed: Parsed, name: str, path: str) -> int:
    if "force" not in parsed:
        raise CommandFailed(
            Exit.UNSAFE,
            f"Committing the shadow copy '{name}' replaces the cluster's configuration: --force is required",
        )
    shadow = _load(path, name)
    backend = _live(call)
    try:
        if "all" in parsed:
            backend.change("replace", xml=shadow.serialize(), forced=True)
        else:
            backend.change(
                "replace", section="configuration", xml=serialize(shadow.configuration).encode(), forced=True
            )
    finally:
        backend.close()
    _say_unset(call, name)
    return 0
