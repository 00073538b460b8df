# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration model: how many hosts of a class take which load.

A load is a set of VMs that one host can take together, so every whole solution can be placed host by host. There are
far too many loads to list; those that matter are found with the prices of the linear model (Dantzig and Wolfe). A load
for given prices is the longest path through the states of a host, so the search for it is exact, and what the best
loads of all classes could still gain bounds every solution, whether or not all loads were found (Lagrange).

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._crowd import Crowd
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._highs import INFINITY, SLACK, Model
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._packing import Load

Aim = t.Literal["hosts", "vms"]


class Whole(t.NamedTuple):
    """A solution in whole numbers."""

    drains: list[int]
    """How many drained hosts of each kind are emptied."""
    loads: list[dict[Load, int]]
    """For each class of hosts how many take which load."""
    leaving: list[int]
    """VMs of each class that leave."""


ROUNDS = 60
STATES = 200_000
"""States that are looked at before the search gives up; there are some thousand in a fleet of ten thousand hosts."""


class Loads:
    """All loads that were found so far, and the search for more."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self.known: list[dict[Load, None]] = [{} for _state in crowd.states]
        self._steps: dict[int, tuple[tuple[int, int], ...]] = {}

    def add(self, place: int, load: Load) -> bool:
        """Remember a load of a class of hosts; whether it is new."""
        load = tuple(sorted(load))
        new = bool(load) and load not in self.known[place]
        if new:
            self.known[place][load] = None
        return new

    def best(self, prices: t.Sequence[float]) -> list[tuple[float, Load]] | None:
        """For each class of hosts its dearest load; None when there are too many states to look at all."""
        worth: dict[int, tuple[float, int, int]] = {}
        found = []
        for state in self._crowd.states:
            if not self._weigh(state, prices, worth):
                return None
            found.append((worth[state][0], self._path(state, worth)))
        return found

    def _weigh(self, start: int, prices: t.Sequence[float], worth: dict[int, tuple[float, int, int]]) -> bool:
        """The longest path from each state on; a stack of its own, for paths may be long."""
        stack = [start]
        while stack:
            state = stack[-1]
            if state in worth:
                stack.pop()
                continue
            steps = self._from(state)
            missing = [after for vms, after in steps if prices[vms] > 0 and after not in worth]
            if missing:
                stack += missing
                continue
            best = (0.0, -1, -1)
            for vms, after in steps:
                if prices[vms] > 0:
                    gain = prices[vms] + worth[after][0]
                    if gain > best[0] + 1e-12:
                        best = (gain, vms, after)
            worth[state] = best
            stack.pop()
        return len(self._steps) <= STATES

    def _from(self, state: int) -> tuple[tuple[int, int], ...]:
        steps = self._steps.get(state)
        if steps is None:
            crowd = self._crowd
            steps = self._steps[state] = tuple(
                (vms, option.state)
                for vms, wanted in enumerate(crowd.demands)
                for option in crowd.rooms.options(state, wanted)
            )
        return steps

    @staticmethod
    def _path(state: int, worth: t.Mapping[int, tuple[float, int, int]]) -> Load:
        load: list[int] = []
        while True:
            _gain, vms, after = worth[state]
            if vms < 0:
                return tuple(sorted(load))
            load.append(vms)
            state = after


class Configurations:
    """The model over the loads that are known."""

    def __init__(self, crowd: Crowd, loads: Loads) -> None:
        self._crowd = crowd
        self.loads = loads

    def _model(self, aim: Aim, emptied: int) -> tuple[Model, list[int], list[int], dict[tuple[int, Load], int]]:
        """The model, and its columns for drained hosts, for VMs that leave, and for loads.

        Rows: one for each class of VMs, then one for each class of hosts, then others.
        """
        crowd, model = self._crowd, Model()
        drains = [model.column(count, integer=True) for count in crowd.drained]
        leaving = [model.column(len(members)) for members in crowd.vms]
        cover: list[dict[int, float]] = [{column: -1.0} for column in leaving]
        taking: list[dict[int, float]] = [{} for _state in crowd.states]
        columns = {}
        for place, known in enumerate(self.loads.known):
            for load in known:
                column = columns[place, load] = model.column(integer=True)
                taking[place][column] = 1.0
                for vms, times in collections.Counter(load).items():
                    cover[vms][column] = float(times)
        for row in cover:
            model.row(0, row, INFINITY)
        for place, row in enumerate(taking):
            model.row(-INFINITY, row, len(crowd.hosts[place]))
        needed: list[dict[int, float]] = [{column: 1.0} for column in leaving]
        for column, drain in zip(drains, crowd.drains, strict=True):
            for vms, number in drain:
                needed[vms][column] = -float(number)
        for row in needed:
            model.row(0, row, INFINITY)
        model.row(emptied, dict.fromkeys(drains, 1.0), INFINITY)
        model.aim(drains if aim == "hosts" else leaving)
        return model, drains, leaving, columns

    def relaxed(self, aim: Aim, emptied: int) -> float | None:
        """Find the loads that matter; no solution reaches more than the result. None without a proof."""
        crowd = self._crowd
        best: float | None = None
        for _round in range(ROUNDS):
            model = self._model(aim, emptied)[0]
            answer = model.relaxed()
            if answer is None:
                return best
            prices = [-dual for dual in answer.duals[: len(crowd.demands)]]
            rents = answer.duals[len(crowd.demands) :][: len(crowd.states)]
            dearest = self.loads.best(prices)
            if dearest is None:
                return best
            gains = [worth - rent for (worth, _load), rent in zip(dearest, rents, strict=True)]
            bound = answer.bound + sum(
                len(hosts) * gain for hosts, gain in zip(crowd.hosts, gains, strict=True) if gain > 0
            )
            best = bound if best is None else min(best, bound)
            new = [
                self.loads.add(place, load)
                for place, ((_worth, load), gain) in enumerate(zip(dearest, gains, strict=True))
                if gain > SLACK
            ]
            if not any(new) or int(answer.bound + SLACK) == int(best + SLACK):
                return best
        return best

    def whole(self, aim: Aim, emptied: int, nodes: int, start: Whole) -> Whole:
        """The best that was found of the known loads; the start if there is nothing better."""
        model, drains, leaving, columns = self._model(aim, emptied)
        given = dict(zip(drains, map(float, start.drains), strict=True))
        given |= dict(zip(leaving, map(float, start.leaving), strict=True))
        given |= {
            columns[place, load]: float(number)
            for place, loads in enumerate(start.loads)
            for load, number in loads.items()
        }
        values = model.solve(nodes, given)
        if not values:
            return start
        loads: list[dict[Load, int]] = [{} for _state in self._crowd.states]
        for (place, load), column in columns.items():
            if number := round(values[column]):
                loads[place][load] = number
        return Whole([round(values[column]) for column in drains], loads, [round(values[column]) for column in leaving])
