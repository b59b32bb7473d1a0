"""The manager's socket: who is let in, bounds, slow readers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from quorate.core import events
from quorate.host import clock, frames, ipc
from quorate.host.log import Log
from quorate.model import protocol
from quorate.model.ids import SECOND


class House:
    """A server and what it posts."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "manager.sock"
        self.events: list[events.Event] = []
        self.log = directory / "log"
        self.clients: list[Client] = []
        self.server = ipc.IpcServer(self.path, self.events.append, Log("n", "m", str(self.log)))

    def client(self) -> Client:
        self.clients.append(Client(self.path))
        return self.clients[-1]

    async def until(self, ready: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not ready():
                await asyncio.sleep(0.001)


class Client:
    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.setblocking(False)
        self.reader = frames.FrameReader(protocol.FRAME_BYTES_MAX)

    def ask(self, request: protocol.Request) -> None:
        self.socket.send(frames.frame(protocol.encode(request)))

    async def answer(self) -> protocol.Answer:
        async with asyncio.timeout(5):
            while True:
                data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
                assert data, "cut"
                for one in self.reader.feed(data):
                    return protocol.decode_answer(one)

    async def is_cut(self) -> bool:
        async with asyncio.timeout(5):
            try:
                while await asyncio.get_running_loop().sock_recv(self.socket, 1 << 20):
                    pass
            except ConnectionResetError:
                return True
        return True


def inside(test: Callable[[House], Awaitable[None]], directory: Path) -> None:
    async def main() -> None:
        house = House(directory)
        try:
            await test(house)
        finally:
            house.server.close()
            for client in house.clients:
                client.socket.close()

    asyncio.run(main())


def asked(house: House) -> list[events.Asked]:
    return [event for event in house.events if isinstance(event, events.Asked)]


def test_a_request_becomes_an_event_and_its_answer_comes_back(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        client = house.client()
        client.ask(protocol.Fate(serial=3, request="r"))
        await house.until(lambda: bool(asked(house)))
        (event,) = asked(house)
        assert (event.uid, event.request) == (os.geteuid(), protocol.Fate(serial=3, request="r"))
        house.server.answer(event.client, protocol.Reply(serial=3, data={"known": False}))
        assert await client.answer() == protocol.Reply(serial=3, data={"known": False})
        client.socket.close()
        await house.until(lambda: events.ClientGone(client=event.client) in house.events)
        house.server.answer(event.client, protocol.Reply(serial=4))  # nobody is there: nothing happens

    inside(test, tmp_path)


def test_a_proxy_run_by_root_names_the_user(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        client = house.client()
        client.ask(protocol.StatusQuery(serial=1, user="alice"))
        await house.until(lambda: bool(asked(house)))
        assert asked(house)[0].user == "alice"

    inside(test, tmp_path)


def test_strangers_get_one_clear_reply_and_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(house: House) -> None:
        monkeypatch.setattr(ipc, "peer_of", lambda connection: (1, 4242, 4242))
        client = house.client()
        client.ask(protocol.StatusQuery(serial=1, user="root"))
        answer = await client.answer()
        assert isinstance(answer, protocol.Reply) and answer.rc == 4 and "haclient" in answer.message
        assert await client.is_cut()
        assert asked(house) == []
        assert "user 4242 was refused" in house.log.read_text()

    inside(test, tmp_path)


def test_members_of_the_group_may_ask_under_their_own_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(house: House) -> None:
        house.server._group = 999
        monkeypatch.setattr(ipc, "peer_of", lambda connection: (1, 4242, 999))
        client = house.client()
        client.ask(protocol.StatusQuery(serial=1, user="root"))
        await house.until(lambda: bool(asked(house)))
        assert (asked(house)[0].uid, asked(house)[0].user) == (4242, "4242")

    inside(test, tmp_path)


@pytest.mark.parametrize(
    "garbage", [b"\xff\xff\xff\xff", frames.frame(b"\xc1nonsense"), frames.frame(b"\x81\xa4type\xa1x")]
)
def test_garbage_gets_a_reply_that_says_so(tmp_path: Path, garbage: bytes) -> None:
    async def test(house: House) -> None:
        client = house.client()
        client.socket.send(garbage)
        answer = await client.answer()
        assert isinstance(answer, protocol.Reply) and answer.rc == 64
        assert await client.is_cut()

    inside(test, tmp_path)


def test_a_client_with_many_open_requests_is_not_read_until_some_are_answered(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        client = house.client()
        for serial in range(200):
            client.ask(protocol.Fate(serial=serial, request="r"))
            await asyncio.sleep(0)
        await house.until(lambda: len(asked(house)) >= 64)
        seen = len(asked(house))
        for event in asked(house):
            house.server.answer(event.client, protocol.Reply(serial=event.request.serial))
        await house.until(lambda: len(asked(house)) == 200)
        assert seen <= 200

    inside(test, tmp_path)


def test_a_reader_that_stopped_is_cut_after_a_while_and_one_with_too_much_at_once(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        client = house.client()
        client.ask(protocol.StatusQuery(serial=1))
        await house.until(lambda: bool(asked(house)))
        number = asked(house)[0].client
        house.server.answer(number, protocol.Reply(serial=1, data=b"x" * 4_000_000))
        house.server.cut_stuck(clock.now() + 10 * SECOND)
        assert number in house.server._clients
        house.server.cut_stuck(clock.now() + 60 * SECOND)
        assert number not in house.server._clients
        assert await client.is_cut()

    inside(test, tmp_path)
