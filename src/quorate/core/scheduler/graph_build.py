"""The transition graph from the scheduled actions: what is drawn, with which inputs, and the attributes of each action."""

from __future__ import annotations

from quorate.model import graph as model

from .actions import (
    ADDED,
    ALWAYS_IN_GRAPH,
    IF_FIRST_UNMIGRATABLE,
    IF_ON_SAME_NODE_OR_TARGET,
    IF_REQUIRED_ON_SAME_NODE,
    MIGRATABLE,
    MIN_RUNNABLE_FIRST,
    ON_DC,
    OPTIONAL,
    ORDERED,
    PSEUDO,
    RUNNABLE,
    UNMIGRATABLE_THEN_BLOCKS,
    Action,
    Relation,
    notify_key,
    op_key,
)
from .configuration import parameters
from .failcounts import strip_instance
from .notifications import create_notifications
from .variants import action_flags
from .working_set import Kind, Node, Resource, WorkingSet

_CLUSTER_TASKS = ("stonith", "do_shutdown", "lrm_delete", "clear_failcount", "maintenance_nodes", "probe_complete")
# cluster tasks as the graph names them
_GRAPH_TASK: dict[str, str] = {}


def build_graph(ws: WorkingSet) -> model.Graph:
    builder = _Builder(ws)
    for rsc in ws.resources:
        builder.add_resource(rsc)
    builder.maintenance_update()
    for action in reversed(ws.actions):
        if action.rsc is not None and action.node is not None and action.node.shutdown and not action.rsc.maintenance and (
            not action.flags & (OPTIONAL | RUNNABLE) and action.task == "stop"
        ):
            if (ws.quorum_policy.value == "fence" and not ws.has_quorum) or action.node.shutdown:
                ws.warn("shutdown-blocked", f"cannot shut down {action.node.name} because {action.rsc.id} cannot be "
                        "stopped", action.rsc.id)
        builder.add(action)
    return model.Graph(
        synapses=tuple(builder.synapses),
        transition_id=1,
        batch_limit=int(ws.options.get("batch-limit", "0") or 0),
        migration_limit=int(ws.options.get("migration-limit", "-1") or -1),
        cluster_delay_ms=ws.cluster_delay_ms,
        stonith_timeout_ms=ws.fencing_timeout_ms,
        failed_stop_offset="INFINITY",
        failed_start_offset="INFINITY" if ws.start_failure_is_fatal else "1",
        recheck_at=ws.recheck_at,
        node_pending_timeout_ms=ws.node_pending_timeout_ms,
        shutdown_lock_ms=ws.shutdown_lock_ms,
    )


