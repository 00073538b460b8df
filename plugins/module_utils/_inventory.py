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

from ansible_collections.vfio.migration.plugins.module_utils import _libvirt, _sysfs, _udev, _workloads
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
    Workload,
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
    "vendor_unknown": "The vendor, subsystem or driver could not be read, so it may not be compared with any other.",
    "holders": "Not every process and every libvirt domain could be looked at, so a device without a known holder may "
    "still be in use; run with become: true.",
    "domain_file": "This file of libvirt's domains could not be read, or made sense of, and may name any device; run "
    "with become: true, and check it with virt-xml-validate.",
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
    libvirt_roots: t.Tuple[str, ...] = _libvirt.file_roots("/proc")
    """Directories with the files of libvirt's domains."""
    libvirt_uri: str = ""
    """Which libvirt to ask as well; none when it is empty."""


class HostError(Exception):
    """The host cannot be described at all."""


class Identity(t.NamedTuple):
    """Who answers for a device directory. ``vendor`` is null when what it is made of could not be read."""

    bus: t.Optional[str]
    vendor: t.Optional[str]
    driver: t.Optional[str]
    driver_version: t.Optional[str]
    numa_node: t.Optional[int]
    iommu_group: t.Optional[int]
    group_known: bool
    """False when the IOMMU group could not be read; a device may also have none."""


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
    """Reads one host. ``notes`` collects what was dropped or is unknown, ``domains`` what libvirt has."""

    def __init__(self, options: Options, guard: Guard) -> None:
        self.options = options
        self.guard = guard
        self.sysfs = _sysfs.Sysfs(options.sysfs_root, guard)
        self.notes: t.List[Note] = []
        self.domains: t.List[_libvirt.Domain] = []

    def note(self, item: str, reason: str, detail: t.Optional[str] = None) -> None:
        self.notes.append({"item": item, "reason": reason, "detail": detail or DETAILS[reason]})

    # ------------------------------------------------------------------------------------------------ discovery

    def entries(self, directories: t.Sequence[str]) -> t.Dict[str, t.List[str]]:
        """Names in directories that may be absent: the classes and buses of VFIO come and go with their modules."""
        listed = {}
        for path, outcome in zip(directories, self.sysfs.list([(_HOST, path) for path in directories])):
            listed[path] = list(outcome.value) if outcome.state == "done" else []
            if not _known(outcome):
                if path in _ESSENTIAL:
                    raise HostError("%s: %s" % (path, DETAILS[reason(outcome)]))
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
            elif not _known(outcome) and posixpath.dirname(link) in _ESSENTIAL:
                raise HostError("%s: %s" % (link, DETAILS[reason(outcome)]))
            else:
                self.note(link, reason(outcome))
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
        buses = self._links(items, "subsystem")
        groups = self._links(items, "iommu_group")
        drivers = self._links(items, "driver")
        versions = self._driver_versions({outcome.value for outcome in drivers if outcome.value})
        vendors = self.sysfs.read([(group, path + "/vendor") for group, path in items])
        nodes = self.sysfs.read([(group, path + "/numa_node") for group, path in items])
        found = []
        for index in range(len(items)):
            bus, driver = _base(buses[index]), _base(drivers[index])
            numa_node = number(nodes[index])
            # Half an identity would be another identity, and another vendor is a definite no.
            sure = all(_known(outcome) for outcome in (buses[index], drivers[index], vendors[index]))
            found.append(
                Identity(
                    bus=bus,
                    vendor=vendor_identity(_word(vendors[index]), bus, driver) if sure else None,
                    driver=driver,
                    driver_version=versions.get(drivers[index].value or ""),
                    numa_node=numa_node if numa_node is not None and numa_node >= 0 else None,
                    iommu_group=_to_int(_base(groups[index])),
                    group_known=_known(groups[index]),
                )
            )
        return found

    def _links(self, items: t.Sequence[t.Tuple[str, str]], name: str) -> t.List[Outcome]:
        return self.sysfs.links([(group, path + "/" + name) for group, path in items])

    def _driver_versions(self, drivers: t.Set[str]) -> t.Dict[str, t.Optional[str]]:
        """By driver directory. A module without a version still has a checksum of its sources, as good for noticing
        that the driver was replaced."""
        paths = sorted(drivers)
        modules = [outcome.value for outcome in self._links([(_HOST, path) for path in paths], "module")]
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
_ESSENTIAL = frozenset(("class/mdev_bus", "bus/mdev/devices"))
"""Without these nothing can be said of a host, and nothing said would look like nothing there."""


