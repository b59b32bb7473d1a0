"""Agents' metadata as values."""

from __future__ import annotations

import pytest

from quorate.model.agents import AgentError, parse_lsb, parse_metadata

OCF_11 = b"""<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="Web" version="4.2">
<version>1.1</version>
<longdesc lang="de">Lang</longdesc><longdesc lang="en">Long
text</longdesc>
<shortdesc lang="en">A server</shortdesc>
<parameters>
<parameter name="port" unique-group="address" required="1" reloadable="1">
<longdesc lang="en">The port</longdesc><shortdesc lang="en">Port</shortdesc>
<content type="integer" default="80"/></parameter>
<parameter name="secret" private="1"><content type="string"/></parameter>
<parameter name="passwd"><content type="string"/></parameter>
<parameter name="mode"><content type="select" default="a"><option value="a"/><option value="b"/></content></parameter>
<parameter/>
</parameters>
<actions>
<action name="start" timeout="20s"/>
<action name="monitor" timeout="10" interval="10s" depth="0" role="Promoted"/>
<action name="monitor" timeout="1min" interval="11s" depth="10" role="Unpromoted"/>
<action name="reload-agent" timeout="20s"/>
</actions>
</resource-agent>
"""
OCF_10 = b"""<resource-agent name="Old" version="0.9"><version>1.0</version><parameters>
<parameter name="a" unique="1"><content type="string"/></parameter><parameter name="b" unique="0"/></parameters>
<actions><action name="reload" timeout="5"/><action name="monitor" depth="x"/></actions></resource-agent>"""
FENCE = b"""<resource-agent name="fence_fabric" shortdesc="Fabric"><parameters>
<parameter name="plug" unique="0" required="1" obsoletes="port"><getopt mixed="-n"/><content type="string"/></parameter>
<parameter name="port" deprecated="1"><content type="string"/></parameter></parameters>
<actions><action name="on" on_target="1" automatic="1"/><action name="off"/></actions></resource-agent>\n\n"""


def test_ocf_1_1() -> None:
    data = parse_metadata(OCF_11)
    assert (data.name, data.version, data.ocf_version) == ("Web", "4.2", "1.1")
    assert (data.short, data.long) == ("A server", "Long\ntext")
    port = data.parameter("port")
    assert port is not None
    assert (port.kind, port.default, port.required, port.unique, port.unique_group) == (
        "integer",
        "80",
        True,
        True,
        "address",
    )
    assert port.reloadable and not port.private and port.short == "Port"
    mode = data.parameter("mode")
    assert mode is not None and mode.values == ("a", "b")
    assert data.private_parameters == ("secret", "passwd")
    assert data.reload_action == "reload-agent"
    assert data.restart_parameters == ("secret", "passwd", "mode")
    start, slow = data.action("start"), data.action("monitor", "Unpromoted")
    assert start is not None and (start.timeout_ms, start.interval_ms) == (20_000, None)
    assert slow is not None and (slow.timeout_ms, slow.interval_ms, slow.depth) == (60_000, 11_000, 10)
    assert data.parameter("none") is None and data.action("none") is None


def test_ocf_1_0_reloads_what_is_not_unique() -> None:
    data = parse_metadata(OCF_10)
    assert data.ocf_version == "1.0"
    assert data.reload_action == "reload"
    assert data.restart_parameters == ("a",)
    assert parse_metadata(b"<resource-agent name='x'/>").restart_parameters is None


def test_fence_agent() -> None:
    data = parse_metadata(FENCE)
    assert data.unfences and data.short == "Fabric"
    on, plug, port = data.action("on"), data.parameter("plug"), data.parameter("port")
    assert on is not None and on.on_target and on.automatic
    assert plug is not None and plug.obsoletes == "port"
    assert port is not None and port.deprecated


@pytest.mark.parametrize("data", [b"", b"no metadata", b"<resource-agent>", b"<other/>", b"\xff<", b"x" * 5_000_000])
def test_bad_metadata_names_the_agent(data: bytes) -> None:
    with pytest.raises(AgentError, match="ocf:p:Broken") as caught:
        parse_metadata(data, "ocf:p:Broken")
    assert caught.value.report.remedy


def test_what_stands_before_the_xml_is_passed_over() -> None:
    assert parse_metadata(b"warning: old shell\n" + OCF_10).name == "Old"


def test_lsb() -> None:
    script = b"""#!/bin/sh
### BEGIN INIT INFO
# Provides:          web
# Short-Description: A web server
# Description:       The first line
#                    and the second
# Default-Start:     2 3
### END INIT INFO
# Description: not this
"""
    data = parse_lsb(script, "web")
    assert (data.name, data.short, data.long) == ("web", "A web server", "The first line\nand the second")
    assert data.has_action("status") and data.reload_action is None
    assert parse_lsb(b"", "plain").short == "plain"
