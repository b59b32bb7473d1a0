"""The command `quorate`: one entry for everything that administers the program itself.

Each subcommand lives in its room and is imported only when it is used, so that `quorate --help` and a wrong name cost
nothing. Usage errors end with 64 as in Pacemaker's commands.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

EXIT_USAGE = 64

# name -> (module, attribute, one line of help)
SUBCOMMANDS: dict[str, tuple[str, str, str]] = {
    "run": ("quorate.host.supervisor", "run", "Run this node: engine, manager and tool server, until told to stop."),
    "stop": ("quorate.host.control", "stop", "Empty this node and leave the cluster cleanly."),
    "status": ("quorate.tools.overview", "status", "Show membership, quorum and rights of this node."),
    "links": ("quorate.tools.overview", "links", "Show the heartbeat paths to each peer."),
    "keygen": ("quorate.tools.setup", "keygen", "Make the cluster's key file."),
    "init": ("quorate.tools.setup", "init", "Write a first quorate.toml."),
    "check": ("quorate.tools.setup", "check", "Explain what is wrong with this node's configuration file."),
    "simulate": (
        "quorate.simulation.command",
        "simulate",
        "Run whole clusters in virtual time with faults from a seed.",
    ),
}


class _LazyGroup(click.Group):
    """A click group whose commands are imported when they are called; help needs no import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = SUBCOMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, attribute, _ = entry
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in SUBCOMMANDS.items()])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="quorate", prog_name="quorate")
def quorate() -> None:
    """High-availability cluster: administer the program on this node."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; never returns."""
    try:
        result = quorate.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
