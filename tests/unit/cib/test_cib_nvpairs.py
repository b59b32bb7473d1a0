"""Name-value pairs with the ids that crm_attribute and crm_resource generate."""

from __future__ import annotations

import pytest

from quorate.model.cib import Cib, CibError, apply, get_option
from quorate.model.cib.nvpairs import (
    PairPlace,
    cluster_options_place,
    defaults_place,
    delete_pair,
    find_pairs,
    node_place,
    resource_place,
    sanitize_id,
    set_pair,
    tickets_place,
    transient_place,
    values,
)
from quorate.model.reports import ExitCode

TEXT = (
    b'<cib validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="0"><configuration><crm_config/>'
    b'<nodes><node id="1" uname="n1"/></nodes><resources>'
    b'<primitive id="r" class="ocf" provider="p" type="t"><meta_attributes id="own"/></primitive>'
    b"</resources><constraints/></configuration><status/></cib>"
)


def resource_meta() -> PairPlace:
    return resource_place(Cib.parse(TEXT), "r", "meta_attributes")


@pytest.mark.parametrize(
    ("place", "name", "id"),
    [
        (cluster_options_place(), "no-quorum-policy", "cib-bootstrap-options-no-quorum-policy"),
        (defaults_place("rsc_defaults"), "resource-stickiness", "rsc_defaults-options-resource-stickiness"),
        (defaults_place("op_defaults"), "timeout", "op_defaults-options-timeout"),
        (node_place("1"), "foo", "nodes-1-foo"),
        (node_place("1"), "#health-x", "nodes-1-.health-x"),
        (node_place("1", utilization=True), "cpu", "nodes-1-utilization-cpu"),
        (transient_place("1", uname="n1"), "tr", "status-1-tr"),
        (tickets_place(), "tk", "status-tickets-tk"),
        (resource_meta(), "target-role", "r-meta_attributes-target-role"),
    ],
)
def test_set_change_delete(place: PairPlace, name: str, id: str) -> None:
    cib = Cib.parse(TEXT)
    for value in ("1", "2", "a'<>&\""):
        outcome = apply(cib, set_pair(cib, place, name, value))
        assert outcome.rc == 0, outcome
        assert values(cib, place) == {name: value}
        assert [pair.get("id") for pair in find_pairs(cib, place, name)] == [id]
    assert outcome.config_changed == (place.section != "status")
    operation = delete_pair(cib, place, name)
    assert operation is not None and apply(cib, operation).rc == 0
    assert delete_pair(cib, place, name) is None


def test_a_pair_stays_where_it_is() -> None:
    cib = Cib.parse(TEXT)
    apply(cib, set_pair(cib, cluster_options_place(), "a", "1", set_id="mine", pair_id="odd"))
    apply(cib, set_pair(cib, cluster_options_place(), "a", "2"))
    found = cib.find_id("odd")
    assert found is not None and found.get("value") == "2"
    assert get_option(cib, "a") == "2"


def test_an_option_is_found_under_every_name() -> None:
    cib = Cib.parse(TEXT)
    apply(cib, set_pair(cib, cluster_options_place(), "fencing-enabled", "false"))
    assert get_option(cib, "stonith-enabled") == get_option(cib, "fencing-enabled") == "false"
    assert get_option(cib, "no-quorum-policy") is None


def test_several_pairs_of_one_name_need_an_id() -> None:
    cib = Cib.parse(TEXT)
    for set_id in ("x", "y"):
        apply(cib, set_pair(cib, cluster_options_place(), "a", set_id, set_id=set_id))
    with pytest.raises(CibError, match="x-a, y-a") as caught:
        set_pair(cib, cluster_options_place(), "a", "3")
    assert caught.value.report.exit_code == ExitCode.MULTIPLE
    operation = delete_pair(cib, cluster_options_place(), "a", set_id="x")
    assert operation is not None
    apply(cib, operation)
    assert get_option(cib, "a") == "y"


def test_the_bootstrap_set_and_then_the_score_decide() -> None:
    cib = Cib.parse(TEXT)
    section = cib.section("crm_config")
    assert section is not None
    for set_id, rank in (("low", "1"), ("high", "2"), ("cib-bootstrap-options", "0")):
        apply(cib, set_pair(cib, cluster_options_place(), "a", set_id, set_id=set_id))
        found = cib.find_id(set_id)
        assert found is not None
        found.set("score", rank)
    assert get_option(cib, "a") == "cib-bootstrap-options"
    section.remove(section[2])
    assert get_option(cib, "a") == "high"


def test_no_such_resource() -> None:
    with pytest.raises(CibError) as caught:
        resource_place(Cib.parse(TEXT), "zz", "meta_attributes")
    assert caught.value.report.exit_code == ExitCode.NOSUCH


def test_ids_are_made_safe() -> None:
    assert sanitize_id("a b:c/d#e") == "a.b.c.d.e"
    assert sanitize_id("1a") == "_1a"
