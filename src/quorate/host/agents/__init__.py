"""Agents on this machine: running them (ocf, lsb, systemd, service, fence), their metadata, which there are."""

from __future__ import annotations

from .listing import alternatives, list_agents, providers, standards
from .runner import AgentRunner
from .settings import AgentSettings

__all__ = ["AgentRunner", "AgentSettings", "alternatives", "list_agents", "providers", "standards"]
