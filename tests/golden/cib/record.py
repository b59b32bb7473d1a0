"""Records what cibadmin of the installed Pacemaker does with the cases below: `python tests/golden/cib/record.py`.

Each case starts from one of the documents in STARTS and runs its operations one after the other on a file
(CIB_file). For each the exit code and the document afterwards are kept in cibadmin.json.
"""

# ruff: noqa: E501 (the cases are data)

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
HEAD = 'crm_feature_set="3.16.1" validate-with="pacemaker-3.9"'
STARTS = {
    "empty": f'<cib {HEAD} epoch="1" num_updates="0" admin_epoch="0"><configuration><crm_config/><nodes/><resources/>'
    "<constraints/></configuration><status/></cib>",
    "small": f'<cib {HEAD} epoch="5" num_updates="3" admin_epoch="0"><configuration><crm_config>'
    '<cluster_property_set id="cib-bootstrap-options"><nvpair id="opt-a" name="stonith-enabled" value="false"/>'
    '</cluster_property_set></crm_config><nodes><node id="1" uname="n1"/><node id="2" uname="n2"/></nodes><resources>'
    '<primitive id="r1" class="ocf" provider="heartbeat" type="Dummy"><meta_attributes id="r1-m">'
    '<nvpair id="r1-m-x" name="priority" value="1"/></meta_attributes><operations>'
    '<op id="r1-mon" name="monitor" interval="10s"/></operations></primitive>'
    '<primitive id="r2" class="ocf" provider="heartbeat" type="Dummy"/>'
    '<group id="g"><primitive id="r3" class="ocf" provider="heartbeat" type="Dummy"/></group></resources>'
    '<constraints><rsc_location id="l1" rsc="r1" node="n1" score="10"/></constraints></configuration>'
    '<status><node_state id="1" uname="n1" in_ccm="true"/></status></cib>',
}
PRIMITIVE = '<primitive id="{}" class="ocf" provider="heartbeat" type="Dummy"/>'


def op(kind: str, xml: str | None = None, **fields: object) -> dict[str, object]:
    return {"kind": kind, "xml": xml, **fields}


