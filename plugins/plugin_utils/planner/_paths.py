# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The path model: how many hosts go from one state to the next by taking a VM of some class.

It is the configuration model in other words, without a list of loads, so its whole numbers are exact: what it finds can
be placed host by host, and where it finds nothing there is nothing. Of its many steps only those matter that a solution
as good as the one looked for may take: the prices of the configuration model tell what a step loses at least, and one
that loses more than the bound is away from the aim is in no such solution.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import heapq
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._configurations import (
    Aim,
    Loads,
    Priced,
    Whole,
    Worth,
    demanded,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._crowd import Crowd
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._highs import CAUTION, INFINITY, Model
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._packing import Load

Step = tuple[int, int, int]
"""State, class of VMs, state afterwards."""

STEPS: t.Final = 12_000
"""With more steps it is not even tried."""
WORK: t.Final = 300_000
"""Steps times nodes of the search."""
LEAST: t.Final = 10
"""No fewer nodes than these."""


class Sought(t.NamedTuple):
    """What came of a search for a solution that is as good as asked for."""

    whole: Whole | None
    bound: float
    """No solution is better than this, or else than the next worse than asked for."""


class Paths:
    """The model of one crowd."""

    def __init__(self, crowd: Crowd, loads: Loads) -> None:
        self._crowd = crowd
        self._loads = loads

    def seek(self, aim: Aim, emptied: int, asked: int, priced: Priced) -> Sought | None:
        """A solution that empties so many hosts and reaches at least what is asked for; None where the steps are too
        many to look."""
        steps = self._steps(priced.prices, priced.bound - asked + CAUTION)
        if steps is None:
            return None
        model = Model()
        drains, leaving = demanded(self._crowd, model, emptied)
        columns = self._fleet(model, leaving, steps)
        aims = drains if aim == "hosts" else leaving
        model.aim(aims)
        model.row(asked, dict.fromkeys(aims, 1.0), INFINITY)
        found = model.solve(max(LEAST, WORK // max(1, len(steps))))
        if not found.values:
            return Sought(None, found.bound)
        flow = {step: round(found.values[column]) for step, column in columns.items()}
        counts = [[round(found.values[column]) for column in each] for each in (drains, leaving)]
        return Sought(Whole(counts[0], self._loaded(flow), counts[1]), found.bound)

    def _steps(self, prices: t.Sequence[float], most: float) -> list[Step] | None:
        """All steps on paths that lose no more than this against the dearest (Dijkstra)."""
        worth: Worth = {}
        lost = dict.fromkeys(self._crowd.states, 0.0)
        queue = sorted((0.0, state) for state in lost)
        found: list[Step] = []
        done = set()
        while queue:
            loss, state = heapq.heappop(queue)
            if state in done:
                continue
            done.add(state)
            for vms, after in self._loads.after(state):
                if not (self._loads.weigh(state, prices, worth) and self._loads.weigh(after, prices, worth)):
                    return None
                whole = loss + max(0.0, worth[state][0] - prices[vms] - worth[after][0])
                if whole <= most:
                    found.append((state, vms, after))
                    if whole < lost.get(after, INFINITY):
                        lost[after] = whole
                        heapq.heappush(queue, (whole, after))
            if len(found) > STEPS:
                return None
        return found

    def _fleet(self, model: Model, leaving: t.Sequence[int], steps: t.Iterable[Step]) -> dict[Step, int]:
        """A column for each step. As many hosts leave a state as there are, or come to it, at most."""
        crowd = self._crowd
        cover: list[dict[int, float]] = [{column: -1.0} for column in leaving]
        there: dict[int, dict[int, float]] = collections.defaultdict(dict)
        columns = {}
        for step in steps:
            state, vms, after = step
            column = columns[step] = model.column(integer=True)
            there[state][column] = 1.0
            there[after][column] = -1.0
            cover[vms][column] = 1.0
        hosts = dict(zip(crowd.states, map(len, crowd.hosts), strict=True))
        for state, row in there.items():
            model.row(-INFINITY, row, hosts.get(state, 0))
        for row in cover:
            model.row(0, row, INFINITY)
        return columns

    def _loaded(self, flow: dict[Step, int]) -> list[dict[Load, int]]:
        """Each host goes on as long as some step is left from where it is; in the end none is left."""
        onward: dict[int, list[Step]] = collections.defaultdict(list)
        for step, number in flow.items():
            if number:
                onward[step[0]].append(step)
        loads: list[dict[Load, int]] = []
        for start, hosts in zip(self._crowd.states, self._crowd.hosts, strict=True):
            found: collections.Counter[Load] = collections.Counter()
            for _host in hosts:
                load, state = [], start
                while onward[state]:
                    step = onward[state][-1]
                    flow[step] -= 1
                    if not flow[step]:
                        onward[state].pop()
                    load.append(step[1])
                    state = step[2]
                if load:
                    found[tuple(sorted(load))] += 1
            loads.append(dict(found))
        return loads
