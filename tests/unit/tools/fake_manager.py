"""A manager of one's own on a Unix socket: the protocol of model/protocol.py over a CIB in memory, for the tools' tests.

`drop_next`: the next change is made but the connection closes before its answer (a lost answer); with `forget_next` its
fate is forgotten too.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from types import TracebackType

from quorate.model import protocol
from quorate.model.cib import Cib, CibError, Operation, apply, query

HEADER = struct.Struct(">I")
CIB = b"""<cib crm_feature_set="3.20.1" validate-with="pacemaker-3.9" epoch="5" num_updates="0" admin_epoch="0" have-quorum="1" dc-uuid="1">
<configuration><crm_config/><nodes><node id="1" uname="node1"/><node id="2" uname="node2"/></nodes>
<resources><primitive id="web" class="ocf" provider="pacemaker" type="Dummy"/></resources><constraints/></configuration>
<status><node_state id="1" uname="node1" in_ccm="true" crmd="online" join="member" expected="member">
<lrm id="1"><lrm_resources><lrm_resource id="web" type="Dummy" class="ocf" provider="pacemaker">
<lrm_rsc_op id="web_last_0" operation_key="web_start_0" operation="start"
 transition-key="1:1:0:u" transition-magic="0:0;1:1:0:u" call-id="5" rc-code="0" op-status="0" interval="0"/>
</lrm_resource></lrm_resources></lrm></node_state>
<node_state id="2" uname="node2" in_ccm="true" crmd="online" join="member" expected="member"/></status></cib>"""


class FakeManager:
    """Use as a context manager; `asked` holds every request."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.cib = Cib.parse(CIB)
        self.attributes: dict[tuple[str, str], str] = {}
        self.asked: list[protocol.Request] = []
        self.fates: dict[str, protocol.Reply] = {}
        self.drop_next = False
        self.forget_next = False
        self.refuse: dict[str, protocol.Reply] = {}  # request's tag -> answer
        self.fences: tuple[protocol.FenceRecord, ...] = ()
        self.banners: tuple[str, ...] = ()
        self.links: tuple[protocol.LinkState, ...] = ()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(os.path.join(directory, "manager.sock"))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._closed = False

    def __enter__(self) -> FakeManager:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while True:
                header = connection.recv(4, socket.MSG_WAITALL)
                if len(header) < 4:
                    return
                data = connection.recv(HEADER.unpack(header)[0], socket.MSG_WAITALL)
                request = protocol.decode_request(data)
                with self._lock:
                    self.asked.append(request)
                    answer = self._answer(request)
                    if self.drop_next and hasattr(request, "request") and not isinstance(request, protocol.Fate):
                        self.drop_next = False
                        if self.forget_next:
                            self.forget_next = False
                            self.fates.clear()
                        return
                body = protocol.encode(answer)
                connection.sendall(HEADER.pack(len(body)) + body)

    def _answer(self, request: protocol.Request) -> protocol.Answer:
        tag = request.__struct_config__.tag
        refused = self.refuse.get(str(tag))
        if refused is not None:
            return protocol.Reply(serial=request.serial, rc=refused.rc, message=refused.message, data=refused.data)
        answer = self._work(request)
        if (
            isinstance(answer, protocol.Reply)
            and hasattr(request, "request")
            and not isinstance(request, protocol.Fate)
        ):
            self.fates[request.request] = answer
        return answer

    def _work(self, request: protocol.Request) -> protocol.Answer:
        serial = request.serial
        match request:
            case protocol.CibQuery():
                try:
                    data = query(
                        self.cib, section=request.section, xpath=request.xpath, no_children=request.no_children
                    )
                except (CibError, ValueError) as error:
                    return protocol.Reply(serial=serial, rc=105, message=str(error))
                return protocol.Reply(serial=serial, rc=0 if data is not None else 105, data=data)
            case protocol.CibChange():
                outcome = apply(
                    self.cib,
                    Operation(
                        kind=request.kind,
                        section=request.section,
                        xpath=request.xpath,
                        xml=request.xml,
                        allow_create=request.allow_create,
                        force=request.forced,
                    ),
                )
                return protocol.Reply(serial=serial, rc=outcome.rc, message=outcome.message)
            case protocol.AttributeSet():
                key = (request.node or "node1", request.name)
                if request.value is None:
                    self.attributes.pop(key, None)
                else:
                    self.attributes[key] = request.value
                return protocol.Reply(serial=serial)
            case protocol.AttributeQuery():
                wanted = {None: "node1"}.get(request.node, request.node)
                values = tuple(
                    protocol.AttributeValue(node=node, name=name, value=value)
                    for (node, name), value in sorted(self.attributes.items())
                    if name == request.name and wanted in ("", node)
                )
                return protocol.AttributeReply(serial=serial, values=values)
            case protocol.StatusQuery():
                facts = tuple(
                    protocol.NodeFacts(
                        id=number,
                        name=f"node{number}",
                        in_view=True,
                        manager=True,
                        synced=True,
                        boot_id="b",
                        feature_set="3.20.1",
                        votes=1,
                    )
                    for number in (1, 2)
                )
                return protocol.StatusReply(
                    serial=serial,
                    cib=self.cib.serialize() if request.cib else None,
                    cluster="test",
                    node="node1",
                    node_id=1,
                    engine="heartbeat",
                    version="0.1",
                    dc="node1",
                    quorate=True,
                    votes=2,
                    expected_votes=2,
                    rights=("keep", "fence", "write", "take-over"),
                    nodes=facts,
                    controller_state="S_IDLE",
                    configuration_synced=True,
                    fences=self.fences,
                    banners=self.banners,
                    links=self.links,
                )
            case protocol.Fate():
                known = self.fates.get(request.request)
                data = {
                    "known": known is not None,
                    "rc": known.rc if known else 0,
                    "message": known.message if known else "",
                }
                return protocol.Reply(serial=serial, data=data)
            case protocol.FenceDevices():
                return protocol.Reply(
                    serial=serial, data=["fd", "f2"] if request.target in (None, "node1", "node2") else []
                )
        return protocol.Reply(serial=serial)
