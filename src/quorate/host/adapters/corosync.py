"""Corosync's client libraries through ctypes: closed process groups, quorum, and the configuration map.

No compiler and no headers are needed: the declarations here follow the manual pages (cpg_overview(3), quorum_overview(3),
cmap_overview(3)). Nothing here blocks as long as Corosync lives: handles give descriptors to wait for, `dispatch` takes
what has come as values of `core/corosync/interface`.
"""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, byref, c_char, c_char_p, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from typing import Any

from quorate.core.corosync.interface import Event, MembersChanged, QuorumChanged, Received, Ring, TotemChanged

PACKAGES = "corosync libcpg4 libquorum5 libcmap4"
_CPG, _QUORUM, _CMAP = "libcpg.so.4", "libquorum.so.5", "libcmap.so.4"

OK, LIBRARY, TIMEOUT, TRY_AGAIN, EXIST = 1, 2, 5, 6, 14
_WORDS = {
    2: "the library lost its connection to Corosync", 5: "timeout", 6: "try again", 7: "invalid parameter",
    8: "no memory", 9: "bad handle", 11: "access denied", 12: "does not exist", 14: "exists", 18: "no resources",
    20: "not supported", 26: "too many groups", 100: "security",
}  # fmt: skip
_ONE_NONBLOCKING = 4
_MODEL_V1 = 1
_INITIAL_TOTEM_CONF = 1
_TRACK_CURRENT_AND_CHANGES = 3
_AGREED = 2
_NAME_MAX = 128
_STATS_MAP = 1


class CorosyncError(Exception):
    """A call failed. `code` is Corosync's."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call}: {_WORDS.get(code, f'error {code}')}")
        self.code = code


class CorosyncAbsent(Exception):
    """The libraries cannot be loaded; the text says what to install."""


class _Name(ctypes.Structure):
    _fields_ = [("length", c_uint32), ("value", c_char * _NAME_MAX)]


class _Address(ctypes.Structure):
    _fields_ = [("node", c_uint32), ("process", c_uint32), ("reason", c_uint32)]


class _RingId(ctypes.Structure):
    _fields_ = [("node", c_uint32), ("sequence", c_uint64)]


class _Vector(ctypes.Structure):
    _fields_ = [("base", c_char_p), ("length", c_size_t)]


_Addresses = POINTER(_Address)
_Nodes = POINTER(c_uint32)
_DeliverFn = CFUNCTYPE(None, c_uint64, POINTER(_Name), c_uint32, c_uint32, c_void_p, c_size_t)
_ConfchgFn = CFUNCTYPE(None, c_uint64, POINTER(_Name), _Addresses, c_size_t, _Addresses, c_size_t, _Addresses, c_size_t)
_TotemFn = CFUNCTYPE(None, c_uint64, _RingId, c_uint32, _Nodes)
_QuorumFn = CFUNCTYPE(None, c_uint64, c_uint32, _RingId, c_uint32, _Nodes)
_NodelistFn = CFUNCTYPE(None, c_uint64, _RingId, c_uint32, _Nodes, c_uint32, _Nodes, c_uint32, _Nodes)


class _CpgModel(ctypes.Structure):
    _fields_ = [
        ("model", c_int), ("deliver", _DeliverFn), ("confchg", _ConfchgFn), ("totem", _TotemFn), ("flags", c_uint),
    ]  # fmt: skip


class _QuorumModel(ctypes.Structure):
    _fields_ = [("model", c_int), ("quorum", _QuorumFn), ("nodelist", _NodelistFn)]


def load(name: str) -> Any:
    """Raises CorosyncAbsent."""
    try:
        return ctypes.CDLL(name)
    except OSError:
        raise CorosyncAbsent(
            f'{name} is not installed, and engine = "corosync" needs it: apt-get install {PACKAGES}, '
            'or use engine = "heartbeat"'
        ) from None


def is_installed() -> bool:
    try:
        for name in (_CPG, _QUORUM, _CMAP):
            load(name)
    except CorosyncAbsent:
        return False
    return True


def _check(call: str, code: int) -> None:
    if code != OK:
        raise CorosyncError(call, code)


class _Handle:
    """A connection to one of Corosync's services."""

    def __init__(self, library: Any, service: str) -> None:
        self._library = library
        self._service = service
        self._handle = c_uint64(0)
        self._is_open = False
        self._gathered: list[Event] = []

    def _opened(self) -> None:
        self._is_open = True

    def fileno(self) -> int:
        descriptor = c_int(-1)
        _check(
            f"{self._service}_fd_get",
            getattr(self._library, f"{self._service}_fd_get")(self._handle, byref(descriptor)),
        )
        return descriptor.value

    def dispatch(self, most: int) -> tuple[list[Event], bool]:
        """Up to `most` things that have come, and whether nothing more waits. Raises CorosyncError when Corosync is
        gone."""
        function = getattr(self._library, f"{self._service}_dispatch")
        emptied = False
        for _ in range(most):
            code = function(self._handle, _ONE_NONBLOCKING)
            if code == TRY_AGAIN:
                emptied = True
                break
            _check(f"{self._service}_dispatch", code)
        gathered, self._gathered = self._gathered, []
        return gathered, emptied

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            getattr(self._library, f"{self._service}_finalize")(self._handle)


