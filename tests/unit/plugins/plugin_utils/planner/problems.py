# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeded problems of any size, as a real fleet poses them: for tests and benchmarks of the search alone.

Hosts have eight parents of one product in one driver version. Seven of ten hosts have a product whose first instance
fixes the type of its parent (four, two or one instances), the others one whose types share six units. A source
string is a type in a version; a driver accepts its own version's, nine of ten older ones and few newer ones. Half of
the room that is left are empty parents, half are free slots of parents in use. One of ten VMs has two to four
devices.
"""

from __future__ import annotations

import dataclasses
import random

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    Group,
    Host,
    Kind,
    Left,
    Parent,
    Problem,
    Seat,
    Vm,
)

TYPES = 5
"""Three of the exclusive product, then two of the shared one."""
INSTANCES = (4, 2, 1)
UNITS = 6
COSTS = (2, 3)
OFTEN = (3, 4, 3)
PARENTS = 8


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a problem looks like."""

    hosts: int
    used: float = 0.95
    """Share of the capacity that is in use."""
    drained: float = 0.05
    """Share of the hosts that is drained."""
    strings: int = 50
    """A multiple of five."""
    seed: int = 1
    incoming: int | None = None
    headroom: bool = False
    """Whether CPUs and memory count."""
    together: float = 0.0
    """Share of the VMs that are in an anti-affinity group of three."""
    unknown: float = 0.0
    """Share of the answers that are not known but may be tried."""


def problem(shape: Shape) -> Problem:
    """The problem of this shape, always the same."""
    chance = random.Random(f"{shape}")
    versions = max(1, shape.strings // TYPES)
    kinds = [_kind(version, exclusive, versions, shape, chance) for version in range(versions) for exclusive in (1, 0)]
    drained = set(chance.sample(range(shape.hosts), max(1, round(shape.hosts * shape.drained))))
    hosts: list[Host] = []
    vms: list[Vm] = []
    for number in range(shape.hosts):
        version, shared = chance.randrange(versions), int(chance.random() >= 0.7)
        parents, needs = _parents(2 * version + shared, version, shared, shape.used, chance)
        hosts.append(_host(number, parents, number in drained, shape, chance))
        if number in drained:
            vms += _vms(number, needs, shape, chance)
    groups, vms = _groups(vms, shape, chance)
    return Problem(tuple(hosts), tuple(kinds), tuple(vms), groups)


def _kind(version: int, exclusive: int, versions: int, shape: Shape, chance: random.Random) -> Kind:
    seats = []
    for kind in range(3) if exclusive else range(3, TYPES):
        yes: set[int] = set()
        maybe: set[int] = set()
        for other in range(versions):
            likely = 1.0 if other == version else 0.9 if other < version else 0.15
            if chance.random() < likely:
                (maybe if other != version and chance.random() < shape.unknown else yes).add(other * TYPES + kind)
        seats.append(Seat(f"type-{kind}", frozenset(yes), frozenset(maybe), frozenset(), version * TYPES + kind))
    return Kind(bool(exclusive), tuple(seats), () if exclusive else tuple((cost,) for cost in COSTS))


def _parents(
    kind: int, version: int, shared: int, used: float, chance: random.Random
) -> tuple[tuple[Parent, ...], list[int]]:
    parents: list[Parent] = []
    needs: list[int] = []
    empty = (1 - used) / 2
    for number in range(PARENTS):
        share = 0.0 if chance.random() < empty else used / (1 - empty)
        types, left = (_shared if shared else _exclusive)(share, chance)
        needs += [version * TYPES + each for each in types]
        full = (UNITS,) if shared else INSTANCES
        parents.append(Parent(f"0000:{number:02x}:00.0", kind, left, full))
    return tuple(parents), needs


def _exclusive(share: float, chance: random.Random) -> tuple[list[int], Left]:
    kind = chance.choices(range(3), OFTEN)[0]
    count = sum(chance.random() < share for _time in range(INSTANCES[kind]))
    left = tuple(INSTANCES[kind] - count if each == kind else 0 for each in range(3)) if count else INSTANCES
    return [kind] * count, left


def _shared(share: float, chance: random.Random) -> tuple[list[int], Left]:
    kind = chance.randrange(2)
    count = sum(chance.random() < share for _time in range(UNITS // COSTS[kind]))
    return [3 + kind] * count, (UNITS - count * COSTS[kind],)


def _host(number: int, parents: tuple[Parent, ...], drained: bool, shape: Shape, chance: random.Random) -> Host:
    cpus, memory = (chance.randrange(0, 65, 4), chance.randrange(0, 262145, 8192)) if shape.headroom else (None, None)
    return Host(
        name=f"hv{number:05}",
        parents=parents,
        target=not drained,
        drained=drained,
        domain=f"rack{number % max(2, shape.hosts // 20)}",
        incoming=shape.incoming,
        cpus=cpus,
        memory=memory,
    )


def _vms(host: int, needs: list[int], shape: Shape, chance: random.Random) -> list[Vm]:
    chance.shuffle(needs)
    vms: list[Vm] = []
    while needs:
        count = chance.choice((2, 2, 3, 4)) if chance.random() < 0.1 else 1
        own, needs = sorted(needs[:count]), needs[count:]
        name = f"vm-{host:05}-{len(vms):02}"
        size = chance.choice((2, 4, 8)) if shape.headroom else 0
        devices = tuple(f"{name}/{each}" for each in range(len(own)))
        vms.append(Vm(name, host, tuple(own), devices, cpus=size, memory=size * 4096))
    return vms


def _groups(vms: list[Vm], shape: Shape, chance: random.Random) -> tuple[tuple[Group, ...], list[Vm]]:
    members = chance.sample(range(len(vms)), 3 * int(len(vms) * shape.together / 3))
    for place, number in enumerate(members):
        vms[number] = dataclasses.replace(vms[number], groups=(place // 3,))
    count = len(members) // 3
    return tuple(Group(f"group-{each}", each % 2 == 1, frozenset()) for each in range(count)), vms
