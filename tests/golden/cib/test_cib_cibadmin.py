"""Operations compared, step by step, with what cibadmin did (cibadmin.json, see record.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quorate.model.cib import Cib, Operation, apply, validate
from quorate.model.cib.document import Element

CASES = {case["name"]: case for case in json.loads((Path(__file__).parent / "cibadmin.json").read_text())}
FIELDS = ("kind", "section", "xpath", "allow_create", "force")

# case and step (from 0) where we decide otherwise: why. The document is then taken over from the recording.
DEVIATIONS = {
    ("replace by XPath", 0): "cibadmin moves the replacement to the end of its parent, we leave it in its place",
    (
        "create by XPath",
        0,
    ): "cibadmin 2.1.5 ignores the path and appends to the document's element, so that the schema refuses it",
    ("comments", 0): "on a file cibadmin does not count a new comment as a change of the configuration",
}


def tree(cib: Cib, *, version: bool) -> object:
    def walk(element: Element) -> object:
        attributes = dict(element.attrib)
        if element is cib.root and not version:
            for name in ("epoch", "num_updates", "admin_epoch"):
                attributes.pop(name)
        return (str(element.tag), attributes, element.text or "", [walk(child) for child in element])

    return walk(cib.root)


@pytest.mark.parametrize("name", CASES)
def test_as_cibadmin(name: str) -> None:
    case = CASES[name]
    cib = Cib.parse(case["start"].encode())
    for number, step in enumerate(case["steps"]):
        expected = Cib.parse(step["after"].encode())
        xml = step.get("xml")
        before = cib.serialize()
        fields = {key: step[key] for key in FIELDS if key in step}
        outcome = apply(cib, Operation(xml=None if xml is None else xml.encode(), **fields))
        if (name, number) in DEVIATIONS:
            cib = expected
            continue
        assert outcome.rc == step["rc"], (number, outcome)
        assert tree(cib, version=False) == tree(expected, version=False), number
        assert cib.version == expected.version, number
        if outcome.rc:
            assert cib.serialize() == before
        assert outcome.changed == (cib.serialize() != before)
        assert not validate(cib)
