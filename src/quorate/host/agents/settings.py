"""Where agents are and what they are given. One value, so that several nodes fit on one machine."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

FENCE_PATH_VARIABLE = "QUORATE_FENCE_PATH"
OCF_ROOT_DEFAULT = "/usr/lib/ocf"
FENCE_DIRECTORIES = ("/usr/sbin",)
INIT_DIRECTORY = "/etc/init.d"


def shipped(part: str) -> Path:
    """The project's own agents: beside the package when installed, in the checkout otherwise."""
    installed = Path(sys.prefix) / "share" / "quorate" / {"resource": "ocf/resource.d", "fence": "fence"}[part]
    return installed if installed.is_dir() else Path(__file__).parents[4] / "agents" / part


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """`run_directory`: of this node (the ledger lies there). `variables`: added to every agent's environment."""

    run_directory: Path
    ocf_root: Path = Path(OCF_ROOT_DEFAULT)
    resource_directories: tuple[Path, ...] = field(default_factory=lambda: (shipped("resource"),))
    fence_directories: tuple[Path, ...] = field(default_factory=lambda: fence_directories())
    init_directory: Path = Path(INIT_DIRECTORY)
    command_directory: Path = field(default_factory=lambda: Path(sys.executable).parent)
    working_directory: Path = Path("/")
    variables: dict[str, str] = field(default_factory=dict)
    system_bus: str | None = None  # address of the D-Bus on which systemd is asked; None: the usual one
    systemd_directory: Path = Path("/run/systemd/system")

    def ocf_directories(self) -> tuple[Path, ...]:
        """Each holds a directory for each provider. The distribution's come first."""
        return (self.ocf_root / "resource.d", *self.resource_directories)


def fence_directories() -> tuple[Path, ...]:
    """QUORATE_FENCE_PATH (colon separated), the project's own, then the distribution's."""
    given = [Path(part) for part in os.environ.get(FENCE_PATH_VARIABLE, "").split(":") if part]
    return (*given, shipped("fence"), *(Path(part) for part in FENCE_DIRECTORIES))
