"""Bringing a configuration to the newest schema this program writes.

Old spellings that the grammar still accepts (master, roles Master and Slave) stay: they mean the same. Changed is what
newer schemas refuse: access control lists of the first kind, old names of cluster options, `requires` on operations.
Source: Pacemaker Explained, "Upgrading the configuration", and what `cibadmin --upgrade` makes of such documents.
"""

from __future__ import annotations

import re

from lxml import etree

from quorate.model.options import CLUSTER

from .document import SCHEMA_DEFAULT, Element, attributes_of
from .edit import Edit

_GENERATION = re.compile(r"pacemaker-(\d+)\.(\d+)")


def generation(schema: str | None) -> tuple[int, int] | None:
    """(3, 9) for pacemaker-3.9; None for a schema without a number (none, pacemaker-next)."""
    match = _GENERATION.fullmatch(schema or "")
    return None if match is None else (int(match[1]), int(match[2]))


def upgrade(edit: Edit) -> None:
    """Nothing happens to a document that is as new, or whose schema is none."""
    root = edit.cib.root
    have, newest = generation(root.get("validate-with")), generation(SCHEMA_DEFAULT)
    if have is None or newest is None or have >= newest:
        return
    if have < (2, 0):
        _upgrade_access(edit)
    _rename_options(edit)
    for operation in list(edit.cib.configuration.iter("op")):
        _move_requirement(edit, operation)
    edit.set(root, "validate-with", SCHEMA_DEFAULT)


def _rename_options(edit: Edit) -> None:
    for pair in edit.cib.configuration.iterfind("crm_config/cluster_property_set/nvpair"):
        option = CLUSTER.get(pair.get("name", ""))
        if option is not None and pair.get("name") in option.older:
            edit.set(pair, "name", option.name)


def _move_requirement(edit: Edit, operation: Element) -> None:
    """`requires` on an operation becomes the resource's meta attribute, unless the resource has one."""
    required = operation.get("requires")
    if required is None:
        return
    edit.set(operation, "requires", None)
    resource = next(operation.iterancestors("primitive", "template"), None)
    if resource is None or resource.find("meta_attributes/nvpair[@name='requires']") is not None:
        return
    set_id = f"{resource.get('id')}-meta_attributes"
    pairs = next((each for each in resource.iterchildren("meta_attributes") if each.get("id") == set_id), None)
    if pairs is None:
        pairs = etree.Element("meta_attributes", id=set_id)
        edit.insert(resource, None, pairs)
    pair = etree.Element("nvpair", id=f"{set_id}-requires", name="requires", value=required)
    edit.insert(pairs, None, pair)


def _upgrade_access(edit: Edit) -> None:
    acls = edit.cib.section("acls")
    if acls is None:
        return
    for role in list(acls.iterchildren("acl_role")):
        for rule in list(role.iterchildren("read", "write", "deny")):
            _exchange(edit, rule, _permission(rule))
    for user in list(acls.iterchildren("acl_user")):
        name = user.get("id", "")
        target = etree.Element("acl_target", id=name)
        own = [_permission(rule) for rule in user.iterchildren("read", "write", "deny")]
        if own:
            role = etree.Element("acl_role", id=f"auto-{name}")
            role.extend(own)
            etree.SubElement(target, "role", id=f"auto-{name}")
            edit.remove(user)  # its rules' ids move to the role
            edit.insert(acls, None, role)
        else:
            edit.remove(user)
        for reference in user.iterchildren("role_ref"):
            etree.SubElement(target, "role", id=reference.get("id", ""))
        edit.insert(acls, None, target)


def _permission(rule: Element) -> Element:
    """An acl_permission for a <read>, <write> or <deny>."""
    made = etree.Element("acl_permission", id=rule.get("id", ""), kind=str(rule.tag))
    given = dict(attributes_of(rule))
    if "xpath" in given:
        made.set("xpath", given["xpath"])
    elif "ref" in given:
        made.set("reference", given["ref"])
    else:
        made.set("object-type", given.get("tag", "*"))
        if "attribute" in given:
            made.set("attribute", given["attribute"])
    return made


def _exchange(edit: Edit, old: Element, new: Element) -> None:
    parent = old.getparent()
    assert parent is not None
    place = parent.index(old)
    edit.remove(old)
    edit.insert(parent, place, new)
