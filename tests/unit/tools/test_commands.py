"""Commands on a CIB in a file: what they change, print and return. Shapes are those of Pacemaker's own commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.tools import cli
from quorate.tools.invocation import captured

CIB = """<cib crm_feature_set="3.20.1" validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="0" have-quorum="1" dc-uuid="1">
<configuration><crm_config/><nodes><node id="1" uname="node1"/><node id="2" uname="node2"/></nodes>
<resources><primitive id="r1" class="ocf" provider="pacemaker" type="Dummy"/><group id="g">
<primitive id="r2" class="ocf" provider="pacemaker" type="Dummy"/><primitive id="r3" class="ocf" provider="pacemaker" type="Dummy"/></group>
<clone id="cl"><meta_attributes id="clm"><nvpair id="clm-p" name="promotable" value="true"/></meta_attributes>
<primitive id="r4" class="ocf" provider="pacemaker" type="Stateful"/></clone></resources><constraints/></configuration><status>
<node_state id="1" uname="node1" in_ccm="true" crmd="online" join="member" expected="member"><lrm id="1"><lrm_resources>
<lrm_resource id="r1" type="Dummy" class="ocf" provider="pacemaker"><lrm_rsc_op id="r1_last_0" operation_key="r1_start_0"
 operation="start" transition-key="1:1:0:u" transition-magic="0:0;1:1:0:u" call-id="5" rc-code="0" op-status="0" interval="0"/>
</lrm_resource><lrm_resource id="r4" type="Stateful" class="ocf" provider="pacemaker"><lrm_rsc_op id="r4_last_0"
 operation_key="r4_promote_0" operation="promote" transition-key="1:1:0:u" transition-magic="0:0;1:1:0:u" call-id="6"
 rc-code="0" op-status="0" interval="0"/></lrm_resource></lrm_resources></lrm></node_state>
<node_state id="2" uname="node2" in_ccm="true" crmd="online" join="member" expected="member"/></status></cib>"""


class Shell:
    """Runs commands on one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text(CIB)
        self.environ: dict[str, str] = {}

    def run(self, name: str, *args: str, stdin: bytes = b"") -> tuple[int, str, str]:
        call, out, err = captured(
            name,
            *args,
            environ={"CIB_file": str(self.path), "TZ": "UTC", **self.environ},
            stdin=stdin,
            cwd=str(self.path.parent),
        )
        call.wall = lambda: 1_800_000_000.0
        return cli.execute(call), out.getvalue(), err.getvalue()

    def ok(self, name: str, *args: str, stdin: bytes = b"") -> str:
        code, out, err = self.run(name, *args, stdin=stdin)
        assert code == 0, (out, err)
        return out

    @property
    def text(self) -> str:
        return self.path.read_text()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "cib.xml")


# ---- cibadmin --------------------------------------------------------------------------------------------------------


def test_create_modify_delete(shell: Shell) -> None:
    new = '<primitive id="n1" class="ocf" provider="pacemaker" type="Dummy"/>'
    shell.ok("cibadmin", "-C", "-o", "resources", "-X", new)
    code, out, err = shell.run("cibadmin", "-C", "-o", "resources", "-X", new)
    assert code == 108 and 'operation="cib_create" reason="File exists"' in out and "Call failed: File exists" in err
    shell.ok("cibadmin", "-M", "-X", '<primitive id="n1" description="x"/>')
    assert 'description="x"' in shell.ok("cibadmin", "-Q", "--xpath", "//primitive[@id='n1']")
    shell.ok("cibadmin", "-D", "-X", '<primitive id="n1"/>')
    assert shell.run("cibadmin", "-Q", "--xpath", "//primitive[@id='n1']")[0] == 105


def test_patch_from_standard_input(shell: Shell) -> None:
    original = shell.ok("cibadmin", "-Q")
    (shell.path.parent / "a.xml").write_text(original)
    (shell.path.parent / "b.xml").write_text(original.replace('type="Stateful"', 'type="Stateful" description="new"'))
    code, difference, _ = shell.run("crm_diff", "--original", "a.xml", "--new", "b.xml", "--no-version")
    assert code == 1 and "<version>" not in difference
    shell.ok("cibadmin", "-p", "-P", stdin=difference.encode())
    assert 'description="new"' in shell.text


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["-E"], 107),
        (["--upgrade"], 107),
        (["-M", "-X", '<primitive id="no"/>'], 105),
        (["-R", "-x", "/nonexistent"], 78),
        (["-Q", "--nonsense"], 64),
        ([], 64),
        (["-Q", "-o", "tags"], 105),
        (["-R", "-X", "<bad"], 78),
        (["-D", "--xpath", "//primitive[@id='no']"], 0),
        (["-B"], 0),
    ],
)
def test_exit_codes(shell: Shell, args: list[str], code: int) -> None:
    assert shell.run("cibadmin", *args)[0] == code


