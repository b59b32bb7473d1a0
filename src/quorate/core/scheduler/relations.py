"""From orderings to relations between actions, and what required or unrunnable actions do to their neighbours.

Flags only ever lose (optional, runnable) or are counted anew (actions that need a minimum of runnable predecessors), so
the work list ends.
"""

from __future__ import annotations

from collections import deque

from .actions import (
    ALWAYS_IN_GRAPH,
    ASYMMETRIC,
    FIRST_IMPLIES_SAME_NODE_THEN,
    FIRST_IMPLIES_THEN,
    FIRST_IMPLIES_THEN_GRAPHED,
    IF_FIRST_UNMIGRATABLE,
    IF_ON_SAME_NODE,
    INTERMEDIATE_STOP,
    MIGRATABLE,
    MIGRATION_ABORT,
    MIN_RUNNABLE,
    MIN_RUNNABLE_FIRST,
    NESTED_REMOTE_PROBE,
    OPTIONAL,
    ORDERED,
    PROMOTED_THEN_IMPLIES_FIRST,
    PSEUDO,
    RUNNABLE,
    THEN_CANCELS_FIRST,
    THEN_IMPLIES_FIRST,
    THEN_IMPLIES_FIRST_GRAPHED,
    UNMIGRATABLE_THEN_BLOCKS,
    UNRUNNABLE_FIRST_BLOCKS,
    Action,
    Relation,
    find_action,
    find_actions,
    new_action,
    op_key,
    order,
    split_key,
)
from .ordering_constraints import Ordering
from .variants import action_flags, assigned_nodes
from .working_set import Kind, Node, Resource, Role, WorkingSet

FIRST_CHANGED, THEN_CHANGED = 1, 2


def apply_orderings(ws: WorkingSet) -> None:
    from .probes import order_probes

    for ordering in ws.orderings:
        _expand(ws, ordering)
    for action in ws.actions[::-1]:
        block_colocation_dependents(ws, action)
    order_probes(ws)
    updater = _Updater(ws)
    updater.run(ws.actions[::-1])


def completion_key(key: str, rsc: Resource) -> str:
    """For a collective, the action that says all of it is done."""
    if rsc.kind is Kind.PRIMITIVE or "notify" in key:
        return key
    _, task, interval = split_key(key)
    if interval:
        return key
    remapped = {"start": "running", "stop": "stopped", "promote": "promoted", "demote": "demoted"}.get(task)
    if remapped is None:
        if task not in ("running", "stopped", "promoted", "demoted"):
            return key
        remapped = task
    if rsc.notify and (rsc.kind is Kind.CLONE or rsc.top_with_bundle.kind is Kind.BUNDLE):
        return f"{rsc.id}_confirmed-post_notify_{remapped}_0"
    return op_key(rsc.id, remapped)


def _actions_by_task(rsc: Resource, key: str) -> list[Action]:
    found = find_actions(rsc, key)
    if not found:
        _, task, interval = split_key(key)
        own = op_key(rsc.id, task, interval)
        if own != key:
            found = find_actions(rsc, own)
    return found


def _current_role(rsc: Resource) -> Role:
    if rsc.kind is Kind.PRIMITIVE:
        return rsc.role
    best = Role.UNKNOWN
    for child in rsc.children:
        best = max(best, _current_role(child))
    return best


def _expand(ws: WorkingSet, ordering: Ordering) -> None:
    first_rsc = ordering.first_rsc
    if first_rsc is None:
        if ordering.then_rsc is not None:
            _after(ws, ordering.first, ordering.then_rsc, ordering)
        else:
            order(ordering.first, ordering.then, ordering.flags)
        return
    if ordering.first is not None:
        firsts = [ordering.first]
    else:
        assert ordering.first_key is not None
        firsts = _actions_by_task(first_rsc, ordering.first_key)
    if not firsts:
        if first_rsc is ordering.then_rsc:
            return
        assert ordering.first_key is not None
        _, task, interval = split_key(ordering.first_key)
        role = _current_role(first_rsc)
        if role is Role.STOPPED and task == "stop" or role is Role.UNPROMOTED and task == "demote":
            return
        firsts = [new_action(ws, first_rsc, op_key(first_rsc.id, task, interval), task, None, True)]
    for first in firsts:
        then_rsc = ordering.then_rsc
        if then_rsc is None and ordering.then is not None:
            then_rsc = ordering.then.rsc
        if then_rsc is not None:
            _after(ws, first, then_rsc, ordering)
        elif ordering.then is not None:
            order(first, ordering.then, ordering.flags)


