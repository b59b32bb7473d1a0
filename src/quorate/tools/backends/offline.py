"""A configuration in a file: read when first needed, written back after each change, atomically where it is a file.

The file may be a pipe (`crm_mon_no_validation` gives CIB_file so): it is read once and never sought in.
"""

from __future__ import annotations

import os
import socket
import time

from lxml import etree

from quorate.model import protocol
from quorate.model.cib import Cib, CibError, Operation, apply, query

from ..failure import CommandFailed, Exit
from ..invocation import Invocation


class OfflineBackend:
    live = False

    def __init__(self, call: Invocation, path: str) -> None:
        self._call = call
        self.path = path
        self._cib: Cib | None = None
        self._damaged = ""

    def close(self) -> None:
        self._cib = None

    def local_node(self) -> str:
        """As Pacemaker's tools do without a cluster: the name given for agents, else the host's."""
        return self._call.environ.get("OCF_RESKEY_CRM_meta_on_node") or socket.gethostname()

    def _document(self) -> Cib:
        if self._cib is None:
            try:
                with open(self.path, "rb") as file:
                    data = file.read()
            except FileNotFoundError:
                raise CommandFailed(
                    Exit.DISCONNECT if "CIB_file" in self._call.environ else Exit.NOSUCH,
                    f"There is no configuration file {self.path} (from CIB_file or CIB_shadow)",
                ) from None
            self._cib = self._parse(data)
        return self._cib

    def _parse(self, data: bytes) -> Cib:
        """A damaged file may be looked at as far as it can be read, with a warning; it is never written over."""
        try:
            return Cib.parse(data)
        except CibError as error:
            parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, load_dtd=False)
            root = etree.fromstring(data, parser) if data.strip() and b"<!DOCTYPE" not in data else None
            if root is None or root.tag != "cib" or root.find("configuration") is None:
                raise CommandFailed(Exit.CONFIG, f"{self.path}: {error}") from None
            self._call.error(f"warning: {self.path}: {error}; showing what can be read")
            self._damaged = str(error)
            return Cib.parse(etree.tostring(root))

    def cib(self) -> Cib:
        return self._document().copy()

    def query(
        self, *, section: str | None = None, xpath: str | None = None, no_children: bool = False, pretty: bool = True
    ) -> bytes | None:
        try:
            return query(self._document(), section=section, xpath=xpath, no_children=no_children, pretty=pretty)
        except CibError as error:
            raise CommandFailed(Exit.NOSUCH, str(error)) from None
        except ValueError as error:
            raise CommandFailed(Exit.USAGE, str(error)) from None

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
        cib = self._document()
        if self._damaged:
            raise CommandFailed(Exit.CONFIG, f"{self.path}: {self._damaged}; a damaged file is not changed")
        written = time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(self._call.wall()))
        outcome = apply(
            cib,
            Operation(
                kind=kind,
                section=section,
                xpath=xpath,
                xml=xml,
                allow_create=allow_create,
                force=forced,
                written=written,
                client=self._call.name,
                user=self._call.user or self._call.environ.get("USER") or "root",
                origin=self.local_node(),
            ),
        )
        if outcome.rc:
            raise CommandFailed(outcome.rc, outcome.message)
        if outcome.changed:
            self._write(cib.serialize(pretty=True))

    def _write(self, data: bytes) -> None:
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            with open(self.path, "wb") as file:
                file.write(data)
            return
        real = os.path.realpath(self.path)
        temporary = f"{real}.{os.getpid()}.tmp"
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, real)

    def status(self, *, cib: bool = True) -> protocol.StatusReply:
        """Only what the document says."""
        document = self._document()
        return protocol.StatusReply(serial=0, cib=document.serialize() if cib else None, node=self.local_node())

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
        raise _no_cluster()

    def attributes(self, name: str, *, node: str | None = None) -> tuple[protocol.AttributeValue, ...]:
        raise _no_cluster()

    def request(self, kind: str, *, timeout: float = 30.0, **fields: object) -> protocol.Reply:
        raise _no_cluster()


def _no_cluster() -> CommandFailed:
    return CommandFailed(Exit.DISCONNECT, "This needs a running cluster; CIB_file or CIB_shadow is set")
