"""`quorate keygen`, `init`, `check`: what they write, what they find, how they end."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from quorate import command
from quorate.model import authkey
from quorate.model.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUORATE_CONFIG", str(tmp_path / "quorate.toml"))
    monkeypatch.delenv("QUORATE_RUN", raising=False)
    return tmp_path


def quorate(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    code = caught.value.code
    return code if isinstance(code, int) else 1


def init(home: Path, *more: str, n1: str = "127.0.0.1", n2: str = "127.0.0.2") -> int:
    places = (("key-file", "authkey"), ("state-dir", "lib"), ("run-dir", "run"))
    given = [part for option, name in places for part in (f"--{option}", str(home / name))]
    return quorate(
        "init", "--cluster", "demo", "--node", f"n1={n1}", "--node", f"n2={n2}", "--this", "n1", *given, *more
    )


def free_port() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


# ---- the command ----------------------------------------------------------------------------------------------------


def test_help_imports_no_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert quorate("--help") == 0
    assert "keygen" in capsys.readouterr().out


def test_a_wrong_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert quorate("explode") == 64
    assert quorate("init", "--nope") == 64
    assert "No such command" in capsys.readouterr().err


def test_every_subcommand_can_be_imported() -> None:
    for name in command.SUBCOMMANDS:
        assert quorate(name, "--help") in (0, 64)


# ---- keygen ---------------------------------------------------------------------------------------------------------


def test_keygen_writes_a_private_key(home: Path) -> None:
    path = home / "keys" / "authkey"
    assert quorate("keygen", str(path)) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (key,) = authkey.parse(path.read_text(), "authkey")
    assert key.epoch == 1 and len(key.secret) == 32


def test_keygen_replaces_only_by_force_and_counts_the_epoch(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "authkey"
    quorate("keygen", str(path))
    before = path.read_text()
    assert quorate("keygen", str(path)) == 108
    assert path.read_text() == before
    assert quorate("keygen", str(path), "--force") == 0
    assert authkey.parse(path.read_text(), "authkey")[0].epoch == 2
    secret = path.read_text().split()[-2]
    shown = capsys.readouterr()
    assert secret not in shown.out + shown.err


def test_keygen_goes_where_the_configuration_says(home: Path) -> None:
    init(home)
    assert quorate("keygen") == 0
    assert (home / "authkey").exists()


def test_keygen_where_nothing_can_be_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "file").write_text("")
    assert quorate("keygen", str(home / "file" / "authkey")) == 73
    assert "cannot be written" in capsys.readouterr().err


# ---- init -----------------------------------------------------------------------------------------------------------


def test_init_writes_what_check_accepts(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(home, "--port", free_port()) == 0
    assert quorate("keygen") == 0
    assert quorate("check") == 0
    assert "node n1 (id 1) of cluster demo" in capsys.readouterr().out


def test_init_of_two_nodes_is_a_two_node_cluster(home: Path) -> None:
    init(home, "--serial", "n1=/dev/ttyS0,n2=/dev/ttyS1", n1="10.0.0.1,10.1.0.1", n2="10.0.0.2,10.1.0.2")
    settings = Settings.parse((home / "quorate.toml").read_text(), "f")
    assert settings.quorum.two_node and settings.quorum.wait_for_all
    assert [link.name for link in settings.links] == ["net0", "net1", "ser0"]


def test_init_keeps_an_existing_file(home: Path) -> None:
    (home / "quorate.toml").write_text("mine")
    assert init(home) == 108
    assert (home / "quorate.toml").read_text() == "mine"
    assert init(home, "--force") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--node", "n1"), 64, "write NAME=ADDRESS"),
        (("--node", "n1=10.0.0.1", "--serial", "n1:/dev/ttyS0"), 64, "write NODE=DEVICE"),
        (("--node", "n1=10.0.0.1", "--node", "n2=nowhere"), 78, "not an IP address"),
        (("--node", "n1=10.0.0.1", "--node", "n2=10.0.0.2", "--token-ms", "5"), 78, "use 200 to 30000"),
        (("--node", "n9=10.0.0.1"), 64, "is not one of the nodes"),
    ],
)
def test_init_with_mistakes_writes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert quorate("init", "--cluster", "demo", "--this", "n1", *arguments) == code
    assert words in capsys.readouterr().err
    assert not (home / "quorate.toml").exists()


def test_init_quotes_what_it_writes(home: Path) -> None:
    assert init(home, "--cluster", 'a"b\\c') == 78


# ---- check ----------------------------------------------------------------------------------------------------------


def findings(home: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert quorate("check") == 78
    return capsys.readouterr().err


def test_check_without_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no such file" in findings(home, capsys)


def test_check_tells_every_mistake(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "quorate.toml").write_text("tokn_ms = 3\nnode = 4\n")
    text = findings(home, capsys)
    assert "line 1: tokn_ms" in text and "line 2: node" in text


def test_check_of_the_key(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(home, "--port", free_port())
    assert "there is no key file" in findings(home, capsys)
    quorate("keygen")
    (home / "authkey").chmod(0o644)
    assert "others may read or write it (mode 0644)" in findings(home, capsys)
    (home / "authkey").chmod(0o600)
    (home / "authkey").write_text("garbage")
    assert "line 1: this is not a key" in findings(home, capsys)


def test_check_of_addresses_and_ports(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(home, n1="192.0.2.77")
    quorate("keygen")
    assert "192.0.2.77 is not an address of this machine" in findings(home, capsys)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        init(home, "--force", "--port", str(taken.getsockname()[1]))
        assert "is in use by another program" in findings(home, capsys)


def test_check_of_devices(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    init(home, "--port", port, "--serial", f"n1={home}/none,n2=/dev/ttyS0")
    quorate("keygen")
    assert "No such file or directory" in findings(home, capsys)
    init(home, "--force", "--port", port, "--serial", f"n1={home}/authkey,n2=/dev/ttyS0")
    assert "is not a serial device" in findings(home, capsys)
    master, slave = os.openpty()
    try:
        init(home, "--force", "--port", port, "--serial", f"n1={os.ttyname(slave)},n2=/dev/ttyS0")
        assert quorate("check") == 0
    finally:
        os.close(master)
        os.close(slave)


def test_check_of_places(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "lib").write_text("")
    init(home, "--port", free_port())
    quorate("keygen")
    assert "is not a directory" in findings(home, capsys)


def test_check_of_a_run_directory_too_long_for_sockets(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(home, "--port", free_port(), "--run-dir", str(home / ("x" * 100)))
    quorate("keygen")
    assert "too long for sockets" in findings(home, capsys)


def test_check_of_the_self_fence_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(home, "--port", free_port())
    quorate("keygen")
    path = home / "quorate.toml"
    path.write_text('self_fence_command = ["/nonexistent/off"]\n' + path.read_text())
    assert "/nonexistent/off cannot be executed" in findings(home, capsys)


def test_warnings_are_no_errors(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(home, "--port", free_port())
    quorate("keygen")
    capsys.readouterr()
    assert quorate("check") == 0
    out = capsys.readouterr().out
    assert "warning:" in out and "one heartbeat path only" in out and "usable, with" in out
