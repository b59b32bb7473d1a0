"""corosync.conf: what is written passes its own check and Corosync's; each fault is named with its remedy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from quorate.model import corosync_conf
from quorate.model.settings import Settings

TOML = """
cluster = "shop"
node = "a"
engine = "corosync"
token_ms = {token_ms}
[[nodes]]
name = "a"
id = 1
[[nodes]]
name = "b"
id = 2
[[nodes]]
name = "c"
id = 3
[[links]]
name = "net0"
kind = "udp"
addresses = {{ a = "10.0.0.1", b = "10.0.0.2", c = "10.0.0.3" }}
[[links]]
name = "net1"
kind = "udp"
port = 5407
addresses = {{ a = "10.1.0.1", b = "10.1.0.2", c = "10.1.0.3" }}
"""


def settings(token_ms: int = 1000) -> Settings:
    return Settings.parse(TOML.format(token_ms=token_ms), "quorate.toml")


def found(text: str, severity: str = "error", token_ms: int = 1000) -> list[str]:
    return [
        f"{each.place}: {each.text}"
        for each in corosync_conf.check(text, settings(token_ms), "c.conf")
        if each.severity == severity
    ]


@pytest.mark.parametrize("token_ms", [200, 1000, 30_000])
def test_what_is_written_is_sound(token_ms: int) -> None:
    text = corosync_conf.write(settings(token_ms))
    assert corosync_conf.check(text, settings(token_ms)) == []
    token, consensus = corosync_conf.effective_times(corosync_conf.parse(text, ""))
    assert token + consensus == token_ms and consensus * 10 >= token * 12


def test_corosync_takes_it(tmp_path: Path) -> None:
    program = shutil.which("corosync", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("Corosync is not installed")
    key, conf = tmp_path / "authkey", tmp_path / "corosync.conf"
    key.write_bytes(bytes(corosync_conf.KEY_BYTES))
    text = corosync_conf.write(settings(), key_file=str(key))
    conf.write_text(text.replace("10.0.0.", "127.0.0.").replace("10.1.0.", "127.0.1."))  # it looks for itself
    done = subprocess.run([program, "-t", "-c", str(conf)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("crypto_cipher: aes256", "crypto_cipher: none", "there is no encryption"),
        ("    crypto_cipher: aes256\n", "", "there is no encryption"),
        ("crypto_hash: sha256", "crypto_hash: none", "not authenticated"),
        ("transport: knet", "transport: udpu", "use knet"),
        ("cluster_name: shop", "cluster_name: other", "quorate.toml says 'shop'"),
        ("token: 454", "token: 300", "is shorter than the manager can keep: a peer is lost after 846 ms"),
        ("token: 454", "token: soon", "are numbers of milliseconds"),
        ("name: b", "name: x", "node b of quorate.toml is missing"),
        ("name: b", "name: x", "node x is not in quorate.toml"),
        ("nodeid: 3", "nodeid: 4", "node c has nodeid 4, and 3 in quorate.toml"),
        ("ring1_addr: 10.1.0.2", "ring1_addr: 10.1.0.9", "ring1_addr is 10.1.0.9, and 10.1.0.2 on link net1"),
        ("mcastport: 5407", "mcastport: 5409", "write mcastport: 5407"),
        ("provider: corosync_votequorum", "expected_votes: 3", "write corosync_votequorum"),
        ("quorum {", "quorum", "neither KEY: VALUE nor a section"),
    ],
)
def test_faults_are_named(before: str, after: str, words: str) -> None:
    text = corosync_conf.write(settings())
    assert before in text
    assert any(words in each for each in found(text.replace(before, after, 1))), found(text.replace(before, after, 1))


def test_corosyncs_own_defaults_are_slow_not_wrong() -> None:
    text = corosync_conf.write(settings())
    for line in ("    token: 454\n", "    token_coefficient: 0\n", "    consensus: 546\n"):
        text = text.replace(line, "")
    assert found(text) == []
    assert "a peer is lost after 8030 ms only" in found(text, "warning")[0]


def test_what_corosync_cannot_do_is_refused() -> None:
    cable = TOML + '[[links]]\nname = "ser0"\nkind = "serial"\ndevices = {{ a = "/dev/ttyS0", b = "/dev/ttyS0" }}\n'
    with pytest.raises(ValueError, match="no serial links: remove ser0"):
        corosync_conf.write(Settings.parse(cable.format(token_ms=1000), "quorate.toml"))


@pytest.mark.parametrize("text", ["a {", "}", "{", "word", ": x", "a {\n" * 20])
def test_garbage_is_one_clear_fault(text: str) -> None:
    with pytest.raises(corosync_conf.ConfError, match="c.conf, line "):
        corosync_conf.parse(text, "c.conf")


def test_the_key_is_private_and_long_enough() -> None:
    assert corosync_conf.key_problem(256, 0o400, 0) == ""
    assert "chmod 0400" in corosync_conf.key_problem(256, 0o644, 0)
    assert "chown" in corosync_conf.key_problem(256, 0o400, 1000)
    assert "128 to 4096" in corosync_conf.key_problem(20, 0o400, 0)
