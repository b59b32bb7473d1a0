"""The contract suite on real Corosync, and what only Corosync can do: die under its engine, be frozen alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from quorate.model import group

from . import real_corosync
from .real_corosync import CorosyncDriver
from .test_engine_contract import (  # noqa: F401 - collected here too, with this module's driver
    NODES,
    TOKEN,
    TOKEN_MS,
    are_in,
    delivered,
    lost,
    payloads,
    submit,
    test_a_dead_manager_is_no_dead_node,
    test_a_killed_node_is_lost_after_about_the_token,
    test_a_message_too_long_is_the_submitters_error,
    test_a_paused_node_returns_and_accuses_nobody,
    test_an_orderly_stop_is_seen_at_once,
    test_every_submission_has_one_fate_when_the_nodes_part,
    test_everyone_gets_the_same_messages_in_the_same_order,
    test_leaving_takes_its_place_in_the_order_and_answers_what_is_open,
    test_messages_of_all_sizes,
    test_only_managers_that_joined_get_messages,
    test_room_is_told_and_kept,
    test_the_status_tells_view_and_links,
    test_views_grow_hold_the_node_itself_and_are_the_same_everywhere,
    trio,
    views,
)

_MISSING = real_corosync.missing()
pytestmark = [
    pytest.mark.skipif(bool(_MISSING), reason=_MISSING or "-"),
    pytest.mark.xdist_group("corosync"),
]


@pytest.fixture
def driver() -> Iterator[CorosyncDriver]:
    made = CorosyncDriver(NODES, TOKEN_MS)
    yield made
    made.close()


def test_a_killed_corosync_is_told_and_everything_begins_anew(trio: CorosyncDriver) -> None:  # noqa: F811
    submit(trio, 2, 1, b"before")
    assert trio.wait(lambda: payloads(trio, 2) == [b"before"], 5)
    trio.node(2).kill_corosync()
    assert trio.wait(lambda: any(isinstance(event, group.EngineGone) for event in trio.events(2)), 5)
    assert trio.wait(are_in(trio, (1, 3), (1, 3)), 10 * TOKEN)
    submit(trio, 2, 2, b"nowhere")
    assert trio.wait(lambda: lost(trio, 2)[-1:] == [group.SubmissionLost(token=2, cause="left")], 5)
    trio.node(2).start_corosync()
    trio.request(2, group.Join(incarnation=777))
    assert trio.wait(are_in(trio, (1, 2, 3), (1, 2, 3)), 20)
    assert 2 not in views(trio, 1)[-1].transitional
    submit(trio, 2, 3, b"after")
    assert trio.wait(lambda: all(payloads(trio, node)[-1:] == [b"after"] for node in (1, 2, 3)), 5)


def test_corosync_killed_everywhere(trio: CorosyncDriver) -> None:  # noqa: F811
    for node in (1, 2, 3):
        trio.node(node).kill_corosync()
    for node in (1, 2, 3):
        trio.node(node).start_corosync()
    for node in (1, 2, 3):
        assert trio.wait(lambda n=node: any(isinstance(e, group.EngineGone) for e in trio.events(n)), 5)  # type: ignore[misc]
        trio.request(node, group.Join(incarnation=300 + node))
    assert trio.wait(are_in(trio, (1, 2, 3), (1, 2, 3)), 20)


def test_a_frozen_corosync_alone_is_noticed_and_accuses_nobody(trio: CorosyncDriver) -> None:  # noqa: F811
    seen = len(views(trio, 3))
    corosync = trio.node(3).corosync
    assert corosync is not None
    corosync.send_signal(signal.SIGSTOP)
    assert trio.wait(are_in(trio, (1, 2), (1, 2)), 10 * TOKEN)
    for token in range(50):
        submit(trio, 1, token, b"missed by 3")
    assert trio.wait(lambda: len(delivered(trio, 2)) == 50, 5)
    corosync.send_signal(signal.SIGCONT)
    assert trio.wait(are_in(trio, (1, 2, 3), (1, 2, 3)), 30 * TOKEN)
    assert views(trio, 1)[-1].transitional == (1, 2), "who missed messages did not come along"
    assert all(view.nodes == (1, 2, 3) for view in views(trio, 3)[seen:])
    submit(trio, 3, 1, b"again")
    assert trio.wait(lambda: payloads(trio, 1)[-1:] == [b"again"], 5)


def test_an_engine_that_does_not_answer_is_done_without(trio: CorosyncDriver) -> None:  # noqa: F811
    trio.node(3).signal(signal.SIGSTOP)
    trio.drop_manager(2)
    assert trio.wait(are_in(trio, (1, 2, 3), (1,)), 10)
    trio.node(3).signal(signal.SIGCONT)
    assert trio.wait(are_in(trio, (1, 2, 3), (1, 3)), 10)
