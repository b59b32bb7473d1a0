"""The contract of model/group.py, for every engine: the same suite in virtual time and on real sockets.

Only what the interface promises is asked for, with times in tokens, so that engines may differ within it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from quorate.model import group
from quorate.model.ids import NO_VIEW, ViewId

from .driver import DRIVERS, EngineDriver

TOKEN_MS = 500
TOKEN = TOKEN_MS / 1000
NODES = 3


@pytest.fixture(params=sorted(DRIVERS))
def driver(request: pytest.FixtureRequest) -> Iterator[EngineDriver]:
    made = DRIVERS[request.param](NODES, TOKEN_MS)
    yield made
    made.close()


def views(driver: EngineDriver, node: int) -> list[group.View]:
    return [event.view for event in driver.events(node) if isinstance(event, group.ViewChanged)]


def delivered(driver: EngineDriver, node: int) -> list[group.Delivered]:
    return [event for event in driver.events(node) if isinstance(event, group.Delivered)]


def payloads(driver: EngineDriver, node: int) -> list[bytes]:
    return [event.payload for event in delivered(driver, node)]


def lost(driver: EngineDriver, node: int) -> list[group.SubmissionLost]:
    return [event for event in driver.events(node) if isinstance(event, group.SubmissionLost)]


def are_in(driver: EngineDriver, nodes: tuple[int, ...], members: tuple[int, ...]) -> Callable[[], bool]:
    """Whether all `members` are in one view of these nodes and members."""

    def check() -> bool:
        seen = [views(driver, node) for node in members]
        return all(seen) and all(
            each[-1].nodes == nodes and each[-1].members == members and each[-1].id == seen[0][-1].id for each in seen
        )

    return check


@pytest.fixture
def trio(driver: EngineDriver) -> EngineDriver:
    """Three nodes, all joined."""
    driver.start(1, 2, 3)
    for node in (1, 2, 3):
        driver.request(node, group.Join(incarnation=100 + node))
    assert driver.wait(are_in(driver, (1, 2, 3), (1, 2, 3)), 10)
    return driver


def submit(driver: EngineDriver, node: int, token: int, payload: bytes, bulk: bool = False) -> None:
    driver.request(node, group.Submit(token=token, payload=payload, bulk=bulk))


def test_views_grow_hold_the_node_itself_and_are_the_same_everywhere(trio: EngineDriver) -> None:
    trio.kill(3)
    assert trio.wait(are_in(trio, (1, 2), (1, 2)), 10 * TOKEN)
    trio.start(3)
    trio.request(3, group.Join(incarnation=203))
    assert trio.wait(are_in(trio, (1, 2, 3), (1, 2, 3)), 20 * TOKEN)
    contents: dict[ViewId, tuple[object, object]] = {}
    for node in (1, 2, 3):
        last = NO_VIEW
        for view in views(trio, node):
            assert view.id > last
            last = view.id
            assert node in view.nodes and node in view.members and node in view.transitional
            assert set(view.transitional) <= set(view.members) <= set(view.nodes)
            assert contents.setdefault(view.id, (view.nodes, view.members)) == (view.nodes, view.members)
    assert views(trio, 1)[-1].transitional == (1, 2)
    assert views(trio, 3)[-1].transitional == (3,)


def test_everyone_gets_the_same_messages_in_the_same_order(trio: EngineDriver) -> None:
    total = 60
    for number in range(total // 3):
        for node in (1, 2, 3):
            submit(trio, node, number, b"%d/%d" % (node, number))
    assert trio.wait(lambda: all(len(delivered(trio, node)) == total for node in (1, 2, 3)), 20)
    assert payloads(trio, 1) == payloads(trio, 2) == payloads(trio, 3)
    for node in (1, 2, 3):
        own = [event for event in delivered(trio, 1) if event.sender == node]
        assert [event.payload for event in own] == [b"%d/%d" % (node, number) for number in range(total // 3)]
        assert [event.token for event in delivered(trio, node) if event.sender == node] == list(range(total // 3))
        assert all(event.token is None for event in delivered(trio, node) if event.sender != node)
        assert all(event.view == views(trio, node)[-1].id for event in delivered(trio, node))


@pytest.mark.parametrize("size", [0, 1, 1199, 1200, 1201, 65_536, 2_000_000])
def test_messages_of_all_sizes(trio: EngineDriver, size: int) -> None:
    payload = bytes(index % 251 for index in range(min(size, 4096))) * (size // 4096 + 1)
    payload = payload[:size]
    submit(trio, 2, 1, payload, bulk=size > 60_000)
    submit(trio, 2, 2, b"after")
    assert trio.wait(lambda: all(len(delivered(trio, node)) == 2 for node in (1, 2, 3)), 60)
    for node in (1, 2, 3):
        assert payloads(trio, node) == [payload, b"after"]


def test_a_message_too_long_is_the_submitters_error(trio: EngineDriver) -> None:
    submit(trio, 1, 7, bytes(group.MESSAGE_BYTES_MAX + 1))
    assert trio.wait(lambda: [event.token for event in lost(trio, 1)] == [7], 10)


def test_only_managers_that_joined_get_messages(driver: EngineDriver) -> None:
    driver.start(1, 2, 3)
    for node in (1, 2):
        driver.request(node, group.Join(incarnation=100 + node))
    assert driver.wait(are_in(driver, (1, 2, 3), (1, 2)), 10)
    submit(driver, 1, 1, b"early")
    assert driver.wait(lambda: payloads(driver, 2) == [b"early"], 5)
    assert views(driver, 3) == [] and delivered(driver, 3) == []
    before = views(driver, 1)[-1].id
    driver.request(3, group.Join(incarnation=103))
    assert driver.wait(are_in(driver, (1, 2, 3), (1, 2, 3)), 5)
    after = views(driver, 1)[-1]
    assert (after.id.counter, after.id.coordinator, after.id.minor) == (
        before.counter,
        before.coordinator,
        before.minor + 1,
    )
    assert after.transitional == (1, 2) and views(driver, 3)[-1].transitional == (3,)
    submit(driver, 3, 1, b"late")
    assert driver.wait(lambda: payloads(driver, 1)[-1:] == [b"late"] and payloads(driver, 3) == [b"late"], 5)


def test_leaving_takes_its_place_in_the_order_and_answers_what_is_open(trio: EngineDriver) -> None:
    submit(trio, 3, 1, b"before")
    trio.request(3, group.Leave())
    assert trio.wait(are_in(trio, (1, 2, 3), (1, 2)), 5)
    assert payloads(trio, 1) == payloads(trio, 2)
    fates = len(lost(trio, 3)) + len(delivered(trio, 3))
    assert fates == 1
    submit(trio, 3, 2, b"after")
    assert trio.wait(lambda: lost(trio, 3)[-1:] == [group.SubmissionLost(token=2, cause="left")], 5)


def test_a_dead_manager_is_no_dead_node(trio: EngineDriver) -> None:
    nodes_before = views(trio, 1)[-1].nodes
    trio.drop_manager(2)
    assert trio.wait(are_in(trio, (1, 2, 3), (1, 3)), 5)
    assert views(trio, 1)[-1].nodes == nodes_before
    trio.request(2, group.Join(incarnation=999))
    assert trio.wait(are_in(trio, (1, 2, 3), (1, 2, 3)), 5)
    assert 2 not in views(trio, 1)[-1].transitional


def test_a_killed_node_is_lost_after_about_the_token(trio: EngineDriver) -> None:
    trio.wait(lambda: False, 2 * TOKEN)
    trio.kill(1)
    assert not trio.wait(are_in(trio, (2, 3), (2, 3)), 0.7 * TOKEN)
    assert trio.wait(are_in(trio, (2, 3), (2, 3)), 2 * TOKEN)
    assert views(trio, 2)[-1].transitional == (2, 3)


def test_an_orderly_stop_is_seen_at_once(trio: EngineDriver) -> None:
    trio.stop(2)
    assert trio.wait(are_in(trio, (1, 3), (1, 3)), 0.6 * TOKEN)


def test_every_submission_has_one_fate_when_the_nodes_part(trio: EngineDriver) -> None:
    count = 200
    for token in range(count):
        for node in (1, 2, 3):
            submit(trio, node, token, b"%d/%d" % (node, token))
    trio.partition((1,), (2, 3))
    assert trio.wait(are_in(trio, (2, 3), (2, 3)), 20 * TOKEN)
    assert trio.wait(are_in(trio, (1,), (1,)), 20 * TOKEN)

    def all_answered() -> bool:
        return all(len(lost(trio, node)) + _own(trio, node) == count for node in (1, 2, 3))

    trio.wait(all_answered, 10 * TOKEN)
    trio.heal()
    assert trio.wait(are_in(trio, (1, 2, 3), (1, 2, 3)), 30 * TOKEN)
    assert trio.wait(all_answered, 10 * TOKEN)
    for node in (1, 2, 3):
        fates = [event.token for event in lost(trio, node)]
        fates += [event.token for event in delivered(trio, node) if event.sender == node and event.token is not None]
        assert sorted(fates) == list(range(count))
        assert len(set(payloads(trio, node))) == len(payloads(trio, node)), "at most once"
    assert _in_last_common_view(trio, 2) == _in_last_common_view(trio, 3)


def _own(driver: EngineDriver, node: int) -> int:
    return sum(1 for event in delivered(driver, node) if event.sender == node)


def _in_last_common_view(driver: EngineDriver, node: int) -> list[bytes]:
    """What was delivered before the view {2, 3}."""
    got = []
    for event in driver.events(node):
        if isinstance(event, group.ViewChanged) and event.view.nodes == (2, 3):
            return got
        if isinstance(event, group.Delivered):
            got.append(event.payload)
    raise AssertionError("no view {2, 3}")


def test_a_paused_node_returns_and_accuses_nobody(trio: EngineDriver) -> None:
    seen = len(views(trio, 3))
    trio.pause(3)
    assert trio.wait(are_in(trio, (1, 2), (1, 2)), 5 * TOKEN)
    trio.resume(3)
    assert trio.wait(are_in(trio, (1, 2, 3), (1, 2, 3)), 20 * TOKEN)
    assert all(view.nodes == (1, 2, 3) for view in views(trio, 3)[seen:])


def test_room_is_told_and_kept(trio: EngineDriver) -> None:
    """What fits into the room told last is never refused; what is refused is answered."""
    rooms = [event.room_bytes for event in trio.events(1) if isinstance(event, group.FlowControl)]
    assert rooms and rooms[0] >= group.MESSAGE_BYTES_MAX
    size, count = 100_000, min(rooms[-1], 8_000_000) // 100_000
    for token in range(count):
        submit(trio, 1, token, bytes(size), bulk=True)
    assert trio.wait(lambda: len(delivered(trio, 3)) == count, 120)
    assert lost(trio, 1) == []


def test_the_status_tells_view_and_links(trio: EngineDriver) -> None:
    assert trio.wait(lambda: trio.request(1, group.StatusAsked()) is None and _status(trio) is not None, 5)
    status = _status(trio)
    assert status is not None
    assert status.node == 1 and status.token_ms == TOKEN_MS and status.view is not None
    assert status.view.nodes == (1, 2, 3) and status.view.members == (1, 2, 3)
    assert {link.peer for link in status.links if link.up} == {2, 3}


def _status(driver: EngineDriver) -> group.EngineStatus | None:
    found = [event for event in driver.events(1) if isinstance(event, group.EngineStatus)]
    return found[-1] if found else None
