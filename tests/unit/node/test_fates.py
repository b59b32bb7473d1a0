"""core/node: what a client is told of its change when views, acknowledgements and disks come between."""

from __future__ import annotations

from collections import deque
from typing import Any

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.arbitration.conditions import Presence
from quorate.core.node import Manager, ManagerConfiguration
from quorate.model import group, protocol
from quorate.model.cib import status
from quorate.model.entries import Position
from quorate.model.ids import SECOND, ViewId

from .test_requests import OPTION, change


class Several:
    """Managers n1.. on an ideal bus; `cut` holds back what is sent to a node until `views` ends the view."""

    def __init__(self, count: int, **options: Any) -> None:
        self.now = 0
        self.counter = 0
        self.nodes = tuple((f"n{i}", i, 1) for i in range(1, count + 1))
        self.wire: deque[tuple[str, group.Submit]] = deque()
        self.managers: dict[str, Manager] = {}
        self.view_of: dict[str, group.View] = {}
        self.deaf: set[str] = set()
        self.disk_hangs: set[str] = set()
        self.answers: dict[str, list[Any]] = {}
        self.effects: dict[str, list[fx.Effect]] = {}
        for name, _, _ in self.nodes:
            self.managers[name] = Manager(
                ManagerConfiguration(cluster="c", node=name, nodes=self.nodes, **options)
            )
            self.answers[name], self.effects[name] = [], []
            stored = ev.StoredState(promised=0, position=Position(0, 0), cib=None)
            self.give(name, ev.Started(boot_id=f"b-{name}", incarnation=7, stored=stored, wall=1_700_000_000))

    def give(self, name: str, event: ev.Event) -> None:
        for effect in self.managers[name].handle(event, self.now):
            self.effects[name].append(effect)
            match effect:
                case fx.ToEngine(request=group.Submit() as submit):
                    self.wire.append((name, submit))
                case fx.SaveState(key=key) | fx.SavePromise(key=key) | fx.AppendJournal(key=key):
                    if name not in self.disk_hangs:
                        self.give(name, ev.Saved(key=key))
                case fx.Answer():
                    self.answers[name].append(effect.answer)

    def views(self, *components: tuple[int, ...]) -> None:
        self.wire.clear()
        for ids in components:
            self.counter += 1
            view = group.View(id=ViewId(self.counter, ids[0]), nodes=ids, members=ids, transitional=ids[:1])
            for i in ids:
                self.view_of[f"n{i}"] = view
                self.give(f"n{i}", ev.FromEngine(event=group.ViewChanged(view=view)))
        self.run()

    def run(self) -> None:
        while self.wire:
            sender, submit = self.wire.popleft()
            view = self.view_of[sender]
            for name, i, _ in self.nodes:
                if self.view_of[name].id == view.id and name not in self.deaf:
                    delivered = group.Delivered(
                        view=view.id,
                        sender=int(sender[1:]),
                        payload=submit.payload,
                        token=submit.token if i == int(sender[1:]) else None,
                    )
                    self.give(name, ev.FromEngine(event=delivered))

    def ask(self, name: str, request: protocol.Request, client: int = 1) -> Any:
        self.answers[name] = []
        self.give(name, ev.Asked(client=client, uid=0, user="root", request=request))
        self.run()
        return self.answers[name][-1] if self.answers[name] else None


def test_a_change_that_only_its_own_node_has_is_not_told_as_done():
    """n1 applies its change, the others never get it: n1 alone must not say that it was done, now or later."""
    nodes = Several(3)
    nodes.views((1, 2, 3))
    nodes.deaf = {"n2", "n3"}
    assert nodes.ask("n1", change(1, OPTION)) is None
    assert nodes.ask("n1", protocol.Fate(serial=2, request="r1")).data["known"] is False
    nodes.deaf = set()
    nodes.views((1,), (2, 3))
    assert nodes.ask("n1", protocol.Fate(serial=3, request="r1")).data["known"] is False
    again = nodes.ask("n1", change(1, OPTION), client=2)
    assert again is None or again.rc != 0
    nodes.answers["n1"] = []
    nodes.now += 21 * SECOND
    nodes.give("n1", ev.TimerFired(name="request-deadline"))
    assert [answer.rc for answer in nodes.answers["n1"]] in ([112], [112, 112])
    nodes.views((1, 2, 3))
    assert nodes.managers["n1"].state.cib.find_id("x") is None


