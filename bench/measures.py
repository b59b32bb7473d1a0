"""The measurements. Each takes a stack and a number of repetitions and gives figures; each makes its own laboratory."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from bench.figures import Figure
from laboratory import ROOT, Laboratory
from laboratory.kernel import boottime_ns
from laboratory.stacks import FLOATING, Configuration, QuorateStack, Stack, StackError, web_server_files
from laboratory.stacks.configuration import WEB_RESOURCES, address_on_servers, dummies, web

INSIDE = f"{ROOT}/bench/inside.py"
THREE = ("n1", "n2", "n3")
TWO = ("n1", "n2")
# Words of the command lines of the long-lived processes, for memory and processor time (agents come and go).
IDLE_SECONDS = 60

Measure = Callable[[Stack, int], list[Figure]]


@contextlib.contextmanager
def cluster(
    stack: Stack, nodes: Sequence[str], configuration: Configuration | None, *, two_node: bool = False
) -> Iterator[Laboratory]:
    plan = stack.plan(nodes, observe=[FLOATING], files=web_server_files(), two_node=two_node)
    with Laboratory(plan) as lab:
        lab.power_on()
        stack.all_online(lab)
        if configuration is not None:
            stack.configure(lab, nodes[0], configuration)
        yield lab


def serving(stack: Stack, lab: Laboratory) -> str:
    """The node whose page the client reads, once all runs and the client has been served for a second."""
    stack.runs(lab, next(node for node in lab.plan.nodes if lab.is_on(node)), ["power", *WEB_RESOURCES])
    answer = lab.await_answer(boottime_ns(), 30).answer
    time.sleep(1)
    assert answer is not None
    return answer


def outage_seconds(lab: Laboratory, since: int) -> float:
    outage = lab.outage(since)
    if outage is None:
        raise StackError("the client's records show no outage")
    if doubles := lab.double_holders(FLOATING):
        raise StackError(f"the address had two holders: {doubles}")
    return outage.duration_ns / 1e9


def killed_node(stack: Stack, repeat: int) -> list[Figure]:
    outages, detections = [], []
    with cluster(stack, THREE, web(THREE)) as lab:
        lab.client_start(FLOATING)
        for _ in range(repeat):
            victim = serving(stack, lab)
            struck = boottime_ns()
            lab.power_off(victim)
            lab.await_answer(struck, 60, [node for node in THREE if node != victim])
            time.sleep(0.2)
            outages.append(outage_seconds(lab, struck))
            orders = [each["t"] for each in lab.events() if each["event"] == "switch-order" and each["t"] > struck]
            detections.append((min(orders) - struck) / 1e9)
            lab.power_on(victim)
            stack.all_online(lab)
    return [
        Figure(
            name="outage, active node killed (3 nodes, fencing, token 1000 ms)", unit="s", samples=tuple(outages), bar=2.2, peer="3.7",
            method="client outside, a request every 5 ms: last answer before to first answer after the power cut",
        ),
        Figure(
            name="detection, killed node", unit="s", samples=tuple(detections),
            method="power cut to the arrival of the fencing order at the power switch",
        ),
    ]  # fmt: skip


def cut_links(stack: Stack, repeat: int) -> list[Figure]:
    outages = []
    with cluster(stack, TWO, web(TWO), two_node=True) as lab:
        lab.client_start(FLOATING)
        for _ in range(repeat):
            victim = serving(stack, lab)
            (other,) = [node for node in TWO if node != victim]
            struck = boottime_ns()
            lab.switch_reachable(victim, False)
            lab.cut(victim)
            lab.await_answer(struck, 60, [other])
            time.sleep(0.2)
            outages.append(outage_seconds(lab, struck))
            lab.power_off(victim)
            lab.heal(victim)
            lab.switch_reachable(victim, True)
            lab.power_on(victim)
            stack.all_online(lab)
    return [
        Figure(
            name="outage, all links of the active node cut (2 nodes, fencing, token 1000 ms)", unit="s", samples=tuple(outages),
            bar=2.0, peer="2.3 without fencing",
            method="every cable of the serving node pulled, the one to the power switch too; client as above",
        )
    ]  # fmt: skip


def planned_move(stack: Stack, repeat: int) -> list[Figure]:
    outages = []
    with cluster(stack, THREE, address_on_servers(THREE)) as lab:
        lab.client_start(FLOATING)
        for _ in range(repeat):
            source = serving(stack, lab)
            target = THREE[(THREE.index(source) + 1) % 3]
            began = boottime_ns()
            lab.run(source, ["crm_resource", "--resource", "address", "--move", "--node", target])
            lab.await_answer(began, 30, [target])
            time.sleep(0.2)
            outages.append(outage_seconds(lab, began))
            lab.run(source, ["crm_resource", "--resource", "address", "--clear"])
            time.sleep(1)
    return [
        Figure(
            name="outage, planned move (3 nodes)", unit="s", samples=tuple(outages), bar=0.10, peer="0.09", digits=3,
            method="a web server on every node; crm_resource --move of the floating address to another; client as above",
        )
    ]  # fmt: skip


def cib_writes(stack: Stack, repeat: int) -> list[Figure]:
    latencies, rates, library = [], [], []
    with cluster(stack, THREE, dummies(THREE, 3)) as lab:
        stack.runs(lab, "n1", ["d1", "d2", "d3"])
        count = 30
        for _ in range(repeat):
            done = lab.run("n1", [sys.executable, "-IS", INSIDE, "writes", str(count)])
            latencies.append(statistics.median(json.loads(done.stdout)) / 1e6)
            began = boottime_ns()
            writers = [
                lab.popen("n1", [sys.executable, "-IS", INSIDE, "writes", str(count)], stdout=subprocess.DEVNULL)
                for _ in range(4)
            ]
            if any(writer.wait(120) for writer in writers):
                raise StackError("a writer failed")
            rates.append(4 * count / ((boottime_ns() - began) / 1e9))
            if isinstance(stack, QuorateStack):
                argv = [sys.executable, f"{ROOT}/bench/writers.py", "3"]
                connected = [lab.popen("n1", argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]
                library.append(sum(json.loads(writer.communicate()[0]) for writer in connected) / 3)
    figures = [
        Figure(
            name="CIB write, cibadmin --modify", unit="ms", samples=tuple(latencies), bar=30, peer="36", digits=1,
            method=f"three nodes on disks; median of {count} whole processes, begun one after the other on one node",
        ),
        Figure(
            name="CIB writes a second, four cibadmin loops", unit="/s", samples=tuple(rates), higher_is_better=True, digits=0,
            bar=None if library else 300, peer="33",
            method=f"four loops of {count} whole cibadmin processes each, on one node of three with two cores in all",
        ),
    ]  # fmt: skip
    if library:
        figures.append(
            Figure(
                name="CIB writes a second, four writers with open connections", unit="/s", samples=tuple(library),
                higher_is_better=True, bar=300, peer="33, by cibadmin", digits=0,
                method="four processes, each one modification after the other through the commands' own library, for 3 s",
            )
        )  # fmt: skip
    return figures


def attribute(stack: Stack, repeat: int) -> list[Figure]:
    samples = []
    with cluster(stack, THREE, dummies(THREE, 1)) as lab:
        stack.runs(lab, "n1", ["d1"])
        for number in range(5 * repeat):
            reader = lab.popen(
                "n2",
                [sys.executable, "-IS", INSIDE, "await", "bench", "n1", f"v{number}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert reader.stdout is not None
            reader.stdout.readline()
            time.sleep(0.2)
            began = json.loads(lab.run("n1", [sys.executable, "-IS", INSIDE, "update", "bench", f"v{number}"]).stdout)
            output, _ = reader.communicate(timeout=30)
            if reader.returncode:
                raise StackError("the attribute was not readable on the other node")
            samples.append((json.loads(output) - began) / 1e6)
    return [
        Figure(
            name="attribute set on one node, readable on another", unit="ms", samples=tuple(samples), bar=40, peer="84", digits=1,
            method="begin of attrd_updater -U on n1 to the end of the first attrd_updater -Q on n2 that shows it (queries in a loop)",
        )
    ]  # fmt: skip


def usage(lab: Laboratory, node: str) -> dict[int, tuple[float, int]]:
    """Process -> (processor seconds of its own, proportional kilobytes), the laboratory's own processes left out."""
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    for pid in lab.pids(node):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                if "/laboratory/" in file.read():
                    continue
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            with open(f"/proc/{pid}/smaps_rollup") as file:
                memory = next((int(line.split()[1]) for line in file if line.startswith("Pss:")), 0)
        except OSError:
            continue  # an agent that has ended
        found[pid] = ((int(fields[11]) + int(fields[12])) / tick, memory)
    return found


