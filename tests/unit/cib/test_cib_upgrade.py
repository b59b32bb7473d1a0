"""Upgrading old documents."""

from __future__ import annotations

from quorate.model.cib import Cib, Operation, apply, validate
from quorate.model.cib.upgrade import generation

OLD = b"""<cib validate-with="pacemaker-1.3" epoch="3" num_updates="2" admin_epoch="0"><configuration>
<crm_config><cluster_property_set id="s"><nvpair id="s-1" name="no_quorum_policy" value="stop"/></cluster_property_set></crm_config>
<nodes/>
<resources><master id="m"><primitive id="p" class="ocf" provider="x" type="t"><operations>
<op id="o" name="start" interval="0" requires="nothing"/></operations></primitive></master></resources>
<constraints/>
<acls>
<acl_role id="viewer"><read id="v1" xpath="/cib"/><deny id="v2" ref="p"/></acl_role>
<acl_user id="ann"><role_ref id="viewer"/></acl_user>
<acl_user id="bob"><write id="b1" tag="nvpair" attribute="value"/></acl_user>
</acls></configuration><status/></cib>"""


def test_an_old_document() -> None:
    cib = Cib.parse(OLD)
    assert not validate(cib)
    outcome = apply(cib, Operation(kind="upgrade", force=True))
    assert outcome.rc == 0 and outcome.config_changed
    assert cib.root.get("validate-with") == "pacemaker-3.9"
    assert cib.version.epoch == 4
    option, pair = cib.find_id("s-1"), cib.find_id("p-meta_attributes-requires")
    assert option is not None and option.get("name") == "no-quorum-policy"
    assert pair is not None and pair.get("value") == "nothing"
    acls = cib.section("acls")
    assert acls is not None
    assert [(each.tag, each.get("id")) for each in acls] == [
        ("acl_role", "viewer"), ("acl_target", "ann"), ("acl_role", "auto-bob"), ("acl_target", "bob"),
    ]  # fmt: skip
    permission = cib.find_id("b1")
    assert permission is not None
    assert dict(permission.attrib) == {"id": "b1", "kind": "write", "object-type": "nvpair", "attribute": "value"}
    assert not apply(cib, Operation(kind="upgrade", force=True)).changed


def test_what_is_not_upgraded() -> None:
    for schema in ("none", "pacemaker-next", "pacemaker-4.0", "pacemaker-3.10"):
        cib = Cib.empty("3.20.1")
        cib.root.set("validate-with", schema)
        assert not apply(cib, Operation(kind="upgrade", force=True)).changed
    assert generation("pacemaker-2.10") == (2, 10)
