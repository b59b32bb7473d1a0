"""The laboratory's own tests, with plain processes: power, links, cables, the client outside, the observers, cleaning
up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from laboratory import ROOT, Cable, Laboratory, LaboratoryError, Plan
from laboratory.kernel import boottime_ns

pytestmark = pytest.mark.namespaces

FLOATING = "10.77.0.100"
SERVER = """
import http.server, socket, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(socket.gethostname().encode())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 80), Page).serve_forever()
"""
FENCE = f"{ROOT}/agents/fence/fence_laboratory"


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    plan = Plan(
        nodes=("n1", "n2", "n3"),
        cables=(Cable(name="ser0", ends={"n1": "/dev/ttyS0", "n2": "/dev/ttyS0"}),),
        observe=(FLOATING,),
        keep_paths=(ROOT,),
        files={"/etc/quorate-test/name": ("{node}\n", 0o600)},
        sbin={"fence_laboratory": FENCE},
    )
    with Laboratory(plan) as made:
        made.power_on()
        yield made


def test_a_node_is_a_machine_of_its_own(lab: Laboratory) -> None:
    script = "hostname; cd /etc/quorate-test; cat name; stat -c %a name; ls /sys/class/net | xargs; ls /dev/watchdog*"
    assert lab.run("n1", ["sh", "-c", script], check=False).stdout.split("\n")[:4] == [
        "n1",
        "n1",
        "600",
        "eth0 eth1 lo",
    ]
    ids = {lab.run(node, ["cat", "/proc/sys/kernel/random/boot_id"]).stdout for node in lab.plan.nodes}
    assert len(ids) == 3
    lab.run("n1", ["sh", "-c", "echo mine > /tmp/mine; echo kept > /var/lib/kept"])
    assert lab.run("n2", ["ls", "/tmp/mine"], check=False).returncode != 0
    assert not os.path.exists("/tmp/mine")
    assert lab.run("n1", ["ping", "-c1", "-W2", "n2"]).returncode == 0


def test_orphans_are_reaped(lab: Laboratory) -> None:
    lab.run("n1", ["sh", "-c", "(sh -c 'sleep 0.1' &) ; exit 0"])
    time.sleep(0.4)
    assert "Z" not in lab.run("n1", ["ps", "-e", "-o", "stat="]).stdout


def test_power_off_is_total_and_power_on_is_a_new_boot(lab: Laboratory) -> None:
    before = lab.state("n1")["boot_id"]
    lab.run("n1", ["sh", "-c", "echo kept > /var/lib/kept; echo lost > /run/lost"])
    sleeper = lab.popen("n1", ["sh", "-c", "trap '' TERM; sleep 1000"])
    lab.power_off("n1")
    assert sleeper.wait(2) != 0
    assert not lab.is_on("n1")
    with pytest.raises(LaboratoryError, match="off"):
        lab.run("n1", ["true"])
    assert lab.run("n2", ["ping", "-c1", "-W1", "10.77.0.1"], check=False).returncode != 0
    lab.power_on("n1")
    assert lab.state("n1")["boot_id"] != before
    assert lab.run("n1", ["cat", "/var/lib/kept"]).stdout == "kept\n"
    assert lab.run("n1", ["ls", "/run/lost"], check=False).returncode != 0
    assert lab.run("n2", ["ping", "-c2", "-W2", "10.77.0.1"]).returncode == 0


def reaches(lab: Laboratory, source: str, target: str) -> bool:
    return lab.run(source, ["ping", "-c1", "-W1", target], check=False).returncode == 0


def test_links_are_cut_and_healed_one_by_one(lab: Laboratory) -> None:
    lab.cut("n1", "net0")
    assert not reaches(lab, "n1", lab.plan.address("n2", "net0"))
    assert reaches(lab, "n1", lab.plan.address("n2", "net1"))
    assert "DOWN" in lab.run("n1", ["ip", "-br", "link", "show", "eth0"]).stdout
    lab.power_off("n1")
    lab.power_on("n1")  # a cable that was pulled stays pulled
    assert not reaches(lab, "n1", lab.plan.address("n2", "net0"))
    lab.heal("n1")
    assert reaches(lab, "n1", lab.plan.address("n2", "net0"))


def test_a_one_way_cut_lets_the_other_way_through(lab: Laboratory) -> None:
    listen = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 7777)); s.settimeout(1); print(s.recv(9))"
    send = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'heard', ('{}', 7777))"

    def heard(source: str, target: str) -> bool:
        receiver = lab.popen(target, [sys.executable, "-c", listen], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        time.sleep(0.4)
        lab.run(source, [sys.executable, "-c", send.format(lab.plan.address(target))], check=False)
        return b"heard" in receiver.communicate()[0]

    assert reaches(lab, "n1", lab.plan.address("n2"))  # neighbours know each other
    lab.cut_one_way("n1", "net0")
    assert not heard("n1", "n2")
    assert heard("n2", "n1")
    lab.heal_one_way("n1", "net0")
    assert heard("n1", "n2")


def test_the_serial_cable(lab: Laboratory) -> None:
    def sent(text: str) -> bytes:
        reader = lab.popen("n2", ["timeout", "1", "cat", "/dev/ttyS0"], stdout=subprocess.PIPE)
        time.sleep(0.2)
        lab.run("n1", ["sh", "-c", f"printf {text} > /dev/ttyS0"])
        return bytes(reader.communicate()[0])

    assert sent("hello") == b"hello"
    lab.cut_cable("ser0")
    assert sent("lost") == b""
    lab.heal_cable("ser0")
    assert sent("again") == b"again"


def test_processes_are_found_and_signalled_by_name(lab: Laboratory) -> None:
    lab.run("n1", ["sh", "-c", "sleep 4711 >/dev/null 2>&1 &"])
    try:
        assert lab.pids("n2", "sleep 4711") == []
        (pid,) = lab.signal("n1", signal.SIGSTOP, "sleep 4711")
        time.sleep(0.05)
        assert "T" in Path(f"/proc/{pid}/stat").read_text().split(")")[1]
    finally:
        lab.signal("n1", signal.SIGKILL, "sleep 4711")


def fence(lab: Laboratory, node: str, *parameters: str, timeout: float = 10) -> subprocess.CompletedProcess[str]:
    text = "".join(f"{line}\n" for line in parameters)
    return lab.run(node, ["/usr/sbin/fence_laboratory"], check=False, input=text, timeout=timeout)


def test_the_fence_agent_keeps_the_contract(lab: Laboratory) -> None:
    assert '<resource-agent name="fence_laboratory"' in fence(lab, "n1", "action=metadata").stdout
    assert fence(lab, "n1", "action=monitor").returncode == 0
    assert fence(lab, "n1", "action=list").stdout.split() == ["n1,n1", "n2,n2", "n3,n3"]
    assert fence(lab, "n1", "action=status", "port=n3").returncode == 0
    assert fence(lab, "n1", "action=off", "port=nobody").returncode == 1
    assert fence(lab, "n1", "action=dance", "port=n3").returncode == 1
    assert fence(lab, "n1", "action=off", "port=n3").returncode == 0
    assert not lab.is_on("n3")
    assert fence(lab, "n1", "action=status", "port=n3").returncode == 2
    assert fence(lab, "n1", "action=on", "port=n3").returncode == 0
    boot_id = lab.state("n3")["boot_id"]
    assert fence(lab, "n1", "nodename=n3", "action=reboot", "port=n3").returncode == 0
    deadline = boottime_ns() + 5 * 10**9
    while not lab.is_on("n3") and boottime_ns() < deadline:
        time.sleep(0.05)
    assert lab.state("n3")["boot_id"] != boot_id


def test_the_switch_can_fail_hang_and_lie(lab: Laboratory) -> None:
    try:
        lab.switch_mode("fail", "n3")
        assert fence(lab, "n1", "action=off", "port=n3").returncode == 1
        lab.switch_mode("lie", "n3")
        assert fence(lab, "n1", "action=off", "port=n3").returncode == 0
        assert lab.is_on("n3")
        lab.switch_mode("ok")
        lab.switch_reachable("n1", False)
        hung = lab.popen("n1", ["sh", "-c", "echo 'action=monitor' | timeout 0.5 /usr/sbin/fence_laboratory"])
        assert hung.wait(5) == 124
    finally:
        lab.switch_mode("ok")
        lab.switch_reachable("n1", True)


def test_the_client_measures_an_outage_and_the_observers_see_the_holders(lab: Laboratory) -> None:
    for node in ("n1", "n2"):
        lab.popen(node, [sys.executable, "-c", SERVER], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lab.run("n1", ["ip", "addr", "add", f"{FLOATING}/24", "dev", "eth0"])
    began = boottime_ns()
    lab.client_start(FLOATING)
    assert lab.await_answer(began, 5).answer == "n1"
    time.sleep(0.3)

    struck = boottime_ns()
    lab.power_off("n1")
    time.sleep(0.5)
    lab.run("n2", ["ip", "addr", "add", f"{FLOATING}/24", "dev", "eth0"])
    lab.run("n2", ["arping", "-U", "-c1", "-w1", "-I", "eth0", FLOATING], check=False)
    assert lab.await_answer(struck, 5, ["n2"]).answer == "n2"
    outage = lab.outage(struck)
    assert outage is not None
    assert (outage.last_good.answer, outage.first_good.answer) == ("n1", "n2")
    assert 0.45e9 < outage.duration_ns < 2.0e9
    assert lab.double_holders(FLOATING) == []

    lab.power_on("n1")
    lab.run("n1", ["ip", "addr", "add", f"{FLOATING}/24", "dev", "eth0"])
    time.sleep(0.1)
    lab.run("n1", ["ip", "addr", "del", f"{FLOATING}/24", "dev", "eth0"])
    time.sleep(0.1)
    ((first, second),) = lab.double_holders(FLOATING)
    assert {first.node, second.node} == {"n1", "n2"}
    lab.client_stop()


def test_nothing_is_left_when_the_run_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from laboratory import *\n"
        "lab = Laboratory(Plan(nodes=('k1',), keep_paths=(ROOT,)))\n"
        "lab.power_on(); lab.popen('k1', ['sleep', '4712'])\n"
        "print(lab.directory, lab.state('k1')['pid'], flush=True); sys.stdin.read()\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, ROOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert run.stdout is not None
    directory, pid = run.stdout.readline().split()
    assert os.path.exists(f"/proc/{pid}")
    run.kill()
    run.wait()
    deadline = boottime_ns() + 5 * 10**9
    while os.path.exists(f"/proc/{pid}") and boottime_ns() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")
    run.communicate()
    assert os.path.dirname(directory) == "/var/tmp"
    subprocess.run(["rm", "-rf", "--one-file-system", directory], check=True)
