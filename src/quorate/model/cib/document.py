"""The document: parsing without trust, sections, version, index of ids, digests.

Text between elements is not part of a CIB and is dropped when parsing; comments stay, processing instructions go.
Entities and document types are refused, so that neither expansion nor a foreign file can enter.
Source: Pacemaker Explained, "Configuration"; digests as `cibadmin --md5-sum` and `--md5-sum-versioned` print them.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import cast

import msgspec
from lxml import etree

from quorate.model.reports import ExitCode, Place, Report

Element = etree._Element

BYTES_MAX = 256 * 1024 * 1024
VERSION_MAX = 2**31 - 1
SCHEMA_DEFAULT = "pacemaker-3.9"
REQUIRED_SECTIONS = ("crm_config", "nodes", "resources", "constraints")
OPTIONAL_SECTIONS = ("rsc_defaults", "op_defaults", "acls", "tags", "alerts", "fencing-topology")
CONFIGURATION_SECTIONS = REQUIRED_SECTIONS + OPTIONAL_SECTIONS
SECTIONS = ("all", "cib", "configuration", "status", *CONFIGURATION_SECTIONS)
REFERENCE_ATTRIBUTES = ("rsc", "with-rsc", "first", "then", "template", "id-ref", "reference", "ref")
# of the root, left out of the digest that travels with patch sets: they tell who wrote, not what
VOLATILE_ATTRIBUTES = ("crm-debug-origin", "cib-last-written", "update-origin", "update-client", "update-user")

_id_path = cast("Callable[..., list[Element]]", etree.XPath("//*[@id=$id]", smart_strings=False))
_text_path = cast("Callable[..., list[etree._ElementUnicodeResult]]", etree.XPath("//text()"))


class CibVersion(msgspec.Struct, frozen=True, order=True, array_like=True):
    admin_epoch: int
    epoch: int
    num_updates: int

    def __str__(self) -> str:
        return f"{self.admin_epoch}.{self.epoch}.{self.num_updates}"


class CibError(Exception):
    """A document or fragment that cannot be used; `report` says where and what to do."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def _error(code: str, message: str, *, remedy: str, line: int | None = None, element: str | None = None) -> CibError:
    place = Place(element=element, line=line)
    return CibError(Report(code=code, message=message, remedy=remedy, place=place, exit_code=ExitCode.CONFIG))


def parse_fragment(data: bytes, *, recover: bool = False) -> Element:
    """An element from bytes, without blanks, comments kept; raises CibError for whatever is not plain XML.

    `recover` reads on after mismatched tags as Pacemaker's tools do with a file: to look at it, never to store it.
    """
    if len(data) > BYTES_MAX:
        raise _error("cib-too-large", f"the XML has {len(data)} bytes", remedy=f"the bound is {BYTES_MAX} bytes")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False,
        remove_blank_text=True, remove_pis=True, strip_cdata=True, recover=recover,
    )  # fmt: skip
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        line = getattr(error, "lineno", None)
        detail = (getattr(error, "msg", None) or str(error) or "no XML").strip()
        remedy = "correct the XML at that place; `xmllint --noout FILE` shows it too"
        raise _error("cib-not-xml", f"not well-formed XML: {detail}", remedy=remedy, line=line) from None
    if root is None:
        raise _error("cib-not-xml", "the input holds no XML element", remedy="give a complete document")
    if root.getroottree().docinfo.internalDTD is not None:
        remedy = "remove the <!DOCTYPE ...> declaration; a CIB needs no entities"
        raise _error("cib-doctype", "a document type declaration is not accepted", remedy=remedy, line=1)
    _strip_text(root)
    return root


def _strip_text(root: Element) -> None:
    """Drop what stands between elements; entity references (there is no DTD that could define them) are an error."""
    for node in root.iter(etree.Entity):
        remedy = "write the character itself or &amp; &lt; &gt; &quot; &apos;"
        raise _error("cib-entity", f"entity reference {node.text} is not accepted", remedy=remedy, line=line_of(node))
    for node in root.iter(etree.ProcessingInstruction):
        parent = node.getparent()
        if parent is not None:
            parent.remove(node)
    for text in _text_path(root):
        owner = text.getparent()
        if owner is None:
            continue
        if text.is_tail:
            owner.tail = None
        elif not is_comment(owner):
            owner.text = None
    root.tail = None


def _integer(root: Element, name: str) -> int:
    text = root.get(name, "0")
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= VERSION_MAX or not text.strip().isdecimal():
        remedy = f'set {name}="0" or a larger whole number, up to {VERSION_MAX}'
        raise _error("cib-version", f"{name}={text!r} is not a version number", remedy=remedy,
                     line=line_of(root), element="cib")  # fmt: skip
    return value