def _known(outcome: Outcome) -> bool:
    """Whether it is there, or surely not."""
    return outcome.state == "done" or outcome.errno_name == "ENOENT"


def _base(link: Outcome) -> t.Optional[str]:
    return posixpath.basename(link.value) if link.value else None


def reason(outcome: Outcome) -> str:
    """Stable code for what could not be read."""
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
    """A number that was read, else null."""
    return _to_int(_word(outcome))


def snapshot(options: Options) -> Snapshot:
    """Everything that one host says about its VFIO devices. Returns within ``deadline`` seconds, plus the moment it
    takes to write down what was learned."""
    with Guard(HANDLERS, options.read_timeout, options.deadline) as guard:
        reader = Reader(options, guard)
        parent_paths, mdev_paths, vfio_paths = reader.discover()
        parents, devices, workloads = _look_at(reader, parent_paths, mdev_paths, vfio_paths)
        _note_missing(reader, devices)
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
            "workloads": workloads,
            "notes": reader.notes,
        }


def devices_at(reader: Reader, paths: t.Sequence[str]) -> t.List[Device]:
    """Records of the mediated devices at these real paths, as in a snapshot, but for the names of the hardware. Those
    that are gone are left out."""
    return _look_at(reader, sorted({posixpath.dirname(path) for path in paths}), paths, [])[1]


def _look_at(
    reader: Reader, parent_paths: t.Sequence[str], mdevs: t.Sequence[str], others: t.Sequence[str]
) -> t.Tuple[t.List[Parent], t.List[Device], t.List[Workload]]:
    """Parents, devices and who holds them, of real paths."""
    # What the kernel's core answers first: a driver that hangs then takes nothing of it along.
    parents, types = _parents(reader, parent_paths)
    frames = _frames(reader, mdevs, others)
    _add_types(reader, types)
    devices = _devices(reader, {parent["path"]: parent for parent in parents}, frames)
    found = _holders(reader, [frame.key() for frame in frames])
    for device in devices:
        device["in_use_by"] = found.of(device["id"])
    return parents, devices, found.workloads


def _holders(reader: Reader, keys: t.List[_workloads.DeviceKey]) -> _workloads.Found:
    """Walking /proc is not cheap, so a host without devices is spared it. Its VMs may miss theirs all the same."""
    reader.domains, complete = _domains(reader)
    if not keys:
        return _workloads.Found({}, [], frozenset())
    processes, saw_all = _workloads.processes(reader.options.proc_root, reader.guard)
    complete = complete and saw_all
    if not complete:
        reader.note(_HOST, "holders")
    return _workloads.match(keys, processes, complete, reader.domains)


def _domains(reader: Reader) -> t.Tuple[t.List[_libvirt.Domain], bool]:
    """All that libvirt's files and libvirt itself say, and whether no domain can have been overlooked."""
    options = reader.options
    in_files, unread = _libvirt.from_files(options.libvirt_roots, reader.guard)
    for path in unread:
        reader.note(path, "domain_file")
    complete = not unread
    if not options.libvirt_uri:
        return in_files, complete
    asked = _libvirt.from_libvirt(options.libvirt_uri, options.read_timeout, reader.guard.time_left)
    default = options.libvirt_uri == _libvirt.DEFAULT_URI
    # Its files say the same, so where they tell all nothing is lost; and where there are none, there is no libvirt.
    spared = default and complete and (asked.problem == "no_binding" or (asked.problem == "nobody" and not in_files))
    if asked.problem and not spared:
        text = "libvirt (%s) could not be asked for its VMs: %s. What its files on the host say was taken instead."
        reader.note("libvirt", "libvirt", text % (options.libvirt_uri, _libvirt.why(asked.problem, asked.said)))
    complete = complete and asked.complete and (default or asked.problem is None)
    # What libvirt itself says of a domain is newer than its files, which a crash may have left behind.
    known = {domain.uuid for domain in asked.domains}
    stale = [domain._replace(running=False) if domain.uuid in known else domain for domain in in_files]
    return asked.domains + stale, complete


