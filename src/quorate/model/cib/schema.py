"""Checking a document, or what an edit touched, against the grammar; also that ids are unique and references lead
somewhere.

Every complaint names element, id and line and says what to do. The status section is free. A document whose
`validate-with` is "none" is not checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lxml import etree

from quorate.model.reports import ExitCode, Place, Report

from .document import Cib, Element, attributes_of, identity, line_of
from .edit import Edit
from .grammar import ELEMENTS, OUTSIDE_IDS, ROOT, SCHEMA_NAMES, Shape

REPORTS_MAX = 200


def validate(cib: Cib) -> list[Report]:
    """All complaints about the document, in document order, at most REPORTS_MAX."""
    if _is_unchecked(cib):
        return []
    reports = _check_root(cib)
    for element in cib.configuration.iter(etree.Element):
        reports += _check_element(cib, element)
        if len(reports) >= REPORTS_MAX:
            break
    return reports[:REPORTS_MAX]


def validate_edit(edit: Edit) -> list[Report]:
    """Complaints about what the edit touched. If the document was valid before, none means that it is valid now."""
    cib = edit.cib
    if _is_unchecked(cib):
        return []
    reports: list[Report] = []
    parents = dict(edit.parents)
    if cib.root in edit.modified or cib.root in parents:
        reports += _check_root(cib)
    for element in edit.inserted:
        if _in_configuration(cib, element):
            for inner in element.iter(etree.Element):
                reports += _check_element(cib, inner)
    for element in edit.modified:
        if element is not cib.root and _in_configuration(cib, element):
            reports += _check_element(cib, element)
            parents.pop(element, None)
    for element in parents:
        if element is not cib.root and _in_configuration(cib, element):
            reports += _check_element(cib, element)
    reports += _check_dangling(cib, edit)
    return reports[:REPORTS_MAX]


def _is_unchecked(cib: Cib) -> bool:
    return cib.root.get("validate-with") == "none"


def _in_configuration(cib: Cib, element: Element) -> bool:
    current: Element | None = element
    while current is not None:
        if current.tag == "configuration" and current.getparent() is cib.root:
            return True
        current = current.getparent()
    return False


def _report(element: Element, code: str, message: str, remedy: str) -> Report:
    place = Place(element=str(element.tag), id=element.get("id"), line=line_of(element))
    return Report(code=code, message=message, place=place, remedy=remedy, exit_code=ExitCode.CONFIG)


def _check_root(cib: Cib) -> list[Report]:
    root = cib.root
    reports = _check_shape(root, ROOT)
    schema = root.get("validate-with")
    if schema is None or SCHEMA_NAMES.fullmatch(schema) is None:
        said = "is missing" if schema is None else f"is {schema!r}, a schema that is not known"
        reports.append(_report(root, "cib-schema", f"validate-with {said}", 'set validate-with="pacemaker-3.9"'))
    return reports


def _check_element(cib: Cib, element: Element) -> list[Report]:
    shape = ELEMENTS.get(str(element.tag))
    if shape is None:
        return []  # its parent complains about it
    reports = _check_shape(element, shape)
    reports += _check_id(cib, element)
    reports += _check_references(cib, element, shape)
    return reports


def _check_shape(element: Element, shape: Shape) -> list[Report]:
    reports = []
    for name, value in attributes_of(element):
        kind = shape.attributes.get(name)
        if kind is None:
            known = ", ".join(sorted(shape.attributes)) or "none"
            reports.append(_report(element, "cib-attribute", f"attribute {name}={value!r} is not known here",
                                   f"remove it; known are: {known}"))  # fmt: skip
        elif not kind.matches(value):
            reports.append(
                _report(element, "cib-value", f"{name}={value!r} is not valid", f"{name} must be {kind.text}")
            )
    for name in shape.required:
        if name not in element.attrib:
            reports.append(_report(element, "cib-missing", f"attribute {name} is missing", f"add {name}"))
    reports += _check_children(element, shape)
    if shape.check is not None and (complaint := shape.check(element)) is not None:
        reports.append(_report(element, "cib-condition", complaint, "correct the element"))
    return reports


def _check_children(element: Element, shape: Shape) -> list[Report]:
    reports = []
    counts: Counter[str] = Counter()
    for child in element.iterchildren(etree.Element):
        tag = str(child.tag)
        if tag not in shape.children:
            where = f"<{element.tag} id={element.get('id')!r}>" if element.get("id") is not None else f"<{element.tag}>"
            known = ", ".join(shape.children) or "no elements"
            reports.append(
                _report(child, "cib-element", f"may not stand in {where}", f"remove it; allowed there: {known}")
            )
        counts[tag] += 1
    for tag, (least, most) in shape.children.items():
        if counts[tag] < least:
            reports.append(
                _report(element, "cib-missing", f"has no <{tag}>", f"add a <{tag}> inside, or remove the element")
            )
        elif counts[tag] > most:
            reports.append(_report(element, "cib-element", f"has {counts[tag]} <{tag}>, at most {most} may stand there",
                                   "merge them into one"))  # fmt: skip
    return reports


def _check_id(cib: Cib, element: Element) -> Iterable[Report]:
    id = element.get("id")
    if id is None or element.tag in OUTSIDE_IDS:
        return
    others = [other for other in cib.ids().get(id, ()) if other.tag not in OUTSIDE_IDS]
    if len(others) > 1 and others[0] is not element:
        first = others[0]
        line = f" (line {line_of(first)})" if line_of(first) else ""
        yield _report(element, "cib-id-twice", f"the id is used already by <{first.tag}>{line}", "give it another id")


def _check_references(cib: Cib, element: Element, shape: Shape) -> Iterable[Report]:
    for name, kind in shape.attributes.items():
        target = element.get(name) if kind.is_reference else None
        if target is not None and not _is_defined(cib, target):
            yield _report(
                element,
                "cib-reference",
                f"{name}={target!r} refers to nothing",
                f"define {target!r} first, or remove this",
            )


def _is_defined(cib: Cib, id: str) -> bool:
    return any(element.tag not in OUTSIDE_IDS for element in cib.ids().get(id, ()))


def _check_dangling(cib: Cib, edit: Edit) -> Iterable[Report]:
    """What referred to something that was taken out or renamed."""
    gone: dict[str, None] = {}
    for path, _, top in edit.removed:
        if path.startswith("/cib/configuration"):
            for element in top.iter(etree.Element):
                id, _targets = identity(element)
                if id is not None:
                    gone[id] = None
    for element, before in edit.modified.items():
        was = dict(before).get("id")
        if was is not None and was != element.get("id"):
            gone[was] = None
    for id in gone:
        if not _is_defined(cib, id):
            yield from (_dangling(each, id) for each in cib.references().get(id, ()) if each.tag not in _LOOSE)


def _dangling(referrer: Element, id: str) -> Report:
    return _report(
        referrer,
        "cib-reference",
        f"refers to {id!r}, which is about to be removed",
        f"remove this element first, or keep {id!r}",
    )


_LOOSE = frozenset({"obj_ref"})
