"""Whether this node may begin an action now: asked again at the moment of execution.

What ends or watches is always allowed. What brings a resource to life here needs the right to take over; or the right
to keep, when the resource has been here since this node last had the right to take over, so that nobody else can have
it (a restart in place under no-quorum-policy=freeze, or while a lost node is still to be fenced). A fence device is
needed to get that far, so it asks for less.
"""

from __future__ import annotations

from quorate.core.events import Situation

STARTING = frozenset({"start", "migrate_from"})
GRANTING = STARTING | {"promote"}


class Holdings:
    """What this node has had, without a break, since it last had the right to take over."""

    def __init__(self) -> None:
        self.situation: Situation | None = None
        self._held: dict[tuple[str, str], None] = {}
        self._promoted: dict[tuple[str, str], None] = {}

    def situation_changed(self, situation: Situation, active: dict[tuple[str, str], bool]) -> None:
        """`active`: what is active here now, and whether it is promoted."""
        self.situation = situation
        if self._may_take_over():
            self._held = dict.fromkeys(active)
            self._promoted = {name: None for name, promoted in active.items() if promoted}

    def became_active(self, name: tuple[str, str], promoted: bool) -> None:
        self._held[name] = None
        if promoted:
            self._promoted[name] = None

    def ended(self, name: tuple[str, str], *, demoted_only: bool = False, moved: bool = False) -> None:
        if moved or self._may_take_over():
            self._promoted.pop(name, None)
            if not demoted_only:
                self._held.pop(name, None)

    def refusal(self, operation: str, agent_class: str, name: tuple[str, str]) -> str:
        """Why this may not begin now; empty when it may."""
        if operation not in GRANTING or self._may_take_over():
            return ""
        if self.situation is None:
            return "this node is in no cluster yet"
        rights = self.situation.rights
        if agent_class == "stonith" and (rights.fence or rights.keep):
            return ""
        if rights.keep and name in (self._promoted if operation == "promote" else self._held):
            return ""
        why = dict(rights.why)
        return "no right to take over: " + (why.get("take-over") or why.get("all") or "unknown")

    def _may_take_over(self) -> bool:
        return self.situation is not None and self.situation.rights.take_over
