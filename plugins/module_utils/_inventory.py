# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sysfs, /proc and udev of one host -> snapshot.

The host is read in a few broad sweeps (all links, then all types, then all
version strings) instead of device by device: a sweep costs one message to the
reading process, and whatever hangs can only take the sweeps after it along.
Sources: Documentation/driver-api/vfio-mediated-device.rst,
Documentation/ABI/testing/sysfs-bus-vfio-mdev, sysfs-devices-vfio-dev.

This file is private to the collection.
"""

from __future__ import annotations

import os
import posixpath
import re
import time
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _sysfs, _udev, _workloads
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Outcome
from ansible_collections.vfio.migration.plugins.module_utils._model import (
    SCHEMA_VERSION,
    Attribute,
    Device,
    Hardware,
    Name,
    Note,
    Parent,
    Snapshot,
    Timestamp,
    Type,
)

_HOST = "host"
_TYPES = "mdev_supported_types"
_VERSION = "migration_version"
_VFIO_BUSES = ("amba", "cdx", "fsl-mc", "pci", "platform")
"""Buses whose drivers may hand a device to VFIO directly, for kernels before 6.1 that have no class vfio-dev."""
_MOST_INSTANCES = 1000000
_LOOK_AGAIN = 3
_LOOK_AGAIN_PAUSE = 0.05

HANDLERS = {**_sysfs.HANDLERS, **_udev.HANDLERS, **_workloads.HANDLERS}

DETAILS = {
    "gone": "It disappeared while it was read; run the module again.",
    "hung": "The driver did not answer within read_timeout; the node, and all others of its parent, were left alone. "
    "Look at the kernel log of the host.",
    "deadline": "The time for this host (deadline) was over before this could be read.",
    "permission": "Reading was refused; run with become: true.",
    "busy": "The driver kept answering that it is busy; run the module again.",
    "truncated": "The string fills a whole page without a newline, so its end is missing; it is never probed with.",
    "empty": "The driver answered with an empty string, which proves nothing; it is never probed with.",
    "not_ascii": "The string holds bytes that are not ASCII text; it is kept as base64 and never probed with.",
    "incomplete": "The device has no mdev_type link yet; it is probably being created. Run the module again.",
    "not_a_number": "The kernel's answer is no number of instances, so the capacity is unknown.",
    "no_device": "The link does not lead to a device, so it was left out.",
    "errno": "The kernel refused to read this.",
    "no_pyudev": "Names of the hardware need pyudev for the Python that Ansible uses on the host; "
    "the role vfio.migration.bootstrap installs it.",
    "other_root": "Names of the hardware need sysfs at /sys, because libudev looks nowhere else.",
    "holders": "Not every process could be looked at, so a device without a known holder may still be in use; "
    "run with become: true.",
}


class Options(t.NamedTuple):
    """How to look at a host. Times in seconds, ``page_size`` in bytes, roots absolute."""

    sysfs_root: str
    proc_root: str
    read_timeout: float
    deadline: float
    device_attribute: str
    """Path of location 3 below the root, with ``{bus}`` and ``{address}``."""
    host: str
    kernel: str
    page_size: int


class Identity(t.NamedTuple):
    """Who answers for a device directory."""

    bus: t.Optional[str]
    vendor: str
    driver: t.Optional[str]
    driver_version: t.Optional[str]
    numa_node: t.Optional[int]
    iommu_group: t.Optional[int]


def timestamp() -> Timestamp:
    """Now, in UTC."""
    return Timestamp(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def boot_id(proc_root: str) -> t.Optional[str]:
    """Changes with every boot; null when /proc does not say."""
    try:
        with open(os.path.join(proc_root, "sys/kernel/random/boot_id"), encoding="ascii") as file:
            return file.read().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def device_attribute(pattern: str, bus: str, address: str) -> str:
    """Location 3 for one device. Raises ``ValueError`` with what is wrong with the pattern."""
    path = pattern.replace("{bus}", bus).replace("{address}", address)
    if "{" in path or "}" in path:
        raise ValueError("only {bus} and {address} may stand in braces")
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise ValueError("must be a path below sysfs_root, without a leading slash and without '..'")
    return path


def vendor_identity(vendor_id: t.Optional[str], bus: t.Optional[str], driver: t.Optional[str]) -> str:
    """``pci:8086``; subsystem and driver stand in where there is no vendor id (CCW, AP matrix, virtual parents)."""
    if bus == "pci" and vendor_id:
        return "pci:" + vendor_id.lower().replace("0x", "", 1)
    return "%s:%s" % (bus or "unknown", driver or "unknown")


class Reader:
    """Reads one host. ``notes`` collects what was dropped or is unknown."""

    def __init__(self, options: Options, guard: Guard) -> None:
        self.options = options
        self.guard = guard
        self.sysfs = _sysfs.Sysfs(options.sysfs_root, guard)
        self.notes: t.List[Note] = []

    def note(self, item: str, reason: str) -> None:
        self.notes.append({"item": item, "reason": reason, "detail": DETAILS[reason]})

    # ------------------------------------------------------------------------------------------------ discovery

    def entries(self, directories: t.Sequence[str]) -> t.Dict[str, t.List[str]]:
        """Names in directories that may be absent: the classes and buses of VFIO come and go with their modules."""
        listed = {}
        for path, outcome in zip(directories, self.sysfs.list([(_HOST, path) for path in directories])):
            listed[path] = list(outcome.value) if outcome.state == "done" else []
            if outcome.state != "done" and outcome.errno_name != "ENOENT":
                self.note(path, reason(outcome))
        return listed

    def real_paths(self, links: t.Sequence[str]) -> t.List[str]:
        """Device directories that links lead to, each once, in the order of their paths."""
        found = {}
        for link, outcome in zip(links, self.sysfs.links([(_HOST, link) for link in links])):
            if outcome.state == "done" and outcome.value.startswith("devices/"):
                found[outcome.value] = True
            elif outcome.state == "done":
                self.note(link, "no_device")
            else:
                self.note(link, "gone" if outcome.errno_name == "ENOENT" else reason(outcome))
        return sorted(found)

    def discover(self) -> t.Tuple[t.List[str], t.List[str], t.List[str]]:
        """Real paths of parents, of mediated devices and of other VFIO devices."""
        drivers = ["bus/%s/drivers" % bus for bus in _VFIO_BUSES]
        listed = self.entries(["class/mdev_bus", "bus/mdev/devices", "class/vfio-dev"] + drivers)
        mdevs = self.real_paths(["bus/mdev/devices/" + name for name in listed["bus/mdev/devices"]])
        parents = set(self.real_paths(["class/mdev_bus/" + name for name in listed["class/mdev_bus"]]))
        # A parent that is being unregistered has left the class while its devices are still there.
        parents.update(posixpath.dirname(path) for path in mdevs)
        # .../<device>/vfio-dev/vfio0
        cdevs = self.real_paths(["class/vfio-dev/" + name for name in listed["class/vfio-dev"]])
        devices = {posixpath.dirname(posixpath.dirname(path)) for path in cdevs}
        vfio_drivers = ["%s/%s" % (path, name) for path in drivers for name in listed[path] if "vfio" in name]
        bound = self.entries(vfio_drivers)
        devices.update(
            self.real_paths(
                ["%s/%s" % (driver, name) for driver in bound for name in bound[driver] if name not in _DRIVER_FILES]
            )
        )
        return sorted(parents), mdevs, sorted(devices - set(mdevs) - parents)

    def identify(self, items: t.Sequence[t.Tuple[str, str]]) -> t.List[Identity]:
        """Identity of device directories, given as (group, path)."""
        buses = self.link_names(items, "subsystem")
        groups = self.link_names(items, "iommu_group")
        drivers = self._links(items, "driver")
        versions = self._driver_versions({path for path in drivers if path})
        vendors = self.sysfs.read([(group, path + "/vendor") for group, path in items])
        nodes = self.sysfs.read([(group, path + "/numa_node") for group, path in items])
        found = []
        for index in range(len(items)):
            driver_path = drivers[index]
            driver = posixpath.basename(driver_path) if driver_path else None
            numa_node = number(nodes[index])
            found.append(
                Identity(
                    bus=buses[index],
                    vendor=vendor_identity(_word(vendors[index]), buses[index], driver),
                    driver=driver,
                    driver_version=versions.get(driver_path or ""),
                    numa_node=numa_node if numa_node is not None and numa_node >= 0 else None,
                    iommu_group=_to_int(groups[index]),
                )
            )
        return found

    def _links(self, items: t.Sequence[t.Tuple[str, str]], name: str) -> t.List[t.Optional[str]]:
        outcomes = self.sysfs.links([(group, path + "/" + name) for group, path in items])
        return [outcome.value if outcome.state == "done" else None for outcome in outcomes]

    def link_names(self, items: t.Sequence[t.Tuple[str, str]], name: str) -> t.List[t.Optional[str]]:
        return [posixpath.basename(path) if path else None for path in self._links(items, name)]

    def _driver_versions(self, drivers: t.Set[str]) -> t.Dict[str, t.Optional[str]]:
        """By driver directory. A module without a version still has a checksum of its sources, as good for noticing
        that the driver was replaced."""
        paths = sorted(drivers)
        modules = self._links([(_HOST, path) for path in paths], "module")
        wanted = sorted({module for module in modules if module})
        version = self.sysfs.read([(_HOST, module + "/version") for module in wanted])
        checksum = self.sysfs.read([(_HOST, module + "/srcversion") for module in wanted])
        by_module = {module: _word(version[index]) or _word(checksum[index]) for index, module in enumerate(wanted)}
        return {path: by_module[module] for path, module in zip(paths, modules) if module}

    # ----------------------------------------------------------------------------------------- version strings

    def versions(self, nodes: t.Sequence[t.Tuple[str, str, str]]) -> t.List[t.Optional[Attribute]]:
        """Attributes of (group, directory that owns the node, path of the node); null when the owner is gone.

        A node that is missing or answers ENODEV is looked at again once, because that is also what a device looks
        like that is being removed.
        """
        outcomes = self.sysfs.read([(group, path) for group, _owner, path in nodes])
        doubtful = [index for index, outcome in enumerate(outcomes) if outcome.errno in _sysfs.VANISHED]
        owners = self.sysfs.exists([nodes[index][:2] for index in doubtful])
        gone = {index for index, owner in zip(doubtful, owners) if owner.errno in _sysfs.VANISHED}
        again = [index for index in doubtful if index not in gone and outcomes[index].errno_name != "ENOENT"]
        second = self.sysfs.read([(nodes[index][0], nodes[index][2]) for index in again])
        for index, outcome in zip(again, second):
            outcomes[index] = outcome
        return [
            None if index in gone else _sysfs.attribute(outcome, self.options.page_size)
            for index, outcome in enumerate(outcomes)
        ]

    def note_version(self, item: str, attribute: Attribute) -> None:
        """What is unknown or unusable is noted; what is plainly not supported is not news."""
        if attribute["status"] in ("unknown", "invalid") and attribute["reason"]:
            self.note(item + "/" + _VERSION, attribute["reason"])


_DRIVER_FILES = frozenset(("bind", "unbind", "new_id", "remove_id", "uevent", "module"))


def reason(outcome: Outcome) -> str:
    if outcome.state != "errno":
        return outcome.state
    if outcome.errno in _sysfs.DENIED:
        return "permission"
    return "gone" if outcome.errno in _sysfs.VANISHED else "errno"


def _word(outcome: Outcome) -> t.Optional[str]:
    found = _sysfs.text(outcome)
    return found.strip() or None if found is not None else None


def _to_int(text: t.Optional[str]) -> t.Optional[int]:
    return int(text) if text is not None and re.match(r"-?[0-9]{1,9}\Z", text) else None


def number(outcome: Outcome) -> t.Optional[int]:
    return _to_int(_word(outcome))


def snapshot(options: Options) -> Snapshot:
    """Everything that one host says about its VFIO devices. Returns within ``deadline`` seconds, plus the moment it
    takes to write down what was learned."""
    with Guard(HANDLERS, options.read_timeout, options.deadline) as guard:
        reader = Reader(options, guard)
        parent_paths, mdev_paths, vfio_paths = reader.discover()
        parents = read_parents(reader, parent_paths)
        devices, keys = read_devices(reader, {parent["path"]: parent for parent in parents}, mdev_paths, vfio_paths)
        found = read_holders(reader, keys)
        _note_holders(devices, found)
        _hardware(reader, parents, devices)
        for parent in parents:
            if parent["path"] in guard.hung_groups:
                parent["state"] = "hung"
                reader.note("parents/" + parent["address"], "hung")
        if not guard.time_left:
            reader.note(_HOST, "deadline")
        return {
            "schema_version": SCHEMA_VERSION,
            "host": options.host,
            "boot_id": boot_id(options.proc_root),
            "kernel": options.kernel,
            "page_size": options.page_size,
            "time": timestamp(),
            "parents": parents,
            "devices": devices,
            "workloads": found.workloads,
            "notes": reader.notes,
        }


def devices_at(reader: Reader, paths: t.Sequence[str]) -> t.List[Device]:
    """Records of the mediated devices at these real paths, as in a snapshot, but for the names of the hardware. Those
    that are gone are left out."""
    parents = read_parents(reader, sorted({posixpath.dirname(path) for path in paths}))
    devices, keys = read_devices(reader, {parent["path"]: parent for parent in parents}, paths, [])
    _note_holders(devices, read_holders(reader, keys))
    return devices


def _note_holders(devices: t.Sequence[Device], found: _workloads.Found) -> None:
    for device in devices:
        held = found.holders.get(device["id"])
        device["in_use_by"] = held if held or not found.complete else []


def read_holders(reader: Reader, keys: t.List[_workloads.DeviceKey]) -> _workloads.Found:
    """Walking /proc is not cheap, so a host without devices is spared it."""
    if not keys:
        return _workloads.Found({}, [], True)
    found, complete = _workloads.processes(reader.options.proc_root, reader.guard)
    if not complete:
        reader.note(_HOST, "holders")
    return _workloads.match(keys, found, complete)


def _hardware(reader: Reader, parents: t.List[Parent], devices: t.List[Device]) -> None:
    """Names for the parents and for the devices that have none; an mdev is known by its parent's name."""
    plain: t.List[t.Union[Parent, Device]] = [*parents, *(device for device in devices if device["parent"] is None)]
    names, missing = _udev.hardware(
        reader.options.sysfs_root, [(record["path"], record["path"]) for record in plain], reader.guard
    )
    if missing:
        reader.note(_HOST, missing)
    by_address: t.Dict[str, Hardware] = {}
    for record, name in zip(plain, names):
        record["hardware"] = name
    for parent in parents:
        by_address[parent["address"]] = parent["hardware"]
    for device in devices:
        if device["parent"] is not None:
            device["hardware"] = by_address.get(device["parent"], _udev.UNKNOWN)


