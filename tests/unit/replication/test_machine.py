"""core/replication/machine: synchronisation, commit, merge, by an ideal group layer."""

from __future__ import annotations

import random

import pytest

from quorate.core.arbitration.conditions import Presence
from quorate.core.replication.machine import Phase
from quorate.model import entries, group
from quorate.model.cib import query, status
from quorate.model.entries import Position
from quorate.model.ids import ViewId

from .bus import Bus, change


def options(bus: Bus, name: str) -> set[str]:
    xml = query(bus.members[name].replica.state.cib, section="crm_config") or b""
    return {part.split('"')[1] for part in xml.decode().split("<nvpair")[1:] for part in [part.split("name=")[1]]}


def digests(bus: Bus, *names: str) -> set[str]:
    return {bus.members[name].replica.state.digest() for name in names}


def test_members_come_to_one_state_and_one_dc():
    bus = Bus(3)
    bus.views(bus.names)
    assert {m.replica.phase for m in bus.members.values()} == {Phase.SYNCED}
    assert {m.replica.dc for m in bus.members.values()} == {"n1"}
    assert all(m.replica.writable for m in bus.members.values())
    assert len(digests(bus, *bus.names)) == 1


def test_change_is_committed_everywhere():
    bus = Bus(3)
    bus.views(bus.names)
    bus.submit("n2", change(1))
    bus.run()
    for member in bus.members.values():
        assert change(1) in member.committed
        assert "o1" in options(bus, member.name)


def test_change_waits_for_a_majority_of_disks():
    bus = Bus(3)
    bus.views(bus.names)
    for name in ("n2", "n3"):
        bus.members[name].disk_works = False
    bus.submit("n1", change(1))
    bus.run()
    assert not any(m.committed for m in bus.members.values())
    from quorate.core import events as ev

    bus.carry("n2", bus.members["n2"].replica.handle_saved(ev.Saved(key=bus.members["n2"].unsaved.pop())))
    bus.run()
    assert all(change(1) in m.committed for m in bus.members.values())


def test_minority_cannot_change_the_configuration_and_adopts_the_majority():
    bus = Bus(3)
    bus.views(bus.names)
    bus.submit("n1", change(1))
    bus.run()
    bus.views(["n1"], ["n2", "n3"])
    assert not bus.members["n1"].replica.writable
    bus.submit("n1", change(2))
    bus.submit("n2", change(3))
    bus.run()
    assert change(2) in bus.members["n1"].lost
    assert "o2" not in options(bus, "n1")
    bus.views(bus.names)
    assert len(digests(bus, *bus.names)) == 1
    assert options(bus, "n1") >= {"o1", "o3"}
    assert bus.members["n1"].replica.state.position.lineage == bus.members["n2"].replica.state.position.lineage


def test_minoritys_higher_epoch_does_not_win():
    bus = Bus(3)
    bus.views(bus.names)
    bus.views(["n1"], ["n2", "n3"])
    for _ in range(5):  # n1 promises epoch after epoch, alone
        bus.views(["n1"])
    bus.submit("n2", change(7))
    bus.run()
    assert bus.members["n1"].replica.promised > bus.members["n2"].replica.promised
    bus.views(bus.names)
    assert "o7" in options(bus, "n1")


def test_forced_write_is_a_named_fork_kept_and_told():
    bus = Bus(3)
    bus.views(bus.names)
    bus.views(["n1"], ["n2", "n3"])
    bus.submit("n1", change(2, forced=True))
    bus.run()
    assert change(2, forced=True) in bus.members["n1"].committed
    assert bus.members["n1"].replica.state.forked
    bus.views(bus.names)
    assert bus.members["n1"].forks
    assert any(r.code == "configuration-lost" for r in bus.members["n1"].reports)
    assert "o2" not in options(bus, "n1")


def test_two_nodes_cut_apart_write_only_after_the_other_is_settled():
    bus = Bus(2, two_node=True)
    bus.views(bus.names)
    bus.views(["n1"], ["n2"])
    assert not bus.members["n1"].replica.writable
    bus.submit(
        "n1",
        entries.FenceRequest(
            id="f1", target="n2", boot_id="boot-n2-1", action="off", origin="n1", client="dc", executor="n1",
            devices=("d",),
            timeout_ms=1, delay_ms=0, cause="lost", at=1,
        ),
    )  # fmt: skip
    bus.submit(
        "n1",
        entries.FenceResult(
            id="f1", target="n2", boot_id="boot-n2-1", action="off", executor="n1", device="d", confirmed=True
        ),
    )
    bus.run()
    assert bus.members["n1"].replica.state.presence("n2") is Presence.DOWN
    assert bus.members["n1"].replica.writable


