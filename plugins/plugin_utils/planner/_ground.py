# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet while batch after batch is planned: who is where, and what is left where.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._fold import Folded
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    Group,
    Host,
    Kind,
    Parent,
    Placement,
    Problem,
    Vm,
)


class Task(t.NamedTuple):
    """One batch as a problem."""

    problem: Problem
    numbers: tuple[int, ...]
    """Of each of its VMs, the index in the problem that was folded; ascending."""


class Step(t.NamedTuple):
    """One move in numbers."""

    vm: int
    """Index of the VM in the problem that was folded."""
    source: int
    target: int
    needs: tuple[int, ...]
    devices: tuple[str, ...]
    """What leaves the source, in the order of ``needs``."""
    seats: tuple[tuple[int, int], ...]
    """Where each goes: (index of Host.parents, index of Kind.seats)."""
    made: tuple[str, ...]
    """What each is on the target: the UUID of an instance, or the address of a device that is there already."""


Naming = t.Callable[[int, str, int], str]
"""VM, device on its source, number of the VM's move -> UUID of the instance on the target."""


class Ground:
    """Changes with every move."""

    def __init__(self, folded: Folded, later: t.Collection[int], name: Naming) -> None:
        """:arg later: hosts that some batch will drain."""
        self._folded = folded
        self._kinds: t.Sequence[Kind] = folded.problem.kinds
        self._name = name
        self.hosts: list[Host] = [
            dataclasses.replace(host, cost=1) if number in later else host
            for number, host in enumerate(folded.problem.hosts)
        ]
        """What is left after all moves so far; of a drained host, what was left before its batch."""
        self.vms: list[Vm] = list(folded.problem.vms)
        self._on: dict[int, set[int]] = collections.defaultdict(set)
        self._natives: dict[int, list[int]] = collections.defaultdict(list)
        self._members: dict[int, list[int]] = collections.defaultdict(list)
        for number, vm in enumerate(self.vms):
            self._on[vm.host].add(number)
            self._natives[vm.host].append(number)
            for group in vm.groups:
                self._members[group].append(number)
        self._seats: dict[int, tuple[tuple[int, int], ...]] = {}
        self._moves: collections.Counter[int] = collections.Counter()
        self._gone: dict[int, set[str]] = collections.defaultdict(set)
        self._spent: set[int] = set()
        self.mute: set[int] = set()
        """VMs that moved to where nobody can tell what they have become, so that they cannot move on."""

    def load(self, host: int) -> tuple[int, int]:
        """VMs that it takes to empty a host, and their devices."""
        return len(self._on[host]), sum(len(self.vms[number].needs) for number in self._on[host])

    def begin(self, batch: t.Iterable[int]) -> Task:
        """Drain these hosts."""
        moving = []
        for number in batch:
            host = self.hosts[number]
            mute = not self.mute.isdisjoint(self._on[number])
            self.hosts[number] = dataclasses.replace(host, target=False, drained=True, held=host.held or mute)
            moving += [vm for vm in self._on[number] if vm not in self.mute]
        numbers = tuple(sorted(moving))
        problem = dataclasses.replace(
            self._folded.problem,
            hosts=tuple(self.hosts),
            vms=tuple(self.vms[number] for number in numbers),
            groups=self._groups(frozenset(numbers)),
        )
        return Task(problem, numbers)

    def muted(self, batch: t.Iterable[int]) -> list[int]:
        """VMs on these hosts that cannot be told any more."""
        return sorted(vm for host in batch for vm in self._on[host] & self.mute)

    def move(self, task: Task, placement: Placement) -> Step:
        """Let a VM go where its placement says."""
        number = task.numbers[placement.vm]
        vm, target = self.vms[number], self.hosts[placement.host]
        self._moves[number] += 1
        made, becomes = [], []
        for device, (place, seat) in zip(vm.devices, placement.seats, strict=True):
            parent = target.parents[place]
            where = self._kinds[parent.kind].seats[seat]
            made.append(parent.address if where.type is None else self._name(number, device, self._moves[number]))
            becomes.append(where.becomes)
        step = Step(number, vm.host, placement.host, vm.needs, vm.devices, placement.seats, tuple(made))
        self.hosts[placement.host] = self._with(target, vm, placement.seats)
        self._spent.add(placement.host)
        self._gone[vm.host].update(vm.devices)
        self._on[vm.host].discard(number)
        self._on[placement.host].add(number)
        self._settle(number, placement, made, becomes)
        return step

    def _settle(self, number: int, placement: Placement, made: list[str], becomes: list[int | None]) -> None:
        needs = [need for need in becomes if need is not None]
        vm = dataclasses.replace(self.vms[number], host=placement.host)
        seats = placement.seats
        if len(needs) == len(becomes):
            # The needs of a VM ascend, so that equal VMs are one class.
            parts = sorted(zip(needs, made, seats, strict=True))
            vm = dataclasses.replace(
                vm,
                needs=tuple(need for need, _made, _seat in parts),
                devices=tuple(name for _need, name, _seat in parts),
            )
            seats = tuple(seat for _need, _made, seat in parts)
        else:
            self.mute.add(number)
        self.vms[number] = vm
        self._seats[number] = seats

    def finish(self, batch: t.Sequence[int], emptied: t.Collection[int]) -> None:
        """These hosts are back from their maintenance; those that were not emptied had none."""
        for number in batch:
            host = self.hosts[number]
            lefts = self._folded.left_after(number, self._gone[number])
            parents = (dataclasses.replace(parent, left=left) for parent, left in zip(host.parents, lefts, strict=True))
            host = dataclasses.replace(
                self._restored(number, host),
                parents=tuple(parents),
                target=self._folded.problem.hosts[number].target,
                drained=False,
                # Whoever still has to be moved away by hand should not be joined by others.
                cost=0 if number in emptied else 1,
            )
            for vm in sorted(self._on[number]):
                if vm in self._seats:
                    host = self._with(host, self.vms[vm], self._seats[vm])
            self.hosts[number] = host
        for number in self._spent.union(batch):
            # The limit of incoming VMs counts within one batch.
            limit = self._folded.problem.hosts[number].incoming
            self.hosts[number] = dataclasses.replace(self.hosts[number], incoming=limit)
        self._spent.clear()

    def _restored(self, number: int, host: Host) -> Host:
        """With the CPUs and memory of those of its first VMs that have left."""
        first = self._folded.problem
        gone = [vm for vm in self._natives[number] if self.vms[vm].host != number]
        cpus, memory = first.hosts[number].cpus, first.hosts[number].memory
        return dataclasses.replace(
            host,
            cpus=None if cpus is None else cpus + sum(first.vms[vm].cpus for vm in gone),
            memory=None if memory is None else memory + sum(first.vms[vm].memory for vm in gone),
        )

    def _with(self, host: Host, vm: Vm, seats: t.Iterable[tuple[int, int]]) -> Host:
        parents = list(host.parents)
        for place, seat in seats:
            parents[place] = _taken(self._kinds, parents[place], seat)
        return dataclasses.replace(
            host,
            parents=tuple(parents),
            incoming=None if host.incoming is None else host.incoming - 1,
            cpus=None if host.cpus is None else host.cpus - vm.cpus,
            memory=None if host.memory is None else host.memory - vm.memory,
        )

    def _groups(self, moving: t.Collection[int]) -> tuple[Group, ...]:
        """With the places of all members that do not move now."""
        groups = []
        for number, group in enumerate(self._folded.problem.groups):
            stay = {group.place(self.hosts[self.vms[vm].host]) for vm in self._members[number] if vm not in moving}
            groups.append(dataclasses.replace(group, taken=group.taken | stay) if stay else group)
        return tuple(groups)


def _taken(kinds: t.Sequence[Kind], parent: Parent, seat: int) -> Parent:
    return dataclasses.replace(parent, left=kinds[parent.kind].taken(parent.left, seat))
