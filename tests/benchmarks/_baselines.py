# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user would write who has no planner: two baselines for the benchmark.

Both know what the planner knows, and both keep every rule but anti-affinity, which the benchmark does not use.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _highs
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    Host,
    Kind,
    Left,
    Placement,
    Problem,
    Seat,
    Solution,
)

Needs = tuple[int, ...]
Spot = tuple[int, int]
"""Index of Host.parents and of Kind.seats."""


def errors(problem: Problem, solution: Solution) -> list[str]:
    """Replay a solution of a problem without groups; what does not fit."""
    rooms = [[parent.left for parent in host.parents] for host in problem.hosts]
    counts = collections.Counter(placement.host for placement in solution.placements)
    found = []
    if len({placement.vm for placement in solution.placements}) < len(solution.placements):
        found.append("a VM is placed twice")
    for number, count in counts.items():
        host = problem.hosts[number]
        if not host.target or (host.incoming is not None and count > host.incoming):
            found.append(f"{host.name} cannot take {count} VMs")
    for placement in solution.placements:
        vm, host = problem.vms[placement.vm], problem.hosts[placement.host]
        for need, (parent, seat) in zip(vm.needs, placement.seats, strict=True):
            kind = problem.kinds[host.parents[parent].kind]
            left = kind.take(rooms[placement.host][parent], seat)
            if left is None or need not in kind.seats[seat].yes:
                found.append(f"{vm.id} does not fit onto {host.name} {host.parents[parent].address}")
            else:
                rooms[placement.host][parent] = left
    return found


def first_fit(problem: Problem) -> Solution:
    """One VM after the other in order of names, each to the first host in order of names with room for all of it.

    The way of OpenStack's scheduler, with the types' common room looked at again before every device, which that does
    not do. Room never grows, so a host that had none for such a VM is not asked again.
    """
    rooms = [[parent.left for parent in host.parents] for host in problem.hosts]
    incoming = [host.incoming for host in problem.hosts]
    by_name = sorted(range(len(problem.hosts)), key=lambda number: problem.hosts[number].name)
    begin: dict[Needs, int] = {}
    placements = []
    for vm in sorted(range(len(problem.vms)), key=lambda number: problem.vms[number].id):
        needs = problem.vms[vm].needs
        for position in range(begin.get(needs, 0), len(by_name)):
            number = by_name[position]
            host = problem.hosts[number]
            fits = _fit(problem.kinds, host, rooms[number], needs) if host.target and incoming[number] != 0 else None
            if fits is not None:
                rooms[number], seats = fits
                left = incoming[number]
                incoming[number] = None if left is None else left - 1
                placements.append(Placement(vm, number, seats))
                break
            begin[needs] = position + 1
    return Solution(tuple(placements))


def _fit(
    kinds: t.Sequence[Kind], host: Host, room: list[Left], needs: Needs
) -> tuple[list[Left], tuple[Spot, ...]] | None:
    """Each device into the first parent and type that take it."""
    room = list(room)
    seats: list[Spot] = []
    for need in needs:
        found = _first(kinds, host, room, need)
        if found is None:
            return None
        (parent, _seat), left = found
        room[parent] = left
        seats.append(found[0])
    return room, tuple(seats)


def _first(kinds: t.Sequence[Kind], host: Host, room: t.Sequence[Left], need: int) -> tuple[Spot, Left] | None:
    for parent, each in enumerate(host.parents):
        kind = kinds[each.kind]
        for number, seat in enumerate(kind.seats):
            if need in seat.yes:
                left = kind.take(room[parent], number)
                if left is not None:
                    return (parent, number), left
    return None


class Limits(t.NamedTuple):
    """When to give up on the integer programme."""

    nodes: int
    seconds: float


