"""Process 1 of a node: makes the node's own world, starts what the node boots with, and reaps orphans until it is
killed.

Started by the keeper as `node_init.py SPEC` (JSON, see `machine.Machine.spec`). The first process makes the
namespaces and waits; its child is the node. Standard output: `child PID` (as the keeper counts), `built PID` (as the
host counts) when the world is made; on `go` the interfaces, which the keeper has moved in, are configured; then
`ready`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from laboratory import kernel  # noqa: E402

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def main() -> int:
    with open(sys.argv[1]) as file:
        spec = json.load(file)
    kernel.die_with_parent()
    kernel.unshare(
        kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWNET | kernel.CLONE_NEWPID
    )
    told, tell = os.pipe()
    child = os.fork()
    if child:
        print(f"child {child}", flush=True)
        os.close(tell)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) & 0xFF
    kernel.die_with_parent()
    os.close(tell)
    os.read(told, 1)  # the parent's line is out
    os.close(told)
    host_pid = os.readlink("/proc/self")  # still the host's proc: the number by which others know this process
    try:
        build_world(spec)
    except OSError as error:
        print(f"failed {error}", flush=True)
        return 1
    # The keeper moves the interfaces in on "built" and says "go" when they are there.
    print(f"built {host_pid}", flush=True)
    if sys.stdin.readline().strip() != "go":
        return 1
    subprocess.run(["ip", "-batch", "-"], input="\n".join(spec["ip"]), text=True, check=True)
    serve(spec)
    return 0


def build_world(spec: dict[str, Any]) -> None:
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    open_paths = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in spec["keep_paths"]]
    open_files = {name: os.open(path, os.O_PATH | os.O_CLOEXEC) for name, path in spec["handles"].items()}
    state = spec["state"]
    for place, directory in (("/etc", "etc"), ("/var/lib", "lib"), ("/var/log", "log")):
        kernel.bind(f"{state}/{directory}", place)
    for place, mode in (("/tmp", "1777"), ("/var/tmp", "1777")):
        kernel.mount("tmpfs", place, "tmpfs", data=f"mode={mode}")
    mount_run()
    for path, fd in open_paths:
        if not os.path.exists(path):
            os.makedirs(path)
            kernel.bind(f"/proc/self/fd/{fd}", path)
    mount_sbin(spec["sbin"])
    mount_dev(spec["devices"], open_files)
    os.makedirs("/run/laboratory")
    for name in ("power", "observations"):
        target = f"/run/laboratory/{name}"
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        kernel.bind(f"/proc/self/fd/{open_files[name]}", target)
    kernel.mount("proc", "/proc", "proc")
    kernel.mount("sysfs", "/sys", "sysfs")
    with open("/run/laboratory/boot_id", "w") as file:
        file.write(spec["boot_id"] + "\n")
    kernel.bind("/run/laboratory/boot_id", "/proc/sys/kernel/random/boot_id")
    import socket

    socket.sethostname(spec["node"])
    for key in [key for key in os.environ if key.startswith(("PIP_", "OCF_", "PYTEST"))]:
        del os.environ[key]
    os.environ.update(spec["environment"])
    os.chdir("/")


def mount_run() -> None:
    """A fresh /run with the host's directories (packages expect theirs), owners and modes, and nothing in them."""
    skeleton = [
        (path, os.stat(path))
        for path in (os.path.join("/run", name) for name in sorted(os.listdir("/run")))
        if os.path.isdir(path) and not os.path.islink(path)
    ]
    kernel.mount("tmpfs", "/run", "tmpfs", data="mode=755")
    for path, status in skeleton:
        os.mkdir(path, status.st_mode & 0o7777)
        os.chown(path, status.st_uid, status.st_gid)
    os.makedirs("/run/lock", mode=0o1777, exist_ok=True)


def mount_sbin(added: dict[str, str]) -> None:
    """/usr/sbin as links to the real one, so that programs can be added for the nodes alone."""
    if not added:
        return
    os.makedirs("/run/laboratory-sbin")
    kernel.bind("/usr/sbin", "/run/laboratory-sbin")
    names = os.listdir("/usr/sbin")
    kernel.mount("tmpfs", "/usr/sbin", "tmpfs", data="mode=755")
    for name in names:
        if name not in added:
            os.symlink(f"/run/laboratory-sbin/{name}", f"/usr/sbin/{name}")
    for name, path in added.items():
        os.symlink(path, f"/usr/sbin/{name}")


def mount_dev(devices: dict[str, str], open_files: dict[str, int]) -> None:
    """A private /dev: no watchdog, no disk of the host; shared memory and terminals of its own; serial devices bound
    in."""
    os.makedirs("/run/dev")
    kernel.mount("tmpfs", "/run/dev", "tmpfs", data="mode=755")
    for name in DEVICES:
        status = os.stat(f"/dev/{name}")
        os.mknod(f"/run/dev/{name}", status.st_mode, status.st_rdev)
        os.chmod(f"/run/dev/{name}", 0o666)
    for path, handle in devices.items():
        target = "/run" + path
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        kernel.bind(f"/proc/self/fd/{open_files[handle]}", target)
    for name in ("pts", "shm"):
        os.mkdir(f"/run/dev/{name}")
    kernel.mount("devpts", "/run/dev/pts", "devpts", data="newinstance,ptmxmode=0666,mode=620")
    kernel.mount("tmpfs", "/run/dev/shm", "tmpfs", data="mode=1777")
    os.symlink("pts/ptmx", "/run/dev/ptmx")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"/run/dev/{name}")
    os.symlink("/proc/self/fd", "/run/dev/fd")
    kernel.bind("/run/dev", "/dev")


def serve(spec: dict[str, Any]) -> None:
    """Start what boots, then reap for ever. Killed from outside: to the node that is a power cut."""
    here = os.path.dirname(os.path.abspath(__file__))
    if spec["observe"]:
        observer = [sys.executable, "-I", "-S", f"{here}/observer.py", "/run/laboratory/observations", *spec["observe"]]
        subprocess.Popen(observer, stdin=subprocess.DEVNULL)
    for number, argv in enumerate(spec["boot"]):
        with open(f"/var/log/boot-{number}.log", "ab") as log:
            subprocess.Popen(
                [part.replace("{node}", spec["node"]) for part in argv],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
    print("ready", flush=True)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.02)  # no child now; an orphan may come


if __name__ == "__main__":
    sys.exit(main())
