"""Option tables: forms of options, help, mistakes."""

from __future__ import annotations

import pytest

from quorate.tools.failure import CommandFailed, Exit
from quorate.tools.options import Table, opt

TABLE = Table(
    "x",
    "a command",
    (
        opt("Q query", "look"),
        opt("l local", "here"),
        opt("o scope section", "where", "NAME"),
        opt("m level", "how much", "N", optional=True),
        opt("v value", "what", "V"),
        opt("verbose", "more"),
        opt("p 5", "flag"),
        opt("old-name", "hidden one", hidden=True),
    ),
)


def test_short_options_cluster_and_carry_their_value() -> None:
    parsed = TABLE.parse(["-Ql", "-oresources", "-o", "nodes"])
    assert "query" in parsed and "local" in parsed
    assert parsed.all("scope") == ["resources", "nodes"]
    assert parsed.get("scope") == "nodes"


def test_a_required_value_may_begin_with_a_dash() -> None:
    assert TABLE.parse(["-v", "-INFINITY"]).get("value") == "-INFINITY"
    assert TABLE.parse(["--value=-1"]).get("value") == "-1"


@pytest.mark.parametrize(
    ("args", "value", "words"),
    [
        (["-m"], "", []),
        (["-m", "3"], "3", []),
        (["-m", "-Q"], "", []),
        (["--level", "2"], "2", []),
        (["--level=2", "word"], "2", ["word"]),
        (["-m3"], "3", []),
        (["-ml"], "", []),
    ],
)
def test_an_optional_value_does_not_swallow_options(args: list[str], value: str, words: list[str]) -> None:
    parsed = TABLE.parse(args)
    assert parsed.get("level") == value
    assert parsed.words == words


def test_long_options_may_be_abbreviated_while_unambiguous() -> None:
    assert "query" in TABLE.parse(["--que"])
    assert TABLE.parse(["--sect", "x"]).get("scope") == "x"
    with pytest.raises(CommandFailed, match="ambiguous"):
        TABLE.parse(["--v"])


@pytest.mark.parametrize("args", [["--nonsense"], ["-Z"], ["-o"], ["--query=yes"]])
def test_mistakes_are_usage_errors(args: list[str]) -> None:
    with pytest.raises(CommandFailed) as caught:
        TABLE.parse(args)
    assert caught.value.code == Exit.USAGE


def test_words_after_two_dashes_are_no_options() -> None:
    parsed = TABLE.parse(["-Q", "--", "-l"])
    assert parsed.words == ["-l"] and "local" not in parsed


def test_help_shows_what_is_not_hidden() -> None:
    text = TABLE.help()
    assert "--query" in text and "old-name" not in text and "-o, --scope=NAME" in text
