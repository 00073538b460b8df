# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The merged model: all hosts of a class as one big host.

What fits into the hosts one by one fits into their sum, so its bounds hold; the other way round it is not true, so it
makes no plans. It is small, and in whole numbers now and then tighter than the configuration model in any numbers.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._configurations import Aim, demanded
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._crowd import Crowd
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._flow import EVERYTHING, fit, most
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._highs import INFINITY, Model, Row
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Kind
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Stock

COLUMNS: t.Final = 10_000
"""With more columns whole numbers are not even tried: the first node may take minutes."""
WORK: t.Final = 1_000_000
"""Columns times nodes of a search where only hosts are whole."""


class Merged:
    """The model of one crowd."""

    def __init__(self, crowd: Crowd, kinds: t.Sequence[Kind]) -> None:
        self._crowd = crowd
        self._kinds = kinds
        self._wanted: collections.Counter[int] = collections.Counter()
        for (needs, _cpus, _memory), members in zip(crowd.demands, crowd.vms, strict=True):
            for need in needs:
                self._wanted[need] += len(members)

    def relaxed(self, aim: Aim, emptied: int) -> float | None:
        """No solution that empties so many hosts reaches more; None when the solver gave up."""
        model = self._model(aim, emptied)[0]
        answer = model.relaxed()
        return None if answer is None else model.bound(answer.duals)

    def emptying(self, aim: Aim, emptied: int, asked: int) -> float:
        """The same where each host is emptied or not, and only VMs have any numbers; or one less than what is asked for
        when there is no solution as good as that."""
        model, drains, aims = self._model(aim, emptied)
        model.free(set(range(model.size)).difference(drains))
        model.row(asked, dict.fromkeys(aims, 1.0), INFINITY)
        return max(asked - 1.0, model.solve(max(1, WORK // model.size)).bound)

    def whole(self, aim: Aim, emptied: int, nodes: int) -> float | None:
        """The same in whole numbers, as far as so many nodes prove it; None where the model is too large to try."""
        model = self._model(aim, emptied)[0]
        return None if model.size > COLUMNS else model.solve(nodes).bound

    def _model(self, aim: Aim, emptied: int) -> tuple[Model, list[int], list[int]]:
        """The model, its columns for drained hosts, and those that it maximises."""
        crowd, model = self._crowd, Model()
        drains, leaving = demanded(crowd, model, emptied)
        cover: list[dict[int, float]] = [{column: -1.0} for column in leaving]
        for place in range(len(crowd.states)):
            self._host(model, place, cover)
        for row in cover:
            model.row(0, row, INFINITY)
        aims = drains if aim == "hosts" else leaving
        model.aim(aims)
        return model, drains, aims

    def _host(self, model: Model, place: int, cover: list[dict[int, float]]) -> None:
        """Columns and rows of one class of hosts; what it takes of each class of VMs is added to ``cover``."""
        crowd, hosts = self._crowd, len(self._crowd.hosts[place])
        guests: dict[int, int] = {}
        devices: dict[int, dict[int, float]] = collections.defaultdict(dict)
        for vms, (needs, _cpus, _memory) in enumerate(crowd.demands):
            if crowd.fits(crowd.states[place], vms):
                column = guests[vms] = model.column(len(crowd.vms[vms]), integer=True)
                cover[vms][column] = 1.0
                for need, times in collections.Counter(needs).items():
                    devices[need][column] = -float(times)
        if not guests:
            return
        state = crowd.rooms.states[crowd.states[place]]
        for stock, times in sorted(collections.Counter(state.stocks).items()):
            self._parents(model, stock, times * hosts, devices)
        for row in devices.values():
            model.row(0, row, INFINITY)
        sizes = {vms: (1, *crowd.demands[vms][1:]) for vms in guests}
        for number, limit in enumerate((state.incoming, state.cpus, state.memory)):
            if limit is not None:
                row = {column: float(sizes[vms][number]) for vms, column in guests.items() if sizes[vms][number]}
                model.row(-INFINITY, row, float(limit * hosts))

    def _parents(self, model: Model, stock: Stock, parents: int, devices: t.Mapping[int, dict[int, float]]) -> None:
        """So many parents that are alike. What they take of each need is added to ``devices``."""
        kind, left = self._kinds[stock[0]], stock[1]
        fits = [left[number] if kind.exclusive else fit(kind.costs[number], left) for number in range(len(kind.seats))]
        taken: list[dict[int, float]] = [{} for _seat in kind.seats]
        for number, seat in enumerate(kind.seats):
            for need in sorted((seat.yes | seat.maybe) & devices.keys()) if fits[number] else ():
                column = model.column(min(fits[number] * parents, self._wanted[need]), integer=True)
                taken[number][column] = 1.0
                devices[need][column] = 1.0
        if kind.exclusive:
            _one_type(model, parents, fits, taken)
            return
        for limit, row in zip([*fits, most(self._kinds, stock)], [*taken, _sum(taken)], strict=True):
            if row and limit < EVERYTHING:
                model.row(-INFINITY, row, float(limit * parents))
        for resource, have in enumerate(left):
            costs = [float(cost[resource]) for cost in kind.costs]
            row = {column: cost for cost, columns in zip(costs, taken, strict=True) for column in columns if cost}
            if row:
                model.row(-INFINITY, row, float(have * parents))


def _one_type(model: Model, parents: int, fits: t.Sequence[int], taken: t.Sequence[Row]) -> None:
    """Each of the parents is of one type, and of that so many instances fit."""
    types: dict[int, float] = {}
    for limit, row in zip(fits, taken, strict=True):
        if row:
            column = model.column(parents, integer=True)
            types[column] = 1.0
            model.row(-INFINITY, {**row, column: -float(limit)}, 0)
    model.row(-INFINITY, types, parents)


def _sum(rows: t.Iterable[Row]) -> Row:
    return {column: 1.0 for row in rows for column in row}
