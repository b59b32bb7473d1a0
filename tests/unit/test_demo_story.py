"""demo/story.py: log lines become steps with times, repetitions are dropped."""

from __future__ import annotations

from demo.story import Step, first_of_each, log_steps, switch_steps, told

LOG = """\
1970-01-01T00:00:01.000Z n2 manager notice view-changed: old
Traceback (most recent call last):
1970-01-01T00:00:10.500Z n2 manager warning view-changed: lost=n1
1970-01-01T00:00:10.600Z n2 manager info something-else: x
1970-01-01T00:00:10.700Z n2 supervisor notice dc: not the manager
"""


def test_steps_of_a_log_are_on_the_one_clock() -> None:
    assert log_steps(LOG, since=3_000_000_000, wall_minus_boottime_ns=7_000_000_000) == [
        Step(3_500_000_000, "n2", "view-changed: lost=n1")
    ]


def test_the_first_of_several_witnesses_speaks() -> None:
    steps = [Step(5, "n3", "same"), Step(4, "n2", "same"), Step(6, "n2", "other")]
    assert first_of_each(steps) == [Step(4, "n2", "same"), Step(6, "n2", "other")]


def test_the_switch_and_the_telling() -> None:
    events = [
        {"t": 1, "event": "switch-order", "by": "n2", "action": "off", "plug": "n1"},
        {"t": 2_000_000_000, "event": "switch-order", "by": "n2", "action": "off", "plug": "n1"},
        {"t": 3_000_000_000, "event": "switch-confirmed", "by": "n2", "action": "off", "plug": "n1"},
    ]
    assert told(switch_steps(events, since=2), zero=1_000_000_000).splitlines() == [
        "    +1.000 s  n2      orders the power switch: off n1",
        "    +2.000 s  switch  confirms: off n1",
    ]
