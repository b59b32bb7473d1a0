"""The key file's format: accepted, damaged, not private, not ours."""

from __future__ import annotations

import stat

import pytest

from quorate.model.authkey import AuthKey, AuthKeyError, accept, parse, render

KEY = AuthKey(epoch=3, secret=bytes(range(32)))
TEXT = render([KEY])


def test_what_is_written_is_read() -> None:
    assert parse(TEXT, "authkey") == (KEY,)


def test_the_highest_epoch_comes_first() -> None:
    older = AuthKey(epoch=2, secret=bytes(32))
    assert [key.epoch for key in parse(render([older, KEY]), "authkey")] == [3, 2]


def test_a_key_is_never_shown() -> None:
    assert "secret" not in repr(KEY)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("key 3", "key 4"),  # the check covers the epoch
        TEXT.replace("key 3", "key 0"),
        TEXT.replace("key 3", "key 256"),
        TEXT[:-12],
        TEXT.replace("AAEC", "AAED"),
        "key 1 AAAA 12345678\n",
        "secret\n",
    ],
)
def test_a_damaged_file_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(AuthKeyError, match=r"authkey, line \d+: this is not a key") as caught:
        parse(text, "authkey")
    assert "AAEC" not in str(caught.value)


def test_an_empty_file() -> None:
    with pytest.raises(AuthKeyError, match="there is no key in this file"):
        parse("# nothing\n", "authkey")


def test_too_many_keys_and_the_same_epoch_twice() -> None:
    with pytest.raises(AuthKeyError, match="two keys have the epoch 3"):
        parse(TEXT + TEXT, "authkey")
    many = [AuthKey(epoch=epoch, secret=bytes(32)) for epoch in (1, 2, 3)]
    with pytest.raises(AuthKeyError, match="3 keys are more than the 2"):
        parse(render(many), "authkey")


@pytest.mark.parametrize(
    ("mode", "owner", "words"),
    [
        (stat.S_IFREG | 0o644, 0, "others may read or write it"),
        (stat.S_IFREG | 0o620, 0, "others may read or write it"),
        (stat.S_IFREG | 0o600, 1001, "belongs to user 1001"),
        (stat.S_IFDIR | 0o700, 0, "is not a regular file"),
    ],
)
def test_who_may_have_it(mode: int, owner: int, words: str) -> None:
    with pytest.raises(AuthKeyError, match=words):
        accept(TEXT.encode(), mode=mode, owner=owner, reader=1000, source="authkey")


def test_the_readers_own_and_roots_files_are_accepted() -> None:
    for owner in (0, 1000):
        assert accept(TEXT.encode(), mode=stat.S_IFREG | 0o600, owner=owner, reader=1000, source="k") == (KEY,)


def test_a_huge_file() -> None:
    with pytest.raises(AuthKeyError, match="too long"):
        accept(b"#" * 5000, mode=stat.S_IFREG | 0o600, owner=0, reader=0, source="authkey")
