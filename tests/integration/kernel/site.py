# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who runs the shipped playbooks on guests, and looks at their kernels by plain shell."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import typing as t

from ansible_collections.vfio.migration.tests.fleet.kernel.fleet import KernelFleet, Node

ROOT = pathlib.Path(__file__).parents[3]
TREE = ROOT / ".cache" / "tree"

EDU, TESTDEV = "0000:00:10.0", "0000:00:11.0"
SHARED, EXCLUSIVE, COUNTED = "mdev_lab.0", "mdev_lab.1", "mdev_lab.2"
A1, A2, A4 = "mdev_lab-A1", "mdev_lab-A2", "mdev_lab-A4"
HV1, HV2 = "hv1", "hv2"
BOTH = (HV1, HV2)


def uuid(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000001"


PATIENT = 8.0
"""Seconds that a driver has to answer: a guest without hardware virtualisation on a busy machine is slow, not hung."""
PATIENCE = {f"{role}_read_timeout": PATIENT for role in ("readiness", "targets", "release")}


class Site:
    """Guests, a fact cache, and a folder for plans."""

    def __init__(self, fleet: KernelFleet, folder: pathlib.Path) -> None:
        self.fleet = fleet
        self.folder = folder
        self.cache = folder / "facts"
        self.plan_file = folder / "plan.json"

    # ------------------------------------------------------------------------------ the collection

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "COLLECTIONS_PATH": str(TREE),
            "NOCOLOR": "1",
            "LOCALHOST_WARNING": "0",
            "HOME": str(self.folder),
            "CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "CACHE_PLUGIN_CONNECTION": str(self.cache),
        }
        return {**os.environ, **{f"ANSIBLE_{key}": value for key, value in own.items()}}

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ansible", *words, "-i", str(self.fleet.inventory)]
        return subprocess.Popen(
            command, env=self.environment, cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def finish(self, running: subprocess.Popen[str], code: int = 0) -> str:
        """What it printed."""
        with running:
            output, _error = running.communicate(timeout=300)
        assert running.returncode == code, output[-5000:]
        return output

    def play(self, name: str, *words: str, code: int = 0, **variables: t.Any) -> str:
        """Run one of the shipped playbooks."""
        return self.finish(self.start_play(name, *words, **variables), code)

    def start_play(self, name: str, *words: str, **variables: t.Any) -> subprocess.Popen[str]:
        return self.start("playbook", f"vfio.migration.{name}", *words, "-e", json.dumps({**PATIENCE, **variables}))

    def facts(self, host: str) -> dict[str, t.Any]:
        """What the last playbook learnt of a host."""
        payload = json.loads((self.cache / f"s1_{host}").read_text())["__payload__"]
        return t.cast("dict[str, t.Any]", json.loads(payload))

    def mdev(self, host: str, instances: list[dict[str, t.Any]], **options: t.Any) -> dict[str, t.Any]:
        """Result of the module on one host; the workload ``vm`` of plan ``p``, if nothing else is said."""
        wishes = [{"workload": "vm", **one} for one in instances]
        arguments = {"instances": wishes, "plan": "p", "fail_on_error": False, "read_timeout": PATIENT, **options}
        words = ("adhoc", host, "-m", "vfio.migration.mdev", "-a", json.dumps(arguments), "-o")
        output = self.finish(self.start(*words))
        return t.cast("dict[str, t.Any]", json.loads(output[output.index("{") :]))

    def plan(self, *moves: dict[str, t.Any], **keys: t.Any) -> None:
        """Write a plan of our own."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        plan = {"schema_version": 1, "id": "p", "created": now, "uuid_policy": "new", "persist": False}
        plan |= {"partial": False, "moves": list(moves), "stuck": [], **keys}
        self.plan_file.write_text(json.dumps(plan))

    def prepare(self, *words: str, code: int = 0, **variables: t.Any) -> str:
        return self.play("prepare_targets", *words, code=code, targets_plan=str(self.plan_file), **variables)

    # ------------------------------------------------------------------------------ the kernel

    def create(self, host: str, parent: str, kind: str, name: str) -> None:
        """Make an instance as anybody would."""
        self.fleet.run(host, f"printf {name} >/sys/class/mdev_bus/{parent}/mdev_supported_types/{kind}/create")

    def hold(self, host: str, vm: str, *devices: str) -> None:
        """Start a VM that has these devices."""
        options = " ".join(f"-device vfio-pci,sysfsdev=/sys/bus/mdev/devices/{device}" for device in devices)
        number = sum(map(ord, vm))
        self.fleet.run(host, f"qemu-system-hold -name guest={vm} -uuid {uuid(number)} {options}")

    def devices(self, host: str) -> list[str]:
        """Instances, by the kernel's word."""
        return sorted(self.fleet.run(host, "ls /sys/bus/mdev/devices").split())

    def string(self, host: str, device: str) -> str:
        return self.fleet.run(host, f"cat /sys/bus/mdev/devices/{device}/migration_version").removesuffix("\n")

    def fault(self, host: str, parent: str, kind: str, level: str, text: str) -> None:
        """``text``: NAME [read|write|any [TIMES]]."""
        self.fleet.set(host, f"{parent}/{kind}/{level}/fault", text)

    def reset_counters(self) -> None:
        for host in BOTH:
            self.fleet.reset_counters(host)

    def writes(self, host: str) -> dict[Node, int]:
        """Nodes that were written to, and how often. Instances are counted once, as such."""
        counters = self.fleet.counters(host)
        return {node: count.writes for node, count in counters.items() if count.writes and node.level != "device"}

    def move(self, device: str, kind: str, target: str, parent: str, new: str, **keys: t.Any) -> dict[str, t.Any]:
        """A move of one device of ``vm``, to be made on another host."""
        source = HV1 if target == HV2 else HV2
        told = self.string(source, device)
        wish: dict[str, t.Any] = {"source": device, "source_type": kind, "vendor": "pci:1234", "type_string": told}
        wish |= {"device_string": told, "parent": parent, "type": kind, "uuid": new, "attributes": []}
        vm = {"workload": uuid(sum(map(ord, "vm"))), "name": "vm", "source": source, "target": target, "wave": 1}
        return {**vm, "devices": [wish], **keys}


def soon(condition: t.Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether something becomes true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def later(work: t.Callable[[], t.Any]) -> threading.Thread:
    """Do it at the same time."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
