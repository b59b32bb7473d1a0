"""What a status shows: sections and details, chosen by crm_mon's options. Source: crm_mon's manual, "Output Control"."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..failure import CommandFailed, Exit

SECTIONS = (
    "attributes", "bans", "counts", "dc", "failcounts", "failures", "fencing-failed", "fencing-pending",
    "fencing-succeeded", "maint-mode", "nodes", "operations", "options", "resources", "stack", "tickets", "times",
)  # fmt: skip
SUMMARY = frozenset({"counts", "dc", "maint-mode", "options", "stack", "times"})
FENCING = frozenset({"fencing-failed", "fencing-pending", "fencing-succeeded"})
ALIASES = {"all": frozenset(SECTIONS), "summary": SUMMARY, "fencing": FENCING, "none": frozenset()}
TEXT_DEFAULT = frozenset(
    {
        "counts",
        "dc",
        "failures",
        "fencing-failed",
        "fencing-pending",
        "maint-mode",
        "nodes",
        "resources",
        "stack",
        "times",
    }
)
XML_DEFAULT = frozenset(SECTIONS)


@dataclass(slots=True, kw_only=True)
class Shown:
    """`only_node`, `only_resource`: a name or tag. `fence_level`: 0 none, 1 failed and pending, 2 also successes, 3 all."""

    sections: set[str] = field(default_factory=lambda: set(TEXT_DEFAULT))
    by_node: bool = False
    inactive: bool = False
    detail: bool = False
    brief: bool = False
    timing: bool = False
    fence_level: int = 1
    ban_prefix: str = ""
    only_node: str | None = None
    only_resource: str | None = None

    def has(self, section: str) -> bool:
        return section in self.sections

    @property
    def any_summary(self) -> bool:
        return bool(self.sections & SUMMARY)


def choose(sections: set[str], text: str, *, include: bool, default: frozenset[str]) -> None:
    """Apply one --include or --exclude value."""
    for word in (part.strip() for part in text.split(",") if part.strip()):
        if word in ("default", "defaults"):
            if include:
                sections |= default
            else:
                raise CommandFailed(Exit.USAGE, "--exclude=default is not possible")
            continue
        if word in ("all", "none"):
            chosen_all = (word == "all") == include
            sections.clear()
            if chosen_all:
                sections |= ALIASES["all"]
            continue
        group = ALIASES.get(word) or (frozenset({word}) if word in SECTIONS else None)
        if group is None:
            option = "include" if include else "exclude"
            raise CommandFailed(
                Exit.USAGE,
                f"--{option} options: all, attributes, bans, counts, dc, default, failcounts, failures, "
                "fencing, fencing-failed, fencing-pending, fencing-succeeded, maint-mode, nodes, none, "
                "operations, options, resources, stack, summary, tickets, times",
            )
        if include:
            sections |= group
        else:
            sections -= group
