"""What the hellos of a view say together: whose state is the view's starting state, and its epoch.

Decided here, as pure functions of the hellos (equal on every member, because the hellos are equal): the source, the new
epoch, whether a snapshot is needed, the fate of each member's own history, and the DC. Source: the project's rules
of the log,
2 (epoch), 3 (synced), 6 (merge).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quorate.model.entries import Hello


def feature_key(feature_set: str) -> tuple[int, ...]:
    """Feature sets compare by their numbers; what is no number counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in feature_set.split("."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`source`: name of the member whose state all start from. `epoch`: to be promised by all. `needs`: members that do
    not hold the source's state. `own_history`: members whose own node_state replaces what the source has of them.
    `fresh`: members whose history is unknown (new manager or unsynced): erase it and probe."""

    source: str
    epoch: int
    needs: tuple[str, ...]
    own_history: tuple[str, ...]
    fresh: tuple[str, ...]
    feature_set: str
    previous_dc: str | None


def rank(hello: Hello) -> tuple[object, ...]:
    """The greatest decides the configuration: lineage before version, so that a minority's higher epoch does not win.

    With equal positions the configurations are equal; then one that held the state of its last view knows the status too,
    and one that comes from its disk alone does not; then the later version, then the lowest id."""
    return (hello.position, hello.synced, hello.cib_version, -hello.node_id)


def make_plan(hellos: Mapping[str, Hello]) -> Plan:
    """`hellos` by node name, at least one. A member is fresh when it did not come out of a view with the state (a new
    manager, or one that never finished synchronising): its memory of what it runs is gone."""
    ordered = sorted(hellos.values(), key=lambda hello: hello.node_id)
    source = max(ordered, key=rank)
    same = [
        hello
        for hello in ordered
        if hello.synced and hello.state_digest == source.state_digest and hello.position == source.position
    ]
    same_names = {hello.node for hello in same} | {source.node}
    needs = tuple(hello.node for hello in ordered if hello.node not in same_names)
    own = tuple(hello.node for hello in ordered if hello.node in needs and hello.synced and hello.status is not None)
    fresh = tuple(hello.node for hello in ordered if not hello.synced)
    return Plan(
        source=source.node,
        epoch=max(hello.promised for hello in ordered) + 1,
        needs=needs,
        own_history=own,
        fresh=fresh,
        feature_set=min((hello.feature_set for hello in ordered), key=feature_key),
        previous_dc=_previous_dc(ordered, source),
    )


def _previous_dc(ordered: Sequence[Hello], source: Hello) -> str | None:
    """The DC stays: the source's own idea first (it holds the lineage), if that node is here."""
    present = {hello.node for hello in ordered}
    return source.dc if source.dc in present else None


def pick_dc(synced: Mapping[str, Hello], previous: str | None) -> str | None:
    """Sticky, else the member with the lowest feature set, then the lowest id; None while nobody is synced."""
    if previous is not None and previous in synced:
        return previous
    if not synced:
        return None
    return min(synced.values(), key=lambda hello: (feature_key(hello.feature_set), hello.node_id)).node
