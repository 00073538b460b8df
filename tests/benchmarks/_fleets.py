# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of large fleets for the planner's benchmark, made up by the following rules from a seed.

A host has eight parents. Its hardware is one of a mix's layouts, which name the family of each parent. Each host runs
one release of the drivers, as a fleet does in the middle of an upgrade: the newer the release, the fewer hosts have it.
A type's string is ``<type>-<release>``, so a fleet has (types of the mix) x (releases) strings. A driver accepts the
strings of its type from its own and the two releases before; it refuses the others. One host in fifty was never asked,
so that its answers are unknown.

Parents are filled one place after the other, each with the chance ``used``; the driver's numbers of what else fits are
worked out as that driver does it:

=========== ======================================================================= ================================
family      types (instances of an empty parent)                                    coupling
=========== ======================================================================= ================================
nvidia      nvidia-556 (3), nvidia-557 (2), nvidia-558 (1)                          exclusive
nvidia-l    nvidia-1145 (3), nvidia-1146 (1)                                        exclusive
i915        GVTg_V5_1 (1), V5_2 (2), V5_4 (4), as descriptions say                  vector of graphics memory and fences
mtty        mtty-1 (4), mtty-2 (2)                                                  pool of four ports
single      qat_4xxx-vf (2)                                                             one type only
=========== ======================================================================= ================================

One VM in ten has two to four devices, the others one. The hosts to drain are drawn at random.

Equal parts of the facts are one object, so that ten thousand hosts fit into memory; nobody may change them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import random
import typing as t

Facts = dict[str, t.Any]

TIME = "2026-11-22T12:00:00Z"
MAX_AGE = 86400
_BOOT = "0f3e4d5c-1a2b-4c3d-8e9f-0123456789ab"
_ADDRESSES = tuple(f"0000:{bus:02x}:00.0" for bus in range(0x3B, 0x3B + 8))
_ACCEPTED_RELEASES = 3
_NOT_ASKED = 0.02
_MANY_DEVICES = 0.1


@dataclasses.dataclass(frozen=True)
class Family:
    """One sort of parent."""

    driver: str
    vendor: str
    hardware: tuple[str, str]
    exclusive: bool
    total: tuple[int, ...]
    """Units of each resource of an empty parent; of an exclusive one the only resource is the parent."""
    costs: t.Mapping[str, tuple[int, ...]]
    """Type -> what an instance takes of them."""
    descriptions: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


def _gvt(low: int, high: int) -> str:
    return f"low_gm_size: {low}MB\nhigh_gm_size: {high}MB\nfence: 4\nresolution: 1920x1200\nweight: 4\n"


def _grid(memory: int, most: int) -> str:
    return f"num_heads=4, frl_config=60, framebuffer={memory}M, max_resolution=7680x4320, max_instance={most}"


FAMILIES: dict[str, Family] = {
    "nvidia": Family(
        "nvidia", "pci:10de", ("NVIDIA Corporation", "GA102GL [A40]"), True, (6,),
        {"nvidia-556": (2,), "nvidia-557": (3,), "nvidia-558": (6,)},
        {"nvidia-556": _grid(16384, 3), "nvidia-557": _grid(24576, 2), "nvidia-558": _grid(49152, 1)},
    ),
    "nvidia-l": Family(
        "nvidia", "pci:10de", ("NVIDIA Corporation", "AD104GL [L4]"), True, (3,),
        {"nvidia-1145": (1,), "nvidia-1146": (3,)},
        {"nvidia-1145": _grid(8192, 3), "nvidia-1146": _grid(24576, 1)},
    ),
    "i915": Family(
        "i915", "pci:8086", ("Intel Corporation", "Iris Plus Graphics 655"), False, (512, 2048, 16),
        {"i915-GVTg_V5_1": (512, 2048, 4), "i915-GVTg_V5_2": (256, 1024, 4), "i915-GVTg_V5_4": (128, 512, 4)},
        {"i915-GVTg_V5_1": _gvt(512, 2048), "i915-GVTg_V5_2": _gvt(256, 1024), "i915-GVTg_V5_4": _gvt(128, 512)},
    ),
    "mtty": Family("mtty", "pci:4348", ("WCH.CN", "serial"), False, (4,), {"mtty-1": (1,), "mtty-2": (2,)}),
    "single": Family("qat_4xxx", "pci:8086", ("Intel Corporation", "4xxx QAT"), False, (2,), {"qat_4xxx-vf": (1,)}),
}  # fmt: skip

