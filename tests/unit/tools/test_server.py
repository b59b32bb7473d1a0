"""Tool server and thin client: a call's way there and back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.tools import cli
from quorate.tools.invocation import Invocation
from quorate.tools.server import Call, ClientGone, Server, parse_call

from .fake_manager import FakeManager

CLIENT = Path(__file__).parents[3] / "scripts" / "quorate-command"


def echo(call: Invocation) -> int:
    call.print(" ".join([call.name, *call.args]))
    call.error(call.cwd)
    if "-p" in call.args:
        call.out.write(call.read_input().decode())
    if "--big" in call.args:
        for number in range(20_000):
            call.print(f"line {number}")
    return 7


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    instance = Server(str(tmp_path), echo, lambda call: "--local" in call.args, allowed=lambda uid: True)
    instance.listen()
    thread = threading.Thread(target=instance.serve, daemon=True)
    thread.start()
    yield instance
    instance.close()
    thread.join(5)


def run(server: Server, *args: str, stdin: bytes = b"", name: str = "crm_node") -> subprocess.CompletedProcess[bytes]:
    link = Path(server.directory) / name
    if not link.exists():
        link.symlink_to(CLIENT)
    environ = {**os.environ, "QUORATE_RUN": server.directory}
    environ.pop("CIB_file", None)
    return subprocess.run(
        [str(link), *args], input=stdin, capture_output=True, env=environ, check=False, cwd=server.directory, timeout=30
    )


def test_arguments_directory_output_and_code_pass_through(server: Server) -> None:
    result = run(server, "-n", "a b", "ü")
    assert result.stdout.decode() == "crm_node -n a b ü\n"
    assert result.stderr.decode().strip() == os.path.realpath(server.directory)
    assert result.returncode == 7


def test_standard_input_is_fetched_when_wanted(server: Server) -> None:
    result = run(server, "-p", stdin=b"<xml/>" * 50_000)
    assert result.stdout == b"crm_node -p\n" + b"<xml/>" * 50_000


def test_long_output_arrives_whole(server: Server) -> None:
    assert len(run(server, "--big").stdout.splitlines()) == 20_001


def test_calls_do_not_mix(server: Server) -> None:
    results: dict[int, bytes] = {}

    def one(number: int) -> None:
        results[number] = run(server, str(number)).stdout

    run(server)  # makes the link
    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: f"crm_node {n}\n".encode() for n in range(8)}


def test_garbage_ends_the_connection_and_nothing_else(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as attacker:
        attacker.connect(server.path)
        attacker.sendall(b"C\xff\xff\xff\xff")
        assert attacker.recv(10) == b""
    assert run(server, "still").returncode == 7


@pytest.mark.parametrize(
    "body", [b"", b"x", b"1\0a", b"0\x000\0/\x00000", b"1\0a\x005\0k=v\0/\x00000", b"-1\x000\0/\x00000"]
)
def test_malformed_calls_are_refused(body: bytes) -> None:
    with pytest.raises(ClientGone):
        parse_call(body)


def test_a_call_is_parsed() -> None:
    call = parse_call(b"\0".join([b"2", b"crm_node", b"-n", b"1", b"LC_ALL=C=x", b"/tmp", b"010"]))
    assert call == Call(
        name="crm_node", args=["-n"], environ={"LC_ALL": "C=x"}, cwd="/tmp", stdin_tty=False, stdout_tty=True
    )


def test_without_a_server_the_whole_program_runs(tmp_path: Path) -> None:
    environ = {**os.environ, "QUORATE_RUN": str(tmp_path), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environ.pop("CIB_file", None)
    result = subprocess.run(
        [str(CLIENT.parent / "crm_error"), "-X", "105"], capture_output=True, env=environ, check=False, timeout=30
    )
    assert result.stdout == b"No such object\n"
    result = subprocess.run(
        [str(CLIENT.parent / "crm_node"), "-l"], capture_output=True, env=environ, check=False, timeout=30
    )
    assert result.returncode == 102


def test_only_trusted_users_are_served(tmp_path: Path) -> None:
    instance = Server(str(tmp_path), echo, lambda call: False, allowed=lambda uid: False)
    instance.listen()
    threading.Thread(target=instance.serve, daemon=True).start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(instance.path)
        body = b"\0".join([b"1", b"crm_node", b"0", b"/", b"000"])
        client.sendall(b"C" + len(body).to_bytes(4, "big") + body)
        assert client.recv(5) == b"X\0\0\0\0"
    instance.close()


def test_every_command_has_its_link() -> None:
    links = {entry.name for entry in CLIENT.parent.iterdir() if entry.is_symlink()}
    assert links == set(cli.COMMANDS)


@pytest.mark.parametrize(
    ("name", "args", "local"),
    [
        ("crm_mon", ["-1"], False),
        ("crm_mon", [], True),
        ("crm_mon", ["--output-as=xml"], False),
        ("crm_mon", ["-rn1"], False),
        ("crm_mon", ["-1", "-d"], True),
        ("crm_shadow", ["-w"], True),
        ("cibadmin", ["-Q"], False),
        ("crm_mon", ["-s"], False),
    ],
)
def test_what_owns_the_screen_runs_at_the_caller(name: str, args: list[str], local: bool) -> None:
    assert cli.is_local(name, args, True) is local


def test_the_real_commands_through_the_server(tmp_path: Path) -> None:
    with FakeManager(str(tmp_path)):
        instance = Server(str(tmp_path), cli.execute, lambda call: False, allowed=lambda uid: True)
        instance.listen()
        threading.Thread(target=instance.serve, daemon=True).start()
        assert run(instance, "-n").stdout == b"node1\n"
        assert run(instance, "-n", "a", "-U", "5", name="attrd_updater").returncode == 0
        assert run(instance, "-n", "a", "-Q", name="attrd_updater").stdout == b'name="a" host="node1" value="5"\n'
        created = run(
            instance,
            "-C",
            "-o",
            "resources",
            "-p",
            name="cibadmin",
            stdin=b'<primitive id="x" class="ocf" provider="pacemaker" type="Dummy"/>',
        )
        assert created.returncode == 0
        again = run(
            instance,
            "-C",
            "-o",
            "resources",
            "-X",
            '<primitive id="x" class="ocf" provider="pacemaker" type="Dummy"/>',
            name="cibadmin",
        )
        assert again.returncode == 108
        assert again.stdout.startswith(b"<failed>")
        instance.close()
