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
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    Group,
    Host,
    Left,
    Problem,
    Solution,
    Vm,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Rooms


class Case(t.NamedTuple):
    """One batch and what became of it."""

    task: Task
    solution: Solution
    after: tuple[Host, ...]
    """The hosts with what the moves of the batch have left; drained ones as they were before."""
    emptied: tuple[int, ...]


ENOUGH: t.Final = 11
"""Hosts of each sort that are looked for: as many as a person reads, and the VM's own."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sort:
    """Hosts that only their names and domains tell apart."""

    sample: Host
    free: Host
    """After the moves, without limits of the host."""
    full: Host
    """When everything that can be evacuated has left it, without limits."""
    members: list[int]


@dataclasses.dataclass(frozen=True)
class Prospect:
    """What the hosts are for one class of VMs: the first ENOUGH of each, ascending. Own hosts are among ``away``."""

    offering: tuple[int, ...]
    """Targets whose drivers take all its devices."""
    holding: tuple[int, ...]
    """Those of them that could hold it if they were emptied."""
    away: tuple[int, ...]
    """Drained hosts that could hold it if they were emptied."""
    unknown: tuple[int, ...]
    """Targets that would be offering if unknown answers counted."""


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
        self._limited = any(
            limit is not None for host in self.problem.hosts for limit in (host.incoming, host.cpus, host.memory)
        )
        self._prospects: dict[tuple[int, ...], Prospect] = {}
        self._free: dict[tuple[int, ...], list[Sort]] = {}
        self._takes: dict[tuple[int, bool], frozenset[int]] = {}
        self._room: dict[tuple[int, Left], frozenset[int]] = {}

    def prospect(self, vm: Vm) -> Prospect:
        """Of all VMs with these devices."""
        found = self._prospects.get(vm.needs)
        if found is None:
            found = self._prospects[vm.needs] = self._look(vm.needs)
        return found

    def family(self, number: int) -> Family | None:
        """The smallest family of limits and groups that keeps a VM from a host with room; None when there is none."""
        vm = self.problem.vms[number]
        if not self._limited and not vm.groups:
            return None
        if vm.needs not in self._free:
            targets = self._accepting(vm.needs, barred=False, target=True)
            self._free[vm.needs] = [sort for sort in targets if self._fits(sort.free, vm.needs)]
        taken = {each: self._taken(number, each) for each in vm.groups}
        best: tuple[int, Family] | None = None
        for sort in self._free[vm.needs]:
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

    def _look(self, needs: tuple[int, ...]) -> Prospect:
        targets = self._accepting(needs, barred=False, target=True)
        drained = self._accepting(needs, barred=False, target=False)
        sure = set(map(id, targets))
        maybe = self._accepting(needs, barred=True, target=True)
        return Prospect(
            offering=_first(targets),
            holding=_first(sort for sort in targets if self._fits(sort.full, needs)),
            away=_first(sort for sort in drained if sort.sample.drained and self._fits(sort.full, needs)),
            unknown=_first(sort for sort in maybe if id(sort) not in sure),
        )

    def _accepting(self, needs: tuple[int, ...], barred: bool, target: bool) -> list[Sort]:
        return [
            sort
            for kinds, sorts in self._sorts[target].items()
            if all(any(self.takes(kind, need, barred) for kind in kinds) for need in dict.fromkeys(needs))
            for sort in sorts
        ]

    def _fits(self, host: Host, needs: tuple[int, ...]) -> bool:
        # Most that is not to be had can be told of one device.
        if not all(any(self._has_room(each.kind, each.left, need) for each in host.parents) for need in needs):
            return False
        return len(needs) == 1 or bool(self._rooms.options(self._rooms.of(host), (needs, 0, 0)))

    def _has_room(self, kind: int, left: Left, need: int) -> bool:
        found = self._room.get((kind, left))
        if found is None:
            of_it = self.problem.kinds[kind]
            seats = (seat for number, seat in enumerate(of_it.seats) if of_it.take(left, number) is not None)
            found = self._room[kind, left] = frozenset[int]().union(*(seat.yes | seat.maybe for seat in seats))
        return need in found

    def _sorted(self, hosts: t.Iterable[Host]) -> dict[bool, dict[frozenset[int], list[Sort]]]:
        """Whether they are targets -> kinds of their parents -> sorts."""
        found: dict[t.Hashable, Sort] = {}
        sorts: dict[bool, dict[frozenset[int], list[Sort]]] = {True: {}, False: {}}
        for number, host in enumerate(hosts):
            parents = tuple(sorted((each.kind, each.left, each.full) for each in host.parents))
            key = (parents, host.incoming, host.cpus, host.memory, host.target, host.drained)
            sort = found.get(key)
            if sort is None:
                free = dataclasses.replace(host, incoming=None, cpus=None, memory=None)
                full = tuple(dataclasses.replace(each, left=each.full) for each in host.parents)
                sort = found[key] = Sort(host, free, dataclasses.replace(free, parents=full), [])
                kinds = frozenset(each.kind for each in host.parents)
                sorts[host.target].setdefault(kinds, []).append(sort)
            sort.members.append(number)
        return sorts

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


def _first(sorts: t.Iterable[Sort]) -> tuple[int, ...]:
    found: list[int] = []
    for sort in sorts:
        found += sort.members
        if len(found) >= ENOUGH:
            break
    return tuple(sorted(found)[:ENOUGH])