class Cib:
    """A document with one owner. Change it through `Edit` or `apply`; after a change by other means call `touch`.

    The index holds the ids of the configuration section only (they are unique there; ids of the status section repeat
    those of resources). It is built at the first need and kept up to date by `Edit`.
    """

    __slots__ = ("_root", "_ids", "_references", "_configuration_changes", "_digest_cache", "histories")

    def __init__(self, root: Element) -> None:
        self._root = root
        self._ids: dict[str, list[Element]] | None = None
        self._references: dict[str, list[Element]] | None = None
        self._configuration_changes = 0
        self._digest_cache: tuple[int, str] | None = None
        self.histories: dict[tuple[str, str], Element] = {}  # of `status`: (node, resource) -> where it last was

    # ---- making and writing -------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, data: bytes, *, recover: bool = False) -> Cib:
        """A document with at least a configuration and version numbers; whether it is valid tells `validate`."""
        root = parse_fragment(data, recover=recover)
        if root.tag != "cib":
            raise _error("cib-root", f"the document's element is <{root.tag}>, not <cib>",
                         remedy="give a whole CIB, as `cibadmin --query` prints it", line=line_of(root))  # fmt: skip
        for name in ("admin_epoch", "epoch", "num_updates"):
            _integer(root, name)
        if root.find("configuration") is None:
            raise _error("cib-no-configuration", "the CIB has no <configuration> element", element="cib",
                         remedy="add <configuration> with crm_config, nodes, resources and constraints",
                         line=line_of(root))  # fmt: skip
        if root.find("status") is None:
            etree.SubElement(root, "status")
        return cls(root)

    @classmethod
    def empty(cls, feature_set: str = "3.20.1", cluster_name: str | None = None) -> Cib:
        root = etree.Element("cib")
        attributes = {"crm_feature_set": feature_set, "validate-with": SCHEMA_DEFAULT}
        attributes |= {"epoch": "0", "num_updates": "0", "admin_epoch": "0"}
        for name, value in attributes.items():
            root.set(name, value)
        configuration = etree.SubElement(root, "configuration")
        for section in REQUIRED_SECTIONS:
            etree.SubElement(configuration, section)
        if cluster_name is not None:
            options = etree.SubElement(configuration[0], "cluster_property_set", id="cib-bootstrap-options")
            pair = etree.SubElement(options, "nvpair", id="cib-bootstrap-options-cluster-name")
            pair.set("name", "cluster-name")
            pair.set("value", cluster_name)
        etree.SubElement(root, "status")
        return cls(root)

    def serialize(self, pretty: bool = False) -> bytes:
        """UTF-8 without declaration: compact, or with two blanks for each level and a final newline."""
        text: bytes = etree.tostring(self._root, encoding="utf-8", xml_declaration=False, pretty_print=pretty)
        return text

    def copy(self) -> Cib:
        return Cib(copy.deepcopy(self._root))

    # ---- parts --------------------------------------------------------------------------------------------------

    @property
    def root(self) -> Element:
        return self._root

    @property
    def configuration(self) -> Element:
        return self._child("configuration")

    @property
    def status(self) -> Element:
        return self._child("status")

    def _child(self, name: str) -> Element:
        found = self._root.find(name)
        if found is None:  # only by a change behind Edit's back
            found = etree.SubElement(self._root, name)
        return found

    def section(self, name: str | None) -> Element | None:
        """The element of a scope name (`SECTIONS`); None if an optional section is not there. ValueError if unknown."""
        if name is None or name in ("all", "cib"):
            return self._root
        if name == "configuration" or name == "status":
            return self._child(name)
        if name not in CONFIGURATION_SECTIONS:
            raise ValueError(f"unknown section {name!r}; one of {', '.join(SECTIONS)}")
        return self.configuration.find(name)

    @property
    def version(self) -> CibVersion:
        root = self._root
        return CibVersion(_integer(root, "admin_epoch"), _integer(root, "epoch"), _integer(root, "num_updates"))

    @version.setter
    def version(self, version: CibVersion) -> None:
        for name in ("admin_epoch", "epoch", "num_updates"):
            self._root.set(name, str(getattr(version, name)))

    # ---- index --------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """The document was changed by other means than `Edit`: forget what was derived from it."""
        self._ids = None
        self._references = None
        self._configuration_changes += 1

    @property
    def configuration_changes(self) -> int:
        """Grows with each change of the configuration section; a cheap key for what others derive from it."""
        return self._configuration_changes

    def ids(self) -> dict[str, list[Element]]:
        """Every id of the configuration, with its elements (more than one only in an invalid document)."""
        if self._ids is None:
            self._build_index()
        assert self._ids is not None
        return self._ids

    def references(self) -> dict[str, list[Element]]:
        """For each id, the elements of the configuration that refer to it (`rsc`, `first`, `id-ref`, obj_ref, ...)."""
        if self._references is None:
            self._build_index()
        assert self._references is not None
        return self._references

    def find_id(self, id: str) -> Element | None:
        """The element with this id: of the configuration, else the first one in the status section."""
        for element in self.ids().get(id, ()):
            if element.get("id") == id and self.contains(element):
                return element
        found = _id_path(self._root, id=id)
        return found[0] if found else None

    def contains(self, element: Element) -> bool:
        top = element
        while (parent := top.getparent()) is not None:
            top = parent
        return top is self._root

    def _build_index(self) -> None:
        self._ids = {}
        self._references = {}
        self.index_subtree(self.configuration)

    def index_subtree(self, top: Element) -> None:
        """For `Edit`: the subtree has joined the configuration."""
        if self._ids is None or self._references is None:
            return
        for element in top.iter(etree.Element):
            id, targets = identity(element)
            if id is not None:
                self._ids.setdefault(id, []).append(element)
            for target in targets:
                self._references.setdefault(target, []).append(element)

    def unindex_subtree(self, top: Element) -> None:
        """For `Edit`: the subtree leaves the configuration (or is about to be indexed anew)."""
        if self._ids is None or self._references is None:
            return
        for element in top.iter(etree.Element):
            id, targets = identity(element)
            if id is not None:
                _drop(self._ids, id, element)
            for target in targets:
                _drop(self._references, target, element)

    def note_configuration_change(self) -> None:
        self._configuration_changes += 1

    # ---- digests ------------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """The digest that Pacemaker puts on patch sets for this document (cibadmin --md5-sum-versioned)."""
        return document_digest(self._root)

    def disk_digest(self) -> str:
        """The digest that Pacemaker keeps beside a stored CIB (cibadmin --md5-sum)."""
        return hashlib.md5(b" " + compact(self._root) + b"\n", usedforsecurity=False).hexdigest()

    def config_digest(self) -> str:
        """A digest of the configuration section alone, kept until it changes."""
        if self._digest_cache is None or self._digest_cache[0] != self._configuration_changes:
            text = etree.tostring(self.configuration, encoding="utf-8", xml_declaration=False)
            self._digest_cache = (self._configuration_changes, hashlib.sha256(text).hexdigest())
        return self._digest_cache[1]


