"""laboratory/timeline.py: outages and holders from written records."""

from __future__ import annotations

from laboratory.timeline import Holding, holdings, longest_outage, overlaps, parse_requests


def test_the_longest_outage_lies_between_two_good_answers() -> None:
    requests = parse_requests(
        "1 2 ok|n1\n3 4 ok|n1\n5 9 -|timeout\n8 10 -|ECONNREFUSED\n11 14 ok|n2\n15 16 ok|n2\n17 1"
    )
    outage = longest_outage(requests, since=3)
    assert outage is not None
    assert (outage.last_good.answer, outage.first_good.answer, outage.duration_ns) == ("n1", "n2", 10)
    assert longest_outage(requests[:3], since=5) is None


def test_attempts_that_end_out_of_order_are_sorted_by_their_end() -> None:
    assert [request.ended for request in parse_requests("1 9 ok|a\n2 3 ok|a\n")] == [3, 9]


def test_a_holding_ends_by_event_look_boot_or_power_off() -> None:
    text = "1 boot -\n2 up A\n3 seen A\n5 down A\n6 gone A\n7 up B\n8 up A\n20 boot -\n21 seen A\n"
    assert holdings("n1", text, "A", [10]) == [
        Holding(begin=2, end=5, node="n1"),
        Holding(begin=8, end=10, node="n1"),
        Holding(begin=21, end=None, node="n1"),
    ]


def test_overlaps_are_of_different_nodes_and_share_an_instant() -> None:
    first = Holding(begin=1, end=5, node="n1")
    again = Holding(begin=2, end=4, node="n1")
    after = Holding(begin=5, end=None, node="n2")
    inside = Holding(begin=4, end=6, node="n3")
    assert overlaps({"n1": [first, again], "n2": [after]}) == []
    assert overlaps({"n1": [first], "n3": [inside], "n2": [after]}) == [(first, inside), (inside, after)]
