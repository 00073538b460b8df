# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Process 1 of a namespace host, run as a script with the standard library only.

It is started inside fresh network, mount, process and UTS namespaces, makes the host look like one, starts sshd and the
processes that hold devices, then follows orders (JSON lines on stdin) and reports (JSON lines on stdout). It is the
host's udevd, too. When the fleet's server ends, stdin closes and the kernel kills everything that is in here.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import json
import os
import pathlib
import select
import signal
import socket
import stat
import struct
import subprocess
import time
import typing as t

MS_BIND, MS_REC = 4096, 16384
PR_SET_NAME, PR_SET_MM, PR_SET_MM_ARG_END = 15, 35, 9
VFIO_MAJOR = 511
NETLINK_KOBJECT_UEVENT = 15
KERNEL, UDEV_GROUP = (0, 0), (0, 2)
NETLINK_HEADER = struct.Struct("=IHHII")
NLMSG_MIN_TYPE, NLM_F_REQUEST = 16, 1
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
PADDING = "x" * 8192
"""Room in this process's command line; a holder writes its own over its copy of it."""

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str | pathlib.Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2); raise OSError."""
    words = (source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())
    if _libc.mount(*words) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} when mounting {source or kind} on {target}")


class Udev:
    """Says what the kernel would say, then, as udevd, keeps the database, tells its listeners and runs a rule."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT)
        self.socket.bind((0, 0))
        self.late: collections.deque[tuple[float, dict[str, t.Any]]] = collections.deque()

    def take(self, order: dict[str, t.Any]) -> None:
        """One uevent. A message to the kernel goes to the kernel's listeners of this network namespace."""
        message = order["kernel"].encode()
        header = NETLINK_HEADER.pack(NETLINK_HEADER.size + len(message), NLMSG_MIN_TYPE, NLM_F_REQUEST, 0, 0)
        self.socket.sendto(header + message, KERNEL)
        self.late.append((time.monotonic() + order["delay"], order))

    def work(self) -> float | None:
        """Handle what is due, one after the other; return the seconds until the next."""
        while self.late:
            due, order = self.late[0]
            wait = due - time.monotonic()
            if wait > 0:
                return wait
            self.late.popleft()
            self._handle(order)
        return None

    def _handle(self, order: dict[str, t.Any]) -> None:
        if order["entry"] is not None:
            entry = pathlib.Path("/run/udev/data", order["entry"])
            if order["gone"]:
                entry.unlink(missing_ok=True)
            else:
                entry.write_text("I:1000000\n")
        with contextlib.suppress(ConnectionRefusedError):  # nobody listens
            self.socket.sendto(order["udev"].encode("latin-1"), UDEV_GROUP)
        parent = order["registered"]
        if parent is not None and pathlib.Path("/etc/mdevctl.d", parent).is_dir():
            # 60-mdevctl.rules of the package mdevctl: what is defined with --auto comes back.
            with contextlib.suppress(FileNotFoundError):
                subprocess.Popen(["mdevctl", "start-parent-mdevs", parent], stdin=subprocess.DEVNULL, stdout=2)


