"""Frames on local sockets: bounds, partial reads and writes."""

from __future__ import annotations

import socket

import pytest

from quorate.host import frames


def pair() -> tuple[socket.socket, socket.socket]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


def test_frames_come_out_whole_however_they_were_cut() -> None:
    stream = frames.frame(b"one") + frames.frame(b"") + frames.frame(b"three" * 100)
    for step in (1, 3, 7, 1000):
        reader = frames.FrameReader(1000)
        got = [one for at in range(0, len(stream), step) for one in reader.feed(stream[at : at + step])]
        assert got == [b"one", b"", b"three" * 100]


def test_a_frame_above_the_bound_is_refused_before_it_is_read() -> None:
    with pytest.raises(frames.FrameTooLong):
        frames.FrameReader(10).feed(frames.frame(b"x" * 11)[:4])


def test_what_does_not_fit_waits_and_comes_in_order() -> None:
    ours, theirs = pair()
    with ours, theirs:
        writer, reader = frames.FrameWriter(64 << 20), frames.FrameReader(32 << 20)
        sent = [b"small", b"x" * 3_000_000, b"y" * 70_000, b"end"]
        for data in sent:
            writer.put(data)
        got: list[bytes] = []
        while len(got) < len(sent):
            writer.flush(ours.fileno())
            got += reader.feed(frames.read_available(theirs) or b"")
        assert got == sent
        assert writer.pending == 0 and writer.flush(ours.fileno())


def test_a_reader_that_does_not_read_is_found() -> None:
    writer = frames.FrameWriter(1000)
    with pytest.raises(frames.FrameTooLong):
        for _ in range(20):
            writer.put(b"x" * 100)


def test_the_end_of_the_stream_is_told_apart_from_nothing() -> None:
    ours, theirs = pair()
    with theirs:
        assert frames.read_available(theirs) is None
        ours.close()
        assert frames.read_available(theirs) == b""
