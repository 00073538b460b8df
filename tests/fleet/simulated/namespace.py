# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts over SSH: own network, mount, process and UTS namespaces, /sys, /dev/vfio and boot id of their own, an sshd.

One thread keeps the fleet's network namespace (a bridge with 10.99.0.1); every host is a child of the server that dies
with it. Nothing is named, so nothing can be left over. ssh comes in from outside through ``connect.py``.
"""

from __future__ import annotations

import ctypes
import ipaddress
import itertools
import json
import os
import pathlib
import selectors
import shutil
import subprocess
import sys
import threading
import time
import typing as t

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError

from . import _linux, inventory, uevents
from .control import started
from .driver import DeviceState, HostState, Listener, ParentState, Subject, Synthetic
from .hostinit import PADDING
from .procfs import command_line, handles
from .scenario import Pci, Workload

CLONE_NEWNET = 0x40000000
NETWORK = ipaddress.ip_network("10.99.0.0/16")
PROGRAMS = {"ip": "iproute2", "sshd": "openssh-server", "ssh": "openssh-client", "nsenter": "util-linux"}
START_SECONDS = 60.0
ANSWER_SECONDS = 20.0
PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
HERE = pathlib.Path(__file__).parent
SSHD_CONFIG = """\
Port 22
ListenAddress {address}
HostKey {ssh}/host_key
AuthorizedKeysFile {ssh}/user_key.pub .ssh/authorized_keys
StrictModes no
PidFile none
UsePAM no
UseDNS no
PrintMotd no
PermitRootLogin prohibit-password
PasswordAuthentication no
MaxStartups 200
MaxSessions 100
SetEnv SYSTEMD_DEVICE_VERIFY_SYSFS=0
Subsystem sftp internal-sftp
LogLevel ERROR
"""
SSH_CONFIG = """\
Host *
  User root
  IdentityFile {ssh}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {ssh}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  HostKeyAlias fleet
  KexAlgorithms curve25519-sha256
  ServerAliveInterval 10
  ServerAliveCountMax 2
  LogLevel ERROR
  ProxyCommand nsenter --net={network} {python} -IS {connect} %h %p
  ProxyUseFdpass yes
"""


def missing() -> str | None:
    """One sentence on what keeps this user from running namespace hosts, or None."""
    if os.geteuid() != 0:
        return "Hosts over SSH need root for their namespaces: run as root, or use hosts in place (--reach in_place)."
    for program, package in PROGRAMS.items():
        if shutil.which(program, path=PATH) is None:
            return f"The program {program} is missing: install the package {package}."
    return None


def enter(pid: int) -> list[str]:
    """Command prefix that runs a program inside a host."""
    return ["nsenter", "--target", str(pid), "--all", "--", "env", "SYSTEMD_DEVICE_VERIFY_SYSFS=0"]


class NamespaceHost:
    """One host from the outside."""

    def __init__(self, number: int, directory: pathlib.Path, state: HostState, mount: pathlib.Path) -> None:
        self.name = state.spec.name
        self.state = state
        self.address = str(NETWORK[256 + number])
        self.directory = directory / "hosts" / self.name
        self.directory.mkdir(parents=True)
        self.sysfs = mount / self.name / "sys"
        self.process: subprocess.Popen[bytes] | None = None
        self.seqnums = itertools.count(1000)
        self._numbers = itertools.count(1)
        self._asked: dict[int, threading.Event] = {}
        self.write_boot_id()

    def write_boot_id(self) -> None:
        """In place: the file is bind-mounted in the host."""
        with open(self.directory / "boot_id", "w", encoding="ascii") as file:
            file.write(f"{self.state.boot_id}\n")

    def spawn(self) -> None:
        """Start its process 1."""
        words = ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--"]
        words += [sys.executable, "-IS", str(HERE / "hostinit.py"), PADDING]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PATH": PATH},
            preexec_fn=_linux.die_with_parent,  # noqa: PLW1509 - one prctl, no lock can be held
        )
        self.order(self._config())

    def _config(self) -> dict[str, t.Any]:
        state = self.state
        return {
            "name": self.name,
            "directory": str(self.directory),
            "sysfs": str(self.sysfs),
            "address": self.address,
            "sshd": shutil.which("sshd", path=PATH),
            "cdevs": state.has_cdevs,
            "nodes": [node for item in state.devices.values() for node in _nodes(state, item)],
            "hardware": _hardware(state),
            "workloads": [self.holder(item) for item in state.workloads.values()],
        }

    def holder(self, workload: Workload) -> dict[str, t.Any]:
        """What its process 1 has to know of a process that holds devices."""
        state = self.state
        return {"name": workload.name, "command": command_line(state, workload), "paths": handles(state, workload)}

    def order(self, line: dict[str, t.Any] | None = None) -> None:
        """Send one order (or an empty line) to its process 1."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.write((json.dumps(line) if line else "").encode() + b"\n")
            self.process.stdin.flush()

    def ask(self, do: str, **order: t.Any) -> None:
        """Send an order and wait until it is done."""
        number, done = next(self._numbers), threading.Event()
        self._asked[number] = done
        self.order({"do": do, "number": number, **order})
        if not done.wait(ANSWER_SECONDS):
            raise FleetError(f"{self.name} did not {do} within {ANSWER_SECONDS:.0f} seconds")

    def answered(self, number: int) -> None:
        """An order was done."""
        self._asked.pop(number).set()

    def pid(self) -> int:
        """Its process 1 as seen from outside."""
        outer = self.process.pid if self.process is not None else 0
        return int(pathlib.Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])