MIXES: dict[str, tuple[tuple[str, ...], ...]] = {
    "gpu": (("nvidia",) * 8,),
    "gpus": (("nvidia",) * 8, ("nvidia-l",) * 8, ("nvidia",) * 4 + ("nvidia-l",) * 4),
    "igpu": (("i915",) * 8,),
    "all": (
        ("nvidia",) * 8,
        ("nvidia",) * 4 + ("nvidia-l",) * 4,
        ("i915",) * 8,
        ("nvidia",) * 4 + ("i915",) * 4,
        ("mtty",) * 2 + ("single",) * 2 + ("nvidia",) * 4,
    ),
}
"""Layouts of hosts, all equally frequent."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """One fleet."""

    hosts: int
    used: float
    """Chance of each place to be taken."""
    drained: float
    """Share of the hosts."""
    mix: str
    releases: int
    seed: int = 1

    @property
    def strings(self) -> int:
        """Number of different strings that the fleet may have."""
        families = {family for layout in MIXES[self.mix] for family in layout}
        return self.releases * sum(len(FAMILIES[family].costs) for family in families)

    @property
    def label(self) -> str:
        """For a table."""
        return f"{self.hosts} .{100 * self.used:.0f} {100 * self.drained:.0f}% {self.mix} {self.strings}"


def drain(spec: Spec) -> list[str]:
    """The hosts to drain."""
    chance = random.Random(f"{spec.seed} drain")
    return sorted(
        _name(number) for number in chance.sample(range(spec.hosts), max(1, round(spec.hosts * spec.drained)))
    )


def facts(spec: Spec) -> dict[str, Facts]:
    """Host -> its ansible_facts."""
    return {_name(number): host_facts(spec, number) for number in range(spec.hosts)}


def lay_cache(folder: pathlib.Path, spec: Spec) -> None:
    """As files, as the jsonfile cache plugin of ansible-core would lay them."""
    for number in range(spec.hosts):
        text = json.dumps({"__payload__": json.dumps(host_facts(spec, number))})
        (folder / f"s1_{_name(number)}").write_text(text, encoding="utf-8")


def host_facts(spec: Spec, number: int) -> Facts:
    """What one host says; no other host has to be made for it."""
    chance = random.Random(f"{spec.seed} {number}")
    layout = chance.choice(MIXES[spec.mix])
    releases = range(1, spec.releases + 1)
    release = chance.choices(releases, [1 / each for each in releases])[0]
    asked = chance.random() >= _NOT_ASKED
    parents = []
    places: list[tuple[str, Family, str]] = []
    for address, name in zip(_ADDRESSES, layout, strict=True):
        family = FAMILIES[name]
        taken = _fill(family, spec.used, chance)
        places += [(address, family, kind) for kind in taken]
        parents.append(_parent(address, name, release, tuple(_room(family, taken))))
    devices, workloads = _devices(places, release, chance)
    host = _name(number)
    found: Facts = {"vfio_migration": _snapshot(host, parents, devices, workloads)}
    if asked:
        found["vfio_migration_verdicts"] = _verdict_set(host, _verdicts(layout, release, spec.releases))
    return found


def _name(number: int) -> str:
    return f"hv{number:05}"


def _fill(family: Family, used: float, chance: random.Random) -> list[str]:
    """Types of the instances that are on a parent."""
    kinds = list(family.costs)
    if family.exclusive:
        kind = chance.choice(kinds)
        return [kind for _place in range(family.total[0] // family.costs[kind][0]) if chance.random() < used]
    taken: list[str] = []
    while chance.random() < used:
        fitting = [kind for kind, room in zip(kinds, _room(family, taken), strict=True) if room]
        if not fitting:
            break
        taken.append(chance.choice(fitting))
    return taken


def _room(family: Family, taken: t.Sequence[str]) -> list[int]:
    """available_instances of each type."""
    left = [total - sum(family.costs[kind][resource] for kind in taken) for resource, total in enumerate(family.total)]
    return [
        0
        if family.exclusive and set(taken) - {kind}
        else min(have // need for have, need in zip(left, cost, strict=True))
        for kind, cost in family.costs.items()
    ]


def _devices(
    places: t.Sequence[tuple[str, Family, str]], release: int, chance: random.Random
) -> tuple[list[Facts], list[Facts]]:
    """Devices, and the VMs that have them: neighbours, mostly of one type."""
    devices, workloads = [], []
    start = 0
    while start < len(places):
        number = chance.choice((2, 2, 3, 4)) if chance.random() < _MANY_DEVICES else 1
        own = places[start : start + number]
        start += number
        vm = _uuid(chance)
        holders = [{"pid": 4711, "command": "qemu-system-x86_64", "workload": vm}]
        named = [(_uuid(chance), place) for place in own]
        devices += [_device(uuid, place, release, holders) for uuid, place in named]
        ids = [uuid for uuid, _place in named]
        named_vm = {"id": vm, "kind": "qemu", "name": f"vm-{vm[:8]}", "uuid": vm, "pid": 4711, "state": "running"}
        workloads.append({**named_vm, "devices": ids})
    return devices, workloads


def _uuid(chance: random.Random) -> str:
    digits = f"{chance.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


@functools.cache
def _attribute(kind: str, release: int) -> Facts:
    return {"status": "ok", "value": _string(kind, release), "reason": None, "errno": None, "raw": None}


def _string(kind: str, release: int) -> str:
    return f"{kind}-{release:04}"


@functools.cache
def _parent(address: str, name: str, release: int, room: tuple[int, ...]) -> Facts:
    family = FAMILIES[name]
    return {
        "address": address,
        "path": f"devices/pci0000:3a/{address}",
        "subsystem": "pci",
        "vendor": family.vendor,
        "driver": family.driver,
        "driver_version": _version(release),
        "numa_node": 0,
        "hardware": _HARDWARE[name],
        "state": "ok",
        "types": [_type(name, kind, release, count) for kind, count in zip(family.costs, room, strict=True)],
    }


@functools.cache
def _type(name: str, kind: str, release: int, room: int) -> Facts:
    return {
        "id": kind,
        "name": kind.partition("-")[2],
        "description": FAMILIES[name].descriptions.get(kind),
        "device_api": "vfio-pci",
        "available_instances": room,
        "migration_version": _attribute(kind, release),
    }


_HARDWARE: dict[str, Facts] = {
    name: {"vendor": family.hardware[0], "model": family.hardware[1]} for name, family in FAMILIES.items()
}
_HARDWARE_OF = {family.hardware: _HARDWARE[name] for name, family in FAMILIES.items()}


def _device(uuid: str, place: tuple[str, Family, str], release: int, holders: list[Facts]) -> Facts:
    address, family, kind = place
    return {
        "id": uuid,
        "kind": "mdev",
        "path": f"devices/pci0000:3a/{address}/{uuid}",
        "bus": "mdev",
        "parent": address,
        "type": kind,
        "vendor": family.vendor,
        "driver": family.driver,
        "driver_version": _version(release),
        "numa_node": 0,
        "hardware": _HARDWARE_OF[family.hardware],
        "iommu_group": 12,
        "in_use_by": holders,
        "migration_version": _attribute(kind, release),
    }


@functools.cache
def _version(release: int) -> str:
    return f"1.{release}"


def _snapshot(host: str, parents: list[Facts], devices: list[Facts], workloads: list[Facts]) -> Facts:
    return {
        "schema_version": 1,
        "host": host,
        "boot_id": _BOOT,
        "kernel": "6.12.48+deb13-amd64",
        "page_size": 4096,
        "time": TIME,
        "parents": parents,
        "devices": devices,
        "workloads": workloads,
        "notes": [],
    }


def _verdict_set(host: str, verdicts: list[Facts]) -> Facts:
    return {
        "schema_version": 1,
        "host": host,
        "boot_id": _BOOT,
        "time": TIME,
        "written": len(verdicts),
        "would_write": [],
        "verdicts": verdicts,
        "notes": [],
    }


@functools.cache
def _verdicts(layout: tuple[str, ...], release: int, releases: int) -> list[Facts]:
    """What all hosts with this hardware and release said to all strings but their own."""
    return [
        _verdict(address, FAMILIES[name], kind, asked, release)
        for address, name in zip(_ADDRESSES, layout, strict=True)
        for kind in FAMILIES[name].costs
        for asked in range(1, releases + 1)
    ]


def _verdict(address: str, family: Family, kind: str, asked: int, release: int) -> Facts:
    accepted = release - _ACCEPTED_RELEASES < asked <= release
    string = _string(kind, asked)
    return {
        "scope": "type",
        "parent": address,
        "type": kind,
        "device": None,
        "string": string,
        "vendor": family.vendor,
        "source_type": kind,
        "verdict": "compatible" if accepted else "incompatible",
        "reason": None if accepted else "errno",
        "errno": None if accepted else "EINVAL",
        "bytes_written": len(string) if accepted else None,
        "form": "without_newline",
        "evidence": {
            "boot_id": _BOOT,
            "driver": family.driver,
            "driver_version": _version(release),
            "time": TIME,
        },
    }
