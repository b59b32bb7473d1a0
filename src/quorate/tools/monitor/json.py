"""The status as JSON: the XML form, element by element, as objects with lists of children by tag."""

from __future__ import annotations

import json
from typing import Any

from lxml import etree

from .status import ClusterStatus
from .xml import fill

_TRUTH = {"true": True, "false": False}


def render(status: ClusterStatus) -> str:
    root = etree.Element("status")
    fill(root, status)
    value = as_object(root)
    if status.reply is not None:
        reply = status.reply
        value["cluster"] = {
            "name": reply.cluster,
            "node": reply.node,
            "engine": reply.engine,
            "quorate": reply.quorate,
            "votes": reply.votes,
            "expected_votes": reply.expected_votes,
            "rights": list(reply.rights),
            "view": list(reply.view),
            "epoch": reply.epoch,
            "state": reply.controller_state,
        }
        value["links"] = [
            {"peer": link.peer, "link": link.link, "kind": link.kind, "address": link.address, "up": link.up}
            for link in reply.links
        ]
    value["banners"] = list(status.banners)
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def as_object(element: etree._Element) -> dict[str, Any]:
    """Attributes as members (true and false as such), children as lists under their tag."""
    value: dict[str, Any] = {str(n): _TRUTH.get(str(t), str(t)) for n, t in element.attrib.items()}
    for child in element.iterchildren(etree.Element):
        value.setdefault(str(child.tag), []).append(as_object(child))
    return value
