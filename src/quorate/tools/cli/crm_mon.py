"""crm_mon: the status of the cluster, once or again and again."""

from __future__ import annotations

import os
import select
import sys
import time

from lxml import etree

from quorate.model.cib import CibError, parse_fragment
from quorate.model.time import parse_interval_ms

from ..backends import open_backend
from ..failure import CommandFailed, Exit
from ..invocation import Invocation
from ..monitor import html, json, text, xml
from ..monitor.options import TEXT_DEFAULT, XML_DEFAULT, Shown, choose
from ..monitor.status import ClusterStatus, build
from ..options import APPLICATION_OPTIONS, VERSION, Parsed, Table, begin, opt
from .output import Redirected, finish_result, new_result, serialize

_OUTPUT, _DISPLAY, _MORE, _OLD = "Output Options", "Display Options", "Additional Options", "Deprecated Options"
TABLE = Table(
    "crm_mon",
    "Provides a summary of cluster's current state.\n\nOutputs varying levels of detail in a number "
    "of different formats.",
    (
        opt(
            "output-as",
            "Specify output format as one of: console (default), html, text, xml, json",
            "FORMAT",
            group=_OUTPUT,
        ),
        opt("output-to", 'Specify file name for output (or "-" for stdout)', "DEST", group=_OUTPUT),
        opt("html-cgi", "Add CGI headers (requires --output-as=html)", group=_OUTPUT),
        opt("html-stylesheet", "Link to an external stylesheet (requires --output-as=html)", "URI", group=_OUTPUT),
        opt("html-title", "Specify a page title (requires --output-as=html)", "TITLE", group=_OUTPUT),
        opt("text-fancy", "Use more highly formatted output", group=_OUTPUT, hidden=True),
        opt("I include", "A list of sections to include in the output", "SECTION(s)", group=_DISPLAY),
        opt("U exclude", "A list of sections to exclude from the output", "SECTION(s)", group=_DISPLAY),
        opt(
            "node",
            "Show only what's related to the given node, or to all nodes tagged with the given tag",
            "NODE",
            group=_DISPLAY,
        ),
        opt(
            "resource",
            "Show only what's related to the given resource, or to all resources tagged with the given tag",
            "RSC",
            group=_DISPLAY,
        ),
        opt("n group-by-node", "Group resources by node", group=_DISPLAY),
        opt("r inactive", "Display inactive resources", group=_DISPLAY),
        opt("f failcounts", "Display resource fail counts", group=_DISPLAY),
        opt("o operations", "Display resource operation history", group=_DISPLAY),
        opt("t timing-details", "Display resource operation history with timing details", group=_DISPLAY),
        opt("c tickets", "Display cluster tickets", group=_DISPLAY),
        opt(
            "m fence-history",
            "Show fence history: 0=off, 1=failures and pending (default without option), 2=add successes "
            "(default without value for option), 3=show full history without reduction to most recent of each flavor",
            "LEVEL",
            optional=True,
            group=_DISPLAY,
        ),
        opt(
            "L neg-locations",
            "Display negative location constraints [optionally filtered by id prefix]",
            "PREFIX",
            optional=True,
            group=_DISPLAY,
        ),
        opt("A show-node-attributes", "Display node attributes", group=_DISPLAY),
        opt("D hide-headers", "Hide all headers", group=_DISPLAY),
        opt("R show-detail", "Show more details (node IDs, individual clone instances)", group=_DISPLAY),
        opt("show-description", "Show resource descriptions", group=_DISPLAY, hidden=True),
        opt("b brief", "Brief output", group=_DISPLAY),
        opt("j pending", "Display pending state (always on)", group=_DISPLAY, hidden=True),
        opt(
            "s simple-status",
            "Display the cluster status once as a simple one line output (suitable for nagios)",
            group=_DISPLAY,
        ),
        opt("i interval", "Update frequency (default is 5 seconds)", "TIMESPEC", group=_MORE),
        opt("1 one-shot", "Display the cluster status once and exit", group=_MORE),
        opt("d daemonize", "Run in the background as a daemon. Requires --output-to.", group=_MORE),
        opt("p pid-file", "(Advanced) Daemon pid file location", "FILE", group=_MORE),
        opt("E external-agent", "A program to run when resource operations take place", "FILE", group=_MORE),
        opt("e external-recipient", "A recipient for your program", "RCPT", group=_MORE),
        opt("W watch-fencing", "Listen for fencing events", group=_MORE),
        opt("h as-html", "Write cluster status to the named HTML file", "FILE", group=_OLD),
        opt("X as-xml", "Write cluster status as XML to stdout. This will enable one-shot mode.", group=_OLD),
        opt("N disable-ncurses", "Disable the use of ncurses", group=_OLD),
        opt("w web-cgi", "Web mode with output suitable for CGI", group=_OLD),
        opt("Q quiet", "Be less descriptive in output.", group="Application Options"),
        *APPLICATION_OPTIONS,
    ),
    notes="Sections for --include and --exclude: all, attributes, bans, counts, dc, default, failcounts, failures, fencing, "
    "fencing-failed,\nfencing-pending, fencing-succeeded, maint-mode, nodes, none, operations, options, resources, "
    "stack, summary, tickets, times.\nThe options are applied to the default set of the output format, in the "
    "order given.",
)