class NamespaceHosts:
    """All namespace hosts of a fleet."""

    def __init__(self, directory: pathlib.Path, hosts: dict[str, HostState]) -> None:
        self.directory = directory
        self.ssh = directory / "ssh"
        mount = directory / "mnt"
        self.hosts = {
            name: NamespaceHost(number, directory, state, mount) for number, (name, state) in enumerate(hosts.items())
        }

    def commands(self) -> dict[str, t.Callable[..., t.Any]]:
        """Control commands that reach into the namespaces."""
        return {
            "host_pid": lambda host: self.hosts[host].pid(),
            "reboot": self._reboot,
            "start_workload": self._start,
            "stop_workload": self._stop,
        }

    def _reboot(self, host: str) -> str:
        space = self.hosts[host]
        space.ask("reboot")  # first: nobody sees the devices go, and what udev starts afterwards lives on
        space.state.reboot()
        space.write_boot_id()
        return space.state.boot_id

    def _start(self, host: str, workload: dict[str, t.Any]) -> None:
        space = self.hosts[host]
        space.ask("hold", **space.holder(started(space.state, workload)))

    def _stop(self, host: str, name: str) -> None:
        space = self.hosts[host]
        if name in space.state.workloads:
            space.ask("stop", name=name)
        space.state.stop_workload(name)

    # ------------------------------------------------ start

    def start(self, report: t.Callable[..., None]) -> None:
        """Start them all in the background, report when all of them answer, then follow them.

        This thread lives as long as the server: it keeps the network namespace, and its children die with it.
        """
        threading.Thread(target=self._run, args=(report,), name="hosts", daemon=True).start()

    def _run(self, report: t.Callable[..., None]) -> None:
        try:
            self._keys()
            network = self._network()
            for host in self.hosts.values():
                host.spawn()
            self._connect()
            self._follow(network, report)
        except (OSError, subprocess.SubprocessError) as error:
            report(error=f"The namespace hosts could not start: {error}")
            os._exit(1)

    def _keys(self) -> None:
        self.ssh.mkdir(mode=0o700)
        (self.directory / "cp").mkdir(mode=0o700)
        for name in ("user_key", "host_key"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "simulated-fleet", "-f", str(self.ssh / name)]
            subprocess.run(words, check=True)
        (self.ssh / "known_hosts").write_text("fleet " + (self.ssh / "host_key.pub").read_text())
        for host in self.hosts.values():
            config = SSHD_CONFIG.format(address=host.address, ssh=self.ssh)
            (host.directory / "sshd_config").write_text(config)

    def _network(self) -> str:
        """Move this thread into a network namespace of its own; return the path that names it."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "this user may not make network namespaces")
        path = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
        text = SSH_CONFIG.format(ssh=self.ssh, network=path, python=sys.executable, connect=HERE / "connect.py")
        hosts = "".join(f"Host {host.name}\n  HostName {host.address}\n" for host in self.hosts.values())
        (self.ssh / "config").write_text(hosts + text)
        return path

    def _connect(self) -> None:
        """A bridge in the fleet's network, and a cable to every host."""
        lines = ["link add br0 type bridge", f"addr add {NETWORK[1]}/16 dev br0", "link set br0 up", "link set lo up"]
        for number, host in enumerate(self.hosts.values()):
            pid = host.process.pid if host.process is not None else 0
            _until_unshared(pid)
            lines.append(f"link add h{number} type veth peer name eth0 netns {pid}")
            lines.append(f"link set h{number} master br0 up")
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines).encode() + b"\n", check=True, env={"PATH": PATH})
        for host in self.hosts.values():
            host.order()
            host.state.listener = _listener(host)

    def _follow(self, network: str, report: t.Callable[..., None]) -> None:
        selector = selectors.DefaultSelector()
        for host in self.hosts.values():
            if host.process is not None and host.process.stdout is not None:
                selector.register(host.process.stdout, selectors.EVENT_READ, host)
        waiting = set(self.hosts)
        while selector.get_map():
            events = selector.select(START_SECONDS if waiting else None)
            if waiting and not events:
                raise OSError(f"no answer from {', '.join(sorted(waiting))}")
            for key, _mask in events:
                line = key.fileobj.readline()  # type: ignore[union-attr]
                if not line:
                    selector.unregister(key.fileobj)
                    continue
                if self._heard(key.data, json.loads(line), waiting) and not waiting:
                    self._write_inventory()
                    report(ready=True, network=network)

    @staticmethod
    def _heard(host: NamespaceHost, line: dict[str, t.Any], waiting: set[str]) -> bool:
        if "error" in line:
            raise OSError(line["error"])
        if "done" in line:
            host.answered(line["done"])
        if "ended" in line:
            with host.state.lock:
                host.state.workloads.pop(line["ended"], None)
                host.state.generation += 1
        if "ready" in line:
            waiting.discard(host.name)
            return True
        return False

    def _write_inventory(self) -> None:
        variables = {
            "ansible_connection": "ssh",
            "ansible_user": "root",
            "ansible_python_interpreter": sys.executable,
            "ansible_remote_tmp": "/run/ansible",
            "ansible_pipelining": True,
            "ansible_ssh_common_args": f"-F {self.ssh / 'config'}",
            "ansible_control_path": f"{self.directory}/cp/%%h-%%r",
        }
        hosts = {host.name: {"ansible_host": host.address} for host in self.hosts.values()}
        inventory.write(self.directory, hosts, variables)


