"""The status as one HTML page: the text's sections as nested lists."""

from __future__ import annotations

import html

from .status import ClusterStatus
from .text import render as render_text

_STYLE = "body{font-family:sans-serif} .banner{color:#fff;background:#b00;padding:.3em} .bad{color:#b00} pre{margin:0}"
_BAD = ("FAILED", "OFFLINE", "UNCLEAN", "Failed", "WITHOUT")


def render(
    status: ClusterStatus,
    *,
    title: str = "Cluster Status",
    stylesheet: str | None = None,
    cgi: bool = False,
    refresh_s: int = 0,
) -> str:
    lines = ["<!DOCTYPE html>", "<html>", "<head>", '<meta charset="utf-8"/>', f"<title>{html.escape(title)}</title>"]
    if refresh_s:
        lines.append(f'<meta http-equiv="refresh" content="{refresh_s}"/>')
    lines.append(f"<style>{_STYLE}</style>")
    if stylesheet:
        lines.append(f'<link rel="stylesheet" href="{html.escape(stylesheet, quote=True)}"/>')
    lines += ["</head>", "<body>", f"<h1>{html.escape(title)}</h1>"]
    depth = 0
    for line in render_text(status).splitlines():
        item = line.lstrip(" ")
        if item.startswith("* "):
            level = (len(line) - len(item)) // 2
            depth = _nest(lines, depth, max(level, 1))
            words = item[2:].expandtabs(2)
            bad = ' class="bad"' if any(word in words for word in _BAD) else ""
            lines.append(f"<li{bad}>{html.escape(words)}</li>")
            continue
        depth = _nest(lines, depth, 0)
        if line.startswith("!! "):
            lines.append(f'<p class="banner">{html.escape(line[3:])}</p>')
        elif line:
            lines.append(f"<h2>{html.escape(line.rstrip(':').strip())}</h2>")
    _nest(lines, depth, 0)
    lines += ["</body>", "</html>"]
    head = "Content-Type: text/html\n\n" if cgi else ""
    return head + "\n".join(lines) + "\n"


def _nest(lines: list[str], depth: int, wanted: int) -> int:
    lines += ["<ul>"] * (wanted - depth) + ["</ul>"] * (depth - wanted)
    return wanted