CASES: dict[str, tuple[str, list[dict[str, object]]]] = {
    "create": ("empty", [op("create", PRIMITIVE.format("a"), section="resources")]),
    "create twice": ("empty", [op("create", PRIMITIVE.format("a"), section="resources")] * 2),
    "create without a section": ("small", [op("create", PRIMITIVE.format("a")), op("create", '<primitive id="r1" description="d"/>')]),
    "create a section's children": (
        "small", [op("create", f"<resources>{PRIMITIVE.format('a')}{PRIMITIVE.format('b')}</resources>", section="resources"),
                  op("create", f"<resources>{PRIMITIVE.format('c')}{PRIMITIVE.format('b')}</resources>", section="resources")]),
    "create what the schema refuses": (
        "small", [op("create", '<primitive id="a" class="ocf" type="Dummy"/>', section="resources"),
                  op("create", "<foo/>", section="resources"),
                  op("create", '<rsc_location id="l2" rsc="nothing" node="n1" score="1"/>', section="constraints"),
                  op("create", '<rsc_location id="r1" rsc="r1" node="n1" score="1"/>', section="constraints"),
                  op("create", '<rsc_location id="l2" rsc="r1" node="n1" score="much"/>', section="constraints")]),
    "create in the status section": (
        "small", [op("create", '<node_state id="2" uname="n2"/>', section="status"),
                  op("create", '<node_state id="2"><lrm id="2"/></node_state>', section="status")]),
    "modify": ("small", [op("modify", '<primitive id="r1" description="d"/>'),
                         op("modify", '<primitive id="r1" description="e"/>', section="resources"),
                         op("modify", '<primitive id="r1" description="e"/>', section="resources")]),
    "modify adds children": (
        "small", [op("modify", '<primitive id="r2"><meta_attributes id="r2-m"><nvpair id="r2-m-x" name="x" value="1"/>'
                               "</meta_attributes></primitive>"),
                  op("modify", '<primitive id="r2"><meta_attributes id="r2-m"><nvpair id="r2-m-x" value="2"/>'
                               '<nvpair id="r2-m-y" name="y" value="2"/></meta_attributes></primitive>')]),
    "modify deep": ("small", [op("modify", '<nvpair id="r1-m-x" value="7"/>'),
                              op("modify", '<op id="r1-mon" timeout="30s"/>', section="resources")]),
    "modify scores": (
        "small", [op("modify", '<nvpair id="r1-m-x" value="value++"/>'), op("modify", '<nvpair id="r1-m-x" value="value+=5"/>'),
                  op("modify", '<nvpair id="r1-m-x" value="value+=-3"/>'),
                  op("modify", '<nvpair id="r1-m-x" value="value+=INFINITY"/>'),
                  op("modify", '<nvpair id="r1-m-x" value="value+=1"/>'),
                  op("modify", '<nvpair id="r1-m-x" value="-INFINITY"/>'),
                  op("modify", '<nvpair id="r1-m-x" value="value++"/>'),
                  op("modify", '<nvpair id="r1-m-x" value="word"/>'), op("modify", '<nvpair id="r1-m-x" value="value++"/>')]),
    "modify what is not there": (
        "small", [op("modify", '<primitive id="zz" description="d"/>', section="resources"), op("modify", '<nvpair id="zz" value="d"/>'),
                  op("modify", "<nodes/>", section="resources")]),
    "modify creates in status": (
        "small", [op("modify", '<node_state id="2" uname="n2"/>', section="status", allow_create=True),
                  op("modify", '<node_state id="2"><transient_attributes id="2"><instance_attributes id="status-2">'
                               '<nvpair id="status-2-a" name="a" value="1"/></instance_attributes></transient_attributes></node_state>',
                     section="status")]),
    "modify creates nothing invalid": (
        "small", [op("modify", '<primitive id="a" class="ocf"/>', section="resources", allow_create=True)]),
    "modify the root": (
        "small", [op("modify", '<cib admin_epoch="admin_epoch++"/>'), op("modify", '<cib epoch="1"/>'), op("modify", '<cib foo="1"/>'),
                  op("modify", '<cib epoch="20" num_updates="5"/>'), op("modify", '<cib have-quorum="1"/>')]),
    "modify sections": (
        "small", [op("modify", '<configuration><op_defaults><meta_attributes id="od"/></op_defaults></configuration>', section="configuration"),
                  op("modify", '<configuration><rsc_defaults><meta_attributes id="rd"/></rsc_defaults></configuration>'),
                  op("modify", '<crm_config><cluster_property_set id="cib-bootstrap-options"><nvpair id="opt-b" name="b" value="1"/>'
                               "</cluster_property_set></crm_config>", section="crm_config")]),
    "modify by XPath": (
        "small", [op("modify", '<primitive id="r1" description="x"/>', xpath="//primitive[@id='r1']"),
                  op("modify", '<primitive id="r2" description="x"/>', xpath="//primitive[@id='r1']"),
                  op("modify", '<primitive id="r1" description="y"/>', xpath="//resources"),
                  op("modify", '<primitive description="y"/>', xpath="//primitive"),
                  op("modify", '<nvpair id="r1-m-x" value="9"/>', xpath="//primitive[@id='r1']"),
                  op("modify", '<nvpair id="new" name="q" value="9"/>', xpath="//primitive[@id='r1']", allow_create=True),
                  op("modify", '<nvpair id="r1-m-x" value="9"/>', xpath="//nothing")]),
    "replace": (
        "small", [op("replace", PRIMITIVE.format("r2").replace("Dummy", "Stateful")),
                  op("replace", PRIMITIVE.format("r2").replace("Dummy", "Delay"), section="resources"),
                  op("replace", PRIMITIVE.format("zz")), op("replace", "<nodes/>", section="resources"),
                  op("replace", '<nodes><node id="1" uname="n1"/></nodes>', section="nodes"),
                  op("replace", '<nodes><node id="1" uname="n1"/></nodes>', section="nodes"),
                  op("replace", '<primitive id="r1" class="ocf" provider="heartbeat" type="Dummy"/>')]),
    "replace breaks a reference": ("small", [op("replace", "<resources/>", section="resources")]),
    "replace by XPath": (
        "small", [op("replace", PRIMITIVE.format("r9"), xpath="//primitive[@id='r2']"), op("replace", PRIMITIVE.format("r8"), xpath="//nothing"),
                  op("replace", PRIMITIVE.format("r7"), xpath="//group/primitive")]),
    "replace all, older": ("small", [op("replace", "START small epoch=4 num_updates=9"), op("replace", "START small epoch=5 num_updates=2")]),
    "replace all, same": ("small", [op("replace", "START small epoch=5 num_updates=3")]),
    "replace all, newer": ("small", [op("replace", "START small epoch=6 num_updates=9"), op("replace", "START empty epoch=99 num_updates=7")]),
    "replace a section from all": ("empty", [op("replace", "START small epoch=5 num_updates=3", section="resources"),
                                             op("replace", "START small epoch=5 num_updates=3", section="configuration")]),
    "delete": (
        "small", [op("delete", '<nvpair id="nothing"/>'), op("delete", '<nvpair id="r1-m-x" value="other"/>'),
                  op("delete", '<nvpair id="r1-m-x" value="1"/>'), op("delete", '<primitive id="r1"/>', section="resources"),
                  op("delete", '<rsc_location id="l1"/>', section="constraints"), op("delete", '<primitive id="r1"/>', section="resources"),
                  op("delete", '<resources><primitive id="r2"/></resources>', section="resources"),
                  op("delete", '<primitive id="r3"/>'), op("delete", '<node_state uname="n1"/>', section="status")]),
    "delete a section": ("small", [op("delete", "<resources/>"), op("delete", "<status/>", section="status")]),
    "delete by XPath": (
        "small", [op("delete", xpath="//nvpair[@name='priority']"), op("delete", xpath="//nvpair[@name='priority']"),
                  op("delete", xpath="//op/@id"), op("delete", xpath="//node"), op("delete-all", xpath="//node", force=True),
                  op("delete-all", xpath="//nothing", force=True)]),
    "bump": ("small", [op("bump"), op("bump")]),
    "erase": ("small", [op("erase"), op("erase", force=True)]),
    "upgrade": ("small", [op("upgrade", force=True)]),
    "create by XPath": ("small", [op("create", '<node id="3" uname="n3"/>', xpath="//nodes")]),
    "comments": ("small", [op("modify", '<primitive id="r2"><!-- why --></primitive>'), op("modify", '<primitive id="r2"><!-- why --></primitive>')]),
}  # fmt: skip

