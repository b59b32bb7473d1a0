"""The starting state of a view: what the hellos change in the source's state. Equal on every member.

Decided here: the presence of every node, whose history is kept, replaced or erased, which undelivered or unexecuted
requests are void (rules of the log 4, 5, 6, 8). Runs after the snapshot, before the first entry of the view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quorate.core.arbitration.conditions import Presence
from quorate.model import entries
from quorate.model.cib import status
from quorate.model.entries import Hello
from quorate.model.group import View

from .apply import bump_status, drop_requests, settle, write_node_state
from .plan import Plan
from .state import ReplicatedState


def establish(
    state: ReplicatedState, plan: Plan, view: View, hellos: Mapping[str, Hello], known: Sequence[tuple[str, int]]
) -> None:
    """`known`: name and id of every configured node."""
    for name, node_id in known:
        state.record(name).id = node_id
    for name in sorted(hellos):
        _welcome(state, plan, hellos[name])
    for name in sorted(state.nodes):
        if name not in hellos:
            _miss(state, name, view)
    bump_status(state)


def _welcome(state: ReplicatedState, plan: Plan, hello: Hello) -> None:
    """A member that said hello: its boot, its history, its unexecuted requests."""
    record = state.record(hello.node)
    rebooted = record.boot_id not in ("", hello.boot_id)
    restarted = record.incarnation not in (0, hello.incarnation)
    if rebooted or restarted or hello.node in plan.fresh:
        status.erase_node(state.cib, hello.node)
        drop_requests(state, hello.node, keep=())
    elif hello.node in plan.own_history and hello.status is not None:
        status.replace_node_state(state.cib, hello.status)
        drop_requests(state, hello.node, keep=hello.running)
    else:
        drop_requests(state, hello.node, keep=hello.running)
    _settle_fences(state, hello, rebooted=rebooted)
    record.id = hello.node_id
    record.boot_id = hello.boot_id
    record.incarnation = hello.incarnation
    record.feature_set = hello.feature_set
    record.leaving = False
    record.presence = Presence.JOINING
    write_node_state(state, hello.node)


def _settle_fences(state: ReplicatedState, hello: Hello, *, rebooted: bool) -> None:
    """A newer boot id settles what was owed for this node; a request its executor does not run is void."""
    for fence in state.fences.values():
        if not fence.is_open:
            continue
        request = fence.request
        cause = ""
        if request.target == hello.node and request.action != "on" and request.boot_id != hello.boot_id:
            cause = "the target has booted since"
        elif request.executor == hello.node and f"fence:{request.id}" not in hello.running:
            cause = "never begun: it was not committed before the view changed"
        if cause:
            fence.result = entries.FenceResult(
                id=request.id,
                target=request.target,
                boot_id=request.boot_id,
                action=request.action,
                executor=request.executor,
                device="",
                confirmed=False,
                void=True,
                reason=cause,
                at=request.at,
            )


def _miss(state: ReplicatedState, name: str, view: View) -> None:
    """A known node that is not a member of this view."""
    record = state.nodes[name]
    if record.presence not in (Presence.ONLINE, Presence.JOINING, Presence.GRACED):
        return
    if record.leaving:
        settle(state, name, Presence.LEFT)
        return
    presence = Presence.GRACED if record.id in view.nodes else Presence.LOST
    if presence is record.presence:
        return
    record.presence = presence
    write_node_state(state, name)
