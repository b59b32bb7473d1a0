"""Which agents there are on this machine: standards, providers, agents, as `crm_resource --list-*` shows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .settings import AgentSettings

UNIT_DIRECTORIES: tuple[str, ...] = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


def standards(settings: AgentSettings) -> list[str]:
    found = ["ocf"]
    if any(_programs(settings.init_directory)):
        found.append("lsb")
    found.append("service")
    if _has_systemd():
        found.append("systemd")
    return [*found, "stonith"]


def providers(settings: AgentSettings) -> list[str]:
    """OCF providers that have at least one agent."""
    names = {
        provider.name
        for directory in settings.ocf_directories()
        for provider in _directories(directory)
        if any(_programs(provider))
    }
    return sorted(names)


def list_agents(settings: AgentSettings, standard: str, provider: str | None = None) -> list[str]:
    """Names of a standard's agents; those of OCF of one provider, or of all."""
    match standard:
        case "ocf":
            chosen = [provider] if provider else providers(settings)
            places = [directory / name for directory in settings.ocf_directories() for name in chosen]
            return sorted({name for place in places for name in _programs(place)})
        case "lsb":
            return sorted(_programs(settings.init_directory))
        case "systemd":
            return sorted(_units())
        case "service":
            return sorted({*_programs(settings.init_directory), *_units()})
        case "stonith":
            return sorted(
                {name for place in settings.fence_directories for name in _programs(place) if name.startswith("fence_")}
                - _NOT_FENCE_AGENTS
            )
        case _:
            return []


def alternatives(settings: AgentSettings, agent: str) -> list[str]:
    """The OCF providers that have an agent of this name."""
    return [provider for provider in providers(settings) if agent in list_agents(settings, "ocf", provider)]


_NOT_FENCE_AGENTS = frozenset({"fence_ack_manual", "fence_check", "fence_node", "fence_tool", "fence_virtd"})


def _programs(directory: Path) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name.endswith((".metadata", ".dpkg-old", ".dpkg-dist", ".in")):
            continue
        if entry.is_file() and os.access(entry.path, os.X_OK):
            yield entry.name


def _directories(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def _units() -> set[str]:
    if not _has_systemd():
        return set()
    found: set[str] = set()
    for directory in UNIT_DIRECTORIES:
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        found |= {name.removesuffix(".service") for name in names if name.endswith(".service")}
    return found
