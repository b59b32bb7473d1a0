"""The cluster configurations of the demonstration, the cluster tests and the measurements, as CIB XML. The same for
each stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

FLOATING = "10.77.0.100"

NGINX = """\
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events { worker_connections 512; }
http {
    access_log off;
    server {
        listen 80;
        location / { default_type text/plain; return 200 "{node}\\n"; }
    }
}
"""


def web_server_files() -> dict[str, tuple[str, int]]:
    """A web server that answers with its node's name."""
    return {"/etc/nginx/nginx.conf": (NGINX, 0o644)}


def nvpairs(owner: str, values: Mapping[str, str]) -> str:
    return "".join(
        f"<nvpair id={quoteattr(f'{owner}-{n}')} name={quoteattr(n)} value={quoteattr(v)}/>" for n, v in values.items()
    )


def primitive(
    id: str, agent: str, params: Mapping[str, str] | None = None, operations: Sequence[tuple[str, str, str]] = ()
) -> str:
    """`agent` is class:provider:type or class:type; operations are (name, interval, timeout)."""
    parts = agent.split(":")
    provider = f' provider="{parts[1]}"' if len(parts) == 3 else ""
    body = ""
    if params:
        body += f'<instance_attributes id="{id}-params">{nvpairs(f"{id}-params", params)}</instance_attributes>'
    if operations:
        body += "<operations>"
        for name, interval, timeout in operations:
            body += f'<op id="{id}-{name}-{interval}" name="{name}" interval="{interval}" timeout="{timeout}"/>'
        body += "</operations>"
    return f'<primitive id="{id}" class="{parts[0]}"{provider} type="{parts[-1]}">{body}</primitive>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Sections of a CIB; `xml()` is the inside of <configuration> without the nodes."""

    properties: dict[str, str]
    resources: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    defaults: dict[str, str] = field(default_factory=dict)

    def sections(self) -> dict[str, str]:
        return {
            "crm_config": f'<crm_config><cluster_property_set id="cib-bootstrap-options">'
            f"{nvpairs('cib-bootstrap-options', self.properties)}</cluster_property_set></crm_config>",
            "rsc_defaults": f'<rsc_defaults><meta_attributes id="rsc-options">{nvpairs("rsc-options", self.defaults)}'
            "</meta_attributes></rsc_defaults>",
            "resources": f"<resources>{''.join(self.resources)}</resources>",
            "constraints": f"<constraints>{''.join(self.constraints)}</constraints>",
        }


def power(nodes: Sequence[str]) -> str:
    return primitive(
        "power", "stonith:fence_laboratory", {"pcmk_host_list": " ".join(nodes)}, [("monitor", "60s", "20s")]
    )


def address() -> str:
    return primitive("address", "ocf:heartbeat:IPaddr2", {"ip": FLOATING, "cidr_netmask": "24"}, [("monitor", "10s", "20s")])


def server() -> str:
    return primitive(
        "server",
        "ocf:heartbeat:nginx",
        {"configfile": "/etc/nginx/nginx.conf", "httpd": "/usr/sbin/nginx"},
        [("monitor", "10s", "30s"), ("start", "0s", "40s"), ("stop", "0s", "60s")],
    )


def properties(nodes: Sequence[str]) -> dict[str, str]:
    return {
        "stonith-enabled": "true",
        "stonith-action": "off",
        "no-quorum-policy": "stop" if len(nodes) > 2 else "ignore",
    }


def web(nodes: Sequence[str]) -> Configuration:
    """A floating address and a web server as a group, with power fencing."""
    return Configuration(
        properties=properties(nodes),
        resources=(power(nodes), f'<group id="web">{address()}{server()}</group>'),
        defaults={"resource-stickiness": "200"},
    )


def address_on_servers(nodes: Sequence[str]) -> Configuration:
    """A web server on every node (a clone) and a floating address that goes where one runs."""
    return Configuration(
        properties=properties(nodes),
        resources=(power(nodes), f'<clone id="servers">{server()}</clone>', address()),
        constraints=(
            '<rsc_colocation id="address-with-server" rsc="address" with-rsc="servers" score="INFINITY"/>',
            '<rsc_order id="server-first" first="servers" then="address" kind="Mandatory"/>',
        ),
        defaults={"resource-stickiness": "200"},
    )


def dummies(nodes: Sequence[str], count: int, interval: str = "10s") -> Configuration:
    resources = [
        primitive(f"d{n}", "ocf:heartbeat:Dummy", None, [("monitor", interval, "20s")]) for n in range(1, count + 1)
    ]
    return Configuration(
        properties=properties(nodes),
        resources=(power(nodes), *resources),
        defaults={"resource-stickiness": "1"},
    )


# The moved-by-hand measurements and some tests call these commands on either stack.
WEB_RESOURCES = ("address", "server")