class _Model:
    """The integer programme of a fleet, host by host.

    How many VMs of each class leave each drained host, how many come to each target, which seats they take there,
    and which drained hosts are empty then. It is what one would write down without any thought of size.
    """

    def __init__(self, problem: Problem) -> None:
        import highspy

        self.problem = problem
        self.highs = _highs.silent()
        self.highs.setOptionValue("threads", 1)
        self.infinity = highspy.kHighsInf
        self.integer = highspy.HighsVarType.kInteger
        self.leave: dict[tuple[Needs, int], int] = {}
        """Class and drained host -> column: VMs that leave."""
        self.come: dict[tuple[Needs, int], int] = {}
        """Class and target -> column: VMs that come."""
        self.sit: dict[tuple[int, Spot, int], int] = {}
        """Target, seat and need -> column: devices there."""
        self._columns = 0
        self.stock = collections.Counter((vm.needs, vm.host) for vm in problem.vms)
        self._sources()
        self._targets()
        self._balance()

    def _column(self, upper: float, worth: float = 0.0) -> int:
        self.highs.addVar(0.0, upper)
        self.highs.changeColIntegrality(self._columns, self.integer)
        self.highs.changeColCost(self._columns, worth)
        self._columns += 1
        return self._columns - 1

    def _row(self, lower: float, terms: t.Mapping[int, float], upper: float) -> None:
        self.highs.addRow(lower, upper, len(terms), list(terms), list(terms.values()))

    def _sources(self) -> None:
        every = len(self.problem.vms) + 1
        own: dict[int, list[tuple[int, int]]] = {}
        for (needs, host), count in sorted(self.stock.items()):
            column = self.leave[needs, host] = self._column(count, 1.0)
            own.setdefault(host, []).append((column, count))
        for columns in own.values():
            empty = self._column(1.0, every)
            for column, count in columns:
                self._row(0.0, {column: 1.0, empty: -float(count)}, self.infinity)

    def _targets(self) -> None:
        classes = sorted({needs for needs, _host in self.stock})
        for number, host in enumerate(self.problem.hosts):
            if host.target and host.incoming != 0:
                self._target(number, host, classes)

    def _target(self, number: int, host: Host, classes: t.Sequence[Needs]) -> None:
        wanted = {need for needs in classes for need in needs}
        sits: dict[int, list[int]] = {}
        for parent, each in enumerate(host.parents):
            kind = self.problem.kinds[each.kind]
            seats: dict[int, list[int]] = {}
            for place, seat in enumerate(kind.seats):
                if kind.take(each.left, place) is None:
                    continue
                for need in sorted(_taken(seat, wanted)):
                    column = self.sit[number, (parent, place), need] = self._column(self.infinity)
                    seats.setdefault(place, []).append(column)
                    sits.setdefault(need, []).append(column)
            self._capacity(kind, each.left, seats)
        comes: dict[Needs, int] = {}
        for needs in classes:
            if all(need in sits for need in needs):
                comes[needs] = self.come[needs, number] = self._column(self.infinity)
        for need, columns in sits.items():
            terms = dict.fromkeys(columns, 1.0)
            terms.update({column: -float(needs.count(need)) for needs, column in comes.items() if need in needs})
            self._row(0.0, terms, 0.0)
        if comes and host.incoming is not None:
            self._row(0.0, dict.fromkeys(comes.values(), 1.0), float(host.incoming))

    def _capacity(self, kind: Kind, left: Left, seats: t.Mapping[int, t.Sequence[int]]) -> None:
        if kind.exclusive:
            chosen = {place: self._column(1.0) for place in seats}
            for place, columns in seats.items():
                self._row(-self.infinity, {**dict.fromkeys(columns, 1.0), chosen[place]: -float(left[place])}, 0.0)
            if len(chosen) > 1:
                self._row(0.0, dict.fromkeys(chosen.values(), 1.0), 1.0)
            return
        for resource, units in enumerate(left):
            terms = {
                column: float(kind.costs[place][resource]) for place, columns in seats.items() for column in columns
            }
            if any(terms.values()):
                self._row(0.0, terms, float(units))

    def _balance(self) -> None:
        for needs in sorted({needs for needs, _host in self.stock}):
            terms = {column: 1.0 for (other, _host), column in self.leave.items() if other == needs}
            terms.update({column: -1.0 for (other, _host), column in self.come.items() if other == needs})
            self._row(0.0, terms, 0.0)


def _taken(seat: Seat, wanted: t.Collection[int]) -> set[int]:
    return set(seat.yes).intersection(wanted)


def host_level_milp(problem: Problem, limits: Limits) -> Solution | None:
    """The best that HiGHS finds for the whole fleet at once within the limits; None when it finds nothing."""
    import highspy

    if not problem.vms:
        return Solution(())
    model = _Model(problem)
    highs = model.highs
    highs.changeObjectiveSense(highspy.ObjSense.kMaximize)
    highs.setOptionValue("mip_max_nodes", limits.nodes)
    highs.setOptionValue("time_limit", limits.seconds)
    highs.run()
    found = highs.getSolution()
    if not found.value_valid:
        return None
    return _decoded(model, [round(value) for value in found.col_value])


def _decoded(model: _Model, values: t.Sequence[int]) -> Solution:
    leaving: dict[Needs, list[int]] = {}
    left = {key: values[column] for key, column in model.leave.items()}
    for number, vm in enumerate(model.problem.vms):
        if left[vm.needs, vm.host] > 0:
            left[vm.needs, vm.host] -= 1
            leaving.setdefault(vm.needs, []).append(number)
    free: dict[tuple[int, int], list[Spot]] = {}
    for (host, spot, need), column in model.sit.items():
        free.setdefault((host, need), []).extend([spot] * values[column])
    placements = []
    for (needs, host), column in model.come.items():
        for _time in range(values[column]):
            seats = tuple(free[host, need].pop() for need in needs)
            placements.append(Placement(leaving[needs].pop(), host, seats))
    return Solution(tuple(placements))
