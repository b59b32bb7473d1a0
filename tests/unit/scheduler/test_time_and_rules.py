"""Dates, durations, intervals and rules."""

from __future__ import annotations

import pytest
from lxml import etree

from quorate.model.rules import RuleInput, evaluate_rule
from quorate.model.time import Duration, add_duration, parse_duration, parse_interval_ms, parse_moment


@pytest.mark.parametrize(("text", "seconds"), [
    ("1970-01-01", 0), ("1970-01-02T01:00:00Z", 90_000), ("2005-020T12:30", 1_106_224_200), ("2005-020", 1_106_179_200),
    ("2024-W01-1", 1_704_067_200), ("20240101T000000Z", 1_704_067_200), ("2024-01-01 01:00:00+01:00", 1_704_067_200),
])
def test_moments(text: str, seconds: int) -> None:
    assert parse_moment(text) == seconds


@pytest.mark.parametrize("text", ["", "2024-13-01", "2023-366", "noon", "2024-01-01T25:00"])
def test_bad_moments(text: str) -> None:
    with pytest.raises(ValueError):
        parse_moment(text)


def test_durations() -> None:
    assert parse_duration("P1Y2M3DT4H5M6S") == Duration(1, 2, 0, 3, 4, 5, 6)
    january = parse_moment("2024-01-31")
    assert add_duration(january, parse_duration("P1M")) == parse_moment("2024-02-29")


@pytest.mark.parametrize(("text", "ms"), [
    ("10", 10_000), ("10s", 10_000), ("200ms", 200), ("2min", 120_000), ("1h", 3_600_000), ("PT1M", 60_000), ("x", None),
])
def test_intervals(text: str, ms: int | None) -> None:
    assert parse_interval_ms(text) == ms


def holds(rule: str, attributes: dict[str, str], now: int = 0) -> bool:
    return evaluate_rule(etree.fromstring(rule), RuleInput(now=now, node_attributes=attributes))


def test_expressions() -> None:
    lower = '<rule id="r"><expression id="e" attribute="a" operation="lt" value="10"/></rule>'
    assert holds(lower, {"a": "9"}) and not holds(lower, {"a": "11"}) and not holds(lower, {})
    either = ('<rule id="r" boolean-op="or"><expression id="e" attribute="a" operation="defined"/>'
              '<expression id="f" attribute="#uname" operation="eq" value="n1"/></rule>')
    assert holds(either, {"#uname": "n1"}) and not holds(either, {"#uname": "n2"})


def test_dates_say_when_they_change() -> None:
    rule = etree.fromstring('<rule id="r"><date_expression id="d" operation="in_range" start="1970-01-02"><duration '
                            'id="u" days="1"/></date_expression></rule>')
    early = RuleInput(now=10)
    assert not evaluate_rule(rule, early) and early.next_change == 86_400
    within = RuleInput(now=90_000)
    assert evaluate_rule(rule, within) and within.next_change == 2 * 86_400 + 1
