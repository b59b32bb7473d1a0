"""Whole-configuration actions: read, change, digest, compare."""

from __future__ import annotations

from lxml import etree

from quorate.model.cib import Cib, CibError, parse_fragment
from quorate.model.cib.document import document_digest
from quorate.model.cib.operations import query_paths

from ..backends import Backend
from ..failure import CommandFailed, Exit, errno_text

DANGEROUS = ("erase", "upgrade")


def read(backend: Backend, *, section: str | None = None, xpath: str | None = None, no_children: bool = False) -> str:
    """The XML asked for, indented. CommandFailed(105) when there is none."""
    data = backend.query(section=section, xpath=xpath, no_children=no_children)
    if data is None:
        raise CommandFailed(Exit.NOSUCH, errno_text(Exit.NOSUCH))
    return data.decode()


def paths(backend: Backend, xpath: str) -> list[str]:
    """Where each match stands. CommandFailed(105) when there is none."""
    try:
        found = query_paths(backend.cib(), xpath)
    except CibError as error:
        raise CommandFailed(Exit.NOSUCH, str(error)) from None
    if not found:
        raise CommandFailed(Exit.NOSUCH, errno_text(Exit.NOSUCH))
    return found


def change(
    backend: Backend,
    kind: str,
    *,
    section: str | None = None,
    xpath: str | None = None,
    xml: bytes | None = None,
    allow_create: bool = False,
    forced: bool = False,
) -> None:
    """One operation. What could destroy a configuration needs `forced` (107)."""
    if kind in DANGEROUS and not forced:
        raise CommandFailed(
            Exit.UNSAFE,
            "The supplied command is considered dangerous.  To prevent accidental destruction of the cluster, "
            "the --force flag is required in order to proceed.",
        )
    backend.change(kind, section=section, xpath=xpath, xml=xml, allow_create=allow_create, forced=forced)


def failed_document(kind: str, xml: bytes) -> str:
    """What cibadmin prints of an object that was there already."""
    root = etree.Element("failed")
    element = parse_fragment(xml)
    entry = etree.SubElement(
        root,
        "failed_update",
        id=element.get("id", ""),
        object_type=str(element.tag),
        operation=f"cib_{kind}",
        reason="File exists",
    )
    entry.append(element)
    text: str = etree.tostring(root, encoding="unicode", pretty_print=True)
    return text


def disk_digest(xml: bytes) -> str:
    return Cib(parse_fragment(xml)).disk_digest()


def versioned_digest(xml: bytes) -> tuple[str, str]:
    """Feature set and digest."""
    root = parse_fragment(xml)
    return root.get("crm_feature_set", ""), document_digest(root)


def empty(schema: str | None = None) -> str:
    cib = Cib.empty()
    cib.root.set("epoch", "1")
    if schema:
        cib.root.set("validate-with", schema)
    return cib.serialize(pretty=True).decode()
