# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search of the standard library: always a valid solution, never a proof.

This file is private to the collection and pure.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._greedy import Chooser, Drain, Taste
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._improve import Chains, settle
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._prices import Prices, pressures
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Kind, Problem, Solution, emptied
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Rooms
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._search import Search

PASSES = 3
"""How often those who found no place are tried again after others made way."""

Score = tuple[int, int, int, int]
"""Hosts emptied, VMs placed, then cost and unknown answers as negative numbers: more is better."""


class Contention(t.NamedTuple):
    """Who has what a VM that stays would need."""

    rivals: tuple[int, ...]
    """Placed VMs that sit where it could go, ascending."""
    hosts: tuple[int, ...]
    """Where they are, and others who could make way for them: one more seat for one of ``needs`` may free it. The
    nearest first."""
    needs: tuple[int, ...]
    """Its own needs and those of the VMs that could make way for it, ascending."""


def solve(problem: Problem, start: Solution | None = None) -> Solution:
    """A good solution; with a start at least as good as that, which must be valid."""
    search = Search(problem)
    prices = _prices(search, problem.kinds)
    if start:
        _restore(search, start)
    else:
        _run(Chooser(search, prices, Taste.QUICK))
    if len(search.placed) < len(problem.vms):
        _improve(Chooser(search, prices, Taste.THRIFTY), start is None)
    settle(Chooser(search, prices, Taste.QUICK))
    return search.solution()


def score(search: Search) -> Score:
    """What is placed, as good as the objective says."""
    problem = search.problem
    cost = sum(problem.hosts[each.host].cost for each in search.placed.values())
    unknown = sum(search.unknown(each) for each in search.placed.values())
    return len(emptied(problem, search.placed)), len(search.placed), -cost, -unknown


def _prices(search: Search, kinds: t.Sequence[Kind]) -> Prices:
    wanted: dict[int, int] = {}
    for vm in search.problem.vms:
        for need in vm.needs:
            wanted[need] = wanted.get(need, 0) + 1
    return Prices(kinds, pressures(kinds, search.parents(), wanted))


def _run(chooser: Chooser) -> None:
    """Place everybody, host by host, the easiest first; then whoever is left and fits."""
    drain = Drain(chooser)
    for host in drain.by_burden():
        drain.empty(host, chooser.place)
    drain.fill(chooser.place)


def _improve(chooser: Chooser, afresh: bool) -> None:
    """Empty more hosts and place more VMs. What came from hosts that stay anyway makes room for the others at first."""
    search = chooser.search
    before, kept = score(search), search.solution()
    if afresh:
        search.back(0)
    drain, chains = Drain(chooser), Chains(chooser)
    for host in drain.by_burden() if afresh else []:
        drain.empty(host, chooser.place)
    _make_way(chooser, drain, chains)
    if score(search) < before:
        search.back(0)
        _restore(search, kept)


def _make_way(chooser: Chooser, drain: Drain, chains: Chains) -> None:
    for _pass in range(PASSES):
        chooser.hope()
        chains.stuck.clear()
        if not sum(_complete(drain, chains, host) for host in drain.by_burden()):
            break
    for _pass in range(PASSES):
        chains.stuck.clear()
        if not drain.fill(chains.place):
            break


def _complete(drain: Drain, chains: Chains, host: int) -> bool:
    """Empty a host with whatever ways others make. What got stuck on the way says nothing when it failed."""
    stuck = set(chains.stuck)
    if drain.empty(host, chains.place):
        return True
    chains.stuck = stuck
    return False


def _restore(search: Search, solution: Solution) -> None:
    for placement in solution.placements:
        search.put(placement)


class Trial:
    """Asks many questions about one solution. Nothing is kept between two of them."""

    def __init__(self, problem: Problem, solution: Solution) -> None:
        self._problem = problem
        self._kinds = list(problem.kinds)
        """Those of the problem, then those of all changes so far."""
        self._numbers = {kind: number for number, kind in reversed(list(enumerate(problem.kinds)))}
        self._search = Search(problem, Rooms(self._kinds))
        prices = _prices(self._search, self._kinds)
        _restore(self._search, solution)
        self._chains = Chains(Chooser(self._search, prices, Taste.QUICK))

    def can_place(self, vm: int, changed: Problem | None = None) -> Solution | None:
        """The solution with this VM placed too and all others still placed; None when none was found.

        ``changed`` is the problem with some hosts replaced and with kinds appended, all else the same objects:
        only the hosts that were replaced cost anything. None of them may have less room than its guests take.
        """
        pairs = zip(self._problem.hosts, changed.hosts if changed else (), strict=False)
        hosts = [number for number, (old, new) in enumerate(pairs) if old is not new]
        if changed:
            self._search.swap(self._translated(changed, hosts), hosts)
        mark = self._search.mark()
        self._chains.stuck.clear()
        found = self._search.solution() if self._chains.place(vm) else None
        self._search.back(mark)
        self._search.swap(self._problem, hosts)
        return found

    def contention(self, vm: int) -> Contention:
        """Why this VM, which is compatible with something, found no place."""
        return Contention(*map(tuple, self._chains.rivals(vm)))

    def _translated(self, changed: Problem, hosts: t.Iterable[int]) -> Problem:
        """The same problem with one numbering of kinds for all changes, as what is known of a kind is kept."""
        for kind in changed.kinds:
            if kind not in self._numbers:
                self._numbers[kind] = len(self._kinds)
                self._kinds.append(kind)
        own = list(changed.hosts)
        for number in hosts:
            parents = tuple(
                dataclasses.replace(each, kind=self._numbers[changed.kinds[each.kind]]) for each in own[number].parents
            )
            own[number] = dataclasses.replace(own[number], parents=parents)
        return dataclasses.replace(self._problem, hosts=tuple(own), kinds=tuple(self._kinds))


def can_place(problem: Problem, solution: Solution, vm: int) -> Solution | None:
    """As Trial.can_place, for one question."""
    return Trial(problem, solution).can_place(vm)


def contention(problem: Problem, solution: Solution, vm: int) -> Contention:
    """As Trial.contention, for one question."""
    return Trial(problem, solution).contention(vm)
