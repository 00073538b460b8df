# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count from a scenario alone which strings have to be written where: the least number of writes a fleet can do with.

Nothing of the collection is used here, and nothing was gathered: a scenario says what every driver will say.
"""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.vfio.migration.tests.fleet.simulated import driver
from ansible_collections.vfio.migration.tests.fleet.simulated.scenario import Scenario

Pool = tuple[str, str, str]
"""Scope, vendor, and for types the type: nodes of one pool may be asked each other's strings."""

Node = tuple[Pool, bytes, bool]
"""Its pool, its string, and whether it is to be asked."""


def pairs(scenario: Scenario) -> int:
    """Number of distinct (string, node) pairs: every node is asked what other hosts have of its pool."""
    hosts = {host.name: list(_nodes(driver.HostState(host))) for host in scenario.hosts}
    origins: dict[tuple[Pool, bytes], set[str]] = {}
    for name, nodes in hosts.items():
        for pool, string, _asked in nodes:
            origins.setdefault((pool, string), set()).add(name)
    strings: dict[Pool, list[set[str]]] = {}
    for (pool, _string), names in origins.items():
        strings.setdefault(pool, []).append(names)
    return sum(
        sum(names != {name} for names in strings[pool])
        for name, nodes in hosts.items()
        for pool, _string, asked in nodes
        if asked
    )


def _nodes(host: driver.HostState) -> t.Iterator[Node]:
    for parent in host.parents.values():
        for mdev_type in parent.types.values():
            string = _string(functools.partial(host.show_type, parent, mdev_type))
            if string is not None and "type" in mdev_type.locations:
                yield ("type", parent.spec.pci.vendor, mdev_type.id), string, True
    # Of instances in use one speaks for all of its parent and type, unless one that is free does.
    spoken = {_place(device) for device in host.devices.values() if not host.holder(device.id)}
    for device in sorted(host.devices.values(), key=lambda one: one.id):
        string = _string(functools.partial(host.show_device, device))
        vendor = device.vf.pci.vendor if device.vf else device.parent.spec.pci.vendor if device.parent else ""
        if string is None or (device.type is not None and "device" not in device.type.locations):
            continue
        busy = device.vf is None and host.holder(device.id) is not None
        yield ("device", vendor, ""), string, not busy or _place(device) not in spoken
        spoken.add(_place(device))


def _place(device: driver.DeviceState) -> tuple[str, str]:
    if device.parent is None or device.type is None:
        return device.id, ""
    return device.parent.spec.address, device.type.id


def _string(show: t.Callable[[], bytes]) -> bytes | None:
    try:
        return show().removesuffix(b"\n") or None
    except OSError:
        return None
