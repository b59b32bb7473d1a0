"""Version 2 patch sets: made from two documents, applied to one.

`reconcile` turns a document into another by the least `Edit`; a patch set is the record of that edit. Siblings are
matched by tag and id; those that cannot be told apart are removed and created together.
Source: the output of `crm_diff`, and what `cibadmin --patch` does with it.
"""

from __future__ import annotations

import copy
from collections import Counter

from lxml import etree

from quorate.model.reports import ExitCode

from .document import Cib, CibError, CibVersion, Element, attributes_of, is_comment, parse_fragment
from .edit import Edit, new_patchset
from .outcome import Outcome, failure

_VERSION_PARTS = ("admin_epoch", "epoch", "num_updates")


def diff(old: Cib, new: Cib, *, with_digest: bool = False) -> bytes:
    """The patch set from `old` to `new`. Attributes keep `old`'s order, so the digest holds only where that agrees."""
    work = old.copy()
    edit = Edit(work)
    reconcile(edit, work.root, new.root)
    text = edit.patch(old.version)
    if not with_digest:
        return text
    element = etree.fromstring(text)
    element.set("digest", work.digest())
    signed: bytes = etree.tostring(element, encoding="utf-8", xml_declaration=False)
    return signed


def reconcile(edit: Edit, old: Element, new: Element) -> None:
    """Make `old` equal to `new` (which stays untouched), changing as little as possible."""
    if etree.tostring(old) == etree.tostring(new):
        return
    _take_attributes(edit, old, new)
    _reconcile_children(edit, old, new)


def _take_attributes(edit: Edit, target: Element, source: Element) -> None:
    for name, _ in attributes_of(target):
        if name not in source.attrib:
            edit.set(target, name, None)
    for name, value in attributes_of(source):
        edit.set(target, name, value)


def _reconcile_children(edit: Edit, old: Element, new: Element) -> None:
    before = [(_key(child), child) for child in old]
    wanted = [(_key(child), child) for child in new]
    ambiguous = _ambiguous(before) | _ambiguous(wanted)
    kept: dict[tuple[str, str, int], Element] = {}
    if ambiguous:
        ambiguous -= _equal_groups(before, wanted, ambiguous)
    present = Counter(key for key, _ in wanted)
    seen: Counter[tuple[str, str]] = Counter()
    gone = []
    for key, child in before:
        number = seen[key]
        seen[key] += 1
        if key in ambiguous or key not in present:
            gone.append(child)
        else:
            kept[(*key, number)] = child
    for child in reversed(gone):
        edit.remove(child)
    seen.clear()
    for place, (key, child) in enumerate(wanted):
        number = seen[key]
        seen[key] += 1
        match = kept.get((*key, number))
        if match is None:
            edit.insert(old, place, copy.deepcopy(child))
        elif old[place] is not match:
            edit.move(match, place)
    seen.clear()
    for key, child in wanted:
        number = seen[key]
        seen[key] += 1
        match = kept.get((*key, number))
        if match is not None and not is_comment(match):
            reconcile(edit, match, child)


def _key(child: Element) -> tuple[str, str]:
    if is_comment(child):
        return ("comment()", child.text or "")
    id = child.get("id")
    if id is None:
        id = child.get("id-ref")
        return (str(child.tag), "" if id is None else "&" + id)
    return (str(child.tag), "=" + id)


def _ambiguous(children: list[tuple[tuple[str, str], Element]]) -> set[tuple[str, str]]:
    return {key for key, count in Counter(key for key, _ in children).items() if count > 1}


def _equal_groups(
    before: list[tuple[tuple[str, str], Element]],
    wanted: list[tuple[tuple[str, str], Element]],
    keys: set[tuple[str, str]],
) -> set[tuple[str, str]]:
    """Those groups of indistinguishable siblings that are the same on both sides, and so may stay."""
    return {
        key
        for key in keys
        if [etree.tostring(child) for k, child in before if k == key]
        == [etree.tostring(child) for k, child in wanted if k == key]
    }


def patch(cib: Cib, patch_xml: bytes) -> Outcome:
    """Apply a patch set as it is: afterwards the version is the target's. All or nothing."""
    edit = Edit(cib)
    source = cib.version
    problem = patch_edit(edit, patch_xml)
    if problem is not None:
        edit.undo()
        return problem
    return Outcome(
        rc=ExitCode.OK,
        message="",
        patch=edit.patch(source),
        config_changed=edit.is_durable(source),
        changed=edit.changed,
    )