def idle(stack: Stack, repeat: int) -> list[Figure]:
    configuration = dummies(THREE, 30)
    here = tuple(f'<rsc_location id="here-d{n}" rsc="d{n}" node="n1" score="INFINITY"/>' for n in range(1, 31))
    configuration = Configuration(
        properties=configuration.properties,
        resources=configuration.resources,
        constraints=here,
        defaults=configuration.defaults,
    )
    with cluster(stack, THREE, configuration) as lab:
        stack.runs(lab, "n1", [f"d{n}" for n in range(1, 31)])
        time.sleep(15)
        before, began = usage(lab, "n1"), boottime_ns()
        time.sleep(IDLE_SECONDS)
        after, seconds = usage(lab, "n1"), (boottime_ns() - began) / 1e9
    lasting = [pid for pid in after if pid in before]
    return [
        Figure(
            name="idle node with 30 resources monitored every 10 s: processor", unit="% of a core", bar=3, peer="2.6",
            samples=(100 * sum(after[pid][0] - before[pid][0] for pid in lasting) / seconds,),
            method=f"user and system time of the stack's lasting processes over {IDLE_SECONDS} s, agents left out",
        ),
        Figure(
            name="idle node with 30 resources monitored every 10 s: memory", unit="MB", bar=120, peer="137 to 165", digits=0,
            samples=(sum(after[pid][1] for pid in lasting) / 1000,),
            method=f"proportional set size of the same {len(lasting)} processes",
        ),
    ]  # fmt: skip


