"""What was stored is there again: whole, or as it was before, or reported as damaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from quorate.core.events import StoredState
from quorate.host import storage as module
from quorate.host.storage import PROMISE_GAP, Storage, StorageError
from quorate.model.entries import Position

XML = b'<cib epoch="1"><configuration/><status/></cib>'
OTHER = b'<cib epoch="2"><configuration/><status/></cib>'


def load(directory: Path) -> StoredState:
    storage = Storage(directory)
    try:
        return storage.load()
    finally:
        storage.close()


def opened(directory: Path) -> Storage:
    storage = Storage(directory)
    storage.load()
    return storage


def test_nothing_stored(tmp_path: Path) -> None:
    assert load(tmp_path / "a" / "b") == StoredState(promised=0, position=Position(0, 0), cib=None)


def test_state_journal_and_promise_come_back(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    storage.save_state(3, Position(3, 10), XML)
    storage.append([(Position(3, 11), b"one"), (Position(3, 12), b"")])
    storage.append([(Position(3, 13), b"three")])
    storage.save_promise(5, 3)
    storage.close()
    again = load(tmp_path)
    assert again.promised == 5 and again.position == Position(3, 13) and again.cib == XML and again.report == ""
    assert again.journal == ((Position(3, 11), b"one"), (Position(3, 12), b""), (Position(3, 13), b"three"))


def test_journal_begins_anew_with_a_generation(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    storage.append([(Position(1, 1), b"before any generation")])
    storage.save_state(1, Position(1, 1), XML)
    assert storage.journal_bytes == 0
    storage.close()
    again = load(tmp_path)
    assert again.journal == () and again.cib == XML and again.position == Position(1, 1)


def test_journal_goes_on_after_a_restart(tmp_path: Path) -> None:
    for index in range(1, 4):
        storage = opened(tmp_path)
        storage.append([(Position(1, index), b"x" * index)])
        storage.close()
    assert [record for _, record in load(tmp_path).journal] == [b"x", b"xx", b"xxx"]


def test_a_raised_lineage_is_the_position(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    storage.save_state(4, Position(3, 9), XML)
    storage.save_promise(4, 4)
    assert_position(tmp_path, storage, Position(4, 0))
    storage = opened(tmp_path)
    storage.append([(Position(4, 1), b"first in it")])
    assert_position(tmp_path, storage, Position(4, 1))


def assert_position(directory: Path, storage: Storage, position: Position) -> None:
    storage.close()
    assert load(directory).position == position


def test_a_lineage_is_not_claimed_without_its_journal(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    storage.save_state(3, Position(3, 0), XML)
    storage.append([(Position(3, 1), b"acknowledged")])
    storage.save_promise(4, 4)
    storage.close()
    journal = tmp_path / "journal-1"
    journal.write_bytes(journal.read_bytes()[:-3])
    again = load(tmp_path)
    assert again.position == Position(3, 0) and again.journal == () and "cut off" in again.report


def test_a_promise_never_goes_down(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    storage.save_promise(9, 0)
    storage.save_state(2, Position(1, 1), XML)
    storage.save_promise(4, 1)
    storage.close()
    assert load(tmp_path).promised == 9


def test_last_generations_are_kept(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    for number in range(1, 26):
        storage.save_state(1, Position(1, number), XML)
        storage.append([(Position(1, number), b"")])
    storage.close()
    names = sorted(int(path.stem[4:]) for path in tmp_path.glob("cib-*.xml"))
    assert names == list(range(16, 26))
    assert len(list(tmp_path.glob("journal-*"))) == 10


def test_damaged_generation_falls_back_to_the_previous_with_its_journal(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    storage.save_state(2, Position(2, 1), XML)
    storage.append([(Position(2, 2), b"change")])
    storage.save_state(3, Position(2, 2), OTHER)
    storage.append([(Position(2, 3), b"later")])
    storage.close()
    damaged = tmp_path / "cib-2.xml"
    damaged.write_bytes(damaged.read_bytes().replace(b'epoch="2"', b'epoch="7"'))
    again = load(tmp_path)
    assert again.cib == XML and again.position == Position(2, 3)
    assert again.journal == ((Position(2, 2), b"change"), (Position(2, 3), b"later"))
    assert "cib-2.xml is damaged" in again.report and (tmp_path / "damaged-cib-2.xml").exists()
    assert again.promised >= 3 + PROMISE_GAP - 1
    settled = load(tmp_path)  # repaired: nothing to report any more
    assert settled.report == "" and settled.journal == again.journal and settled.promised == again.promised


def test_a_journal_that_does_not_follow_is_not_used(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    storage.save_state(2, Position(2, 1), XML)
    storage.save_state(5, Position(4, 7), OTHER)  # from another node: no journal leads here
    storage.append([(Position(4, 8), b"later")])
    storage.close()
    (tmp_path / "cib-2.xml").write_bytes(b"")
    again = load(tmp_path)
    assert again.cib == XML and again.journal == () and again.position == Position(2, 1)
    assert "does not follow" in again.report


def test_damaged_promise_leaves_a_gap(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    storage.save_state(2, Position(2, 1), XML)
    storage.save_promise(7, 2)
    storage.close()
    (tmp_path / "promise").write_bytes(b"promised=1")
    again = load(tmp_path)
    assert again.promised == 2 + PROMISE_GAP and "promise" in again.report and again.position == Position(2, 1)


@pytest.fixture
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of damaged directories: what is flushed when is not the question there."""
    monkeypatch.setattr(module.os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(module.os, "fdatasync", lambda descriptor: None)


@pytest.mark.usefixtures("no_flush")
def test_every_cut_of_every_file_is_old_or_new(tmp_path: Path) -> None:
    files = sample(tmp_path / "origin")
    for name, data in files.items():
        for size in range(len(data)):
            check_damaged(tmp_path / "cut", {**files, name: data[:size]}, f"{name} cut at {size}")


@pytest.mark.usefixtures("no_flush")
def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    files = sample(tmp_path / "origin")
    for name, data in files.items():
        for place in range(len(data)):
            flipped = data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :]
            check_damaged(tmp_path / "flip", {**files, name: flipped}, f"{name} flipped at {place}")


