"""Planted bugs of the group layer: each a patch of one function, to show that the checkers bite.

The core has no hooks for this. A mutant replaces a function of a core class for the length of a `with` block; the
registry `MUTANTS` is what `quorate simulate --mutants` lists and what the test plants one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from quorate.core.membership import conclusion, neighbourhood
from quorate.core.membership.rounds import ViewChanges
from quorate.core.messaging.conversation import Conversation
from quorate.core.messaging.order import OrderLog, Sequencer
from quorate.core.messaging.replay import Gatekeeper
from quorate.core.messaging.submissions import SubmissionQueue
from quorate.model import wire
from quorate.simulation.group import GroupRun, run_group


@dataclass(frozen=True, slots=True)
class GroupMutant:
    """`name` is the option's value; `bug` says in a sentence what is wrong with the planted code."""

    name: str
    bug: str
    owner: Any
    attribute: str
    replacement: Any
    also: tuple[tuple[Any, str, Any], ...] = ()
    kinds: tuple[str, ...] = ()

    @contextmanager
    def planted(self) -> Iterator[None]:
        patches = ((self.owner, self.attribute, self.replacement), *self.also)
        originals = [owner.__dict__[attribute] for owner, attribute, _ in patches]
        for owner, attribute, replacement in patches:
            setattr(owner, attribute, replacement)
        try:
            yield
        finally:
            for (owner, attribute, _), original in zip(patches, originals, strict=True):
                setattr(owner, attribute, original)


def _no_freeze(self: Conversation) -> None:
    self.frozen = self.view is None
    self.pending = None


def _no_fill(original: Callable[..., bool]) -> Callable[..., bool]:
    def prepare(self: Conversation, install: wire.Install, now: int) -> bool:
        sections = tuple(
            wire.Section(
                s.view, min(s.cut, self.log.received) if s.view == self.key else s.cut, s.sources, s.transitional
            )
            for s in install.sections
        )
        return original(self, wire.Install(install.round, install.members, sections, install.marks), now)

    return prepare


def _free_on_own_ack(self: OrderLog, stable: int) -> None:
    for number in range(self.stable + 1, self.delivered + 1):
        del self.blocks[number]
    self.stable = max(self.stable, self.delivered)


def _accept_lower_round(self: ViewChanges, peer: Any, packet: wire.Propose, now: int) -> None:
    if packet.round == self._conversation.key or self._unheard(packet.members):
        return
    if packet.round != self.promised:
        self.promised = packet.round
        self._candidacy = None
        self._announcement = None
        self._conversation.freeze()
    self._outbox.control((peer,), self._conversation.standing(packet.round))


def _install_any_round(self: ViewChanges, peer: Any, packet: wire.Install, now: int) -> None:
    if packet.round == self._conversation.key:
        self._conversation.confirm()
    elif packet.round > self._conversation.key and self._conversation.prepare(packet, now):
        self.promised = max(self.promised, packet.round)
        self._finish(now)


def _no_mark_merge(marks: conclusion.Marks, group: Any, cut: int) -> None:
    for state in group.values():
        for node, run, mark, touched in state.marks:
            if run == state.run or (node, run) not in marks:
                marks[node, run] = (mark, touched)


def _cut_is_lowest(group: Any) -> int:
    return min(int(state.received) for state in group.values())


def _deliver_over_gaps(self: OrderLog, number: int, block: wire.Block) -> bool:
    if number <= self.received or number in self.blocks:
        return False
    self.blocks[number] = block
    self.top = max(self.top, number)
    if number == self.received + 1 or len(self.blocks) > 3:
        for missing in range(self.received + 1, number):
            self.blocks.setdefault(missing, block)
        self.received = number
    return True


def _stable_by_fastest(self: Sequencer, member: int, received: int, now: int) -> None:
    if member in self.acked and self.acked[member] < received <= self.top:
        self.acked[member] = received
        self.acked_at[member] = now
        self.stable = max(self.acked.values())


def _unordered_submissions(self: Sequencer, sender: int, first: int, blocks: Any, bulk: bool) -> None:
    stream = self._streams.get(sender)
    if stream is None:
        return
    for index, block in enumerate(blocks, first):
        if index >= stream.expected and index not in stream.early:
            stream.early[index] = (block, bulk)
            stream.queue.append((block, bulk))
    while stream.expected in stream.early:
        del stream.early[stream.expected]
        stream.expected += 1


def _resend_all(original: Callable[..., list[int]]) -> Callable[..., list[int]]:
    def begin_view(self: SubmissionQueue, mark: int) -> list[int]:
        return original(self, 0)

    return begin_view


def _forget_unsent(original: Callable[..., list[int]]) -> Callable[..., list[int]]:
    def begin_view(self: SubmissionQueue, mark: int) -> list[int]:
        self._sent.clear()
        return original(self, mark)

    return begin_view


def _no_pause_rule(self: ViewChanges, gap: int, now: int) -> None:
    return


