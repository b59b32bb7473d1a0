"""Actions and the relations between them, as the later stages of the pipeline build and prune them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .operations import OperationSettings, operation_settings
from .working_set import Kind, Node, OnFail, QuorumPolicy, Requires, Resource, Role, WorkingSet

# action flags
PSEUDO: Final = 1
RUNNABLE: Final = 2
OPTIONAL: Final = 4
ALWAYS_IN_GRAPH: Final = 8
MIGRATABLE: Final = 0x10
MIGRATION_ABORT: Final = 0x20
MIN_RUNNABLE: Final = 0x40
HAS_DOWNED: Final = 0x80
ON_DC: Final = 0x100
RESCHEDULE: Final = 0x200
ATTRS_EVALUATED: Final = 0x400
DEDUPED: Final = 0x800
ADDED: Final = 0x1000
DETECT_LOOP: Final = 0x2000
GUEST_PROBE: Final = 0x4000

# relations between two actions
ORDERED: Final = 1
FIRST_IMPLIES_THEN: Final = 2
THEN_IMPLIES_FIRST: Final = 4
PROMOTED_THEN_IMPLIES_FIRST: Final = 8
UNRUNNABLE_FIRST_BLOCKS: Final = 0x10
NESTED_REMOTE_PROBE: Final = 0x20
FIRST_IMPLIES_SAME_NODE_THEN: Final = 0x40
FIRST_IMPLIES_THEN_GRAPHED: Final = 0x80
THEN_IMPLIES_FIRST_GRAPHED: Final = 0x100
ASYMMETRIC: Final = 0x200
IF_ON_SAME_NODE: Final = 0x400
IF_ON_SAME_NODE_OR_TARGET: Final = 0x800
IF_REQUIRED_ON_SAME_NODE: Final = 0x1000
GUEST_ALLOWED: Final = 0x2000
INTERMEDIATE_STOP: Final = 0x4000
UNMIGRATABLE_THEN_BLOCKS: Final = 0x8000
MIN_RUNNABLE_FIRST: Final = 0x10000
THEN_CANCELS_FIRST: Final = 0x20000
SERIALIZE: Final = 0x40000
IF_FIRST_UNMIGRATABLE: Final = 0x80000

COMPLETION: Final = {"start": "running", "stop": "stopped", "promote": "promoted", "demote": "demoted"}


@dataclass(slots=True, eq=False)
class Relation:
    action: Action
    flags: int
    graphed: bool = False


@dataclass(slots=True, eq=False)
class Action:
    id: int
    task: str
    key: str
    rsc: Resource | None
    node: Node | None
    flags: int = RUNNABLE
    settings: OperationSettings | None = None
    meta: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)  # parameters of the cluster's own
    before: list[Relation] = field(default_factory=list)
    after: list[Relation] = field(default_factory=list)
    related: dict[tuple[int, int], int] = field(default_factory=dict)
    reason: str | None = None
    cancel_task: str | None = None
    runnable_before: int = 0
    required_runnable_before: int = 0
    seen: int = 0
    requires: Requires = Requires.NOTHING
    priority: int = 0
    pre_notify: Action | None = None
    pre_notified: Action | None = None
    post_notify: Action | None = None
    post_notified: Action | None = None
    synapse_priority: int = 0
    load_node: Node | None = None  # the node whose room a gate stands for

    @property
    def optional(self) -> bool:
        return bool(self.flags & OPTIONAL)

    @property
    def runnable(self) -> bool:
        return bool(self.flags & RUNNABLE)

    @property
    def pseudo(self) -> bool:
        return bool(self.flags & PSEUDO)

    def require(self, reason: str | None = None) -> None:
        self.flags &= ~OPTIONAL
        if reason is not None and self.reason is None:
            self.reason = reason

    def block(self, reason: str | None = None) -> None:
        self.flags &= ~RUNNABLE
        if reason is not None and self.reason is None:
            self.reason = reason

    def __repr__(self) -> str:
        return f"<{self.key} on {self.node.name if self.node else '-'} {self.flags:x}>"


def op_key(rsc_id: str, task: str, interval_ms: int = 0) -> str:
    return f"{rsc_id}_{task}_{interval_ms}"


def notify_key(rsc_id: str, kind: str, task: str) -> str:
    return f"{rsc_id}_{kind}_notify_{task}_0"


def split_key(key: str) -> tuple[str, str, int]:
    """(resource id, task, interval) of an operation key."""
    head, _, interval = key.rpartition("_")
    for marker in ("_confirmed-pre_notify_", "_confirmed-post_notify_", "_pre_notify_", "_post_notify_"):
        at = head.rfind(marker)
        if at > 0:
            return head[:at], head[at + 1:], int(interval)
    for task in ("migrate_to", "migrate_from"):
        if head.endswith("_" + task):
            return head[: -len(task) - 1], task, int(interval)
    rsc, _, task = head.rpartition("_")
    return rsc, task, int(interval) if interval.isdigit() else 0


def find_action(rsc: Resource, key: str | None, task: str | None, node: Node | None) -> Action | None:
    """The newest action of `rsc` with that key or task, on that node when one is given."""
    if key is not None:
        candidates: list[Action] = rsc.action_by_key.get(key, [])
    else:
        candidates = rsc.actions
    for action in reversed(candidates):
        if task is not None and action.task != task:
            continue
        if node is None or action.node is None or action.node is node:
            return action
    return None


def find_actions(rsc: Resource, key: str, node: Node | None = None) -> list[Action]:
    """Newest first; an action without a node takes the asked one."""
    found = rsc.action_by_key.get(key)
    if not found:
        return []
    if node is None:
        return found[::-1]
    result = []
    for action in reversed(found):
        if action.node is None:
            action.node = node
            result.append(action)
        elif action.node is node:
            result.append(action)
    return result


def new_action(
    ws: WorkingSet, rsc: Resource | None, key: str, task: str, node: Node | None, optional: bool,
) -> Action:
    """The action with that key on that node: an existing one is updated, else it is made."""
    action: Action | None = None
    candidates = (ws if rsc is None else rsc).action_by_key.get(key)
    if candidates:
        if node is None:
            action = candidates[-1]
        else:
            for candidate in reversed(candidates):
                if candidate.node is None and not candidate.flags & PSEUDO:
                    candidate.node = node
                if candidate.node is node:
                    action = candidate
                    break
    if action is None:
        action = Action(ws.next_action_id, task, key, rsc, node)
        ws.next_action_id += 1
        if optional:
            action.flags |= OPTIONAL
        ws.actions.append(action)
        if rsc is not None:
            rsc.actions.append(action)
            rsc.action_by_key.setdefault(key, []).append(action)
            action.settings = operation_settings(ws, rsc, node, task, int(key.rpartition("_")[2]))
            action.meta = dict(action.settings.meta)
            if action.settings.extra:
                action.extra = dict(action.settings.extra)
        else:
            ws.action_by_key.setdefault(key, []).append(action)
    if not optional:
        action.flags &= ~OPTIONAL
    if rsc is not None:
        _update_runnable(ws, action, rsc)
    return action


def pseudo_action(ws: WorkingSet, rsc: Resource, task: str, optional: bool, runnable: bool) -> Action:
    action = new_action(ws, rsc, op_key(rsc.id, task), task, None, optional)
    action.flags |= PSEUDO
    if runnable:
        action.flags |= RUNNABLE
    return action


def required_rights(ws: WorkingSet, rsc: Resource, task: str, settings: OperationSettings | None) -> Requires:
    """What an action needs of the cluster."""
    if task not in ("start", "promote"):
        return Requires.NOTHING
    return rsc.requires


def _update_runnable(ws: WorkingSet, action: Action, rsc: Resource) -> None:
    """Whether node and cluster allow a resource's action."""
    if action.flags & PSEUDO:
        return
    node = action.node
    if node is None:
        action.flags &= ~RUNNABLE
        return
    if not (action.flags & ON_DC) and not node.online and (not node.is_guest or node.remote_requires_reset):
        action.flags &= ~RUNNABLE
        if rsc.managed and action.task == "stop" and not node.unclean:
            from .status import fence_node

            fence_node(ws, node, "resource actions are unrunnable")
        return
    if not (action.flags & ON_DC) and node.pending:
        action.flags &= ~RUNNABLE
        return
    if required_rights(ws, rsc, action.task, action.settings) is Requires.NOTHING:
        from .history import can_fence

        if node.is_guest and not can_fence(ws, node):
            action.flags &= ~RUNNABLE
        else:
            action.flags |= RUNNABLE
        return
    policy = effective_quorum_policy(ws, rsc)
    if policy is QuorumPolicy.STOP:
        action.flags &= ~RUNNABLE
        action.reason = "no quorum"
    elif policy is QuorumPolicy.FREEZE and (not is_active_now(rsc) or rsc.next_role > rsc.role):
        action.flags &= ~RUNNABLE
        action.reason = "quorum freeze"
    else:
        action.flags |= RUNNABLE