class GroupHandle(_Handle):
    """Membership of one process group. One process of a node speaks for it, so members are node ids."""

    def __init__(self, name: str) -> None:
        super().__init__(load(_CPG), "cpg")
        value = name.encode()
        if len(value) >= _NAME_MAX:
            raise ValueError(f"{name}: a group's name has at most {_NAME_MAX - 1} bytes")
        self._name = _Name(len(value), value)
        self._model = _CpgModel(
            _MODEL_V1, _DeliverFn(self._deliver), _ConfchgFn(self._confchg), _TotemFn(self._totem), _INITIAL_TOTEM_CONF
        )
        self._library.cpg_fd_get.argtypes = [c_uint64, POINTER(c_int)]
        self._library.cpg_dispatch.argtypes = [c_uint64, c_int]
        self._library.cpg_finalize.argtypes = [c_uint64]
        self._library.cpg_join.argtypes = [c_uint64, POINTER(_Name)]
        self._library.cpg_leave.argtypes = [c_uint64, POINTER(_Name)]
        self._library.cpg_mcast_joined.argtypes = [c_uint64, c_int, POINTER(_Vector), c_uint]
        self._library.cpg_model_initialize.argtypes = [POINTER(c_uint64), c_int, c_void_p, c_void_p]

    def open(self) -> None:
        _check(
            "cpg_model_initialize",
            self._library.cpg_model_initialize(byref(self._handle), _MODEL_V1, byref(self._model), None),
        )
        self._opened()

    def join(self) -> None:
        """Raises CorosyncError; TRY_AGAIN and EXIST pass (the former run is still leaving)."""
        _check("cpg_join", self._library.cpg_join(self._handle, byref(self._name)))

    def leave(self) -> None:
        """The others hear of it in the agreed order; failures do not matter, the handle is closed next."""
        if self._is_open:
            self._library.cpg_leave(self._handle, byref(self._name))

    def multicast(self, data: bytes) -> bool:
        """Whether Corosync queued it. Raises CorosyncError for anything but "try again"."""
        vector = _Vector(data, len(data))
        code = self._library.cpg_mcast_joined(self._handle, _AGREED, byref(vector), 1)
        if code == TRY_AGAIN:
            return False
        _check("cpg_mcast_joined", code)
        return True

    def _deliver(self, _handle: int, _name: Any, node: int, _process: int, data: int, size: int) -> None:
        self._gathered.append(Received(node=node, data=ctypes.string_at(data, size) if size else b""))

    def _confchg(
        self,
        _handle: int,
        _name: Any,
        members: Any,
        count: int,
        left: Any,
        left_count: int,
        joined: Any,
        joined_count: int,
    ) -> None:
        self._gathered.append(
            MembersChanged(
                members=_unique(members[index].node for index in range(count)),
                left=_unique(left[index].node for index in range(left_count)),
                joined=_unique(joined[index].node for index in range(joined_count)),
            )
        )

    def _totem(self, _handle: int, ring: _RingId, count: int, nodes: Any) -> None:
        self._gathered.append(TotemChanged(ring=_ring(ring), nodes=_unique(nodes[index] for index in range(count))))


