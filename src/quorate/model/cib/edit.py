"""Changing a document in place: recorded, undoable, and told afterwards as a patch set.

An `Edit` costs what it changes, not what the document holds. The patch set follows from the record: first what was
removed (in order, with the paths of that moment), then changed attributes, then what was created or moved, by position.
That is the order in which Pacemaker applies one.
"""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from .document import REFERENCE_ATTRIBUTES, Cib, CibVersion, Element, attributes_of, is_comment


def element_path(element: Element) -> str:
    """The path that patch sets use: by id where there is one, else by id-ref, else by place among those alike."""
    steps = []
    current: Element | None = element
    while current is not None:
        parent = current.getparent()
        if is_comment(current):
            steps.append("comment")
        elif (id := current.get("id")) is not None and parent is not None:
            steps.append(f"{current.tag}[@id={_quote(id)}]")
        elif (reference := current.get("id-ref")) is not None:
            steps.append(f"{current.tag}[@id-ref={_quote(reference)}]")
        else:
            steps.append(current.tag + _ordinal(current, parent))
        current = parent
    return "/" + "/".join(reversed(steps))


def _quote(text: str) -> str:
    """An XPath string literal. A text with both kinds of quotes cannot be written as one; ids have neither."""
    return f"'{text}'" if "'" not in text else f'"{text}"'


def _ordinal(element: Element, parent: Element | None) -> str:
    if parent is None:
        return ""
    alike = [sibling for sibling in parent.iterchildren(element.tag)]
    if len(alike) < 2:
        return ""
    return f"[{next(place for place, sibling in enumerate(alike, 1) if sibling is element)}]"


class Edit:
    """One change. Use it, then read `patch`, or `undo` it. Not to be reused after `undo`."""

    __slots__ = ("cib", "modified", "inserted", "moved", "removed", "parents", "_undo", "_configuration")

    def __init__(self, cib: Cib) -> None:
        self.cib = cib
        self.modified: dict[Element, list[tuple[str, str]]] = {}  # element -> its attributes before
        self.inserted: dict[Element, None] = {}
        self.moved: dict[Element, None] = {}
        self.removed: list[tuple[str, int | None, Element]] = []  # path, position of a comment, what was removed
        self.parents: dict[Element, None] = {}  # whose children changed
        self._undo: list[Callable[[], None]] = []
        self._configuration: dict[Element, bool] = {}

    # ---- changing -----------------------------------------------------------------------------------------------

    def set(self, element: Element, name: str, value: str | None) -> None:
        """Set an attribute, or remove it with None. Nothing is recorded when it has that value already."""
        if element.get(name) == value:
            return
        self._before(element)
        indexed = self._in_configuration(element)
        self._note(indexed)
        if indexed and name in _INDEXED:
            self.cib.unindex_subtree(element)
        if value is None:
            del element.attrib[name]
        else:
            element.set(name, value)
        if indexed and name in _INDEXED:
            self.cib.index_subtree(element)

    def insert(self, parent: Element, position: int | None, element: Element) -> None:
        """Put a detached element under `parent`, at the end when position is None."""
        place = len(parent) if position is None else min(position, len(parent))
        indexed = self._in_configuration(parent)
        self._note(indexed)
        parent.insert(place, element)
        self.inserted[element] = None
        self.parents[parent] = None
        if indexed:
            self.cib.index_subtree(element)

        def undo() -> None:
            if indexed:
                self.cib.unindex_subtree(element)
            parent.remove(element)

        self._undo.append(undo)

    def remove(self, element: Element) -> None:
        parent = element.getparent()
        if parent is None:
            raise ValueError("the root cannot be removed")
        indexed = self._in_configuration(parent)
        self._note(indexed)
        place = parent.index(element)
        if element in self.inserted:
            del self.inserted[element]
        elif not self._is_new(parent):
            self.removed.append((element_path(element), place if is_comment(element) else None, element))
        self.moved.pop(element, None)
        if indexed:
            self.cib.unindex_subtree(element)
        parent.remove(element)
        self.parents[parent] = None

        def undo() -> None:
            parent.insert(place, element)
            if indexed:
                self.cib.index_subtree(element)

        self._undo.append(undo)

    def move(self, element: Element, position: int) -> None:
        """Give an element another place among its siblings."""
        parent = element.getparent()
        if parent is None:
            raise ValueError("the root cannot be moved")
        place = parent.index(element)
        if place == position:
            return
        self._note(self._in_configuration(parent))
        parent.remove(element)
        parent.insert(position, element)
        if element not in self.inserted:
            self.moved[element] = None
        self.parents[parent] = None

        def undo() -> None:
            parent.remove(element)
            parent.insert(place, element)

        self._undo.append(undo)

    def undo(self) -> None:
        """Take everything back, in reverse order. The index follows."""
        for action in reversed(self._undo):
            action()
        if any(self._configuration.values()):
            self.cib.note_configuration_change()
        self._undo.clear()

    # ---- what was done ------------------------------------------------------------------------------------------

    @property
    def configuration_changed(self) -> bool:
        """Whether the configuration section is other than before."""
        if any(path.startswith("/cib/configuration") for path, _, _ in self.removed):
            return True
        if any(self._in_configuration(element) and self._attached(element)
               for group in (self.inserted, self.moved) for element in group):  # fmt: skip
            return True
        return any(
            self._in_configuration(element) and self._attached(element) and attributes_of(element) != before
            for element, before in self.modified.items()
        )

    @property
    def schema_changed(self) -> bool:
        root = self.cib.root
        before = dict(self.modified.get(root, ()))
        return bool(before) and any(before.get(name) != root.get(name) for name in ("validate-with", "crm_feature_set"))

    def is_durable(self, source: CibVersion) -> bool:
        """Whether it concerns what must be on disk: the configuration, its schema or its epochs."""
        now = self.cib.version
        epochs = (now.admin_epoch, now.epoch) != (source.admin_epoch, source.epoch)
        return epochs or self.configuration_changed or self.schema_changed

    @property
    def changed(self) -> bool:
        if self.removed or any(self._attached(element) for group in (self.inserted, self.moved) for element in group):
            return True
        return any(self._attached(element) and attributes_of(element) != before
                   for element, before in self.modified.items())  # fmt: skip

    def patch(self, source: CibVersion) -> bytes:
        """The version 2 patch set from the document of version `source` to the document as it stands."""
        diff = new_patchset(source, self.cib.version)
        for path, position, _ in self.removed:
            change = etree.SubElement(diff, "change", operation="delete", path=path)
            if position is not None:
                change.set("position", str(position))
        for element, before in self.modified.items():
            if self._attached(element) and not self._is_new(element):
                _describe_attributes(diff, element, before)
        placed = []
        for order, (operation, element) in enumerate(
            [("create", element) for element in self.inserted] + [("move", element) for element in self.moved]
        ):
            parent = element.getparent()
            if parent is None or not self._attached(parent) or self._is_new(parent):
                continue
            placed.append((parent.index(element), order, operation, element, parent))
        for position, _, operation, element, parent in sorted(placed, key=lambda entry: entry[:2]):
            _describe_placing(diff, operation, element, parent, position)
        text: bytes = etree.tostring(diff, encoding="utf-8", xml_declaration=False)
        return text

    # ---- inner --------------------------------------------------------------------------------------------------

    def _before(self, element: Element) -> None:
        if element in self.modified:
            return
        before = attributes_of(element)
        self.modified[element] = before
        indexed = self._in_configuration(element)

        def undo() -> None:
            if indexed:
                self.cib.unindex_subtree(element)
            element.attrib.clear()
            for name, value in before:
                element.set(name, value)
            if indexed:
                self.cib.index_subtree(element)

        self._undo.append(undo)

    def _in_configuration(self, element: Element) -> bool:
        """Whether it stands in the configuration section; asked while it is attached, remembered for later."""
        known = self._configuration.get(element)
        if known is not None:
            return known
        inside = False
        current: Element | None = element
        while current is not None:
            if current.tag == "configuration":
                above = current.getparent()
                inside = above is not None and above is self.cib.root
                break
            current = current.getparent()
        self._configuration[element] = inside
        return inside

    def _note(self, inside: bool) -> None:
        if inside:
            self.cib.note_configuration_change()

    def _attached(self, element: Element) -> bool:
        return self.cib.contains(element)

    def _is_new(self, element: Element) -> bool:
        """Whether it or something above it was created by this edit."""
        current: Element | None = element
        while current is not None:
            if current in self.inserted:
                return True
            current = current.getparent()
        return False


