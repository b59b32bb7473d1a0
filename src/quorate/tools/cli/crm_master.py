"""crm_master: a resource's promotion score, in the words of old agents. crm_attribute with another default lifetime."""

from __future__ import annotations

from ..failure import CommandFailed, Exit
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, Table, begin, opt
from . import crm_attribute

TABLE = Table(
    "crm_master",
    "Query, update, or delete a resource's promotion score. This command is deprecated: use "
    "crm_attribute with the --promotion option instead.",
    (
        opt("G query get-value", "Query the current value of the promotion score", group="Commands"),
        opt("v update attr-value", "Update the value of the promotion score", "VALUE", group="Commands"),
        opt("D delete delete-attr", "Delete the promotion score", group="Commands"),
        opt("N node uname", "Use promotion score on named node (instead of local node)", "NODE"),
        opt("U", "Old name of -N", "NODE", hidden=True),
        opt("l lifetime", "Until when should the setting take effect (valid values: reboot, forever)", "VALUE"),
        opt("i id attr-id", "(Advanced) XML ID used to identify promotion score attribute", "VALUE"),
        opt("r resource resource-id", "Resource, instead of the one in OCF_RESOURCE_INSTANCE", "ID"),
        opt("q quiet", "Print only the value (if querying)"),
        opt("Q", "Old name of -q", hidden=True),
        *APPLICATION_OPTIONS,
    ),
    usage="<command> [options]",
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    resource = parsed.get("resource") or call.environ.get("OCF_RESOURCE_INSTANCE")
    if not resource:
        raise CommandFailed(Exit.USAGE, "No resource specified: use --resource or set OCF_RESOURCE_INSTANCE")
    args = ["--name", f"master-{resource}", "--lifetime", parsed.text("lifetime", "forever")]
    for key, value in parsed.items:
        if key in ("query", "delete", "quiet", "Q"):
            args.append("--quiet" if key in ("quiet", "Q") else f"--{key}")
        elif key in ("update", "id"):
            args += [f"--{key}", value]
        elif key in ("node", "U"):
            args += ["--node", value]
    return crm_attribute.main(call.derived("crm_attribute", args))