# ------------------------------------------------------------------------------------------------- parents and types


def read_parents(reader: Reader, paths: t.Sequence[str]) -> t.List[Parent]:
    identities = reader.identify([(path, path) for path in paths])
    listings = reader.sysfs.list([(path, path + "/" + _TYPES) for path in paths])
    parents: t.List[Parent] = []
    for path, identity, listing in zip(paths, identities, listings):
        parent: Parent = {
            "address": Name(posixpath.basename(path)),
            "path": path,
            "subsystem": identity.bus,
            "vendor": identity.vendor,
            "driver": identity.driver,
            "driver_version": identity.driver_version,
            "numa_node": identity.numa_node,
            "hardware": _udev.UNKNOWN,
            "state": "gone" if listing.errno in _sysfs.VANISHED else "ok",
            "types": [],
        }
        if listing.state != "done":
            reader.note("parents/" + parent["address"], reason(listing))
        parents.append(parent)
    type_nodes = [
        (parent, name)
        for parent, listing in zip(parents, listings)
        for name in (listing.value if listing.state == "done" else ())
    ]
    types = _types(reader, type_nodes)
    for (parent, _name), found in zip(type_nodes, types):
        if found is not None:
            parent["types"].append(found)
    _mark_gone(reader, [parent for (parent, _name), found in zip(type_nodes, types) if found is None])
    return parents


