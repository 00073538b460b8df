# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search of the standard library: always a valid solution, never a proof.

This file is private to the collection and pure.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._greedy import Chooser, Drain, Taste
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._improve import Chains
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._prices import Prices, pressures
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Problem, Solution, emptied
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
    """Hosts where one more seat for one of ``needs`` may free it, some only after others made way; ascending."""
    needs: tuple[int, ...]
    """Its own needs and those of the VMs that could make way for it, ascending."""


def solve(problem: Problem, start: Solution | None = None) -> Solution:
    """A good solution; with a start at least as good as that, which must be valid."""
    search = Search(problem)
    prices = _prices(search)
    if start:
        _restore(search, start)
    else:
        _run(Chooser(search, prices, Taste.QUICK))
    if len(search.placed) < len(problem.vms):
        _improve(Chooser(search, prices, Taste.THRIFTY), start is None)
    return search.solution()


def score(search: Search) -> Score:
    """What is placed, as good as the objective says."""
    problem = search.problem
    unknown = 0
    cost = 0
    for placement in search.placed.values():
        parents = problem.hosts[placement.host].parents
        cost += problem.hosts[placement.host].cost
        for need, (parent, seat) in zip(problem.vms[placement.vm].needs, placement.seats, strict=True):
            unknown += need not in problem.kinds[parents[parent].kind].seats[seat].yes
    return len(emptied(problem, search.placed)), len(search.placed), -cost, -unknown


def _prices(search: Search) -> Prices:
    wanted: dict[int, int] = {}
    for vm in search.problem.vms:
        for need in vm.needs:
            wanted[need] = wanted.get(need, 0) + 1
    kinds = search.problem.kinds
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
        if not any([_complete(drain, chains, host) for host in drain.by_burden()]):
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


def contention(problem: Problem, solution: Solution, vm: int) -> Contention:
    """Why this VM, which is compatible with something, found no place."""
    raise NotImplementedError


class Trial:
    """Asks many times what one change would do to one solution. Nothing is kept between two questions."""

    def __init__(self, problem: Problem, solution: Solution) -> None:
        raise NotImplementedError

    def can_place(self, vm: int, changed: Problem | None = None) -> Solution | None:
        """The solution with this VM placed too and all others still placed; None when none was found.

        ``changed`` is the problem with some hosts replaced and with kinds appended, all else the same objects:
        only the hosts that were replaced cost anything.
        """
        raise NotImplementedError


def can_place(problem: Problem, solution: Solution, vm: int) -> Solution | None:
    """As Trial.can_place, for one question."""
    return Trial(problem, solution).can_place(vm)
