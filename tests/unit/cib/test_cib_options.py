"""Options: each declared once, typed, found by every name; reports and exit codes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from quorate.model import options
from quorate.model.cib import Cib, apply
from quorate.model.cib.nvpairs import cluster_options_place, set_pair
from quorate.model.options import (
    CLUSTER,
    CLUSTER_OPTIONS,
    FENCING_OPTIONS,
    OPERATION,
    OPERATION_OPTIONS,
    RESOURCE,
    RESOURCE_OPTIONS,
    check_cluster_options,
    cluster_option,
    option_value,
    reference_page,
)
from quorate.model.reports import EXIT_DESCRIPTIONS, ExitCode, Place, Report, exit_description, exit_name

TABLES = (CLUSTER_OPTIONS, RESOURCE_OPTIONS, OPERATION_OPTIONS, FENCING_OPTIONS)


def with_options(**pairs: str) -> Cib:
    cib = Cib.empty("3.20.1")
    for name, value in pairs.items():
        assert apply(cib, set_pair(cib, cluster_options_place(), name.replace("_", "-"), value)).rc == 0
    return cib


@pytest.mark.parametrize("table", TABLES)
def test_names_are_unique_and_defaults_are_valid(table: tuple[options.Option, ...]) -> None:
    names = [name for option in table for name in option.names]
    assert len(names) == len(set(names))
    for option in table:
        assert option.short and not option.short.endswith(".")
        assert option.default is None or option.default_value is not None
        assert all(value in option.values for _, value in option.synonyms)


def test_typed_values() -> None:
    cib = with_options(stonith_enabled="no", dc_deadtime="2min", batch_limit="7", no_quorum_policy="Suicide")
    apply(cib, set_pair(cib, cluster_options_place(), "load-threshold", "50%"))
    for name, value in (
        ("stonith-enabled", False), ("fencing-enabled", False), ("dc-deadtime", 120_000), ("batch-limit", 7),
        ("load-threshold", 50), ("no-quorum-policy", "fence"), ("symmetric-cluster", True), ("node-health-red", -1_000_000),
        ("cluster-recheck-interval", 900_000), ("cluster-name", None),
    ):  # fmt: skip
        assert cluster_option(cib.root, name) == value, name
    with pytest.raises(KeyError):
        cluster_option(cib.root, "no-such-option")


def test_newer_names_win_and_older_ones_count_last() -> None:
    option = CLUSTER["stonith-enabled"]
    assert option is CLUSTER["fencing-enabled"]
    assert option_value(option, {"fencing-enabled": "false", "stonith-enabled": "true"}) is False
    assert option_value(option, {"stonith_enabled": "false"}) is False
    assert option_value(RESOURCE["promoted-max"], {"master-max": "2"}) == 2
    assert option_value(RESOURCE["target-role"], {"target-role": "Master"}) == "Promoted"
    assert option_value(OPERATION["timeout"], {"timeout": "PT1M"}) == 60_000


def test_a_value_that_is_not_valid_falls_back_and_is_reported() -> None:
    cib = with_options(stonith_enabled="perhaps", batch_limit="many", no_such="1")
    assert cluster_option(cib.root, "stonith-enabled") is True
    reports = check_cluster_options(cib.root)
    assert [report.code for report in reports] == ["option-value", "option-value", "option-unknown"]
    assert "neither true nor false" in str(reports[0]) and "default true" in str(reports[0])


@pytest.mark.parametrize(
    ("name", "text"),
    [("dc-deadtime", "soon"), ("batch-limit", "1.5"), ("no-quorum-policy", "maybe"), ("node-health-red", "x"),
     ("load-threshold", "%"), ("node-action-limit", "-1")],
)  # fmt: skip
def test_refused_values_name_the_option(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=name):
        CLUSTER[name].parse(text)


def test_the_reference_page_is_current() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "options.md"
    assert page.read_text() == reference_page(), "run `python -m quorate.model.options > docs/reference/options.md`"


# ---- reports -----------------------------------------------------------------------------------------------------


def test_reports_read_well() -> None:
    place = Place(element="nvpair", id="a", line=3, file="f.xml")
    report = Report(code="x", message="is odd", place=place, remedy="mend it")
    assert str(report) == "f.xml: <nvpair id='a'>, line 3: is odd (mend it)"
    assert str(Report(code="x", message="is odd")) == "is odd"
    assert str(Place(file="f")) == "f" and str(Place(id="a")) == "'a'"


def test_exit_codes() -> None:
    assert exit_name(105) == "CRM_EX_NOSUCH" and exit_name(99) == "CRM_EX_UNKNOWN"
    assert exit_description(105) == "No such object" and exit_description(99) == "Unknown exit status"
    assert {int(code) for code in ExitCode} - {255} == set(EXIT_DESCRIPTIONS)


@pytest.mark.skipif(shutil.which("crm_error") is None, reason="Pacemaker's crm_error is not installed")
def test_exit_codes_as_crm_error_lists_them() -> None:
    listed = subprocess.run(["crm_error", "--exit", "--list"], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        number, _, text = line.partition(":")
        assert EXIT_DESCRIPTIONS[int(number)] == text.strip()
