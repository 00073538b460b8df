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
import math
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._crowd import Crowd
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._highs import INFINITY, SLACK, Answer, Model
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._packing import Load

Aim = t.Literal["hosts", "vms"]
Worth = dict[int, tuple[float, int, int]]
"""State -> what its dearest load is worth, and the first step to it: class of VMs and next state, -1 for none."""


class Priced(t.NamedTuple):
    """What is known of all solutions, whole or not."""

    bound: float
    prices: list[float]
    """For each class of VMs what one more place for it would be worth; the bound holds for these prices."""


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
STEPS = 500_000
"""Rooms.work until the search gives up; such a fleet takes a third of it."""


WORK = 100_000
"""Columns times nodes of a search in whole numbers."""
CHOICES = 400_000
"""The same where only hosts are whole."""
EFFORT = 0.2
"""Share of the work that goes into finding solutions then, rather than into proving that there is none."""
LEAST = 10
"""But no fewer nodes than these."""
CLEAR = 3.0
"""It is clear whether a host is emptied where deciding otherwise costs so many VMs."""
MISSING = 100.0
"""What it costs when a VM of a host that is to be emptied finds no place: far more than any VM is worth."""
LOSS = 3.0
"""Loads that lose no more VMs than this may be of use in whole numbers when the hosts are known."""
BACK = 1
"""So many hosts of each load are given back when numbers are made whole: the rest needs some choice."""
MANY = 4000
"""With so many loads none are added for whole numbers: the solver needs seconds for its first node then."""


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
        worth: Worth = {}
        found = []
        for state in self._crowd.states:
            if not self.weigh(state, prices, worth):
                return None
            found.append((worth[state][0], self._path(state, worth)))
        return found

    @property
    def count(self) -> int:
        """Of all classes together."""
        return sum(map(len, self.known))

    def enrich(self, prices: t.Sequence[float], most: float) -> None:
        """Remember for each first step of each class of hosts the dearest load, if it loses no more than this against
        the dearest of all: whole numbers need more loads than others."""
        worth: Worth = {}
        room = MANY - self.count
        for place, state in enumerate(self._crowd.states):
            for vms, after in self.after(state):
                if room <= 0 or not (self.weigh(state, prices, worth) and self.weigh(after, prices, worth)):
                    return
                if worth[state][0] - prices[vms] - worth[after][0] <= most:
                    room -= self.add(place, (vms, *self._path(after, worth)))

    def weigh(self, start: int, prices: t.Sequence[float], worth: Worth) -> bool:
        """The longest path from a state on, and from all on the way; False when there are too many to look at.

        A stack of its own, for paths may be long.
        """
        stack = [start]
        while stack:
            state = stack[-1]
            if state in worth:
                stack.pop()
                continue
            if self._is_too_much():
                return False
            steps = self.after(state)
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
        return not self._is_too_much()

    def _is_too_much(self) -> bool:
        return len(self._steps) > STATES or self._crowd.rooms.work > STEPS

    def after(self, state: int) -> tuple[tuple[int, int], ...]:
        """Classes of VMs that a state takes, each with what becomes of it."""
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
    def _path(state: int, worth: Worth) -> Load:
        load: list[int] = []
        while True:
            _gain, vms, after = worth[state]
            if vms < 0:
                return tuple(sorted(load))
            load.append(vms)
            state = after


def demanded(crowd: Crowd, model: Model, emptied: int, missing: float | None = None) -> tuple[list[int], list[int]]:
    """Columns for drained hosts and for VMs that leave, and their rows: one for each class of VMs, of which as many
    leave as the hosts that are emptied had; and one for the hosts, of which at least so many are emptied.

    :arg missing: what it costs when one VM less leaves than that; None if that must not be.
    """
    drains = [model.column(count, integer=True) for count in crowd.drained]
    leaving = [model.column(len(members), integer=True) for members in crowd.vms]
    needed: list[dict[int, float]] = [{column: 1.0} for column in leaving]
    for column, drain in zip(drains, crowd.drains, strict=True):
        for vms, number in drain:
            needed[vms][column] = -float(number)
    if missing is not None:
        for row in needed:
            row[model.column(integer=True, cost=-missing)] = 1.0
    for row in needed:
        model.row(0, row, INFINITY)
    model.row(emptied, dict.fromkeys(drains, 1.0), INFINITY)
    return drains, leaving


