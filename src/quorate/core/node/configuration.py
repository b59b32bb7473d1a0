"""What the manager needs to know from the settings, and the first configuration of a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from quorate.core.quorum.rights import Electorate
from quorate.model.cib import Cib


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerConfiguration:
    """`nodes`: (name, id, votes) of every configured node, in the file's order. `settings_digest`: of what must be
    equal on
    all nodes. Times in milliseconds."""

    cluster: str
    node: str
    nodes: tuple[tuple[str, int, int], ...]
    two_node: bool = False
    wait_for_all: bool = False
    settings_digest: str = ""
    grace_ms: int = 10_000
    token_ms: int = 1_000
    feature_set: str = "3.16.1"
    version: str = "0.1.0"
    engine: str = "heartbeat"

    @property
    def node_id(self) -> int:
        return next(node_id for name, node_id, _ in self.nodes if name == self.node)

    @property
    def electorate(self) -> Electorate:
        return Electorate(
            votes={name: votes for name, _, votes in self.nodes}, two_node=self.two_node, wait_for_all=self.wait_for_all
        )

    def name_of(self, node_id: int) -> str:
        return next((name for name, known, _ in self.nodes if known == node_id), str(node_id))


def first_cib(configuration: ManagerConfiguration) -> Cib:
    """The configuration of a cluster that has none: its nodes and its name. Equal on all nodes with equal settings."""
    cib = Cib.empty(feature_set=configuration.feature_set, cluster_name=configuration.cluster)
    options = cib.configuration.find("crm_config/cluster_property_set")
    assert options is not None
    for name, value in (
        ("have-watchdog", "false"),
        ("dc-version", f"quorate-{configuration.version}"),
        ("cluster-infrastructure", configuration.engine),
    ):
        etree.SubElement(options, "nvpair", {"id": f"cib-bootstrap-options-{name}", "name": name, "value": value})
    nodes = cib.configuration.find("nodes")
    assert nodes is not None
    for name, node_id, _ in configuration.nodes:
        etree.SubElement(nodes, "node", {"id": str(node_id), "uname": name})
    cib.touch()
    return cib
