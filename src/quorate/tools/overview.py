"""`quorate status` and `quorate links`: what the stack itself knows, beside what crm_mon shows of resources.

Membership, rights, quorum and heartbeat paths come from the manager in one reply; exit code 0 when this node has quorum and
every link is up, 1 when not, 102 when the cluster does not run here.
"""

from __future__ import annotations

import json
import os
import sys

import click

from quorate.model import protocol

from .client import Connection, run_dir
from .failure import CommandFailed

RIGHTS = ("keep", "fence", "write", "take-over")


def ask(environ: dict[str, str]) -> protocol.StatusReply:
    """CommandFailed(102) when no manager answers."""
    with Connection(run_dir(environ), client="quorate") as connection:
        return connection.ask(protocol.StatusQuery(serial=connection.next_serial(), cib=False), protocol.StatusReply)


def describe(reply: protocol.StatusReply) -> str:
    lines = [f"!! {banner}" for banner in reply.banners]
    if lines:
        lines.append("")
    quorum = "yes" if reply.quorate else "NO"
    granted = [right for right in RIGHTS if right in reply.rights]
    lines += [
        f"Cluster:  {reply.cluster}, engine {reply.engine}, version {reply.version}",
        f"Node:     {reply.node} (id {reply.node_id}), controller {reply.controller_state or 'not started'}",
        f"DC:       {reply.dc or 'none'}",
        f"Quorum:   {quorum}, {reply.votes} of {reply.expected_votes} votes",
        f"Rights:   {', '.join(granted) or 'none'}",
        f"View:     {'.'.join(str(part) for part in reply.view)}, epoch {reply.epoch}",
        "",
        "Nodes:",
    ]
    width = max((len(node.name) for node in reply.nodes), default=0)
    for node in sorted(reply.nodes, key=lambda n: n.id):
        lines.append(f"  {node.id:>4}  {node.name:<{width}}  {node_state(node)}  votes {node.votes}")
    down = [link for link in reply.links if not link.up]
    if reply.links:
        lines += [
            "",
            f"Links:    {len(reply.links) - len(down)} of {len(reply.links)} up"
            + ("; see `quorate links`" if down else ""),
        ]
    return "\n".join(lines) + "\n"


def node_state(node: protocol.NodeFacts) -> str:
    if not node.in_view:
        return "absent"
    if not node.manager:
        return "up, manager absent"
    return "member" if node.synced else "member, joining"


def describe_links(links: tuple[protocol.LinkState, ...]) -> str:
    if not links:
        return "This node has no peers.\n"
    rows = [("peer", "link", "kind", "address", "state")]
    rows += [(link.peer, link.link, link.kind, link.address, "up" if link.up else "DOWN") for link in links]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )


def as_json(reply: protocol.StatusReply) -> str:
    import msgspec

    value = msgspec.to_builtins(reply)
    for key in ("type", "serial", "rc", "message", "cib", "fences"):
        value.pop(key, None)
    return json.dumps(value, indent=2) + "\n"


def _reply() -> protocol.StatusReply:
    try:
        return ask(dict(os.environ))
    except CommandFailed as failure:
        click.echo(f"quorate: {failure.message}", err=True)
        sys.exit(failure.code)


@click.command()
@click.option("--json", "as_data", is_flag=True, help="Print the facts as JSON.")
def status(as_data: bool) -> None:
    """Show membership, quorum and rights of this node."""
    reply = _reply()
    click.echo(as_json(reply) if as_data else describe(reply), nl=False)
    sys.exit(0 if reply.quorate and all(link.up for link in reply.links) else 1)


@click.command()
def links() -> None:
    """Show the heartbeat paths to each peer."""
    reply = _reply()
    click.echo(describe_links(reply.links), nl=False)
    sys.exit(0 if all(link.up for link in reply.links) else 1)
