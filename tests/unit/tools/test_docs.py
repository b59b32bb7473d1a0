"""docs/commands.md names every command."""

from __future__ import annotations

from pathlib import Path

from quorate.tools import cli


def test_every_command_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "commands.md").read_text()
    assert [name for name in cli.COMMANDS if f"`{name}`" not in text] == []