def test_leftovers_of_an_interrupted_write_are_removed(tmp_path: Path) -> None:
    sample(tmp_path)
    (tmp_path / ".new-cib-3.xml").write_bytes(XML[:10])
    assert load(tmp_path).cib == OTHER
    assert not list(tmp_path.glob(".new-*"))


RECORDS = ((Position(2, 3), b"third"), (Position(2, 4), b"fourth"))


def sample(directory: Path) -> dict[str, bytes]:
    storage = opened(directory)
    storage.save_state(2, Position(2, 1), XML)
    storage.append([(Position(2, 2), b"second")])
    storage.save_state(3, Position(2, 2), OTHER)
    for record in RECORDS:
        storage.append([record])
    storage.save_promise(4, 2)
    storage.close()
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "lock"}


def check_damaged(directory: Path, files: dict[str, bytes], what: str) -> None:
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    state = load(directory)
    known = {XML: (Position(2, 1), ((Position(2, 2), b"second"), *RECORDS)), OTHER: (Position(2, 2), RECORDS)}
    assert state.cib in known, what
    base, records = known[state.cib]
    assert state.journal == records[: len(state.journal)], what
    assert state.position == (state.journal[-1][0] if state.journal else base), what
    assert state.promised >= 3, what
    if (state.cib, state.journal) != (OTHER, RECORDS):
        assert state.report, what
    again = load(directory)
    assert (again.cib, again.journal, again.position) == (state.cib, state.journal, state.position), what
    assert again.promised >= state.promised and again.report == "", what


def test_two_managers_may_not_share_a_directory(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(StorageError, match="in use by another manager"):
        Storage(tmp_path).load()
    first.close()
    load(tmp_path)


def test_a_path_that_is_a_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(StorageError, match="cannot create .*x/state.*; a part of the path is a file"):
        Storage(tmp_path / "x" / "state").load()


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = opened(tmp_path)
    storage.save_state(1, Position(1, 1), XML)
    storage.append([(Position(1, 2), b"good")])

    def full(descriptor: int, data: bytes, offset: int) -> None:
        os.pwrite(descriptor, data[: len(data) // 2], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_write_all", full)
        with pytest.raises(StorageError, match="No space left on device; free some space"):
            storage.append([(Position(1, 3), b"does not fit")])
        with pytest.raises(StorageError, match="No space left"):
            storage.save_state(2, Position(1, 3), OTHER)
    storage.append([(Position(1, 3), b"fits again")])
    storage.close()
    again = load(tmp_path)
    assert again.cib == XML and again.report == ""
    assert [record for _, record in again.journal] == [b"good", b"fits again"]


def test_after_a_failed_flush_only_a_new_generation_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = opened(tmp_path)
    storage.save_state(1, Position(1, 1), XML)
    storage.append([(Position(1, 2), b"good")])

    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "fdatasync", fails)
        with pytest.raises(StorageError, match="cannot flush .*check the disk"):
            storage.append([(Position(1, 3), b"unknown")])
    with pytest.raises(StorageError, match="refusing further changes"):
        storage.append([(Position(1, 3), b"refused")])
    storage.save_state(1, Position(1, 3), OTHER)
    storage.append([(Position(1, 4), b"fine")])
    storage.close()
    assert load(tmp_path).position == Position(1, 4)


def test_forks_are_kept_under_names_of_their_own(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    paths = [storage.save_fork("fork-3-1/../x", XML) for _ in range(3)]
    assert [path.name for path in paths] == ["fork-3-1_.._x.xml", "fork-3-1_.._x.1.xml", "fork-3-1_.._x.2.xml"]
    assert all(path.parent == tmp_path / "forks" and path.read_bytes() == XML for path in paths)
    for number in range(60):
        storage.save_fork(f"n{number}", XML)
    assert len(list((tmp_path / "forks").iterdir())) == 50
    storage.close()
