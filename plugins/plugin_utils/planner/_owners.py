# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has which device of a host: the workloads that a plan speaks of.

This file is private to the collection and pure.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Device, Snapshot

Nature = t.Literal["vm", "process", "defined", "unknown"]
"""defined: a libvirt domain that does not run. unknown: nobody knows who has the device, so it is its own workload."""


class Owner(t.NamedTuple):
    """A workload and the devices that are its own."""

    id: str
    name: str | None
    nature: Nature
    devices: tuple[str, ...]
    shared: tuple[str, ...] = ()
    """Devices that another workload has as well, which counts as their owner."""


def owners(snapshot: Snapshot) -> list[Owner]:
    """The workloads of a host in order of their ids. An idle device that nobody has belongs to none."""
    found: dict[str, Owner] = {}
    taken: set[str] = set()
    for workload in sorted(snapshot["workloads"], key=lambda each: (each["id"], each["name"] or "", each["kind"])):
        nature: Nature = "vm" if workload["kind"] == "qemu" else "process"
        _add(found, Owner(workload["id"], workload["name"], nature, tuple(workload["devices"])), taken)
    for device in sorted(snapshot["devices"], key=lambda each: each["id"]):
        if device["id"] not in taken and device["in_use_by"] != []:
            _add(found, _holder(device), taken)
    return [found[name] for name in sorted(found)]


def _add(found: dict[str, Owner], new: Owner, taken: set[str]) -> None:
    """Two records of one id are one workload: they are the processes of one VM, or the devices of one domain."""
    if new.id not in found and taken.isdisjoint(new.devices):
        # As nearly all are; the rest costs time.
        taken.update(new.devices)
        found[new.id] = Owner(new.id, new.name, new.nature, tuple(sorted(set(new.devices))))
        return
    known = found.get(new.id, new._replace(devices=()))
    own = sorted(set(new.devices) - taken)
    shared = (set(new.devices) & taken) - set(known.devices)
    taken.update(own)
    found[new.id] = known._replace(
        devices=tuple(sorted([*known.devices, *own])), shared=tuple(sorted({*known.shared, *shared}))
    )


def _holder(device: Device) -> Owner:
    for holder in sorted(device["in_use_by"] or (), key=lambda each: each["workload"] or "~"):
        if holder["workload"]:
            return Owner(holder["workload"], None, "defined", (device["id"],))
    return Owner(device["id"], None, "unknown", (device["id"],))