def _never_unheard(self: ViewChanges, members: Any) -> tuple[int, ...]:
    return ()


def _wanted_one_way(me: int, hearings: Any) -> tuple[int, ...]:
    return tuple(sorted(node for node in hearings if node == me or node in hearings[me].hears))


def _all_admitted(original: Callable[..., Any]) -> Callable[..., Any]:
    def opened(self: Gatekeeper, peer: Any, link: int, incarnation: int, *rest: Any) -> Any:
        if self._peers[peer].admitted != incarnation:
            self._admit(self._peers[peer], incarnation)
        return original(self, peer, link, incarnation, *rest)

    return opened


def _no_counter(self: ViewChanges, margin: int = 0) -> None:
    return


def _everyone_transitional(view: Any, cut: int, group: Any) -> wire.Section:
    sources = tuple((n, s.received, tuple(e[0] for e in s.beyond if e[0] <= cut)) for n, s in group.items())
    return wire.Section(view, cut, sources, tuple(n for n, s in group.items() if s.manager))


_UPHEAVAL = ("congestion", "loss", "cut-one-way", "partition", "crash", "stop")
_MERGES = ("partition", "heal", "loss", "flood", "crash")

MUTANTS: tuple[GroupMutant, ...] = (
    GroupMutant(
        "no-freeze", "a member goes on delivering after it has told its state", Conversation, "freeze", _no_freeze
    ),
    GroupMutant(
        "no-fill",
        "a view is begun without the messages up to the cut",
        Conversation,
        "prepare",
        _no_fill(Conversation.prepare),
    ),
    GroupMutant(
        "own-ack-frees",
        "messages are freed as soon as this node has them",
        OrderLog,
        "free",
        _free_on_own_ack,
        kinds=_MERGES,
    ),
    GroupMutant(
        "lower-round",
        "a proposal below the promised round is answered",
        ViewChanges,
        "on_propose",
        _accept_lower_round,
        kinds=_UPHEAVAL,
    ),
    GroupMutant(
        "no-mark-merge",
        "high-water marks are not merged",
        conclusion,
        "merge_marks",
        _no_mark_merge,
        kinds=_UPHEAVAL,
    ),
    GroupMutant(
        "stale-install",
        "a view of a round not promised is installed",
        ViewChanges,
        "on_install",
        _install_any_round,
        kinds=_UPHEAVAL,
    ),
    GroupMutant("lowest-cut", "the cut is what all have, not what any has", conclusion, "cut_of", _cut_is_lowest),
    GroupMutant("over-gaps", "a gap in the order is skipped", OrderLog, "add", _deliver_over_gaps),
    GroupMutant(
        "fastest-stable",
        "the fastest member's acknowledgement counts as all",
        Sequencer,
        "acknowledge",
        _stable_by_fastest,
    ),
    GroupMutant(
        "stream-order", "a sender's blocks are numbered as they come", Sequencer, "submit", _unordered_submissions
    ),
    GroupMutant(
        "resend-marked",
        "submissions that others may have delivered are sent again",
        SubmissionQueue,
        "begin_view",
        _resend_all(SubmissionQueue.begin_view),
        kinds=_UPHEAVAL,
    ),
    GroupMutant(
        "forget-sent",
        "submissions under way are forgotten at a view change",
        SubmissionQueue,
        "begin_view",
        _forget_unsent(SubmissionQueue.begin_view),
        kinds=_UPHEAVAL,
    ),
    GroupMutant(
        "pause-accuses",
        "a node that was paused acts as if others had been silent",
        ViewChanges,
        "on_stall",
        _no_pause_rule,
        kinds=("pause", "crash"),
    ),
    GroupMutant(
        "one-way",
        "hearing somebody one way is enough to be in a view with it",
        ViewChanges,
        "_unheard",
        _never_unheard,
        ((neighbourhood, "wanted_members", _wanted_one_way),),
    ),
    GroupMutant(
        "admit-replayed",
        "an incarnation is admitted without a challenge",
        Gatekeeper,
        "opened",
        _all_admitted(Gatekeeper.opened),
    ),
    GroupMutant("counter-lost", "view counters are not stored", ViewChanges, "_reserve_counter", _no_counter),
    GroupMutant(
        "restarted-together",
        "a restarted manager counts as come along",
        conclusion,
        "_section",
        _everyone_transitional,
        kinds=("partition", "manager-kill", "crash"),
    ),
)


def hunt(mutant: GroupMutant, seeds: range = range(60)) -> GroupRun | None:
    """The first run that shows the planted bug, or None. A mutant with `kinds` is hunted with these faults, which make it
    show sooner; the others with whatever a seed draws."""
    with mutant.planted():
        for seed in seeds:
            for nodes in (6,) if mutant.kinds else (8, 3, 5, 2):
                run = run_group(seed, nodes, kinds=mutant.kinds)
                if run.violation is not None:
                    return run
    return None