def _after(ws: WorkingSet, first: Action | None, rsc: Resource, ordering: Ordering) -> None:
    flags = ordering.flags
    if ordering.then is not None:
        thens = [ordering.then]
    else:
        assert ordering.then_key is not None
        thens = _actions_by_task(rsc, ordering.then_key)
    if first is not None and first.rsc is rsc and first.flags & MIGRATION_ABORT:
        flags &= ~FIRST_IMPLIES_THEN
    for then in thens:
        if first is not None:
            order(first, then, flags)
        else:
            then.flags &= ~RUNNABLE


def block_colocation_dependents(ws: WorkingSet, action: Action) -> None:
    """What must be with something that cannot start (or be promoted) does not start either."""
    if action.flags & RUNNABLE or action.rsc is None or action.task not in ("start", "promote"):
        return
    rsc = action.rsc
    parent = rsc
    if rsc.kind is Kind.PRIMITIVE and rsc.parent is not None and rsc.parent.kind is Kind.GROUP:
        parent = rsc.parent
    is_start = action.task == "start"
    holder = rsc.top_with_bundle if rsc.top_with_bundle.kind is Kind.BUNDLE else rsc.top
    if holder.kind is Kind.CLONE or holder.kind is Kind.BUNDLE:
        # as long as another instance can be there, nothing is lost
        task = "start" if is_start else "promote"
        if any(_has_runnable(instance, task) for instance in holder.children) or _any_active(holder, is_start):
            return
        parent = holder
    seen: list[Resource] = [parent]
    if parent is not rsc:
        seen.append(rsc)
    for subject in seen:
        for constraint in subject.with_this:
            if constraint.score < 1_000_000:
                continue
            if is_start and constraint.primary_role not in (Role.UNKNOWN, Role.STARTED):
                continue
            if not is_start and constraint.primary_role is not Role.PROMOTED:
                continue
            dependent = constraint.dependent
            if constraint.dependent_role is Role.PROMOTED:
                _block(ws, dependent, "promote", action)
            else:
                _block(ws, dependent, "start", action)


def _has_runnable(rsc: Resource, task: str) -> bool:
    for action in rsc.actions:
        if action.task == task and action.flags & RUNNABLE:
            return True
    return any(_has_runnable(child, task) for child in rsc.children)


def _any_active(rsc: Resource, is_start: bool) -> bool:
    for child in rsc.children:
        if child.children:
            if _any_active(child, is_start):
                return True
        elif is_start and child.role >= Role.STARTED and child.next_role >= Role.STARTED:
            return True
        elif not is_start and child.role is Role.PROMOTED and child.next_role is Role.PROMOTED:
            return True
    return False


def _block(ws: WorkingSet, rsc: Resource, task: str, cause: Action) -> None:
    if rsc.children:
        for child in rsc.children:
            _block(ws, child, task, cause)
        return
    for action in rsc.actions:
        if action.task == task and action.flags & RUNNABLE and not action.flags & OPTIONAL:
            action.flags &= ~RUNNABLE
            block_colocation_dependents(ws, action)


