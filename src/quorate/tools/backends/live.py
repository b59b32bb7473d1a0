"""The running cluster, through the manager of this node."""

from __future__ import annotations

from typing import Any

from quorate.model import protocol
from quorate.model.cib import Cib, CibError, parse_fragment

from ..client import ANSWER_SECONDS, Connection, request_id
from ..failure import CommandFailed, Exit

_REQUESTS: dict[str, type[Any]] = {
    "fence": protocol.FenceAsked,
    "confirm": protocol.FenceConfirmed,
    "fence-devices": protocol.FenceDevices,
    "fence-history": protocol.FenceHistory,
    "clear-history": protocol.ClearHistory,
    "fail": protocol.ResourceFail,
    "node-remove": protocol.NodeRemove,
    "shutdown": protocol.Shutdown,
    "wait-idle": protocol.WaitIdle,
    "metadata": protocol.Metadata,
    "agents": protocol.Agents,
}


class LiveBackend:
    live = True

    def __init__(self, directory: str, *, client: str, user: str = "") -> None:
        self._connection = Connection(directory, client=client, user=user)

    def close(self) -> None:
        self._connection.close()

    def _common(self) -> dict[str, Any]:
        connection = self._connection
        return {"serial": connection.next_serial(), "user": connection.user, "client": connection.client}

    def local_node(self) -> str:
        return self.status(cib=False).node

    def cib(self) -> Cib:
        data = self.query(pretty=False)
        if data is None:
            raise CommandFailed(Exit.PROTOCOL, "The manager has no configuration yet")
        return _parsed(data)

    def query(
        self, *, section: str | None = None, xpath: str | None = None, no_children: bool = False, pretty: bool = True
    ) -> bytes | None:
        try:
            reply = self._connection.ask(
                protocol.CibQuery(section=section, xpath=xpath, no_children=no_children, **self._common()),
                protocol.Reply,
            )
        except CommandFailed as failure:
            if failure.code == Exit.NOSUCH:
                return None
            raise
        if reply.rc == Exit.NOSUCH or (reply.rc == 0 and reply.data is None):
            return None
        _check(reply)
        data = bytes(reply.data) if isinstance(reply.data, bytes) else str(reply.data).encode()
        return pretty_xml(data) if pretty else data

    def change(
        self,
        kind: str,
        *,
        section: str | None = None,
        xpath: str | None = None,
        xml: bytes | None = None,
        allow_create: bool = False,
        forced: bool = False,
    ) -> None:
        request = request_id()
        _check(
            self._connection.change(
                protocol.CibChange(
                    request=request,
                    kind=kind,
                    section=section,
                    xpath=xpath,
                    xml=xml,
                    allow_create=allow_create,
                    forced=forced,
                    **self._common(),
                ),
                request,
            )
        )

    def status(self, *, cib: bool = True) -> protocol.StatusReply:
        answer = self._connection.ask(protocol.StatusQuery(cib=cib, **self._common()), protocol.StatusReply)
        if answer.rc:
            raise CommandFailed(answer.rc, answer.message)
        return answer

    def set_attribute(
        self,
        name: str,
        value: str | None,
        *,
        node: str | None = None,
        set_type: str = "instance_attributes",
        set_id: str | None = None,
        pattern: bool = False,
        private: bool = False,
        delay_ms: int = 0,
    ) -> None:
        request = request_id()
        _check(
            self._connection.change(
                protocol.AttributeSet(
                    request=request,
                    name=name,
                    value=value,
                    node=node,
                    set_type=set_type,
                    set_id=set_id,
                    pattern=pattern,
                    private=private,
                    delay_ms=delay_ms,
                    wait=delay_ms == 0,
                    **self._common(),
                ),
                request,
            )
        )

    def attributes(self, name: str, *, node: str | None = None) -> tuple[protocol.AttributeValue, ...]:
        answer = self._connection.ask(
            protocol.AttributeQuery(name=name, node=node, **self._common()), protocol.AttributeReply
        )
        if answer.rc == Exit.NOSUCH:
            return ()
        if answer.rc:
            raise CommandFailed(answer.rc, answer.message)
        return answer.values

    def request(self, kind: str, *, timeout: float = ANSWER_SECONDS, **fields: object) -> protocol.Reply:
        shape = _REQUESTS[kind]
        if "request" in shape.__struct_fields__:
            key = request_id()
            value = shape(request=key, **self._common(), **fields)
            reply = self._connection.change(value, key, timeout=timeout)
        else:
            reply = self._connection.ask(shape(**self._common(), **fields), protocol.Reply, timeout=timeout)
        return _check(reply)


def _check(reply: protocol.Reply) -> protocol.Reply:
    if reply.rc:
        raise CommandFailed(reply.rc, reply.message)
    return reply


def _parsed(data: bytes) -> Cib:
    try:
        return Cib.parse(data)
    except CibError as error:
        raise CommandFailed(Exit.PROTOCOL, f"The manager's configuration cannot be read: {error}") from None


def pretty_xml(data: bytes) -> bytes:
    from lxml import etree

    try:
        return etree.tostring(parse_fragment(data), encoding="utf-8", xml_declaration=False, pretty_print=True)
    except CibError as error:
        raise CommandFailed(Exit.PROTOCOL, f"The manager's answer cannot be read: {error}") from None
