"""A bench for the controller and the fencer of one node: a replicated state of its own, a log that answers at once.

What the machines log is applied with the real `apply` and told to both as Applied and Committed, in order; everything
else is kept in `effects`. With `hold` set, entries stay in transit until `deliver` or `lose`.
"""

from __future__ import annotations

import dataclasses
from collections import deque

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.arbitration.conditions import Presence, is_present
from quorate.core.controller import Controller
from quorate.core.fencing import Fencer
from quorate.core.replication.apply import Rules, apply_entry, write_node_state
from quorate.core.replication.state import ReplicatedState
from quorate.model import entries
from quorate.model.cib import Cib
from quorate.model.graph import Action, ActionKind, Graph, Synapse
from quorate.model.group import View
from quorate.model.ids import MILLISECOND, SECOND, ViewId

RIGHTS = ev.Rights(keep=True, fence=True, write=True, take_over=True, quorate=True, policy="stop")
WALL = 1_700_000_000


def cib_with(
    options: dict[str, str] | None = None, resources: str = "", topology: str = "", constraints: str = ""
) -> Cib:
    pairs = "".join(f'<nvpair id="o-{name}" name="{name}" value="{value}"/>' for name, value in (options or {}).items())
    nodes = "".join(f'<node id="{number}" uname="n{number}"/>' for number in (1, 2, 3))
    levels = f"<fencing-topology>{topology}</fencing-topology>" if topology else ""
    return Cib.parse(
        f"""<cib admin_epoch="0" epoch="1" num_updates="0" validate-with="pacemaker-3.9"><configuration>
        <crm_config><cluster_property_set id="o">{pairs}</cluster_property_set></crm_config>
        <nodes>{nodes}</nodes><resources>{resources}</resources><constraints>{constraints}</constraints>{levels}
        </configuration><status/></cib>""".encode()
    )


def device(name: str, agent: str = "fence_test", meta: str = "", **options: str) -> str:
    pairs = "".join(
        f'<nvpair id="{name}-{option}" name="{option}" value="{value}"/>' for option, value in options.items()
    )
    return (
        f'<primitive id="{name}" class="stonith" type="{agent}"><instance_attributes id="{name}-p">{pairs}'
        f"</instance_attributes>{meta}</primitive>"
    )


def agent_metadata(
    actions: str = "on off reboot list status monitor metadata", parameters: str = "port", on: str = ""
) -> bytes:
    listed = "".join(f'<action name="{name}" {on if name == "on" else ""}/>' for name in actions.split())
    named = "".join(f'<parameter name="{name}"/>' for name in parameters.split())
    return (
        f'<?xml version="1.0"?><resource-agent name="fence_test"><parameters>{named}</parameters>'
        f"<actions>{listed}</actions></resource-agent>"
    ).encode()


