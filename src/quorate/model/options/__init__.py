"""Every option of cluster, resources, operations and fence devices, declared once.

Lookup, validation, the metadata that daemons and agents print, and the reference page come from these tables. The keys
of quorate.toml are declared in `model.settings`.
"""

from __future__ import annotations

from .cluster import CLUSTER_OPTIONS
from .fencing import FENCING_OPTIONS
from .lookup import (
    CLUSTER,
    FENCING,
    OPERATION,
    RESOURCE,
    check_cluster_options,
    cluster_option,
    cluster_pairs,
    option_value,
)
from .option import INFINITY, Option, OptionValue, ValueKind, parse_boolean, parse_score
from .reference import reference_page
from .resource import OPERATION_OPTIONS, RESOURCE_OPTIONS

__all__ = [
    "CLUSTER",
    "CLUSTER_OPTIONS",
    "FENCING",
    "FENCING_OPTIONS",
    "INFINITY",
    "OPERATION",
    "OPERATION_OPTIONS",
    "RESOURCE",
    "RESOURCE_OPTIONS",
    "Option",
    "OptionValue",
    "ValueKind",
    "check_cluster_options",
    "cluster_option",
    "cluster_pairs",
    "option_value",
    "parse_boolean",
    "parse_score",
    "reference_page",
]
