"""Operations on the document with cibadmin's meaning; every one is all or nothing.

What is decided here: which element an operation means, how an update is merged, how the version grows. What may
stand in a configuration is decided by `schema`. Measured on cibadmin of Pacemaker 2.1; deviations: a missing optional
section (tags, alerts, ...) is made when something is created in it, a whole replacement without a status section or
schema keeps the present one, and a malformed XPath is an error for every operation. See docs/reference/cib.md.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import msgspec
from lxml import etree

from quorate.model.reports import ExitCode, Place, Report, Severity

from . import acl, schema
from .document import (
    CONFIGURATION_SECTIONS,
    OPTIONAL_SECTIONS,
    REQUIRED_SECTIONS,
    Cib,
    CibError,
    CibVersion,
    Element,
    attributes_of,
    element_xpath,
    is_comment,
    parse_fragment,
)
from .edit import Edit, element_path
from .outcome import Outcome, failure
from .patchset import patch_edit, reconcile
from .upgrade import upgrade

INFINITY = 1_000_000
KINDS = ("create", "modify", "replace", "delete", "delete-all", "patch", "bump", "erase", "upgrade")
_find_by_id = element_xpath("descendant-or-self::*[name() = $tag and @id = $id]")
_find_without_id = element_xpath("descendant-or-self::*[name() = $tag and not(@id)]")


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `xpath` wins over `section`. `written`, `origin` and `client` are stamped on the root of a changed
    configuration (cib-last-written, update-origin, update-client; `user` becomes update-user). Access control lists
    apply to `user` and the `groups` that the user belongs to."""

    kind: str
    section: str | None = None
    xpath: str | None = None
    xml: bytes | None = None
    allow_create: bool = False
    force: bool = False
    user: str | None = None
    written: str | None = None
    origin: str | None = None
    client: str | None = None
    groups: tuple[str, ...] = ()


class _Refused(Exception):
    def __init__(self, rc: int, message: str, *reports: Report) -> None:
        self.outcome = failure(rc, message, *reports)


def apply(cib: Cib, operation: Operation, *, validate: bool = True, with_patch: bool = True) -> Outcome:
    """Run one operation. On any failure the document is as it was. `with_patch`: tell what changed as a patch set."""
    source = cib.version
    edit = Edit(cib)
    before = cib.copy() if acl.is_restricted(cib, operation.user) else None
    try:
        _run(edit, operation)
        if before is not None:
            _check_access(before, edit, operation)
        _check_age(source, cib.version)
        if validate:
            _check_schema(edit, operation)
        config_changed = _count_up(edit, source, operation)
    except _Refused as refused:
        edit.undo()
        return refused.outcome
    except CibError as error:
        edit.undo()
        return failure(error.report.exit_code, str(error.report), error.report)
    except BaseException:
        edit.undo()
        raise
    changed = edit.changed
    return Outcome(
        rc=ExitCode.OK, message="", patch=edit.patch(source) if changed and with_patch else None,
        config_changed=config_changed, changed=changed,
    )  # fmt: skip


def _run(edit: Edit, operation: Operation) -> None:
    action = _ACTIONS.get(operation.kind)
    if action is None:
        raise _Refused(ExitCode.USAGE, f"unknown operation {operation.kind!r}; one of {', '.join(KINDS)}")
    action(edit, operation)


def _check_access(before: Cib, edit: Edit, operation: Operation) -> None:
    reports = acl.check_edit(before, edit, operation.user or "", operation.groups)
    if reports:
        raise _Refused(ExitCode.INSUFFICIENT_PRIV, f"Permission denied: {reports[0]}", *reports)


# ---- version -------------------------------------------------------------------------------------------------------


def _check_age(source: CibVersion, now: CibVersion) -> None:
    if (now.admin_epoch, now.epoch) < (source.admin_epoch, source.epoch):
        raise _Refused(
            ExitCode.OLD,
            f"Update was older than existing configuration: it says {now}, the configuration is at {source}",
        )


