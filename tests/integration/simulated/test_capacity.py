# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived capacity models against drivers: whatever a model allows, the driver then does, and shows no less."""

from __future__ import annotations

import itertools
import pathlib
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _inventory, _reader
from ansible_collections.vfio.migration.plugins.module_utils._model import Snapshot
from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._capacity import Model, Room, derive
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Left
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet
from ansible_collections.vfio.migration.tests.integration.simulated.conftest import read, write
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner.cards import MANY, fits, kind

DEPTH = 3
UUIDS = (f"cccccccc-0000-4000-8000-{number:012}" for number in itertools.count())

POOL = {"model": "shared_units", "total": 9}
GVT = "low_gm_size: {}MB\nhigh_gm_size: {}MB\nfence: 4\nresolution: 1024x768\nweight: 2"
KINDS: dict[str, dict[str, t.Any]] = {
    "pool": {"capacity": POOL, "types": {"pool-a": {"cost": 2}, "pool-b": {"cost": 3}}},
    "core": {"capacity": {"total": 5}, "types": {"core-a": {}, "core-b": {}, "core-c": {}}},
    "vector": {
        "capacity": {"model": "vector", "totals": {"x": 12, "y": 7}},
        "types": {"vector-a": {"needs": {"x": 4, "y": 1}}, "vector-b": {"needs": {"x": 1, "y": 2}}},
    },
    "single": {
        "capacity": {"model": "exclusive"},
        "types": {"single-a": {"instances": 6}, "single-b": {"instances": 3}},
    },
    "free": {
        "capacity": {"model": "independent"},
        "types": {"free-a": {"instances": 4}, "free-b": {"instances": 3}},
    },
    "i915": {
        "capacity": {"model": "vector", "totals": {"low": 512, "high": 3584, "fences": 32}},
        "types": {
            "i915-a": {"description": GVT.format(128, 512), "needs": {"low": 128, "high": 512, "fences": 4}},
            "i915-b": {"description": GVT.format(64, 384), "needs": {"low": 64, "high": 384, "fences": 4}},
        },
    },
    "mtty": {
        "kind": "virtual",
        "capacity": {"model": "shared_units", "total": 24},
        "types": {"mtty-1": {"cost": 1}, "mtty-2": {"cost": 2}},
    },
}
NVIDIA = {
    "nvidia-a": {"description": "framebuffer=5G, max_instance=8", "cost": 1, "instances": 8},
    "nvidia-b": {"description": "framebuffer=10G, max_instance=4", "cost": 2, "instances": 4},
}
FILLINGS = ("", "a", "b", "ab", "aab")
"""Of the parents of each host, by the last letters of types."""


def host(number: int, filling: str) -> dict[str, t.Any]:
    """One parent of every kind. Every other instance belongs to a VM."""
    parents = {
        "mtty" if driver == "mtty" else f"0000:{0x10 + place:02x}:00.0": {"driver": driver, "vendor": "1af4", **keys}
        for place, (driver, keys) in enumerate(KINDS.items())
    }
    parents["0000:3b:00.0"] = {
        "driver": "nvidia",
        "vendor": "10de",
        "types": NVIDIA,
        "capacity": {"model": "exclusive"},
    }
    if len(set(filling)) > 1:
        parents["0000:3b:00.0"]["capacity"] = {"model": "shared_units", "total": 8}
    mdevs = []
    for address, parent in parents.items():
        types = list(parent["types"])
        letters = "".join(sorted(set(filling[:1]))) * len(filling) if parent["driver"] == "single" else filling
        mdevs += [(address, types["ab".index(letter)]) for letter in letters]
    named = [
        {"uuid": f"aaaaaaaa-0000-4000-8000-{number:04}{place:08}", "parent": address, "type": type_id}
        for place, (address, type_id) in enumerate(mdevs)
    ]
    loads = [{"name": f"vm-{place}", "devices": [each["uuid"]]} for place, each in enumerate(named) if place % 2]
    return {"parents": parents, "mdevs": named, "workloads": loads}


WORLD = {"version": 1, "hosts": {f"h{number}": host(number, filling) for number, filling in enumerate(FILLINGS)}}
GENERATED = {"version": 1, "generate": {"hosts": 4, "parents": 2, "types": 4, "vms": 3, "idle": 2, "seed": 7}}


def gather(fleet: Fleet, name: str) -> Snapshot:
    roots = fleet.host(name)
    options = _reader.Options(
        sysfs_root=str(roots.sysfs_root),
        proc_root=str(roots.proc_root),
        read_timeout=1.0,
        deadline=20.0,
        device_attribute="bus/{bus}/devices/{address}/migration_version",
        host=name,
        kernel="6.12.0",
        page_size=4096,
    )
    return _inventory.snapshot(options)