FLAGS = {"create": "--create", "modify": "--modify", "replace": "--replace", "delete": "--delete", "delete-all": "--delete-all",
         "bump": "--bump", "erase": "--erase", "upgrade": "--upgrade", "patch": "--patch"}  # fmt: skip


def expand(xml: str | None) -> str | None:
    """START name epoch=.. num_updates=..: that start with another version."""
    if xml is None or not xml.startswith("START "):
        return xml
    _, name, *changes = xml.split()
    text = STARTS[name]
    for change in changes:
        key, value = change.split("=")
        before = text.index(f' {key}="') + len(key) + 3
        text = text[:before] + value + text[text.index('"', before) :]
    return text


def run(operation: dict[str, object], environment: dict[str, str]) -> int:
    argv = ["cibadmin", FLAGS[str(operation["kind"])]]
    for name, flag in (("section", "--scope"), ("xpath", "--xpath"), ("xml", "--xml-text")):
        value = operation.get(name)
        if value is not None:
            argv += [flag, str(value)]
    argv += ["--allow-create"] if operation.get("allow_create") else []
    argv += ["--force"] if operation.get("force") else []
    return subprocess.run(argv, env=environment, capture_output=True, check=False).returncode


def main() -> int:
    recorded = []
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "cib.xml"
        environment = {**os.environ, "CIB_file": str(file)}
        for name, (start, operations) in CASES.items():
            file.write_text(STARTS[start])
            steps = []
            for operation in operations:
                step = {key: value for key, value in operation.items() if value is not None}
                if "xml" in step:
                    step["xml"] = expand(str(step["xml"]))
                step["rc"] = run(step, environment)
                step["after"] = file.read_text()
                steps.append(step)
            recorded.append({"name": name, "start": STARTS[start], "steps": steps})
    (HERE / "cibadmin.json").write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