def _listener(host: NamespaceHost) -> Listener:
    """Makes and removes device nodes and says uevents inside the host, in the order in which things happen."""

    def tell(happening: str, subject: Subject, synthetic: Synthetic | None) -> None:
        parent: ParentState | None
        if isinstance(subject, DeviceState):
            parent = subject.parent
            if happening in {"bind", "unbind"} and synthetic is None:
                host.order({"do": "nodes", "nodes": _nodes(host.state, subject), "there": happening == "bind"})
        else:
            parent = subject
        for event in uevents.uevents(host.state, happening, subject, synthetic):
            host.order(_uevent(event, next(host.seqnums), parent.delays.udev if parent is not None else 0.0))

    return tell


def _nodes(state: HostState, device: DeviceState) -> list[tuple[str, int]]:
    """Path and minor number of what devtmpfs shows of a device."""
    nodes = [(f"/dev/vfio/{device.group}", device.group)]
    if state.has_cdevs:
        nodes.append((f"/dev/vfio/devices/{state.cdev(device)}", 256 + device.group))
    return nodes


def _uevent(event: uevents.Uevent, seqnum: int, delay: float) -> dict[str, t.Any]:
    registered = event.variables.get("MDEV_STATE") == "registered"
    return {
        "do": "uevent",
        "kernel": uevents.kernel_message(event).decode(),
        "udev": uevents.udev_message(event, seqnum, time.monotonic_ns() // 1000).decode("latin-1"),
        "delay": delay,
        "entry": uevents.database_name(event),
        "gone": event.action == "remove",
        "registered": event.devpath.rpartition("/")[2] if registered else None,
    }


def _until_unshared(pid: int) -> None:
    """Wait until the program unshare has made its namespaces."""
    own = os.readlink("/proc/thread-self/ns/net")
    end = time.monotonic() + START_SECONDS
    while os.readlink(f"/proc/{pid}/ns/net") == own:
        if time.monotonic() > end:
            raise OSError("unshare made no network namespace")
        time.sleep(0.002)


def _hardware(state: HostState) -> dict[str, dict[str, str]]:
    """udev database entries: ``+pci:<address>`` -> properties."""
    found: dict[str, dict[str, str]] = {}
    items: list[tuple[str, Pci]] = [(item.address, item.pci) for item in state.spec.parents if item.kind == "pci"]
    for address, pci in items + [(item.address, item.pci) for item in state.spec.vfs]:
        names = {"ID_VENDOR_FROM_DATABASE": pci.hardware_vendor, "ID_MODEL_FROM_DATABASE": pci.hardware_model}
        found[f"+pci:{address}"] = {key: value for key, value in names.items() if value is not None}
    found.update({f"+mdev:{item.id}": {} for item in state.devices.values() if item.parent is not None})
    return found
