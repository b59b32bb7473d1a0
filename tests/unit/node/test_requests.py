"""core/node: one manager alone, asked by clients."""

from __future__ import annotations

from typing import Any

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.node import Manager, ManagerConfiguration
from quorate.model import group, protocol
from quorate.model.entries import Position
from quorate.model.ids import SECOND, ViewId

ACLS = b"""<acls><acl_role id="reader"><acl_permission id="r1" kind="read" xpath="/cib/configuration/resources"/></acl_role>
<acl_target id="alice"><role id="reader"/></acl_target></acls>"""


class Alone:
    """A manager in a cluster of `names`, its engine and disk ideal, this node the only member of its views."""

    def __init__(self, *names: str, **options: Any) -> None:
        self.now = 0
        nodes = tuple((name, i + 1, 1) for i, name in enumerate(names or ("n1",)))
        self.manager = Manager(ManagerConfiguration(cluster="c", node="n1", nodes=nodes, **options))
        self.answers: list[protocol.Answer] = []
        self.effects: list[fx.Effect] = []
        self.counter = 0
        stored = ev.StoredState(promised=0, position=Position(0, 0), cib=None)
        self.give(ev.Started(boot_id="b", incarnation=7, stored=stored, wall=1_700_000_000))

    def give(self, event: ev.Event) -> None:
        for effect in self.manager.handle(event, self.now):
            self.effects.append(effect)
            match effect:
                case fx.ToEngine(request=group.Submit() as submit):
                    assert self.view is not None
                    delivered = group.Delivered(view=self.view.id, sender=1, payload=submit.payload, token=submit.token)
                    self.give(ev.FromEngine(event=delivered))
                case fx.SaveState(key=key) | fx.SavePromise(key=key) | fx.AppendJournal(key=key):
                    self.give(ev.Saved(key=key))
                case fx.Answer():
                    self.answers.append(effect.answer)

    view: group.View | None = None

    def form(self, *others: int) -> None:
        self.counter += 1
        ids = (1, *others)
        self.view = group.View(id=ViewId(self.counter, 1), nodes=ids, members=(1,), transitional=(1,))
        self.give(ev.FromEngine(event=group.ViewChanged(view=self.view)))

    def ask(self, request: protocol.Request, user: str = "root") -> Any:
        self.answers = []
        self.give(ev.Asked(client=1, uid=0 if user == "root" else 1000, user=user, request=request))
        return self.answers[-1] if self.answers else None


def change(serial: int, xml: bytes, section: str = "crm_config", **more: Any) -> protocol.CibChange:
    return protocol.CibChange(
        serial=serial, request=f"r{serial}", kind="modify", section=section, xml=xml, allow_create=True, **more
    )


OPTION = (
    b'<crm_config><cluster_property_set id="cib-bootstrap-options"><nvpair id="x" name="x" value="1"/>'
    b"</cluster_property_set></crm_config>"
)


def test_a_change_is_answered_with_its_version_and_remembered():
    node = Alone()
    node.form()
    answer = node.ask(change(1, OPTION))
    assert answer.rc == 0 and answer.data["version"][1] >= 1
    fate = node.ask(protocol.Fate(serial=2, request="r1"))
    assert fate.data == {"known": True, "rc": 0, "message": ""}
    assert node.ask(change(3, b"<nonsense")).rc != 0


def test_without_quorum_a_change_is_refused_in_words_and_a_forced_one_is_named():
    node = Alone("n1", "n2", "n3")
    node.form()
    refused = node.ask(change(1, OPTION))
    assert refused.rc == 106 and "--force" in refused.message
    forced = node.ask(change(2, OPTION, forced=True))
    assert forced.rc == 0
    assert any("FORKED" in banner for banner in node.ask(protocol.StatusQuery(serial=3)).banners)


def test_before_the_first_view_a_request_waits_and_is_then_refused():
    node = Alone()
    assert node.ask(change(1, OPTION)) is None
    node.now += 21 * SECOND
    node.give(ev.TimerFired(name="request-deadline"))
    assert node.answers[-1].rc == 102


def test_what_waited_is_done_when_the_view_comes():
    node = Alone()
    assert node.ask(change(1, OPTION)) is None
    node.form()
    assert node.answers[-1].rc == 0