def test_a_change_that_survives_the_view_is_told_at_once():
    """The answer was due in a view that ended before the acknowledgements came; the next view holds the change."""
    nodes = Several(3)
    nodes.views((1, 2, 3))
    nodes.deaf = {"n2", "n3"}
    assert nodes.ask("n1", change(1, OPTION)) is None
    nodes.deaf = set()
    nodes.views((1, 2, 3))
    assert [answer.rc for answer in nodes.answers["n1"]] == [0]


def test_a_step_asked_for_twice_counts_once():
    """The same request id while the first is on its way: one step, and both clients are answered."""
    nodes = Several(3)
    nodes.views((1, 2, 3))
    step = protocol.AttributeSet(serial=1, request="s", name="a", value="++")
    nodes.give("n1", ev.Asked(client=1, uid=0, user="root", request=step))
    nodes.give("n1", ev.Asked(client=2, uid=0, user="root", request=step))
    nodes.run()
    assert nodes.ask("n1", protocol.AttributeQuery(serial=9, name="a")).values[0].value == "1"
    clients = {effect.client for effect in nodes.effects["n1"] if isinstance(effect, fx.Answer)}
    assert clients == {1, 2}


def test_a_fencing_asked_for_again_is_answered_and_not_begun_again():
    """The answer was lost: the same id once more gets the same answer, and nothing goes round in the log."""
    nodes = Several(2, two_node=True)
    nodes.views((1, 2))
    ask = protocol.FenceAsked(serial=1, request="f", target="n2", action="off", timeout_ms=20_000)
    assert nodes.ask("n1", ask).rc == 1  # there is no device
    nodes.effects["n1"].clear()
    assert nodes.ask("n1", ask, client=2).rc == 1
    assert not any(isinstance(effect, (fx.ToEngine, fx.SetTimer)) for effect in nodes.effects["n1"])


def test_a_node_asked_to_stop_while_the_view_changes_still_leaves():
    nodes = Several(3)
    nodes.views((1, 2, 3))
    nodes.give("n3", ev.StopAsked())
    nodes.views((2, 3), (1,))  # what n3 had sent is lost with the view
    assert status.get_attribute(nodes.managers["n2"].state.cib, "n3", "shutdown") is not None


def test_an_operators_word_that_comes_too_late_does_not_take_a_living_member_for_off():
    """n3 was lost when its death was confirmed by hand; it is back, in the same boot, before the log has the word."""
    nodes = Several(3)
    nodes.views((1, 2, 3))
    nodes.views((1, 2), (3,))
    confirmed = protocol.FenceConfirmed(serial=1, request="c", target="n3")
    nodes.give("n1", ev.Asked(client=1, uid=0, user="root", request=confirmed))
    nodes.views((1, 2, 3))  # the confirmation was on its way
    presences = {name: manager.state.presence("n3") for name, manager in nodes.managers.items()}
    assert presences == dict.fromkeys(("n1", "n2", "n3"), Presence.ONLINE)
    (answer,) = nodes.answers["n1"]
    assert answer.rc != 0 and "alive" in answer.message


def test_a_disk_that_does_not_answer_ends_the_manager():
    """Else a member that never holds the state on disk would keep the others from deciding, for ever."""
    nodes = Several(3)
    nodes.disk_hangs = {"n3"}
    nodes.views((1, 2, 3))
    (timer,) = [e for e in nodes.effects["n3"] if isinstance(e, fx.SetTimer) and e.name == "replication-disk"]
    nodes.now = timer.at
    nodes.give("n3", ev.TimerFired(name="replication-disk"))  # the answer may stand behind it: once more
    assert not any(isinstance(effect, fx.StopNode) for effect in nodes.effects["n3"])
    nodes.now += SECOND
    nodes.give("n3", ev.TimerFired(name="replication-disk"))
    assert any(isinstance(effect, fx.StopNode) and effect.how == "exit" for effect in nodes.effects["n3"])
    assert any(isinstance(effect, fx.Report) and effect.code == "storage-hangs" for effect in nodes.effects["n3"])
    nodes.give("n1", ev.TimerFired(name="replication-disk"))
    assert not any(isinstance(effect, fx.StopNode) for effect in nodes.effects["n1"])
