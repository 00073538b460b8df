# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no solution can do better, and solutions that come close to it; needs the HiGHS solver.

First the hosts that can be emptied, then the VMs that can leave while so many hosts are: each is bounded by the
linear configuration model and then sought in whole numbers among the loads that the bound is made of.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import math
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _highs
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._configurations import (
    Aim,
    Configurations,
    Loads,
    Whole,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._crowd import Crowd, crowd
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._packing import pack
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Bound, Problem, Solution, emptied
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Rooms

Complete = t.Callable[[Problem, Solution], Solution]
"""Makes a solution better without taking anything back."""

NODES: t.Final = (50, 500)
"""How far to look for whole numbers: shortly, and again where that leaves a gap."""


class Proof(t.NamedTuple):
    """A solution and what is known of all others."""

    solution: Solution
    bound: Bound | None
    reason: str | None
    """Why there is no bound, as one sentence."""


def improve(problem: Problem, solution: Solution, complete: Complete) -> Proof:
    """A solution at least as good as the given one, and a bound."""
    if len(solution.placements) == len(problem.vms):
        every = Bound(len(emptied(problem, range(len(problem.vms)))), len(problem.vms), "everything")
        return Proof(solution, every, None)
    if not _highs.is_there():
        return Proof(solution, None, "no bound was computed: the controller's Python has no highspy package")
    return _Search(problem, solution, complete).run()


class _Search:
    """The best solution so far, and the models that look for better ones."""

    def __init__(self, problem: Problem, solution: Solution, complete: Complete) -> None:
        self._problem = problem
        self._complete = complete
        self._rooms = Rooms(problem.kinds)
        self._crowd: Crowd = crowd(problem, self._rooms)
        self._loads = Loads(self._crowd)
        self._model = Configurations(self._crowd, self._loads)
        self._best = solution
        self._learn(solution)

    def run(self) -> Proof:
        if not self._crowd.demands:
            return Proof(self._best, Bound(self._crowd.idle, 0, "nothing"), None)
        hosts = self._most("hosts", 0)
        if hosts is None:
            return self._unproven()
        self._seek("hosts", 0, hosts)
        while True:
            floor = self._emptied
            vms = self._most("vms", floor)
            if vms is None:
                return self._unproven()
            self._seek("vms", floor, vms)
            if not self._rooms.complete:
                return self._unproven()
            if self._emptied == floor:
                return Proof(self._best, Bound(hosts + self._crowd.idle, vms, "configurations"), None)

    def _unproven(self) -> Proof:
        return Proof(self._best, None, "no bound was computed: the hosts can take the VMs in too many different ways")

    @property
    def _emptied(self) -> int:
        """Hosts that the best solution empties, without those that are empty already."""
        return self._score(self._best)[0] - self._crowd.idle

    def _score(self, solution: Solution) -> tuple[int, int]:
        placed = {placement.vm for placement in solution.placements}
        return len(emptied(self._problem, placed)), len(placed)

    def _most(self, aim: Aim, floor: int) -> int | None:
        bound = self._model.relaxed(aim, floor)
        return None if bound is None else math.floor(bound + _highs.SLACK)

    def _seek(self, aim: Aim, floor: int, most: int) -> None:
        """Look for whole numbers until the best solution reaches the bound."""
        for nodes in NODES:
            hosts, vms = self._score(self._best)
            if (hosts - self._crowd.idle if aim == "hosts" else vms) >= most:
                return
            whole = self._model.whole(aim, floor, nodes, self._known(self._best))
            found = self._complete(self._problem, pack(self._problem, self._crowd, whole.loads, whole.drains))
            self._learn(found)
            if self._score(found) > self._score(self._best):
                self._best = found

    def _learn(self, solution: Solution) -> None:
        """A load that somebody found is a load of the model."""
        for place, loads in enumerate(self._known(solution).loads):
            for load in loads:
                self._loads.add(place, load)

    def _known(self, solution: Solution) -> Whole:
        """A solution as the model sees it."""
        crowd = self._crowd
        classes = {vm: place for place, members in enumerate(crowd.vms) for vm in members}
        taken: dict[int, list[int]] = {}
        leaving = [0] * len(crowd.vms)
        for placement in solution.placements:
            taken.setdefault(placement.host, []).append(classes[placement.vm])
            leaving[classes[placement.vm]] += 1
        loads = [
            dict(collections.Counter(tuple(sorted(taken[host])) for host in hosts if host in taken))
            for hosts in crowd.hosts
        ]
        on: dict[int, collections.Counter[int]] = {}
        for number, vm in enumerate(self._problem.vms):
            if number in classes:
                on.setdefault(vm.host, collections.Counter())[classes[number]] += 1
        empty = emptied(self._problem, {placement.vm for placement in solution.placements})
        kinds = collections.Counter(tuple(sorted(on[host].items())) for host in empty if host in on)
        return Whole([kinds[kind] for kind in crowd.drains], loads, leaving)
