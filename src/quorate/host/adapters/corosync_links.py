"""The state of Corosync's links, from its statistics: changes as reports for the manager, and a whole picture."""

from __future__ import annotations

from quorate.host.adapters.corosync import MapHandle
from quorate.model import group, settings
from quorate.model.ids import NodeId

_PREFIX = "stats.knet."


class LinkWatch:
    """Links are named as in quorate.toml: Corosync's link k is the k-th udp link there."""

    def __init__(self, chosen: settings.Settings) -> None:
        udp = [link for link in chosen.links if isinstance(link, settings.UdpLink)]
        self._links = list(enumerate(udp))
        self._peers = [node for node in chosen.nodes if node.name != chosen.node]
        self._map: MapHandle | None = None
        self._up: dict[tuple[int, int], bool] = {}

    def look(self) -> list[group.LinkChanged]:
        """What has changed since the last look. Raises CorosyncError."""
        changes: list[group.LinkChanged] = []
        for status, number in self._read():
            key = (int(status.peer), number)
            before = self._up.get(key)
            self._up[key] = status.up
            if before is not None and before != status.up:
                cause = "heard again" if status.up else "not heard any more"
                changes.append(
                    group.LinkChanged(peer=status.peer, link=status.link, up=status.up, cause=f"{cause} by Corosync")
                )
        return changes

    def statuses(self) -> tuple[group.LinkStatus, ...]:
        """Raises CorosyncError."""
        return tuple(status for status, _ in self._read())

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None
        self._up.clear()

    def _read(self) -> list[tuple[group.LinkStatus, int]]:
        if self._map is None:
            self._map = MapHandle(statistics=True)
        found: list[tuple[group.LinkStatus, int]] = []
        facts = self._map.read(_PREFIX)
        for peer in self._peers:
            for number, link in self._links:
                at = f"{_PREFIX}node{peer.id}.link{number}."
                latency = int(facts.get(at + "latency_ave", 0))
                found.append(
                    (
                        group.LinkStatus(
                            peer=NodeId(peer.id),
                            link=link.name,
                            up=facts.get(at + "connected") == 1,
                            kind="udp",
                            address=f"{link.addresses[peer.name]}:{link.port}",
                            received=int(facts.get(at + "rx_total_packets", 0)),
                            lost=int(facts.get(at + "tx_total_errors", 0)),
                            rtt_us=latency or None,
                        ),
                        number,
                    )
                )
        return found
