"""The cluster information base: an XML document with a version, and all that may be done to it.

`Cib` is a mutable document with one owner. `apply` runs one operation with cibadmin's meaning, in place and all or
nothing; `diff` and `patch` speak Pacemaker's version 2 patch sets; `validate` checks against our own tables. Every
change goes through `Edit`, which keeps the index of ids, can undo, and yields the patch set of what it did.
"""

from __future__ import annotations

from .digests import operation_digest, parameters_digest, restart_digest, secure_digest
from .document import Cib, CibError, CibVersion, parse_fragment
from .edit import Edit
from .nvpairs import get_option
from .operations import Operation, apply, query, query_paths
from .outcome import Outcome
from .patchset import diff, patch
from .schema import validate

__all__ = [
    "Cib",
    "CibError",
    "CibVersion",
    "Edit",
    "Operation",
    "Outcome",
    "apply",
    "diff",
    "get_option",
    "operation_digest",
    "parameters_digest",
    "parse_fragment",
    "patch",
    "query",
    "query_paths",
    "restart_digest",
    "secure_digest",
    "validate",
]