def test_a_fenced_boot_says_nothing_of_the_next():
    bus = Bus(2, two_node=True)
    bus.views(bus.names)
    bus.views(["n1"])
    bus.submit(
        "n1",
        entries.FenceRequest(
            id="f1", target="n2", boot_id="boot-n2-1", action="off", origin="n1", client="dc", executor="n1",
            devices=("d",),
            timeout_ms=1, delay_ms=0, cause="lost", at=1,
        ),
    )  # fmt: skip
    bus.run()
    bus.boot("n2", 2, incarnation=2, boot_id="boot-n2-2")
    bus.views(bus.names)
    fence = bus.members["n1"].replica.state.fences["f1"]
    assert fence.result is not None and fence.result.void
    bus.submit(
        "n1",
        entries.FenceResult(
            id="f1", target="n2", boot_id="boot-n2-1", action="off", executor="n1", device="d", confirmed=True
        ),
    )
    bus.run()
    assert bus.members["n1"].replica.state.presence("n2") is Presence.ONLINE


def test_joiner_with_an_empty_disk_gets_the_state():
    bus = Bus(3)
    bus.views(["n1", "n2"])
    bus.submit("n1", change(1))
    bus.run()
    bus.views(bus.names)
    assert "o1" in options(bus, "n3")
    assert len(digests(bus, *bus.names)) == 1


def test_long_message_travels_in_parts():
    bus = Bus(3)
    bus.views(["n1", "n2"])
    big = change(1)
    xml = (
        b'<cluster_property_set id="cib-bootstrap-options"><nvpair id="big" name="big" value="%s"/>'
        b"</cluster_property_set>" % (b"x" * 300_000)
    )
    big = entries.Change(**{**{f: getattr(big, f) for f in big.__struct_fields__}, "xml": xml})
    bus.submit("n1", big)
    bus.run()
    assert "big" in options(bus, "n2")
    bus.views(bus.names)
    assert "big" in options(bus, "n3")


def test_same_request_twice_is_one_change():
    bus = Bus(3)
    bus.views(bus.names)
    bus.submit("n1", change(1))
    bus.submit("n2", change(1))
    bus.run()
    assert bus.members["n3"].replica.state.position == Position(bus.members["n3"].replica.epoch, 1)


@pytest.mark.parametrize("seed", range(40))
def test_random_partitions_keep_what_was_acknowledged(seed: int):
    """Cuts, heals and restarts at random: acknowledged changes survive, replicas of one component are identical."""
    rng = random.Random(seed)
    size = rng.choice((2, 3, 5))
    bus = Bus(size)
    bus.views(bus.names)
    acknowledged: set[str] = set()
    number = 0
    for _ in range(30):
        names = list(bus.names)
        rng.shuffle(names)
        cut = rng.randrange(len(names) + 1)
        parts = [part for part in (names[:cut], names[cut:]) if part]
        bus.views(*parts)
        for part in parts:
            for _ in range(rng.randrange(3)):
                number += 1
                who = rng.choice(part)
                bus.submit(who, change(number))
                bus.run()
                if change(number) in bus.members[who].committed:
                    acknowledged.add(f"o{number}")
            assert len(digests(bus, *part)) == 1
            dcs = {bus.members[name].replica.dc for name in part}
            assert len(dcs) == 1
    bus.views(bus.names)
    for name in bus.names:
        assert acknowledged <= options(bus, name)
    assert number == 0 or len(digests(bus, *bus.names)) == 1


def test_an_odd_replica_finds_out_and_takes_the_others_state():
    """One replica differs (here by a stray element): at the next comparison it reports, keeps what it had, and leaves."""
    bus = Bus(3)
    bus.views(bus.names)
    odd = bus.members["n3"]
    options_of_odd = odd.replica.state.cib.configuration.find("crm_config/cluster_property_set")
    assert options_of_odd is not None
    options_of_odd.set("score", "7")
    odd.replica.state.cib.touch()
    for number in range(70):
        bus.submit("n1", change(number))
        bus.run()
    assert any(report.code == "replica-differs" for report in odd.reports)
    assert odd.forks
    assert not odd.replica.is_synced
    bus.views(bus.names)
    assert len(digests(bus, *bus.names)) == 1


