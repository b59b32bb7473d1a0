"""Digests of operation parameters, as they stand in `lrm_rsc_op` and tell whether a resource's definition changed.

Source: Pacemaker's `op-digest`, `op-restart-digest` and `op-secure-digest`; checked against the scheduler corpus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from lxml import etree

from .document import compact

META_PREFIX = "CRM_meta_"


def parameter_digest(parameters: Mapping[str, str]) -> str:
    """md5 of ` <parameters name="value" .../>` and a newline, the names sorted by their bytes."""
    element = etree.Element("parameters")
    for name in sorted(parameters, key=str.encode):
        element.set(name, parameters[name])
    return hashlib.md5(b" " + compact(element) + b"\n", usedforsecurity=False).hexdigest()
