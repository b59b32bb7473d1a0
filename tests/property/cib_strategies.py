"""Random valid documents and operations on them, for the property tests of the CIB."""

from __future__ import annotations

from hypothesis import strategies as st
from lxml import etree

from quorate.model.cib import Cib, Operation
from quorate.model.cib.document import Element

VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=6)
NAMES = ("r0", "r1", "r2", "r3", "r4", "g0", "g1", "n-a", "n-b", "n-c", "n-d", "m0", "m1", "l0", "l1", "zz")


# Pacemaker 2.1 stops escaping at the first character beyond ASCII; later versions do not
ASCII_FIRST = st.tuples(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=5), st.sampled_from(("", "é€"))
)
ESCAPED_VALUES = ASCII_FIRST.map("".join)
PLAIN_VALUES = st.text("abcxyz 0189-_.:é", max_size=6)


def pair(draw: st.DrawFn, id: str, values: st.SearchStrategy[str] = VALUES) -> Element:
    element = etree.Element("nvpair", id=id)
    element.set("name", draw(st.sampled_from(("a", "b", "target-role"))))
    element.set("value", draw(values))
    return element


def primitive(draw: st.DrawFn, id: str, values: st.SearchStrategy[str] = VALUES) -> Element:
    element = etree.Element("primitive", id=id)
    for name, value in (("class", "ocf"), ("provider", "p"), ("type", draw(st.sampled_from(("Dummy", "Stateful"))))):
        element.set(name, value)
    for number in range(draw(st.integers(0, 2))):
        pairs = etree.SubElement(element, "meta_attributes", id=f"{id}-m{number}")
        for letter in draw(st.lists(st.sampled_from("abc"), unique=True)):
            pairs.append(pair(draw, f"{id}-m{number}-{letter}", values))
    if draw(st.booleans()):
        element.append(etree.Comment(" " + draw(st.sampled_from(("one", "two", "<x y='z'>"))) + " "))
    return element


@st.composite
def documents(draw: st.DrawFn, *, values: st.SearchStrategy[str] = VALUES, comments: bool = True) -> Cib:
    """`values`: what pairs may hold; some of Pacemaker's tools print < and & unescaped."""
    cib = Cib.empty("3.16.1", draw(st.sampled_from((None, "c"))))
    resources = cib.section("resources")
    assert resources is not None
    for id in draw(st.lists(st.sampled_from(NAMES[:5]), unique=True)):
        if draw(st.booleans()):
            resources.append(primitive(draw, id, values))
        else:
            group = etree.SubElement(resources, "group", id=f"g-{id}")
            group.append(primitive(draw, id, values))
    targets = [each.get("id", "") for each in resources.iter("primitive", "group")]
    constraints = cib.section("constraints")
    assert constraints is not None
    if targets:
        for id in draw(st.lists(st.sampled_from(("l0", "l1", "l2")), unique=True)):
            etree.SubElement(
                constraints, "rsc_location", id=id, rsc=draw(st.sampled_from(targets)), node="n", score="1"
            )
    if targets and draw(st.booleans()):
        tags = etree.SubElement(cib.configuration, "tags")
        tag = etree.SubElement(tags, "tag", id="t0")
        etree.SubElement(tag, "obj_ref", id=targets[0])
    for node in draw(st.lists(st.sampled_from("12"), unique=True)):
        state = etree.SubElement(cib.status, "node_state", id=node, uname=f"n{node}")
        lrm = etree.SubElement(etree.SubElement(state, "lrm", id=node), "lrm_resources")
        for id in targets[: draw(st.integers(0, 3))]:
            etree.SubElement(lrm, "lrm_resource", id=id, type="Dummy")
    if not comments:
        etree.strip_tags(cib.root, etree.Comment)
    for name in ("epoch", "num_updates"):
        cib.root.set(name, str(draw(st.integers(0, 5))))
    cib.touch()
    return cib


def _xml(element: Element) -> bytes:
    return bytes(etree.tostring(element))


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    """Sensible and senseless operations, about half of which the documents above accept."""
    kind = draw(st.sampled_from(("create", "modify", "modify", "replace", "delete", "delete-all", "bump")))
    what = draw(st.sampled_from(("primitive", "nvpair", "location", "node_state", "group", "odd")))
    id = draw(st.sampled_from(NAMES))
    section = {"primitive": "resources", "group": "resources", "location": "constraints", "node_state": "status"}.get(
        what
    )
    if what == "primitive":
        xml = _xml(primitive(draw, id))
    elif what == "group":
        group = etree.Element("group", id=f"g-{id}")
        if draw(st.booleans()):
            group.append(primitive(draw, id))
        xml = _xml(group)
    elif what == "nvpair":
        holder = draw(st.sampled_from(NAMES[:5]))
        xml = _xml(pair(draw, f"{holder}-m{draw(st.integers(0, 1))}-{draw(st.sampled_from('abc'))}"))
    elif what == "location":
        rule = etree.Element(
            "rsc_location",
            id=id,
            rsc=draw(st.sampled_from(NAMES)),
            node="n",
            score=draw(st.sampled_from(("1", "INFINITY", "much"))),
        )
        xml = _xml(rule)
    elif what == "node_state":
        xml = _xml(etree.Element("node_state", id=draw(st.sampled_from("123")), uname="n", in_ccm=draw(VALUES)))
    else:
        xml = draw(
            st.sampled_from(
                (
                    b"<resources/>",
                    b"<nodes/>",
                    b"<foo id='x'/>",
                    b"<",
                    b"",
                    b"<cib/>",
                    b"<status/>",
                    b"<configuration/>",
                    b"<primitive/>",
                    b"<cib epoch='epoch++'/>",
                )
            )
        )
    xpath = draw(
        st.sampled_from((None, None, None, None, f"//*[@id='{id}']", "//primitive", "//nvpair[@name='a']", "//["))
    )
    return Operation(
        kind=kind,
        section=draw(st.sampled_from((section, section, None, "configuration", "tags", "bogus"))),
        xpath=xpath,
        xml=xml, allow_create=draw(st.booleans()), force=draw(st.booleans()),
    )  # fmt: skip