def test_a_members_own_history_survives_views_that_never_settled():
    """n3 comes back from another component; the view in which it said so ends at once. In the next one n2 and n3 came
    along together, and yet n2 knows nothing of what n3 did alone."""
    bus = Bus(3)
    bus.views(bus.names)
    bus.views(["n1", "n2"], ["n3"])
    bus.submit("n3", entries.AttributeUpdate(request="a", node="n3", name="alone", value="1"))
    bus.run()
    bus.views(bus.names, settle=False)
    bus.views(["n2", "n3"], ["n1"])
    for name in ("n2", "n3"):
        assert status.get_attribute(bus.members[name].replica.state.cib, "n3", "alone") == "1"


def settled_down(bus: Bus, by: str, target: str) -> None:
    """`target` is fenced by `by`, as far as the log is concerned."""
    bus.submit(
        by,
        entries.FenceRequest(
            id=f"f-{target}", target=target, boot_id=f"boot-{target}-1", action="off", origin=by, client="dc", executor=by,
            devices=("d",), timeout_ms=1, delay_ms=0, cause="lost", at=1,
        ),
    )  # fmt: skip
    bus.submit(
        by,
        entries.FenceResult(
            id=f"f-{target}", target=target, boot_id=f"boot-{target}-1", action="off", executor=by, device="d",
            confirmed=True,
        ),
    )  # fmt: skip
    bus.run()


def test_a_graced_nodes_disk_is_missing_from_a_majority():
    """n2's machine is up and its manager gone: it is neither a member with the entry on its disk nor certainly down."""
    bus = Bus(3)
    bus.views(bus.names)
    bus.views(["n1", "n2"])
    settled_down(bus, "n1", "n3")
    bus.counter += 1
    view = group.View(id=ViewId(bus.counter, 1), nodes=(1, 2), members=(1,), transitional=(1,))
    bus.members["n1"].view, bus.members["n2"].view = view, None
    bus.feed("n1", group.ViewChanged(view=view))
    bus.run()
    replica = bus.members["n1"].replica
    assert replica.state.presence("n2") is Presence.GRACED and replica.state.presence("n3") is Presence.DOWN
    assert replica.is_synced and not replica.writable
    bus.submit("n1", change(1))
    bus.run()
    assert change(1) not in bus.members["n1"].committed
    incarnation = replica.state.nodes["n2"].incarnation
    bus.submit("n1", entries.ManagerLapsed(node="n2", incarnation=incarnation))
    settled_down(bus, "n1", "n2")
    assert replica.writable
    bus.submit("n1", change(2))
    bus.run()
    assert change(2) in bus.members["n1"].committed


def test_a_fencing_of_a_node_never_seen_says_nothing_once_it_is_here():
    """Start-up fencing names no boot; the node that joins meanwhile is alive, whatever the device says later."""
    bus = Bus(3)
    bus.views(["n1", "n2"])
    bus.submit(
        "n1",
        entries.FenceRequest(
            id="f", target="n3", boot_id="", action="reboot", origin="n1", client="dc", executor="n1",
            devices=("d",), timeout_ms=1, delay_ms=0, cause="never seen", at=1,
        ),
    )  # fmt: skip
    bus.run()
    bus.members["n1"].replica._running = lambda: ("fence:f",)
    bus.views(bus.names)
    bus.submit(
        "n1",
        entries.FenceResult(
            id="f", target="n3", boot_id="", action="reboot", executor="n1", device="d", confirmed=True
        ),
    )  # fmt: skip
    bus.run()
    for member in bus.members.values():
        assert member.replica.state.presence("n3") is Presence.ONLINE
        result = member.replica.state.fences["f"].result
        assert result is not None and result.void


def test_what_a_forced_fork_outdoes_is_told_as_lost():
    """Two forced writes of a lone node go further than the majority's last one: that one is kept and named as lost."""
    bus = Bus(3)
    bus.views(bus.names)
    bus.members["n2"].view = None  # n2 does not hear it
    bus.submit("n1", change(1))
    bus.run()
    assert change(1) in bus.members["n1"].committed
    bus.views(["n2"])
    for number in (2, 3):
        bus.submit("n2", change(number, forced=True))
    bus.run()
    bus.views(bus.names)
    assert any(report.code == "configuration-lost" for report in bus.members["n1"].reports)
    assert bus.members["n1"].forks