def _split(numbers: list[float], place: int) -> tuple[list[float], list[float]]:
    return numbers[:place], numbers[place:]


class Configurations:
    """The model over the loads that are known."""

    def __init__(self, crowd: Crowd, loads: Loads) -> None:
        self._crowd = crowd
        self.loads = loads

    def _model(
        self, aim: Aim, emptied: int, missing: float | None = None
    ) -> tuple[Model, list[int], list[int], dict[tuple[int, Load], int]]:
        """The model, and its columns for drained hosts, for VMs that leave, and for loads.

        Rows: those of ``demanded``, then one for each class of VMs, then one for each class of hosts.
        """
        crowd, model = self._crowd, Model()
        drains, leaving = demanded(crowd, model, emptied, missing)
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
        model.aim(drains if aim == "hosts" else leaving)
        return model, drains, leaving, columns

    def relaxed(self, aim: Aim, emptied: int, enough: int) -> Priced | None:
        """Find the loads that matter; no solution reaches more than the result. None without a proof.

        :arg enough: a bound that is as low need not be lower.
        """
        best: Priced | None = None
        for _round in range(ROUNDS):
            answer = self._model(aim, emptied)[0].relaxed()
            if answer is None:
                return best
            needed, _rest = _split(answer.duals, len(self._crowd.demands) + 1)
            prices, rents = self._priced(answer)
            dearest = self.loads.best(prices)
            if dearest is None:
                return best
            worths = [worth for worth, _load in dearest]
            bound = self._proven(aim, emptied, prices, [max(0.0, -dual) for dual in needed], worths)
            if best is None or bound < best.bound:
                best = Priced(bound, prices)
            if not self._add(dearest, rents) or int(best.bound + SLACK) <= enough:
                return best
        return best

    def _priced(self, answer: Answer) -> tuple[list[float], list[float]]:
        """What a place for a VM of each class is worth, and what a host of each class is."""
        classes = len(self._crowd.demands)
        cover, rest = _split(answer.duals[classes + 1 :], classes)
        # What the solver calls the dual of these rows is what more of them would cost.
        return [max(0.0, -dual) for dual in cover], rest[: len(self._crowd.states)]

    def _add(self, dearest: t.Sequence[tuple[float, Load]], rents: t.Sequence[float]) -> bool:
        """Remember the loads that are worth more than their hosts; whether one is new."""
        new = [
            self.loads.add(place, load)
            for place, ((worth, load), rent) in enumerate(zip(dearest, rents, strict=True))
            if worth - rent > SLACK
        ]
        return any(new)

    def _proven(
        self, aim: Aim, emptied: int, prices: t.Sequence[float], needed: t.Sequence[float], worths: t.Sequence[float]
    ) -> float:
        """The bound at these prices (Lagrange): it holds for any, so it does not depend on how exact the solver is."""
        crowd = self._crowd
        *takes, floor = needed
        leaving = [float(aim == "vms") - price + take for price, take in zip(prices, takes, strict=True)]
        drains = [
            float(aim == "hosts") + floor - sum(takes[vms] * number for vms, number in drain) for drain in crowd.drains
        ]
        parts = [len(hosts) * worth for hosts, worth in zip(crowd.hosts, worths, strict=True)]
        parts += [len(members) * gain for members, gain in zip(crowd.vms, leaving, strict=True) if gain > 0]
        parts += [count * gain for count, gain in zip(crowd.drained, drains, strict=True) if gain > 0]
        return math.fsum(parts) - floor * emptied

    def apart(self, aim: Aim, emptied: int, nodes: int) -> Whole | None:
        """Whole numbers of hosts first, then of loads that empty just these: in large fleets that finds far better ones
        than both at once. None if nothing was found."""
        model, drains, _leaving, _columns = self._model(aim, emptied)
        model.free(set(range(model.size)).difference(drains))
        if aim == "vms":
            _settle(model, drains)
        # A start would only lead to the hosts that are known already.
        values = model.solve(max(LEAST, CHOICES // model.size), effort=EFFORT).values
        return self._emptying([round(values[column]) for column in drains], nodes) if values else None

    def _emptying(self, counts: t.Sequence[int], nodes: int) -> Whole | None:
        """The best that was found when just so many hosts of each kind are emptied: in any numbers, with the loads that
        matter then, and next to that in whole numbers. A few VMs may be missing, for there is always a solution so."""
        for _round in range(ROUNDS):
            model, drains, leaving, columns = self._fixed(counts)
            answer = model.relaxed()
            if answer is None:
                return None
            values = answer.values
            prices, rents = self._priced(answer)
            dearest = self.loads.best(prices)
            if dearest is None or not self._add(dearest, rents):
                break
        self.loads.enrich(prices, LOSS)
        least = {key: math.floor(values[column] + SLACK) - BACK for key, column in columns.items()}
        model, drains, leaving, columns = self._fixed(counts)
        for key, number in least.items():
            if number > 0:
                model.row(number, {columns[key]: 1.0}, INFINITY)
        return self._read(model.solve(nodes).values, drains, leaving, columns)

    def _fixed(self, counts: t.Sequence[int]) -> tuple[Model, list[int], list[int], dict[tuple[int, Load], int]]:
        """The model where just so many hosts of each kind are emptied."""
        model, drains, leaving, columns = self._model("vms", 0, MISSING)
        for column, count in zip(drains, counts, strict=True):
            model.row(count, {column: 1.0}, count)
        return model, drains, leaving, columns

    def whole(self, aim: Aim, emptied: int, nodes: int, start: Whole) -> Whole | None:
        """The best that was found of the known loads, which the start is made of; None if nothing was found."""
        model, drains, leaving, columns = self._model(aim, emptied)
        values = model.solve(_nodes(nodes, model), _given(start, drains, leaving, columns)).values
        return self._read(values, drains, leaving, columns)

    def _read(
        self,
        values: t.Sequence[float],
        drains: list[int],
        leaving: list[int],
        columns: t.Mapping[tuple[int, Load], int],
    ) -> Whole | None:
        if not values:
            return None
        loads: list[dict[Load, int]] = [{} for _state in self._crowd.states]
        for (place, load), column in columns.items():
            if number := round(values[column]):
                loads[place][load] = number
        return Whole([round(values[column]) for column in drains], loads, [round(values[column]) for column in leaving])


def _given(
    start: Whole, drains: list[int], leaving: list[int], columns: t.Mapping[tuple[int, Load], int]
) -> dict[int, float]:
    given = dict(zip(drains, map(float, start.drains), strict=True))
    given |= dict(zip(leaving, map(float, start.leaving), strict=True))
    given |= {
        columns[place, load]: float(number) for place, loads in enumerate(start.loads) for load, number in loads.items()
    }
    return given


def _settle(model: Model, drains: t.Sequence[int]) -> None:
    """Fix the hosts that any numbers decide on clearly: whole ones need not decide on these again."""
    answer = model.relaxed()
    if answer is None:
        return
    for column in drains:
        count = round(answer.values[column])
        if abs(answer.values[column] - count) <= SLACK and abs(answer.reduced[column]) >= CLEAR:
            model.row(count, {column: 1.0}, count)


def _nodes(nodes: int, model: Model) -> int:
    return max(LEAST, min(nodes, WORK // model.size))