def line_of(element: Element) -> int | None:
    """The line in the text it was parsed from, where it was parsed."""
    return cast("int | None", element.sourceline)


def is_comment(node: Element) -> bool:
    return cast(object, node.tag) is etree.Comment


def attributes_of(element: Element) -> list[tuple[str, str]]:
    return cast("list[tuple[str, str]]", element.attrib.items())


def element_xpath(expression: str) -> Callable[..., list[Element]]:
    """A compiled XPath that yields elements; variables are given by keyword."""
    return cast("Callable[..., list[Element]]", etree.XPath(expression, smart_strings=False))


def identity(element: Element) -> tuple[str | None, list[str]]:
    """The id that an element of the configuration defines, and the ids it refers to."""
    tag = element.tag
    if tag in _REFERRING_BY_ID:
        target = element.get("id")
        return None, [target] if target is not None else []
    return element.get("id"), [value for name in REFERENCE_ATTRIBUTES if (value := element.get(name)) is not None]


_REFERRING_BY_ID = frozenset({"obj_ref", "resource_ref", "role", "role_ref"})


def _drop(index: dict[str, list[Element]], key: str, element: Element) -> None:
    entries = index.get(key)
    if entries is None:
        return
    entries[:] = [entry for entry in entries if entry is not element]
    if not entries:
        del index[key]


def ancestors(element: Element) -> Iterator[Element]:
    """The element itself, then its parents up to the top."""
    current: Element | None = element
    while current is not None:
        yield current
        current = current.getparent()


# ---- Pacemaker's text form, which its digests are made of ------------------------------------------------------------

_tag_end = re.compile(rb"<!--.*?-->|<[^<>]*>", re.DOTALL)


def compact(root: Element) -> bytes:
    r"""One line of XML as Pacemaker writes it: as libxml does, with apostrophes in attributes escaped too.

    Line breaks and tabs in attributes become \n, \r and four blanks. libxml leaves an apostrophe inside double quotes
    alone, so every apostrophe of a tag stands in an attribute value.
    """
    text: bytes = etree.tostring(root, encoding="utf-8", xml_declaration=False)
    if b"'" not in text and b"&#" not in text and b"\x7f" not in text:
        return text
    return _tag_end.sub(_escape_tag, text)


def _escape_tag(match: re.Match[bytes]) -> bytes:
    tag = match.group()
    if tag.startswith(b"<!--"):
        return tag
    for plain, escaped in _PACEMAKER_ESCAPES:
        tag = tag.replace(plain, escaped)
    return tag


_PACEMAKER_ESCAPES = (
    (b"'", b"&apos;"),
    (b"&#10;", b"\\n"),
    (b"&#13;", b"\\r"),
    (b"&#9;", b"    "),
    (b"\x7f", b"\\177"),
)


def document_digest(root: Element) -> str:
    """md5 of the compact text without the root's volatile attributes; comments count."""
    if any(name in root.attrib for name in VOLATILE_ATTRIBUTES):
        start = compact(_root_alone(root, drop=()))
        wanted = compact(_root_alone(root, drop=VOLATILE_ATTRIBUTES))
        text = compact(root)
        if len(root):
            text = wanted[:-2] + b">" + text[len(start) - 1 :]
        else:
            text = wanted
        return hashlib.md5(text, usedforsecurity=False).hexdigest()
    return hashlib.md5(compact(root), usedforsecurity=False).hexdigest()


def _root_alone(root: Element, *, drop: tuple[str, ...]) -> Element:
    alone = etree.Element(root.tag)
    for name, value in root.attrib.items():
        if name not in drop:
            alone.set(name, value)
    return alone
