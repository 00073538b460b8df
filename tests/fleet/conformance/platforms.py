# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two that are compared: a guest with a real kernel, and a simulated host that describes the same.

Each knows how to run the performer on its host, and which acts turn the table's knobs there.
"""

from __future__ import annotations

import base64
import errno
import json
import pathlib
import re
import shlex
import subprocess
import sys
import typing as t

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError
from ansible_collections.vfio.migration.tests.fleet.kernel.fleet import LAB, KernelFleet, parse_counters
from ansible_collections.vfio.migration.tests.fleet.kernel.machine import Guest
from ansible_collections.vfio.migration.tests.fleet.simulated.driver import FIRST_GROUP
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet

from .compare import comparable
from .table import BY_RULE, COUNTED, EXCLUSIVE, FAULTS, ONE, OTHER_PCI, PATHS, PCI, PLATFORM, TYPES, Row, Step, turn

Act = dict[str, t.Any]
Results = dict[str, t.Any]
Counts = dict[str, dict[str, int]]
"""``<parent> <type>`` -> reads, writes, accepts, rejects; of nodes that were asked."""
PERFORMER = pathlib.Path(__file__).with_name("performer.py")
SECONDS = 600.0
HOST = "hv1"
HOLDER = "vm"
MODULE = "mdev_lab"
BY_PARENT = r"(mdev_supported_types|driver|subsystem)$|[0-9a-f]{8}-"
WATCHED = {
    **dict.fromkeys(("/sys/bus/mdev", "/sys/class/mdev_bus", "/sys/class/vfio", "/sys/class/vfio-dev"), ""),
    **dict.fromkeys(("/sys/bus/pci/drivers/mdev_lab", "/sys/bus/platform/drivers/mdev_lab"), ""),
    **dict.fromkeys(("/sys/devices/virtual/vfio", "/sys/kernel/iommu_groups", "/dev/vfio"), ""),
    "/sys/module/mdev_lab": "drivers$",
    **dict.fromkeys(PATHS.values(), BY_PARENT),
}
"""Where effects show, and which entries there count: a guest's PCI functions have more than a simulated one's."""


class Platform(t.Protocol):
    """A host that the table can be done on. ``first_group``: the number that its first VFIO group gets."""

    first_group: int
    reset: list[Act]
    """What sets the driver's counters to 0."""
    counted: Act
    """What tells them."""

    def counts(self, told: t.Any) -> Counts:
        """What the driver says that it was asked at the nodes of types, from what the host told."""

    def acts(self, knob: str, *values: t.Any) -> list[Act]:
        """What turns a knob of the table here."""

    def command(self, script: str) -> list[str]:
        """Command that runs a Python script on the host."""


def perform(platform: Platform, rows: t.Sequence[Row]) -> Results:
    """Do the table on a host: a report for ``compare``. Raises FleetError when the performer itself fails there."""
    task = {
        "rows": [_expanded(platform, row) for row in rows],
        "watched": WATCHED,
        "fence": f"{PATHS[OTHER_PCI]}/uevent",
        "reset": platform.reset,
        "counted": platform.counted,
    }
    words = platform.command(PERFORMER.read_text())
    done = subprocess.run(words, input=json.dumps(task), capture_output=True, text=True, check=False, timeout=SECONDS)
    if done.returncode:
        raise FleetError(f"The table was not done: {done.stderr.strip()[-1000:] or f'exit code {done.returncode}'}")
    report = json.loads(done.stdout)
    for row in report["rows"].values():
        row["counted"] = platform.counts(row["counted"])
    return t.cast("Results", comparable(report, platform.first_group))


def _expanded(platform: Platform, row: Row) -> dict[str, t.Any]:
    steps = [step for step, _answer in row.steps]
    turned = any(step["do"] == "turn" for step in steps)
    after = [_acts(platform, turn("clear"))] if turned else []
    return {"name": row.name, "steps": [_acts(platform, step) for step in steps], "after": after}