def test_paths_of_matches(shell: Shell) -> None:
    assert shell.ok("cibadmin", "-Q", "--xpath", "//primitive[@id='r4']", "--node-path") == (
        "/cib/configuration/resources/clone[@id='cl']/primitive[@id='r4']\n"
    )


# ---- attributes ------------------------------------------------------------------------------------------------------


def test_options_and_node_attributes(shell: Shell) -> None:
    shell.ok("crm_attribute", "-n", "foo", "-v", "bar")
    assert shell.ok("crm_attribute", "-n", "foo", "-G") == "scope=crm_config  name=foo value=bar\n"
    assert 'id="cib-bootstrap-options-foo"' in shell.text
    shell.ok("crm_attribute", "-t", "nodes", "-N", "node1", "-n", "la", "-v", "1")
    assert 'id="nodes-1-la"' in shell.text
    shell.ok("crm_attribute", "-N", "node1", "-n", "la", "-v", "value++")
    assert shell.ok("crm_attribute", "-N", "node1", "-n", "la", "-Gq") == "2\n"
    assert (
        shell.ok("crm_attribute", "-N", "node1", "-n", "la", "-D") == "Deleted nodes attribute: id=nodes-1-la name=la\n"
    )
    assert shell.ok("crm_attribute", "-N", "node1", "-n", "la", "-D") == ""
    shell.ok("crm_attribute", "-N", "node1", "-z", "-n", "cpu", "-v", "4")
    assert 'id="nodes-1-utilization-cpu"' in shell.text


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["-n", "none", "-G"], 105),
        (["-n", "none", "-G", "-d", "x"], 0),
        (["-N", "nobody", "-n", "a", "-v", "b"], 105),
        (["--bogus"], 64),
        (["-t", "bogus", "-n", "a", "-G"], 105),
        (["-p", "-v", "3"], 64),
    ],
)
def test_attribute_exit_codes(shell: Shell, args: list[str], code: int) -> None:
    assert shell.run("crm_attribute", *args)[0] == code


def test_several_matches_are_named(shell: Shell) -> None:
    shell.ok("crm_attribute", "-n", "foo", "-v", "1")
    shell.ok("crm_attribute", "-n", "foo", "-v", "2", "-s", "other")
    code, out, _ = shell.run("crm_attribute", "-n", "foo", "-v", "3")
    assert code == 109 and "(id=cib-bootstrap-options-foo)" in out and "(id=other-foo)" in out
    shell.ok("crm_attribute", "-n", "foo", "-v", "3", "-i", "other-foo")
    assert shell.ok("crm_attribute", "-n", "foo", "-G", "-s", "other", "-q") == "3\n"


def test_standby(shell: Shell) -> None:
    assert shell.ok("crm_standby", "-G", "-N", "node1") == "scope=status  name=standby value=off\n"
    shell.ok("crm_standby", "-v", "on", "-N", "node1")
    assert shell.ok("crm_standby", "-G", "-N", "node1") == "scope=nodes  name=standby value=on\n"
    assert "Deleted nodes attribute" in shell.ok("crm_standby", "-D", "-N", "node1")


# ---- resources -------------------------------------------------------------------------------------------------------


def test_parameters(shell: Shell) -> None:
    assert shell.ok("crm_resource", "-r", "r1", "-p", "foo", "-v", "bar") == (
        "Set 'r1' option: id=r1-instance_attributes-foo set=r1-instance_attributes name=foo value=bar\n"
    )
    assert shell.ok("crm_resource", "-r", "r1", "-g", "foo") == "bar\n"
    out = shell.ok("crm_resource", "-r", "r4", "-m", "-p", "target-role", "-v", "Stopped")
    assert out.startswith("Performing update of 'target-role' on 'cl', the parent of 'r4'\n")
    assert (
        shell.ok("crm_resource", "-r", "r1", "-d", "foo")
        == "Deleted 'r1' option: id=r1-instance_attributes-foo name=foo\n"
    )
    assert shell.run("crm_resource", "-r", "r1", "-p", "foo")[0] == 64


