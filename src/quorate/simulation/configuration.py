"""The configurations that simulated clusters are given: a fence device, primitives, a group, a clone, constraints."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedConfiguration:
    """`xml`: the configuration section. `exclusive`: instances that may be active on one node only. `wanted`: how
    many nodes
    each instance is active on when everything is well."""

    xml: bytes
    exclusive: frozenset[str]
    wanted: dict[str, int]


def _primitive(name: str, interval_s: int) -> str:
    return (
        f'<primitive id="{name}" class="ocf" provider="simulated" type="Service"><operations>'
        f'<op id="{name}-monitor" name="monitor" interval="{interval_s}s" timeout="20s"/>'
        f'<op id="{name}-start" name="start" interval="0" timeout="20s"/><op id="{name}-stop" name="stop" interval="0" timeout="20s"/>'
        f"</operations></primitive>"
    )


def simulated_configuration(names: list[str], luck: random.Random, policy: str) -> SimulatedConfiguration:
    """A random small configuration; always one fence device that can fence every node."""
    exclusive: set[str] = set()
    wanted: dict[str, int] = {}
    parts = [
        '<primitive id="power" class="stonith" type="fence_sim"><instance_attributes id="power-params">'
        f'<nvpair id="power-hosts" name="pcmk_host_list" value="{" ".join(names)}"/></instance_attributes>'
        '<operations><op id="power-monitor" name="monitor" interval="60s" timeout="20s"/></operations></primitive>'
    ]
    for i in range(luck.randint(1, 3)):
        name = f"service{i + 1}"
        parts.append(_primitive(name, luck.choice((5, 10, 20))))
        exclusive.add(name)
        wanted[name] = 1
    if luck.random() < 0.7:
        members = [f"member{i + 1}" for i in range(luck.randint(2, 3))]
        parts.append(f'<group id="group1">{"".join(_primitive(member, 10) for member in members)}</group>')
        exclusive.update(members)
        wanted.update(dict.fromkeys(members, 1))
    if luck.random() < 0.5:
        parts.append(f'<clone id="everywhere">{_primitive("copy", 10)}</clone>')
        wanted["copy"] = len(names)
    constraints = []
    if luck.random() < 0.5:
        constraints.append(f'<rsc_location id="prefer" rsc="service1" node="{luck.choice(names)}" score="100"/>')
    if "service2" in wanted and luck.random() < 0.5:
        constraints.append('<rsc_colocation id="together" rsc="service2" with-rsc="service1" score="INFINITY"/>')
        constraints.append('<rsc_order id="first" first="service1" then="service2"/>')
    stickiness = luck.choice((0, 100, 1000))
    nodes = "".join(f'<node id="{i + 1}" uname="{name}"/>' for i, name in enumerate(names))
    xml = (
        '<configuration><crm_config><cluster_property_set id="cib-bootstrap-options">'
        '<nvpair id="o-stonith" name="stonith-enabled" value="true"/>'
        f'<nvpair id="o-policy" name="no-quorum-policy" value="{policy}"/>'
        '<nvpair id="o-fatal" name="start-failure-is-fatal" value="false"/>'
        '<nvpair id="o-deadtime" name="dc-deadtime" value="10s"/>'
        f"</cluster_property_set></crm_config><nodes>{nodes}</nodes><resources>{''.join(parts)}</resources>"
        f"<constraints>{''.join(constraints)}</constraints>"
        f'<rsc_defaults><meta_attributes id="rsc-options"><nvpair id="rsc-stickiness" name="resource-stickiness" value="{stickiness}"/>'
        "</meta_attributes></rsc_defaults></configuration>"
    )
    return SimulatedConfiguration(xml=xml.encode(), exclusive=frozenset(exclusive), wanted=wanted)