_CLEAR = "\033[2J\033[H"
REFRESH_MS = 5_000


def main(call: Invocation) -> int:
    if call.name.endswith(".cgi"):
        call.args = [*call.args, "--output-as=html", "--html-cgi"]
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    if parsed.words:
        raise CommandFailed(Exit.USAGE, f"'{parsed.words[0]}' is not an option; see --help")
    shape = _format(parsed)
    shown = _shown(parsed, shape)
    once = shape in ("xml", "old-xml", "json", "html-once", "simple") or "one-shot" in parsed or not call.interactive
    if "external-agent" in parsed:
        raise CommandFailed(Exit.UNIMPLEMENT_FEATURE, "--external-agent is not available: configure an <alert> instead")
    if once:
        return _once(call, parsed, shape, shown)
    if "daemonize" in parsed:
        _go_to_background(call, parsed)
    return _again(call, parsed, shape, shown)


def _format(parsed: Parsed) -> str:
    """console, text, xml (pacemaker-result), old-xml (crm_mon), json, html or simple."""
    if "simple-status" in parsed:
        return "simple"
    if "as-xml" in parsed:
        return "old-xml"
    if "as-html" in parsed or "web-cgi" in parsed:
        return "html"
    wanted = parsed.text("output-as", "console")
    if wanted not in ("console", "text", "xml", "json", "html", "none"):
        raise CommandFailed(
            Exit.CANTCREAT, f"Error creating output format {wanted}: choose console, html, json, text or xml"
        )
    return wanted


def _shown(parsed: Parsed, shape: str) -> Shown:
    rich = shape in ("xml", "old-xml", "json")
    default = XML_DEFAULT if rich else TEXT_DEFAULT
    shown = Shown(sections=set(default), inactive=rich, timing=rich, fence_level=3 if rich else 1)
    simple = {
        "failcounts": "failcounts",
        "operations": "operations",
        "tickets": "tickets",
        "show-node-attributes": "attributes",
    }
    for key, value in parsed.items:
        if key in ("include", "exclude"):
            if value == "list":
                raise CommandFailed(Exit.USAGE, "sections: " + ", ".join(sorted(XML_DEFAULT)))
            choose(shown.sections, value, include=key == "include", default=default)
        elif key in simple:
            shown.sections.add(simple[key])
        elif key == "timing-details":
            shown.timing = True
            shown.sections.add("operations")
        elif key == "neg-locations":
            shown.sections.add("bans")
            shown.ban_prefix = value
        elif key == "hide-headers":
            choose(shown.sections, "summary", include=False, default=default)
        elif key == "fence-history":
            shown.fence_level = _fence_level(value)
            shown.sections |= {"fencing-failed", "fencing-pending", "fencing-succeeded"}
    shown.by_node = "group-by-node" in parsed
    shown.inactive = shown.inactive or "inactive" in parsed
    shown.detail = "show-detail" in parsed
    shown.brief = "brief" in parsed
    shown.only_node = parsed.get("node")
    shown.only_resource = parsed.get("resource")
    return shown


def _fence_level(value: str) -> int:
    if value == "":
        return 2
    if not value.isdigit() or int(value) > 3:
        raise CommandFailed(Exit.INVALID_PARAM, "Fence history must be 0-3")
    return int(value)


