# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large fleets: ``generate`` in a scenario becomes plain host data, the same for the same seed."""

from __future__ import annotations

import random
import typing as t
import uuid

from ._reader import Reader

VENDORS = (("10de", "nvidia", "20b5"), ("8086", "i915", "591d"))


def generate(reader: Reader) -> dict[str, t.Any]:
    """Hosts ``hv0001`` and so on; the README lists the parameters."""
    numbers = {
        key: reader.number(key, default)
        for key, default in (
            ("hosts", 20),
            ("parents", 4),
            ("types", 4),
            ("vms", 4),
            ("idle", 0),
            ("vfs", 0),
            ("versions", 3),
            ("units", 8),
        )
    }
    seed = reader.number("seed", 1)
    rule = reader.text("rule", "older_minor_accepted")
    reader.done()
    shuffle = random.Random(seed)
    return {f"hv{number + 1:04d}": _host(number, numbers, rule, shuffle) for number in range(numbers["hosts"])}


def _host(number: int, numbers: dict[str, int], rule: str, shuffle: random.Random) -> dict[str, t.Any]:
    vendor, driver, device = VENDORS[number % len(VENDORS)]
    version = f"{550 + number % 2}.{shuffle.randrange(max(1, numbers['versions']))}"
    types = {
        f"{driver}-{index + 1}": {
            "name": f"{driver.upper()} {2 ** (index % 4)}Q",
            "description": f"num_heads=4, framebuffer={2 ** (index % 4)}G",
            "cost": 2 ** (index % 4),
        }
        for index in range(numbers["types"])
    }
    parent = {
        "driver": driver,
        "driver_version": version,
        "vendor": vendor,
        "device": device,
        "rule": rule,
        "capacity": {"model": "shared_units", "total": numbers["units"]},
        "types": types,
    }
    addresses = [_address(0x3B, index) for index in range(numbers["parents"])]
    host: dict[str, t.Any] = {
        "parents": {address: {**parent, "numa_node": i % 2} for i, address in enumerate(addresses)}
    }
    if addresses and types:
        mdevs = [
            {"uuid": _uuid(shuffle), "parent": addresses[index % len(addresses)], "type": next(iter(types))}
            for index in range(numbers["vms"] + numbers["idle"])
        ]
        host["mdevs"] = mdevs
        host["workloads"] = [
            {"name": f"vm-{number + 1:04d}-{index}", "uuid": _uuid(shuffle), "devices": [mdev["uuid"]]}
            for index, mdev in enumerate(mdevs[: numbers["vms"]])
        ]
    if numbers["vfs"]:
        host["vfs"] = {_address(0x5E, index): _VF for index in range(numbers["vfs"])}
    return host


_VF = {"driver": "mlx5_vfio_pci", "driver_version": "24.1", "vendor": "15b3", "device": "101e", "rule": "exact"}


def _address(bus: int, index: int) -> str:
    """The index-th function: 8 functions a slot, 32 slots a bus."""
    return f"0000:{bus + index // 256:02x}:{index // 8 % 32:02x}.{index % 8}"


def _uuid(shuffle: random.Random) -> str:
    return str(uuid.UUID(int=shuffle.getrandbits(128), version=4))