class Bench:
    def __init__(self, cib: Cib | None = None, node: str = "n1", grace_ms: int = 10_000) -> None:
        self.node = node
        self.now = 100 * SECOND
        self.state = ReplicatedState(cib=cib if cib is not None else cib_with())
        for number in (1, 2, 3):
            record = self.state.record(f"n{number}")
            record.id = number
        self.fencer = Fencer(node)
        self.controller = Controller(node, grace_ms=grace_ms, fencer=self.fencer)
        self.effects: list[fx.Effect] = []
        self.logged: list[entries.Entry] = []
        self.transit: deque[entries.Entry] = deque()
        self.hold = False
        self.metadata: bytes | None = agent_metadata()  # what agents answer; None: nothing comes
        self.rights = RIGHTS
        self.dc: str | None = node
        self.synced = True
        self._view = 0
        self._index = 0
        self.trace: list[object] = []  # effects and entries in the order in which they were asked for
        self._queue: deque[ev.Event | ev.Inner] = deque()
        stored = ev.StoredState(promised=0, position=entries.Position(0, 0), cib=None)
        self.give(ev.Started(boot_id="boot-1", incarnation=7, stored=stored, wall=WALL))

    # ---- driving ----------------------------------------------------------------------------------------------------

    def give(self, event: ev.Event | ev.Inner) -> list[fx.Effect]:
        """Run one event and all that follows from it inside the node; the effects for the driver."""
        start = len(self.effects)
        self._queue.append(event)
        while self._queue:
            event = self._queue.popleft()
            for machine in (self.fencer, self.controller):
                self._take(machine.handle(event, self.now, self.state))
            if not self.hold:
                self._deliver()
        return self.effects[start:]

    def _take(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, fx.Log):
                self.trace.append(effect.entry)
                self.logged.append(effect.entry)
                self.transit.append(effect.entry)
                continue
            self.trace.append(effect)
            self.effects.append(effect)
            if isinstance(effect, fx.LoadMetadata) and self.metadata is not None:
                self._queue.append(ev.MetadataLoaded(agent=effect.agent, xml=self.metadata))

    def carry(self, effects: list[fx.Effect]) -> None:
        """Effects of a call that is no event (`want`, `asked`)."""
        self._take(effects)
        if not self.hold:
            self.deliver()

    def _deliver(self) -> None:
        while self.transit:
            entry = self.transit.popleft()
            self._queue.extend(self._apply(entry, mine=True))

    def _apply(self, entry: entries.Entry, mine: bool) -> list[ev.Inner]:
        self._index += 1
        outcome = apply_entry(self.state, entry, Rules(feature_set="3.16.1", lineage_reached=True))
        if outcome.void:
            return [ev.EntryLost(entry=entry, cause=outcome.message)] if mine else []
        return [
            ev.Applied(entry=entry, view_index=self._index, mine=mine, rc=outcome.rc, message=outcome.message),
            ev.Committed(entry=entry, view_index=self._index, mine=mine),
        ]

    def deliver(self) -> list[fx.Effect]:
        """What was in transit takes its place."""
        start = len(self.effects)
        held, self.hold = self.hold, False
        waiting, self.transit = list(self.transit), deque()
        for entry in waiting:
            for event in self._apply(entry, mine=True):
                self.give(event)
        self.hold = held
        return self.effects[start:]

    def lose(self, cause: str = "view changed") -> list[fx.Effect]:
        waiting, self.transit = list(self.transit), deque()
        return [effect for entry in waiting for effect in self.give(ev.EntryLost(entry=entry, cause=cause))]

    def foreign(self, entry: entries.Entry) -> list[fx.Effect]:
        """An entry that another node submitted."""
        return [effect for event in self._apply(entry, mine=False) for effect in self.give(event)]

    def presence(self, **presences: str) -> None:
        """Set presences by node, e.g. n1="online"."""
        for name, presence in presences.items():
            record = self.state.record(name)
            record.presence = Presence(presence)
            if presence != "unseen" and not record.boot_id:
                record.boot_id = f"boot-{name}"
                record.incarnation = record.id
            write_node_state(self.state, name)

    def situation(self, **changes: object) -> list[fx.Effect]:
        """Tell the situation as it follows from the presences."""
        self._view += 1
        present = self.state.presences
        view = View(id=ViewId(self._view, 1), nodes=(), members=(), transitional=())
        facts = ev.Situation(
            view=view,
            synced=self.synced,
            node=self.node,
            dc=self.dc if self.synced else None,
            online=tuple(name for name, p in present.items() if p is Presence.ONLINE),
            graced=tuple(name for name, p in present.items() if p is Presence.GRACED),
            absent=tuple(name for name, p in present.items() if not is_present(p)),
            rights=self.rights,
            boot_ids=tuple(self.state.boot_ids.items()),
            incarnation=7,
        )
        return self.give(dataclasses.replace(facts, **changes))  # type: ignore[arg-type]

    def all_online(self) -> list[fx.Effect]:
        self.presence(n1="online", n2="online", n3="online")
        return self.situation()

    def wait(self, milliseconds: int) -> list[fx.Effect]:
        """Let time pass and fire the timers that are due, in order."""
        end = self.now + milliseconds * MILLISECOND
        fired: list[fx.Effect] = []
        while True:
            due = sorted((at, name) for name, at in self.timers.items() if at <= end)
            if not due:
                break
            at, name = due[0]
            self.now = max(self.now, at)
            self._spent[name] = at
            fired += self.give(ev.TimerFired(name=name))
        self.now = end
        return fired

    _spent: dict[str, int]

    @property
    def timers(self) -> dict[str, int]:
        """Timers that are set."""
        if not hasattr(self, "_spent"):
            self._spent = {}
        found: dict[str, int] = {}
        for effect in self.effects:
            if isinstance(effect, fx.SetTimer):
                found[effect.name] = effect.at
            elif isinstance(effect, fx.CancelTimer):
                found.pop(effect.name, None)
        return {name: at for name, at in found.items() if self._spent.get(name) != at}

    # ---- looking ----------------------------------------------------------------------------------------------------

    def runs(self) -> list[int]:
        """Keys of the scheduler's runs asked for."""
        return [effect.key for effect in self.effects if isinstance(effect, fx.RunScheduler)]

    def requests(self) -> list[entries.ActionRequest]:
        return [entry for entry in self.logged if isinstance(entry, entries.ActionRequest)]

    def codes(self) -> list[str]:
        return [effect.code for effect in self.effects if isinstance(effect, fx.Report)]

    def agents(self) -> list[fx.RunFenceAgent]:
        return [effect for effect in self.effects if isinstance(effect, fx.RunFenceAgent)]

    # ---- answering --------------------------------------------------------------------------------------------------

    def schedule(self, *synapses: Synapse, **options: object) -> list[fx.Effect]:
        """Answer the last run of the scheduler."""
        graph = Graph(synapses=synapses, **options)  # type: ignore[arg-type]
        return self.give(ev.Scheduled(key=self.runs()[-1], graph=graph))

    def result(self, key: str, rc: int = 0, status: int = 0) -> list[fx.Effect]:
        """The executor's result of a request."""
        request = next(request for request in self.requests() if request.key == key)
        return self.foreign(result_of(request, rc, status))

    def agent_exits(self, rc: int = 0, **facts: object) -> list[fx.Effect]:
        """The last fence agent ends."""
        return self.give(ev.AgentExited(key=self.agents()[-1].key, rc=rc, **facts))  # type: ignore[arg-type]


