"""Inside a node with Corosync: the same flood as `flood.py`, through libcpg. `cpg.py NODES SECONDS`."""

from __future__ import annotations

import ctypes
import json
import select
import sys
import time

PAYLOAD = b"x" * 200
UNDER_WAY_MAX = 64
TYPE_AGREED = 2
OK, TRY_AGAIN = 1, 6


class Name(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint32), ("value", ctypes.c_char * 128))


class Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


DELIVER = ctypes.CFUNCTYPE(
    None, ctypes.c_uint64, ctypes.POINTER(Name), ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t
)
CONFIGURATION = ctypes.CFUNCTYPE(
    None, ctypes.c_uint64, ctypes.POINTER(Name), ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t,
    ctypes.c_void_p, ctypes.c_size_t,
)  # fmt: skip


class Callbacks(ctypes.Structure):
    _fields_ = (("deliver", DELIVER), ("configuration", CONFIGURATION))


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def main() -> None:
    nodes, seconds = int(sys.argv[1]), float(sys.argv[2])
    library = ctypes.CDLL("libcpg.so.4")
    state = {"members": 0, "delivered": 0, "under_way": 0}
    own = ctypes.c_uint()

    @DELIVER
    def deliver(_handle, _name, node, _pid, _message, _length):  # type: ignore[no-untyped-def]
        state["delivered"] += 1
        state["under_way"] -= node == own.value

    @CONFIGURATION
    def configuration(_h, _n, _members, count, _left, _left_count, _joined, _joined_count):  # type: ignore[no-untyped-def]
        state["members"] = count

    callbacks = Callbacks(deliver, configuration)
    handle = ctypes.c_uint64()
    deadline = now() + 20 * 10**9
    while library.cpg_initialize(ctypes.byref(handle), ctypes.byref(callbacks)) != OK:
        if now() > deadline:
            sys.exit("corosync does not answer")
        time.sleep(0.05)
    library.cpg_local_get(handle, ctypes.byref(own))
    name = Name(length=5, value=b"flood")
    while library.cpg_join(handle, ctypes.byref(name)) != OK:
        time.sleep(0.05)
    fd = ctypes.c_int()
    library.cpg_fd_get(handle, ctypes.byref(fd))
    vector = Vector(PAYLOAD, len(PAYLOAD))

    def turn(send: bool, timeout: float) -> None:
        while send and state["under_way"] < UNDER_WAY_MAX:
            if library.cpg_mcast_joined(handle, TYPE_AGREED, ctypes.byref(vector), 1) != OK:
                break
            state["under_way"] += 1
        if select.select([fd.value], [], [], timeout)[0]:
            library.cpg_dispatch(handle, 2)  # all that is there

    while state["members"] < nodes:
        turn(False, 0.1)
    begin = now() + int(0.5e9)
    while now() < begin:
        turn(True, 0.002)
    counted, began = state["delivered"], now()
    while now() < began + int(seconds * 1e9):
        turn(True, 0.002)
    print(json.dumps({"rate": (state["delivered"] - counted) / ((now() - began) / 1e9), "lost": 0}), flush=True)
    end = now() + int(2e9)
    while now() < end:
        turn(True, 0.002)


if __name__ == "__main__":
    main()
