"""Metadata of init scripts, from the comment at their head, and of systemd units. They have no parameters.

Source: Linux Standard Base, "Comment Conventions for Init Scripts".
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

HEAD_BYTES_MAX = 64 * 1024
_line = re.compile(r"^#\s*([A-Za-z-]+):\s*(.*)$")
_continued = re.compile(r"^#(?:\t|  )\s*(.*)$")


def lsb_metadata(path: Path) -> bytes:
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES_MAX).decode("utf-8", "replace")
    found = _header(head)
    names = ("start", "stop", "status", "restart", "force-reload", "monitor")
    actions = (("meta-data", "5"), *((name, "15") for name in names))
    return service_metadata(path.name, found.get("Short-Description", path.name), found.get("Description", ""), actions)


def service_metadata(name: str, short: str, long: str, actions: tuple[tuple[str, str], ...]) -> bytes:
    lines = [
        '<?xml version="1.0"?>',
        f'<resource-agent name={quoteattr(name)} version="0.1">',
        "  <version>1.0</version>",
        f'  <longdesc lang="en">{escape(long or short)}</longdesc>',
        f'  <shortdesc lang="en">{escape(short)}</shortdesc>',
        "  <parameters/>",
        "  <actions>",
        *(
            f'    <action name="{action}" timeout="{timeout}s"' + (' interval="15s"/>' if action == "monitor" else "/>")
            for action, timeout in actions
        ),
        "  </actions>",
        "</resource-agent>",
        "",
    ]
    return "\n".join(lines).encode()


def _header(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    last, inside = "", False
    for line in text.splitlines():
        if line.startswith("### BEGIN INIT INFO"):
            inside = True
        elif line.startswith("### END INIT INFO"):
            break
        elif inside and (more := _continued.match(line)) and last == "Description":
            found[last] = f"{found[last]} {more[1]}".strip()
        elif inside and (match := _line.match(line)):
            last = match[1]
            found[last] = match[2].strip()
    return found