def _acts(platform: Platform, step: Step) -> Step:
    if step["do"] == "start":
        return {**step, "step": _acts(platform, step["step"])}
    return {"do": "turn", "acts": platform.acts(step["knob"], *step["values"])} if step["do"] == "turn" else step


# ------------------------------------------------------------------ a real kernel

# A parent that registers again takes the next model of this list; those that the table lets do so have a shared pool.
MODELS = ",".join(["shared", "exclusive", "counted", "shared", "exclusive"] + ["shared"] * 11)


def guest(kernel: str) -> Guest:
    """The guest that the table is written for."""
    return Guest(HOST, kernel, f"models={MODELS}")


class Kernel:
    """A guest with a real kernel."""

    first_group = 0

    def __init__(self, fleet: KernelFleet) -> None:
        self.fleet = fleet
        self.reset = [{"write": f"{LAB}/counters", "data": "0"}]
        for parent, (rule, accepts) in BY_RULE.items():
            self.reset += [{"write": f"{LAB}/{parent}/rule", "data": rule}]
            self.reset += [{"write": f"{LAB}/{parent}/accepts", "data": accepts}] if accepts else []
        self.counted = {"read": f"{LAB}/counters"}

    def counts(self, told: str) -> Counts:
        counters = parse_counters(told).items()
        return {f"{node.parent} {node.name}": at._asdict() for node, at in counters if node.level == "type" and any(at)}

    def command(self, script: str) -> list[str]:
        return [*self.fleet.ssh(HOST), f"python3 -c {shlex.quote(script)}"]

    def acts(self, knob: str, *values: t.Any) -> list[Act]:
        if knob == "fault":
            parent, number, level, name, op = values
            return [{"write": f"{LAB}/{parent}/mdev_lab-A{number}/{level}/fault", "data": f"{name} {op}"}]
        if knob == "create_errno":
            return [{"write": f"{LAB}/{values[0]}/create_errno", "data": str(getattr(errno, values[1]))}]
        if knob == "bind_delay":
            return [{"write": f"{LAB}/{values[0]}/bind_delay_ms", "data": str(values[1])}]
        if knob == "hold":
            device = f"vfio-pci,sysfsdev=/sys/bus/mdev/devices/{values[0]}"
            return [{"run": ["qemu-system-hold", "-name", f"guest={HOLDER}", "-device", device]}]
        if knob == "release":
            return [{"run": ["busybox", "killall", "qemu-system-hold"]}]
        if knob == "unload":
            return [{"unload": MODULE}]
        if knob == "load":
            return [{"run": ["modprobe", MODULE]}]
        nodes = [f"{LAB}/{PLATFORM}/{type_id}/{level}/fault" for type_id in TYPES for level in ("type", "device")]
        numbers = [f"{LAB}/{PLATFORM}/{name}" for name in ("create_errno", "bind_delay_ms")]
        return [{"write": path, "data": "none"} for path in nodes] + [{"write": path, "data": "0"} for path in numbers]


# ------------------------------------------------------------------ the simulated twin


def _rule(address: str) -> str | dict[str, t.Any]:
    rule, accepts = BY_RULE.get(address, ("older_minor_accepted", ""))
    return {"name": rule, "accepts": [accepts]} if accepts else rule


def _parent(model: str, **more: t.Any) -> dict[str, t.Any]:
    described = model != "counted"
    types: dict[str, t.Any] = {}
    for name, cost in TYPES.items():
        room = 4 // cost
        types[name] = {"name": f"MDEVLAB {name[-2]}-{cost}Q", "cost": cost, "instances": room}
        if described:
            types[name]["description"] = f"cost={cost}, capacity=4, max_instance={room}"
    capacity = {
        "shared": {"model": "shared_units", "total": 4},
        "exclusive": {"model": "exclusive"},
        "counted": {"model": "unknown", "total": 2},
    }
    return {
        "driver": "mdev_lab",
        "mdev_driver": "mdev_lab_mdev" if described else "mdev_lab_counted",
        "driver_version": "1",
        "version": "4.2",
        "rule": "older_minor_accepted",
        "capacity": capacity[model],
        "types": types,
        **more,
    }