def _note_missing(reader: Reader, devices: t.Sequence[Device]) -> None:
    for domain, absent in _workloads.missing(reader.domains, [device["id"] for device in devices]):
        text = "VM %s names the mdev %s, which this host does not have: create it again, or take it out of the VM."
        reader.note("workloads/" + domain.uuid, "missing_device", text % (domain.name, ", ".join(absent)))


def _hardware(reader: Reader, parents: t.List[Parent], devices: t.List[Device]) -> None:
    """Names for the parents and for the devices that have none; an mdev is known by its parent's name."""
    plain: t.List[t.Union[Parent, Device]] = [*parents, *(device for device in devices if device["parent"] is None)]
    names, missing = _udev.hardware(reader.options.sysfs_root, [record["path"] for record in plain], reader.guard)
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


def _parents(reader: Reader, paths: t.Sequence[str]) -> t.Tuple[t.List[Parent], t.List[t.Tuple[Parent, str]]]:
    """Parents without their types yet, and the types to be read as (parent, type id)."""
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
        elif identity.vendor is None:
            reader.note("parents/" + parent["address"], "vendor_unknown")
        if parent["state"] == "ok" and (listing.state != "done" or identity.vendor is None):
            parent["state"] = "unknown"
        parents.append(parent)
    return parents, [
        (parent, name)
        for parent, listing in zip(parents, listings)
        for name in (listing.value if listing.state == "done" else ())
    ]


def _add_types(reader: Reader, nodes: t.Sequence[t.Tuple[Parent, str]]) -> None:
    types = _types(reader, nodes)
    for (parent, _name), found in zip(nodes, types):
        if found is not None:
            parent["types"].append(found)
    _mark_gone(reader, [parent for (parent, _name), found in zip(nodes, types) if found is None])


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


class Frame(t.NamedTuple):
    """What the links of a device say, before any driver is asked."""

    path: str
    group: str
    """Directory whose driver answers for it: the parent's for an mdev."""
    mediated: bool
    type: t.Optional[Name]
    identity: Identity
    cdevs: Outcome

    def key(self) -> _workloads.DeviceKey:
        """By what processes name it."""
        sure = self.identity.group_known and _known(self.cdevs)
        return _workloads.DeviceKey(Name(self.id), self.identity.iommu_group, self.cdevs.value or [], sure)

    @property
    def id(self) -> str:
        return posixpath.basename(self.path)


def _frames(reader: Reader, mdevs: t.Sequence[str], others: t.Sequence[str]) -> t.List[Frame]:
    """All devices; one that was made an mdev only after the mdevs were listed is left to the next run."""
    items = [(posixpath.dirname(path), path) for path in mdevs] + [(path, path) for path in others]
    identities = reader.identify(items)
    types = mdev_types(reader, items[: len(mdevs)])
    cdevs = reader.sysfs.list([(group, path + "/vfio-dev") for group, path in items])
    return [
        Frame(
            path,
            group,
            index < len(mdevs),
            types[index] if index < len(mdevs) else None,
            identities[index],
            cdevs[index],
        )
        for index, (group, path) in enumerate(items)
        if index < len(mdevs) or identities[index].bus != "mdev"
    ]


def _devices(reader: Reader, parents: t.Mapping[str, Parent], frames: t.Sequence[Frame]) -> t.List[Device]:
    """Records of all devices that are still there; ``in_use_by`` and hardware names come later."""
    versions = reader.versions([(frame.group, frame.path, _version_path(reader.options, frame)) for frame in frames])
    devices: t.List[Device] = []
    for frame, found in zip(frames, versions):
        item = "devices/" + frame.id
        if found is None:
            reader.note(item, "gone")
            continue
        half_made = frame.mediated and frame.type is None and found["status"] != "unknown"
        version = _sysfs.unknown("incomplete") if half_made else found
        reader.note_version(item, version)
        parent = parents[frame.group] if frame.mediated else None
        devices.append(_device(frame.path, frame.identity, parent, frame.type, version))
    return devices


def _version_path(options: Options, frame: Frame) -> str:
    if frame.mediated:
        return frame.path + "/" + _VERSION
    return device_attribute(options.device_attribute, frame.identity.bus or "pci", frame.id)


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
