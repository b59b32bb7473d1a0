"""What holds for every cluster: the same decision twice, an acyclic graph, and nothing left to do afterwards."""

from __future__ import annotations

import random
from copy import deepcopy

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from quorate.core.scheduler import schedule, unpack
from quorate.model.graph import Graph
from quorate.tools.simulate_execution import Execution

NOW = 1_700_000_000


def cluster(seed: int, nodes: int) -> etree._Element:
    """A random CIB of primitives, groups and clones with locations, colocations and orders between them."""
    rnd = random.Random(seed)
    resources, names = [], []
    for number in range(rnd.randint(1, 6)):
        kind = rnd.choice(("primitive", "group", "clone"))
        agent = 'class="ocf" provider="pacemaker" type="Dummy"'
        operations = f'<operations><op id="o{number}" name="monitor" interval="10s"/></operations>'
        if kind == "primitive":
            resources.append(f'<primitive id="r{number}" {agent}>{operations}</primitive>')
        elif kind == "group":
            members = "".join(f'<primitive id="r{number}m{i}" {agent}/>' for i in range(rnd.randint(1, 3)))
            resources.append(f'<group id="r{number}">{members}</group>')
        else:
            resources.append(f'<clone id="r{number}"><primitive id="r{number}c" {agent}/></clone>')
        names.append(f"r{number}")
    constraints = []
    for position, name in enumerate(names):
        if rnd.random() < 0.5:
            score = rnd.choice(("50", "-50", "-INFINITY", "INFINITY"))
            constraints.append(f'<rsc_location id="l{position}" rsc="{name}" node="n{rnd.randint(1, nodes)}" score="{score}"/>')
        if position and rnd.random() < 0.5:
            other = rnd.choice(names[:position])
            constraints.append(f'<rsc_order id="d{position}" first="{other}" then="{name}"/>')
            constraints.append(f'<rsc_colocation id="c{position}" rsc="{name}" with-rsc="{other}" score="{rnd.choice((10, 1000000))}"/>')
    state = 'in_ccm="true" crmd="online" join="member" expected="member"'
    return etree.fromstring(
        '<cib have-quorum="1" dc-uuid="1"><configuration><crm_config><cluster_property_set id="s"><nvpair id="f" '
        'name="fencing-enabled" value="false"/></cluster_property_set></crm_config><nodes>'
        + "".join(f'<node id="{i}" uname="n{i}"/>' for i in range(1, nodes + 1))
        + f"</nodes><resources>{''.join(resources)}</resources><constraints>{''.join(constraints)}</constraints>"
        + "</configuration><status>"
        + "".join(f'<node_state id="{i}" uname="n{i}" {state}><lrm id="{i}"><lrm_resources/></lrm></node_state>'
                  for i in range(1, nodes + 1))
        + "</status></cib>")


def has_cycle(graph: Graph) -> bool:
    inputs = {action.id: set(synapse.inputs) for synapse in graph.synapses for action in synapse.actions}
    while True:
        ready = [number for number, needs in inputs.items() if not needs & inputs.keys()]
        if not ready:
            return bool(inputs)
        for number in ready:
            del inputs[number]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_deterministic_acyclic_and_settled(seed: int, nodes: int) -> None:
    root = cluster(seed, nodes)
    first = schedule(root, NOW)
    assert schedule(deepcopy(root), NOW).graph == first.graph
    assert not has_cycle(first.graph)
    result = deepcopy(root)
    ws = first.working_set
    assert ws is not None
    assert Execution(result, ws, lambda _: None, (), NOW).run(first.graph)
    left = [action.key for synapse in schedule(result, NOW).graph.synapses for action in synapse.actions]
    assert left == []
    for rsc in unpack(result, NOW).all_resources:
        assert len(rsc.running_on) <= 1 or rsc.children, f"{rsc.id} is active twice"
