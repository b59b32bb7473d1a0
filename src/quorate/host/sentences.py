"""The words for reports in a node's log: what happened, and where it helps, what to do.

Reports are data (code and fields) until here. A code may have several sentences: the first one whose fields are all there
is taken. Fields that a sentence does not use follow behind it; a code without a sentence is shown by its fields.
"""

from __future__ import annotations

from collections.abc import Mapping

_NETWORK = "check the interface, its address and the route"

SENTENCES: Mapping[str, tuple[str, ...]] = {
    # ---- processes
    "started": ("{process} started (version {version})", "The engine started with token {token_ms} ms"),
    "stopping": ("{process} stops: {cause}", "The engine says good-bye: {cause}"),
    "cannot-start": ("Cannot start: {error}",),
    "realtime-refused": ("{what}",),
    "settings": ("Advice: {advice}",),
    "engine-gone": ("The engine is gone: {cause}",),
    "manager-joined": ("The manager has connected to the engine",),
    "manager-gone": (
        "The manager of {node} is gone; for {grace_ms} ms nothing moves, then its node is fenced",
        "The manager is absent: {cause}",
    ),
    "manager-lapsed": ("The manager of {node} has been gone for {grace_ms} ms: the node counts as lost",),
    "manager-killed": ("The manager showed no sign of life for {age_ms} ms and is killed; it is started again",),
    "manager-fails": ("The manager failed {times} times in a minute: this node goes down, so that the others fence it",),
    "child-ended": ("{child} ended ({how}); it is started again in {delay_ms} ms",),
    "scheduler-died": ("The scheduler worker ended: {cause}",),
    "client-refused": ("A client of user {uid} was refused: only root and members of the group {group} may ask",),
    "client-cut": ("A client was cut: {cause}",),
    "orphan": ("An action of a former manager ({what}, process {pid}): {outcome}",),
    "internal-error": ("An error of the program itself: {at}",),
    "self-fencing": ("This node ends itself ({how}): {cause}", "This node ends itself: {cause}"),
    "self-fencing-failed": ("Self-fencing by {command} failed: {error}",),
    # ---- storage
    "storage-failed": (
        "{what} could not be made durable: {error}",
        "This node cannot keep the configuration and leaves the group: {error}",
    ),
    "storage-hangs": ("The disk has not answered for {after_s} s: this manager ends, the others need not wait for it",),
    "stored-state": ("{text}",),
    "journal-record": ("A change in the journal could not be applied and those behind it are not used: {text}",),
    "fork-kept": ("A configuration that the cluster has not chosen is kept as {file}",),
    "counter-damaged": ("{file} is damaged ({error}); the wall clock takes its place",),
    # ---- links and views
    "link-up": ("{peer} is heard on link {link} ({cause})",),
    "link-down": ("{peer} is not heard on link {link} any more: {cause}",),
    "link-open": ("Link {link} is open again",),
    "link-fault": ("Link {link}: {cause}; it is tried again until it works",),
    "view-changed": ("The group is now {members}; up: {nodes}; lost: {lost}", "The group is now {members}; up: {nodes}"),
    "paused": ("The engine stood still for {gap_ms} ms; it accuses nobody",),
    "no-view": ("No group for {after_s} s: this node stops what it runs",),
    "wire-wrong-key": (
        "A packet from {source} on link {link} was not made with this cluster's key; copy the key file to that node",
    ),
    "wire-foreign-cluster": (
        "Another cluster sends to link {link} from {source}; give one of the two other ports or addresses",
    ),
    "wire-replay": ("Packets of {peer} on link {link} are repeated: by the network, or by somebody who recorded them",),
    "wire-garbage": ("What comes from {source} on link {link} is no packet of ours; find out who uses this port",),
    "wire-duplicate-id": (
        "Another machine ({source}, link {link}) runs with this cluster's node id of {peer}; give each node its own id",
    ),
    "wire-unknown-node": (
        "A node that is not configured here (id {claims}, {source}, link {link}) sends; make [[nodes]] equal on all nodes",
    ),
    "wire-address-mismatch": (
        "{peer} sends from {source} on link {link}, but {configured} is configured; correct `addresses` where it is wrong",
    ),
    "wire-one-way": ("Link {link} to {peer} works one way only: {direction}; check firewall and cables",),
    "wire-version": ("{peer} speaks another version of the protocol on link {link}; upgrade the older side",),
    "wire-paused": ("This node's engine stood still for {gap_ms} ms; look for an overloaded or suspended machine",),
    "wire-send-error": ("Link {link}: {cause}; " + _NETWORK,),
    # ---- the log and its roles
    "dc": ("{node} is the DC",),
    "dc-active": ("This node is the DC of {members}",),
    "quorum-gained": ("This partition has quorum",),
    "quorum-lost": ("This partition has no quorum",),
    "settings-differ": ("{node} has other settings for what must be equal on all nodes; compare the quorate.toml files",),
    "resynchronise": ("This node starts anew from the others' state: {cause}",),
    "configuration-behind": ("The configuration here was older ({had}) than the cluster's ({chosen}) and is replaced",),
    "configuration-lost": (
        "The cluster has chosen another configuration ({chosen}) than this node had ({had}); what was here is kept as {kept_as}",
    ),
    "replica-differs": ("This node's state differs from that of {from}: it is taken anew",),
    # ---- transitions and actions
    "scheduler": ("The scheduler warns: {text}",),
    "scheduling-failed": ("Scheduling failed: {error}; its input is kept as {input}",),
    "transition-begun": ("Transition {number} begins, {actions} actions (input {input})",),
    "transition-ended": (
        "Transition {number} ended: {confirmed} actions done, {failed} failed, {left} left; {reason}",
    ),
    "action-failed": ("{operation} of {resource} on {node} gave {rc} instead of {expected}: {reason}",),
    "action-lost": ("The result of {operation} of {resource} on {node} did not come in time: it counts as failed",),
    "action-refused": ("{operation} of {resource} is not run: {why}",),
    "agent-survives": ("The agent of {resource} ({operation}) could not be ended; what it does is not known",),
    "no-metadata": ("The metadata of {agent} cannot be used: {error}",),
    "stopping-all": ("Stopping everything here: {resources}",),
    "stop-failed": ("Stopping {resource} failed: {reason}",),
    "stop-all-failed": ("Could not stop {resources}",),
    "all-stopped": ("Everything here is stopped",),
    # ---- fencing
    "fencing-requested": ("{target} is to be fenced ({action}) by {executor}: {cause}",),
    "fencing-begun": ("Fencing {target} ({action}) with {devices}: {cause}",),
    "fencing-step": ("Device {device} has done: {step} of {target}",),
    "fencing-step-failed": ("Device {device} failed at {step} of {target}: {reason}",),
    "fencing-delayed": ("Device {device} waits {delay_ms} ms before it fences {target}",),
    "fencing-no-executor": ("{target} must be fenced ({cause}), but no node here can: configure a stonith device for it",),
    "fencing-disabled": ("{node} is taken for off without fencing, because {option}: data may be damaged if it is not",),
    "fenced": ("{target} is fenced ({action}, device {device}, by {executor}): {reason}",),
    "fencing-failed": ("Fencing {target} ({action}, device {device}, by {executor}) failed: {reason}",),
    "fence-agent-metadata": ("The metadata of fence agent {agent} cannot be used: {error}",),
}


def sentence(code: str, fields: Mapping[str, str]) -> str:
    """The report in words. An empty field counts as absent for a sentence, unless no other one fits."""
    present = {name: value for name, value in fields.items() if value}
    for known in (present, fields):
        for template in SENTENCES.get(code, ()):
            try:
                text = _one_line(template.format_map(known)).rstrip(" :;")
            except (KeyError, IndexError, ValueError):
                continue
            rest = {name: value for name, value in present.items() if f"{{{name}}}" not in template}
            return f"{text} ({_listed(rest)})" if rest else text
    return _listed(fields) or code


def _listed(fields: Mapping[str, str]) -> str:
    return " ".join(f"{name}={_one_line(value)}" for name, value in fields.items())


def _one_line(value: str) -> str:
    return " ".join(str(value).split()) if any(c in str(value) for c in "\n\r\t") else str(value)
