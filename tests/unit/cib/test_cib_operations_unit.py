"""What the recorded runs of cibadmin do not show: stamps, messages, sections made, access, damaged input."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.model.cib import Cib, CibError, Operation, acl, apply, patch, query, query_paths, validate
from quorate.model.cib.operations import expand_score, score
from quorate.model.reports import ExitCode

RICH = (Path(__file__).parents[2] / "golden" / "cib" / "rich.xml").read_bytes()


def cib() -> Cib:
    return Cib.parse(RICH)


def test_stamps_go_with_configuration_changes_only() -> None:
    document = cib()
    stamp = {"written": "now", "origin": "n2", "client": "crm", "user": "root"}
    apply(document, Operation(kind="modify", section="status", xml=b'<node_state id="1" crmd="x"/>', **stamp))
    assert document.root.get("update-client") == "cibadmin"
    outcome = apply(document, Operation(kind="modify", xml=b'<primitive id="w1" description="d"/>', **stamp))
    assert outcome.config_changed
    stamped = ("cib-last-written", "update-origin", "update-client", "update-user")
    assert [document.root.get(name) for name in stamped] == [
        "now", "n2", "crm", "root",
    ]  # fmt: skip


def test_a_missing_section_is_made() -> None:
    document = Cib.empty("3.20.1")
    apply(document, Operation(kind="create", section="resources",
                              xml=b'<primitive id="a" class="ocf" provider="p" type="t"/>'))  # fmt: skip
    outcome = apply(document, Operation(kind="create", section="tags", xml=b'<tag id="t"><obj_ref id="a"/></tag>'))
    assert outcome.rc == 0
    assert document.find_id("t") is not None


@pytest.mark.parametrize(
    ("operation", "rc", "words"),
    [
        (Operation(kind="make"), ExitCode.USAGE, "unknown operation 'make'"),
        (Operation(kind="create", section="resources"), ExitCode.USAGE, "needs XML"),
        (Operation(kind="create", section="bogus", xml=b"<a/>"), ExitCode.USAGE, "unknown section"),
        (Operation(kind="create", section="resources", xml=b"<a"), ExitCode.CONFIG, "not well-formed"),
        (Operation(kind="delete", xpath="//["), ExitCode.NOSUCH, "XPath"),
        (Operation(kind="delete", xpath="/cib"), ExitCode.CONFIG, "cannot be deleted"),
        (Operation(kind="replace", xpath="/cib", xml=b"<nodes/>"), ExitCode.CONFIG, "cannot be replaced"),
        (Operation(kind="replace", section="nodes", xml=b"<cib/>"), ExitCode.NOSUCH, "no section"),
        (Operation(kind="replace", xml=b'<cib epoch="99"/>'), ExitCode.CONFIG, "no <configuration>"),
        (Operation(kind="erase"), ExitCode.UNSAFE, "force"),
        (Operation(kind="patch"), ExitCode.USAGE, "needs XML"),
        (Operation(kind="patch", xml=b'<diff format="1"/>'), ExitCode.DATAERR, "version 2"),
        (Operation(kind="create", section="resources", xml=b'<primitive id="w1"/>'), ExitCode.EXISTS, "'w1'"),
        (Operation(kind="delete", section="resources", xml=b'<primitive id="w1"/>'), ExitCode.CONFIG, "refers to 'w1'"),
        (Operation(kind="modify", xml=b'<nvpair id="new"/>'), ExitCode.NOSUCH, "'new'"),
    ],
)
def test_refusals_change_nothing(operation: Operation, rc: int, words: str) -> None:
    document = cib()
    outcome = apply(document, operation)
    assert (outcome.rc, outcome.changed, outcome.patch) == (rc, False, None)
    assert words in outcome.message
    assert document.serialize() == cib().serialize()


def test_schema_refusals_name_element_line_and_remedy() -> None:
    document = cib()
    xml = b'<constraints>\n<rsc_location id="z"\n rsc="none" node="n1" score="lots"/></constraints>'
    outcome = apply(document, Operation(kind="create", section="constraints", xml=xml))
    assert outcome.rc == ExitCode.CONFIG
    assert {report.code for report in outcome.reports} == {"cib-value", "cib-reference"}
    assert all(report.place.element == "rsc_location" and report.place.id == "z" for report in outcome.reports)
    assert outcome.reports[0].place.line == 3
    assert "a whole number, INFINITY" in outcome.reports[0].remedy


def test_unchecked_documents_take_anything() -> None:
    document = cib()
    document.root.set("validate-with", "none")
    assert apply(document, Operation(kind="create", section="resources", xml=b"<foo/>")).rc == 0
    assert validate(document) == []


def test_a_replacement_without_status_keeps_it() -> None:
    document = cib()
    new = cib()
    new.root.remove(new.status)
    new.root.attrib.pop("validate-with")
    new.root.set("epoch", "9")
    found = new.find_id("w1")
    assert found is not None
    found.set("description", "d")
    outcome = apply(document, Operation(kind="replace", xml=new.serialize()))
    assert outcome.rc == 0 and document.version.epoch == 10
    assert len(document.status) == 1 and document.root.get("validate-with") == "pacemaker-3.9"


def test_a_patch_applied_as_an_operation_counts_up_once_more() -> None:
    document, target = cib(), cib()
    changed = apply(target, Operation(kind="modify", xml=b'<primitive id="w1" description="d"/>'))
    assert changed.patch is not None
    replica = cib()
    assert patch(replica, changed.patch).rc == 0
    assert replica.version == target.version
    assert apply(document, Operation(kind="patch", xml=changed.patch)).rc == 0
    assert document.version.epoch == target.version.epoch + 1
    assert apply(document, Operation(kind="patch", xml=changed.patch)).rc == ExitCode.OLD


@pytest.mark.parametrize(
    ("old", "value", "expected"),
    [
        ("1", "value++", "2"), ("5", "value+=3", "8"), ("5", "value+=-7", "-2"), ("INFINITY", "value++", "1000000"),
        ("-INFINITY", "value+=5", "-999995"), (None, "value++", "1"), ("x", "value++", "1"), ("1", "value", "value"),
        ("1", "value+", "value+"), ("1", "value+=", "value+="), ("1", "values++", "values++"),
    ],
)  # fmt: skip
def test_scores(old: str | None, value: str, expected: str) -> None:
    assert expand_score(old, "value", value) == expected


def test_score_words() -> None:
    assert [score(text) for text in ("INFINITY", "-INFINITY", "red", "7", "-7", "+7", "9999999", "", "x")] == [
        1_000_000, -1_000_000, -1_000_000, 7, -7, 7, 1_000_000, 0, 0,
    ]  # fmt: skip


def test_queries() -> None:
    document = cib()
    assert query(document, section="tags", no_children=True) == b"<tags/>"
    assert query(Cib.empty("3.20.1"), section="tags") is None
    assert query(document, xpath="//nothing") is None
    assert query(document, xpath="count(//primitive)") is None
    both = query(document, xpath="//node", no_children=True)
    assert both == b'<xpath-query><node id="1" uname="n1"/><node id="2" uname="n2" type="member"/></xpath-query>'
    assert query(document, xpath="//node[2]/@uname") == b'<node id="2" uname="n2" type="member"/>'
    assert query_paths(document, "//primitive[@id='db']") == [
        "/cib/configuration/resources/clone[@id='c']/primitive[@id='db']"
    ]
    with pytest.raises(CibError, match="XPath"):
        query(document, xpath="//node[")


# ---- access ------------------------------------------------------------------------------------------------------


def restricted() -> Cib:
    document = cib()
    apply(document, Operation(kind="modify", section="crm_config", xml=(
        b'<cluster_property_set id="cib-bootstrap-options"><nvpair id="o-acl" name="enable-acl" value="true"/>'
        b"</cluster_property_set>"
    )))  # fmt: skip
    return document


def test_access_is_free_for_root_or_when_not_enabled() -> None:
    assert acl.readable(document := cib(), "ann") is document
    assert acl.readable(document := restricted(), "root") is document
    assert not acl.is_restricted(restricted(), None)


def test_reading() -> None:
    document = restricted()
    assert acl.readable(document, "bob") is None
    for user, groups in (("ann", ()), ("bob", ("staff",))):
        seen = acl.readable(document, user, groups)
        assert seen is not None
        assert seen.find_id("w1-m-t") is not None
        assert seen.find_id("w1-i-port") is None
    assert document.find_id("w1-i-port") is not None


@pytest.mark.parametrize(
    ("xml", "allowed"),
    [
        (b'<node id="1" uname="other"/>', True),
        (b'<node id="1" type="member"/>', False),
        (b'<primitive id="w1" description="d"/>', False),
        (b'<nvpair id="w1-i-port" value="81"/>', False),
    ],
)
def test_writing(xml: bytes, allowed: bool) -> None:
    document = restricted()
    operation = Operation(kind="modify", xml=xml)
    reports = acl.check(document, "ann", operation)
    assert (not reports) == allowed
    outcome = apply(document, Operation(kind="modify", xml=xml, user="ann"))
    assert outcome.rc == (ExitCode.OK if allowed else ExitCode.INSUFFICIENT_PRIV)
    assert document.serialize() == restricted().serialize() or allowed
    assert acl.check(document, "hacluster", operation) == []


def test_nobody_grants_himself_access() -> None:
    document = restricted()
    for operation in (
        Operation(kind="create", section="acls", user="ann",
                  xml=b'<acl_role id="all"><acl_permission id="all-1" kind="write" xpath="/cib"/></acl_role>'),
        Operation(kind="delete", xpath="//acls", user="ann"),
        Operation(kind="modify", xml=b'<nvpair id="o-acl" value="false"/>', user="ann"),
        Operation(kind="modify", xml=b'<acl_permission id="v-1" kind="write"/>', user="ann"),
        Operation(kind="erase", force=True, user="ann"),
        Operation(kind="bump", user="ann"),
        Operation(kind="create", section="nodes", xml=b'<node id="9" uname="n9"/>', user="bob"),
    ):  # fmt: skip
        outcome = apply(document, operation)
        assert outcome.rc == ExitCode.INSUFFICIENT_PRIV, operation
        assert outcome.reports[0].code == acl.CODE
