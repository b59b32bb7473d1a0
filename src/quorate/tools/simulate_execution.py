"""Plays a transition on a copy of the CIB: every action succeeds (or fails as asked), its result goes into the status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

from quorate.core.scheduler.digests import digest_of
from quorate.core.scheduler.failcounts import strip_instance
from quorate.core.scheduler.working_set import WorkingSet
from quorate.model.graph import Action, ActionKind, Graph, Synapse

FEATURE_SET = "3.20.0"
UUID = "crm_simulate-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class FailedAction:
    """From --op-fail: KEY@NODE=RC."""

    key: str
    node: str
    rc: int


def history_name(action: Action) -> str:
    """The name that the operation's key begins with: what the history knows the resource as."""
    task = action.operation
    if task in ("notify", "notified") and "CRM_meta_notify_type" in action.attributes:
        task = (f"{action.attributes['CRM_meta_notify_type']}_notify_"
                f"{action.attributes.get('CRM_meta_notify_operation', '')}")
    elif task == "cancel":
        task = action.attributes.get("CRM_meta_operation", "monitor")
    suffix = f"_{task}_{action.attributes.get('CRM_meta_interval', '0')}"
    if action.key.endswith(suffix):
        return action.key[: -len(suffix)]
    return action.resource or action.key


def _digest(action: Action, interval: int) -> str:
    """As the executor records it: the agent's parameters, and for recurring operations the timeout."""
    pairs = {name: value for name, value in action.attributes.items() if not name.startswith("CRM_meta_")}
    pairs.pop("pcmk_external_ip", None)
    if interval:
        pairs["CRM_meta_timeout"] = action.attributes.get("CRM_meta_timeout", "20000")
    return digest_of(pairs)


