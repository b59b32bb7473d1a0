"""The end of a round, as a pure function: from all members' states to the new view.

Decided here, for each old view that members come from: the *cut* (the highest number up to which the members together
hold every block), who can supply what, and who goes through the change together; and the merged high-water marks of
submissions. A member installs the view only after it has delivered its old view exactly up to the cut. So two members
that go from one view to the same next one have delivered the same there, and no submission that any member counts as
ordered is ever sent again.
"""

from __future__ import annotations

from collections.abc import Mapping

from quorate.model.wire import NO_KEY, Install, Section, State, ViewKey

MARKS_PER_NODE = 4

Marks = dict[tuple[int, int], tuple[int, int]]  # (node, run) -> (highest submission, view counter of the last change)


def conclude(round_key: ViewKey, states: Mapping[int, State]) -> Install:
    """`states` has the answer of every member."""
    by_view: dict[ViewKey, list[int]] = {}
    for node in sorted(states):
        by_view.setdefault(states[node].view, []).append(node)
    sections = []
    marks: Marks = {}
    for view in sorted(by_view):
        group = {node: states[node] for node in by_view[view]}
        cut = cut_of(group)
        merge_marks(marks, group, cut)
        if view != NO_KEY:
            sections.append(_section(view, cut, group))
    members = tuple((node, states[node].run, states[node].manager) for node in sorted(states))
    return Install(round_key, members, tuple(sections), packed_marks(marks, {(n, run) for n, run, _ in members}))


def cut_of(group: Mapping[int, State]) -> int:
    cut = max(state.received for state in group.values())
    beyond = {entry[0] for state in group.values() for entry in state.beyond}
    while cut + 1 in beyond:
        cut += 1
    return cut


def merge_marks(marks: Marks, group: Mapping[int, State], cut: int) -> None:
    for state in group.values():
        for node, run, mark, touched in state.marks:
            _raise_mark(marks, node, run, mark, touched)
        for number, sender, run, submission in state.beyond:
            if number <= cut and submission:
                _raise_mark(marks, sender, run, submission, state.view[0])


def packed_marks(marks: Marks, alive: set[tuple[int, int]]) -> tuple[tuple[int, int, int, int], ...]:
    """Sorted, and for each node no more than MARKS_PER_NODE runs: those alive, then those changed last."""
    by_node: dict[int, list[tuple[bool, int, int, int]]] = {}
    for (node, run), (mark, touched) in marks.items():
        by_node.setdefault(node, []).append(((node, run) in alive, touched, run, mark))
    return tuple(
        (node, run, mark, touched)
        for node in sorted(by_node)
        for _, touched, run, mark in sorted(by_node[node], reverse=True)[:MARKS_PER_NODE]
    )


def _raise_mark(marks: Marks, node: int, run: int, mark: int, touched: int) -> None:
    old_mark, old_touched = marks.get((node, run), (0, 0))
    marks[node, run] = (max(mark, old_mark), max(touched, old_touched))


def _section(view: ViewKey, cut: int, group: Mapping[int, State]) -> Section:
    sources = tuple(
        (node, state.received, tuple(entry[0] for entry in state.beyond if entry[0] <= cut))
        for node, state in group.items()
    )
    transitional = tuple(n for n, state in group.items() if state.manager and state.manager == state.manager_before)
    return Section(view, cut, sources, transitional)