class _Builder:
    def __init__(self, ws: WorkingSet) -> None:
        self.ws = ws
        self.synapses: list[model.Synapse] = []
        self.parameters: dict[tuple[int, int], dict[str, str]] = {}

    def add_resource(self, rsc: Resource) -> None:
        if rsc.kind is Kind.BUNDLE:
            from .bundle import resources_in_graph_order

            for child in resources_in_graph_order(rsc):
                self.add_resource(child)
            return
        if rsc.kind is Kind.CLONE:
            for action in rsc.actions:
                action_flags(rsc, action, None)
            create_notifications(self.ws, rsc)
            for child in rsc.children:
                self.add_resource(child)
            for action in reversed(rsc.actions):
                self.add(action)
            return
        for action in reversed(rsc.actions):
            self.add(action)
        for child in rsc.children:
            self.add_resource(child)

    def maintenance_update(self) -> None:
        """Remote nodes whose maintenance changed are told, in one pseudo action."""
        from .remote import maintenance_action

        maintenance_action(self.ws)

    def add(self, action: Action) -> None:
        if action.flags & ADDED or not self.belongs(action):
            return
        action.flags |= ADDED
        inputs: list[int] = []
        seen: set[int] = set()
        for relation in action.before:
            if relation.action.id not in seen and self.input_belongs(action, relation):
                seen.add(relation.action.id)
                inputs.append(relation.action.id)
        inputs.sort()
        self.synapses.append(model.Synapse(
            id=len(self.synapses), actions=(self.render(action),), inputs=tuple(inputs), priority=action.synapse_priority))

    def belongs(self, action: Action) -> bool:
        flags = action.flags
        if not flags & RUNNABLE:
            return False
        if flags & OPTIONAL and not flags & ALWAYS_IN_GRAPH:
            return False
        rsc = action.rsc
        if rsc is not None and not rsc.managed and action.task != "monitor":
            if action.meta.get("interval", "0") in ("", "0"):
                return False
        if flags & PSEUDO or action.task in ("stonith", "do_shutdown"):
            return True
        node = action.node
        if node is None:
            self.ws.warn("unplaced-action", f"{action.key} has no node", level="error")
            return False
        if flags & ON_DC:
            return True
        if node.is_guest and not node.remote_requires_reset:
            return True
        return node.online and not node.unclean

    def input_belongs(self, action: Action, relation: Relation) -> bool:
        first = relation.action
        flags = relation.flags
        if not flags:
            return False
        if not first.flags & RUNNABLE and not _can_change(relation):
            return False
        if not first.flags & RUNNABLE and flags & MIN_RUNNABLE_FIRST:
            return False
        if flags & UNMIGRATABLE_THEN_BLOCKS and not first.flags & RUNNABLE:
            return False
        if flags & IF_FIRST_UNMIGRATABLE and first.flags & RUNNABLE:
            return False
        if flags & IF_ON_SAME_NODE_OR_TARGET:
            place = first.load_node or first.node
            if action.rsc is not None and action.task == "migrate_to":
                target = action.rsc.assigned
                if place is not target or target is None:
                    return False
            elif place is not (action.load_node or action.node) or first.flags & OPTIONAL:
                return False
        elif flags & IF_REQUIRED_ON_SAME_NODE:
            if first.node is not None and action.node is not None and first.node is not action.node:
                return False
            if first.flags & OPTIONAL:
                return False
        elif (
            first.rsc is not None and first.rsc is not action.rsc and first.rsc.failed and not first.rsc.managed
            and first.task == "stop" and action.rsc is not None and action.rsc.kind is Kind.CLONE
        ):
            return False
        if first.flags & OPTIONAL and not first.flags & ALWAYS_IN_GRAPH:
            return False
        if flags == ORDERED and first.task == "stop" and first.flags & MIGRATABLE and action.task == "stop" and (
            first.rsc is not action.rsc
        ):
            return False  # an optional order does not hold a stop back for what migrates away alive
        return bool(first.flags & ADDED) or self.belongs(first)

    # -- attributes

    def render(self, action: Action) -> model.Action:
        flags = action.flags
        rsc = action.rsc
        node = action.node
        task = action.task
        meta = dict(action.meta)
        if flags & PSEUDO:
            kind = model.ActionKind.PSEUDO
        elif task in ("stonith", "do_shutdown", "maintenance_nodes", "probe_complete", "lrm_delete",
                      "clear_failcount") or rsc is None:
            kind = model.ActionKind.CLUSTER
        else:
            kind = model.ActionKind.RESOURCE
        operation = _GRAPH_TASK.get(task, task)
        attributes: dict[str, str] = {}
        key = action.key
        if rsc is not None:
            key = self._key(action, rsc)
        router: str | None = None
        downed: tuple[str, ...] = ()
        if rsc is not None and rsc.kind is Kind.PRIMITIVE and kind is not model.ActionKind.PSEUDO:
            self._resource_attributes(action, rsc, attributes, meta)
            if node is not None:
                attributes["CRM_meta_on_node"] = node.name
                attributes["CRM_meta_on_node_uuid"] = node.id
        elif rsc is not None and rsc.kind is not Kind.PRIMITIVE or rsc is not None and kind is model.ActionKind.PSEUDO:
            self._graph_meta(rsc, meta, node)
        for name, value in sorted(meta.items()):
            attributes[_meta_name(name)] = value
        for name, value in action.extra.items():
            attributes.setdefault(name, value)
        if node is not None and not flags & PSEUDO:
            from .remote import router_node

            host = router_node(self.ws, action)
            router = host.name if host is not None else None
        if kind is model.ActionKind.CLUSTER and node is not None:
            attributes["CRM_meta_on_node"] = node.name
            attributes["CRM_meta_on_node_uuid"] = node.id
        if task == "stonith":
            from .remote import downed_by

            downed = downed_by(self.ws, action)
        elif task == "do_shutdown" and node is not None:
            downed = (node.id,)
        on_node = None if flags & PSEUDO else node
        if flags & PSEUDO and task == "stonith":
            on_node = node
        return model.Action(
            id=action.id, kind=kind, operation=operation, key=key,
            node=on_node.name if on_node is not None else None,
            node_uuid=on_node.id if on_node is not None else None,
            router=router, resource=self._xml_id(action, rsc),
            resource_long=rsc.id if rsc is not None and self._xml_id(action, rsc) != rsc.id else None,
            resource_class=rsc.agent_class if rsc is not None and rsc.kind is Kind.PRIMITIVE else None,
            resource_provider=rsc.agent_provider if rsc is not None and rsc.kind is Kind.PRIMITIVE else None,
            resource_type=rsc.agent_type if rsc is not None and rsc.kind is Kind.PRIMITIVE else None,
            attributes=attributes, downed=downed, priority=action.synapse_priority,
        )

    def _xml_id(self, action: Action, rsc: Resource | None) -> str | None:
        if rsc is None:
            return None
        if rsc.kind is Kind.PRIMITIVE and not rsc.unique:
            return rsc.history_id if rsc.removed else strip_instance(rsc.id)
        return rsc.id

    def _key(self, action: Action, rsc: Resource) -> str:
        """Anonymous instances are known by the name that their history has."""
        name = rsc.history_id
        if name == rsc.id or rsc.kind is not Kind.PRIMITIVE:
            return action.key
        if action.task == "cancel":
            return op_key(name, action.cancel_task or "monitor", int(action.meta.get("interval", "0")))
        if action.task == "notify":
            return notify_key(name, action.meta["notify_type"], action.meta["notify_operation"])
        return op_key(name, action.task, int(action.meta.get("interval", "0")))

    def _resource_attributes(self, action: Action, rsc: Resource, attributes: dict[str, str], meta: dict[str, str]) -> None:
        cache_key = (rsc.index, action.node.index if action.node is not None and rsc.parameters_vary else -1)
        found = self.parameters.get(cache_key)
        if found is None:
            found = dict(parameters(self.ws, rsc, action.node))
            self.parameters[cache_key] = found
        for name, value in found.items():
            attributes[name] = value
        from .remote import substitute_address

        substitute_address(self.ws, rsc, action, attributes)
        external = rsc.meta.get("external-ip")
        if external is not None:
            attributes["pcmk_external_ip"] = external
        self._graph_meta(rsc, meta, action.node, action.task)

    def _graph_meta(self, rsc: Resource, meta: dict[str, str], node: Node | None, task: str = "") -> None:
        if rsc.kind is Kind.PRIMITIVE:
            if rsc.number >= 0 and rsc.parent is not None and rsc.parent.kind in (Kind.CLONE, Kind.GROUP):
                meta["clone"] = str(rsc.number)
            remote = rsc.meta.get("remote-node")
            if remote is not None:
                meta["remote_node"] = remote
            holder: Resource | None = rsc
            while holder is not None:
                if holder.container is not None and not (holder.is_bundled and not holder.is_remote_connection):
                    meta["container"] = holder.container.id
                holder = holder.parent
            from .bundle import host_meta

            host_meta(self.ws, rsc, meta, node, task)
        clone = rsc if rsc.kind is Kind.CLONE else rsc.enclosing_clone
        if clone is not None and clone.clone is not None:
            info = clone.clone
            meta["globally_unique"] = "true" if clone.unique else "false"
            meta["notify"] = "true" if clone.notify else "false"
            meta["clone_max"] = str(info.clone_max)
            meta["clone_node_max"] = str(info.clone_node_max)
            if clone.promotable:
                for name in ("promoted_max", "master_max"):
                    meta[name] = str(info.promoted_max)
                for name in ("promoted_node_max", "master_node_max"):
                    meta[name] = str(info.promoted_node_max)


def _can_change(relation: Relation) -> bool:
    from .actions import ORDERED

    return bool(relation.flags & ~ORDERED)


_META_NAMES: dict[str, str] = {}


def _meta_name(name: str) -> str:
    found = _META_NAMES.get(name)
    if found is None:
        found = _META_NAMES[name] = "CRM_meta_" + name.replace("-", "_")
    return found


