"""docs/configuration.md is what the declared options say, and its example is a valid file."""

from __future__ import annotations

import re
from pathlib import Path

from quorate.model.settings import OPTIONS, Settings
from quorate.tools.settings_reference import page

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "write it anew: python -m quorate.tools.settings_reference docs/configuration.md"


def test_every_option_is_on_it() -> None:
    text = PAGE.read_text()
    assert all(f"| `{option.name}` |" in text for option in OPTIONS)


def test_its_example_is_valid() -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example is not None
    assert Settings.parse(example[1], "example").quorum.two_node