class Card:
    """One parent, by its sysfs."""

    def __init__(self, fleet: Fleet, host: str, address: str) -> None:
        self._bus = fleet.host(host).sysfs_root / "bus/mdev/devices"
        self._types = fleet.host(host).sysfs_root / "class/mdev_bus" / address / "mdev_supported_types"

    def shows(self, type_id: str) -> int:
        return int(read(self._types / type_id / "available_instances"))

    def create(self, type_id: str) -> pathlib.Path:
        """Raises OSError when the driver refuses."""
        ident = next(UUIDS)
        write(self._types / type_id / "create", f"{ident}\n".encode())
        return self._bus / ident

    def remove(self, device: pathlib.Path | str) -> None:
        write(self._bus / device / "remove", b"1")


def replay(card: Card, model: Model, left: Left, depth: int = DEPTH) -> None:
    """Every sequence of creates that the model allows, step by step and back."""
    for type_id, promised in fits(model, left).items():
        assert promised <= card.shows(type_id), (model, left)
    for seat, type_id in enumerate(model.types):
        after = kind(model).take(left, seat) if depth else None
        if after is not None:
            device = card.create(type_id)
            replay(card, model, after, depth - 1)
            card.remove(device)


def fill(card: Card, model: Model, left: Left) -> None:
    """All that fits (or MANY), each type in turn, and away with it."""
    made: list[pathlib.Path] = []
    for seat in itertools.cycle(range(len(model.types))):
        after = kind(model).take(left, seat) if len(made) < MANY else None
        if after is not None:
            made.append(card.create(model.types[seat]))
            left = after
        elif len(made) == MANY or not any(fits(model, left).values()):
            break
    for device in made:
        card.remove(device)


def everything(fleet: Fleet) -> tuple[dict[tuple[str, str], Room], dict[str, Snapshot]]:
    """The room of every parent, when all VMs are to move."""
    snapshots = {name: gather(fleet, name) for name in sorted(fleet.client("status"))}
    hosts = _nodes.load({name: {"vfio_migration": snapshot} for name, snapshot in snapshots.items()})
    leaving = {
        name: {device for workload in snapshot["workloads"] for device in workload["devices"]}
        for name, snapshot in snapshots.items()
    }
    return dict(derive(hosts, (), leaving).rooms), snapshots


@pytest.mark.parametrize("scenario", [WORLD, GENERATED, "small"], ids=["every kind of driver", "generated", "small"])
@pytest.mark.fault("C7")
def test_drivers_do_what_derived_models_promise(run_fleet: t.Callable[..., Fleet], scenario: t.Any) -> None:
    fleet = run_fleet(scenario)
    rooms, snapshots = everything(fleet)
    for (name, address), room in rooms.items():
        card = Card(fleet, name, address)
        # The first instance is promised whenever the driver shows room for it.
        shown = {type_id: min(MANY, card.shows(type_id)) for type_id in room.model.types}
        if room.model.origin != "siblings" or room.model.name == "independent":
            assert fits(room.model, room.left) == shown
        replay(card, room.model, room.left)
        fill(card, room.model, room.left)
    for name, snapshot in snapshots.items():
        for workload in snapshot["workloads"]:
            if workload["kind"] == "qemu":
                fleet.client("stop_workload", host=name, name=workload["name"])
        devices = {device for workload in snapshot["workloads"] for device in workload["devices"]}
        for device in snapshot["devices"]:
            if device["id"] in devices and device["kind"] == "mdev":
                Card(fleet, name, device["parent"] or "").remove(device["id"])
    for (name, address), room in rooms.items():
        card = Card(fleet, name, address)
        replay(card, room.model, room.full)
        fill(card, room.model, room.full)


def test_models_are_recognised(run_fleet: t.Callable[..., Fleet]) -> None:
    """Not by what the scenario calls them, but by what the drivers say and show."""
    rooms, _snapshots = everything(run_fleet(WORLD))
    found: dict[str, set[tuple[str, str]]] = {}
    for room in rooms.values():
        driver = room.model.types[0].partition("-")[0]
        found.setdefault(driver, set()).add((room.model.name, room.model.origin))
    assert found == {
        "pool": {("shared_units", "siblings")},
        "core": {("shared_units", "siblings")},
        "vector": {("shared_units", "siblings")},
        "single": {("unknown", "default")},
        "free": {("shared_units", "siblings")},
        "i915": {("vector", "description")},
        "mtty": {("shared_units", "driver")},
        "nvidia": {("exclusive", "driver"), ("shared_units", "description")},
    }
    core = next(room.model for room in rooms.values() if room.model.driver == "core")
    assert core.costs == ((1,), (1,), (1,))