def test_move_ban_clear(shell: Shell) -> None:
    shell.ok("crm_resource", "-r", "r1", "-M", "-N", "node2")
    assert '<rsc_location id="cli-prefer-r1" rsc="r1" role="Started" node="node2" score="INFINITY"/>' in shell.text
    assert shell.run("crm_resource", "-r", "r1", "-M", "-N", "node1")[0] == 108
    assert "WARNING: Creating rsc_location constraint 'cli-ban-r1-on-node1'" in shell.ok(
        "crm_resource", "-r", "r1", "-B"
    )
    removed = shell.ok("crm_resource", "-r", "r1", "--un-move")
    assert set(removed.split("\n")) == {
        "Removing constraint: cli-ban-r1-on-node1",
        "Removing constraint: cli-prefer-r1",
        "",
    }
    shell.ok("crm_resource", "-r", "cl", "-M", "--promoted", "-N", "node2")
    assert 'rsc="cl" role="Promoted" node="node2"' in shell.text
    code, _, err = shell.run("crm_resource", "-r", "g", "-B")
    assert code == 64 and "active in 0 locations" in err
    assert shell.run("crm_resource", "-r", "r1", "-M", "-N", "nope")[0] == 105
    assert shell.run("crm_resource", "-r", "nope", "-M", "-N", "node2")[0] == 105


def test_a_move_for_a_while_becomes_a_rule(shell: Shell) -> None:
    shell.ok("crm_resource", "-r", "r1", "-M", "-N", "node2", "-u", "PT1H")
    assert '<rule id="cli-prefer-rule-r1" score="INFINITY" boolean-op="and">' in shell.text
    assert 'id="cli-prefer-lifetime-end-r1"' in shell.text
    assert shell.ok("crm_resource", "-r", "r1", "-U", "--expired") == ""
    shell.path.write_text(shell.text.replace('end="2027', 'end="2017'))
    assert shell.ok("crm_resource", "-r", "r1", "-U", "--expired") == "Removing constraint: cli-prefer-r1\n"


def test_locations_and_constraints(shell: Shell) -> None:
    assert shell.ok("crm_resource", "-r", "r1", "-W") == "resource r1 is running on: node1\n"
    assert shell.ok("crm_resource", "-r", "cl", "-W") == "resource cl is running on: node1 Promoted\n"
    code, out, err = shell.run("crm_resource", "-r", "g", "-W")
    assert (code, out, err) == (0, "", "resource g is NOT running\n")
    shell.ok(
        "cibadmin", "-C", "-o", "constraints", "-X", '<rsc_colocation id="c1" rsc="r1" with-rsc="g" score="INFINITY"/>'
    )
    assert (
        shell.ok("crm_resource", "-r", "r1", "-a") == "Resources r1 is colocated with:\n  * g (score=INFINITY, id=c1)\n"
    )


AGENT = """#!/bin/sh
echo "out of $1 foo=$OCF_RESKEY_foo"
echo "err of $OCF_RESOURCE_INSTANCE" >&2
[ "$1" = monitor ] && exit 7
exit 0
"""


def test_agents_by_hand(shell: Shell, tmp_path: Path) -> None:
    agent = tmp_path / "ocf" / "resource.d" / "pacemaker" / "Dummy"
    agent.parent.mkdir(parents=True)
    agent.write_text(AGENT)
    agent.chmod(0o755)
    shell.ok("crm_resource", "-r", "r1", "-p", "foo", "-v", "bar")
    shell.environ["OCF_ROOT"] = str(tmp_path / "ocf")
    code, out, _ = shell.run("crm_resource", "-r", "r1", "--force-check")
    assert code == 7
    assert (
        out
        == "Operation force-check for r1 (ocf:pacemaker:Dummy) returned 7 (not running)\nout of monitor foo=bar\n\nerr of r1\n\n"
    )
    assert "returned 0 (ok)" in shell.ok("crm_resource", "-r", "r1", "--force-start")
    assert shell.ok("crm_resource", "--list-agents", "ocf:pacemaker") == "Dummy\n"
    assert shell.ok("crm_resource", "--list-ocf-alternatives", "Dummy") == "pacemaker\n"
    assert shell.run("crm_resource", "--show-metadata", "ocf:pacemaker:None")[0] == 105
    assert shell.run("crm_resource", "--validate", "--class", "ocf", "--provider", "no", "--agent", "Dummy")[0] == 64
    assert shell.run("crm_resource", "-r", "g", "--force-check")[0] == 3


