# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's side of one host: parents, instances, VFs, holders, with the errnos of a real kernel.

No file system here: tree.py shows this state as sysfs, uevents.py tells what happens to it. Errnos and the order of
steps are those of drivers/vfio/mdev/mdev_core.c.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import itertools
import re
import threading
import time
import typing as t

from . import rules
from .faults import Fault, Faults
from .scenario import Capacity, Delays, Host, MdevType, Parent, Rule, Vf, Workload, boot_id

UUID_LENGTH = 36
KERNEL_UUID = re.compile(rb"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
NUMBER = re.compile(rb"\+?(?:0[xX](?P<hex>[0-9A-Fa-f]+)|(?P<octal>0[0-7]*)|(?P<decimal>[1-9][0-9]*))\n?")
LARGEST = 2**64 - 1
SYNTHETIC = re.compile(
    rb"(?P<action>add|remove|change|move|online|offline|bind|unbind)"
    rb"(?: (?P<uuid>%s)(?P<words>(?: [0-9A-Za-z]+=[0-9A-Za-z]+)*))?[\n\0]?" % KERNEL_UUID.pattern
)
POLL_SECONDS = 0.05
FIRST_GROUP = 10
CDEV_SINCE = (6, 6)
MADE_BY_DRIVER = frozenset(("platform", "virtual"))
"""Kinds of parents that are there only while their driver is."""


@dataclasses.dataclass(eq=False)
class Counters:
    """What one node was asked, so that a test can prove what was (not) touched."""

    reads: int = 0
    writes: int = 0
    accepts: int = 0
    rejects: int = 0


@dataclasses.dataclass(eq=False)
class ParentState:
    """A parent as it is now."""

    spec: Parent
    alive: bool = True
    driven: bool = True
    """A driver is bound to it."""
    registered: bool = True
    leaving: bool = False
    """Its driver is being unbound, and waits for whoever holds an instance."""
    era: int = 0
    """How often it has registered: what was open before stays closed."""
    delays: Delays = dataclasses.field(default_factory=Delays)
    types: dict[str, MdevType] = dataclasses.field(default_factory=dict)
    used: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


@dataclasses.dataclass(eq=False)
class DeviceState:
    """An mdev instance, or a VF."""

    id: str
    parent: ParentState | None
    type: MdevType | None
    vf: Vf | None
    group: int
    attributes: dict[str, bytes]
    alive: bool = True
    spent: bool = False
    """Its ``remove`` was written: that file is gone, whatever came of it."""
    going: bool = False
    """It is off its bus; its driver waits for whoever holds it."""
    bound: bool = False
    """Its driver is done with it: only now are the driver's files and links there."""


Subject = t.Union[ParentState, DeviceState]
Synthetic = t.Mapping[str, str]
"""Variables of an event that somebody asked for by a write to ``uevent``."""
Listener = t.Callable[[str, Subject, t.Optional[Synthetic]], None]
"""Hears ``add``, ``bind``, ``unbind`` and ``remove``, of instances also ``leave``, of parents also ``registered`` and
``unregistered``; and the action that somebody wrote to an ``uevent`` file, with its variables."""


class HostState:
    """One host's kernel state; all changes happen under ``lock`` and bump ``generation``."""

    def __init__(self, spec: Host) -> None:
        self.spec = spec
        release = spec.kernel.split(".")
        self.kernel = (int(release[0]), int(release[1])) if len(release) > 1 else (6, 12)
        self.has_cdevs = spec.cdev and self.kernel >= CDEV_SINCE
        """/dev/vfio/devices/vfioN: a kernel may be built without (CONFIG_VFIO_DEVICE_CDEV)."""
        self.lock = threading.RLock()
        self.generation = 1
        self.boots = 0
        self.boot_id = spec.boot_id or boot_id(f"{spec.name}:0")
        self.faults = Faults(spec.faults)
        self.counters: dict[str, Counters] = {}
        self.versions: dict[str, str | None] = {}
        self.string_versions: dict[str, str] = {}
        self.parents: dict[str, ParentState] = {}
        self.devices: dict[str, DeviceState] = {}
        self.workloads: dict[str, Workload] = {}
        self.holders: dict[str, int] = {}
        self.unloaded: set[str] = set()
        """Drivers that are not there any more."""
        self.had_parents = any(parent.registered for parent in spec.parents)
        """The kernel keeps classes that it made for a parent."""
        self.listener: Listener = lambda _happening, _subject, _synthetic: None
        self._making: dict[str, DeviceState] = {}
        self._start()

    def _start(self) -> None:
        for parent in self.spec.parents:
            types = {item.id: item for item in parent.types}
            self.parents[parent.address] = ParentState(
                parent, registered=parent.registered, delays=parent.delays, types=types
            )
            self.versions.setdefault(parent.driver, parent.driver_version)
        for vf in self.spec.vfs:
            self.versions.setdefault(vf.driver, vf.driver_version)
            self.devices[vf.address] = DeviceState(vf.address, None, None, vf, self._group(), {}, bound=True)
        for mdev in self.spec.mdevs:
            parent_state = self.parents[mdev.parent]
            device = self._new(parent_state, parent_state.types[mdev.type], mdev.uuid)
            parent_state.used[mdev.type] += 1
            device.bound = True
            self.devices[device.id] = device
        for workload in self.spec.workloads:
            self.workloads[workload.name] = workload

    def tell(self, happening: str, subject: Subject) -> None:
        """Something happens."""
        self.listener(happening, subject, None)

    def synthesize(self, subject: Subject, data: bytes) -> None:
        """A write to ``uevent``."""
        action, variables = synthetic(data)
        with self.lock:
            self.listener(action, subject, variables)

    # ------------------------------------------------ capacity

    def available(self, parent: ParentState, mdev_type: MdevType) -> int:
        """What ``available_instances`` says now."""
        return _available(parent.spec.capacity, parent, mdev_type)

    # ------------------------------------------------ create and remove

    def create(self, parent: ParentState, mdev_type: MdevType, data: bytes, fault: Fault | None = None) -> None:
        """A write to ``create``; raise OSError as the kernel would. All of it happens within the write."""
        device = self._reserve(parent, mdev_type, _uuid(data))
        if fault is not None and not fault.spec.made:
            self._give_back(device)
            return
        _spend(parent.delays.create)
        self._appear(device)
        _spend(parent.delays.bind)
        self._bind(device)
        if fault is not None:
            raise OSError(fault.spec.error, "")

    def fail_create(self, parent: ParentState, mdev_type: MdevType, data: bytes) -> None:
        """Nothing is made, but as with a driver whose probe fails the device came and went."""
        device = self._new(parent, mdev_type, _uuid(data))
        with self.lock:
            if device.id in self.devices:
                raise OSError(errno.EEXIST, "")
            for happening in ("add", "remove"):
                self.tell(happening, device)

    def _reserve(self, parent: ParentState, mdev_type: MdevType, uuid: str) -> DeviceState:
        """Take UUID and room before the device can be seen, as the mdev core does."""
        with self.lock:
            if not parent.alive or not parent.registered or parent.leaving:
                raise OSError(errno.ENODEV, "")
            if uuid in self.devices or uuid in self._making:
                raise OSError(errno.EEXIST, "")
            if self.available(parent, mdev_type) <= 0:
                if parent.spec.capacity.model != "unknown":  # the core's own counter refuses before it adds a device
                    self.fail_create(parent, mdev_type, uuid.encode())
                raise OSError(parent.spec.capacity.full, "")
            device = self._making[uuid] = self._new(parent, mdev_type, uuid)
            parent.used[mdev_type.id] += 1
            return device

    def _give_back(self, device: DeviceState) -> None:
        with self.lock:
            self._making.pop(device.id, None)
            if device.parent is not None and device.type is not None:
                device.parent.used[device.type.id] -= 1

    def _appear(self, device: DeviceState) -> None:
        with self.lock:
            if device.parent is None or not device.parent.alive or not device.parent.registered:
                self._give_back(device)
                raise OSError(errno.ENODEV, "")
            self.devices[device.id] = self._making.pop(device.id)
            self.generation += 1
            self.tell("add", device)

    def _bind(self, device: DeviceState) -> None:
        with self.lock:
            if not device.alive:
                raise OSError(errno.ENODEV, "")
            device.bound = True
            self.generation += 1
            self.tell("bind", device)

    def is_making(self, parent: ParentState) -> bool:
        """Whether an instance is on its way: the driver of a parent that leaves waits for it."""
        devices = [*self._making.values(), *(item for item in self.devices.values() if not item.bound)]
        return any(item.parent is parent for item in devices)

    def _new(self, parent: ParentState, mdev_type: MdevType, uuid: str) -> DeviceState:
        attributes = {name: value.encode() for name, value in mdev_type.attributes.items()}
        return DeviceState(uuid, parent, mdev_type, None, self._group(), attributes)

    def _group(self) -> int:
        """The lowest number that is free, as the kernel's allocator of ids gives it."""
        with self.lock:
            taken = {device.group for device in (*self.devices.values(), *self._making.values())}
        return next(group for group in itertools.count(FIRST_GROUP + 1) if group not in taken)

    def cdev(self, device: DeviceState) -> str:
        """Name of its character device below /dev/vfio/devices."""
        return f"vfio{device.group - FIRST_GROUP - 1}"

    def remove(self, device: DeviceState, data: bytes) -> None:
        """A write to ``remove``: it takes the device off its bus, then blocks while that is in use, as kernels do."""
        if not number(data):
            return
        with self.lock:
            if device.spent:
                raise OSError(errno.ENODEV, "")
            device.spent = True
            self.generation += 1
            if not device.bound:
                raise OSError(errno.EAGAIN, "")
        self._take_off(device)
        if device.parent is not None:
            _spend(device.parent.delays.remove)
        self.drop(device)

    def _take_off(self, device: DeviceState) -> None:
        """Off its bus, then wait until nobody holds it."""
        with self.lock:
            if device.bound and not device.going:
                device.spent = device.going = True
                self.generation += 1
                self.tell("leave", device)
        while self.holder(device.id) is not None and device.alive:
            time.sleep(POLL_SECONDS)

    def drop(self, device: DeviceState) -> None:
        """Take the device away, whoever uses it."""
        with self.lock:
            if self.devices.pop(device.id, None) is None:
                return
            if device.parent is not None and device.type is not None:
                device.parent.used[device.type.id] -= 1
            was_bound, device.alive, device.bound = device.bound, False, False
            self.generation += 1
            if was_bound and not device.going:
                self.tell("leave", device)
            if was_bound:
                self.tell("unbind", device)
            self.tell("remove", device)

    # ------------------------------------------------ migration_version

    def show_type(self, parent: ParentState, mdev_type: MdevType) -> bytes:
        """Location 1, read."""
        return rules.show(mdev_type.rule, self._type_node(parent, mdev_type, "type")) + b"\n"

    def store_type(self, parent: ParentState, mdev_type: MdevType, data: bytes) -> None:
        """Location 1, written."""
        rules.store(mdev_type.rule, self._type_node(parent, mdev_type, "type"), data)

    def show_device(self, device: DeviceState) -> bytes:
        """Locations 2 and 3, read."""
        rule, node = self._device_node(device)
        return rules.show(rule, node) + b"\n"

    def store_device(self, device: DeviceState, data: bytes) -> None:
        """Locations 2 and 3, written."""
        rule, node = self._device_node(device)
        rules.store(rule, node, data)

    def _type_node(self, parent: ParentState, mdev_type: MdevType, scope: str) -> rules.Node:
        spec = parent.spec
        short = mdev_type.id.removeprefix(f"{spec.driver}-")
        version = self.string_versions.get(spec.driver, mdev_type.version)
        return rules.Node(scope, spec.pci.vendor, spec.pci.device, short, version)

    def _device_node(self, device: DeviceState) -> tuple[Rule, rules.Node]:
        if device.parent is not None and device.type is not None:
            return device.type.rule, self._type_node(device.parent, device.type, "device")
        vf = device.vf
        if vf is None or vf.rule is None:
            raise OSError(errno.ENODEV, "")
        version = self.string_versions.get(vf.driver, vf.version)
        return vf.rule, rules.Node("device", vf.pci.vendor, vf.pci.device, "vf", version)

    # ------------------------------------------------ holders

    def holder(self, device: str) -> Workload | None:
        """Who keeps the device open."""
        for workload in list(self.workloads.values()):
            if device in workload.devices:
                return workload
        return None

    def start_workload(self, workload: Workload) -> None:
        """Let a process hold devices; one of the same name lets go of what it held."""
        with self.lock:
            unknown = [name for name in workload.devices if name not in self.devices]
            if unknown:
                raise KeyError(f"{self.spec.name} has no device {', '.join(unknown)}; it has {', '.join(self.devices)}")
            self.workloads[workload.name] = workload
            self.generation += 1

    def stop_workload(self, name: str) -> None:
        """End a process: its devices are no longer in use."""
        with self.lock:
            if self.workloads.pop(name, None) is None:
                raise KeyError(f"{self.spec.name} has no workload {name!r}; it has {', '.join(self.workloads)}")
            self.generation += 1

    # ------------------------------------------------ what an operator or a fault does to the host

    def plug(self, address: str) -> None:
        """Register a parent that was not there (driver ready only now, or plugged again)."""
        with self.lock:
            self.had_parents = True
            parent = self.parent(address)
            fresh = {item.id: item for item in parent.spec.types}
            if parent.alive:
                parent.registered, parent.types, parent.era = True, fresh, parent.era + 1
                self.generation += 1
                self.tell("registered", parent)
                return
            parent = self.parents[address] = ParentState(parent.spec, delays=parent.delays, types=fresh)
            self.generation += 1
            for happening in ("add", "registered", "bind"):
                self.tell(happening, parent)

    def unregister(self, address: str) -> None:
        """Take a parent's types away with all its instances, as when its driver is unloaded."""
        with self.lock:
            parent = self.parent(address)
            was_registered, parent.registered = parent.registered, False
            for device in [device for device in self.devices.values() if device.parent is parent]:
                self.drop(device)
            self.generation += 1
            if was_registered:
                self.tell("unregistered", parent)

    def unbind_driver(self, address: str) -> None:
        """A write to ``unbind`` of a parent's driver; blocks while an instance is in use, as the kernel does."""
        with self.lock:
            parent = self.parents.get(address)
            if parent is None or not parent.alive or not parent.driven or parent.leaving:
                raise OSError(errno.ENODEV, "")
            parent.leaving = True
            self.generation += 1
        while self.is_making(parent):
            time.sleep(POLL_SECONDS)
        self.generation += 1
        for device in [device for device in self.devices.values() if device.parent is parent]:
            self._take_off(device)
            self.drop(device)
        with self.lock:
            self.unregister(address)
            parent.driven = parent.leaving = False
            self.generation += 1
            self.tell("unbind", parent)

    def take_out(self, address: str) -> None:
        """A write to ``remove`` of a PCI function: its driver lets go of it first."""
        if self.parent(address).driven:
            self.unbind_driver(address)
        self.unplug(address)

    def bind_driver(self, address: str) -> None:
        """A write to ``bind`` of a parent's driver."""
        with self.lock:
            parent = self.parents.get(address)
            if parent is None or not parent.alive:
                raise OSError(errno.ENODEV, "")
            if parent.driven:
                raise OSError(errno.EBUSY, "")
            parent.driven = True
            self.plug(address)
            self.tell("bind", parent)

    def unload(self, driver: str) -> None:
        """What rmmod does with a driver of parents: refused while an instance is held, else all that it has goes."""
        with self.lock:
            parents = [parent for parent in self.parents.values() if parent.spec.driver == driver]
            if not parents or driver in self.unloaded:
                raise OSError(errno.ENOENT, "")
            if self.users(driver):
                raise OSError(errno.EAGAIN, "")
        for parent in reversed(parents):
            address = parent.spec.address
            if parent.alive and parent.driven:
                self.unbind_driver(address)
            if parent.alive and parent.spec.kind in MADE_BY_DRIVER:
                self.unplug(address)
        with self.lock:
            self.unloaded.add(driver)
            gone = tuple(f"parents/{parent.spec.address}/" for parent in parents)
            self.counters = {node: count for node, count in self.counters.items() if not node.startswith(gone)}
            self.generation += 1

    def load(self, driver: str) -> None:
        """What modprobe does: the driver makes its parents, and finds those that are there."""
        with self.lock:
            if driver not in self.unloaded:
                return
            self.unloaded.remove(driver)
            self.generation += 1
            for parent in [parent for parent in self.parents.values() if parent.spec.driver == driver]:
                if parent.spec.kind in MADE_BY_DRIVER:
                    self.plug(parent.spec.address)
                elif parent.alive:
                    self.bind_driver(parent.spec.address)

    def users(self, driver: str) -> int:
        """How many of a driver's instances are held: as often it is in use itself."""
        devices = list(self.devices.values())
        own = [item.id for item in devices if item.parent is not None and item.parent.spec.driver == driver]
        return sum(self.holder(ident) is not None for ident in own)

    def rescan(self) -> None:
        """A write to the PCI bus's ``rescan``: what was taken off is found again."""
        for parent in list(self.parents.values()):
            if parent.spec.kind == "pci" and not parent.alive:
                self.plug(parent.spec.address)

    def unplug(self, address: str) -> None:
        """Take a parent away with all its instances."""
        with self.lock:
            parent = self.parent(address)
            was_alive = parent.alive
            self.unregister(address)
            parent.alive = False
            self.generation += 1
            for happening in (*(("unbind",) if parent.driven else ()), "remove") if was_alive else ():
                self.tell(happening, parent)

    def remove_type(self, address: str, type_id: str) -> None:
        """Take a type away (driver or mode change)."""
        with self.lock:
            self.parent(address).types.pop(type_id, None)
            self.generation += 1

    def parent(self, address: str) -> ParentState:
        """A parent, or a KeyError that names the known ones."""
        try:
            return self.parents[address]
        except KeyError:
            raise KeyError(f"{self.spec.name} has no parent {address}; it has {', '.join(self.parents)}") from None

    def set_driver(self, driver: str, version: str, string_version: str | None = None) -> None:
        """Another driver version is loaded; its strings carry ``string_version`` (default: the same)."""
        with self.lock:
            self.versions[driver] = version
            self.string_versions[driver] = string_version or version
            self.generation += 1

    def reboot(self) -> None:
        """A new boot id; mdev instances and workloads are gone, parents are registered again."""
        for device in [item for item in self.devices.values() if item.parent is not None]:
            self.drop(device)
        with self.lock:
            self.workloads.clear()
            self.boots += 1
            self.boot_id = boot_id(f"{self.spec.name}:{self.boots}")
            self.generation += 1
        for parent in self.spec.parents:
            self.plug(parent.address)

    def trigger(self, fault: Fault, node: str) -> None:
        """Do what a fault of kind ``trigger`` does: the world changes under the reader's hands."""
        parts = node.split("/")
        with contextlib.suppress(KeyError, IndexError):
            if fault.spec.action == "reboot":
                self.reboot()
            elif fault.spec.action == "unplug":
                self.unplug(self._parent_of(parts))
            elif fault.spec.action == "remove_type":
                self.remove_type(parts[1], parts[3])
            else:
                self.drop(self.devices[parts[1]])

    def _parent_of(self, parts: list[str]) -> str:
        if parts[0] == "parents":
            return parts[1]
        parent = self.devices[parts[1]].parent
        if parent is None:
            raise KeyError(parts[1])
        return parent.spec.address

    def counter(self, node: str) -> Counters:
        """Counters of a node, made at its first access."""
        found = self.counters.get(node)
        if found is None:
            found = self.counters.setdefault(node, Counters())
        return found


def _spend(seconds: float) -> None:
    """Time of the driver's own. Even a sleep of 0 seconds takes some."""
    if seconds:
        time.sleep(seconds)


def _uuid(data: bytes) -> str:
    """What was written to ``create``; whatever follows the UUID is not looked at."""
    if len(data) not in {UUID_LENGTH, UUID_LENGTH + 1} or not KERNEL_UUID.fullmatch(data[:UUID_LENGTH]):
        raise OSError(errno.EINVAL, "")
    return data[:UUID_LENGTH].decode().lower()


def number(data: bytes) -> int:
    """kstrtoul() of what was written, with base 0; raise EINVAL. C's string ends at a NUL."""
    found = NUMBER.fullmatch(data.partition(b"\0")[0])
    if found is None:
        raise OSError(errno.EINVAL, "")
    base = 16 if found["hex"] else 8 if found["octal"] else 10
    value = int(found["hex"] or found["octal"] or found["decimal"], base)
    if value > LARGEST:
        raise OSError(errno.EINVAL, "")
    return value


def synthetic(data: bytes) -> tuple[str, Synthetic]:
    """What a write to ``uevent`` asks for (kobject_synth_uevent): action, maybe UUID and variables; raise EINVAL."""
    found = SYNTHETIC.fullmatch(data)
    if found is None:
        raise OSError(errno.EINVAL, "")
    words = [word.partition(b"=") for word in (found["words"] or b"").split()]
    variables = {f"SYNTH_ARG_{key.decode()}": value.decode() for key, _equals, value in words}
    return found["action"].decode(), {"SYNTH_UUID": (found["uuid"] or b"0").decode(), **variables}


def _available(capacity: Capacity, parent: ParentState, mdev_type: MdevType) -> int:
    used = parent.used
    if capacity.model == "independent":
        return max(0, mdev_type.instances - used[mdev_type.id])
    if capacity.model == "exclusive":
        others = sum(used.values()) - used[mdev_type.id]
        return 0 if others else max(0, mdev_type.instances - used[mdev_type.id])
    if capacity.model == "unknown":
        return max(0, capacity.total - sum(used.values()))
    spec_types = {item.id: item for item in parent.spec.types}
    if capacity.model == "shared_units":
        taken = sum(spec_types[name].cost * count for name, count in used.items())
        return max(0, capacity.total - taken) // mdev_type.cost
    room = []
    for resource, need in mdev_type.needs.items():
        taken = sum(spec_types[name].needs.get(resource, 0) * count for name, count in used.items())
        if need:
            room.append(max(0, capacity.totals[resource] - taken) // need)
    return min(room, default=0)
