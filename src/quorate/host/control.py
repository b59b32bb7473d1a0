"""`quorate stop`: the clean departure of this node, or of another, asked for through the manager's socket."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import click

from quorate.host import clock, frames, places, sockets
from quorate.model import protocol, settings
from quorate.model.ids import SECOND

_POLL_SECONDS = 0.05
_EXIT_FAILED = 1
_EXIT_TIMEOUT = 124
_EXIT_CONFIGURATION = 78


class NotRunning(Exception):
    """There is nobody to ask; one sentence."""


@click.command()
@click.option("--config", type=click.Path(dir_okay=False), help="quorate.toml of this node (else $QUORATE_CONFIG).")
@click.option("--node", default=None, help="Another node of the cluster instead of this one.")
@click.option("--timeout", "timeout_s", default=300, show_default=True, help="Seconds to wait for the departure.")
def stop(config: str | None, node: str | None, timeout_s: int) -> int:
    """Empty this node and leave the cluster cleanly; returns when it has."""
    try:
        chosen = places.load_settings(places.config_path(config))
        where = places.places(chosen)
        remote = node is not None and node != chosen.node
        reply = ask(where.manager_socket, protocol.Shutdown(serial=1, request=_request_id(), node=node), timeout_s)
    except (places.PlaceError, settings.SettingsError) as error:
        click.echo(str(error), err=True)
        return _EXIT_CONFIGURATION
    except NotRunning as error:
        click.echo(str(error), err=True)
        return _EXIT_FAILED
    if isinstance(reply, protocol.Reply) and reply.rc != 0:
        click.echo(reply.message, err=True)
        return reply.rc
    if remote or wait_until_left(where.run, timeout_s):
        return 0
    click.echo(f"the node has not left within {timeout_s} s; see its log, or `crm_mon -1` on another node", err=True)
    return _EXIT_TIMEOUT


def ask(path: Path, request: protocol.Request, timeout_s: int) -> protocol.Answer | None:
    """One question to the manager; None when it ended before it answered. Raises NotRunning."""
    try:
        connection = sockets.connect(path)
    except OSError as error:
        raise NotRunning(f"{path}: nobody answers ({error.strerror}); is the node running?") from None
    reader = frames.FrameReader(protocol.FRAME_BYTES_MAX)
    with connection:
        connection.settimeout(timeout_s)
        try:
            connection.sendall(frames.frame(protocol.encode(request)))
            while data := connection.recv(65_536):
                for one in reader.feed(data):
                    return protocol.decode_answer(one)
        except (TimeoutError, ConnectionError):
            return None
    return None


def wait_until_left(run: Path, timeout_s: int) -> bool:
    """Until no supervisor holds the run directory."""
    until = clock.now() + timeout_s * SECOND
    while clock.now() < until:
        try:
            descriptor = os.open(run / "supervisor.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_POLL_SECONDS)
        finally:
            os.close(descriptor)
    return False


def _request_id() -> str:
    return f"stop-{os.urandom(8).hex()}"