class Execution:
    """`root` is changed in place. `say` gets a line for each action."""

    def __init__(self, root: etree._Element, ws: WorkingSet, say: Callable[[str], None],
                 failures: tuple[FailedAction, ...] = (), now: int = 0) -> None:
        self.root, self.ws, self.say, self.failures, self.now = root, ws, say, failures, now
        status = root.find("status")
        if status is None:
            status = etree.SubElement(root, "status")
        self.status = status
        self.known = {rsc.id for rsc in ws.all_resources} | {rsc.history_id for rsc in ws.all_resources}
        self.call_id = 0

    def run(self, graph: Graph) -> bool:
        """Rounds over the synapses until none is ready. True when the graph completed."""
        done: set[int] = set()
        failed = False
        waiting: list[Synapse] = list(graph.synapses)
        progress = True
        while waiting and progress:
            progress = False
            later: list[Synapse] = []
            for synapse in waiting:
                if all(number in done for number in synapse.inputs):
                    progress = True
                    for action in synapse.actions:
                        if self._act(action):
                            done.add(action.id)
                        else:
                            failed = True
                else:
                    later.append(synapse)
            waiting = later
        return not waiting and not failed

    def _act(self, action: Action) -> bool:
        if action.kind is ActionKind.PSEUDO:
            where = f" on {action.node}" if action.node else ""
            self.say(f"Pseudo action:   {action.key}{where}")
            return True
        if action.operation == "stonith":
            self._fence(action)
            return True
        if action.kind is ActionKind.CLUSTER:
            about = f" for {action.resource}" if action.resource else ""
            where = f" on {action.node}" if action.node else ""
            self.say(f"Cluster action:  {action.operation}{about}{where}")
            return True
        return self._resource(action)

    # ---- resources ----------------------------------------------------------------------------------------------

    def _resource(self, action: Action) -> bool:
        assert action.resource is not None and action.node is not None
        task = action.operation
        interval = action.attributes.get("CRM_meta_interval", "0")
        shown = action.resource if action.resource in self.known else history_name(action)
        suffix = f"={interval}" if interval != "0" else ""
        self.say(f"Resource action: {shown:<15} {task}{suffix} on {action.node}")
        if task in ("notify", "cancel", "meta-data"):
            return True
        state = self._node_state(action.node)
        if task in ("delete", "lrm_delete"):
            self._forget(state, action.resource)
            return True
        rc = int(action.attributes.get("CRM_meta_op_target_rc", "0"))
        target = rc
        ok = True
        for failure in self.failures:
            if failure.node.lower() == action.node.lower() and failure.key in (
                action.key, f"{action.resource}_{task}_{interval}", f"{shown}_{task}_{interval}",
                f"{strip_instance(shown)}_{task}_{interval}",
            ):
                rc, ok = failure.rc, False
        self._record(state, action, task, int(interval), rc, target, ok)
        return ok

    def _node_state(self, name: str) -> etree._Element:
        node = self.ws.node_by_name.get(name)
        for element in self.status.iterfind("node_state"):
            if element.get("uname") == name or node is not None and element.get("id") == node.id:
                return element
        element = etree.SubElement(self.status, "node_state", {"id": node.id if node is not None else name, "uname": name})
        if node is not None and node.is_remote_or_guest:
            element.set("remote_node", "true")
        else:
            element.set("in_ccm", "true")
            element.set("crmd", "online")
            element.set("join", "member")
            element.set("expected", "member")
        return element

    def _lrm_resource(self, state: etree._Element, action: Action) -> etree._Element:
        lrm = state.find("lrm")
        if lrm is None:
            lrm = etree.SubElement(state, "lrm", {"id": state.get("id") or ""})
        resources = lrm.find("lrm_resources")
        if resources is None:
            resources = etree.SubElement(lrm, "lrm_resources")
        name = history_name(action)
        for element in resources:
            if element.get("id") == name:
                return element
        for element in resources:
            if element.get("id") == action.resource:
                return element
        element = etree.SubElement(resources, "lrm_resource", {"id": str(action.resource)})
        element.set("class", action.resource_class or "")
        if action.resource_provider:
            element.set("provider", action.resource_provider)
        element.set("type", action.resource_type or "")
        return element

    def _record(
        self, state: etree._Element, action: Action, task: str, interval: int, rc: int, target: int, ok: bool,
    ) -> None:
        element = self._lrm_resource(state, action)
        name = str(element.get("id"))
        if not ok:
            identifier = f"{name}_last_failure_0"
        elif interval or task in ("migrate_to", "migrate_from"):
            identifier = f"{name}_{task}_{interval}"
        else:
            identifier = f"{name}_last_0"
        self.call_id = max([self.call_id, *(int(op.get("call-id", "0") or 0) for op in element)]) + 1
        for op in list(element):
            pending = op.get("op-status") == "-1" and op.get("operation") == task and op.get("interval", "0") == str(interval)
            if op.get("id") == identifier or pending:
                element.remove(op)
        op = etree.SubElement(element, "lrm_rsc_op", {"id": identifier})
        key = f"{self.call_id}:-1:{target}:{UUID}"
        status = "0" if ok else "4"
        op.attrib.update({
            "operation_key": f"{name}_{task}_{interval}", "operation": task, "crm-debug-origin": "crm_simulate",
            "crm_feature_set": FEATURE_SET, "transition-key": key, "transition-magic": f"{status}:{rc};{key}",
            "exit-reason": "", "call-id": str(self.call_id), "rc-code": str(rc), "op-status": status,
            "interval": str(interval), "last-rc-change": str(self.now), "exec-time": "0",
        })
        op.set("op-digest", _digest(action, interval))
        for source in ("migrate_source", "migrate_target"):
            value = action.attributes.get(f"CRM_meta_{source}")
            if value is not None:
                op.set(source, value)
        if not ok:
            self._count_failure(state, name, task, interval)

    def _count_failure(self, state: etree._Element, name: str, task: str, interval: int) -> None:
        transient = state.find("transient_attributes")
        if transient is None:
            transient = etree.SubElement(state, "transient_attributes", {"id": state.get("id") or ""})
        attributes = transient.find("instance_attributes")
        if attributes is None:
            attributes = etree.SubElement(transient, "instance_attributes", {"id": f"status-{state.get('id')}"})
        suffix = f"{strip_instance(name)}#{task}_{interval}"
        fatal = task == "stop" or task == "start" and self.ws.start_failure_is_fatal
        for key, value in ((f"fail-count-{suffix}", "INFINITY" if fatal else "1"),
                           (f"last-failure-{suffix}", str(self.now))):
            for pair in attributes:
                if pair.get("name") == key:
                    pair.set("value", value)
                    break
            else:
                etree.SubElement(attributes, "nvpair", {"id": f"status-{state.get('id')}-{key}", "name": key,
                                                         "value": value})

    def _forget(self, state: etree._Element, name: str) -> None:
        for resources in state.iterfind("lrm/lrm_resources"):
            for element in list(resources):
                if element.get("id") == name:
                    resources.remove(element)

    # ---- fencing ------------------------------------------------------------------------------------------------

    def _fence(self, action: Action) -> None:
        operation = action.attributes.get("CRM_meta_stonith_action", "reboot")
        self.say(f"Fencing {action.node} ({operation})")
        if operation == "on" or action.node is None:
            return
        state = self._node_state(action.node)
        for tag in ("lrm", "transient_attributes"):
            for element in list(state.iterfind(tag)):
                state.remove(element)
        if state.get("remote_node") == "true":
            state.set("node_fenced", "1")
            return
        for name, value in (("in_ccm", "false"), ("crmd", "offline"), ("join", "down"), ("expected", "down")):
            state.set(name, value)