def test_restricted_users_read_what_they_may_and_ask_for_nothing_else():
    node = Alone()
    node.form()
    enable = OPTION.replace(b'id="x" name="x" value="1"', b'id="e" name="enable-acl" value="true"')
    assert node.ask(change(1, enable)).rc == 0
    assert node.ask(change(2, ACLS, section="acls")).rc == 0
    seen = node.ask(protocol.CibQuery(serial=3), user="alice")
    assert seen.rc == 0 and b"<resources" in seen.data and b"enable-acl" not in seen.data
    assert node.ask(change(4, OPTION), user="alice").rc != 0
    assert node.ask(protocol.FenceAsked(serial=5, request="f", target="n1", action="off"), user="alice").rc == 4
    assert node.ask(protocol.StatusQuery(serial=6), user="mallory").rc == 4


def test_attributes_count_up_and_are_listed():
    node = Alone()
    node.form()
    for serial, value in enumerate(("5", "++", "a+=2"), 1):
        assert node.ask(protocol.AttributeSet(serial=serial, request=f"a{serial}", name="a", value=value)).rc == 0
    (value,) = node.ask(protocol.AttributeQuery(serial=9, name="a", node="")).values
    assert value.value == "8"
    assert node.ask(protocol.AttributeQuery(serial=10, name="b")).rc == 105


def test_a_dampened_attribute_is_logged_once():
    node = Alone()
    node.form()
    for serial in (1, 2, 3):
        node.ask(
            protocol.AttributeSet(serial=serial, request=f"d{serial}", name="load", value=str(serial), delay_ms=5000)
        )
    assert node.ask(protocol.AttributeQuery(serial=9, name="load")).rc == 105
    timers = [effect.name for effect in node.effects if isinstance(effect, fx.SetTimer) and "load" in effect.name]
    assert len(timers) == 1
    node.give(ev.TimerFired(name=timers[0]))
    assert node.ask(protocol.AttributeQuery(serial=9, name="load")).values[0].value == "3"


def test_a_failure_by_hand_needs_a_history():
    node = Alone()
    node.form()
    assert node.ask(protocol.ResourceFail(serial=1, request="x", resource="none", node="n1")).rc == 105


def test_a_present_node_is_not_removed():
    node = Alone()
    node.form()
    answer = node.ask(protocol.NodeRemove(serial=1, request="x", node="n1"))
    assert answer.rc == 107 and "stop it first" in answer.message


def test_a_restarted_manager_remembers_who_is_settled():
    node = Alone("n1", "n2", two_node=True)
    node.form(2)
    record = node.manager.state.record("n2")
    assert record.id == 2
    node.give(ev.FromEngine(event=group.Diagnosis(code="one-way", peer=2, link="net0", fields={})))
    facts = [effect.data for effect in node.effects if isinstance(effect, fx.SaveFacts)]
    assert facts
    again = Manager(node.manager.configuration)
    stored = ev.StoredState(promised=3, position=Position(0, 0), cib=None)
    again.handle(ev.Started(boot_id="b", incarnation=8, stored=stored, wall=1, facts=facts[-1]), 0)
    other_boot = Manager(node.manager.configuration)
    other_boot.handle(ev.Started(boot_id="c", incarnation=8, stored=stored, wall=1, facts=facts[-1]), 0)
    assert again.replication is not None and other_boot.replication is not None
    assert again.state.presences.keys() >= other_boot.state.presences.keys()


def test_a_damaged_disk_is_told():
    manager = Manager(ManagerConfiguration(cluster="c", node="n1", nodes=(("n1", 1, 1),)))
    stored = ev.StoredState(promised=1, position=Position(1, 0), cib=None, report="cib-3 is damaged; cib-2 is used")
    effects = manager.handle(ev.Started(boot_id="b", incarnation=1, stored=stored, wall=1), 0)
    assert any(isinstance(effect, fx.Report) and effect.code == "stored-state" for effect in effects)


def test_the_journal_brings_back_the_same_configuration_with_its_stamps():
    node = Alone()
    node.form()
    node.ask(change(1, OPTION))
    records = tuple(record for effect in node.effects if isinstance(effect, fx.AppendJournal) for record in effect.records)
    saved = [effect for effect in node.effects if isinstance(effect, fx.SaveState)]
    assert records and saved
    first = Manager(node.manager.configuration)
    stored = ev.StoredState(promised=1, position=records[-1][0], cib=first.state.cib.serialize(), journal=records)
    first.handle(ev.Started(boot_id="b", incarnation=9, stored=stored, wall=1), 0)
    for name in ("cib-last-written", "update-origin", "update-client", "update-user", "epoch"):
        assert first.state.cib.root.get(name) == node.manager.state.cib.root.get(name)
    assert first.state.cib.config_digest() == node.manager.state.cib.config_digest()