def test_digests(shell: Shell) -> None:
    """The md5 that Pacemaker records for a resource without parameters."""
    assert shell.ok("crm_resource", "-r", "r1", "--digests", "-N", "node1").startswith(
        "f2317cad3d54cec5d7d7aa7d0bf35cf8 (all parameters)\n"
    )


def test_a_damaged_file_can_be_read_but_not_changed(shell: Shell) -> None:
    shell.path.write_text(CIB.replace("</status>", "").replace("</cib>", ""))
    code, out, err = shell.run("cibadmin", "-Q", "-o", "nodes")
    assert code == 0 and "node1" in out and "warning" in err
    before = shell.text
    assert shell.run("crm_attribute", "-n", "a", "-v", "b")[0] == 78
    assert shell.text == before


# ---- status ----------------------------------------------------------------------------------------------------------


def test_crm_mon_text(shell: Shell) -> None:
    out = shell.ok("crm_mon", "-1", "-r")
    assert "Node List:\n  * Online: [ node1 node2 ]\n" in out
    assert "  * r1\t(ocf:pacemaker:Dummy):\t Started node1\n" in out
    assert "  * Clone Set: cl [r4] (promotable):\n    * Promoted: [ node1 ]\n    * Stopped: [ node2 ]\n" in out
    assert "(Pacemaker is running)" not in out


def test_crm_mon_forms(shell: Shell) -> None:
    assert shell.ok("crm_mon", "--as-xml").startswith('<crm_mon version="')
    assert shell.ok("crm_mon", "--output-as=xml").startswith("<pacemaker-result ")
    assert shell.ok("crm_mon", "-1", "--output-as=html").startswith("<!DOCTYPE html>")
    assert '"nodes"' in shell.ok("crm_mon", "-1", "--output-as=json")
    assert shell.ok("crm_mon", "-s").startswith("CLUSTER OK: 2 nodes online, 5 resource instances")
    assert shell.ok("crm_mon", "-1", "--exclude=all", "--include=nodes").startswith("Node List:")
    assert shell.run("crm_mon", "-1", "--include=nonsense")[0] == 64
    shell.ok("crm_mon", "-1", "--output-to", "out.txt")
    assert "Node List" in (shell.path.parent / "out.txt").read_text()


def test_what_needs_a_cluster_says_so(shell: Shell) -> None:
    for call in (
        ["crmadmin", "-D"],
        ["crm_node", "-l"],
        ["stonith_admin", "-L"],
        ["attrd_updater", "-n", "a", "-U", "1"],
    ):
        assert shell.run(*call)[0] == 102
    assert shell.ok("crmadmin", "-N") == "cluster node: node1 (1)\ncluster node: node2 (2)\n"


def test_tickets_and_rules(shell: Shell) -> None:
    assert shell.run("crm_ticket", "-t", "T", "-g")[0] == 4
    shell.ok("crm_ticket", "-t", "T", "-g", "--force")
    assert shell.ok("crm_ticket", "-t", "T", "-G", "granted") == "true\n"
    assert shell.ok("crm_ticket", "-l").startswith("T\tgranted last-granted='")
    shell.ok("crm_ticket", "-t", "T", "-C", "--force")
    assert shell.run("crm_ticket", "-t", "T", "-q")[0] == 105
    assert shell.run("crm_rule", "--check", "--rule=nosuch")[0] == 105


def test_shadow_copies(shell: Shell, tmp_path: Path) -> None:
    environ = {"CIB_file": str(shell.path), "CIB_shadow_dir": str(tmp_path / "shadows")}
    for args, code in (
        (["-b", "-c", "s1"], 0),
        (["-b", "-c", "s1"], 73),
        (["-C", "s1"], 107),
        (["-D", "s1"], 107),
        (["-D", "s1", "-f"], 0),
        (["-D", "s1", "-f"], 105),
        (["-c", "../evil"], 64),
    ):
        call, _, err = captured("crm_shadow", *args, environ=environ)
        assert cli.execute(call) == code, err.getvalue()


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_help_and_version(shell: Shell, name: str) -> None:
    assert "Usage:" in shell.ok(name, "--help")
    assert shell.ok(name, "--help-all").startswith("Usage:")
    assert shell.ok(name, "--version").startswith("Pacemaker ")
    assert shell.run(name, "--no-such-option")[0] == 64
