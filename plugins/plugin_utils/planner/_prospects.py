# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a VM that stays could go, were something else: worked out once for all VMs and hosts that are alike.

This file is private to the collection and pure.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._ground import Task
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Group, Host, Problem, Solution, Vm
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Demand, Rooms, demand


class Case(t.NamedTuple):
    """One batch and what became of it."""

    task: Task
    solution: Solution
    after: tuple[Host, ...]
    """The hosts with what the moves of the batch have left; drained ones as they were before."""
    emptied: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Sort:
    """Hosts that only their names and domains tell apart."""

    sample: Host
    free: int
    """State after the moves, without limits of the host."""
    full: int
    """State of such a host when everything that can be evacuated has left it, without limits."""
    members: list[int]


@dataclasses.dataclass(frozen=True)
class Prospect:
    """What the hosts are for one class of VMs. Own hosts are among ``away``."""

    offering: list[Sort]
    """Targets whose drivers take all its devices."""
    holding: list[Sort]
    """Those of them that could hold it if they were emptied."""
    free: list[Sort]
    """Those of them that have room, whatever their limits."""
    away: tuple[int, ...]
    """Drained hosts that could hold it if they were emptied, ascending."""
    unknown: tuple[int, ...]
    """Targets that would be offering if unknown answers counted, ascending."""


class Family(t.NamedTuple):
    """What has to be relaxed for a VM to fit onto one host that has room."""

    limits: tuple[str, ...]
    """incoming, cpus, memory."""
    groups: tuple[int, ...]
    host: int


class View:
    """The hosts of one case as those who stay see them."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.problem: Problem = case.task.problem
        self.placed: dict[int, int] = {each.vm: each.host for each in case.solution.placements}
        self._rooms = Rooms(self.problem.kinds)
        self._sorts = self._sorted(case.after)
        self._takes: dict[tuple[int, bool], frozenset[int]] = {}
        self._prospects: dict[Demand, Prospect] = {}

    def prospect(self, vm: Vm) -> Prospect:
        """Of all VMs of this class."""
        wanted = demand(vm)
        found = self._prospects.get(wanted)
        if found is None:
            found = self._prospects[wanted] = self._look(wanted)
        return found

    def family(self, number: int, free: t.Iterable[Sort]) -> Family | None:
        """The smallest family of limits and groups that keeps a VM from a host with room; None when there is none."""
        vm = self.problem.vms[number]
        taken = {each: self._taken(number, each) for each in vm.groups}
        best: tuple[int, Family] | None = None
        for sort in free:
            limits = _lacking(sort.sample, vm)
            for host in sort.members if taken else sort.members[:1]:
                found = Family(limits, self._against(host, taken), host)
                size = len(found.limits) + len(found.groups)
                if best is None or (size, found) < best:
                    best = (size, found)
        return best[1] if best and best[0] else None

    def takes(self, kind: int, need: int, barred: bool = False) -> bool:
        """Whether some seat of such a parent accepts it; ``barred``: or may do so, and nobody knows."""
        found = self._takes.get((kind, barred))
        if found is None:
            seats = self.problem.kinds[kind].seats
            every = (seat.yes | seat.maybe | (seat.barred if barred else frozenset()) for seat in seats)
            found = self._takes[kind, barred] = frozenset[int]().union(*every)
        return need in found

    def _look(self, wanted: Demand) -> Prospect:
        bare: Demand = (wanted[0], 0, 0)
        offering = [sort for sort in self._sorts if self._accepts(sort, wanted, barred=False)]
        unknown = [
            number
            for sort in self._sorts
            if sort.sample.target and sort not in offering and self._accepts(sort, wanted, barred=True)
            for number in sort.members
        ]
        holding = [sort for sort in offering if self._rooms.options(sort.full, bare)]
        targets = [sort for sort in offering if sort.sample.target]
        return Prospect(
            offering=targets,
            holding=[sort for sort in holding if sort.sample.target],
            free=[sort for sort in targets if self._rooms.options(sort.free, bare)],
            away=tuple(sorted(number for sort in holding if sort.sample.drained for number in sort.members)),
            unknown=tuple(sorted(unknown)),
        )

    def _accepts(self, sort: Sort, wanted: Demand, barred: bool) -> bool:
        kinds = {parent.kind for parent in sort.sample.parents}
        return all(any(self.takes(kind, need, barred) for kind in kinds) for need in set(wanted[0]))

    def _sorted(self, hosts: t.Iterable[Host]) -> list[Sort]:
        found: dict[t.Hashable, Sort] = {}
        for number, host in enumerate(hosts):
            parents = tuple(sorted((each.kind, each.left, each.full) for each in host.parents))
            key = (parents, host.incoming, host.cpus, host.memory, host.target, host.drained)
            if key not in found:
                free = dataclasses.replace(host, incoming=None, cpus=None, memory=None)
                full = tuple(dataclasses.replace(each, left=each.full) for each in host.parents)
                emptied = dataclasses.replace(free, parents=full)
                found[key] = Sort(host, self._rooms.of(free), self._rooms.of(emptied), [])
            found[key].members.append(number)
        return list(found.values())

    def _against(self, host: int, taken: t.Mapping[int, frozenset[str]]) -> tuple[int, ...]:
        groups = self.problem.groups
        return tuple(each for each, places in taken.items() if groups[each].place(self.problem.hosts[host]) in places)

    def _taken(self, number: int, group: int) -> frozenset[str]:
        """Where the other members of a group are in the end."""
        each: Group = self.problem.groups[group]
        others = {self.placed.get(vm, self.problem.vms[vm].host) for vm in self._members[group] if vm != number}
        return each.taken | {each.place(self.problem.hosts[host]) for host in others}

    @functools.cached_property
    def _members(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for number, vm in enumerate(self.problem.vms):
            for group in vm.groups:
                found.setdefault(group, []).append(number)
        return found


def _lacking(host: Host, vm: Vm) -> tuple[str, ...]:
    """Limits of a host that this VM would break."""
    left = (("incoming", host.incoming, 1), ("cpus", host.cpus, vm.cpus), ("memory", host.memory, vm.memory))
    return tuple(name for name, have, want in left if have is not None and have < want)