def result_of(request: entries.ActionRequest, rc: int = 0, status: int = 0) -> entries.ActionResult:
    return entries.ActionResult(
        key=request.key,
        node=request.node,
        executor=request.executor,
        resource=request.resource,
        agent_class=request.agent_class,
        provider=request.provider,
        agent=request.agent,
        operation=request.operation,
        interval_ms=request.interval_ms,
        rc=rc,
        status=status,
        call_id=1,
        reason="",
        started_at=WALL,
        changed_at=WALL,
    )


# ---- graphs ---------------------------------------------------------------------------------------------------------


def synapse(action: Action, *after: int, priority: int = 0) -> Synapse:
    return Synapse(id=action.id, actions=(action,), inputs=after, priority=priority)


def operation(number: int, what: str, resource: str, node: str, interval_ms: int = 0, **attributes: str) -> Action:
    meta = {"CRM_meta_timeout": "20000", "CRM_meta_on_node": node}
    if interval_ms:
        meta["CRM_meta_interval"] = str(interval_ms)
    return Action(
        id=number,
        kind=ActionKind.RESOURCE,
        operation=what,
        key=f"{resource}_{what}_{interval_ms}",
        node=node,
        resource=resource,
        resource_class="ocf",
        resource_provider="heartbeat",
        resource_type="Dummy",
        attributes=meta | attributes,
    )


def pseudo(number: int, what: str = "all_stopped") -> Action:
    return Action(id=number, kind=ActionKind.PSEUDO, operation=what, key=what)


def event(number: int, what: str, node: str, resource: str | None = None, **attributes: str) -> Action:
    return Action(
        id=number,
        kind=ActionKind.CLUSTER,
        operation=what,
        key=f"{what}-{node}",
        node=node,
        resource=resource,
        attributes=attributes,
    )


def fencing(number: int, node: str, action: str = "reboot", **attributes: str) -> Action:
    return event(number, "stonith", node, CRM_meta_stonith_action=action, **attributes)