def _count_up(edit: Edit, source: CibVersion, operation: Operation) -> bool:
    """Let the version grow; tells whether the change must be durable."""
    root = edit.cib.root
    now = edit.cib.version
    if edit.configuration_changed or edit.schema_changed:
        edit.set(root, "epoch", str(now.epoch + 1))
        edit.set(root, "num_updates", "0")
        _stamp(edit, operation)
        return True
    if edit.changed:
        edit.set(root, "num_updates", str(now.num_updates + 1))
    return edit.is_durable(source)


def _stamp(edit: Edit, operation: Operation) -> None:
    stamps = (("cib-last-written", operation.written), ("update-origin", operation.origin),
              ("update-client", operation.client), ("update-user", operation.user))  # fmt: skip
    for name, value in stamps:
        if value is not None:
            edit.set(edit.cib.root, name, value)


def _check_schema(edit: Edit, operation: Operation) -> None:
    whole = operation.kind in ("replace", "patch", "erase", "upgrade") and operation.xpath is None
    reports = schema.validate(edit.cib) if whole and edit.changed else schema.validate_edit(edit)
    errors = tuple(report for report in reports if report.severity is Severity.ERROR)
    if errors:
        message = f"Update does not conform to the configured schema: {errors[0]}"
        if len(errors) > 1:
            message += f" (and {len(errors) - 1} more)"
        raise _Refused(ExitCode.CONFIG, message, *errors)


# ---- finding -------------------------------------------------------------------------------------------------------


def _input(operation: Operation) -> Element:
    if not operation.xml:
        raise _Refused(ExitCode.USAGE, f"{operation.kind} needs XML")
    return parse_fragment(operation.xml)


def _start(edit: Edit, operation: Operation) -> Element | None:
    try:
        return edit.cib.section(operation.section)
    except ValueError as error:
        raise _Refused(ExitCode.USAGE, str(error)) from None


def xpath_elements(cib: Cib, xpath: str) -> list[Element]:
    """Matching elements in document order; an attribute or text stands for its element. CibError if malformed."""
    try:
        found = etree.XPath(xpath)(cib.root)
    except etree.XPathError as error:
        raise CibError(
            Report(code="cib-xpath", message=f"the XPath {xpath!r} cannot be used: {error}", exit_code=ExitCode.NOSUCH,
                   remedy="check brackets and quotes", place=Place())
        ) from None  # fmt: skip
    if not isinstance(found, list):
        return []
    elements: dict[Element, None] = {}
    for entry in found:
        element = entry if isinstance(entry, etree._Element) else getattr(entry, "getparent", lambda: None)()
        if element is not None:
            elements[element] = None
    return list(elements)


def _matches(edit: Edit, operation: Operation) -> list[Element]:
    assert operation.xpath is not None
    return xpath_elements(edit.cib, operation.xpath)


def _no_match(operation: Operation) -> _Refused:
    return _Refused(ExitCode.NOSUCH, f"No such device or address: nothing matches {operation.xpath}")


def _find(cib: Cib, start: Element, wanted: Element) -> Element | None:
    """The first element at or below `start` with the tag and id of `wanted` (no id matches no id)."""
    tag, id = str(wanted.tag), wanted.get("id")
    if start.tag == tag and start.get("id") == id:
        return start
    if id is None:
        found = _find_without_id(start, tag=tag)
        return found[0] if found else None
    for element in cib.ids().get(id, ()):
        if element.tag == tag and _is_below(element, start):
            return element
    for child in start.iterchildren(tag):
        if child.get("id") == id:
            return child
    if start.tag in CONFIGURATION_SECTIONS and tag not in _REFERENCES:
        return None  # all there is is in the index
    found = _find_by_id(start, tag=tag, id=id)
    return found[0] if found else None


_REFERENCES = frozenset({"obj_ref", "resource_ref", "role", "role_ref"})  # whose id is not theirs


def _is_below(element: Element, top: Element) -> bool:
    current: Element | None = element
    while current is not None:
        if current is top:
            return True
        current = current.getparent()
    return False


