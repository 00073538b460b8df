# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search of the standard library: always a valid solution, never a proof.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._exact import Score, exact
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._greedy import Chooser, Drain, Taste
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._improve import Chains, settle
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._market import asking
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._prices import Prices, pressure, uses_of
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Kind, Problem, Solution, emptied
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Rooms
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._search import Search

PASSES = 3
"""How often hosts that could not be emptied are tried again after others made way."""
LEANINGS = (0.1, 0.2, 0.3, 0.0, 0.45, -0.2)
"""Orders in which hosts are emptied: how much hosts with many VMs are preferred. In small fleets each host comes first
once, too."""
EXCHANGES = 3000
"""How many hosts are tried in the place of others."""
LOOKS = 12000
"""So many VMs are placed, all orders together, to see which orders are good."""
TRIES = 3000
"""So many VMs are placed to follow up the best of them."""
FOLLOWED = 6
"""No more orders than these are followed up."""


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
        search.have(start)
    else:
        _run(Chooser(search, prices, Taste.QUICK))
    if len(search.placed) < len(problem.vms):
        _improve(Chooser(search, prices, Taste.THRIFTY), start is None)
    settle(Chooser(search, prices, Taste.QUICK))
    return exact(problem, score(search)) or search.solution()


def score(search: Search) -> Score:
    """What is placed, as good as the objective says."""
    problem = search.problem
    cost = sum(problem.hosts[each.host].cost for each in search.placed.values())
    unknown = sum(search.unknown(each) for each in search.placed.values())
    return len(emptied(problem, search.placed)), len(search.placed), -cost, -unknown


def _prices(search: Search, kinds: t.Sequence[Kind]) -> Prices:
    problem, parents = search.problem, search.parents()
    vms = [collections.Counter(vm.needs) for vm in problem.vms]
    on: dict[int, collections.Counter[int]] = {}
    wanted: collections.Counter[int] = collections.Counter()
    for vm, needs in zip(problem.vms, vms, strict=True):
        on.setdefault(vm.host, collections.Counter()).update(needs)
        wanted.update(needs)
    uses = uses_of(kinds, parents, wanted)
    hosts = [needs for host, needs in on.items() if not problem.hosts[host].held]
    return Prices(kinds, pressure(uses, parents, wanted), asking(uses, parents, hosts, vms))


def _run(chooser: Chooser) -> None:
    """Place everybody, host by host, the easiest first; then whoever is left and fits."""
    drain = Drain(chooser)
    for host in drain.order():
        drain.empty(host, chooser.place)
    drain.fill(chooser.place)


def _improve(chooser: Chooser, afresh: bool) -> None:
    """Empty more hosts and place more VMs. What came from hosts that stay anyway makes room for the others at first."""
    search = chooser.search
    drain, chains = Drain(chooser), Chains(chooser)
    best = (score(search), search.solution())
    starts = [best[1]]
    if afresh:
        search.have(Solution(()))
        vms = len(search.problem.vms)
        orders = itertools.islice(_orders(drain), max(1, LOOKS // vms))
        found = {solution: good for good, solution in (_emptied(chooser, drain, order) for order in orders)}
        starts = sorted(found, key=lambda each: found[each], reverse=True)[: min(FOLLOWED, max(1, TRIES // vms))]
    for start in starts:
        search.have(start)
        _make_way(chooser, drain, chains)
        found_now = (score(search), search.solution())
        best = max(best, found_now, key=lambda each: each[0])
    search.have(best[1])


def _orders(drain: Drain) -> t.Iterator[list[int]]:
    for leaning in LEANINGS:
        yield drain.order(leaning)
    easiest = drain.order()
    for host in easiest:
        yield [host, *(other for other in easiest if other != host)]


def _emptied(chooser: Chooser, drain: Drain, order: t.Iterable[int]) -> tuple[Score, Solution]:
    """Whole hosts in this order, and how good that is when the rest is filled up. Nothing is kept."""
    chooser.hope()
    for host in order:
        drain.empty(host, chooser.place)
    solution = chooser.search.solution()
    drain.fill(chooser.place)
    good = score(chooser.search)
    chooser.search.have(Solution(()))
    return good, solution


def _make_way(chooser: Chooser, drain: Drain, chains: Chains) -> None:
    """More whole hosts first, then more VMs."""
    for _pass in range(PASSES):
        chooser.hope()
        chains.stuck.clear()
        more = sum(_complete(drain, chains, host) for host in drain.order())
        if not more and not _exchange(chooser, drain):
            break
    chains.stuck.clear()
    drain.fill(chains.place)


def _exchange(chooser: Chooser, drain: Drain) -> bool:
    """Give one host up where others can be emptied instead that are more, or as many and have more VMs."""
    search, found = chooser.search, False
    others = drain.order()
    for host in drain.emptied()[: EXCHANGES // max(1, len(others))]:
        mark = search.mark()
        chooser.hope()
        drain.refill(host)
        gone = [other for other in others if drain.empty(other, chooser.place)]
        if (len(gone), sum(map(drain.size, gone))) > (1, drain.size(host)):
            found = True
            others = drain.order()
        else:
            search.back(mark)
    chooser.hope()
    return found


def _complete(drain: Drain, chains: Chains, host: int) -> bool:
    """Empty a host with whatever ways others make. What got stuck on the way says nothing when it failed."""
    stuck = set(chains.stuck)
    if drain.empty(host, chains.place):
        return True
    chains.stuck = stuck
    return False


class Trial:
    """Asks many questions about one solution. Nothing is kept between two of them."""

    def __init__(self, problem: Problem, solution: Solution) -> None:
        self._problem = problem
        self._kinds = list(problem.kinds)
        """Those of the problem, then those of all changes so far."""
        self._numbers = {kind: number for number, kind in reversed(list(enumerate(problem.kinds)))}
        self._search = Search(problem, Rooms(self._kinds))
        prices = _prices(self._search, self._kinds)
        self._search.have(solution)
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
