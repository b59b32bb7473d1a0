"""The status section reads as Pacemaker would have written it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from lxml import etree

from quorate.model.cib import Cib, status
from quorate.model.entries import ActionCancel, ActionRequest, ActionResult, HistoryCleared

UUID = "fa2abf77-44e2-40bb-895d-e60b4c6a7e42"
SHARED = Path(os.environ.get("QUORATE_SHARED", Path(__file__).parents[4] / "shared"))
VECTORS = SHARED / "vectors" / "live_vectors.json"

CONFIGURATION = b"""<cib admin_epoch="0" epoch="1" num_updates="0" validate-with="pacemaker-3.9"
 crm_feature_set="3.16.1"
 have-quorum="1" dc-uuid="1"><configuration><crm_config><cluster_property_set id="o">
 <nvpair id="o-s" name="stonith-enabled" value="false"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="a"/><node id="2" uname="b"/></nodes>
<resources><primitive id="ip" class="ocf" provider="heartbeat" type="Dummy"><operations>
 <op id="ip-m" name="monitor" interval="10s"/><op id="ip-n" name="monitor" interval="20s" on-fail="ignore"/>
 </operations></primitive></resources><constraints/></configuration><status/></cib>"""


@pytest.fixture
def cib() -> Cib:
    return Cib.parse(CONFIGURATION)


def request(
    operation: str = "start", interval_ms: int = 0, target: int = 0, action: int = 3, **more: object
) -> ActionRequest:
    values: dict[str, object] = {
        "key": f"{action}:7:{target}:{UUID}", "node": "a", "executor": "a", "resource": "ip", "agent_class": "ocf",
        "provider": "heartbeat", "agent": "Dummy", "operation": operation, "interval_ms": interval_ms,
        "timeout_ms": 20_000, "target_rc": target, "parameters": {}, "meta": {"timeout": "20000"},
    }  # fmt: skip
    return ActionRequest(**(values | more))  # type: ignore[arg-type]


def result(
    operation: str = "start", interval_ms: int = 0, rc: int = 0, target: int = 0, action: int = 3, **more: object
) -> ActionResult:
    values: dict[str, object] = {
        "key": f"{action}:7:{target}:{UUID}", "node": "a", "executor": "a", "resource": "ip", "agent_class": "ocf",
        "provider": "heartbeat", "agent": "Dummy", "operation": operation, "interval_ms": interval_ms, "rc": rc,
        "status": 0, "call_id": 5, "reason": "", "started_at": 1000, "changed_at": 1001, "execution_ms": 21,
        "digest": "f2317cad3d54cec5d7d7aa7d0bf35cf8",
    }  # fmt: skip
    return ActionResult(**(values | more))  # type: ignore[arg-type]


def records(cib: Cib, resource: str = "ip") -> dict[str, dict[str, str]]:
    found = cib.status.findall(f"node_state/lrm/lrm_resources/lrm_resource[@id='{resource}']/lrm_rsc_op")
    return {str(record.get("id")): {str(k): str(v) for k, v in record.items()} for record in found}


def test_a_successful_start(cib: Cib) -> None:
    assert status.record_result(cib, result())
    state = cib.status[0]
    assert etree.tostring(state).decode() == (
        '<node_state id="1" uname="a"><lrm id="1"><lrm_resources>'
        '<lrm_resource id="ip" type="Dummy" class="ocf" provider="heartbeat">'
        '<lrm_rsc_op id="ip_last_0" operation_key="ip_start_0" operation="start" crm-debug-origin="do_update_resource" '
        f'crm_feature_set="3.16.1" transition-key="3:7:0:{UUID}" transition-magic="0:0;3:7:0:{UUID}" exit-reason="" '
        'on_node="a" call-id="5" rc-code="0" op-status="0" interval="0" last-rc-change="1000" exec-time="21" '
        'queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/></lrm_resource></lrm_resources></lrm>'
        "</node_state>"
    )
    assert not status.record_result(cib, result())  # the same again changes nothing


def test_pending_is_replaced_by_the_result(cib: Cib) -> None:
    assert status.record_pending(cib, request())
    pending = records(cib)["ip_last_0"]
    assert pending["transition-magic"] == f"-1:193;3:7:0:{UUID}" and pending["call-id"] == "-1"
    assert pending["op-digest"] == "f2317cad3d54cec5d7d7aa7d0bf35cf8"
    assert status.pending_keys(cib, "a") == (f"3:7:0:{UUID}",)
    status.record_result(cib, result())
    assert records(cib)["ip_last_0"]["op-status"] == "0" and status.pending_keys(cib, "a") == ()


def test_pending_of_a_monitor_has_the_timeout_in_its_digest(cib: Cib) -> None:
    status.record_pending(cib, request("monitor", 10_000))
    assert records(cib)["ip_monitor_10000"]["op-digest"] == "4811cef7f7f94e3a35a70be7916cb2fd"


def test_record_pending_may_be_off_and_notify_is_never_recorded(cib: Cib) -> None:
    assert not status.record_pending(cib, request(meta={"record-pending": "false"}))
    assert not status.record_pending(cib, request("notify"))
    assert not status.record_result(cib, result("notify"))
    assert len(cib.status) == 0


def test_a_failed_start_is_the_last_operation_and_the_failure(cib: Cib) -> None:
    failed = result(rc=1, reason="no \x07bell", action=4)
    status.record_result(cib, failed)
    kept = records(cib)
    assert set(kept) == {"ip_last_0", "ip_last_failure_0"}
    assert kept["ip_last_failure_0"]["exit-reason"] == "no ?bell" == kept["ip_last_0"]["exit-reason"]
    status.record_result(cib, result("stop"))
    assert records(cib)["ip_last_0"]["operation"] == "stop"
    assert records(cib)["ip_last_failure_0"]["operation"] == "start"


def test_a_failed_monitor_keeps_the_good_record(cib: Cib) -> None:
    status.record_result(cib, result("monitor", 10_000))
    status.record_result(cib, result("monitor", 10_000, rc=7, changed_at=1777))
    kept = records(cib)
    assert kept["ip_monitor_10000"]["rc-code"] == "0" and kept["ip_monitor_10000"]["last-rc-change"] == "1001"
    assert kept["ip_last_failure_0"]["rc-code"] == "7" and kept["ip_last_failure_0"]["last-rc-change"] == "1777"
    assert kept["ip_last_failure_0"]["operation_key"] == "ip_monitor_10000"


def test_a_monitor_that_fails_at_once_leaves_no_pending_record(cib: Cib) -> None:
    status.record_pending(cib, request("monitor", 10_000))
    status.record_result(cib, result("monitor", 10_000, rc=7))
    assert set(records(cib)) == {"ip_last_failure_0"}


def test_an_expected_code_is_no_failure(cib: Cib) -> None:
    status.record_result(cib, result("monitor", rc=7, target=7))
    assert set(records(cib)) == {"ip_last_0"}
    status.record_result(cib, result("monitor", rc=0, target=7))  # a probe finds it running: recorded, not counted
    assert set(records(cib)) == {"ip_last_0", "ip_last_failure_0"}
    assert not status.count_failure(cib, result("monitor", rc=0, target=7))


def test_migration_has_records_of_its_own(cib: Cib) -> None:
    status.record_result(cib, result("migrate_to", migrate_source="a", migrate_target="b"))
    status.record_result(cib, result("migrate_from", node="b", executor="b", migrate_source="a", migrate_target="b"))
    kept = records(cib)
    assert set(kept) == {"ip_migrate_to_0", "ip_migrate_from_0"}
    assert kept["ip_migrate_to_0"]["migrate_target"] == "b"


def test_a_reload_is_recorded_as_start_or_failed_monitor(cib: Cib) -> None:
    status.record_result(cib, result("reload-agent", restart_parameters="  bar  ", restart_digest="d"))
    record = records(cib)["ip_last_0"]
    assert record["operation_key"] == "ip_start_0" and record["op-force-restart"] == "  bar  "
    status.record_result(cib, result("reload-agent", rc=1, status=status.ERROR))
    assert records(cib)["ip_last_failure_0"]["operation"] == "monitor"


def test_cancelled_monitor_is_forgotten(cib: Cib) -> None:
    status.record_result(cib, result("monitor", 10_000))
    status.record_result(cib, result())
    assert status.record_result(cib, result("monitor", 10_000, status=status.CANCELLED))
    assert set(records(cib)) == {"ip_last_0"}
    status.record_result(cib, result("monitor", 10_000))
    cancel = ActionCancel(key="9:9:0:x", node="a", executor="a", resource="ip", operation="monitor", interval_ms=10_000)
    assert status.record_cancel(cib, cancel) and not status.record_cancel(cib, cancel)


def test_a_refused_start_is_no_failure_and_becomes_unknown(cib: Cib) -> None:
    status.record_result(cib, result("monitor", rc=7, target=7))
    status.record_pending(cib, request())
    refused = result(rc=status.RC_REFUSED, status=status.ERROR)
    assert status.record_result(cib, refused) and not status.count_failure(cib, refused)
    assert records(cib) == {} and not status.record_result(cib, refused)


def test_an_old_monitor_does_not_speak_for_what_was_stopped_since(cib: Cib) -> None:
    status.record_result(cib, result("start"))
    status.record_result(cib, result("monitor", 10_000))
    status.record_result(cib, result("stop"))
    status.record_pending(cib, request())
    assert status.void_pending(cib, "a") and records(cib) == {}
    assert cib.status.find(".//lrm_resource") is None


def test_void_pending_keeps_what_runs(cib: Cib) -> None:
    status.record_pending(cib, request(action=1, resource="other"))
    status.record_pending(cib, request("monitor", 10_000, action=2))
    assert status.void_pending(cib, "a", {f"2:7:0:{UUID}"})
    assert set(records(cib)) == {"ip_monitor_10000"}
    assert status.void_pending(cib, "a") and records(cib) == {}


def test_the_instance_and_the_target_are_apart_from_the_executor(cib: Cib) -> None:
    status.set_node_state(cib, "r1", "r1", in_ccm=True)
    status.record_result(cib, result(node="r1", executor="b", resource="ip:1"))
    assert records(cib, "ip:1")["ip:1_last_0"]["on_node"] == "b"
    assert cib.status.find("node_state[@uname='r1']/lrm").get("id") == "r1"  # type: ignore[union-attr]


# ---- fail counts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "count"),
    [
        (result(rc=1), "INFINITY"),
        (result("stop", rc=1), "INFINITY"),
        (result("stop", rc=1, status=status.TIMEOUT), "INFINITY"),
        (result("monitor", 10_000, rc=7), "1"),
        (result("promote", rc=1), "1"),
        (result("demote", rc=1), "1"),
        (result("monitor", 10_000, rc=0, status=status.NOT_CONNECTED), "1"),
        (result("monitor", 20_000, rc=7), None),  # on-fail=ignore
        (result("monitor", 0, rc=1, target=7), None),
        (result("migrate_to", rc=1), None),
        (result("reload-agent", rc=1), None),
        (result("monitor", 10_000), None),
        (result("monitor", 10_000, rc=1, status=status.CANCELLED), None),
    ],
)
def test_failures_count(cib: Cib, failed: ActionResult, count: str | None) -> None:
    assert status.count_failure(cib, failed) == (count is not None)
    suffix = f"ip#{failed.operation}_{failed.interval_ms}"
    assert status.get_attribute(cib, "a", f"fail-count-{suffix}") == count
    assert (status.get_attribute(cib, "a", f"last-failure-{suffix}") == "1001") == (count is not None)


def test_failures_add_up(cib: Cib) -> None:
    for _ in range(3):
        status.count_failure(cib, result("monitor", 10_000, rc=7))
    assert status.get_attribute(cib, "a", "fail-count-ip#monitor_10000") == "3"
    status.set_attribute(cib, "a", "fail-count-ip#monitor_10000", "INFINITY")
    status.count_failure(cib, result("monitor", 10_000, rc=7, changed_at=2000))
    assert status.get_attribute(cib, "a", "fail-count-ip#monitor_10000") == "INFINITY"


def test_a_failed_start_counts_one_when_not_fatal() -> None:
    text = CONFIGURATION.replace(b'name="stonith-enabled"', b'name="start-failure-is-fatal"')
    cib = Cib.parse(text)
    status.count_failure(cib, result(rc=1))
    assert status.get_attribute(cib, "a", "fail-count-ip#start_0") == "1"


def test_cleanup_of_failures_keeps_what_is_known(cib: Cib) -> None:
    status.record_result(cib, result("monitor", 10_000))
    for note in (status.record_result, status.count_failure):
        note(cib, result("monitor", 10_000, rc=7))
    status.record_result(cib, result("start"))
    assert status.clear_history(cib, cleared(failures_only=True))
    assert set(records(cib)) == {"ip_monitor_10000", "ip_last_0"}
    assert status.attributes(cib, "a") == {}


def test_cleanup_after_a_failed_stop_makes_the_state_unknown(cib: Cib) -> None:
    for note in (status.record_result, status.count_failure):
        note(cib, result("stop", rc=1))
    status.clear_history(cib, cleared(failures_only=True))
    assert records(cib) == {} and cib.status.find(".//lrm_resource") is None


def test_clearing_fail_counts_takes_the_kept_failure_only(cib: Cib) -> None:
    for note in (status.record_result, status.count_failure):
        note(cib, result("stop", rc=1))
        note(cib, result("monitor", 10_000, rc=7))
    assert status.clear_history(cib, cleared(history=False, operation="monitor", interval_ms=10_000))
    assert set(status.attributes(cib, "a")) == {"fail-count-ip#stop_0", "last-failure-ip#stop_0"}
    assert set(records(cib)) == {"ip_last_0"} and not status.clear_history(cib, cleared(history=False, resource="x"))


def test_refresh_forgets_one_resource_on_one_node(cib: Cib) -> None:
    for node in ("a", "b"):
        for resource in ("ip", "other", "clone:0", "clone:1"):
            status.record_result(cib, result(node=node, resource=resource))
    status.count_failure(cib, result("monitor", 5_000, rc=7, resource="clone:1"))
    status.clear_history(cib, cleared(node="a", resource="clone"))
    left = [str(element.get("id")) for element in cib.status.iterfind("node_state[@uname='a']//lrm_resource")]
    assert left == ["ip", "other"] and status.attributes(cib, "a") == {}
    assert len(cib.status.findall("node_state[@uname='b']//lrm_resource")) == 4


def test_clearing_one_operation_leaves_the_others_failures(cib: Cib) -> None:
    status.count_failure(cib, result("monitor", 10_000, rc=7))
    status.count_failure(cib, result("promote", rc=1))
    status.record_result(cib, result("monitor", 10_000, rc=7))
    status.clear_history(cib, cleared(failures_only=True, operation="promote", interval_ms=0))
    assert set(status.attributes(cib, "a")) == {"fail-count-ip#monitor_10000", "last-failure-ip#monitor_10000"}
    assert set(records(cib)) == {"ip_last_failure_0"}


def cleared(**more: object) -> HistoryCleared:
    values: dict[str, object] = {"request": "r", "node": None, "resource": None}
    return HistoryCleared(**(values | more))  # type: ignore[arg-type]


# ---- nodes and attributes ---------------------------------------------------------------------------------------


def test_node_state(cib: Cib) -> None:
    first = {"in_ccm": True, "crmd": "online", "join": "member", "expected": "member"}
    assert status.set_node_state(cib, "a", "1", origin="x", **first)  # type: ignore[arg-type]
    assert not status.set_node_state(cib, "a", "1", **first)  # type: ignore[arg-type]
    assert etree.tostring(cib.status[0]).decode() == (
        '<node_state id="1" uname="a" in_ccm="true" crmd="online" crm-debug-origin="x" join="member"'
        ' expected="member"/>'
    )
    assert status.set_node_state(cib, "a", crmd="offline") and cib.status[0].get("join") == "member"


def test_erase_keeps_the_node(cib: Cib) -> None:
    status.set_node_state(cib, "a", in_ccm=False)
    status.record_result(cib, result())
    status.set_attribute(cib, "a", "x", "1")
    assert status.erase_node(cib, "a") and not status.erase_node(cib, "a")
    assert len(cib.status[0]) == 0 and cib.status[0].get("in_ccm") == "false"
    assert status.remove_node_state(cib, "a") and len(cib.status) == 0


def test_a_node_brings_its_own_history(cib: Cib) -> None:
    other = Cib.parse(CONFIGURATION)
    status.set_node_state(other, "a", "1", in_ccm=True, crmd="online")
    status.record_result(other, result())
    status.set_attribute(other, "a", "x", "1")
    status.set_node_state(cib, "a", "1", in_ccm=False)
    status.record_result(cib, result("stop", resource="gone"))
    brought = status.node_state_bytes(other, "a")
    assert brought is not None and status.node_state_bytes(other, "b") is None
    assert status.replace_node_state(cib, brought) and not status.replace_node_state(cib, brought)
    assert set(records(cib)) == {"ip_last_0"} and records(cib, "gone") == {}
    assert status.get_attribute(cib, "a", "x") == "1" and cib.status[0].get("in_ccm") == "false"
    with pytest.raises(ValueError, match="not a node_state"):
        status.replace_node_state(cib, b"<lrm/>")


def test_attributes(cib: Cib) -> None:
    assert status.set_attribute(cib, "a", "master-de2:0", "10") and not status.set_attribute(
        cib, "a", "master-de2:0", "10"
    )
    status.set_attribute(cib, "a", "#health-cpu", "yellow")
    status.set_attribute(cib, "a", "cpu", "4", "utilization")
    status.set_attribute(cib, "a", "odd", "1", set_id="mine")
    text = etree.tostring(cib.status[0].find("transient_attributes")).decode()  # type: ignore[arg-type]
    assert text == (
        '<transient_attributes id="1"><instance_attributes id="status-1">'
        '<nvpair id="status-1-master-de2.0" name="master-de2:0" value="10"/>'
        '<nvpair id="status-1-.health-cpu" name="#health-cpu" value="yellow"/></instance_attributes>'
        '<utilization id="status-1-utilization"><nvpair id="status-1-utilization-cpu" name="cpu" value="4"/>'
        "</utilization>"
        '<instance_attributes id="mine"><nvpair id="mine-odd" name="odd" value="1"/></instance_attributes>'
        "</transient_attributes>"
    )
    assert status.attributes(cib, "a") == {"master-de2:0": "10", "#health-cpu": "yellow", "odd": "1"}
    assert status.attributes(cib, "a", "utilization") == {"cpu": "4"}
    assert status.set_attribute(cib, "a", "master-de2:0", None) and not status.set_attribute(
        cib, "a", "master-de2:0", None
    )


def test_delete_by_pattern(cib: Cib) -> None:
    for name in ("fail-count-ip#monitor_10000", "last-failure-ip#monitor_10000", "fail-count-ip2#start_0", "x"):
        status.set_attribute(cib, "a", name, "1")
    assert status.delete_attributes(cib, "a", r"^(fail-count|last-failure)-ip(#.+_[0-9]+)?$")
    assert set(status.attributes(cib, "a")) == {"fail-count-ip2#start_0", "x"}
    assert not status.delete_attributes(cib, "a", "(") and not status.delete_attributes(cib, "nobody", ".")


# ---- against the real thing -------------------------------------------------------------------------------------


@pytest.mark.skipif(not VECTORS.exists(), reason="1 recorded status section: the shared vectors are not here")
def test_recorded_status_is_written_alike() -> None:
    original = Cib.parse(json.loads(VECTORS.read_text())["cib"].encode())
    rebuilt = original.copy()
    state = original.status[0]
    for child in list(rebuilt.status):
        rebuilt.status.remove(child)
    status.set_node_state(
        rebuilt, "node1", "1", in_ccm=True, crmd="online", origin="do_update_resource", join="member", expected="member"
    )
    for resource in state.iter("lrm_resource"):
        for record in sorted(resource, key=lambda element: int(element.get("call-id", "0"))):
            status.record_result(rebuilt, as_result(resource, record))
    for pair in state.iter("nvpair"):
        status.set_attribute(rebuilt, "node1", pair.get("name", ""), pair.get("value", ""))
    assert canonical(rebuilt.status) == canonical(original.status)


def canonical(top: etree._Element) -> str:
    """Records in the order of their ids: the order of writing differs."""
    for resource in top.iter("lrm_resource"):
        resource[:] = sorted(resource, key=lambda element: str(element.get("id")))
    return etree.tostring(top, pretty_print=True).decode()


def as_result(resource: etree._Element, record: etree._Element) -> ActionResult:
    get = {str(name): str(value) for name, value in record.items()}
    return ActionResult(
        key=get["transition-key"], node="node1", executor=get["on_node"], resource=str(resource.get("id")),
        agent_class=str(resource.get("class")), provider=resource.get("provider"), agent=str(resource.get("type")),
        operation=get["operation"], interval_ms=int(get["interval"]), rc=int(get["rc-code"]),
        status=int(get["op-status"]), call_id=int(get["call-id"]), reason=get["exit-reason"],
        started_at=int(get["last-rc-change"]), changed_at=int(get["last-rc-change"]),
        execution_ms=int(get["exec-time"]), queue_ms=int(get["queue-time"]), digest=get["op-digest"],
        restart_digest=get.get("op-restart-digest"), restart_parameters=get.get("op-force-restart"),
        secure_digest=get.get("op-secure-digest"), secure_parameters=get.get("op-secure-params"),
    )  # fmt: skip


@pytest.mark.skipif(shutil.which("crm_mon") is None, reason="crm_mon is not installed")
def test_crm_mon_and_crm_simulate_understand_it(cib: Cib, tmp_path: Path) -> None:
    for id, name in (("1", "a"), ("2", "b")):
        status.set_node_state(cib, name, id, in_ccm=True, crmd="online", join="member", expected="member", origin="t")
        status.record_result(cib, result("monitor", rc=7, target=7, node=name, executor=name, digest=EMPTY))
    status.record_pending(cib, request())
    shown = show(cib, tmp_path)
    assert "ip\t(ocf:heartbeat:Dummy):\t Starting a" in shown
    status.record_result(cib, result(digest=EMPTY))
    status.record_result(cib, result("monitor", 10_000, digest="4811cef7f7f94e3a35a70be7916cb2fd"))
    digest = "4811cef7f7f94e3a35a70be7916cb2fd"
    failed = result("monitor", 10_000, rc=7, reason="it went away", digest=digest, call_id=9)
    status.record_result(cib, failed)
    status.count_failure(cib, failed)
    shown = show(cib, tmp_path)
    assert "ip\t(ocf:heartbeat:Dummy):\t FAILED a" in shown and "'not running' (it went away)" in shown
    assert "fail-count=1" in shown
    path = tmp_path / "cib.xml"
    simulated = subprocess.run(["crm_simulate", "-x", str(path), "-S"], capture_output=True, text=True, timeout=30)
    assert simulated.returncode == 0, simulated.stderr
    assert "Recover    ip" in simulated.stdout and "Resource action: ip              stop on a" in simulated.stdout


EMPTY = "f2317cad3d54cec5d7d7aa7d0bf35cf8"


def show(cib: Cib, tmp_path: Path) -> str:
    path = tmp_path / "cib.xml"
    path.write_bytes(cib.serialize())
    environment = {**os.environ, "CIB_file": str(path)}
    done = subprocess.run(
        ["crm_mon", "-1", "-r", "-f", "-o"], env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_failure_reported_by_hand_counts():
    cib = Cib.empty(feature_set="3.16.1")
    result = ActionResult(
        key="0:1:0:by-hand", node="n1", executor="n1", resource="r", agent_class="ocf", provider="heartbeat", agent="Dummy",
        operation="asyncmon", interval_ms=0, rc=1, status=0, call_id=3, reason="by hand",
    )  # fmt: skip
    status.set_node_state(cib, "n1", "1", in_ccm=True, crmd="online", join="member", expected="member", origin="test")
    assert status.count_failure(cib, result)
    assert status.get_attribute(cib, "n1", "fail-count-r#asyncmon_0") == "1"