def _child_like(parent: Element, wanted: Element) -> Element | None:
    if is_comment(wanted):
        return next((child for child in parent.iterchildren(etree.Comment) if child.text == wanted.text), None)
    id = wanted.get("id")
    for child in parent.iterchildren(wanted.tag):
        if id is None or child.get("id") == id:
            return child
    return None


def _describe(element: Element) -> str:
    id = element.get("id")
    return f"<{element.tag} id={id!r}>" if id is not None else f"<{element.tag}>"


# ---- create --------------------------------------------------------------------------------------------------------


def _create(edit: Edit, operation: Operation) -> None:
    new = _input(operation)
    if operation.xpath is not None:
        matches = _matches(edit, operation)
        if not matches:
            raise _no_match(operation)
        _add(edit, matches[0], new)
        return
    if operation.section in (None, "all", "cib") or new.tag == "cib":
        _modify(edit, operation)
        return
    parent = _start(edit, operation) if operation.section not in OPTIONAL_SECTIONS else _made(edit, operation.section)
    if parent is None:
        parent = _made(edit, str(operation.section))
    for child in list(new) if new.tag == operation.section else [new]:
        _add(edit, parent, child)


def _made(edit: Edit, section: str | None) -> Element:
    """A section of the configuration, made when it is not there."""
    assert section is not None
    found = edit.cib.configuration.find(section)
    if found is None:
        found = etree.Element(section)
        edit.insert(edit.cib.configuration, None, found)
    return found


def _add(edit: Edit, parent: Element, new: Element) -> None:
    if not is_comment(new) and _child_like(parent, new) is not None:
        report = Report(
            code="cib-exists", message=f"{_describe(new)} exists already", exit_code=ExitCode.EXISTS,
            place=Place(element=str(new.tag), id=new.get("id")), remedy="modify or replace it instead",
        )  # fmt: skip
        raise _Refused(ExitCode.EXISTS, f"File exists: {_describe(new)}", report)
    edit.insert(parent, None, copy.deepcopy(new))


# ---- modify --------------------------------------------------------------------------------------------------------


def _modify(edit: Edit, operation: Operation) -> None:
    update = _input(operation)
    if operation.xpath is not None:
        matches = _matches(edit, operation)
        if not matches:
            raise _no_match(operation)
        start = matches[0]
    elif (found := _start(edit, operation)) is not None:
        start = found
    elif operation.allow_create or update.tag == operation.section:
        start = _made(edit, operation.section)
    else:
        raise _Refused(ExitCode.NOSUCH, f"No such device or address: there is no <{operation.section}> section")
    target = _find(edit.cib, start, update)
    if target is not None:
        _merge(edit, target, update)
    elif operation.allow_create and operation.xpath is None and operation.kind == "modify":
        edit.insert(start, None, copy.deepcopy(update))
    else:
        raise _Refused(ExitCode.NOSUCH, f"No such device or address: {_describe(update)} is not in the configuration")


def _merge(edit: Edit, target: Element, update: Element) -> None:
    """Lay attributes over, merge children of the same tag and id, append the others."""
    for name, value in attributes_of(update):
        edit.set(target, name, expand_score(target.get(name), name, value))
    for child in update:
        match = _child_like(target, child)
        if match is None:
            edit.insert(target, None, copy.deepcopy(child))
        elif not is_comment(child):
            _merge(edit, match, child)


def expand_score(old: str | None, name: str, value: str) -> str:
    """`name++` and `name+=N` add to the old value, within plus and minus INFINITY; all else is taken as it is."""
    if not value.startswith(name):
        return value
    rest = value[len(name) :]
    if rest == "++":
        offset = 1
    elif rest.startswith("+=") and rest[2:]:
        offset = score(rest[2:])
    else:
        return value
    total = score(old or "0") + offset
    return str(max(-INFINITY, min(INFINITY, total)))


