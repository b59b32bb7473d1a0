"""Where a node's sockets and files are, from its settings and the environment; the directories are made here.

`QUORATE_CONFIG` names the settings' file, `QUORATE_RUN` another run directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from quorate.model.settings import CONFIG_FILE_DEFAULT, Settings

_SOCKET_PATH_MAX = 107  # sun_path


class PlaceError(Exception):
    """A directory cannot be used; one sentence with the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    run: Path
    state: Path

    @property
    def engine_socket(self) -> Path:
        return self.run / "engine.sock"

    @property
    def manager_socket(self) -> Path:
        return self.run / "manager.sock"

    @property
    def worker_socket(self) -> Path:
        return self.run / "scheduler.sock"

    @property
    def stamp(self) -> Path:
        return self.run / "manager.stamp"

    @property
    def counter(self) -> Path:
        return self.state / "engine-counter"


def places(settings: Settings) -> Places:
    return Places(run=Path(os.environ.get("QUORATE_RUN") or settings.run_dir), state=Path(settings.state_dir))


def config_path(given: str | None) -> Path:
    return Path(given or os.environ.get("QUORATE_CONFIG") or CONFIG_FILE_DEFAULT)


def load_settings(path: Path) -> Settings:
    """Raises model.settings.SettingsError for what stands in the file, PlaceError when there is none to read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PlaceError(f"{path}: there is no such file; make a first one with `quorate init`") from None
    except OSError as error:
        raise PlaceError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PlaceError(f"{path}: is not text in UTF-8; make a new one with `quorate init`") from None
    return Settings.parse(text, str(path))


def make_places(where: Places) -> None:
    """The run directory is open to look up sockets in (they check who asks), the state directory is private."""
    for directory, mode, key in ((where.run, 0o755, "run_dir"), (where.state, 0o750, "state_dir")):
        try:
            directory.mkdir(mode=mode, parents=True, exist_ok=True)
        except OSError as error:
            raise PlaceError(f"{directory}: cannot be made: {error.strerror}; choose another {key}") from None
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PlaceError(f"{directory}: cannot be written; run as root or choose another {key}")
    longest = len(os.fsencode(where.worker_socket))
    if longest > _SOCKET_PATH_MAX:
        excess = longest - _SOCKET_PATH_MAX
        raise PlaceError(f"{where.run}: the path is too long for sockets by {excess} bytes; shorten run_dir")
