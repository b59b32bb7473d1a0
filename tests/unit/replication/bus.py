"""An ideal group layer for tests: agreed order within components, views by command, disks that answer at once or
never."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.quorum.rights import Electorate
from quorate.core.replication.machine import Identity, Replication
from quorate.core.replication.state import ReplicatedState
from quorate.model import entries, group
from quorate.model.cib import Cib
from quorate.model.ids import ViewId


@dataclass
class Member:
    name: str
    id: int
    replica: Replication
    view: group.View | None = None
    joined: bool = True
    committed: list[entries.Entry] = field(default_factory=list)
    lost: list[entries.Entry] = field(default_factory=list)
    reports: list[fx.Report] = field(default_factory=list)
    forks: list[str] = field(default_factory=list)
    disk_works: bool = True
    unsaved: list[int] = field(default_factory=list)


def make_cib() -> Cib:
    return Cib.empty(feature_set="3.16.1", cluster_name="bus")


class Bus:
    """`count` members named n1.. in one component at first; `split` and `heal` make views."""

    def __init__(self, count: int, *, two_node: bool = False, wait_for_all: bool = False) -> None:
        self.names = [f"n{i + 1}" for i in range(count)]
        self.electorate = Electorate(
            votes={name: 1 for name in self.names}, two_node=two_node, wait_for_all=wait_for_all
        )
        self.members: dict[str, Member] = {}
        self.counter = 0
        self.wire: deque[tuple[str, group.Submit]] = deque()
        for i, name in enumerate(self.names):
            self.boot(name, i + 1)

    def boot(self, name: str, node_id: int, incarnation: int = 1, boot_id: str | None = None) -> Member:
        identity = Identity(
            node=name,
            node_id=node_id,
            boot_id=boot_id or f"boot-{name}-{incarnation}",
            incarnation=incarnation * 100 + node_id,
            feature_set="3.16.1",
            settings_digest="d",
            nodes=tuple((n, i + 1) for i, n in enumerate(self.names)),
        )
        state = ReplicatedState(cib=make_cib())
        member = Member(name=name, id=node_id, replica=Replication(identity, self.electorate, state, 0, lambda: ()))
        self.members[name] = member
        return member

    def views(self, *components: Iterable[str], settle: bool = True) -> None:
        """Install a view for each component and let everything settle, or lose all that was sent in it."""
        for component in components:
            names = sorted(component)
            self.counter += 1
            ids = tuple(self.members[name].id for name in names)
            olds = {name: self.members[name].view for name in names}
            for name in names:
                old = olds[name]
                along = tuple(
                    self.members[n].id for n in names if old is not None and olds[n] == old and old is not None
                )
                view = group.View(
                    id=ViewId(self.counter, ids[0]),
                    nodes=ids,
                    members=ids,
                    transitional=along or (self.members[name].id,),
                )
                self.members[name].view = group.View(id=view.id, nodes=ids, members=ids, transitional=())
                self.feed(name, group.ViewChanged(view=view))
        if settle:
            self.run()
        else:
            self.wire.clear()

    def feed(self, name: str, event: group.EngineEvent) -> None:
        self.carry(name, self.members[name].replica.handle_engine(event, 0))

    def submit(self, name: str, entry: entries.Entry) -> None:
        self.carry(name, self.members[name].replica.submit(entry))

    def carry(self, name: str, outputs: Iterable[object]) -> None:
        member = self.members[name]
        for output in outputs:
            match output:
                case fx.ToEngine(request=group.Submit() as submit):
                    self.wire.append((name, submit))
                case fx.SaveState(key=key) | fx.SavePromise(key=key) | fx.AppendJournal(key=key):
                    if member.disk_works:
                        self.carry(name, member.replica.handle_saved(ev.Saved(key=key)))
                    else:
                        member.unsaved.append(key)
                case fx.SaveFork(name=fork):
                    member.forks.append(fork)
                case fx.Report():
                    member.reports.append(output)
                case ev.Committed(entry=entry):
                    member.committed.append(entry)
                case ev.EntryLost(entry=entry):
                    member.lost.append(entry)
                case _:
                    pass

    def run(self) -> None:
        """Deliver all submissions, each within its sender's present component, in one order."""
        while self.wire:
            sender, submit = self.wire.popleft()
            view = self.members[sender].view
            assert view is not None
            for name, member in sorted(self.members.items()):
                if member.view is not None and member.view.id == view.id:
                    self.feed(
                        name,
                        group.Delivered(
                            view=view.id,
                            sender=self.members[sender].id,
                            payload=submit.payload,
                            token=submit.token if name == sender else None,
                        ),
                    )


def change(number: int, *, forced: bool = False) -> entries.Change:
    """A configuration change: one cluster option."""
    xml = f'<cluster_property_set id="cib-bootstrap-options"><nvpair id="o{number}" name="o{number}" value="1"/></cluster_property_set>'
    return entries.Change(
        request=f"r{number}", origin="n1", client="test", user="root", kind="modify", section="crm_config",
        xml=xml.encode(),
        allow_create=True, forced=forced, at=1_700_000_000,
    )  # fmt: skip