def look(call: Invocation, shown: Shown) -> ClusterStatus:
    """One consistent look at the cluster or the offline CIB."""
    backend = open_backend(call)
    try:
        if not backend.live:
            return build(backend.cib().root, call.wall(), shown=shown)
        reply = backend.status()
        try:
            root = parse_fragment(reply.cib or b"")
        except CibError as error:
            raise CommandFailed(Exit.PROTOCOL, f"The manager has no usable configuration: {error}") from None
        return build(root, call.wall(), reply=reply, shown=shown)
    finally:
        backend.close()


def render(call: Invocation, parsed: Parsed, shape: str, status: ClusterStatus) -> str:
    if shape == "xml":
        root = new_result(call)
        xml.fill(root, status)
        return finish_result(root, 0)
    if shape == "old-xml":
        root = etree.Element("crm_mon", version=VERSION)
        xml.fill(root, status)
        return serialize(root)
    if shape == "json":
        return json.render(status)
    if shape == "html":
        refresh = 0 if "one-shot" in parsed else _interval_ms(parsed) // 1000
        return html.render(
            status,
            title=parsed.text("html-title", "Cluster Status"),
            stylesheet=parsed.get("html-stylesheet"),
            cgi="html-cgi" in parsed or "web-cgi" in parsed,
            refresh_s=refresh,
        )
    if shape == "simple":
        return text.simple(status)
    return text.render(status)


def _once(call: Invocation, parsed: Parsed, shape: str, shown: Shown) -> int:
    try:
        status = look(call, shown)
    except CommandFailed as failure:
        return _unreachable(call, shape, failure)
    output = render(call, parsed, shape, status)
    destination = parsed.get("output-to") or parsed.get("as-html")
    if destination and destination != "-":
        sink = Redirected(call.path(destination))
        sink.write(output)
        sink.close()
    else:
        call.out.write(output)
    if shape == "simple" and output.startswith("CLUSTER WARN"):
        call.error("Error outputting status info from the fencer or CIB")
    return 0


def _unreachable(call: Invocation, shape: str, failure: CommandFailed) -> int:
    """Without a cluster the XML formats still give a document, and monitoring systems their line."""
    if shape == "xml":
        root = new_result(call)
        call.out.write(finish_result(root, failure.code, (f"{call.name}: {failure.message}",)))
    elif shape == "simple":
        call.print(f"CLUSTER CRIT: {failure.message}")
    else:
        call.error(f"{call.name}: {failure.message}")
    return failure.code


def _interval_ms(parsed: Parsed) -> int:
    wanted = parsed.get("interval")
    milliseconds = parse_interval_ms(wanted, None) if wanted is not None else REFRESH_MS
    if milliseconds is None or milliseconds < 100:
        raise CommandFailed(Exit.USAGE, f"Invalid value for -i: {wanted}; give a time such as 5 or 2s")
    return milliseconds


def _replace(path: str, text: str) -> None:
    """A reader sees the old page or the new one, never half of it."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.replace(temporary, path)


def _go_to_background(call: Invocation, parsed: Parsed) -> None:
    """Returns in a process of its own that holds nothing of the caller; the caller's process ends here."""
    if not (parsed.get("output-to") or parsed.get("as-html")):
        raise CommandFailed(Exit.USAGE, "--daemonize requires at least one of --output-to and --external-agent")
    if os.fork():
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    if (pid_file := parsed.get("pid-file")) is not None:
        with open(call.path(pid_file), "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")


def _again(call: Invocation, parsed: Parsed, shape: str, shown: Shown) -> int:
    """Refresh until interrupted. On a terminal the screen is cleared and any key refreshes at once (q quits)."""
    seconds = _interval_ms(parsed) / 1000
    to_file = parsed.get("output-to") or parsed.get("as-html")
    while True:
        try:
            output = render(call, parsed, shape, look(call, shown))
        except CommandFailed as failure:
            if failure.code != Exit.DISCONNECT:
                raise
            output = f"{call.name}: {failure.message}\nRetrying every {seconds:g} s\n"
        if to_file and to_file != "-":
            _replace(call.path(to_file), output)
            time.sleep(seconds)
            continue
        call.out.write((_CLEAR if call.out_is_tty else "") + output)
        sys.stdout.flush()
        if not sys.stdin.isatty():
            time.sleep(seconds)
            continue
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        if ready and sys.stdin.readline().strip() in ("q", "Q"):
            return 0
