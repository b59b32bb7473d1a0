"""How one entry changes the replicated state. Deterministic: the same state and entry give the same state everywhere.

Decided here: the outcome of each entry, including refusals. Not decided here: when an entry is committed
(`machine`), what
is done because of it (controller, executor, fencing). Nothing here may raise for bad content of an entry: a refusal
is an
outcome like any other, because every member must come to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from quorate.core.arbitration.conditions import Presence, is_present, settled_by
from quorate.model import entries
from quorate.model.cib import CibVersion, Operation, status
from quorate.model.cib import apply as apply_operation
from quorate.model.cib.operations import expand_score
from quorate.model.entries import Position

from .state import FenceState, ReplicatedState

OK, NO_SUCH, BAD_CONFIGURATION, QUORUM, UNSAFE = 0, 105, 78, 106, 107
ORIGIN = "quorate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """`rc`: Pacemaker exit code. `config`: the configuration changed, so the entry belongs in the journal. `void`:
    the entry
    had no place here and its submitter must derive it anew."""

    rc: int = OK
    message: str = ""
    config: bool = False
    void: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What applying depends on beside the state: equal on all members of the view."""

    feature_set: str
    lineage_reached: bool


def apply_entry(state: ReplicatedState, entry: entries.Entry, rules: Rules) -> Applied:
    """Change the state by one entry that took its place in the order."""
    match entry:
        case entries.Change():
            return _change(state, entry, rules)
        case entries.AttributeUpdate():
            return _attribute(state, entry)
        case entries.ActionRequest():
            return _action(state, entry)
        case entries.ActionCancel():
            return Applied()
        case entries.ActionResult():
            return _result(state, entry, rules)
        case entries.HistoryCleared():
            _status(state, status.clear_history(state.cib, entry))
            state.remember_fate(entry.request, OK, "")
            return Applied()
        case entries.FenceRequest():
            return _fence(state, entry)
        case entries.FenceResult():
            return _fenced(state, entry)
        case entries.ManagerLapsed():
            return _manager_lapsed(state, entry)
        case entries.PeerLapsed():
            return _peer_lapsed(state, entry)
        case entries.ShutdownAsked():
            _status(state, status.set_attribute(state.cib, entry.node, "shutdown", str(entry.at)))
            return Applied()
        case entries.ShutdownDone():
            return _shutdown_done(state, entry)
        case entries.NodeRemoved():
            return _node_removed(state, entry)
        case entries.Noted():
            state.remember_fate(entry.request, entry.rc, entry.message)
            return Applied(rc=entry.rc, message=entry.message)
        case _:
            assert_never(entry)


def bump_status(state: ReplicatedState) -> None:
    version = state.cib.version
    state.cib.version = CibVersion(version.admin_epoch, version.epoch, version.num_updates + 1)


def _status(state: ReplicatedState, changed: bool) -> None:
    if changed:
        bump_status(state)


# ---- configuration ------------------------------------------------------------------------------------------------


def operation_of(change: entries.Change) -> Operation:
    """The CIB operation of an entry: the same when it is applied and when the journal is read again."""
    return Operation(
        kind=change.kind,
        section=change.section,
        xpath=change.xpath,
        xml=change.xml,
        allow_create=change.allow_create,
        force=change.forced,
        user=change.user,
        written=_stamp(change.at),
        origin=change.origin,
        client=change.client,
    )


def _change(state: ReplicatedState, entry: entries.Change, rules: Rules) -> Applied:
    known = state.fates.get(entry.request) if entry.request else None
    if known is not None:  # the same request came twice: its first outcome stands
        return Applied(rc=known[0], message=known[1])
    if entry.section != "status" and not entry.forced and not rules.lineage_reached:
        return Applied(void=True, message="the epoch is not durable on a majority yet")
    outcome = apply_operation(state.cib, operation_of(entry), with_patch=False)
    if outcome.rc == OK and outcome.config_changed:
        state.position = Position(state.position.lineage, state.position.index + 1)
        if entry.forced and not rules.lineage_reached:
            state.forked = f"{entry.origin} by {entry.user or entry.client} at {_stamp(entry.at)}"
    state.remember_fate(entry.request, outcome.rc, outcome.message)
    return Applied(rc=outcome.rc, message=outcome.message, config=outcome.rc == OK and outcome.config_changed)


_DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _stamp(wall: int) -> str:
    """Wall seconds as ctime() in UTC (every replica must write the same text, wherever it stands)."""
    days, seconds = divmod(wall, 86_400)
    # civil from days, H. Hinnant's algorithm
    shifted = days + 719_468
    era, doe = divmod(shifted, 146_097)
    yoe = (doe - doe // 1_460 + doe // 36_524 - doe // 146_096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    day = doy - (153 * mp + 2) // 5 + 1
    month = mp + 3 if mp < 10 else mp - 9
    year = yoe + era * 400 + (1 if month <= 2 else 0)
    clock = f"{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
    return f"{_DAYS[days % 7]} {_MONTHS[month - 1]} {day:2} {clock} {year}"


# ---- attributes -----------------------------------------------------------------------------------------------------


def _attribute(state: ReplicatedState, entry: entries.AttributeUpdate) -> Applied:
    cib = state.cib
    known = state.fates.get(entry.request) if entry.request else None
    if known is not None:  # the same request came twice: a step counts once
        return Applied(rc=known[0], message=known[1])
    if entry.pattern:
        changed = status.delete_attributes(cib, entry.node, entry.name)
    elif entry.value is None:
        changed = status.set_attribute(cib, entry.node, entry.name, None, entry.set_type, entry.set_id)
    else:
        current = status.get_attribute(cib, entry.node, entry.name, entry.set_type)
        value = expand_score(current, entry.name, entry.value)
        if value.startswith(("++", "+=")):  # attrd's own short form
            value = expand_score(current, entry.name, entry.name + value)
        changed = status.set_attribute(cib, entry.node, entry.name, value, entry.set_type, entry.set_id)
    _status(state, changed)
    state.remember_fate(entry.request, OK, "")
    return Applied()


# ---- actions -------------------------------------------------------------------------------------


def _action(state: ReplicatedState, entry: entries.ActionRequest) -> Applied:
    if not is_present(state.presence(entry.executor)):
        return Applied(void=True, message=f"{entry.executor} is not a member")
    state.pending[entry.key] = entry
    _status(state, status.record_pending(state.cib, entry))
    return Applied()


def _result(state: ReplicatedState, entry: entries.ActionResult, rules: Rules) -> Applied:
    state.pending.pop(entry.key, None)
    changed = status.record_result(state.cib, entry, rules.feature_set)
    if changed:  # the same result once more must not count twice
        status.count_failure(state.cib, entry)
    _status(state, changed)
    return Applied()


def drop_requests(state: ReplicatedState, executor: str, keep: Sequence[str]) -> None:
    """Requests that their executor does not know were never committed there: void, to be derived anew."""
    nodes = {executor}
    for request in sorted(state.pending.values(), key=lambda request: request.key):
        if request.executor == executor and request.key not in keep:
            nodes.add(request.node)
            del state.pending[request.key]
    for node in sorted(nodes):
        running = [key for key, request in state.pending.items() if request.node == node]
        _status(state, status.void_pending(state.cib, node, running))


# ---- fencing and presence ------------------------------------------------------------------------


def _fence(state: ReplicatedState, entry: entries.FenceRequest) -> Applied:
    if entry.id in state.fences:
        return Applied(void=True, message="the same request again")
    record = state.nodes.get(entry.target)
    if record is not None and record.boot_id not in ("", entry.boot_id) and entry.action != "on":
        return Applied(void=True, message=f"{entry.target} has booted since")
    state.fences[entry.id] = FenceState(request=entry)
    state.trim_fences()
    return Applied()


def _fenced(state: ReplicatedState, entry: entries.FenceResult) -> Applied:
    fence = state.fences.get(entry.id)
    if fence is None and not entry.by_hand:
        return Applied(void=True, message="no such request")
    if fence is not None and fence.result is not None:
        return Applied(message="settled before")
    presence = state.presence(entry.target)
    if entry.by_hand and entry.confirmed and is_present(presence) and presence is not Presence.GRACED:
        # it came back while the word was on its way: what it runs is not free
        return Applied(rc=UNSAFE, message=f"{entry.target} is a member again and alive; nothing was changed")
    if fence is None:  # the operator's word without a request: kept in the history as one
        fence = FenceState(
            request=entries.FenceRequest(
                id=entry.id,
                target=entry.target,
                boot_id=entry.boot_id,
                action=entry.action,
                origin=entry.executor,
                client="manual",
                executor=entry.executor,
                devices=(),
                timeout_ms=0,
                delay_ms=0,
                cause="confirmed by the operator",
                at=entry.at,
            )
        )
        state.fences[entry.id] = fence
    fence.result = entry
    state.trim_fences()
    if entry.confirmed and not entry.void and entry.action != "on":
        record = state.record(entry.target)
        if record.boot_id not in ("", entry.boot_id):
            return Applied(message=f"{entry.target} has booted since; this says nothing of it now")
        settle(state, entry.target, Presence.DOWN)
        if entry.by_hand:  # what is owed for this node is settled by the operator's word
            for other in state.fences.values():
                if other.is_open and other.request.target == entry.target and other.request.action != "on":
                    other.result = entry
    return Applied()


def settle(state: ReplicatedState, name: str, presence: Presence) -> None:
    """A node is certainly without its resources: forget its history and attributes, close what it was doing."""
    record = state.record(name)
    record.presence = presence
    record.leaving = False
    for request in [r for r in state.pending.values() if name in (r.executor, r.node)]:
        state.pending.pop(request.key)
    status.erase_node(state.cib, name)
    write_node_state(state, name)
    bump_status(state)


def _manager_lapsed(state: ReplicatedState, entry: entries.ManagerLapsed) -> Applied:
    record = state.nodes.get(entry.node)
    if record is None or record.presence is not Presence.GRACED or record.incarnation != entry.incarnation:
        return Applied(void=True, message=f"{entry.node} is not in its grace")
    record.presence = Presence.LOST
    write_node_state(state, entry.node)
    bump_status(state)
    return Applied()


def _peer_lapsed(state: ReplicatedState, entry: entries.PeerLapsed) -> Applied:
    record = state.nodes.get(entry.node)
    if record is None or record.presence not in (Presence.LOST, Presence.UNSEEN) or record.boot_id != entry.boot_id:
        return Applied(void=True, message=f"{entry.node} is not absent any more")
    settle(state, entry.node, Presence.LAPSED)
    return Applied()


def _shutdown_done(state: ReplicatedState, entry: entries.ShutdownDone) -> Applied:
    record = state.nodes.get(entry.node)
    if record is None or not is_present(record.presence):
        return Applied(void=True, message=f"{entry.node} is not here")
    record.leaving = True
    write_node_state(state, entry.node)
    bump_status(state)
    return Applied()


def _node_removed(state: ReplicatedState, entry: entries.NodeRemoved) -> Applied:
    record = state.nodes.get(entry.node)
    if record is not None and is_present(record.presence):
        message = f"{entry.node} is a member; stop it first"
        state.remember_fate(entry.request, UNSAFE, message)
        return Applied(rc=UNSAFE, message=message)
    if record is not None and settled_by(record.presence) is None and record.presence is not Presence.UNSEEN:
        message = f"{entry.node} was lost and not fenced; fence it or confirm it is off (stonith_admin --confirm) first"
        state.remember_fate(entry.request, UNSAFE, message)
        return Applied(rc=UNSAFE, message=message)
    _status(state, status.remove_node_state(state.cib, entry.node))
    state.nodes.pop(entry.node, None)
    state.remember_fate(entry.request, OK, "")
    return Applied()


_NODE_STATES: dict[Presence, tuple[bool, str, str, str]] = {
    # in_ccm, crmd, join, expected
    Presence.JOINING: (True, "online", "pending", "member"),
    Presence.ONLINE: (True, "online", "member", "member"),
    Presence.GRACED: (True, "online", "member", "member"),
    Presence.LOST: (False, "offline", "down", "member"),
    Presence.DOWN: (False, "offline", "down", "down"),
    Presence.LEFT: (False, "offline", "down", "down"),
    Presence.LAPSED: (False, "offline", "down", "down"),
}


def write_node_state(state: ReplicatedState, name: str) -> None:
    """The node_state element of one node, by its presence. Nodes that were never seen have none (start-up fencing)."""
    record = state.record(name)
    row = _NODE_STATES.get(record.presence)
    if row is None:
        return
    in_ccm, crmd, join, expected = row
    if record.leaving and record.presence in (Presence.ONLINE, Presence.GRACED):
        expected = "down"
    status.set_node_state(
        state.cib, name, str(record.id), in_ccm=in_ccm, crmd=crmd, join=join, expected=expected, origin=ORIGIN
    )