def _mark_gone(reader: Reader, suspects: t.Sequence[Parent]) -> None:
    """Where a type went away, the parent may have been unplugged or unregistered while it was read."""
    parents = list({parent["path"]: parent for parent in suspects}.values())
    still = reader.sysfs.exists([(parent["path"], "%s/%s" % (parent["path"], _TYPES)) for parent in parents])
    for parent, outcome in zip(parents, still):
        if outcome.errno in _sysfs.VANISHED:
            parent["state"] = "gone"
            reader.note("parents/" + parent["address"], "gone")


def _types(reader: Reader, nodes: t.Sequence[t.Tuple[Parent, str]]) -> t.List[t.Optional[Type]]:
    """One record a type directory; null for a type that went away."""
    directories = ["%s/%s/%s" % (parent["path"], _TYPES, name) for parent, name in nodes]
    groups = [parent["path"] for parent, _name in nodes]
    described = {
        key: reader.sysfs.read([(group, path + "/" + key) for group, path in zip(groups, directories)])
        for key in ("name", "description", "device_api", "available_instances")
    }
    versions = reader.versions([(group, path, path + "/" + _VERSION) for group, path in zip(groups, directories)])
    found: t.List[t.Optional[Type]] = []
    for index, (parent, name) in enumerate(nodes):
        item = "parents/%s/types/%s" % (parent["address"], name)
        version = versions[index]
        if version is None:
            reader.note(item, "gone")
            found.append(None)
            continue
        reader.note_version(item, version)
        found.append(
            {
                "id": Name(name),
                "name": _sysfs.text(described["name"][index]),
                "description": _sysfs.text(described["description"][index]),
                "device_api": _sysfs.text(described["device_api"][index]),
                "available_instances": _instances(reader, item, described["available_instances"][index]),
                "migration_version": version,
            }
        )
    return found


