"""A transition against a simple model: random graphs, ends in random order, failures and aborts at random."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.core.controller.transition import INFINITY, Flight, Transition
from quorate.model.graph import Action, ActionKind, Graph, Synapse


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Without cycles: an action waits only for actions of lower numbers."""
    synapses = []
    for number in range(1, draw(st.integers(1, 14)) + 1):
        pseudo = draw(st.booleans())
        action = Action(
            id=number,
            kind=ActionKind.PSEUDO if pseudo else ActionKind.RESOURCE,
            operation=draw(st.sampled_from(["start", "stop", "migrate_to"])),
            key=f"k{number}",
            node=draw(st.sampled_from(["n1", "n2"])),
        )
        inputs = draw(st.lists(st.integers(1, number - 1), unique=True, max_size=3)) if number > 1 else []
        priority = draw(st.sampled_from([0, 0, 0, 5, INFINITY]))
        synapses.append(Synapse(id=number, actions=(action,), inputs=tuple(inputs), priority=priority))
    return Graph(
        synapses=tuple(synapses), batch_limit=draw(st.integers(0, 4)), migration_limit=draw(st.integers(-1, 2))
    )


@given(graphs(), st.data())
def test_order_limits_and_end(graph: Graph, data: st.DataObject) -> None:
    transition = Transition(graph, 1, "uuid")
    inputs = {synapse.actions[0].id: synapse for synapse in graph.synapses}
    confirmed: set[int] = set()
    begun: set[int] = set()
    failed = False
    for _ in range(200):
        for action in transition.fire(lambda action: True):
            synapse = inputs[action.id]
            assert action.id not in begun
            assert set(synapse.inputs) <= confirmed
            assert synapse.priority >= transition.abort_priority
            begun.add(action.id)
            if action.kind is ActionKind.PSEUDO:
                transition.confirm(action)
                confirmed.add(action.id)
                continue
            transition.begin(Flight(action=action, key=transition.key(action)))
            flights = [flight.action for flight in transition.flights.values()]
            assert not graph.batch_limit or len(flights) <= graph.batch_limit
            moving = sum(each.operation == "migrate_to" and each.node == action.node for each in flights)
            assert graph.migration_limit < 0 or action.operation != "migrate_to" or moving <= graph.migration_limit
        if not transition.flights:
            break
        chosen = data.draw(st.sampled_from(sorted(transition.flights)))
        flight = transition.flights[chosen]
        assert transition.flight_of(flight.key) == flight
        what = data.draw(st.sampled_from(["confirm", "confirm", "confirm", "fail", "abort"]))
        if what == "abort":
            transition.abort(data.draw(st.sampled_from([1, INFINITY])), "changed")
            failed = True
        if what == "fail":
            transition.fail(flight.action, "failed")
            failed = True
        else:
            transition.confirm(flight.action)
            confirmed.add(chosen)
    assert not transition.flights
    assert transition.left == len(graph.synapses) - len(begun)
    if not failed and graph.migration_limit != 0:
        assert confirmed == set(inputs) and transition.is_over
    if failed:
        assert transition.is_aborted


@given(graphs())
def test_what_is_refused_is_offered_again(graph: Graph) -> None:
    transition = Transition(graph, 1, "uuid")
    offered: list[int] = []

    def never(action: Action) -> bool:
        offered.append(action.id)
        return False

    assert list(transition.fire(never)) == []
    first = sorted(offered)
    offered.clear()
    assert list(transition.fire(never)) == []
    assert sorted(offered) == first