def score(text: str) -> int:
    """A score's number; what is not one counts as 0, as in Pacemaker."""
    words = {
        "INFINITY": INFINITY,
        "+INFINITY": INFINITY,
        "-INFINITY": -INFINITY,
        "red": -INFINITY,
        "yellow": 0,
        "green": 0,
    }
    if text in words:
        return words[text]
    digits = text.strip().lstrip("+-")
    number = "".join(digits[: next((i for i, c in enumerate(digits) if not ("0" <= c <= "9")), len(digits))])
    if not number:
        return 0
    return max(-INFINITY, min(INFINITY, -int(number) if text.strip().startswith("-") else int(number)))


# ---- replace -------------------------------------------------------------------------------------------------------


def _replace(edit: Edit, operation: Operation) -> None:
    new = _input(operation)
    if operation.xpath is not None:
        matches = _matches(edit, operation)
        if not matches:
            raise _no_match(operation)
        _exchange(edit, matches[0], new)
        return
    if new.tag == "cib":
        _replace_from_cib(edit, operation, new)
        return
    start = edit.cib.root if new.tag == operation.section else _start(edit, operation)
    target = None if start is None else _find(edit.cib, start, new)
    if target is None and new.tag in OPTIONAL_SECTIONS and new.tag == (operation.section or new.tag):
        target = _made(edit, str(new.tag))
    if target is None:
        raise _Refused(ExitCode.NOSUCH, f"No such device or address: {_describe(new)} is not in the configuration")
    _exchange(edit, target, new)


def _exchange(edit: Edit, old: Element, new: Element) -> None:
    if old.tag == new.tag and old.get("id") == new.get("id"):
        reconcile(edit, old, new)
        return
    parent = old.getparent()
    if parent is None:
        raise _Refused(ExitCode.CONFIG, f"the document's element <cib> cannot be replaced by {_describe(new)}")
    place = parent.index(old)
    edit.remove(old)
    edit.insert(parent, place, copy.deepcopy(new))


def _replace_from_cib(edit: Edit, operation: Operation, new: Element) -> None:
    """A whole CIB: with a section, only that one is taken from it."""
    if operation.section not in (None, "all", "cib"):
        path = (
            operation.section
            if operation.section in ("configuration", "status")
            else f"configuration/{operation.section}"
        )
        part = new.find(str(path))
        if part is None or operation.section not in (*CONFIGURATION_SECTIONS, "configuration", "status"):
            raise _Refused(
                ExitCode.NOSUCH, f"No such device or address: the given CIB has no section {operation.section!r}"
            )
        target = edit.cib.section(operation.section)
        reconcile(edit, target if target is not None else _made(edit, operation.section), part)
        return
    offered = Cib(new).version
    have = edit.cib.version
    if offered < have:
        raise _Refused(
            ExitCode.OLD,
            f"Update was older than existing configuration: it says {offered}, the configuration is at {have}",
        )
    if new.find("configuration") is None:
        raise _Refused(
            ExitCode.CONFIG, "Update does not conform to the configured schema: <cib> has no <configuration>"
        )
    if new.find("status") is None:
        new.append(copy.deepcopy(edit.cib.status))
    for name in ("crm_feature_set", "validate-with"):
        value = edit.cib.root.get(name)
        if new.get(name) is None and value is not None:
            new.set(name, value)
    reconcile(edit, edit.cib.root, new)


# ---- delete --------------------------------------------------------------------------------------------------------


def _delete(edit: Edit, operation: Operation) -> None:
    if operation.xpath is not None:
        for element in _matches(edit, operation)[: None if operation.kind == "delete-all" else 1]:
            if edit.cib.contains(element):
                _take_out(edit, element)
        return
    criteria = _input(operation)
    start = _start(edit, operation)
    if start is None:
        return
    targets = list(criteria) if criteria.tag == operation.section else [criteria]
    for wanted in targets:
        if is_comment(wanted):
            continue
        while (found := _find_having(edit.cib, start, wanted)) is not None:
            _take_out(edit, found)
            if operation.kind != "delete-all":
                break


