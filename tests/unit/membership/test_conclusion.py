"""From states to the new view."""

from __future__ import annotations

from quorate.core.membership.conclusion import MARKS_PER_NODE, conclude, packed_marks
from quorate.model.wire import NO_KEY, State, ViewKey

ROUND = (9, 1)


def state(
    view: ViewKey = (5, 1),
    received: int = 0,
    beyond: tuple[tuple[int, int, int, int], ...] = (),
    marks: tuple[tuple[int, int, int, int], ...] = (),
    manager: int = 1,
    before: int = 1,
    run: int = 100,
) -> State:
    return State(ROUND, run, view, received, beyond, marks, manager, before)


def test_the_cut_is_the_highest_number_the_members_hold_together() -> None:
    install = conclude(
        ROUND,
        {
            1: state(received=10),
            2: state(received=8, beyond=((11, 2, 100, 0), (12, 2, 100, 0))),
            3: state(received=9, beyond=((14, 3, 100, 0),)),
        },
    )
    (section,) = install.sections
    assert section.cut == 12
    assert section.sources == ((1, 10, ()), (2, 8, (11, 12)), (3, 9, ()))
    assert section.transitional == (1, 2, 3)


def test_each_old_view_has_its_own_section_and_newcomers_none() -> None:
    install = conclude(ROUND, {1: state((5, 1), 3), 2: state((6, 2), 7), 3: state(NO_KEY)})
    assert [(s.view, s.cut, s.transitional) for s in install.sections] == [((5, 1), 3, (1,)), ((6, 2), 7, (2,))]


def test_marks_are_merged_over_all_views_and_up_to_the_cut_only() -> None:
    install = conclude(
        ROUND,
        {
            1: state((5, 1), 3, marks=((1, 100, 4, 5), (2, 100, 9, 5))),
            2: state((6, 2), 1, beyond=((2, 1, 100, 7), (4, 1, 100, 8)), marks=((1, 100, 2, 6),)),
        },
    )
    assert install.marks == ((1, 100, 7, 6), (2, 100, 9, 5))


def test_who_has_no_manager_or_another_one_did_not_come_along() -> None:
    install = conclude(ROUND, {1: state(), 2: state(manager=0), 3: state(manager=8)})
    assert install.members == ((1, 100, 1), (2, 100, 0), (3, 100, 8))
    assert install.sections[0].transitional == (1,)


def test_marks_of_dead_runs_are_bounded() -> None:
    marks = {(1, run): (run, run) for run in range(20)}
    packed = packed_marks(marks, {(1, 3)})
    assert len(packed) == MARKS_PER_NODE
    assert [entry[1] for entry in packed] == [3, 19, 18, 17]
