"""Parsing, sections, versions, the index and the digests."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from quorate.model.cib import Cib, CibError, CibVersion, Edit, get_option, parse_fragment
from quorate.model.reports import ExitCode

RICH = (Path(__file__).parents[2] / "golden" / "cib" / "rich.xml").read_bytes()
LAUGHS = b"".join(
    [b'<!DOCTYPE l [<!ENTITY a "ha">']
    + [b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)]
    + [b"]><cib><configuration>&j;</configuration></cib>"]
)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "cib-not-xml"),
        (b"\xff\xfe\x00garbage", "cib-not-xml"),
        (b"<cib>", "cib-not-xml"),
        (b"<cib a='1' a='2'/>", "cib-not-xml"),
        (b'<?xml version="1.0" encoding="none-such"?><cib/>', "cib-not-xml"),
        (b"<cib><configuration>&unknown;</configuration></cib>", "cib-not-xml"),
        (b"<a>" * 400 + b"</a>" * 400, "cib-not-xml"),
        (b"<other/>", "cib-root"),
        (b"<cib/>", "cib-no-configuration"),
        (b'<cib epoch="one"><configuration/></cib>', "cib-version"),
        (b'<cib epoch="-1"><configuration/></cib>', "cib-version"),
        (b'<cib num_updates="99999999999"><configuration/></cib>', "cib-version"),
        (b'<!DOCTYPE c SYSTEM "http://127.0.0.1/c.dtd"><cib><configuration/></cib>', "cib-doctype"),
    ],
)
def test_bad_input_is_one_clear_error(data: bytes, code: str) -> None:
    with pytest.raises(CibError) as caught:
        Cib.parse(data)
    report = caught.value.report
    assert report.code == code
    assert report.exit_code == ExitCode.CONFIG
    assert report.message and report.remedy


def test_a_billion_laughs_cost_nothing() -> None:
    """Refused by the parser's own bound or for its document type, whichever comes first."""
    with pytest.raises(CibError) as caught:
        Cib.parse(LAUGHS)
    assert caught.value.report.code in ("cib-not-xml", "cib-doctype")