def _instances(reader: Reader, item: str, outcome: Outcome) -> t.Optional[int]:
    """A count that makes sense, else null: unknown is not zero."""
    count = number(outcome)
    if count is not None and 0 <= count <= _MOST_INSTANCES:
        return count
    reader.note(item + "/available_instances", "not_a_number" if outcome.state == "done" else reason(outcome))
    return None


# ------------------------------------------------------------------------------------------------------------ devices


def read_devices(
    reader: Reader, parents: t.Mapping[str, Parent], mdevs: t.Sequence[str], others: t.Sequence[str]
) -> t.Tuple[t.List[Device], t.List[_workloads.DeviceKey]]:
    """Records of all devices, and the names by which a process can hold them."""
    items = [(posixpath.dirname(path), path) for path in mdevs] + [(path, path) for path in others]
    identities = reader.identify(items)
    types = mdev_types(reader, items[: len(mdevs)])
    cdevs = reader.sysfs.list([(group, path + "/vfio-dev") for group, path in items])
    nodes = []
    for index, (group, path) in enumerate(items):
        bus, address = identities[index].bus or "pci", posixpath.basename(path)
        node = path + "/" + _VERSION
        if index >= len(mdevs):
            node = device_attribute(reader.options.device_attribute, bus, address)
        nodes.append((group, path, node))
    versions = reader.versions(nodes)
    devices: t.List[Device] = []
    keys: t.List[_workloads.DeviceKey] = []
    for index, (_group, path) in enumerate(items):
        item, version, identity = "devices/" + posixpath.basename(path), versions[index], identities[index]
        if version is None:
            reader.note(item, "gone")
            continue
        parent = parents[posixpath.dirname(path)] if index < len(mdevs) else None
        type_id = types[index] if index < len(mdevs) else None
        if parent is not None and type_id is None and version["status"] != "unknown":
            version = _sysfs.unknown("incomplete")
        reader.note_version(item, version)
        device = _device(path, identity, parent, type_id, version)
        devices.append(device)
        names = cdevs[index].value if cdevs[index].state == "done" else []
        keys.append(_workloads.DeviceKey(device["id"], device["iommu_group"], list(names)))
    return devices, keys


