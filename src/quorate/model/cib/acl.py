"""Access control lists: what a user may see of a CIB and which operations a user may run.

Pure functions of a document and a user (with the user's groups, which the caller looks up). `root` and `hacluster` are
not restricted, nor is anybody while `enable-acl` is false. For all others nothing is allowed that no permission grants;
where permissions of several roles meet on one element, deny wins over write and write over read. What is said about an
element holds for what stands inside it, until something deeper says otherwise.

Source: Pacemaker Explained, "Access Control Lists".
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import msgspec
from lxml import etree

from quorate.model.options import cluster_option
from quorate.model.reports import ExitCode, Place, Report

from .document import Cib, Element, ancestors, attributes_of, is_comment
from .edit import Edit
from .patchset import locate

if TYPE_CHECKING:
    from .operations import Operation

CODE = "acl-denied"
UNRESTRICTED = frozenset({"root", "hacluster"})


class Access(enum.IntEnum):
    """What is allowed; the order decides when several permissions name one element."""

    NOTHING = 0
    READ = 1
    WRITE = 2
    DENY = 3


_KINDS = {"read": Access.READ, "write": Access.WRITE, "deny": Access.DENY}


class Permissions:
    """Rules laid over one document as it stands; not to be kept across changes."""

    __slots__ = ("_attributes", "_cib", "_elements")

    def __init__(self, cib: Cib, rules: Iterable[Element]) -> None:
        self._cib = cib
        self._elements: dict[Element, Access] = {}
        self._attributes: dict[Element, dict[str, Access]] = {}
        for rule in rules:
            self._lay(rule)

    def _lay(self, permission: Element) -> None:
        kind = _KINDS.get(permission.get("kind", str(permission.tag)))
        if kind is None:
            return
        attribute = permission.get("attribute")
        for element in _targets(self._cib, permission):
            if attribute is None:
                self._elements[element] = max(kind, self._elements.get(element, Access.NOTHING))
            else:
                known = self._attributes.setdefault(element, {})
                known[attribute] = max(kind, known.get(attribute, Access.NOTHING))

    def access(self, element: Element, attribute: str | None = None) -> Access:
        """What is allowed for an element, or for one of its attributes: the nearest word above it counts."""
        if attribute is not None and (own := self._attributes.get(element, {}).get(attribute)) is not None:
            return own
        for each in ancestors(element):
            if (found := self._elements.get(each)) is not None:
                return found
        return Access.NOTHING

    def may_read(self, element: Element, attribute: str | None = None) -> bool:
        return self.access(element, attribute) in (Access.READ, Access.WRITE)

    def may_write(self, element: Element, attribute: str | None = None) -> bool:
        return self.access(element, attribute) is Access.WRITE


def is_restricted(cib: Cib, user: str | None) -> bool:
    return user is not None and user not in UNRESTRICTED and cluster_option(cib.root, "enable-acl") is True


def readable(cib: Cib, user: str | None, groups: Collection[str] = ()) -> Cib | None:
    """The document as the user may see it; None when nothing of it may be seen. The given one for the unrestricted.

    An element that may not be read but holds one that may is shown without attributes other than its id.
    """
    if not is_restricted(cib, user):
        return cib
    assert user is not None
    permissions = Permissions(cib, permissions_of(cib, user, groups))
    shown = _shown(permissions, cib.root)
    return None if shown is None else Cib(shown)


def _shown(permissions: Permissions, element: Element) -> Element | None:
    children = [
        made for child in element.iterchildren(etree.Element) if (made := _shown(permissions, child)) is not None
    ]
    allowed = permissions.may_read(element)
    names = [name for name, _ in attributes_of(element) if permissions.may_read(element, name)]
    if not allowed and not children and not names:
        return None
    copied = etree.Element(element.tag)
    for name, value in attributes_of(element):
        if name in names or name == "id":
            copied.set(name, value)
    copied.extend(children)
    return copied


def check(cib: Cib, user: str | None, operation: Operation, groups: Collection[str] = ()) -> list[Report]:
    """Complaints about an operation that a user asks for; the document stays as it is. None: it may be run."""
    from .operations import apply  # it checks every operation of a restricted user by `check_edit`

    outcome = apply(cib.copy(), msgspec.structs.replace(operation, user=user, groups=tuple(groups)))
    return [report for report in outcome.reports if report.code == CODE]


def check_edit(before: Cib, edit: Edit, user: str, groups: Collection[str] = ()) -> list[Report]:
    """Complaints about what an edit did that a restricted user may not do, by the lists of the document `before`.

    The caller undoes the edit when there are any. To create or remove an element takes write for all that it holds.
    """
    rules = permissions_of(before, user, groups)
    old, new = Permissions(before, rules), Permissions(edit.cib, rules)
    reports = []
    for path, position, element in edit.removed:
        found = locate(before.root, path, position)
        if found is None or not all(old.may_write(each) for each in found.iter(etree.Element)):
            reports.append(_refusal(user, "delete", element))
    for element in edit.inserted:
        if edit.cib.contains(element) and not all(new.may_write(each) for each in element.iter(etree.Element)):
            reports.append(_refusal(user, "create", element))
    for element in edit.moved:
        parent = element.getparent()
        if parent is not None and not new.may_write(parent):
            reports.append(_refusal(user, "move", element))
    for element, was in edit.modified.items():
        if edit.cib.contains(element):
            names = {name for name, _ in set(was) ^ set(attributes_of(element))}
            refused = sorted(name for name in names if not new.may_write(element, name))
            reports += [_refusal(user, f"set {name} of", element) for name in refused]
    return reports


def _refusal(user: str, what: str, element: Element) -> Report:
    return Report(
        code=CODE, message=f"user {user!r} may not {what} this element", exit_code=ExitCode.INSUFFICIENT_PRIV,
        place=Place(element=str(element.tag) if not is_comment(element) else "comment", id=element.get("id")),
        remedy="an acl_permission of kind write has to cover it",
    )  # fmt: skip


def permissions_of(cib: Cib, user: str, groups: Collection[str] = ()) -> list[Element]:
    """The acl_permission elements (read, write and deny of old documents) that apply to a user, in document order."""
    acls = cib.section("acls")
    if acls is None:
        return []
    roles = {role.get("id"): role for role in acls.iterchildren("acl_role")}
    found: list[Element] = []
    for holder in acls.iterchildren("acl_target", "acl_group", "acl_user"):
        names = groups if holder.tag == "acl_group" else (user,)
        if holder.get("name", holder.get("id")) not in names:
            continue
        found += holder.iterchildren("read", "write", "deny")
        for reference in holder.iterchildren("role", "role_ref"):
            role = roles.get(reference.get("id"))
            if role is not None:
                found += role.iterchildren("acl_permission", "read", "write", "deny")
    return found


def _targets(cib: Cib, permission: Element) -> Iterable[Element]:
    """The elements that a permission names; none where its XPath is malformed."""
    xpath = permission.get("xpath")
    reference = permission.get("reference", permission.get("ref"))
    tag = permission.get("object-type", permission.get("tag"))
    if xpath is not None:
        try:
            found = cib.root.xpath(xpath)
        except etree.XPathError:
            return []
        return [each for each in found if isinstance(each, etree._Element)] if isinstance(found, list) else []
    if reference is not None:
        element = cib.find_id(reference)
        return [] if element is None or (tag is not None and element.tag != tag) else [element]
    return [] if tag is None else list(cib.root.iter(tag))