class QuorumHandle(_Handle):
    """Which ring is quorate, in votequorum's opinion."""

    def __init__(self) -> None:
        super().__init__(load(_QUORUM), "quorum")
        self._model = _QuorumModel(_MODEL_V1, _QuorumFn(self._quorum), _NodelistFn(self._nodelist))
        self._library.quorum_fd_get.argtypes = [c_uint64, POINTER(c_int)]
        self._library.quorum_dispatch.argtypes = [c_uint64, c_int]
        self._library.quorum_finalize.argtypes = [c_uint64]
        self._library.quorum_trackstart.argtypes = [c_uint64, c_uint]
        self._library.quorum_model_initialize.argtypes = [
            POINTER(c_uint64), c_int, c_void_p, POINTER(c_uint32), c_void_p,
        ]  # fmt: skip

    def open(self) -> None:
        kind = c_uint32(0)
        _check(
            "quorum_model_initialize",
            self._library.quorum_model_initialize(
                byref(self._handle), _MODEL_V1, byref(self._model), byref(kind), None
            ),
        )
        self._opened()
        _check("quorum_trackstart", self._library.quorum_trackstart(self._handle, _TRACK_CURRENT_AND_CHANGES))

    def _quorum(self, _handle: int, quorate: int, ring: _RingId, count: int, nodes: Any) -> None:
        members = _unique(nodes[index] for index in range(count))
        self._gathered.append(QuorumChanged(ring=_ring(ring), nodes=members, quorate=bool(quorate)))

    def _nodelist(self, *_: Any) -> None:
        """The quorum callback, which is made for each ring too, says the same and more."""


class MapHandle:
    """Corosync's configuration, or its statistics, by key. Calls are answered at once while Corosync runs."""

    def __init__(self, statistics: bool = False) -> None:
        library = load(_CMAP)
        library.cmap_initialize_map.argtypes = [POINTER(c_uint64), c_int]
        library.cmap_finalize.argtypes = [c_uint64]
        library.cmap_iter_init.argtypes = [c_uint64, c_char_p, POINTER(c_uint64)]
        library.cmap_iter_next.argtypes = [c_uint64, c_uint64, c_char_p, POINTER(c_size_t), POINTER(c_int)]
        library.cmap_iter_finalize.argtypes = [c_uint64, c_uint64]
        library.cmap_get.argtypes = [c_uint64, c_char_p, c_void_p, POINTER(c_size_t), POINTER(c_int)]
        self._library = library
        self._handle = c_uint64(0)
        _check("cmap_initialize", library.cmap_initialize_map(byref(self._handle), int(statistics)))

    def read(self, prefix: str) -> dict[str, int | float | str]:
        """All values under the prefix. Raises CorosyncError."""
        found: dict[str, int | float | str] = {}
        iterator = c_uint64(0)
        library = self._library
        _check("cmap_iter_init", library.cmap_iter_init(self._handle, prefix.encode(), byref(iterator)))
        try:
            name = ctypes.create_string_buffer(256)
            size, kind = c_size_t(0), c_int(0)
            while library.cmap_iter_next(self._handle, iterator, name, byref(size), byref(kind)) == OK:
                key = name.value
                value = self._value(key, size.value, kind.value)
                if value is not None:
                    found[key.decode(errors="replace")] = value
        finally:
            library.cmap_iter_finalize(self._handle, iterator)
        return found

    def _value(self, key: bytes, size: int, kind: int) -> int | float | str | None:
        buffer = ctypes.create_string_buffer(max(size, 8) + 1)
        length, found_kind = c_size_t(len(buffer)), c_int(0)
        code = self._library.cmap_get(self._handle, key, buffer, byref(length), byref(found_kind))
        if code != OK:
            return None  # gone since it was listed
        raw = buffer.raw[: length.value]
        if 1 <= kind <= 8:  # int8, uint8, ... int64, uint64
            return int.from_bytes(raw, "little", signed=kind % 2 == 1)
        if kind in (9, 10):
            return float((ctypes.c_float if kind == 9 else ctypes.c_double).from_buffer_copy(raw).value)
        if kind == 11:
            return raw.rstrip(b"\0").decode(errors="replace")
        return None

    def close(self) -> None:
        self._library.cmap_finalize(self._handle)


def _ring(ring: _RingId) -> Ring:
    return Ring(sequence=int(ring.sequence), node=int(ring.node))


def _unique(nodes: Any) -> tuple[int, ...]:
    return tuple(sorted({int(node) for node in nodes}))
