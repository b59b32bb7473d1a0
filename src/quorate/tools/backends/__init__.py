"""Where a command reads and writes: the live cluster, or a CIB in a file (CIB_file, CIB_shadow).

One protocol for both, so that every administrative action in `tools/commands` is written once. What only a running
cluster can do (fencing, waiting, cleaning up) raises CommandFailed(102) offline.
"""

from __future__ import annotations

import os
from typing import Protocol

from quorate.model import protocol
from quorate.model.cib import Cib

from ..client import run_dir
from ..failure import CommandFailed, Exit
from ..invocation import Invocation

SHADOW_DIR_DEFAULT = "/var/lib/quorate/shadow"


class Backend(Protocol):
    """All methods raise CommandFailed with Pacemaker's exit code."""

    live: bool

    def local_node(self) -> str:
        """Name of this node ("" when it cannot be known)."""

    def cib(self) -> Cib:
        """The whole document, the caller's own copy."""

    def query(
        self, *, section: str | None = None, xpath: str | None = None, no_children: bool = False, pretty: bool = True
    ) -> bytes | None:
        """The XML asked for; None when there is no such thing."""

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
        """One CIB operation (`model.cib.KINDS`), all or nothing."""

    def status(self, *, cib: bool = True) -> protocol.StatusReply:
        """Facts that are not in the CIB: fencing history, links, banners, rights."""

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
        """A transient node attribute; value None deletes."""

    def attributes(self, name: str, *, node: str | None = None) -> tuple[protocol.AttributeValue, ...]:
        """Values of a transient attribute; node None: this node, "": all nodes."""

    def request(self, kind: str, *, timeout: float = 30.0, **fields: object) -> protocol.Reply:
        """Any other request of `model.protocol` by its tag. Ids are added where the request has one."""

    def close(self) -> None: ...


def is_offline(call: Invocation) -> bool:
    return bool(call.environ.get("CIB_file") or call.environ.get("CIB_shadow"))


def shadow_path(call: Invocation, name: str) -> str:
    """The file of a shadow configuration. Names that leave the directory are refused."""
    if not name or "/" in name or name.startswith("."):
        raise CommandFailed(Exit.USAGE, f"{name!r} cannot be the name of a shadow configuration")
    return os.path.join(call.environ.get("CIB_shadow_dir") or SHADOW_DIR_DEFAULT, f"shadow.{name}")


def open_backend(call: Invocation) -> Backend:
    if is_offline(call):
        from .offline import OfflineBackend

        path = call.environ.get("CIB_file") or shadow_path(call, call.environ["CIB_shadow"])
        return OfflineBackend(call, call.path(path))
    from .live import LiveBackend

    return LiveBackend(run_dir(call.environ), client=call.name, user=call.user)
