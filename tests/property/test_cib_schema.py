"""Our grammar against Pacemaker's schema, where it is installed: the same verdict on a rich
document and on random damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from quorate.model.cib import Cib, CibError, Edit, validate
from quorate.model.cib.schema import validate_edit

RICH = Path(__file__).parents[1] / "golden" / "cib" / "rich.xml"
SCHEMA = Path("/usr/share/pacemaker/pacemaker-3.9.rng")
VALUES = (
    "",
    "1x",
    "true",
    "-INFINITY",
    "5",
    "a b",
    "start",
    "Master",
    "r:1",
    " 7 ",
    "é",
    "a,b",
    "99999999999999999999",
)
ADDED = (("foo", "1"), ("id", "zz9"), ("id-ref", "zz9"), ("score", "5"), ("rsc", "q"), ("node", "n"), ("template", "t"),
         ("description", "d"), ("role", "Started"), ("kind", "Optional"), ("value", "3"))  # fmt: skip
# where we accept what the schema of 3.9 refuses, because other generations (or its own text) accept it
LENIENT = (
    ("nvpair", "value"),  # optional in every generation but for cluster options since 3.9
    ("date_expression", "operation"),  # optional in Pacemaker 3
    ("fencing-level", "devices"),  # its pattern forbids blanks inside names
)


@st.composite
def damage(draw: st.DrawFn) -> tuple[bytes, tuple[str, ...]]:
    """The rich document with one thing changed, and what it was."""
    cib = Cib.parse(RICH.read_bytes())
    elements = list(cib.configuration.iter(etree.Element))
    element = draw(st.sampled_from(elements))
    kind = draw(st.sampled_from(("drop attribute", "drop element", "value", "add", "tag", "id", "empty", "move")))
    told: tuple[str, ...] = (kind, str(element.tag))
    if kind in ("drop attribute", "value") and element.attrib:
        name = draw(st.sampled_from(sorted(element.attrib)))
        told += (str(name),)
        if kind == "value":
            element.set(name, draw(st.sampled_from(VALUES)))
        else:
            del element.attrib[name]
    elif kind == "drop element" and element is not cib.configuration:
        parent = element.getparent()
        assert parent is not None
        parent.remove(element)
    elif kind == "add":
        element.set(*draw(st.sampled_from(ADDED)))
    elif kind == "tag" and element is not cib.configuration:
        element.tag = draw(st.sampled_from(elements)).tag
    elif kind == "id" and element.get("id") is not None:
        element.set("id", draw(st.sampled_from(elements)).get("id", "q"))
    elif kind == "empty":
        for child in list(element):
            element.remove(child)
    elif kind == "move":
        target = draw(st.sampled_from(elements))
        if element not in target.iterancestors() and element is not target:
            target.append(element)
    return cib.serialize(), told


@pytest.mark.skipif(not SCHEMA.exists(), reason="Pacemaker's schemas are not installed (package pacemaker-common)")
@settings(max_examples=400)
@given(damage())
def test_same_verdict(damaged: tuple[bytes, tuple[str, ...]]) -> None:
    text, told = damaged
    try:
        reports = validate(Cib.parse(text))
    except CibError:
        return
    theirs = _schema().validate(etree.fromstring(text))
    if told[1:] in LENIENT and not theirs:
        return
    assert theirs == (not reports), (told, [str(report) for report in reports])


_loaded: list[etree.RelaxNG] = []


def _schema() -> etree.RelaxNG:
    if not _loaded:
        _loaded.append(etree.RelaxNG(etree.parse(str(SCHEMA))))
    return _loaded[0]


@settings(max_examples=300)
@given(st.data())
def test_an_edit_is_checked_like_the_whole(data: st.DataObject) -> None:
    cib = Cib.parse(RICH.read_bytes())
    edit = Edit(cib)
    for _ in range(data.draw(st.integers(1, 4))):
        elements = list(cib.configuration.iter(etree.Element))
        element = data.draw(st.sampled_from(elements))
        kind = data.draw(st.sampled_from(("set", "unset", "remove", "insert")))
        if kind == "set":
            edit.set(element, *data.draw(st.sampled_from(ADDED)))
        elif kind == "unset" and element.attrib:
            edit.set(element, str(data.draw(st.sampled_from(sorted(element.attrib)))), None)
        elif kind == "remove" and element is not cib.configuration:
            edit.remove(element)
        elif kind == "insert":
            tag = data.draw(st.sampled_from(("primitive", "nvpair", "rsc_location", "rule")))
            edit.insert(element, 0, etree.Element(tag, id=data.draw(st.sampled_from(("w1", "new", "l-1")))))
    assert bool(validate_edit(edit)) == bool(validate(cib))
    edit.undo()
    assert not validate(cib)
    assert cib.serialize() == Cib.parse(RICH.read_bytes()).serialize()
