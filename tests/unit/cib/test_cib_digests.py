"""Operation digests against values that Pacemaker wrote into status sections."""

from __future__ import annotations

from quorate.model.cib import operation_digest, parameters_digest, restart_digest, secure_digest

IPMI = {
    "action": "reboot", "ipaddr": "172.16.0.1", "ipport": "6230", "lanplus": "true", "login": "admin",
    "passwd": "password", "pcmk_host_list": "controller-1", "privlvl": "administrator",
    "CRM_meta_timeout": "20000", "CRM_meta_on_node": "x",
    "crm_feature_set": "3.0.12",
}  # fmt: skip


def test_no_parameters() -> None:
    assert operation_digest({}) == "f2317cad3d54cec5d7d7aa7d0bf35cf8"
    assert operation_digest({"CRM_meta_timeout": "5", "crm_feature_set": "3.0"}) == parameters_digest({})


def test_a_fence_device() -> None:
    assert operation_digest(IPMI) == "bc0ef483fd42598086833dcc7d9d16a0"
    assert operation_digest(IPMI, interval_ms=60_000) == "7a557a7eff20453404b0e464e5f83f4a"
    declared = [name for name in IPMI if not name.startswith("pcmk_")]
    for private in (["passwd", "password"], ["passwd"]):
        assert secure_digest(IPMI, private, declared=declared) == "dd2f06ba4e4b068af99defcb12eeac50"


def test_restart_covers_the_named_parameters_only() -> None:
    assert restart_digest(IPMI, ["login"]) == parameters_digest({"login": "admin"})
    assert restart_digest(IPMI, []) == parameters_digest({})


def test_names_need_not_be_xml_names() -> None:
    assert parameters_digest({"1 &": "x"}) != parameters_digest({"1": "x"})
    assert parameters_digest({"b": "1", "a": "2"}) == parameters_digest({"a": "2", "b": "1"})
