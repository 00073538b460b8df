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

import posixpath
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _devices, _libvirt, _sysfs, _udev, _workloads
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Outcome
from ansible_collections.vfio.migration.plugins.module_utils._model import (
    SCHEMA_VERSION,
    Device,
    Hardware,
    Name,
    Parent,
    Snapshot,
    Type,
    Workload,
)
from ansible_collections.vfio.migration.plugins.module_utils._reader import (
    DETAILS,
    ESSENTIAL,
    HostError,
    Identity,
    Options,
    Reader,
    boot_id,
    known,
    number,
    reason,
    timestamp,
)

_HOST = "host"
_TYPES = "mdev_supported_types"
_VERSION = "migration_version"
_VFIO_BUSES = ("amba", "cdx", "fsl-mc", "pci", "platform")
"""Buses whose drivers may hand a device to VFIO directly, for kernels before 6.1 that have no class vfio-dev."""
_MOST_INSTANCES = 1000000
_DRIVER_FILES = frozenset(("bind", "unbind", "new_id", "remove_id", "uevent", "module"))
_TEXTS = ("name", "description", "device_api", "available_instances")

HANDLERS = {**_sysfs.HANDLERS, **_udev.HANDLERS, **_workloads.HANDLERS}


def snapshot(options: Options) -> Snapshot:
    """Everything that one host says about its VFIO devices. Returns within ``deadline`` seconds, plus the moment it
    takes to write down what was learned."""
    with Guard(HANDLERS, options.read_timeout, options.deadline) as guard:
        reader = Reader(options, guard)
        parent_paths, mdev_paths, vfio_paths = _discover(reader)
        parents, devices, workloads = _look_at(reader, parent_paths, mdev_paths, vfio_paths)
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


def _look_at(
    reader: Reader, parent_paths: t.Sequence[str], mdevs: t.Sequence[str], others: t.Sequence[str]
) -> t.Tuple[t.List[Parent], t.List[Device], t.List[Workload]]:
    """Parents, devices and who holds them, of real paths."""
    # What the kernel's core answers first: a driver that hangs then takes nothing of it along.
    owners = dict(zip(parent_paths, reader.identify([(path, path) for path in parent_paths])))
    parents, types = _parents(reader, owners)
    frames = _devices.frames(reader, mdevs, others)
    _add_types(reader, types)
    devices = _devices.devices(reader, owners, frames)
    found, domains = _holders(reader, frames)
    for device in devices:
        device["in_use_by"] = found.of(device["id"])
    _note_missing(reader, domains, devices)
    return parents, devices, found.workloads


def _holders(reader: Reader, frames: t.Sequence[_devices.Frame]) -> t.Tuple[_workloads.Found, t.List[_libvirt.Domain]]:
    """Who holds what, and all domains of libvirt. Walking /proc is not cheap, so a host without devices is spared it.
    Its VMs may miss theirs all the same."""
    domains, complete = _domains(reader)
    if not frames:
        return _workloads.Found({}, [], frozenset()), domains
    processes, saw_all = _workloads.processes(reader.options.proc_root, reader.guard)
    complete = complete and saw_all
    if not complete:
        reader.note(_HOST, "holders")
    return _workloads.match([frame.key() for frame in frames], processes, complete, domains), domains


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
    known_uuids = {domain.uuid for domain in asked.domains}
    stale = [domain._replace(running=False) if domain.uuid in known_uuids else domain for domain in in_files]
    return asked.domains + stale, complete


def _note_missing(reader: Reader, domains: t.Sequence[_libvirt.Domain], devices: t.Sequence[Device]) -> None:
    for domain, absent in _workloads.missing(domains, [device["id"] for device in devices]):
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


# --------------------------------------------------------------------------------------------------------- discovery


def _real_paths(reader: Reader, links: t.Sequence[str]) -> t.List[str]:
    """Device directories that links lead to, each once, in the order of their paths."""
    found = {}
    for link, outcome in zip(links, reader.sysfs.links([(_HOST, link) for link in links])):
        if outcome.state == "done" and outcome.value.startswith("devices/"):
            found[outcome.value] = True
        elif outcome.state == "done":
            reader.note(link, "no_device")
        elif not known(outcome) and posixpath.dirname(link) in ESSENTIAL:
            raise HostError("%s: %s" % (link, DETAILS[reason(outcome)]))
        else:
            reader.note(link, reason(outcome))
    return sorted(found)


def _discover(reader: Reader) -> t.Tuple[t.List[str], t.List[str], t.List[str]]:
    """Real paths of parents, of mediated devices and of other VFIO devices."""
    drivers = ["bus/%s/drivers" % bus for bus in _VFIO_BUSES]
    listed = reader.entries(["class/mdev_bus", "bus/mdev/devices", "class/vfio-dev"] + drivers)
    mdevs = _real_paths(reader, ["bus/mdev/devices/" + name for name in listed["bus/mdev/devices"]])
    parents = set(_real_paths(reader, ["class/mdev_bus/" + name for name in listed["class/mdev_bus"]]))
    # A parent that is being unregistered has left the class while its devices are still there.
    parents.update(posixpath.dirname(path) for path in mdevs)
    # .../<device>/vfio-dev/vfio0
    cdevs = _real_paths(reader, ["class/vfio-dev/" + name for name in listed["class/vfio-dev"]])
    devices = {posixpath.dirname(posixpath.dirname(path)) for path in cdevs}
    vfio_drivers = ["%s/%s" % (path, name) for path in drivers for name in listed[path] if "vfio" in name]
    bound = reader.entries(vfio_drivers)
    devices.update(
        _real_paths(
            reader,
            ["%s/%s" % (driver, name) for driver in bound for name in bound[driver] if name not in _DRIVER_FILES],
        )
    )
    return sorted(parents), mdevs, sorted(devices - set(mdevs) - parents)


# ------------------------------------------------------------------------------------------------- parents and types


def _parents(reader: Reader, owners: t.Mapping[str, Identity]) -> t.Tuple[t.List[Parent], t.List[t.Tuple[Parent, str]]]:
    """Parents without their types yet, and the types to be read as (parent, type id)."""
    listings = reader.sysfs.list([(path, path + "/" + _TYPES) for path in owners])
    parents: t.List[Parent] = []
    for (path, identity), listing in zip(owners.items(), listings):
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
    items = [(parent["path"], "%s/%s/%s" % (parent["path"], _TYPES, name)) for parent, name in nodes]
    described = dict(zip(_TEXTS, reader.sysfs.sweeps(items, *(("read", key) for key in _TEXTS))))
    versions = reader.versions([(group, path, path + "/" + _VERSION) for group, path in items])
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
