"""`python -m demo [--keep]`: three nodes, a web server behind a floating address, the active node is killed.

Prints what happens and ends with `outage: N.NN s (...)` and exit code 0, or with what went wrong and 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from laboratory import Laboratory, LaboratoryError, needs
from laboratory.kernel import boottime_ns
from laboratory.stacks import FLOATING, QuorateCorosyncStack, QuorateStack, StackError, web_server_files
from laboratory.stacks.configuration import WEB_RESOURCES, web

from .story import Step, address_steps, client_steps, first_of_each, log_steps, switch_steps, told

NODES = ("n1", "n2", "n3")
STACKS: dict[str, type[QuorateStack]] = {"heartbeat": QuorateStack, "corosync": QuorateCorosyncStack}


class DemoError(Exception):
    """The demonstration did not show what it should; the text says what was seen."""


def say(text: str) -> None:
    print(text, flush=True)


def bring_up(stack: QuorateStack, lab: Laboratory) -> str:
    """Start the cluster and the service; the node that serves."""
    say(f"Starting three nodes ({', '.join(NODES)}), each with its own network, processes, /etc, /var/lib and boot id")
    began = boottime_ns()
    lab.power_on()
    stack.all_online(lab)
    say(f"  {(boottime_ns() - began) / 1e9:.1f} s: all three are online (two heartbeat links, encrypted)")
    say("Configuring: power fencing, and a group of ocf:heartbeat:IPaddr2 and ocf:heartbeat:nginx")
    stack.configure(lab, NODES[0], web(NODES))
    stack.runs(lab, NODES[0], ["power", *WEB_RESOURCES])
    lab.client_start(FLOATING)
    answer = lab.await_answer(boottime_ns(), 15).answer
    if answer not in NODES:
        raise DemoError(f"the page says {answer!r}, not a node's name")
    say(
        f"  {(boottime_ns() - began) / 1e9:.1f} s: a client outside reads http://{FLOATING}/ every 5 ms; {answer} answers"
    )
    say("")
    say(lab.run(NODES[0], ["crm_mon", "-1"]).stdout.rstrip())
    return answer


def strike(stack: QuorateStack, lab: Laboratory, victim: str) -> str:
    """Cut the active node's power and tell what followed; the line about the outage."""
    time.sleep(1)
    survivors = [node for node in NODES if node != victim]
    say("")
    say(f"Cutting the power of {victim}, the active node")
    wall_minus_boottime = time.time_ns() - boottime_ns()
    struck = boottime_ns()
    lab.power_off(victim)
    lab.await_answer(struck, 60, survivors)
    time.sleep(0.3)
    outage = lab.outage(struck)
    if outage is None:
        raise DemoError("the client's records show no outage")
    steps = [Step(struck, "-", f"the power of {victim} is cut")]
    logged = [step for node in survivors for step in log_steps(stack.logs(lab, node), struck, wall_minus_boottime)]
    steps += first_of_each(logged)
    steps += switch_steps(lab.events(), struck)
    steps += address_steps(lab.holdings(FLOATING), FLOATING, struck)
    steps += client_steps(outage)
    say(told([step for step in steps if step.at <= outage.first_good.ended], struck))
    judge(lab, victim, struck)
    say("")
    say(lab.run(survivors[0], ["crm_mon", "-1"]).stdout.rstrip())
    say("")
    return (
        f"outage: {outage.duration_ns / 1e9:.2f} s (client outside: last answer from {outage.last_good.answer}, "
        f"first from {outage.first_good.answer}; {victim} killed, fenced, then taken over; never two holders of {FLOATING})"
    )


def judge(lab: Laboratory, victim: str, struck: int) -> None:
    """What must be true besides the client's being served again."""
    confirmed = [
        event["t"] for event in lab.events()
        if event["event"] == "switch-confirmed" and event["plug"] == victim and event["t"] >= struck
    ]  # fmt: skip
    if not confirmed:
        raise DemoError(f"{victim} was not fenced")
    taken = [each.begin for held in lab.holdings(FLOATING).values() for each in held if each.begin >= struck]
    if taken and min(taken) < min(confirmed):
        raise DemoError(
            f"the address was taken over {(min(confirmed) - min(taken)) / 1e6:.0f} ms before the fencing was confirmed"
        )
    doubles = lab.double_holders(FLOATING)
    if doubles:
        raise DemoError(f"two nodes held {FLOATING} at once: {doubles}")


def explain_failure(stack: QuorateStack, lab: Laboratory) -> None:
    for node in NODES:
        try:
            lines = [line for line in stack.logs(lab, node).splitlines() if " info " not in line]
        except OSError:
            continue
        say(f"--- the end of {node}'s log")
        say("\n".join(lines[-15:]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("--engine", default="heartbeat", help="the group layer: " + " or ".join(sorted(STACKS)))
    chosen = parser.parse_args()
    if chosen.engine not in STACKS:
        say(f"ENGINE={chosen.engine} is not known; use one of {', '.join(sorted(STACKS))}.")
        return 1
    stack = STACKS[chosen.engine]()
    lab: Laboratory | None = None
    try:
        if problem := needs() or stack.missing():
            raise DemoError(problem)
        for old in Laboratory.all_existing():
            Laboratory.existing(old).close()  # left by an earlier run with KEEP=1
        plan = stack.plan(NODES, observe=[FLOATING], files=web_server_files())
        lab = Laboratory(plan, detached=chosen.keep)
        line = strike(stack, lab, bring_up(stack, lab))
    except (LaboratoryError, StackError, DemoError) as error:
        if lab is not None:
            explain_failure(stack, lab)
        say(f"demo failed: {error}")
        return 1
    finally:
        if lab is not None and not chosen.keep:
            lab.close()
    if chosen.keep:
        python = os.path.relpath(sys.executable) if sys.executable.startswith(os.getcwd()) else sys.executable
        survivor = next(node for node in NODES if lab.is_on(node))
        say("The cluster is left up; the killed node is off. Look around with:")
        say(f"  {python} -m laboratory enter {survivor}            (then crm_mon -1, ip addr, ps ax, less /var/log/boot-0.log)")
        say(f"  {python} -m laboratory list | on NODE | off NODE | cut NODE | heal NODE")
        say(f"  {python} -m laboratory down                (ends it)")
    say(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
