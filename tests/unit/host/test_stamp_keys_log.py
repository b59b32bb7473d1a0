"""Small things on the machine: the stamp, the key file's rights, the lines of the log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quorate.host import keys
from quorate.host.log import Log
from quorate.host.sentences import SENTENCES, sentence
from quorate.host.stamp import StampReader, StampWriter
from quorate.model import authkey

KEY = authkey.AuthKey(epoch=3, secret=bytes(range(32)))


def test_a_stamp_is_read_as_it_was_written_and_a_new_writer_replaces_it(tmp_path: Path) -> None:
    reader = StampReader(tmp_path / "stamp")
    assert reader.read() is None
    writer = StampWriter(tmp_path / "stamp", 5)
    assert reader.read() == (os.getpid(), 5)
    writer.stamp(2**60)
    assert reader.read() == (os.getpid(), 2**60)
    StampWriter(tmp_path / "stamp", 9)
    assert reader.read() == (os.getpid(), 9)


def test_a_stamp_file_that_is_none_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "stamp").write_bytes(b"")
    assert StampReader(tmp_path / "stamp").read() is None
    (tmp_path / "stamp").write_bytes(b"x" * 32)
    assert StampReader(tmp_path / "stamp").read() is None


def key_file(directory: Path, mode: int = 0o600) -> Path:
    path = directory / "authkey"
    path.write_text(authkey.render([KEY]))
    path.chmod(mode)
    return path


def test_a_private_key_file_is_read(tmp_path: Path) -> None:
    assert keys.load_keys(key_file(tmp_path)) == (KEY,)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o660])
def test_a_key_that_others_may_touch_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    with pytest.raises(authkey.AuthKeyError, match="chmod 600"):
        keys.load_keys(key_file(tmp_path, mode))


@pytest.mark.skipif(os.geteuid() != 0, reason="changing an owner needs root")
def test_a_foreign_key_file_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    os.chown(path, 12345, 12345)
    with pytest.raises(authkey.AuthKeyError, match="chown"):
        keys.load_keys(path)


def test_what_is_no_key_file_is_told_with_its_place(tmp_path: Path) -> None:
    directory, binary, absent = tmp_path / "directory", tmp_path / "binary", tmp_path / "absent"
    directory.mkdir(mode=0o700)
    binary.write_bytes(b"\xff" * 100)
    binary.chmod(0o600)
    for path in (directory, binary, absent):
        with pytest.raises(authkey.AuthKeyError, match=f"{path}: .*quorate keygen"):
            keys.load_keys(path)


def test_known_codes_are_sentences_and_the_rest_of_the_fields_follows() -> None:
    assert sentence("engine-gone", {"cause": "crash", "view": "3"}) == "The engine is gone: crash (view=3)"
    assert sentence("no-such", {"a": "1\n2"}) == "a=1 2"
    assert sentence("engine-gone", {"view": "3"}) == "view=3"
    assert sentence("engine-gone", {"cause": "{x} 100%"}) == "The engine is gone: {x} 100%"


def test_the_first_sentence_whose_fields_are_there_is_taken_and_empty_ends_are_cut() -> None:
    gone = {"node": "n2", "grace_ms": "5"}
    assert sentence("manager-gone", gone) == (
        "The manager of n2 is gone; for 5 ms nothing moves, then its node is fenced"
    )
    assert sentence("manager-gone", {"cause": "x"}) == "The manager is absent: x"
    view = {"members": "a", "nodes": "a b", "lost": "", "view": "3.1.0"}
    assert sentence("view-changed", view) == "The group is now a; up: a b (view=3.1.0)"


def test_every_sentence_can_be_filled() -> None:
    import string

    for code, templates in SENTENCES.items():
        for template in templates:
            names = {name for _, name, _, _ in string.Formatter().parse(template) if name}
            assert sentence(code, dict.fromkeys(names, "x")), code


def test_a_log_writes_whole_lines_above_its_threshold_and_reopens(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log("n1", "manager", str(path))
    log.write("debug", "x", {})
    log.write("error", "engine-gone", {"cause": "a\nb"})
    path.rename(tmp_path / "log.1")
    log.reopen()
    log.write("notice", "x", {"long": "y" * 20_000})
    first, second = (tmp_path / "log.1").read_text(), path.read_text()
    assert first.count("\n") == 1 and "n1 manager error engine-gone: The engine is gone: a b" in first
    assert second.count("\n") == 1 and len(second) <= 4096


def test_a_reader_that_does_not_read_costs_lines_not_time(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    log = Log("n1", "engine")
    log._descriptor = writing
    second = os.dup(writing)
    monkeypatch.setattr("quorate.host.log.STANDARD_ERROR", second)
    for _ in range(1000):
        log.write("notice", "x", {"text": "y" * 1000})
    lost = log._left_out
    assert lost > 800
    while len(os.read(reading, 1 << 20)) == 1 << 20:
        pass
    log.write("notice", "x", {})
    assert f"{lost} lines were left out" in os.read(reading, 1 << 20).decode()
    for descriptor in (reading, writing, second):
        os.close(descriptor)