def _take_out(edit: Edit, element: Element) -> None:
    if element is edit.cib.root:
        raise _Refused(ExitCode.CONFIG, "the document's element <cib> cannot be deleted; use erase")
    if element is edit.cib.status:
        for child in reversed(list(element)):
            edit.remove(child)
        return
    edit.remove(element)


def _find_having(cib: Cib, start: Element, wanted: Element) -> Element | None:
    """The first element with that tag and all the attributes given."""
    attributes = attributes_of(wanted)
    id = wanted.get("id")
    if id is not None:
        for element in cib.ids().get(id, ()):
            if element.tag == wanted.tag and _has(element, attributes) and _is_below(element, start):
                return element
        if start.tag in CONFIGURATION_SECTIONS and wanted.tag not in _REFERENCES:
            return None
    for element in start.iter(str(wanted.tag)):
        if _has(element, attributes):
            return element
    return None


def _has(element: Element, attributes: list[tuple[str, str]]) -> bool:
    return all(element.get(name) == value for name, value in attributes)


# ---- the others ----------------------------------------------------------------------------------------------------


def _patch(edit: Edit, operation: Operation) -> None:
    if not operation.xml:
        raise _Refused(ExitCode.USAGE, "patch needs XML")
    problem = patch_edit(edit, operation.xml)
    if problem is not None:
        refused = _Refused(problem.rc, problem.message)
        refused.outcome = problem
        raise refused


def _bump(edit: Edit, operation: Operation) -> None:
    edit.set(edit.cib.root, "epoch", str(edit.cib.version.epoch + 1))


def _erase(edit: Edit, operation: Operation) -> None:
    if not operation.force:
        raise _Refused(ExitCode.UNSAFE, "erasing the whole configuration needs --force")
    configuration = edit.cib.configuration
    for section in reversed(list(configuration)):
        if section.tag not in REQUIRED_SECTIONS:
            edit.remove(section)
        else:
            for child in reversed(list(section)):
                edit.remove(child)
    for child in reversed(list(edit.cib.status)):
        edit.remove(child)
    edit.set(edit.cib.root, "admin_epoch", str(edit.cib.version.admin_epoch + 1))


def _upgrade(edit: Edit, operation: Operation) -> None:

    upgrade(edit)


_ACTIONS: dict[str, Callable[[Edit, Operation], None]] = {
    "create": _create,
    "modify": _modify,
    "replace": _replace,
    "delete": _delete,
    "delete-all": _delete,
    "patch": _patch,
    "bump": _bump,
    "erase": _erase,
    "upgrade": _upgrade,
}


# ---- query ---------------------------------------------------------------------------------------------------------


def query(
    cib: Cib, *, section: str | None = None, xpath: str | None = None, no_children: bool = False, pretty: bool = False
) -> bytes | None:
    """The XML asked for, None when there is no such thing. Several matches stand inside <xpath-query>.

    Raises CibError for a malformed XPath and ValueError for an unknown section.
    """
    if xpath is None:
        element = cib.section(section)
        return None if element is None else _dump(element, no_children, pretty)
    matches = xpath_elements(cib, xpath)
    if not matches:
        return None
    if len(matches) == 1:
        return _dump(matches[0], no_children, pretty)
    answer = etree.Element("xpath-query")
    for match in matches:
        answer.append(_shallow(match) if no_children else copy.deepcopy(match))
    return _dump(answer, False, pretty)


def query_paths(cib: Cib, xpath: str) -> list[str]:
    """The paths of all matches, as `cibadmin --query --node-path` prints them."""
    return [element_path(element) for element in xpath_elements(cib, xpath)]


def _shallow(element: Element) -> Element:
    alone = etree.Element(element.tag)
    for name, value in element.attrib.items():
        alone.set(name, value)
    return alone


def _dump(element: Element, no_children: bool, pretty: bool) -> bytes:
    if no_children:
        element = _shallow(element)
    text: bytes = etree.tostring(element, encoding="utf-8", xml_declaration=False, pretty_print=pretty, with_tail=False)
    return text
