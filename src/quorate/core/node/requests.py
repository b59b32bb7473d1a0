"""Clients' requests: from the socket into the log, and the answer when it is due.

Decided here: which request is answered at once from this replica, which goes through the log, when it is answered,
and what
a client is told while the cluster cannot decide. A configuration change is answered when it is committed and every
synced
member has applied it; an attribute when it is applied here; a fencing when its result is in the log. What became of a
request is told only when it can no longer be undone: an applied change that no majority has is not done yet.
A request that cannot go on (no view, no quorum) waits at most `WAIT_NS` and is then refused in words. Bound:
`OPEN_MAX`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.arbitration.conditions import Presence
from quorate.model import entries, protocol
from quorate.model.cib import CibError, acl, query, status
from quorate.model.ids import MILLISECOND, SECOND, ViewId

if TYPE_CHECKING:
    from quorate.core.replication.machine import Output

    from .machine import Manager

WAIT_NS = 20 * SECOND
OPEN_MAX = 2_000
RC_ERROR, RC_USAGE, RC_NO_HOST, RC_PERMISSION, RC_DISCONNECTED = 1, 64, 68, 4, 102
RC_NO_SUCH, RC_QUORUM, RC_UNSAFE, RC_INDETERMINATE, RC_TIMEOUT = 105, 106, 107, 112, 124
TIMER = "request-deadline"
# what a user restricted by ACLs may ask: the log applies the ACLs to changes, `readable` to queries
_OPEN_TO_RESTRICTED = (protocol.CibQuery, protocol.CibChange, protocol.AttributeQuery, protocol.Fate, protocol.Metadata)


@dataclass(slots=True)
class _Open:
    """A request whose answer is not due yet. `index`: where its entry stands in this view, once applied."""

    client: int
    serial: int
    request: protocol.Request
    entry: entries.Entry | None
    deadline: int
    index: int = 0
    view: ViewId | None = None
    applied: bool = False
    committed: bool = False
    logged: bool = False
    rc: int = 0
    message: str = ""


class Requests:
    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._open: dict[str, _Open] = {}  # by request id
        self._idle: list[_Open] = []
        self._subscribers: dict[int, tuple[Any, ...]] = {}
        self._metadata: dict[str, list[tuple[int, int]]] = {}
        self._number = 0

    # ---- inputs ---------------------------------------------------------------------------------------------------

    def asked(self, event: ev.Asked, now: int) -> list[Output]:
        request = event.request
        if (
            event.uid != 0
            and not isinstance(request, _OPEN_TO_RESTRICTED)
            and acl.is_restricted(self._manager.state.cib, event.user)
        ):
            return [
                self._reply(
                    event, rc=RC_PERMISSION, message=f"{event.user} is restricted by acls and may not ask for this"
                )
            ]
        match request:
            case protocol.CibQuery():
                return [self._query(event, request)]
            case protocol.CibChange():
                return self._change(event, request, now)
            case protocol.AttributeSet():
                return self._attribute(event, request, now)
            case protocol.AttributeQuery():
                return [self._attributes(event, request)]
            case protocol.StatusQuery():
                return self._status(event, request)
            case protocol.FenceAsked() | protocol.FenceConfirmed():
                return self._fence(event, request, now)
            case protocol.FenceDevices():
                names = self._manager.fencer.devices(self._manager.state, request.target)
                return [self._reply(event, data=list(names), rc=0 if names or request.target is None else RC_NO_SUCH)]
            case protocol.FenceHistory():
                records = [record for record in self._fences() if request.target in (None, record.target)]
                return [self._reply(event, data=[_plain(record) for record in records])]
            case protocol.ClearHistory():
                cleared = entries.HistoryCleared(
                    request=request.request,
                    node=request.node,
                    resource=request.resource,
                    operation=request.operation,
                    interval_ms=request.interval_ms,
                    failures_only=request.failures_only,
                )
                return self._through_log(event, request.request, cleared, now)
            case protocol.ResourceFail():
                return self._fail(event, request, now)
            case protocol.NodeRemove():
                return self._through_log(
                    event, request.request, entries.NodeRemoved(request=request.request, node=request.node), now
                )
            case protocol.Shutdown():
                node = request.node or self._manager.configuration.node
                return self._through_log(
                    event, request.request, entries.ShutdownAsked(node=node, at=self._manager.wall), now
                )
            case protocol.Fate():
                fate = self._fate(request.request)
                data = {"known": fate is not None, "rc": fate[0] if fate else 0, "message": fate[1] if fate else ""}
                return [self._reply(event, data=data)]
            case protocol.WaitIdle():
                self._idle.append(
                    _Open(event.client, request.serial, request, None, now + request.timeout_ms * MILLISECOND)
                )
                return [fx.SetTimer(name=TIMER, at=now + min(request.timeout_ms, 1_000) * MILLISECOND)]
            case protocol.Metadata():
                self._metadata.setdefault(request.agent, []).append((event.client, request.serial))
                return [fx.LoadMetadata(agent=request.agent)]
            case protocol.Agents():
                return [
                    self._reply(
                        event, rc=RC_USAGE, message="the list of agents is made by the tool server, not by the manager"
                    )
                ]
            case protocol.Subscribe():
                self._subscribers[event.client] = ()
                return [self._reply(event)]

    def client_gone(self, client: int) -> None:
        self._open = {key: waiting for key, waiting in self._open.items() if waiting.client != client}
        self._idle = [waiting for waiting in self._idle if waiting.client != client]
        self._subscribers.pop(client, None)

    def metadata_loaded(self, event: ev.MetadataLoaded) -> list[Output]:
        out: list[Output] = []
        for client, serial in self._metadata.pop(event.agent, ()):
            rc = 0 if event.xml is not None else RC_ERROR
            out.append(
                fx.Answer(
                    client=client, answer=protocol.Reply(serial=serial, rc=rc, message=event.error, data=event.xml)
                )
            )
        return out

    # ---- answered from this replica --------------------------------------------------------------

    def _query(self, event: ev.Asked, request: protocol.CibQuery) -> Output:
        cib = self._manager.state.cib
        try:
            readable = cib if event.uid == 0 else acl.readable(cib, event.user)
            if readable is None:
                return self._reply(event, rc=RC_PERMISSION, message=f"{event.user} may read nothing of the CIB (acls)")
            data = query(readable, section=request.section, xpath=request.xpath, no_children=request.no_children)
        except (CibError, ValueError) as error:
            return self._reply(event, rc=RC_USAGE, message=str(error))
        if data is None:
            return self._reply(event, rc=RC_NO_SUCH, message="no such section or element in the CIB")
        return self._reply(event, data=data)

    def _attributes(self, event: ev.Asked, request: protocol.AttributeQuery) -> Output:
        manager = self._manager
        node = manager.configuration.node if request.node is None else request.node
        names = [node] if node else status.node_names(manager.state.cib)
        values = []
        for name in names:
            value = status.get_attribute(manager.state.cib, name, request.name)
            if value is not None:
                values.append(protocol.AttributeValue(node=name, name=request.name, value=value))
        message = "" if values else f"attribute {request.name!r} is not set" + (f" on {node}" if node else "")
        answer = protocol.AttributeReply(
            serial=request.serial, rc=0 if values else RC_NO_SUCH, message=message, values=tuple(values)
        )
        return fx.Answer(client=event.client, answer=answer)

    def _status(self, event: ev.Asked, request: protocol.StatusQuery) -> list[Output]:
        manager = self._manager
        situation = manager.situation
        rights = situation.rights
        view = situation.view
        electorate = manager.electorate
        granted = [
            name
            for name, has in (
                ("keep", rights.keep),
                ("fence", rights.fence),
                ("write", rights.write),
                ("take-over", rights.take_over),
            )
            if has
        ]
        members = set(view.members) if view is not None else set()
        up = set(view.nodes) if view is not None else set()
        nodes = []
        for name, node_id, votes in manager.configuration.nodes:
            record = manager.state.record(name)
            nodes.append(
                protocol.NodeFacts(
                    id=node_id,
                    name=name,
                    in_view=node_id in up,
                    manager=node_id in members,
                    synced=name in situation.online,
                    boot_id=record.boot_id,
                    feature_set=record.feature_set,
                    votes=votes,
                )
            )
        present = sum(electorate.votes.get(name, 0) for name in (*situation.online, *situation.graced))
        replica = manager.replication
        answer = protocol.StatusReply(
            serial=request.serial,
            cib=manager.state.cib.serialize() if request.cib else None,
            cluster=manager.configuration.cluster,
            node=manager.configuration.node,
            node_id=manager.configuration.node_id,
            engine=manager.configuration.engine,
            version=manager.configuration.version,
            dc=situation.dc,
            quorate=rights.quorate,
            votes=present,
            expected_votes=electorate.expected,
            rights=tuple(granted),
            view=(view.id.counter, view.id.coordinator, view.id.minor) if view is not None else (0, 0, 0),
            epoch=replica.epoch if replica is not None else 0,
            nodes=tuple(nodes),
            links=self._links(),
            fences=tuple(self._fences()),
            banners=tuple(self._banners()),
            controller_state=manager.controller.state_name,
            configuration_synced=situation.synced,
        )
        return [fx.Answer(client=event.client, answer=answer)]

    def _links(self) -> tuple[protocol.LinkState, ...]:
        manager = self._manager
        return tuple(
            protocol.LinkState(peer=manager.configuration.name_of(peer), link=link, kind="", address="", up=change.up)
            for (peer, link), change in sorted(manager.links.items())
        )

    def _fences(self) -> list[protocol.FenceRecord]:
        records = []
        for fence in self._manager.state.fences.values():
            request, result = fence.request, fence.result
            state = "pending" if result is None else "success" if result.confirmed else "failed"
            records.append(
                protocol.FenceRecord(
                    id=request.id,
                    target=request.target,
                    action=request.action,
                    origin=request.origin,
                    client=request.client,
                    executor=request.executor,
                    device=result.device if result else "",
                    state=state,
                    reason=result.reason if result else "",
                    cause=request.cause,
                    began_at=request.at,
                    ended_at=result.at if result else 0,
                )
            )
        return records

    def _banners(self) -> list[str]:
        manager = self._manager
        banners = []
        options = manager.controller.options(manager.state)
        if not options.fencing:
            banners.append(
                "FENCING IS SWITCHED OFF (stonith-enabled=false): a lost node is taken for off without proof"
            )
        if options.policy == "ignore":
            banners.append(
                "QUORUM IS IGNORED (no-quorum-policy=ignore): only fencing keeps two halves from serving at once"
            )
        if manager.state.forked:
            banners.append(f"FORKED CONFIGURATION: written without quorum on {manager.state.forked}")
        if not manager.situation.synced:
            banners.append("This node does not hold the cluster's state: what follows may be old")
        for name, record in sorted(manager.state.nodes.items()):
            if record.presence is Presence.LOST:
                banners.append(f"{name} was lost and is not fenced: nothing that it may hold is taken over")
        return banners

    # ---- through the log -------------------------------------------------------------------------

    def _change(self, event: ev.Asked, request: protocol.CibChange, now: int) -> list[Output]:
        manager = self._manager
        situation = manager.situation
        if (
            situation.synced
            and not situation.rights.quorate
            and not situation.rights.write
            and request.section != "status"
            and not request.forced
            and request.request not in manager.state.fates
        ):
            why = dict(situation.rights.why).get("write", "")
            return [
                self._reply(
                    event,
                    rc=RC_QUORUM,
                    message=f"this partition may not change the configuration ({why}); --force writes a named fork",
                )
            ]
        entry = entries.Change(
            request=request.request,
            origin=manager.configuration.node,
            client=request.client,
            user=event.user,
            kind=request.kind,
            section=request.section,
            xpath=request.xpath,
            xml=request.xml,
            allow_create=request.allow_create,
            forced=request.forced,
            at=manager.wall,
        )
        return self._through_log(event, request.request, entry, now)

    def _attribute(self, event: ev.Asked, request: protocol.AttributeSet, now: int) -> list[Output]:
        update = entries.AttributeUpdate(
            request=request.request,
            node=request.node or self._manager.configuration.node,
            name=request.name,
            value=request.value,
            set_type=request.set_type,
            set_id=request.set_id,
            pattern=request.pattern,
            private=request.private,
            user=event.user,
        )
        if request.delay_ms > 0 or not request.wait:
            return [*self._manager.attributes.set(update, request.delay_ms, now), self._reply(event)]
        return self._through_log(event, request.request, update, now)

    def _fence(self, event: ev.Asked, request: protocol.FenceAsked | protocol.FenceConfirmed, now: int) -> list[Output]:
        timeout_ms = request.timeout_ms if isinstance(request, protocol.FenceAsked) else 20_000
        key = request.request or self._new_id()
        known = self._manager.state.fences.get(key)
        if known is not None and known.result is not None and isinstance(request, protocol.FenceAsked):
            if not known.result.void:  # asked again after a lost answer
                rc = 0 if known.result.confirmed else RC_ERROR
                return [self._reply(event, rc=rc, message=known.result.reason)]
            request = msgspec.structs.replace(request, request=self._new_id())
        asked = self._manager.fencer.asked(request, event.user, now, self._manager.state, self._manager.wall)
        out: list[Output] = [*asked, *self._take_over(key, event)]
        self._open[key] = _Open(event.client, request.serial, request, None, now + timeout_ms * MILLISECOND)
        return [*out, fx.SetTimer(name=TIMER, at=now + SECOND)]

    def _fail(self, event: ev.Asked, request: protocol.ResourceFail, now: int) -> list[Output]:
        """A failure by hand: written as the result of an `asyncmon` that nobody ran, as Pacemaker does."""
        manager = self._manager
        state = status.find_node_state(manager.state.cib, request.node)
        history = (
            None
            if state is None
            else next((e for e in state.iter("lrm_resource") if e.get("id") == request.resource), None)
        )
        if history is None:
            message = f"{request.resource} has no history on {request.node}"
            return [self._reply(event, rc=RC_NO_SUCH, message=message)]
        self._number += 1
        result = entries.ActionResult(
            key=f"0:{self._number}:0:by-hand-{manager.configuration.node}-{manager.situation.incarnation}",
            node=request.node, executor=request.node, resource=request.resource,
            agent_class=history.get("class") or "", provider=history.get("provider"), agent=history.get("type") or "",
            operation="asyncmon", interval_ms=0, rc=1, status=0, call_id=self._number,
            reason=f"failure reported by hand ({event.user})", started_at=manager.wall, changed_at=manager.wall,
        )  # fmt: skip
        return [fx.Log(entry=result), self._reply(event)]

    def _through_log(self, event: ev.Asked, request_id: str, entry: entries.Entry, now: int) -> list[Output]:
        request_id = request_id or self._new_id()
        if len(self._open) >= OPEN_MAX:
            return [self._reply(event, rc=RC_TIMEOUT, message="too many requests are open; try again")]
        fate = self._fate(request_id, entry)
        if fate is not None:  # asked again after a lost answer
            return [self._reply(event, rc=fate[0], message=fate[1])]
        if request_id in self._open:
            return self._take_over(request_id, event)
        waiting = self._open[request_id] = _Open(
            event.client, event.request.serial, event.request, entry, now + WAIT_NS
        )
        out: list[Output] = [fx.SetTimer(name=TIMER, at=now + SECOND)]
        if request_id not in self._manager.state.fates and self._may_log(waiting):
            waiting.logged = True
            out.append(fx.Log(entry=entry))
        return out

    def _new_id(self) -> str:
        self._number += 1
        return f"{self._manager.configuration.node}-{self._manager.situation.incarnation}-{self._number}"

    def _take_over(self, key: str, event: ev.Asked) -> list[Output]:
        """The same request once more while it is open: the answer goes to whoever asked last, and it is done once."""
        waiting = self._open.get(key)
        if waiting is None:
            return []
        told = self._answer(waiting, rc=RC_INDETERMINATE, message="asked again with the same request id: answered there")
        waiting.client, waiting.serial = event.client, event.request.serial
        return [told]

    def _fate(self, key: str, entry: entries.Entry | None = None) -> tuple[int, str] | None:
        """What became of a request, once no change of view can undo it. `entry` None: whatever it was."""
        replica = self._manager.replication
        fate = self._manager.state.fates.get(key)
        if fate is None or replica is None:
            return None
        if entry is not None and not isinstance(entry, entries.Change):
            return fate
        forced = isinstance(entry, entries.Change) and entry.forced
        return fate if (replica.writable or (forced and replica.is_synced)) and replica.is_committed(key) else None

    def _may_log(self, waiting: _Open) -> bool:
        """A configuration change waits here until the epoch can commit it (a view change takes a moment)."""
        if not isinstance(waiting.entry, entries.Change) or waiting.entry.section == "status" or waiting.entry.forced:
            return True
        return self._manager.situation.rights.write

    # ---- what the log says -----------------------------------------------------------------------

    def inner(self, event: ev.Applied | ev.Committed | ev.EntryLost, now: int) -> list[Output]:
        entry = event.entry
        if isinstance(entry, entries.FenceResult):
            return self._fence_result(entry, event) if isinstance(event, ev.Applied) else []
        request_id = getattr(entry, "request", "")
        waiting = self._open.get(request_id) if request_id else self._by_entry(entry)
        if waiting is None:
            return []
        match event:
            case ev.Applied():
                if not event.mine:
                    return []
                waiting.applied, waiting.index, waiting.view = True, event.view_index, self._view()
                waiting.rc, waiting.message = event.rc, event.message
            case ev.Committed():
                waiting.committed = True
            case ev.EntryLost():
                waiting.logged = waiting.applied = waiting.committed = False
        return []

    def _view(self) -> ViewId | None:
        replica = self._manager.replication
        return None if replica is None or replica.view is None else replica.view.id

    def _by_entry(self, entry: entries.Entry) -> _Open | None:
        return next(
            (waiting for waiting in self._open.values() if waiting.entry is entry or waiting.entry == entry), None
        )

    def _fence_result(self, result: entries.FenceResult, applied: ev.Applied) -> list[Output]:
        out: list[Output] = []
        for key, waiting in list(self._open.items()):
            request = waiting.request
            if (
                not isinstance(request, (protocol.FenceAsked, protocol.FenceConfirmed))
                or request.target != result.target
            ):
                continue
            if isinstance(request, protocol.FenceConfirmed) and not result.by_hand:
                continue
            if applied.rc:  # an operator's word that was refused; a fencing that was asked for goes on
                if isinstance(request, protocol.FenceConfirmed):
                    del self._open[key]
                    out.append(self._answer(waiting, rc=applied.rc, message=applied.message))
                continue
            if not result.confirmed and not self._manager.fencer.is_final(result):
                continue
            del self._open[key]
            out.append(self._answer(waiting, rc=0 if result.confirmed else RC_ERROR, message=result.reason))
        return out

    def settle(self, now: int) -> list[Output]:
        """Answer what is due; called when nothing else is left to do for an event."""
        manager = self._manager
        replica = manager.replication
        if replica is None or not (self._open or self._idle or self._subscribers):
            return []
        out: list[Output] = []
        for key, waiting in list(self._open.items()):
            if waiting.entry is None:
                continue
            if waiting.applied and waiting.view != self._view():  # its numbers were those of a view that is over
                waiting.logged = waiting.applied = waiting.committed = False
            if not waiting.logged and replica.is_synced:
                fate = self._fate(key, waiting.entry)
                if fate is not None:  # it was applied before the view changed, and survived
                    del self._open[key]
                    out.append(self._answer(waiting, rc=fate[0], message=fate[1]))
                    continue
                if key not in manager.state.fates and self._may_log(waiting):
                    waiting.logged = True
                    out.append(fx.Log(entry=waiting.entry))
                continue
            if self._is_due(waiting):
                del self._open[key]
                out.append(self._answer(waiting, rc=waiting.rc, message=waiting.message))
        if self._idle and manager.controller.is_idle and replica.is_stable():
            out += [self._answer(waiting) for waiting in self._idle]
            self._idle = []
        return [*out, *self._changed()]

    def _is_due(self, waiting: _Open) -> bool:
        if not waiting.applied:
            return False
        if waiting.rc != 0 or not isinstance(waiting.entry, entries.Change):
            return True
        replica = self._manager.replication
        assert replica is not None
        return waiting.committed and replica.is_everywhere(waiting.index)

    def _changed(self) -> list[Output]:
        if not self._subscribers:
            return []
        manager = self._manager
        version = manager.state.cib.version
        view = manager.situation.view
        seen = (
            (version.admin_epoch, version.epoch, version.num_updates),
            (view.id.counter, view.id.coordinator, view.id.minor) if view is not None else (0, 0, 0),
            manager.controller.is_idle,
        )
        out: list[Output] = []
        for client, last in self._subscribers.items():
            if last != seen:
                self._subscribers[client] = seen
                out.append(
                    fx.Answer(client=client, answer=protocol.Changed(version=seen[0], view=seen[1], idle=seen[2]))
                )
        return out

    def timer(self, name: str, now: int) -> list[Output]:
        out: list[Output] = []
        for key, waiting in list(self._open.items()):
            if waiting.deadline <= now:
                del self._open[key]
                out.append(self._expired(waiting))
        for waiting in [waiting for waiting in self._idle if waiting.deadline <= now]:
            self._idle.remove(waiting)
            out.append(self._answer(waiting, rc=RC_TIMEOUT, message="the cluster is not idle yet"))
        if self._open or self._idle:
            out.append(fx.SetTimer(name=TIMER, at=now + SECOND))
        return out

    def _expired(self, waiting: _Open) -> Output:
        if waiting.entry is None:
            return self._answer(waiting, rc=RC_TIMEOUT, message="no result of the fencing yet; it goes on")
        if waiting.logged or getattr(waiting.entry, "request", "") in self._manager.state.fates:
            return self._answer(
                waiting, rc=RC_INDETERMINATE, message="not confirmed in time; ask again with the same request id"
            )
        if not self._manager.situation.synced:
            return self._answer(waiting, rc=RC_DISCONNECTED, message="this node has not joined the cluster yet")
        return self._answer(waiting, rc=RC_QUORUM, message="this partition may not change the configuration: no quorum")

    # ---- answers ---------------------------------------------------------------------------------

    def _answer(self, waiting: _Open, rc: int = 0, message: str = "") -> Output:
        version = self._manager.state.cib.version
        data = {"version": [version.admin_epoch, version.epoch, version.num_updates]}
        return fx.Answer(
            client=waiting.client, answer=protocol.Reply(serial=waiting.serial, rc=rc, message=message, data=data)
        )

    def _reply(self, event: ev.Asked, rc: int = 0, message: str = "", data: Any = None) -> Output:
        return fx.Answer(
            client=event.client, answer=protocol.Reply(serial=event.request.serial, rc=rc, message=message, data=data)
        )


def _plain(record: protocol.FenceRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}
