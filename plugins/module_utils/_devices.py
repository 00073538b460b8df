# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device directories -> records of the devices.

Links come first, from the kernel's core; the drivers are asked at the very end, so that one that hangs takes nothing
else along. Sources: Documentation/driver-api/vfio-mediated-device.rst,
Documentation/ABI/testing/sysfs-devices-vfio-dev.

This file is private to the collection.
"""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _sysfs, _udev, _workloads
from ansible_collections.vfio.migration.plugins.module_utils._guard import Outcome
from ansible_collections.vfio.migration.plugins.module_utils._model import Attribute, Device, Name
from ansible_collections.vfio.migration.plugins.module_utils._reader import (
    Identity,
    Options,
    Reader,
    base,
    device_attribute,
    known,
    to_int,
)

_VERSION = "migration_version"
_LOOK_AGAIN = 3
_LOOK_AGAIN_PAUSE = 0.05


class Frame(t.NamedTuple):
    """What the links of a device say, before any driver is asked."""

    path: str
    group: str
    """Directory whose driver answers for it: the parent's for an mdev."""
    identity: t.Optional[Identity]
    """Null for an mdev: its own driver is only the glue to VFIO."""
    type: t.Optional[Name]
    iommu_group: Outcome
    cdevs: Outcome

    @property
    def id(self) -> str:
        return posixpath.basename(self.path)

    def key(self) -> _workloads.DeviceKey:
        """By what processes name it."""
        sure = known(self.iommu_group) and known(self.cdevs)
        return _workloads.DeviceKey(Name(self.id), to_int(base(self.iommu_group)), self.cdevs.value or [], sure)


def frames(reader: Reader, mdevs: t.Sequence[str], others: t.Sequence[str]) -> t.List[Frame]:
    """Mediated and other devices; one that was made an mdev only after the mdevs were listed is left to the next
    run."""
    items = [(posixpath.dirname(path), path) for path in mdevs] + [(path, path) for path in others]
    groups, cdevs = reader.sysfs.sweeps(items, ("link", "iommu_group"), ("list", "vfio-dev"))
    types = mdev_types(reader, items[: len(mdevs)])
    identities = reader.identify(items[len(mdevs) :])
    found = []
    for index, (group, path) in enumerate(items):
        mediated = index < len(mdevs)
        identity = None if mediated else identities[index - len(mdevs)]
        if identity is None or identity.bus != "mdev":
            type_id = types[index] if mediated else None
            found.append(Frame(path, group, identity, type_id, groups[index], cdevs[index]))
    return found


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


def devices(reader: Reader, owners: t.Mapping[str, Identity], found: t.Sequence[Frame]) -> t.List[Device]:
    """Records of all devices that are still there; ``in_use_by`` and hardware names come later. ``owners``: who
    answers for the parents of mediated devices, by path."""
    nodes = [(frame.group, frame.path, _version_path(reader.options, frame)) for frame in found]
    records: t.List[Device] = []
    for frame, read in zip(found, reader.versions(nodes)):
        item = "devices/" + frame.id
        if read is None:
            reader.note(item, "gone")
            continue
        half_made = frame.identity is None and frame.type is None and read["status"] != "unknown"
        version = _sysfs.unknown("incomplete") if half_made else read
        reader.note_version(item, version)
        records.append(_device(frame, frame.identity or owners[frame.group], version))
    return records


def _version_path(options: Options, frame: Frame) -> str:
    if frame.identity is None:
        return frame.path + "/" + _VERSION
    return device_attribute(options.device_attribute, frame.identity.bus or "pci", frame.id)


def _device(frame: Frame, identity: Identity, version: Attribute) -> Device:
    """``identity``: of whoever answers for it, which for an mdev is its parent."""
    mediated = frame.identity is None
    return {
        "id": Name(frame.id),
        "kind": "mdev" if mediated else "vfio",
        "path": frame.path,
        "bus": "mdev" if mediated else identity.bus or "unknown",
        "parent": Name(posixpath.basename(frame.group)) if mediated else None,
        "type": frame.type,
        "vendor": identity.vendor,
        "driver": identity.driver,
        "driver_version": identity.driver_version,
        "numa_node": identity.numa_node,
        "hardware": _udev.UNKNOWN,
        "iommu_group": to_int(base(frame.iommu_group)),
        "in_use_by": None,
        "migration_version": version,
    }


def devices_at(reader: Reader, paths: t.Sequence[str]) -> t.List[Device]:
    """Records of the mediated devices at these real paths, as in a snapshot, but for the names of the hardware. Those
    that are gone are left out."""
    parents = sorted({posixpath.dirname(path) for path in paths})
    owners = dict(zip(parents, reader.identify([(path, path) for path in parents])))
    found = frames(reader, paths, [])
    records = devices(reader, owners, found)
    if not records:
        # Walking /proc is not cheap.
        return []
    users = _workloads.users(reader.options.proc_root, reader.options.libvirt_roots, reader.guard)
    held = _workloads.match([frame.key() for frame in found], users.processes, users.complete, users.domains)
    for record in records:
        record["in_use_by"] = held.of(record["id"])
    return records
