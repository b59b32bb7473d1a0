"""Finding options by name and reading typed values from a CIB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from lxml import etree

from quorate.model.reports import Place, Report, Severity

from .cluster import CLUSTER_OPTIONS
from .fencing import FENCING_OPTIONS
from .option import Option, OptionValue
from .resource import OPERATION_OPTIONS, RESOURCE_OPTIONS

_BOOTSTRAP = "cib-bootstrap-options"


def _by_name(options: tuple[Option, ...]) -> dict[str, Option]:
    return {name: option for option in options for name in option.names}


CLUSTER = _by_name(CLUSTER_OPTIONS)
RESOURCE = _by_name(RESOURCE_OPTIONS)
OPERATION = _by_name(OPERATION_OPTIONS)
FENCING = _by_name(FENCING_OPTIONS)


def option_value(option: Option, given: Mapping[str, str]) -> OptionValue:
    """The typed value of an option among name-value pairs; its default where it is absent or not valid."""
    for name in option.names:
        text = given.get(name)
        if text is not None:
            try:
                return option.parse(text)
            except ValueError:
                return option.default_value
    return option.default_value


def cluster_pairs(root: etree._Element) -> dict[str, str]:
    """The pairs of crm_config as written: those of cib-bootstrap-options first, then the others by score; sets with a
    rule are left out (whether it holds is the scheduler's question)."""
    sets = [
        each for each in root.iterfind("configuration/crm_config/cluster_property_set") if each.find("rule") is None
    ]
    sets.sort(key=lambda each: (each.get("id") != _BOOTSTRAP, -_score(each.get("score"))))
    pairs: dict[str, str] = {}
    for each in sets:
        for pair in each.iterchildren("nvpair"):
            name, value = pair.get("name"), pair.get("value")
            if name is not None and value is not None:
                pairs.setdefault(name, value)
    return pairs


def _score(text: str | None) -> int:
    option = RESOURCE["priority"]
    try:
        value = option.parse(text or "0")
    except ValueError:
        return 0
    return value if isinstance(value, int) else 0


def cluster_option(root: etree._Element, name: str) -> OptionValue:
    """The typed value of a cluster option, by any of its names: bool, int (milliseconds for times), text or None.

    KeyError when there is no such option: a mistake of the caller, not of the user.
    """
    return option_value(CLUSTER[name], cluster_pairs(root))


def check_cluster_options(root: etree._Element) -> list[Report]:
    """A warning for each cluster option whose value is not valid, and for each name nobody knows."""
    reports = []
    for pair in root.iterfind("configuration/crm_config/cluster_property_set/nvpair"):
        name, value = pair.get("name"), pair.get("value")
        if name is None or value is None:
            continue
        place = Place(element="nvpair", id=pair.get("id"), line=cast("int | None", pair.sourceline))
        option = CLUSTER.get(name)
        if option is None:
            message, remedy = f"cluster option {name!r} is not known", "remove it, or correct its name"
            reports.append(Report(code="option-unknown", message=message, remedy=remedy, place=place,
                                  severity=Severity.WARNING, exit_code=78))  # fmt: skip
            continue
        try:
            option.parse(value)
        except ValueError as error:
            remedy = (
                f"until then the default {option.default} holds"
                if option.default is not None
                else "correct or remove it"
            )
            reports.append(Report(code="option-value", message=str(error), remedy=remedy, place=place,
                                  severity=Severity.WARNING, exit_code=78))  # fmt: skip
    return reports
