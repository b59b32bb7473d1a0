"""The state on disk: generations of the configuration, a journal of the changes since, the promised epoch.

A directory holds `cib-N.xml` (the CIB with a trailer of version and checksum), `journal-N` (records since generation
N), `promise`, `forks/` and `lock`. What a call has returned from is durable; what it was interrupted in is there whole
or not at all. A damaged file is passed over for the one before it and what of the journals still follows from that; it
is kept under another name and told in `StoredState.report`.

Not decided here: when to save, and what a position is worth. Two rules of the log show all the same: a promise never
goes down (where damage may have taken one, a gap is added, since epochs need only grow), and a lineage is claimed only
with every byte that belonged to it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quorate.core.events import StoredState
from quorate.model.entries import Position

GENERATIONS_MAX = 10
DAMAGED_MAX = 10
FORKS_MAX = 50
RECORD_BYTES_MAX = 256 * 1024 * 1024
PROMISE_GAP = 1024  # added when a promise may have been lost to damage

_NOWHERE = Position(0, 0)
_DIGEST_BYTES = 16
_RECORD = struct.Struct(">IQQ")  # bytes of data, lineage, index
_HEADER = struct.Struct(">8sQQQ")  # magic, generation, position that the journal follows
_MAGIC = b"quorate1"
_HEADER_BYTES = _HEADER.size + _DIGEST_BYTES
_RECORD_BYTES = _RECORD.size + _DIGEST_BYTES
_generation_name = re.compile(r"cib-(\d+)\.xml")
_journal_name = re.compile(r"journal-(\d+)")
_trailer = re.compile(
    rb"<!-- quorate-state generation=(\d+) promised=(\d+) lineage=(\d+) index=(\d+) bytes=(\d+)"
    rb" sha256=([0-9a-f]{64}) -->\n"
)
_promise = re.compile(rb"promised=(\d+) lineage=(\d+) generation=(\d+) journal=(\d+) sha256=([0-9a-f]{64})\n")


class StorageError(Exception):
    """The directory cannot be read or written: the message names the place and what to do. Nothing stored is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Generation:
    number: int
    promised: int
    position: Position
    xml: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Promise:
    promised: int = 0
    lineage: int = 0
    generation: int = 0
    journal_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Journal:
    """The valid part of a journal file. `damaged`: there is more, and not because a write was cut short."""

    base: Position
    records: tuple[tuple[Position, bytes], ...]
    valid_bytes: int
    file_bytes: int
    damaged: bool