def test_no_foreign_file_comes_in(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    data = f'<!DOCTYPE c [<!ENTITY x SYSTEM "file://{secret}">]><cib><configuration>&x;</configuration></cib>'
    with pytest.raises(CibError) as caught:
        Cib.parse(data.encode())
    assert "s3cret" not in str(caught.value)


def test_the_message_names_line_and_remedy() -> None:
    with pytest.raises(CibError, match=r"line 3.*mismatch.*xmllint"):
        Cib.parse(b"<cib>\n<configuration>\n</cib>")


def test_recovery_reads_on() -> None:
    cib = Cib.parse(b"<cib><configuration/><status><node_state></status></cib>", recover=True)
    assert cib.status.find("node_state") is not None


def test_text_and_instructions_go_comments_stay() -> None:
    cib = Cib.parse(b"<cib>text<?pi x?><configuration><!-- why --><nodes> x </nodes> tail</configuration></cib>")
    assert cib.serialize() == b"<cib><configuration><!-- why --><nodes/></configuration><status/></cib>"
    assert parse_fragment(b"<a><![CDATA[x]]></a>").text is None


def test_empty() -> None:
    cib = Cib.empty("3.20.1", "west")
    assert cib.version == CibVersion(0, 0, 0)
    assert get_option(cib, "cluster-name") == "west"
    assert [child.tag for child in cib.configuration] == ["crm_config", "nodes", "resources", "constraints"]
    assert Cib.parse(cib.serialize(pretty=True)).serialize() == cib.serialize()


def test_sections() -> None:
    cib = Cib.parse(RICH)
    assert cib.section(None) is cib.root and cib.section("all") is cib.root
    for name in ("configuration", "status", "crm_config", "fencing-topology", "rsc_defaults", "alerts"):
        section = cib.section(name)
        assert section is not None and section.tag == name
    assert Cib.empty("3.20.1").section("tags") is None
    with pytest.raises(ValueError, match="unknown section 'bogus'"):
        cib.section("bogus")


def test_version_orders() -> None:
    cib = Cib.parse(RICH)
    cib.version = CibVersion(1, 2, 3)
    assert str(cib.version) == "1.2.3"
    assert CibVersion(1, 0, 0) > CibVersion(0, 99, 99) > CibVersion(0, 99, 98)


def test_find_id_prefers_the_configuration_and_follows_changes() -> None:
    cib = Cib.parse(RICH)
    found = cib.find_id("w1")
    assert found is not None and found.tag == "primitive"
    state = cib.find_id("status-1")
    assert state is not None and state.tag == "instance_attributes"
    assert cib.find_id("nothing") is None
    edit = Edit(cib)
    edit.remove(found)
    left = cib.find_id("w1")
    assert left is not None and left.tag != "primitive"
    edit.undo()
    assert cib.find_id("w1") is found


def test_find_id_survives_changes_behind_its_back() -> None:
    cib = Cib.parse(RICH)
    cib.ids()
    found = cib.find_id("fence")
    assert found is not None
    found.set("id", "other")
    assert cib.find_id("other") is found
    left = cib.find_id("fence")
    assert left is None or left.tag == "resource_ref"
    cib.touch()
    assert cib.ids()["other"] == [found]


def test_copies_are_apart() -> None:
    cib = Cib.parse(RICH)
    other = cib.copy()
    other.root.set("epoch", "99")
    assert cib.version != other.version
    assert other.find_id("w1") is not cib.find_id("w1")


def test_config_digest_is_kept_until_the_configuration_changes() -> None:
    cib = Cib.parse(RICH)
    first = cib.config_digest()
    Edit(cib).set(cib.status[0], "crmd", "offline")
    assert cib.config_digest() == first
    found = cib.find_id("w1")
    assert found is not None
    edit = Edit(cib)
    edit.set(found, "description", "d")
    assert cib.config_digest() != first
    edit.undo()
    assert cib.config_digest() == first


def test_digests_as_cibadmin_prints_them() -> None:
    text = (
        '<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" epoch="5" num_updates="3" admin_epoch="0" '
        'cib-last-written="x" update-origin="n1"><configuration><crm_config><cluster_property_set id="cbo">'
        '<nvpair id="cbo-a" name="a" value="1&quot;&lt;&gt;&amp;\'é"/></cluster_property_set></crm_config>'
        '<!-- hello --><nodes/><resources><primitive id="r1" class="ocf" provider="heartbeat" type="Dummy"/>'
        '<primitive id="r2" class="ocf" provider="heartbeat" type="Dummy"/>'
        '<primitive id="r3" class="ocf" provider="heartbeat" type="Dummy"/></resources><constraints/></configuration>'
        "<status/></cib>"
    )
    cib = Cib.parse(text.encode())
    assert cib.disk_digest() == "c523af2c8cb6d2166bf433605e43fb88"
    assert cib.digest() == "672169d7c8412772dd4d6c4af8905802"


def test_an_edit_cannot_touch_the_root_itself() -> None:
    cib = Cib.parse(RICH)
    with pytest.raises(ValueError, match="root"):
        Edit(cib).remove(cib.root)
    with pytest.raises(ValueError, match="root"):
        Edit(cib).move(cib.root, 0)


def test_large_documents_parse() -> None:
    root = etree.fromstring(Cib.empty("3.20.1").serialize())
    resources = root.find("configuration/resources")
    assert resources is not None
    for number in range(30_000):
        element = etree.SubElement(resources, "primitive", id=f"r{number}", type="Dummy", provider="heartbeat")
        element.set("class", "ocf")
        element.set("description", "x" * 300)
    data = etree.tostring(root)
    assert len(data) > 10 * 1024 * 1024
    assert Cib.parse(data).find_id("r29999") is not None