class _Updater:
    """Works off actions whose relations may change something, until nothing does."""

    def __init__(self, ws: WorkingSet) -> None:
        self.ws = ws
        self.queue: deque[Action] = deque()
        self.queued: set[int] = set()

    def push(self, action: Action) -> None:
        if action.id not in self.queued:
            self.queued.add(action.id)
            self.queue.append(action)

    def run(self, actions: list[Action]) -> None:
        for action in actions:
            self.push(action)
        budget = 200 * (len(actions) + 100)
        while self.queue and budget:
            action = self.queue.popleft()
            self.queued.discard(action.id)
            self.update(action)
            budget -= 1

    def update(self, then: Action) -> None:
        changed = 0
        last = then.flags
        minimum = bool(then.flags & MIN_RUNNABLE)
        if minimum:
            then.runnable_before = 0
            if then.required_runnable_before == 0:
                then.required_runnable_before = 1
            then.flags &= ~RUNNABLE
        for relation in list(then.before):
            changed |= self._relation(then, relation)
        if minimum:
            if last == then.flags:
                changed &= ~THEN_CHANGED
            else:
                changed |= THEN_CHANGED
        if changed & THEN_CHANGED:
            if last & RUNNABLE and not then.flags & RUNNABLE:
                block_colocation_dependents(self.ws, then)
            self.push(then)
            for after in then.after:
                self.push(after.action)

    def _relation(self, then: Action, relation: Relation) -> int:
        first = relation.action
        first_node, then_node = first.node, then.node
        if first.rsc is not None and first.rsc.kind is Kind.GROUP and first.task == "start":
            places = assigned_nodes(first.rsc)
            first_node = places[0] if places else None
        if then.rsc is not None and then.rsc.kind is Kind.GROUP and then.task == "start":
            places = assigned_nodes(then.rsc)
            then_node = places[0] if places else None
        if relation.flags & IF_ON_SAME_NODE and first_node is not None and then_node is not None and (
            first_node is not then_node
        ):
            relation.flags = 0
            return 0
        if not relation.flags:
            return 0
        if first.rsc is not None and relation.flags & THEN_CANCELS_FIRST and not then.flags & OPTIONAL:
            first.flags |= OPTIONAL
            if first.task in ("reload", "reload-agent"):
                first.rsc.reload = False
        original = first
        if first.rsc is not None and then.rsc is not None and first.rsc is not then.rsc and (
            not _is_parent(then.rsc, first.rsc)
        ) and first.rsc.kind is not Kind.PRIMITIVE:
            expanded = find_action(first.rsc, completion_key(first.key, first.rsc), None, None)
            if expanded is not None:
                first = expanded
        first_flags = self.flags_for(first, then_node)
        then_flags = self.flags_for(then, first_node)
        changed = self._by_flags(first, then, first_flags, then_flags, relation)
        if first is not original and order(first, then, relation.flags):
            changed |= THEN_CHANGED
        if changed & FIRST_CHANGED:
            for after in first.after:
                self.push(after.action)
            self.push(first)
        return changed

    def flags_for(self, action: Action, node: Node | None) -> int:
        rsc = action.rsc
        if rsc is None or rsc.kind is Kind.PRIMITIVE:
            return action.flags
        flags = action_flags(rsc, action, None)
        if node is None or rsc.kind not in (Kind.CLONE, Kind.BUNDLE):
            return flags
        runnable = bool(flags & RUNNABLE)
        flags = action_flags(rsc, action, node)
        if runnable and not flags & RUNNABLE:
            flags |= RUNNABLE
        return flags

    def _by_flags(self, first: Action, then: Action, first_flags: int, then_flags: int, relation: Relation) -> int:
        changed = 0
        node = then.node
        flags = relation.flags
        rsc = then.rsc
        if flags & FIRST_IMPLIES_SAME_NODE_THEN:
            relation.flags &= ~FIRST_IMPLIES_SAME_NODE_THEN
            relation.flags |= FIRST_IMPLIES_THEN
            flags = relation.flags
            node = first.node
        if flags & FIRST_IMPLIES_THEN:
            if rsc is not None:
                changed |= self.apply(rsc, first, then, node, first_flags & OPTIONAL, OPTIONAL, FIRST_IMPLIES_THEN)
            elif not first_flags & OPTIONAL and then.flags & OPTIONAL:
                then.flags &= ~OPTIONAL
                changed |= THEN_CHANGED
        if flags & INTERMEDIATE_STOP and rsc is not None:
            changed |= self.apply(rsc, first, then, node, first_flags, OPTIONAL | RUNNABLE, INTERMEDIATE_STOP)
        if flags & THEN_IMPLIES_FIRST:
            if first.rsc is not None:
                changed |= self.apply(first.rsc, first, then, node, first_flags, OPTIONAL, THEN_IMPLIES_FIRST)
            elif not first_flags & OPTIONAL and first.flags & RUNNABLE and not then.flags & RUNNABLE:
                first.flags &= ~RUNNABLE
                changed |= FIRST_CHANGED
        if flags & PROMOTED_THEN_IMPLIES_FIRST and rsc is not None:
            changed |= self.apply(rsc, first, then, node, first_flags & OPTIONAL, OPTIONAL, PROMOTED_THEN_IMPLIES_FIRST)
        if flags & MIN_RUNNABLE_FIRST:
            if rsc is not None:
                changed |= self.apply(rsc, first, then, node, first_flags, RUNNABLE, MIN_RUNNABLE_FIRST)
            elif first_flags & RUNNABLE:
                then.runnable_before += 1
                if then.runnable_before >= then.required_runnable_before and not then.flags & RUNNABLE:
                    then.flags |= RUNNABLE
                    changed |= THEN_CHANGED
        if flags & NESTED_REMOTE_PROBE and rsc is not None:
            if not first_flags & RUNNABLE and first.rsc is not None and first.rsc.running_on:
                relation.flags = ORDERED
            else:
                changed |= self.apply(rsc, first, then, node, first_flags, RUNNABLE, UNRUNNABLE_FIRST_BLOCKS)
        if flags & UNRUNNABLE_FIRST_BLOCKS:
            if rsc is not None:
                changed |= self.apply(rsc, first, then, node, first_flags, RUNNABLE, UNRUNNABLE_FIRST_BLOCKS)
            elif not first_flags & RUNNABLE and then.flags & RUNNABLE:
                then.flags &= ~RUNNABLE
                changed |= THEN_CHANGED
        if flags & UNMIGRATABLE_THEN_BLOCKS and rsc is not None:
            changed |= self.apply(rsc, first, then, node, first_flags, OPTIONAL, UNMIGRATABLE_THEN_BLOCKS)
        if flags & IF_FIRST_UNMIGRATABLE and rsc is not None:
            changed |= self.apply(rsc, first, then, node, first_flags, OPTIONAL, IF_FIRST_UNMIGRATABLE)
        if flags & ASYMMETRIC and rsc is not None:
            changed |= self.apply(rsc, first, then, node, first_flags, RUNNABLE, ASYMMETRIC)
        if first.flags & RUNNABLE and flags & FIRST_IMPLIES_THEN_GRAPHED and not first_flags & OPTIONAL:
            then.flags |= ALWAYS_IN_GRAPH
        if flags & THEN_IMPLIES_FIRST_GRAPHED and not then_flags & OPTIONAL:
            first.flags |= ALWAYS_IN_GRAPH
        if (
            flags & (FIRST_IMPLIES_THEN | THEN_IMPLIES_FIRST | INTERMEDIATE_STOP) and first.rsc is not None
            and first.task == "stop" and not first.rsc.managed and first.rsc.blocked
            and not first.flags & RUNNABLE and then.flags & RUNNABLE
        ):
            then.flags &= ~RUNNABLE
            changed |= THEN_CHANGED
        return changed

    # -- by variant

    def apply(self, rsc: Resource, first: Action, then: Action, node: Node | None, flags: int, mask: int, kind: int) -> int:
        """Let the relation `kind` work on `first` and `then` on behalf of `rsc`."""
        if rsc.kind is Kind.PRIMITIVE:
            return self.plain(first, then, flags, mask, kind)
        if rsc.kind is Kind.GROUP:
            changed = self.plain(first, then, flags, mask, kind)
            if then.rsc is not None:
                for member in then.rsc.children:
                    action = find_action(member, None, then.task, node)
                    if action is not None:
                        result = self.apply(member, first, action, node, flags, mask, kind)
                        if result & THEN_CHANGED:
                            self.push(action)
                            for after in action.after:
                                self.push(after.action)
                        changed |= result
            return changed
        return self._collective(first, then, node, flags, mask, kind)

    def _collective(self, first: Action, then: Action, node: Node | None, flags: int, mask: int, kind: int) -> int:
        from .interleave import can_interleave, instances_of, update_interleaved

        if then.rsc is None or first.rsc is then.rsc:
            return 0
        if can_interleave(first, then):
            return update_interleaved(self, first, then, node, mask, kind)
        changed = self.plain(first, then, flags, mask, kind)
        for instance in instances_of(then.rsc):
            action = find_action(instance, None, then.task, node)
            if action is None:
                continue
            if not action_flags(instance, action, node) & RUNNABLE:
                continue
            result = self.apply(instance, first, action, node, flags, mask, kind)
            changed |= result
            if result & THEN_CHANGED:
                self.push(action)
                for after in action.after:
                    self.push(after.action)
        return changed

    def plain(self, first: Action, then: Action, flags: int, mask: int, kind: int) -> int:
        """One relation between two actions as they stand."""
        first_before, then_before = first.flags, then.flags
        if kind & ASYMMETRIC:
            _asymmetric(first, then)
        if kind & FIRST_IMPLIES_THEN and mask & OPTIONAL and not flags & OPTIONAL and then.flags & OPTIONAL:
            then.flags &= ~OPTIONAL
            _note(then, first)
        if kind & PROMOTED_THEN_IMPLIES_FIRST and mask & OPTIONAL and not then.flags & OPTIONAL and (
            then.rsc is not None and then.rsc.role is Role.PROMOTED
        ):
            first.flags &= ~OPTIONAL
            if first.flags & MIGRATABLE and not then.flags & MIGRATABLE:
                first.flags &= ~MIGRATABLE
        if kind & UNMIGRATABLE_THEN_BLOCKS and mask & OPTIONAL:
            if not (then.flags & MIGRATABLE and then.flags & RUNNABLE):
                first.flags &= ~RUNNABLE
            if not then.flags & OPTIONAL:
                first.flags &= ~OPTIONAL
        if kind & IF_FIRST_UNMIGRATABLE and mask & OPTIONAL and not first.flags & RUNNABLE:
            then.flags &= ~(MIGRATABLE | PSEUDO)
        if kind & THEN_IMPLIES_FIRST and mask & OPTIONAL and not then.flags & OPTIONAL and first.flags & OPTIONAL:
            first.flags &= ~OPTIONAL
            _note(first, then)
            if first.flags & MIGRATABLE and not then.flags & MIGRATABLE:
                first.flags &= ~MIGRATABLE
        if kind & (UNRUNNABLE_FIRST_BLOCKS | MIN_RUNNABLE_FIRST) and mask & RUNNABLE and then.flags & RUNNABLE and (
            not flags & RUNNABLE
        ):
            if kind & UNRUNNABLE_FIRST_BLOCKS:
                then.flags &= ~(RUNNABLE | MIGRATABLE)
                _note(then, first, True)
        if kind & INTERMEDIATE_STOP:
            _restart(first, then, mask)
        changed = 0
        if first.flags != first_before:
            changed |= FIRST_CHANGED
        if then.flags != then_before:
            changed |= THEN_CHANGED
            if then.rsc is not None and then.rsc.parent is not None:
                self.push(then)
        if changed & FIRST_CHANGED:
            self.push(first)
            for after in first.after:
                self.push(after.action)
        return changed


