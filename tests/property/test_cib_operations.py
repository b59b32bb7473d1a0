"""Whatever is done to a CIB: all or nothing, valid, told truly by the patch set, and the index follows."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import event, given, settings
from lxml import etree

from quorate.model.cib import Cib, CibError, Edit, Operation, apply, diff, patch, validate
from quorate.model.cib.document import Element, identity
from quorate.model.cib.patchset import reconcile
from tests.property.cib_strategies import documents, operations


def plain(cib: Cib) -> object:
    """The document as nested values; the order of attributes does not count."""

    def walk(element: Element) -> object:
        return (str(element.tag), dict(element.attrib), element.text or "", [walk(child) for child in element])

    return walk(cib.root)


def fresh_index(cib: Cib) -> tuple[dict[str, list[Element]], dict[str, list[Element]]]:
    ids: dict[str, list[Element]] = {}
    references: dict[str, list[Element]] = {}
    for element in cib.configuration.iter(etree.Element):
        id, targets = identity(element)
        if id is not None:
            ids.setdefault(id, []).append(element)
        for target in targets:
            references.setdefault(target, []).append(element)
    return ids, references


def same_index(kept: dict[str, list[Element]], fresh: dict[str, list[Element]]) -> bool:
    """Equal as sets of elements for each id; the order within one id may differ."""
    if kept.keys() != fresh.keys():
        return False
    return all(
        len(kept[key]) == len(fresh[key]) and all(any(a is b for b in fresh[key]) for a in kept[key]) for key in kept
    )


@given(documents())
def test_round_trip(cib: Cib) -> None:
    for pretty in (False, True):
        again = Cib.parse(cib.serialize(pretty=pretty))
        assert again.serialize() == cib.serialize()
        assert again.digest() == cib.digest()
        assert again.config_digest() == cib.config_digest()
    assert not validate(cib)


@settings(max_examples=300)
@given(documents(), st.lists(operations(), max_size=6))
def test_operations(cib: Cib, todo: list[Operation]) -> None:
    cib.ids()
    for operation in todo:
        before = cib.copy()
        text, version, digest = cib.serialize(), cib.version, cib.config_digest()
        outcome = apply(cib, operation)
        after = cib.serialize()
        event(f"{operation.kind} {int(outcome.rc)}{' changed' if outcome.changed else ''}")
        assert not validate(cib), operation
        assert same_index(cib.ids(), fresh_index(cib)[0])
        assert same_index(cib.references(), fresh_index(cib)[1])
        assert outcome.changed == (after != text)
        assert (outcome.patch is not None) == outcome.changed
        if outcome.rc:
            assert outcome.message
            assert not outcome.changed
        if outcome.changed:
            assert cib.version > version
            assert outcome.patch is not None
            replica = before.copy()
            result = patch(replica, outcome.patch)
            assert result.rc == 0, (operation, result, outcome.patch)
            assert plain(replica) == plain(cib), (operation, outcome.patch)
            assert not outcome.config_changed or result.config_changed
        configuration_same = etree.tostring(before.configuration) == etree.tostring(cib.configuration)
        assert (cib.config_digest() == digest) == configuration_same
        if not configuration_same:
            assert outcome.config_changed
            assert cib.version.num_updates == 0


@settings(max_examples=200)
@given(documents(), documents())
def test_diff_and_patch(old: Cib, new: Cib) -> None:
    text = old.serialize()
    changes = diff(old, new)
    assert old.serialize() == text
    outcome = patch(old, changes)
    assert outcome.rc == 0, outcome
    assert plain(old) == plain(new), changes


@given(documents(), documents())
def test_undo(cib: Cib, other: Cib) -> None:
    text = cib.serialize()
    cib.ids()
    edit = Edit(cib)
    reconcile(edit, cib.root, other.root)
    edit.undo()
    assert cib.serialize() == text
    assert same_index(cib.ids(), fresh_index(cib)[0])
    assert same_index(cib.references(), fresh_index(cib)[1])


@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda text: f"<cib>{text}</cib>".encode()))
def test_garbage(data: bytes) -> None:
    try:
        Cib.parse(data)
    except CibError as error:
        assert error.report.message
        assert error.report.remedy


@given(documents(), st.data())
def test_damaged(cib: Cib, data: st.DataObject) -> None:
    text = bytearray(cib.serialize())
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        damaged = Cib.parse(bytes(text))
    except CibError as error:
        assert error.report.message
    else:
        for report in validate(damaged):
            assert report.message and report.remedy and report.place.element


@given(
    documents(),
    st.binary(max_size=100) | st.sampled_from((b"<diff/>", b'<diff format="2"><change operation="x"/></diff>')),
)
def test_garbage_patch(cib: Cib, data: bytes) -> None:
    text = cib.serialize()
    outcome = patch(cib, data)
    assert outcome.rc == 0 or cib.serialize() == text
