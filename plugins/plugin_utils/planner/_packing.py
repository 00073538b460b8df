# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of VMs for numbers of hosts -> placements of individuals.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._crowd import Crowd
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Placement, Problem, Solution
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Floor, Option

Load = tuple[int, ...]
"""Classes of VMs that one host takes, in this order."""


def chain(crowd: Crowd, state: int, load: Load) -> tuple[Option, ...] | None:
    """How a host of this state takes all of a load, in its order, with fewest unknown answers; None if it does not."""
    ways: dict[int, tuple[int, tuple[Option, ...]]] = {state: (0, ())}
    for vms in load:
        further: dict[int, tuple[int, tuple[Option, ...]]] = {}
        for at, (unknown, options) in ways.items():
            for option in crowd.rooms.options(at, crowd.demands[vms]):
                way = (unknown + option.unknown, (*options, option))
                if option.state not in further or way < further[option.state]:
                    further[option.state] = way
        ways = further
    return min(ways.values())[1] if ways else None


class _Groups:
    """Where members of anti-affinity groups are; one that has not moved is still at home."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._members = [collections.Counter(group.taken) for group in problem.groups]
        for vm in problem.vms:
            for each in vm.groups:
                self._members[each][problem.groups[each].place(problem.hosts[vm.host])] += 1

    def enter(self, vm: int, host: int) -> bool:
        """Whether this VM may go there; if so it counts as there."""
        ways = self._ways(vm, host)
        if any(self._members[group][there] > (home == there) for group, home, there in ways):
            return False
        for group, home, there in ways:
            self._members[group][home] -= 1
            self._members[group][there] += 1
        return True

    def leave(self, vm: int, host: int) -> None:
        """This VM goes home again; nobody of its groups has entered any other host since it came here."""
        for group, home, there in self._ways(vm, host):
            self._members[group][there] -= 1
            self._members[group][home] += 1

    def _ways(self, vm: int, host: int) -> list[tuple[int, str, str]]:
        """For each group of a VM: group, place of its home, place of that host."""
        problem, own = self._problem, self._problem.vms[vm]
        home, there = problem.hosts[own.host], problem.hosts[host]
        return [(each, problem.groups[each].place(home), problem.groups[each].place(there)) for each in own.groups]


def pack(problem: Problem, crowd: Crowd, loads: t.Sequence[t.Mapping[Load, int]], emptied: t.Sequence[int]) -> Solution:
    """Individuals for loads: hosts that are to be emptied send theirs first."""
    queues = _queues(problem, crowd, emptied)
    groups = _Groups(problem)
    placements: list[Placement] = []
    for place, numbers in enumerate(loads):
        hosts = iter(crowd.hosts[place])
        for load, number in numbers.items():
            for host in (next(hosts) for _time in range(number)):
                served = [(vms, vm) for vms in load if (vm := _next(queues[vms], host, groups)) is not None]
                # A part of a load fits as well, unless the ways to seat it are among those that were left out.
                while (options := chain(crowd, crowd.states[place], tuple(vms for vms, _vm in served))) is None:
                    vms, vm = served.pop()
                    queues[vms].appendleft(vm)
                    groups.leave(vm, host)
                floor = Floor(problem.hosts[host], problem.kinds)
                for (_vms, vm), option in zip(served, options, strict=True):
                    placements.append(Placement(vm, host, tuple(map(floor.seat, option.picks))))
    return Solution(tuple(placements))


def _next(queue: collections.deque[int], host: int, groups: _Groups) -> int | None:
    """The first of a class that may be there: some must not be with another one."""
    for _turn in range(min(len(queue), _TRIES)):
        if groups.enter(queue[0], host):
            return queue.popleft()
        queue.rotate(-1)
    return None


_TRIES = 8


def _queues(problem: Problem, crowd: Crowd, emptied: t.Sequence[int]) -> list[collections.deque[int]]:
    """The VMs of each class, those first whose hosts are to be emptied: so many of each kind of drained hosts."""
    left = dict(zip(crowd.drains, emptied, strict=True))
    first = set()
    classes = {vm: place for place, members in enumerate(crowd.vms) for vm in members}
    on: dict[int, list[int]] = {}
    for number, vm in enumerate(problem.vms):
        on.setdefault(vm.host, []).append(number)
    for host, vms in on.items():
        if problem.hosts[host].held or any(vm not in classes for vm in vms):
            continue
        kind = tuple(sorted(collections.Counter(classes[vm] for vm in vms).items()))
        if left.get(kind, 0) > 0:
            left[kind] -= 1
            first.add(host)
    return [
        collections.deque(sorted(members, key=lambda vm: (problem.vms[vm].host not in first, vm)))
        for members in crowd.vms
    ]
