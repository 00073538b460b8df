# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The true optimum of a tiny problem, and what is wrong with a solution of any problem.

Every way to place every VM is walked, parent by parent, with arithmetic of its own: nothing here is shared with the
search. Ways that leave the same room behind are followed once.
"""

from __future__ import annotations

import itertools
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    Group,
    Host,
    Kind,
    Parent,
    Problem,
    Solution,
    Vm,
)

Limits = tuple[int | None, int | None, int | None]
"""VMs, CPUs and memory that a host may still take."""


class World(t.NamedTuple):
    """What is left of all hosts, and where the members of each group are, after some VMs were decided on."""

    rooms: tuple[tuple[tuple[int, ...], ...], ...]
    """For each host and parent."""
    limits: tuple[Limits, ...]
    moved: tuple[frozenset[str], ...]
    """For each group the places of members that were placed."""
    stayed: tuple[frozenset[str], ...]
    """For each group the places of members that were not."""
    full: frozenset[int]
    """Hosts that somebody stays on."""


class Best(t.NamedTuple):
    """The lexicographic optimum."""

    hosts: int
    """Emptied."""
    vms: int
    """Placed."""
    cost: int
    """Sum of Host.cost over all placements."""
    unknown: int
    """Devices that rely on an unknown answer."""


class _Worth(t.NamedTuple):
    """More is better."""

    vms: int
    cost: int
    unknown: int


def best(problem: Problem) -> Best:
    """Hosts emptied, VMs placed, cost and unknown answers of the best there is."""
    worlds = {_start(problem): _Worth(0, 0, 0)}
    for vm in problem.vms:
        after: dict[World, _Worth] = {}
        for world, worth in worlds.items():
            for new, more in _decide(problem, world, vm):
                total = _Worth(*map(sum, zip(worth, more, strict=True)))
                after[new] = max(total, after.get(new, total))
        worlds = after
    ends = [(_emptied(problem, world.full), worth) for world, worth in worlds.items()]
    hosts, worth = max(ends)
    return Best(hosts, worth.vms, -worth.cost, -worth.unknown)


def score(problem: Problem, solution: Solution) -> Best:
    """The same of a solution."""
    placed = {one.vm for one in solution.placements}
    full = frozenset(vm.host for number, vm in enumerate(problem.vms) if number not in placed)
    cost = sum(problem.hosts[one.host].cost for one in solution.placements)
    unknown = sum(
        need not in problem.kinds[problem.hosts[one.host].parents[parent].kind].seats[seat].yes
        for one in solution.placements
        for need, (parent, seat) in zip(problem.vms[one.vm].needs, one.seats, strict=True)
    )
    return Best(_emptied(problem, full), len(solution.placements), cost, unknown)


def errors(problem: Problem, solution: Solution) -> list[str]:
    """What is wrong with a solution, replayed placement by placement."""
    world = _start(problem)
    found = []
    placed = [one.vm for one in solution.placements]
    found += [f"VM {number} is placed twice" for number in sorted(set(placed)) if placed.count(number) > 1]
    for number, vm in enumerate(problem.vms):
        if number not in placed:
            stayed = _with(world.stayed, problem, vm, problem.hosts[vm.host])
            world = world._replace(stayed=stayed)
    for one in solution.placements:
        vm = problem.vms[one.vm]
        ways = {seats: new for seats, new, _unknown in _places(problem, world, vm, one.host)}
        if one.seats not in ways:
            found.append(f"VM {one.vm} does not fit into {one.seats} of host {one.host}")
        else:
            world = ways[one.seats]
    return found


def _start(problem: Problem) -> World:
    nobody = tuple(frozenset[str]() for _group in problem.groups)
    return World(
        tuple(tuple(parent.left for parent in host.parents) for host in problem.hosts),
        tuple((host.incoming, host.cpus, host.memory) for host in problem.hosts),
        nobody,
        nobody,
        frozenset(),
    )


def _emptied(problem: Problem, full: frozenset[int]) -> int:
    return sum(host.drained and not host.held and number not in full for number, host in enumerate(problem.hosts))


def _decide(problem: Problem, world: World, vm: Vm) -> t.Iterator[tuple[World, _Worth]]:
    """Every way to deal with a VM, staying included."""
    home = problem.hosts[vm.host]
    if not any(group.place(home) in world.moved[number] for number, group in _groups(problem, vm)):
        stayed = _with(world.stayed, problem, vm, home)
        yield world._replace(stayed=stayed, full=world.full | {vm.host}), _Worth(0, 0, 0)
    for number, host in enumerate(problem.hosts):
        for _seats, new, unknown in _places(problem, world, vm, number):
            yield new, _Worth(1, -host.cost, -unknown)


def _places(
    problem: Problem, world: World, vm: Vm, number: int
) -> t.Iterator[tuple[tuple[tuple[int, int], ...], World, int]]:
    """Every way to put a VM onto a host: its seats, the world then, and how many answers are unknown."""
    host = problem.hosts[number]
    incoming, cpus, memory = world.limits[number]
    limits = (_less(incoming, 1), _less(cpus, vm.cpus), _less(memory, vm.memory))
    if not host.target or number == vm.host or any(each is not None and each < 0 for each in limits):
        return
    for position, group in _groups(problem, vm):
        if group.place(host) in group.taken | world.moved[position] | world.stayed[position]:
            return
    seats = [
        (place, seat) for place, parent in enumerate(host.parents) for seat in range(len(_kind(problem, parent).seats))
    ]
    for chosen in itertools.product(seats, repeat=len(vm.needs)):
        room: list[tuple[int, ...]] | None = list(world.rooms[number])
        unknown = 0
        for need, (place, seat) in zip(vm.needs, chosen, strict=True):
            kind = _kind(problem, host.parents[place])
            asked = kind.seats[seat]
            if room is None or (need not in asked.yes and need not in asked.maybe):
                room = None
                break
            unknown += need not in asked.yes
            room = _taken(kind, room, place, seat)
        if room is not None:
            moved = _with(world.moved, problem, vm, host)
            new = world._replace(
                rooms=_set(world.rooms, number, tuple(room)), limits=_set(world.limits, number, limits), moved=moved
            )
            yield chosen, new, unknown


def _kind(problem: Problem, parent: Parent) -> Kind:
    return problem.kinds[parent.kind]


def _taken(kind: Kind, room: list[tuple[int, ...]], place: int, seat: int) -> list[tuple[int, ...]] | None:
    """The room of a host after one more instance."""
    have = list(room[place])
    if kind.exclusive:
        have = [have[number] - 1 if number == seat else 0 for number in range(len(have))]
        if have[seat] < 0:
            return None
    else:
        for resource, cost in enumerate(kind.costs[seat]):
            have[resource] -= cost
        if any(units < 0 for units in have):
            return None
    return room[:place] + [tuple(have)] + room[place + 1 :]


def _less(have: int | None, want: int) -> int | None:
    return None if have is None else have - want


def _groups(problem: Problem, vm: Vm) -> list[tuple[int, Group]]:
    return [(number, problem.groups[number]) for number in vm.groups]


def _with(sets: tuple[frozenset[str], ...], problem: Problem, vm: Vm, host: Host) -> tuple[frozenset[str], ...]:
    for number, group in _groups(problem, vm):
        sets = _set(sets, number, sets[number] | {group.place(host)})
    return sets


_V = t.TypeVar("_V")


def _set(values: tuple[_V, ...], number: int, value: _V) -> tuple[_V, ...]:
    return values[:number] + (value,) + values[number + 1 :]