_INDEXED = frozenset({"id", *REFERENCE_ATTRIBUTES})


def new_patchset(source: CibVersion, target: CibVersion) -> Element:
    diff = etree.Element("diff", format="2")
    versions = etree.SubElement(diff, "version")
    for name, version in (("source", source), ("target", target)):
        element = etree.SubElement(versions, name)
        for part in ("admin_epoch", "epoch", "num_updates"):
            element.set(part, str(getattr(version, part)))
    return diff


def _describe_attributes(diff: Element, element: Element, before: list[tuple[str, str]]) -> None:
    old = dict(before)
    new = dict(attributes_of(element))
    if old == new:
        return
    change = etree.SubElement(diff, "change", operation="modify", path=element_path(element))
    listing = etree.SubElement(change, "change-list")
    for name in old:
        if name not in new:
            etree.SubElement(listing, "change-attr", name=name, operation="unset")
    for name, value in new.items():
        if old.get(name) != value:
            etree.SubElement(listing, "change-attr", name=name, operation="set", value=value)
    result = etree.SubElement(etree.SubElement(change, "change-result"), element.tag)
    for name, value in new.items():
        result.set(name, value)


def _describe_placing(diff: Element, operation: str, element: Element, parent: Element, position: int) -> None:
    path = element_path(parent) if operation == "create" else element_path(element)
    change = etree.SubElement(diff, "change", operation=operation, path=path, position=str(position))
    if operation == "create":
        copied = etree.fromstring(etree.tostring(element), _plain_parser) if not is_comment(element) else None
        change.append(copied if copied is not None else etree.Comment(element.text or ""))


_plain_parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
