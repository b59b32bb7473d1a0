"""What an option is, and what its text means."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from quorate.model.time import parse_interval_ms

INFINITY = 1_000_000
_TRUE = frozenset({"true", "on", "yes", "y", "1"})
_FALSE = frozenset({"false", "off", "no", "n", "0"})
_SCORE_WORDS = {"INFINITY": INFINITY, "+INFINITY": INFINITY, "-INFINITY": -INFINITY}

OptionValue = bool | int | str | None


class ValueKind(enum.Enum):
    """The type of an option; the value is the name that metadata of agents and daemons use for it."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIME = "time"  # parsed to milliseconds
    PERCENTAGE = "percentage"  # parsed to whole per cent
    SELECT = "select"
    SCORE = "score"  # INFINITY is 1000000


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """`default` is written as a user would write it; None means that nothing is set. `newer` names win over `name`
    where both are set, `older` ones count only where neither is. `synonyms`: further values, for listed ones."""

    name: str
    kind: ValueKind
    default: str | None
    short: str
    long: str = ""
    values: tuple[str, ...] = ()
    synonyms: tuple[tuple[str, str], ...] = ()
    newer: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    minimum: int | None = None
    advanced: bool = False
    generated: bool = False  # written by the cluster; a user's value is overwritten
    deprecated: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, the one that wins first."""
        return (*self.newer, self.name, *self.older)

    def parse(self, text: str) -> OptionValue:
        """The typed value. ValueError, with a sentence for the user, when it is not one."""
        text = text.strip()
        value = _PARSERS[self.kind](self, text)
        if self.minimum is not None and isinstance(value, int) and value < self.minimum:
            raise ValueError(f"{self.name}={text!r}: must be {self.minimum} or more")
        return value

    @property
    def default_value(self) -> OptionValue:
        return None if self.default is None else self.parse(self.default)


def parse_boolean(text: str) -> bool:
    """true, on, yes, y, 1 or their opposites, in any case. ValueError else."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def parse_score(text: str) -> int:
    """A whole number or INFINITY with a sign, kept between -1000000 and 1000000. ValueError else."""
    word = _SCORE_WORDS.get(text.strip())
    return word if word is not None else max(-INFINITY, min(INFINITY, int(text)))


def _string(option: Option, text: str) -> str:
    return text


def _boolean(option: Option, text: str) -> bool:
    try:
        return parse_boolean(text)
    except ValueError as error:
        raise ValueError(f"{option.name}: {error}") from None


def _number(option: Option, text: str) -> int:
    try:
        return parse_score(text) if text.endswith("INFINITY") else int(text)
    except ValueError:
        raise ValueError(f"{option.name}={text!r}: must be a whole number") from None


def _score(option: Option, text: str) -> int:
    try:
        return parse_score(text)
    except ValueError:
        raise ValueError(f"{option.name}={text!r}: must be a whole number, INFINITY or -INFINITY") from None


def _time(option: Option, text: str) -> int:
    value = parse_interval_ms(text)
    if value is None:
        raise ValueError(f"{option.name}={text!r}: must be a time such as 30, 30s, 5min, 100ms or PT5M")
    return value


def _percentage(option: Option, text: str) -> int:
    try:
        return int(text.removesuffix("%"))
    except ValueError:
        raise ValueError(f"{option.name}={text!r}: must be a percentage such as 80%") from None


def _select(option: Option, text: str) -> str:
    for value in option.values:
        if value.lower() == text.lower():
            return value
    for other, value in option.synonyms:
        if other.lower() == text.lower():
            return value
    raise ValueError(f"{option.name}={text!r}: must be one of {', '.join(option.values)}")


_PARSERS: dict[ValueKind, Callable[[Option, str], OptionValue]] = {
    ValueKind.STRING: _string,
    ValueKind.INTEGER: _number,
    ValueKind.BOOLEAN: _boolean,
    ValueKind.TIME: _time,
    ValueKind.PERCENTAGE: _percentage,
    ValueKind.SELECT: _select,
    ValueKind.SCORE: _score,
}
