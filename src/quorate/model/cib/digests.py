"""Digests of operation parameters: they stand in `lrm_rsc_op` and tell whether a resource's definition changed.

`op-digest` covers all parameters (for recurring operations the timeout too), `op-restart-digest` those whose change
needs a restart (named in `op-force-restart`), `op-secure-digest` those that are not secret (the secret ones are named
in `op-secure-params`). Source: the status sections of Pacemaker's scheduler corpus and `crm_resource --digests`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

META_PREFIX = "CRM_meta_"
META_TIMEOUT = "CRM_meta_timeout"
_NOT_PARAMETERS = frozenset({"id", "crm_feature_set", "op-digest", "on_node", "on_node_uuid", "pcmk_external_ip"})
_ESCAPES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "'": "&apos;",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "    ",
        "\x7f": "\\177",
    }
)


def parameters_digest(parameters: Mapping[str, str]) -> str:
    """md5 of ` <parameters name="value" .../>` and a newline, the names sorted by their bytes; nothing is left out."""
    pairs = "".join(
        f' {name}="{value.translate(_ESCAPES)}"' for name, value in sorted(parameters.items(), key=_by_bytes)
    )
    return hashlib.md5(f" <parameters{pairs}/>\n".encode(), usedforsecurity=False).hexdigest()


def _by_bytes(pair: tuple[str, str]) -> bytes:
    return pair[0].encode()


def operation_digest(parameters: Mapping[str, str], *, interval_ms: int = 0) -> str:
    """`op-digest`. `parameters`: those of resource and operation by plain name, and CRM_meta_timeout (milliseconds)
    where the operation recurs; other CRM_meta_ values may stand there and do not count."""
    return parameters_digest(_plain(parameters, keep_timeout=interval_ms > 0))


def restart_digest(parameters: Mapping[str, str], restart_names: Collection[str], *, interval_ms: int = 0) -> str:
    """`op-restart-digest`: only the parameters in `restart_names` (those that the agent cannot reload)."""
    chosen = {name: value for name, value in parameters.items() if name in restart_names}
    return parameters_digest(_plain(chosen, keep_timeout=interval_ms > 0))


def secure_digest(
    parameters: Mapping[str, str], private_names: Collection[str], *, declared: Collection[str] | None = None
) -> str:
    """`op-secure-digest`: without the private ones, without the timeout, and, where `declared` is given, only
    parameters that the agent's metadata declares."""
    chosen = {
        name: value
        for name, value in parameters.items()
        if name not in private_names and (declared is None or name in declared)
    }
    return parameters_digest(_plain(chosen, keep_timeout=False))


def _plain(parameters: Mapping[str, str], *, keep_timeout: bool) -> dict[str, str]:
    return {
        name: value
        for name, value in parameters.items()
        if name not in _NOT_PARAMETERS and (not name.startswith(META_PREFIX) or (keep_timeout and name == META_TIMEOUT))
    }
