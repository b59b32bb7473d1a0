"""The reference page of the options, made from the tables."""

from __future__ import annotations

from .cluster import CLUSTER_OPTIONS
from .fencing import FENCING_OPTIONS
from .option import Option
from .resource import OPERATION_OPTIONS, RESOURCE_OPTIONS

_INTRODUCTION = """# Options

This page is generated from `quorate.model.options`; `python -m quorate.model.options` prints it.

Times are whole numbers with a unit (`100ms`, `30s`, `5min`, `2h`) or ISO 8601 durations (`PT5M`); without a unit they
are seconds. Truth is `true`, `on`, `yes`, `y` or `1`. A score is a whole number or `INFINITY` with a sign.
"""

_SECTIONS = (
    ("Cluster options", "Set with `crm_attribute --type crm_config` or `crm configure property`.", CLUSTER_OPTIONS),
    ("Resource meta options", "Set in `meta_attributes`, for all resources in `rsc_defaults`.", RESOURCE_OPTIONS),
    (
        "Operation options",
        "Set on `<op>` or in its `meta_attributes`, for all operations in `op_defaults`.",
        OPERATION_OPTIONS,
    ),
    ("Fence device options", "Instance attributes of resources of class stonith, for every agent.", FENCING_OPTIONS),
)


def reference_page() -> str:
    """docs/reference/options.md"""
    parts = [_INTRODUCTION]
    for title, where, options in _SECTIONS:
        parts.append(f"\n## {title}\n\n{where}\n\n| Option | Type | Default | What it does |\n|---|---|---|---|\n")
        parts += [_row(option) for option in options]
    return "".join(parts)


def _row(option: Option) -> str:
    kind = option.kind.value if not option.values else ", ".join(option.values)
    default = "" if option.default is None else f"`{option.default}`"
    text = option.short + "." + (f" {option.long}" if option.long else "")
    notes = []
    if option.newer or option.older:
        notes.append("also named " + ", ".join(f"`{name}`" for name in (*option.newer, *option.older)))
    if option.generated:
        notes.append("written by the cluster")
    if option.advanced:
        notes.append("advanced")
    if option.deprecated:
        notes.append("deprecated")
    suffix = f" ({'; '.join(notes)})" if notes else ""
    return f"| `{option.name}` | {kind} | {default} | {text}{suffix} |\n"
