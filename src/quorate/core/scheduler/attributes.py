"""Attribute sets: which name/value pairs apply, given rules, scores and references.

Sets with a higher score win, then earlier listed ones; within a set the first pair of a name wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from quorate.model.rules import RuleInput, evaluate_rule

from .scores import parse_score

if TYPE_CHECKING:
    from lxml import etree

    from .working_set import WorkingSet


class IdIndex:
    """Finds elements by id for id-ref. Built at the first question."""

    def __init__(self, root: etree._Element) -> None:
        self._root = root
        self._index: dict[str, etree._Element] | None = None

    def find(self, identifier: str, tag: str) -> etree._Element | None:
        if self._index is None:
            self._index = {}
            for element in self._root.iter():
                name = element.get("id") if isinstance(element.tag, str) else None
                if name is not None:
                    self._index.setdefault(f"{element.tag}#{name}", element)
        return self._index.get(f"{tag}#{identifier}")


def resolve(ws: WorkingSet, element: etree._Element) -> etree._Element | None:
    """The element that an id-ref stands for, or the element itself."""
    reference = element.get("id-ref")
    if reference is None:
        return element
    index = ws.extra.get("ids")
    if index is None:
        index = ws.extra["ids"] = IdIndex(ws.cib)
    found: etree._Element | None = index.find(reference, str(element.tag))
    if found is None:
        ws.warn("id-ref", f"id-ref='{reference}' names no <{element.tag}>", element.get("id"))
    return found


class AttributeSets:
    """The sets of one kind under an element, in the order of precedence, parsed once."""

    __slots__ = ("sets", "has_rules")

    def __init__(self, ws: WorkingSet, blocks: Iterable[etree._Element], first_id: str | None = None) -> None:
        self.sets: list[tuple[int, int, str, list[etree._Element], list[tuple[str, str]]]] = []
        self.has_rules = False
        for block in blocks:
            found = resolve(ws, block)
            if found is None:
                continue
            rules, pairs = [], []
            for child in found:
                if child.tag == "nvpair":
                    pairs += _pair(ws, child)
                elif child.tag == "rule":
                    reference = resolve(ws, child)
                    if reference is not None:
                        rules.append(reference)
                elif child.tag == "attributes":
                    for grandchild in child:
                        pairs += _pair(ws, grandchild)
            score = parse_score(found.get("score"), 0) or 0
            special = 0 if first_id is not None and found.get("id") == first_id else 1
            self.sets.append((special, -score, found.get("id") or "", rules, pairs))
            self.has_rules = self.has_rules or bool(rules)
        self.sets.sort(key=lambda entry: entry[:2])

    def merge(self, into: dict[str, str], given: RuleInput | None, ws: WorkingSet, overwrite: bool = False) -> None:
        """Add what applies to `into`; what is there already stays unless `overwrite`."""
        done: set[str] = set()
        for _, _, _, rules, pairs in self.sets:
            if rules:
                if given is None or not all(evaluate_rule(rule, given) for rule in rules):
                    if given is not None:
                        ws.recheck(given.next_change)
                    continue
                ws.recheck(given.next_change)
            for name, value in pairs:
                if overwrite:
                    if name not in done:
                        into[name] = value
                        done.add(name)
                else:
                    into.setdefault(name, value)


def _pair(ws: WorkingSet, element: etree._Element) -> list[tuple[str, str]]:
    name = element.get("name")
    if element.get("id-ref") is not None:
        found = resolve(ws, element)
        if found is None:
            return []
        name = name or found.get("name")
        element = found
    value = element.get("value")
    if name is None or value is None or value == "#default":
        return []
    return [(name, value)]


def sets_of(ws: WorkingSet, element: etree._Element, tag: str, first_id: str | None = None) -> AttributeSets:
    return AttributeSets(ws, (child for child in element if child.tag == tag), first_id)