def patch_edit(edit: Edit, patch_xml: bytes) -> Outcome | None:
    """Apply a patch set through `edit`; the failure if there is one (the caller undoes)."""
    try:
        element = parse_fragment(patch_xml)
    except CibError as error:
        return failure(ExitCode.CONFIG, error.report.message, error.report)
    if element.tag != "diff" or element.get("format") not in ("2", None):
        return failure(
            ExitCode.DATAERR, f"<{element.tag} format={element.get('format')!r}> is not a version 2 patch set"
        )
    problem = _check_source(edit.cib, element)
    if problem is not None:
        return problem
    problem = _apply_changes(edit, element)
    if problem is not None:
        return problem
    target = element.find("version/target")
    if target is not None:
        for part in _VERSION_PARTS:
            if (value := target.get(part)) is not None:
                edit.set(edit.cib.root, part, value)
    digest = element.get("digest")
    if digest is not None and edit.cib.digest() != digest:
        return failure(ExitCode.ERROR, f"Application of update diff failed: the result's digest is not {digest}")
    return None


def _check_source(cib: Cib, element: Element) -> Outcome | None:
    source = element.find("version/source")
    if source is None:
        return None
    try:
        wanted = CibVersion(*(int(source.get(part, "0")) for part in _VERSION_PARTS))
    except ValueError:
        return failure(ExitCode.DATAERR, "the patch set's <source> holds something that is not a version number")
    have = cib.version
    if have > wanted:
        return failure(
            ExitCode.OLD,
            f"Update was older than existing configuration: it starts at {wanted}, the configuration is at {have}",
        )
    if have < wanted:
        return failure(
            ExitCode.ERROR, f"Application of update diff failed, requesting full refresh: "
            f"it starts at {wanted}, the configuration is at {have} only",
        )  # fmt: skip
    return None


def _apply_changes(edit: Edit, element: Element) -> Outcome | None:
    placing: list[tuple[int, int, Element, Element]] = []
    for order, change in enumerate(element.iterchildren("change")):
        operation, path = change.get("operation"), change.get("path")
        if operation is None:
            continue
        if path is None:
            return failure(ExitCode.DATAERR, f"line {change.sourceline}: <change operation={operation!r}> has no path")
        position = _position(change)
        target = locate(edit.cib.root, path, position if operation == "delete" else None)
        if operation == "delete":
            if target is not None and target is not edit.cib.root:
                edit.remove(target)
            continue
        if target is None:
            return failure(ExitCode.ERROR, f"Application of update diff failed: nothing is at {path}")
        if operation == "modify":
            _apply_attributes(edit, target, change)
        elif operation in ("create", "move"):
            placing.append((position if position is not None else 1 << 30, order, change, target))
        else:
            return failure(ExitCode.DATAERR, f"line {change.sourceline}: unknown patch operation {operation!r}")
    _place(edit, [entry[2:] for entry in sorted(placing, key=lambda entry: entry[:2])])
    return None


def _place(edit: Edit, placing: list[tuple[Element, Element]]) -> None:
    """Create and move, given by rising position. All that will move is taken aside first (to the end), because the
    positions are those of the finished document."""
    aside: Counter[Element] = Counter()
    for change, target in placing:
        parent = target.getparent()
        if change.get("operation") == "move" and parent is not None:
            edit.move(target, len(parent) - 1)
            aside[parent] += 1
    for change, target in placing:
        position = _position(change)
        moving = change.get("operation") == "move"
        parent = target.getparent() if moving else target
        if parent is None:
            continue
        settled = len(parent) - aside[parent]
        place = settled if position is None else min(position, settled)
        if moving:
            aside[parent] -= 1
            edit.move(target, place)
        else:
            for child in list(change)[:1]:
                edit.insert(parent, place, copy.deepcopy(child))


def _position(change: Element) -> int | None:
    text = change.get("position")
    return int(text) if text is not None and text.isdigit() else None


def locate(root: Element, path: str, position: int | None) -> Element | None:
    """What a patch set's path names. A comment is named by its place in the parent."""
    if path.endswith("/comment"):
        parent = locate(root, path[: -len("/comment")], None)
        if parent is None or position is None or position >= len(parent):
            return None
        found = parent[position]
        return found if is_comment(found) else None
    try:
        matches = root.xpath(path)
    except etree.XPathError:
        return None
    if not isinstance(matches, list) or not matches or not isinstance(matches[0], etree._Element):
        return None
    return matches[0]


def _apply_attributes(edit: Edit, target: Element, change: Element) -> None:
    result = change.find("change-result")
    if result is not None and len(result):
        _take_attributes(edit, target, result[0])
        return
    for entry in change.iterfind("change-list/change-attr"):
        name = entry.get("name")
        if name is not None:
            edit.set(target, name, None if entry.get("operation") == "unset" else entry.get("value", ""))


__all__ = ["diff", "new_patchset", "patch", "patch_edit", "reconcile"]
