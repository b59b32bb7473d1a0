"""Timers by name: moved, cancelled, fired in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.host.timers import Timers


def fired(timers: Timers, now: int) -> list[str]:
    names = []
    while (name := timers.pop_due(now)) is not None:
        names.append(name)
    return names


def test_due_ones_fire_once_in_order_of_time() -> None:
    timers = Timers()
    for name, at in (("late", 30), ("b", 10), ("a", 5)):
        timers.set(name, at)
    assert fired(timers, 20) == ["a", "b"]
    assert timers.next_at() == 30
    assert fired(timers, 20) == []


def test_a_timer_set_again_moves() -> None:
    timers = Timers()
    timers.set("t", 5)
    timers.set("t", 50)
    assert fired(timers, 40) == []
    assert fired(timers, 50) == ["t"]


operations = st.tuples(st.sampled_from(["set", "cancel", "pass"]), st.sampled_from("abcd"), st.integers(0, 100))


@given(st.lists(operations, max_size=300))
def test_against_a_plain_table(steps: list[tuple[str, str, int]]) -> None:
    timers, model, now = Timers(), {}, 0
    for what, name, number in steps:
        if what == "set":
            timers.set(name, now + number)
            model[name] = now + number
        elif what == "cancel":
            timers.cancel(name)
            model.pop(name, None)
        else:
            now += number
            due = {one: at for one, at in model.items() if at <= now}
            model = {one: at for one, at in model.items() if at > now}
            assert sorted(fired(timers, now)) == sorted(due)
        assert timers.next_at() == min(model.values(), default=None)
