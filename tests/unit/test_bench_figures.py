"""bench/figures.py: a figure is held against its bar by its median, and says so."""

from __future__ import annotations

from bench.figures import Figure


def test_the_median_is_held_against_the_bar() -> None:
    figure = Figure(name="outage", unit="s", samples=(3.0, 1.0, 1.5), method="how", bar=2.2, peer="3.7")
    assert figure.verdict() == "within the bar"
    assert figure.text(against_bar=True).splitlines() == [
        "outage: 1.50 s  (median of 3: 1.00 to 3.00)",
        "    within the bar: at most 2.2 s (peer then: 3.7)",
        "    how",
    ]
    assert "bar" not in figure.text(against_bar=False)


def test_rates_must_reach_their_bar() -> None:
    rate = Figure(name="writes", unit="/s", samples=(299.0,), method="how", bar=300, higher_is_better=True, digits=0)
    assert rate.verdict() == "MISSES the bar"
    assert "at least 300 /s" in rate.text(against_bar=True)
