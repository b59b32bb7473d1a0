"""`quorate init --engine corosync` and what `quorate check` says of Corosync's file and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from quorate.model.settings import Settings
from quorate.tools.setup import init
from quorate.tools.setup_corosync import examine


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COROSYNC_MAIN_CONFIG_FILE", str(tmp_path / "corosync.conf"))
    return tmp_path


def write(place: Path, *more: str) -> Result:
    nodes = ["--node", "a=10.0.0.1,10.1.0.1", "--node", "b=10.0.0.2,10.1.0.2"]
    target = ["--config", str(place / "quorate.toml"), "--this", "a", "--cluster", "shop", "--engine", "corosync"]
    return CliRunner().invoke(init, [*target, *nodes, *more], standalone_mode=False)


def errors(place: Path) -> list[str]:
    settings = Settings.parse((place / "quorate.toml").read_text(), "quorate.toml")
    return [text for severity, _, text in examine(settings) if severity == "error" and "not installed" not in text]


def test_file_and_key_are_written_and_fit(place: Path) -> None:
    done = write(place)
    assert done.return_value == 0, done.output
    assert (place / "authkey").stat().st_mode & 0o777 == 0o400
    assert (place / "authkey").stat().st_size == 256
    owner = [each for each in errors(place) if "chown" not in each]  # whoever runs the tests owns them
    assert owner == []


def test_an_existing_file_is_checked_and_kept(place: Path) -> None:
    write(place)
    conf = place / "corosync.conf"
    text = conf.read_text() + "# by hand\n"
    conf.write_text(text)
    assert write(place, "--force").return_value == 0
    conf.write_text(text)
    (place / "quorate.toml").unlink()
    assert write(place).return_value == 0
    assert conf.read_text() == text
    (place / "quorate.toml").unlink()
    conf.write_text(text.replace("aes256", "none"))
    refused = write(place)
    assert refused.return_value == 108
    assert "there is no encryption" in refused.output
    assert not (place / "quorate.toml").exists()


def test_a_readable_key_is_refused(place: Path) -> None:
    write(place)
    (place / "authkey").chmod(0o644)
    assert any("others may read or write it" in each for each in errors(place))
    (place / "authkey").unlink()
    assert any("there is no key file" in each for each in errors(place))


def test_a_serial_line_is_refused(place: Path) -> None:
    done = write(place, "--serial", "a=/dev/ttyS0,b=/dev/ttyS0")
    assert done.return_value == 78
    assert "no serial links" in done.output