def dummies_running(lab: Laboratory) -> int:
    """Dummies by their state files, looked at from outside, so that asking costs the nodes nothing."""
    found: set[str] = set()
    for node in lab.plan.nodes:
        pid = lab.state(node)["pid"]
        try:
            found.update(
                name for name in os.listdir(f"/proc/{pid}/root/run/resource-agents") if name.startswith("Dummy-d")
            )
        except OSError:
            continue
    return len(found)


def cold_start(stack: Stack, repeat: int) -> list[Figure]:
    samples = []
    with cluster(stack, THREE, dummies(THREE, 32)) as lab:
        stack.runs(lab, "n1", [f"d{n}" for n in range(1, 33)])
        for _ in range(repeat):
            time.sleep(2)
            for node in THREE:
                lab.power_off(node)
            began = boottime_ns()
            lab.power_on()
            stack.until("32 resources running", lambda: dummies_running(lab) == 32, timeout=120, step=0.02)
            samples.append((boottime_ns() - began) / 1e9)
            stack.all_online(lab)
            stack.runs(lab, "n1", [f"d{n}" for n in range(1, 33)])
    return [
        Figure(
            name="cold start, three nodes until 32 resources run", unit="s", samples=tuple(samples), bar=6, peer="10.6 to 28",
            method="power on of all three nodes to the 32nd Dummy's state file (looked for from outside); defaults otherwise",
        )
    ]  # fmt: skip


def messages(stack: Stack, repeat: int) -> list[Figure]:
    quorate = isinstance(stack, QuorateStack)
    program = "flood.py" if quorate else "cpg.py"
    plan = stack.plan(THREE)
    engine = (f"{ROOT}/.venv/bin/python", "-m", "quorate.host.engine", "--config", "/etc/quorate/quorate.toml")
    if quorate:
        boot: tuple[tuple[str, ...], ...] = (
            ("sh", "-c", "mkdir -p /run/quorate /var/lib/quorate; exec " + " ".join(engine)),
        )
    else:
        boot = (("corosync", "-f"),)
    samples = []
    with Laboratory(
        type(plan)(**{name: getattr(plan, name) for name in plan.__slots__ if name != "boot"}, boot=boot)
    ) as lab:
        lab.power_on()
        time.sleep(2)
        for _ in range(repeat):
            argv = [sys.executable, f"{ROOT}/bench/{program}", "3", "4"]
            floods = [lab.popen(node, argv, stdout=subprocess.PIPE, text=True) for node in THREE]
            answers = [flood.communicate(timeout=60)[0] for flood in floods]
            if any(flood.returncode for flood in floods):
                raise StackError("a flooding process failed")
            samples.append(min(json.loads(answer)["rate"] for answer in answers))
    return [
        Figure(
            name="ordered messages of 200 bytes, three nodes", unit="/s", samples=tuple(samples), bar=2000, higher_is_better=True,
            digits=0, method="group layer alone; each node keeps 64 under way; deliveries a second at the slowest node over 4 s",
        )
    ]  # fmt: skip


MEASURES: dict[str, Measure] = {
    "killed": killed_node,
    "cut": cut_links,
    "move": planned_move,
    "cib": cib_writes,
    "attribute": attribute,
    "idle": idle,
    "cold": cold_start,
    "messages": messages,
}
