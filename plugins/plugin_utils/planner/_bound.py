# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no solution can do better, and solutions that come close to it; needs the HiGHS solver, or says less.

First the hosts that can be emptied, then the VMs that can leave while so many hosts are. Each is bounded, as long as a
gap is left, by the merged model, the configuration model, the merged model in whole numbers and the path model, and
sought in whole numbers among the loads that the configuration model is made of, then among all. The lowest bound wins.

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
    Priced,
    Whole,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._crowd import Crowd, crowd
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._flow import flow_bound
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._merged import Merged
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._packing import pack
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._paths import Paths
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Bound, Problem, Solution, emptied
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Rooms

Complete = t.Callable[[Problem, Solution], Solution]
"""Makes a solution better without taking anything back."""

SHORTLY: t.Final = 50
LONG: t.Final = 500
"""Nodes of a search in whole numbers: shortly, and again in another way where that leaves a gap."""
FEW: t.Final = 1500
"""With more loads the second is not worth its time."""
MERGED: t.Final = 20
"""Nodes of the merged model: what it proves it mostly proves at once."""


class Proof(t.NamedTuple):
    """A solution and what is known of all others."""

    solution: Solution
    bound: Bound


def improve(problem: Problem, solution: Solution, complete: Complete) -> Proof:
    """A solution at least as good as the given one, and a bound."""
    if len(solution.placements) == len(problem.vms):
        return Proof(solution, Bound(len(emptied(problem, range(len(problem.vms)))), len(problem.vms), "everything"))
    if not _highs.is_there():
        return Proof(solution, Bound(*flow_bound(problem), "flow"))
    return _Search(problem, solution, complete).run()


class _Limit:
    """The lowest bound so far, and what proved it."""

    def __init__(self) -> None:
        self.most: float = math.inf
        self.method = ""

    def lower(self, most: float, method: str) -> None:
        if most < self.most:
            self.most, self.method = most, method