def _note(action: Action, cause: Action, unrunnable: bool = False) -> None:
    """Remember why an action is needed or cannot be: the first cause stays, and a cause of one's own is passed on."""
    if action.reason is not None:
        return
    if cause.rsc is not None and cause.rsc is action.rsc:
        action.reason = cause.reason
        return
    name = cause.rsc.id if cause.rsc is not None else None
    prefix = "unrunnable" if unrunnable else "required"
    action.reason = f"{prefix} {name} {cause.task}" if name is not None else f"{prefix} {cause.key}"


def _restart(first: Action, then: Action, mask: int) -> None:
    """A stop is needed when the start after it is (restart), or cannot be (stop)."""
    reason = None
    if mask & OPTIONAL and not then.flags & OPTIONAL:
        reason = "restart"
    if mask & RUNNABLE and not then.flags & RUNNABLE and then.rsc is not None and then.rsc.managed and (
        first.rsc is then.rsc
    ):
        reason = "stop"
    if reason is None:
        return
    was_optional = first.flags & OPTIONAL
    if first.flags & RUNNABLE:
        first.flags &= ~OPTIONAL
    if not then.flags & OPTIONAL:
        first.flags &= ~OPTIONAL
    if was_optional and not first.flags & OPTIONAL:
        _note_restart(first, then)
    if not then.flags & MIGRATABLE:
        first.flags &= ~MIGRATABLE
    if not first.flags & OPTIONAL and not first.flags & RUNNABLE:
        then.flags &= ~RUNNABLE


def _note_restart(first: Action, then: Action) -> None:
    if first.reason is None:
        if then.reason is not None and then.rsc is first.rsc:
            first.reason = then.reason
        elif then.rsc is not None and then.rsc is not first.rsc:
            first.reason = f"required {then.rsc.id} {then.task}"


def _asymmetric(first: Action, then: Action) -> None:
    """Something that cannot happen keeps what comes after from happening, unless that has happened already."""
    rsc = then.rsc
    if rsc is None or first.flags & RUNNABLE:
        return
    if then.flags & OPTIONAL:
        role = _current_role(rsc)
        if role is Role.STOPPED and then.task == "stop":
            return
        if role >= Role.STARTED and then.task == "start" and rsc.assigned is not None and (
            len(rsc.running_on) == 1 and rsc.running_on[0] is rsc.assigned
        ):
            return
    if then.flags & OPTIONAL:
        then.flags &= ~OPTIONAL
    if then.flags & RUNNABLE:
        then.flags &= ~RUNNABLE
        _note(then, first, True)


def _is_parent(child: Resource, candidate: Resource) -> bool:
    holder = child.parent
    while holder is not None:
        if holder is candidate:
            return True
        holder = holder.parent
    return False


