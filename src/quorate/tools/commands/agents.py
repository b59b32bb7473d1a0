"""Agents installed on this machine: lists and metadata, without a cluster.

OCF agents stand in OCF_ROOT/resource.d/PROVIDER, LSB scripts in /etc/init.d, fence agents as fence_* beside the system's
commands; metadata comes from the agent itself (LSB: from the comment at its head).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from html import escape

from ..failure import CommandFailed, Exit

OCF_ROOT_DEFAULT = "/usr/lib/ocf"
FENCE_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/sbin")
INIT_DIRECTORY = "/etc/init.d"
METADATA_SECONDS = 30
METADATA_BYTES_MAX = 8 * 1024 * 1024


def standards() -> list[str]:
    found = ["ocf", "lsb", "service"]
    if os.path.isdir("/run/systemd/system"):
        found.append("systemd")
    return [*found, "stonith"]


def resource_directory(environ: Mapping[str, str]) -> str:
    return os.path.join(environ.get("OCF_ROOT") or OCF_ROOT_DEFAULT, "resource.d")


def providers(environ: Mapping[str, str], agent: str | None = None) -> list[str]:
    """OCF providers, those that have `agent` if one is named."""
    base = resource_directory(environ)
    names = sorted(n for n in _listing(base) if os.path.isdir(os.path.join(base, n)) and not n.startswith("."))
    return [n for n in names if agent is None or _is_agent(os.path.join(base, n, agent))]


def agents(environ: Mapping[str, str], standard: str, provider: str | None = None) -> list[str]:
    if standard == "ocf":
        base = resource_directory(environ)
        chosen = [provider] if provider else providers(environ)
        return sorted(
            {n for p in chosen for n in _listing(os.path.join(base, p)) if _is_agent(os.path.join(base, p, n))}
        )
    if standard == "lsb":
        return sorted(n for n in _listing(INIT_DIRECTORY) if _is_agent(os.path.join(INIT_DIRECTORY, n)))
    if standard == "stonith":
        found = {n for d in FENCE_DIRECTORIES for n in _listing(d) if n.startswith("fence_")}
        return sorted(n for n in found if not n.startswith("fence_legacy"))
    if standard == "systemd":
        return _systemd_units()
    if standard == "service":
        return sorted({*agents(environ, "lsb"), *_systemd_units()})
    return []


def _listing(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _is_agent(path: str) -> bool:
    name = os.path.basename(path)
    return not name.startswith(".") and os.path.isfile(path) and os.access(path, os.X_OK)


def _systemd_units() -> list[str]:
    """Of a machine that runs systemd."""
    found: set[str] = set()
    if not os.path.isdir("/run/systemd/system"):
        return []
    for directory in ("/lib/systemd/system", "/usr/lib/systemd/system", "/etc/systemd/system"):
        found |= {n.removesuffix(".service") for n in _listing(directory) if n.endswith(".service")}
    return sorted(found)


def metadata(environ: Mapping[str, str], agent: str) -> str:
    """XML of "ocf:heartbeat:IPaddr2", "stonith:fence_xvm", "lsb:name". CommandFailed(105) when there is no such agent."""
    standard, _, rest = agent.partition(":")
    provider, _, kind = rest.rpartition(":")
    if not kind:
        raise CommandFailed(Exit.INVALID_PARAM, f"'{agent}' is not a valid agent specification: class:[provider:]type")
    if standard == "ocf":
        for candidate in [provider] if provider else providers(environ, kind):
            path = os.path.join(resource_directory(environ), candidate, kind)
            if _is_agent(path):
                return _run([path, "meta-data"], environ, b"")
    elif standard == "stonith":
        for directory in FENCE_DIRECTORIES:
            path = os.path.join(directory, kind)
            if _is_agent(path):
                return _run([path], environ, b"action=metadata\n")
    elif standard in ("lsb", "service") and _is_agent(os.path.join(INIT_DIRECTORY, kind)):
        return _lsb_metadata(os.path.join(INIT_DIRECTORY, kind), kind)
    elif standard in ("systemd", "service") and kind in _systemd_units():
        return _plain_metadata(kind, f"systemd unit file for {kind}", "systemd")
    raise CommandFailed(Exit.NOSUCH, f"Metadata query for {agent} failed: No such device or address")


def _run(argv: list[str], environ: Mapping[str, str], stdin: bytes) -> str:
    root = environ.get("OCF_ROOT") or OCF_ROOT_DEFAULT
    clean = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "LC_ALL": "C",
        "OCF_ROOT": root,
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1",
        "OCF_OUTPUT_FORMAT": "text",
        "OCF_RESOURCE_TYPE": os.path.basename(argv[0]),
        "OCF_RESOURCE_INSTANCE": os.path.basename(argv[0]),
        "HA_LOGFACILITY": "none",
    }
    try:
        result = subprocess.run(
            argv, input=stdin, capture_output=True, env=clean, timeout=METADATA_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(Exit.TIMEOUT, f"{argv[0]} did not give its metadata within {METADATA_SECONDS} s") from None
    except OSError as error:
        raise CommandFailed(Exit.NOSUCH, f"{argv[0]} cannot be run: {error.strerror}") from None
    if result.returncode != 0 or not result.stdout.strip():
        reason = result.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {result.returncode}"]
        raise CommandFailed(Exit.ERROR, f"{argv[0]} gave no metadata: {reason[0]}")
    return result.stdout[:METADATA_BYTES_MAX].decode(errors="replace")


def _lsb_metadata(path: str, name: str) -> str:
    fields: dict[str, str] = {}
    last = ""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("### END INIT INFO"):
                break
            if line.startswith("# ") and ":" in line and not line.startswith("#  "):
                last, _, value = line[2:].partition(":")
                fields[last.strip()] = value.strip()
            elif line.startswith(("#  ", "#\t")) and last:
                fields[last.strip()] = f"{fields[last.strip()]} {line[1:].strip()}".strip()
    text = fields.get("Description") or fields.get("Short-Description") or name
    return _plain_metadata(name, text, "lsb", fields.get("Short-Description"))


def _plain_metadata(name: str, description: str, standard: str, short: str | None = None) -> str:
    actions = "".join(
        f'    <action name="{action}" timeout="{timeout}"{extra}/>\n'
        for action, timeout, extra in (
            ("start", "100" if standard == "systemd" else "15", ""),
            ("stop", "100" if standard == "systemd" else "15", ""),
            ("status", "100" if standard == "systemd" else "15", ""),
            (
                "monitor",
                "100" if standard == "systemd" else "15",
                ' interval="60"' if standard == "systemd" else ' interval="15"',
            ),
            ("meta-data", "5", ""),
        )
    )
    return (
        f'<?xml version="1.0"?>\n<resource-agent name="{escape(name)}" version="0.1">\n  <version>1.0</version>\n'
        f'  <longdesc lang="en">{escape(description)}</longdesc>\n'
        f'  <shortdesc lang="en">{escape(short or description)}</shortdesc>\n  <parameters/>\n  <actions>\n{actions}'
        f'  </actions>\n  <special tag="{standard.upper()}"/>\n</resource-agent>\n'
    )