class Storage:
    """Not safe for several threads at once; the driver gives it one. Every method may raise StorageError."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory).absolute()  # the agents' runner changes directory now and then
        self._lock: int | None = None
        self._generation = 0
        self._position = _NOWHERE
        self._promised = _Promise()
        self._journal: int | None = None
        self._journal_bytes = 0
        self._broken = ""

    # ---- the four operations ------------------------------------------------------------------------------------

    def load(self) -> StoredState:
        """Read what is there; once, before anything else. Repairs what was damaged, and says so."""
        self._open_directory()
        report: list[str] = []
        generations = self._numbers(_generation_name)
        chosen = self._newest_valid(generations, report)
        promise, promise_lost = self._read_promise(report)
        newest = max([*generations, *self._numbers(_journal_name), 0])
        records, position, journal, whole = self._replay(chosen, newest, report)
        promised = max(promise.promised, chosen.promised if chosen else 0, position.lineage)
        present = promise.generation == (chosen.number if chosen else 0)
        if present and whole and journal < promise.journal_bytes:
            lost = promise.journal_bytes - journal
            path = self.directory / f"journal-{newest}"
            report.append(f"{path} lacks {lost} bytes that were there once; check the disk")
            whole = False
        suspect = promise_lost or not whole
        if suspect:
            promised += PROMISE_GAP
        elif present and promise.lineage > position.lineage:
            position = Position(promise.lineage, 0)
        self._generation, self._position = newest, position
        self._promised = _Promise(promised=promised, lineage=position.lineage, generation=newest)
        if suspect:
            self._rewrite(promised, chosen, records, position)
        else:
            self._journal_bytes = journal
        return StoredState(
            promised=promised,
            position=position,
            cib=chosen.xml if chosen else None,
            journal=records,
            report="; ".join(report),
        )

    def save_state(self, promised: int, position: Position, xml: bytes) -> None:
        """Store a new generation; the journal begins anew."""
        number = self._generation + 1
        promised = max(promised, self._promised.promised)
        self._write_whole(f"cib-{number}.xml", _sealed(number, promised, position, xml))
        self._close_journal()
        self._generation, self._position, self._broken = number, position, ""
        self._promised = _Promise(promised=promised, lineage=position.lineage, generation=number)
        self._drop_old()

    def append(self, records: Sequence[tuple[Position, bytes]]) -> None:
        """Add configuration entries to the journal, one fsync for all of them."""
        if not records:
            return
        if self._broken:
            raise StorageError(self._broken)
        descriptor = self._open_journal()
        data = b"".join(_framed(self._generation, position, record) for position, record in records)
        path = self.directory / f"journal-{self._generation}"
        try:
            _write_all(descriptor, data, self._journal_bytes)
        except OSError as error:
            self._cut_back(descriptor)
            raise _failed("write", path, error) from error
        try:
            os.fdatasync(descriptor)
        except OSError as error:  # what is on disk now is unknown: only a new generation helps
            self._cut_back(descriptor)
            failure = _failed("flush", path, error)
            self._broken = f"{failure}; refusing further changes until the whole state is stored anew"
            raise failure from error
        self._journal_bytes += len(data)
        self._position = records[-1][0]

    def save_promise(self, promised: int, lineage: int) -> None:
        """Store the promised epoch, and the lineage that the stored state belongs to from now on."""
        promise = _Promise(
            promised=max(promised, self._promised.promised),
            lineage=lineage,
            generation=self._generation,
            journal_bytes=self._journal_bytes,
        )
        self._write_whole("promise", _promise_text(promise))
        self._promised = promise
        if lineage > self._position.lineage:
            self._position = Position(lineage, 0)

    def save_fork(self, name: str, xml: bytes) -> Path:
        """Keep a configuration that the cluster has not chosen; the newest FORKS_MAX are kept. The file's path."""
        forks = self.directory / "forks"
        try:
            forks.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _failed("create", forks, error) from error
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "fork"
        number = 0
        while (forks / _fork_name(plain, number)).exists():
            number += 1
        path = forks / _fork_name(plain, number)
        self._write_whole(f"forks/{path.name}", xml)
        _keep_newest(forks, "*.xml", FORKS_MAX)
        return path

    @property
    def journal_bytes(self) -> int:
        """Size of the present journal; when it is large, a new generation makes the next start quick again."""
        return self._journal_bytes

    def close(self) -> None:
        self._close_journal()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # ---- loading ------------------------------------------------------------------------------------------------

    def _open_directory(self) -> None:
        path = self.directory
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _failed("create", path, error) from error
        try:
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _failed("write to", path, error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            self._lock = None
            message = f"{path} is in use by another manager; stop it first, or give this node its own directory"
            raise StorageError(message) from None
        for left in path.glob(".new-*"):
            left.unlink(missing_ok=True)

    def _numbers(self, pattern: re.Pattern[str]) -> list[int]:
        try:
            names = os.listdir(self.directory)
        except OSError as error:
            raise _failed("read", self.directory, error) from error
        return sorted((int(match[1]) for name in names if (match := pattern.fullmatch(name))), reverse=True)

    def _newest_valid(self, generations: list[int], report: list[str]) -> _Generation | None:
        for number in generations:
            name = f"cib-{number}.xml"
            found = _unsealed(number, self._read(name) or b"")
            if found is not None:
                return found
            kept = self._set_aside(name)
            report.append(
                f"{self.directory / name} is damaged: it was passed over for the generation before it "
                f"and kept as {kept}; check the disk"
            )
        return None

    def _read_promise(self, report: list[str]) -> tuple[_Promise, bool]:
        data = self._read("promise")
        if data is None:
            return _Promise(), False
        match = _promise.fullmatch(data)
        if match is not None:
            promise = _Promise(
                promised=int(match[1]), lineage=int(match[2]), generation=int(match[3]), journal_bytes=int(match[4])
            )
            if _promise_text(promise) == data:
                return promise, False
        kept = self._set_aside("promise")
        path = self.directory / "promise"
        report.append(f"{path} is damaged and kept as {kept}; epochs go on after a gap; check the disk")
        return _Promise(), True

    def _replay(
        self, chosen: _Generation | None, newest: int, report: list[str]
    ) -> tuple[tuple[tuple[Position, bytes], ...], Position, int, bool]:
        """The journals that follow from the chosen generation: records, position after them, bytes of the newest one,
        and whether that is all there ever was."""
        position = chosen.position if chosen else _NOWHERE
        first = chosen.number if chosen else 0
        records: list[tuple[Position, bytes]] = []
        valid_bytes, whole = 0, first == newest
        for number in range(first, newest + 1):
            name = f"journal-{number}"
            data = self._read(name)
            if data is None:
                if number == first:
                    continue
                break
            journal = _parse_journal(number, data)
            if number != first and journal.base != position:
                report.append(f"{self.directory / name} does not follow from generation {first} and was not used")
                whole = False
                break
            records.extend(journal.records)
            position = journal.records[-1][0] if journal.records else position
            valid_bytes = journal.valid_bytes
            if journal.damaged:
                kept = self._set_aside(name)
                lost = journal.file_bytes - journal.valid_bytes
                report.append(
                    f"{self.directory / name} is damaged at byte {journal.valid_bytes}: the {len(journal.records)} "
                    f"changes before it are used, {lost} bytes are not; kept as {kept}; check the disk"
                )
                whole = False
                break
            if journal.file_bytes != journal.valid_bytes:
                path = self.directory / name
                report.append(f"{path} ended in the middle of a change that was never acknowledged; cut off")
                self._truncate(name, journal.valid_bytes)
        return tuple(records), position, valid_bytes, whole

    def _rewrite(
        self, promised: int, chosen: _Generation | None, records: tuple[tuple[Position, bytes], ...], position: Position
    ) -> None:
        """After damage: store what could be read as a generation of its own, so that nothing follows a damaged file."""
        if chosen is not None:
            self.save_state(promised, chosen.position, chosen.xml)
        else:
            self._generation += 1
            self._position = _NOWHERE
        self.append(records)
        self.save_promise(promised, position.lineage)

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.directory / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed("read", self.directory / name, error) from error

    def _set_aside(self, name: str) -> str:
        kept = f"damaged-{name}"
        try:
            os.replace(self.directory / name, self.directory / kept)
            _sync_directory(self.directory)
        except OSError as error:
            raise _failed("rename", self.directory / name, error) from error
        _keep_newest(self.directory, "damaged-*", DAMAGED_MAX)
        return kept

    def _truncate(self, name: str, size: int) -> None:
        path = self.directory / name
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.ftruncate(descriptor, size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _failed("cut", path, error) from error

    # ---- writing ------------------------------------------------------------------------------------------------

    def _write_whole(self, name: str, data: bytes) -> None:
        """All of it under its name, or nothing: a new file, flushed, renamed, and the directory flushed."""
        path = self.directory / name
        temporary = self.directory / f".new-{path.name}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write_all(descriptor, data, 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
            _sync_directory(path.parent)
        except OSError as error:
            try:
                os.unlink(temporary)
            except OSError:
                pass  # the error that matters is the first one; load removes what is left
            raise _failed("write", path, error) from error

    def _open_journal(self) -> int:
        if self._journal is not None:
            return self._journal
        path = self.directory / f"journal-{self._generation}"
        try:
            if self._journal_bytes < _HEADER_BYTES:
                self._write_whole(path.name, _journal_header(self._generation, self._position))
                self._journal_bytes = _HEADER_BYTES
            self._journal = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _failed("open", path, error) from error
        return self._journal

    def _close_journal(self) -> None:
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None
        self._journal_bytes = 0

    def _cut_back(self, descriptor: int) -> None:
        """Take back what a failed append may have written; load would cut it off, or find it whole, unacknowledged."""
        try:
            os.ftruncate(descriptor, self._journal_bytes)
        except OSError as error:
            self._broken = f"{_failed('cut', self.directory / f'journal-{self._generation}', error)}"

    def _drop_old(self) -> None:
        oldest = self._generation - GENERATIONS_MAX
        for pattern, form in ((_generation_name, "cib-{}.xml"), (_journal_name, "journal-{}")):
            for number in self._numbers(pattern):
                if number <= oldest:
                    (self.directory / form.format(number)).unlink(missing_ok=True)


# ---- forms on disk ------------------------------------------------------------------------------------------------


def _sealed(number: int, promised: int, position: Position, xml: bytes) -> bytes:
    body = xml if xml.endswith(b"\n") else xml + b"\n"
    fields = f"generation={number} promised={promised} lineage={position.lineage} index={position.index}"
    fields += f" bytes={len(xml)}"
    digest = hashlib.sha256(xml + fields.encode()).hexdigest()
    return body + f"<!-- quorate-state {fields} sha256={digest} -->\n".encode()


def _unsealed(number: int, data: bytes) -> _Generation | None:
    start = data.rfind(b"<!-- quorate-state ")
    match = _trailer.fullmatch(data, start) if start >= 0 else None
    if match is None:
        return None
    xml = data[: int(match[5])]
    position = Position(int(match[3]), int(match[4]))
    if int(match[1]) != number or _sealed(number, int(match[2]), position, xml) != data:
        return None
    return _Generation(number=number, promised=int(match[2]), position=position, xml=xml)


def _promise_text(promise: _Promise) -> bytes:
    fields = f"promised={promise.promised} lineage={promise.lineage}"
    fields += f" generation={promise.generation} journal={promise.journal_bytes}"
    return f"{fields} sha256={hashlib.sha256(fields.encode()).hexdigest()}\n".encode()


def _digest(generation: int, *parts: bytes) -> bytes:
    state = hashlib.blake2b(generation.to_bytes(8, "big"), digest_size=_DIGEST_BYTES)
    for part in parts:
        state.update(part)
    return state.digest()


def _journal_header(generation: int, position: Position) -> bytes:
    header = _HEADER.pack(_MAGIC, generation, position.lineage, position.index)
    return header + _digest(generation, header)


def _framed(generation: int, position: Position, data: bytes) -> bytes:
    head = _RECORD.pack(len(data), position.lineage, position.index)
    return head + _digest(generation, head, data) + data


def _parse_journal(generation: int, data: bytes) -> _Journal:
    size = len(data)
    if size < _HEADER_BYTES or data[_HEADER.size : _HEADER_BYTES] != _digest(generation, data[: _HEADER.size]):
        # the header comes with the file, in one rename: anything else is damage
        return _Journal(base=_NOWHERE, records=(), valid_bytes=0, file_bytes=size, damaged=True)
    _, _, lineage, index = _HEADER.unpack_from(data)
    records: list[tuple[Position, bytes]] = []
    offset, damaged = _HEADER_BYTES, False
    while offset < size:
        end = offset + _RECORD_BYTES
        if end > size:
            break
        head = data[offset : offset + _RECORD.size]
        length, record_lineage, record_index = _RECORD.unpack(head)
        record = data[end : end + length]
        if length > RECORD_BYTES_MAX or _digest(generation, head, record) != data[offset + _RECORD.size : end]:
            # a write that was cut short reaches the end of the file; a file system may have left zeros there
            damaged = end + length < size and any(data[offset:])
            break
        records.append((Position(record_lineage, record_index), record))
        offset = end + length
    return _Journal(
        base=Position(lineage, index), records=tuple(records), valid_bytes=offset, file_bytes=size, damaged=damaged
    )


def _fork_name(plain: str, number: int) -> str:
    return f"{plain}.xml" if number == 0 else f"{plain}.{number}.xml"


# ---- files --------------------------------------------------------------------------------------------------------


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_newest(directory: Path, pattern: str, count: int) -> None:
    try:
        aged = sorted(((path.stat().st_mtime_ns, path.name, path) for path in directory.glob(pattern)), reverse=True)
        for _, _, path in aged[count:]:
            path.unlink(missing_ok=True)
    except OSError:
        return  # what is kept too long does no harm


_REMEDIES = {
    "ENOSPC": "free some space on that file system",
    "EDQUOT": "raise the quota or free some space",
    "EROFS": "mount that file system for writing",
    "EACCES": "run as root, or give the directory to the user who runs quorate",
    "EPERM": "run as root, or give the directory to the user who runs quorate",
    "EIO": "check the disk (dmesg, smartctl)",
    "ENOTDIR": "a part of the path is a file; choose another directory",
}


def _failed(what: str, path: Path, error: OSError) -> StorageError:
    code = errno.errorcode.get(error.errno or 0, "")
    remedy = _REMEDIES.get(code, "check the directory and its file system")
    return StorageError(f"cannot {what} {path}: {error.strerror or error}; {remedy}")
