"""The manager's sign of life: a stamp in shared memory, written by its event loop, read by the engine and the
supervisor.

A file of 32 bytes in the run directory, mapped by all three: magic, time of the last stamp (BOOTTIME ns), process id.
Whoever reads counts from the later of the stamp and the end of a pause of its own, so that a machine that slept accuses
nobody.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

from quorate.model.ids import MILLISECOND

STAMP_EVERY_NS = 250 * MILLISECOND
_MAGIC = b"quostamp"
_LAYOUT = struct.Struct("<8sQI")
_TIME = struct.Struct("<Q")
_BYTES = 32


class StampWriter:
    """The manager's end. Made anew at each start, so that the stamp of a former run counts for nothing."""

    def __init__(self, path: Path, now: int) -> None:
        scratch = path.with_suffix(".new")
        with open(scratch, "wb") as file:
            file.write(_LAYOUT.pack(_MAGIC, now, os.getpid()).ljust(_BYTES, b"\0"))
        os.replace(scratch, path)
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _BYTES)

    def stamp(self, now: int) -> None:
        _TIME.pack_into(self._memory, 8, now)


class StampReader:
    """An observer's end. Follows the file when a new manager replaces it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._memory: mmap.mmap | None = None
        self._inode = 0

    def read(self) -> tuple[int, int] | None:
        """(process id, time of the stamp), None when there is none."""
        try:
            with open(self._path, "rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if self._memory is None or inode != self._inode:
                    self._memory = mmap.mmap(file.fileno(), _BYTES, access=mmap.ACCESS_READ)
                    self._inode = inode
        except (FileNotFoundError, ValueError):
            self._memory = None
            return None
        magic, stamped_at, process = _LAYOUT.unpack_from(self._memory)
        return (process, stamped_at) if magic == _MAGIC else None