class Host:
    """One host from the inside."""

    def __init__(self, config: dict[str, t.Any]) -> None:
        self.config = config
        self.directory = pathlib.Path(config["directory"])
        self.holders: dict[int, str] = {}
        self.udev: Udev | None = None
        self.sshd: subprocess.Popen[bytes] | None = None

    # ------------------------------------------------ look like a host

    def set_up(self) -> None:
        """Everything before sshd."""
        socket.sethostname(self.config["name"])
        for path in ("/etc", "/var/lib"):
            self._private(path)
        mount("proc", "/proc", "proc")
        mount(str(self.directory / "boot_id"), "/proc/sys/kernel/random/boot_id", flags=MS_BIND)
        mount(self.config["sysfs"], "/sys", flags=MS_BIND)
        self._dev()
        mount("tmpfs", "/run", "tmpfs", options="mode=0755")
        for name in ("sshd", "lock", "udev/data", "ansible"):
            pathlib.Path("/run", name).mkdir(parents=True)
        self._udev_database()
        self._unlock_root()
        self._network()
        self.udev = Udev()

    def _private(self, path: str) -> None:
        """What a playbook changes below ``path`` stays in this host and ends with it."""
        layer = self.directory / path.strip("/").replace("/", "-")
        layer.mkdir()
        mount("tmpfs", layer, "tmpfs")
        upper, work = layer / "upper", layer / "work"
        upper.mkdir()
        work.mkdir()
        mount("overlay", path, "overlay", options=f"lowerdir={path},upperdir={upper},workdir={work}")

    def _dev(self) -> None:
        new = self.directory / "dev"
        new.mkdir()
        mount("tmpfs", new, "tmpfs", options="mode=0755")
        for name in DEVICES:
            (new / name).touch()
            mount(f"/dev/{name}", new / name, flags=MS_BIND)
        for name in ("pts", "shm", "vfio"):
            (new / name).mkdir()
        mount("devpts", new / "pts", "devpts", options="newinstance,ptmxmode=0666,mode=0620")
        mount("tmpfs", new / "shm", "tmpfs")
        (new / "ptmx").symlink_to("pts/ptmx")
        for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            (new / name).symlink_to(f"/proc/self/fd{target}")
        mount(str(new), "/dev", flags=MS_BIND | MS_REC)
        os.mknod("/dev/vfio/vfio", 0o666 | stat.S_IFCHR, os.makedev(10, 196))
        os.chmod("/dev/vfio/vfio", 0o666)
        if self.config["cdevs"]:
            os.mkdir("/dev/vfio/devices")
            os.mknod("/dev/iommu", 0o666 | stat.S_IFCHR, os.makedev(10, 125))
        self.nodes(self.config["nodes"], there=True)

    def nodes(self, nodes: list[tuple[str, int]], *, there: bool) -> None:
        """Make or remove the nodes of a device, as devtmpfs does."""
        for path, minor in nodes:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            if there:
                os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(VFIO_MAJOR, minor))

    def _udev_database(self) -> None:
        """Hardware names: what udev's hwdb rule would have stored; and a sign that udevd runs, for libudev."""
        pathlib.Path("/run/udev/control").touch()
        for ident, properties in self.config["hardware"].items():
            lines = ["I:1000000"] + [f"E:{key}={value}" for key, value in properties.items()]
            pathlib.Path("/run/udev/data", ident).write_text("\n".join(lines) + "\n")

    def _unlock_root(self) -> None:
        """sshd refuses keys for an account whose password begins with ``!``; /etc is this host's own by now."""
        shadow = pathlib.Path("/etc/shadow")
        with contextlib.suppress(OSError):
            lines = [line.split(":") for line in shadow.read_text().splitlines()]
            lines = [[line[0], "*", *line[2:]] if line[0] == "root" else line for line in lines]
            shadow.write_text("".join(":".join(line) + "\n" for line in lines))

    def _network(self) -> None:
        batch = f"link set lo up\nlink set eth0 up\naddr add {self.config['address']}/16 dev eth0\n"
        subprocess.run(["ip", "-batch", "-"], input=batch.encode(), check=True, stdout=subprocess.DEVNULL)

    # ------------------------------------------------ processes

    def start_sshd(self) -> None:
        """Start it and wait until it listens."""
        command = [self.config["sshd"], "-D", "-f", str(self.directory / "sshd_config")]
        environment = {"PATH": os.environ["PATH"]}
        self.sshd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, env=environment)
        end = time.monotonic() + 20
        while ":0016 00000000:0000 0A" not in pathlib.Path("/proc/net/tcp").read_text():
            if self.sshd.poll() is not None or time.monotonic() > end:
                raise OSError(0, "sshd does not listen")
            time.sleep(0.005)

    def hold(self, name: str, command: list[str], paths: list[str]) -> None:
        """Start a process that holds ``paths`` open under another command line, in place of one of that name."""
        self.stop(name)
        waiter, ready = os.pipe()
        pid = os.fork()
        if pid:
            self.holders[pid] = name
            os.close(ready)
            os.read(waiter, 1)  # ends when the process holds its files
            os.close(waiter)
            return
        try:
            signal.set_wakeup_fd(-1)
            os.dup2(ready, 63)
            for number in range(3):
                os.dup2(os.open("/dev/null", os.O_RDWR), number)
            os.closerange(3, 63)
            for path in paths:
                # O_PATH: no driver stands behind the node, and /proc/<pid>/fd shows the same.
                os.open(path, os.O_PATH)
            _rename(command)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.close(63)
            signal.pause()
        finally:
            os._exit(0)

    def stop(self, name: str) -> None:
        """End a holder; back when it is dead."""
        for pid in [pid for pid, its in self.holders.items() if its == name]:
            del self.holders[pid]
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def reboot(self) -> None:
        """Nothing but sshd lives on."""
        keep = {os.getpid(), self.sshd.pid if self.sshd is not None else 0}
        for item in pathlib.Path("/proc").iterdir():
            if item.name.isdigit() and int(item.name) not in keep:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(item.name), signal.SIGKILL)

    def obey(self, order: dict[str, t.Any]) -> None:
        """One order of the server."""
        if order["do"] == "nodes":
            self.nodes(order["nodes"], there=order["there"])
        elif order["do"] == "uevent" and self.udev is not None:
            self.udev.take(order)
            self.udev.work()
        elif order["do"] == "hold":
            self.hold(order["name"], order["command"], order["paths"])
        elif order["do"] == "stop":
            self.stop(order["name"])
        elif order["do"] == "reboot":
            self.reboot()
        if "number" in order:
            say(done=order["number"])

    def reap(self) -> None:
        """Bury the dead; tell the server when a holder is among them."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid in self.holders:
                    say(ended=self.holders.pop(pid))


def _rename(command: list[str]) -> None:
    """Write another command line over this process's copy of its own."""
    data = "".join(f"{word}\0" for word in command).encode()[: len(PADDING)]
    fields = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(data.ljust(end - start, b"\0"))
    _libc.prctl(PR_SET_MM, PR_SET_MM_ARG_END, ctypes.c_ulong(start + len(data)), 0, 0)
    _libc.prctl(PR_SET_NAME, command[0].rsplit("/", 1)[-1].encode()[:15], 0, 0, 0)


def say(**line: t.Any) -> None:
    """Report to the server."""
    os.write(1, json.dumps(line).encode() + b"\n")


class Orders:
    """Lines from stdin. A buffered file would keep lines back that select() then does not see."""

    def __init__(self) -> None:
        self.rest = b""
        self.lines: list[bytes] = []

    def take(self) -> bytes:
        """The next line, waiting for it; raise EOFError when the server is gone."""
        while not self.lines:
            data = os.read(0, 65536)
            if not data:
                raise EOFError
            *self.lines, self.rest = (self.rest + data).split(b"\n")
        return self.lines.pop(0)


def main() -> None:
    """Set up, then obey until stdin closes."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    orders = Orders()
    host = Host(json.loads(orders.take()))
    signal.set_wakeup_fd(waker)
    try:
        orders.take()  # an empty line: the network is there now
        host.set_up()
        for workload in host.config["workloads"]:
            host.hold(workload["name"], workload["command"], workload["paths"])
        host.start_sshd()
    except (OSError, subprocess.SubprocessError) as error:
        say(error=f"{host.config['name']}: {error}")
        return
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    _rename(["/sbin/init"])  # only now: the holders needed the room
    say(ready=True)
    while True:
        while orders.lines:
            host.obey(json.loads(orders.take()))
        timeout = host.udev.work() if host.udev is not None else None
        readable = select.select([0, wake], [], [], timeout)[0]
        if wake in readable:
            os.read(wake, 4096)
            host.reap()
        if 0 in readable:
            host.obey(json.loads(orders.take()))


if __name__ == "__main__":
    with contextlib.suppress(EOFError):
        main()