def _platform(address: str, model: str) -> dict[str, t.Any]:
    parent = _parent(model, kind="platform")
    for name, described in parent["types"].items():
        described.update(rule=_rule(address), string=f"platform-{name[-2:]}-4.2")
    return parent


def _pci(model: str, vendor: str, device: str, **more: t.Any) -> dict[str, t.Any]:
    card = {"vendor": vendor, "device": device, "subsystem_vendor": "1af4", "subsystem_device": "1100"}
    return _parent(model, **card, **{"class": "0x00ff00"}, **more)


def twin(kernel: str) -> dict[str, t.Any]:
    """The scenario of a simulated host like ``guest``. Debian builds its kernels without character devices of VFIO."""
    parents = {
        PLATFORM: _platform(PLATFORM, "shared"),
        EXCLUSIVE: _platform(EXCLUSIVE, "exclusive"),
        COUNTED: _platform(COUNTED, "counted"),
        PCI: _pci("shared", "1234", "11e8"),
        OTHER_PCI: _pci("exclusive", "1b36", "0005", rule=_rule(OTHER_PCI)),
    }
    return {"version": 1, "hosts": {HOST: {"kernel": f"{kernel}.0", "cdev": False, "parents": parents}}}


NODE = re.compile(r"parents/(?P<parent>[^/]+)/types/(?P<type>[^/]+)/migration_version")


class Simulated:
    """A simulated host with namespaces of its own."""

    first_group = FIRST_GROUP + 1

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.reset = [self._ask("reset_counters", host=None)]
        self.counted = self._ask("counters")

    def counts(self, told: dict[str, t.Any]) -> Counts:
        found = {NODE.fullmatch(node): at for node, at in told["result"][HOST].items()}
        return {f"{node['parent']} {node['type']}": at for node, at in found.items() if node is not None}

    def command(self, script: str) -> list[str]:
        return self.fleet.inside(HOST, sys.executable, "-c", script)

    def acts(self, knob: str, *values: t.Any) -> list[Act]:
        if knob == "fault":
            parent, number, level, name, op = values
            node = f"parents/{parent}/types/mdev_lab-A{number}/migration_version"
            if level == "device":
                # Of one instance and not, as there, of all of a type.
                node = f"devices/{ONE}/migration_version"
            return [self._ask("fault_set", fault={"node": node, "op": op, **_fault(name)})]
        if knob == "create_errno":
            node = f"parents/{values[0]}/types/*/create"
            return [self._ask("fault_set", fault={"node": node, "op": "write", "kind": "errno", "errno": values[1]})]
        if knob == "bind_delay":
            return [self._ask("set_delays", parent=values[0], bind=values[1] / 1000)]
        if knob == "hold":
            return [self._ask("start_workload", workload={"name": HOLDER, "devices": [values[0]]})]
        if knob == "release":
            return [self._ask("stop_workload", name=HOLDER)]
        if knob in {"unload", "load"}:
            return [self._ask(knob, driver=MODULE)]
        return [self._ask("fault_clear"), self._ask("set_delays", parent=PLATFORM, bind=0)]

    def _ask(self, do: str, **arguments: t.Any) -> Act:
        line = {"do": do, "host": HOST, **arguments}
        return {
            "ask": str(self.fleet.directory / "control.sock"),
            "line": {k: v for k, v in line.items() if v is not None},
        }


def _fault(name: str) -> dict[str, t.Any]:
    """A fault of the test driver, as the simulator has it."""
    if name == "hang":
        return {"kind": "hang"}
    if hasattr(errno, name):
        return {"kind": "errno", "errno": name}
    return {"kind": "value", "base64": base64.b64encode(FAULTS[name].encode("latin-1")).decode()}
