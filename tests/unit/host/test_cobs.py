"""Frames on a serial line: whole, stuffed, damaged."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from quorate.host.adapters import cobs


@given(st.lists(st.binary(max_size=700), max_size=8), st.integers(1, 64))
def test_frames_survive_any_cutting_of_the_stream(payloads: list[bytes], step: int) -> None:
    stream = b"".join(cobs.encode(payload) for payload in payloads)
    decoder = cobs.Decoder(1024)
    got = [one for at in range(0, len(stream), step) for one in decoder.feed(stream[at : at + step])]
    assert got == payloads
    assert decoder.damaged == 0


@given(st.sampled_from([253, 254, 255, 508, 509]), st.integers(0, 3))
def test_runs_at_the_border_of_a_group(length: int, zeros: int) -> None:
    payload = b"x" * length + bytes(zeros) + b"y" * length
    assert cobs.Decoder(4096).feed(cobs.encode(payload)) == [payload]


def test_no_damaged_frame_is_delivered() -> None:
    chance = random.Random(7)
    decoder = cobs.Decoder(1024)
    sent, got = [], []
    for number in range(2000):
        payload = number.to_bytes(4, "big") + chance.randbytes(60)
        frame = bytearray(cobs.encode(payload))
        if chance.random() < 0.15:
            frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
        else:
            sent.append(payload)
        got += decoder.feed(bytes(frame))
    assert set(got) <= set(sent) | {payload for payload in got if payload in sent}
    assert all(payload in sent for payload in got if payload not in sent) and len(got) > 0.8 * len(sent)


def test_noise_without_a_delimiter_does_not_pile_up() -> None:
    decoder = cobs.Decoder(128)
    for _ in range(100):
        assert decoder.feed(b"\xff" * 100) == []
    assert decoder.damaged > 0
    assert decoder.feed(cobs.encode(b"after")) [-1:] == [b"after"]
