"""`quorate simulate`: the command around `campaign`."""

from __future__ import annotations

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def simulate(arguments: tuple[str, ...]) -> None:
    """Run whole clusters in virtual time with faults drawn from seeds."""
    from .campaign import main

    raise SystemExit(main(list(arguments)))