def effective_quorum_policy(ws: WorkingSet, rsc: Resource) -> QuorumPolicy:
    """What no-quorum-policy means for one resource now."""
    if ws.has_quorum:
        return QuorumPolicy.IGNORE
    if ws.quorum_policy is QuorumPolicy.DEMOTE:
        if rsc.role in (Role.PROMOTED, Role.UNPROMOTED):
            if rsc.next_role > Role.UNPROMOTED:
                rsc.next_role = Role.UNPROMOTED
                rsc.next_role_reason = "no-quorum-policy=demote"
            return QuorumPolicy.IGNORE
        return QuorumPolicy.STOP
    return ws.quorum_policy


def is_active_now(rsc: Resource) -> bool:
    """Active somewhere that counts: an unclean node's copy counts when fencing must come first."""
    if rsc.kind is not Kind.PRIMITIVE:
        return any(is_active_now(child) for child in rsc.children)
    for node in rsc.running_on:
        if node.unclean:
            return True
        if not node.online and rsc.managed:
            continue
        return True
    return False


def order(first: Action | None, then: Action | None, flags: int) -> bool:
    """`first` before `then`. Returns whether this is a new relation."""
    if first is None or then is None or flags == 0 or first is then:
        return False
    if (then.id, flags) in first.related:
        return False
    for relation in then.before:
        if relation.action is first and relation.flags & flags == flags:
            return False
    first.related[(then.id, flags)] = 1
    relation = Relation(then, flags)
    first.after.append(relation)
    then.before.append(Relation(first, flags))
    return True


# ---- the common ones --------------------------------------------------------------------------------------------


def start_action(ws: WorkingSet, rsc: Resource, node: Node | None, optional: bool = False) -> Action:
    return new_action(ws, rsc, op_key(rsc.id, "start"), "start", node, optional)


def stop_action(ws: WorkingSet, rsc: Resource, node: Node | None, optional: bool = False) -> Action:
    return new_action(ws, rsc, op_key(rsc.id, "stop"), "stop", node, optional)


def promote_action(ws: WorkingSet, rsc: Resource, node: Node | None, optional: bool = False) -> Action:
    return new_action(ws, rsc, op_key(rsc.id, "promote"), "promote", node, optional)


def demote_action(ws: WorkingSet, rsc: Resource, node: Node | None, optional: bool = False) -> Action:
    return new_action(ws, rsc, op_key(rsc.id, "demote"), "demote", node, optional)


def delete_action(ws: WorkingSet, rsc: Resource, node: Node, optional: bool = False) -> Action:
    return new_action(ws, rsc, op_key(rsc.id, "delete"), "delete", node, optional)


def on_fail_of(action: Action) -> OnFail:
    return action.settings.on_fail if action.settings is not None else OnFail.RESTART