def _device(
    path: str, identity: Identity, parent: t.Optional[Parent], type_id: t.Optional[Name], version: Attribute
) -> Device:
    """For an mdev the parent's driver answers; its own is only the glue to VFIO."""
    return {
        "id": Name(posixpath.basename(path)),
        "kind": "mdev" if parent else "vfio",
        "path": path,
        "bus": identity.bus or "unknown",
        "parent": parent["address"] if parent else None,
        "type": type_id,
        "vendor": parent["vendor"] if parent else identity.vendor,
        "driver": parent["driver"] if parent else identity.driver,
        "driver_version": parent["driver_version"] if parent else identity.driver_version,
        "numa_node": parent["numa_node"] if parent else identity.numa_node,
        "hardware": _udev.UNKNOWN,
        "iommu_group": identity.iommu_group,
        "in_use_by": None,
        "migration_version": version,
    }


def mdev_types(reader: Reader, items: t.Sequence[t.Tuple[str, str]]) -> t.List[t.Optional[Name]]:
    """Type ids of mediated devices. The link comes a moment after the device itself, so it is waited for shortly."""
    found: t.List[t.Optional[Name]] = [None] * len(items)
    missing = list(range(len(items)))
    for attempt in range(_LOOK_AGAIN):
        if attempt:
            reader.guard.pause(_LOOK_AGAIN_PAUSE)
        links = reader.sysfs.links([(items[index][0], items[index][1] + "/mdev_type") for index in missing])
        for index, outcome in zip(missing, links):
            found[index] = Name(posixpath.basename(outcome.value)) if outcome.state == "done" else None
        missing = [index for index, outcome in zip(missing, links) if outcome.errno in _sysfs.VANISHED]
        if not missing:
            break
    return found