class _Search:
    """The best solution so far, and the models that look for better ones."""

    def __init__(self, problem: Problem, solution: Solution, complete: Complete) -> None:
        self._problem = problem
        self._complete = complete
        self._rooms = Rooms(problem.kinds)
        self._crowd: Crowd = crowd(problem, self._rooms)
        self._loads = Loads(self._crowd)
        self._model = Configurations(self._crowd, self._loads)
        self._merged = Merged(self._crowd, problem.kinds)
        self._paths = Paths(self._crowd, self._loads)
        self._tried: set[tuple[Aim, int]] = set()
        self._asked: set[tuple[Aim, int, int]] = set()
        self._best = solution
        self._learn(solution)

    def run(self) -> Proof:
        if not self._crowd.demands and self._rooms.complete:
            return Proof(self._best, Bound(self._crowd.idle, 0, "nothing"))
        hosts = self._bounded("hosts", 0)
        while True:
            floor = self._emptied
            vms = self._bounded("vms", floor)
            if self._emptied == floor:
                return Proof(self._best, self._bound(hosts, vms))

    def _bound(self, hosts: _Limit, vms: _Limit) -> Bound:
        if not self._rooms.complete or math.isinf(hosts.most + vms.most):
            # Ways to take a VM were left out, so that these models know too little.
            return Bound(*flow_bound(self._problem), "flow")
        method = "+".join(dict.fromkeys((hosts.method, vms.method)))
        return Bound(int(hosts.most) + self._crowd.idle, int(vms.most), method)

    @property
    def _emptied(self) -> int:
        """Hosts that the best solution empties, without those that are empty already."""
        return self._score(self._best)[0] - self._crowd.idle

    def _score(self, solution: Solution) -> tuple[int, int]:
        placed = {placement.vm for placement in solution.placements}
        return len(emptied(self._problem, placed)), len(placed)

    def _have(self, aim: Aim) -> int:
        return self._emptied if aim == "hosts" else len(self._best.placements)

    def _bounded(self, aim: Aim, floor: int) -> _Limit:
        """The lowest bound that was found, and meanwhile better solutions. The cheapest goes first."""
        limit = _Limit()
        merged = self._merged.relaxed(aim, floor)
        if merged is not None:
            limit.lower(math.floor(merged + _highs.SLACK), "merged_lp")
        if self._have(aim) >= limit.most:
            return limit
        priced = self._model.relaxed(aim, floor, self._have(aim))
        if priced is not None:
            limit.lower(math.floor(priced.bound + _highs.SLACK), "configurations")
            self._seek(aim, floor, limit, priced)
        if self._have(aim) < limit.most:
            self._lower_merged(aim, floor, limit)
        if priced is not None:
            self._close(aim, floor, limit, priced)
        return limit

    def _lower_merged(self, aim: Aim, floor: int, limit: _Limit) -> None:
        """Prove more with the merged model, first with whole hosts only."""
        self._lower_emptying(aim, floor, limit, self._have(aim) + 1)
        if self._have(aim) < limit.most:
            whole = self._merged.whole(aim, floor, MERGED)
            if whole is not None and math.isfinite(whole):
                limit.lower(math.floor(whole + _highs.CAUTION), "merged_milp")

    def _lower_emptying(self, aim: Aim, floor: int, limit: _Limit, asked: int) -> None:
        """Prove more with whole hosts in the merged model, where it is no weaker than the other one."""
        if self._have(aim) >= asked or limit.method != "merged_lp" or (aim, floor, asked) in self._asked:
            return
        self._asked.add((aim, floor, asked))
        bound = self._merged.emptying(aim, floor, asked)
        if math.isfinite(bound):
            limit.lower(math.floor(bound + _highs.CAUTION), "merged_milp")

    def _seek(self, aim: Aim, floor: int, limit: _Limit, priced: Priced) -> None:
        """Look for whole numbers among the known loads until the best solution reaches the bound."""
        if aim == "hosts":
            self._reach(int(limit.most))
            self._lower_emptying(aim, floor, limit, int(limit.most))
        if self._have(aim) >= limit.most:
            return
        self._apart(aim, floor)
        self._loads.enrich(priced.prices, priced.bound - self._have(aim))
        if self._have(aim) < limit.most and self._loads.count < FEW:
            self._take(self._model.whole(aim, floor, LONG, self._known(self._best)))

    def _reach(self, hosts: int) -> None:
        """Look for the most VMs that leave while as many hosts are emptied as might be: that finds both at once."""
        if self._emptied < hosts and self._model.relaxed("vms", hosts, 0) is not None:
            self._apart("vms", hosts)

    def _apart(self, aim: Aim, floor: int) -> None:
        """Look for whole numbers of hosts, then of loads, where nobody did so yet."""
        if (aim, floor) not in self._tried:
            self._tried.add((aim, floor))
            self._take(self._model.apart(aim, floor, SHORTLY))

    def _close(self, aim: Aim, floor: int, limit: _Limit, priced: Priced) -> None:
        """Ask for better ones until there is one, or none is left, or nothing is learned any more."""
        while self._have(aim) < limit.most:
            before = (limit.most, self._have(aim))
            for asked in _asked(self._have(aim) + 1, int(limit.most)):
                sought = self._paths.seek(aim, floor, asked, priced)
                if sought is not None:
                    known = sought.bound if math.isinf(sought.bound) else math.floor(sought.bound + _highs.CAUTION)
                    limit.lower(max(asked - 1, known), "paths")
                    self._take(sought.whole)
                    break
            if (limit.most, self._have(aim)) == before:
                return

    def _take(self, whole: Whole | None) -> None:
        """Make a solution of whole numbers, if there are any, and keep it if it is the best."""
        if whole is None:
            return
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
            # Where ways were left out a class may seem to fit nowhere, and somebody found a place all the same.
            if placement.vm in classes:
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


def _asked(least: int, most: int) -> t.Iterator[int]:
    """What to ask for: as little as would help, then more, as that is easier to answer."""
    while least < most:
        yield least
        least += (most - least + 1) // 2
    yield most
