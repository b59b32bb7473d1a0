"""What the executor needs of an agent's metadata: which parameters cannot be reloaded, which are secret.

Decided here: the lists that stand in the history as `op-force-restart` and `op-secure-params`. An agent that supports
`reload-agent` declares reloadable parameters; with the older `reload`, those that are not `unique` can be reloaded.
Source: Pacemaker Administration, "Agents"; OCF resource agent API 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

_TRUE = frozenset({"1", "true", "on", "yes", "y"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """`restart`: parameters whose change needs a restart; None: the agent cannot reload. `private`: secret ones."""

    restart: tuple[str, ...] | None = None
    private: tuple[str, ...] = ()


NO_FACTS = AgentFacts()


def read_facts(xml: bytes) -> AgentFacts | None:
    """None for what is no metadata."""
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):
        return None
    actions = {action.get("name") for action in root.iterfind("actions/action")}
    declared = root.iterfind("parameters/parameter")
    parameters = [(name, parameter) for parameter in declared if (name := parameter.get("name"))]
    restart: tuple[str, ...] | None = None
    if "reload-agent" in actions:
        restart = tuple(name for name, parameter in parameters if not _is(parameter, "reloadable"))
    elif "reload" in actions:
        restart = tuple(name for name, parameter in parameters if _is(parameter, "unique"))
    private = tuple(name for name, parameter in parameters if _is(parameter, "private"))
    return AgentFacts(restart=restart, private=private)


def _is(parameter: ElementTree.Element, flag: str) -> bool:
    return (parameter.get(flag) or "").lower() in _TRUE


def spaced(names: tuple[str, ...]) -> str:
    """As Pacemaker keeps such a list, so that " name " can be searched in it; empty for none."""
    return f"  {' '.join(names)}  " if names else ""
