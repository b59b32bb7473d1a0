"""The machine's clocks and its identity for this boot.

A container or a node in a PID namespace that is killed and started again is a new boot although the kernel goes on:
inside such a namespace the start of its process 1 is part of the boot id, unless an id of its own is mounted there.
`QUORATE_BOOT_ID` names one by hand, for several nodes on one machine without namespaces.
"""

from __future__ import annotations

import os
import time

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # include/linux/proc_ns.h: PROC_PID_INIT_INO


def now() -> int:
    """BOOTTIME in nanoseconds: the one clock of the core."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wall() -> int:
    """Wall-clock seconds, for display and rules with dates."""
    return int(time.time())


def boot_id() -> str:
    named = os.environ.get("QUORATE_BOOT_ID", "")
    if named:
        return named
    with open(_BOOT_ID) as file:
        kernel = file.read().strip()
    if not in_own_pid_namespace() or _has_id_of_its_own():
        return kernel
    with open("/proc/1/stat") as file:
        started = file.read().rpartition(")")[2].split()[19]  # field 22, starttime
    import hashlib

    digest = hashlib.sha256(f"{kernel} {_pid_namespace()} {started}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"


def in_own_pid_namespace() -> bool:
    """This node is a container or a namespace of a larger machine."""
    return _pid_namespace() != _INITIAL_PID_NAMESPACE


def _has_id_of_its_own() -> bool:
    """Whoever made the namespace has mounted a boot id over the kernel's."""
    with open("/proc/self/mountinfo") as file:
        return any(line.split()[4] == _BOOT_ID for line in file)


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino
