"""Options that every fence device takes beside those of its agent. Names and defaults are Pacemaker's (2.1 and 3)."""

from __future__ import annotations

from .option import Option, ValueKind

_S, _I, _B, _T, _L = ValueKind.STRING, ValueKind.INTEGER, ValueKind.BOOLEAN, ValueKind.TIME, ValueKind.SELECT


def _for_action(action: str, default_action: str | None = None) -> tuple[Option, ...]:
    return (
        Option(
            name=f"pcmk_{action}_action",
            kind=_S,
            default=default_action or action,
            advanced=True,
            short=f"What the agent is told for {action!r}",
            long="For devices that know the action by another name.",
        ),
        Option(
            name=f"pcmk_{action}_timeout",
            kind=_T,
            default="60s",
            advanced=True,
            minimum=0,
            short=f"How long {action!r} may take",
            long="Instead of stonith-timeout.",
        ),
        Option(
            name=f"pcmk_{action}_retries",
            kind=_I,
            default="2",
            advanced=True,
            short=f"How often {action!r} is tried at most while its time lasts",
        ),
    )


FENCING_OPTIONS: tuple[Option, ...] = (
    Option(
        name="pcmk_host_map",
        kind=_S,
        default=None,
        short="How the device names the nodes",
        long="node1:1;node2:2,3 means plug 1 for node1, plugs 2 and 3 for node2; "
        "node names may be separated by blanks too.",
    ),
    Option(name="pcmk_host_list", kind=_S, default=None, short="The nodes this device can fence, separated by commas"),
    Option(
        name="pcmk_host_check",
        kind=_L,
        default=None,
        values=("dynamic-list", "static-list", "status", "none"),
        short="How to find out which nodes the device can fence",
        long="dynamic-list: ask it with list. static-list: pcmk_host_list or pcmk_host_map. "
        "status: ask it for each node. none: it "
        "can fence all. The default is static-list where one of the two is set, else what the agent supports.",
    ),
    Option(
        name="pcmk_host_argument",
        kind=_S,
        default=None,
        advanced=True,
        short="The agent's parameter that names the node",
        long='The default is port, or plug where the agent has only that; "none" passes no name.',
    ),
    Option(
        name="pcmk_delay_base",
        kind=_S,
        default="0s",
        short="Wait this long before fencing",
        long="So that of two nodes that want to fence each other one is first. "
        "A time, or one for each node: node1:1s;node2:5.",
    ),
    Option(
        name="pcmk_delay_max",
        kind=_T,
        default="0s",
        minimum=0,
        short="Upper bound of a random delay that is added to pcmk_delay_base",
    ),
    Option(
        name="pcmk_action_limit",
        kind=_I,
        default="1",
        short="How many actions may run at once on the device",
        long="-1 means no limit.",
    ),
    Option(
        name="provides",
        kind=_S,
        default=None,
        deprecated=True,
        short="unfencing: nodes need the device's on action before they run resources",
        long="Taken from the agent's metadata; the option is there for old configurations.",
    ),
    *_for_action("reboot"),
    *_for_action("off"),
    *_for_action("on"),
    *_for_action("list"),
    *_for_action("monitor"),
    *_for_action("status"),
)
