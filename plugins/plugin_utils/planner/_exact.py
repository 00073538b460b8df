# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The best solution of a small problem, by going through all that differ.

One VM after the other is decided on; what came out the same so far is followed once, and what cannot beat the best
known is dropped. Where that gets too much nothing is said.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Placement, Problem, Solution
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Floor, Option, Rooms, demand
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._search import Bucket

MOST = 20000
"""Beginnings of a solution that are looked at."""
WORK = 100_000
"""Rooms.work until this gives up: VMs of one to four devices in sixty hosts need a tenth of that, and who has more
devices would make each beginning dearer than the search of all."""
VMS = 60
"""With more VMs it is not even tried."""

Score = tuple[int, int, int, int]
"""Hosts emptied, VMs placed, then cost and unknown answers as negative numbers: more is better."""
Spots = frozenset[tuple[int, str]]
"""Groups and places where a member is."""


class _Step(t.NamedTuple):
    """A decision, and those before it."""

    vm: int
    host: int
    option: Option
    before: _Step | None


class _World(t.NamedTuple):
    """What decisions led to."""

    states: tuple[int, ...]
    """Of all targets."""
    moved: Spots
    stayed: Spots
    staying: bool
    """Whether somebody stays on the host that is looked at."""


class _Way(t.NamedTuple):
    """The best that led to one world, but for names of hosts."""

    score: Score
    """Whole hosts only."""
    world: _World
    step: _Step | None


def exact(problem: Problem, beat: Score) -> Solution | None:
    """The best solution if it is better than that; None if there is none, or where it would take too long."""
    if len(problem.vms) > VMS:
        return None
    return _Exact(problem, beat).run()


class _Exact:
    def __init__(self, problem: Problem, beat: Score) -> None:
        self._problem = problem
        self._beat = beat
        self._rooms = Rooms(problem.kinds)
        self._targets = [number for number, host in enumerate(problem.hosts) if host.target]
        self._first = tuple(self._rooms.of(problem.hosts[number]) for number in self._targets)
        homes = sorted({vm.host for vm in problem.vms})
        self._order = [
            [number for number, vm in enumerate(problem.vms) if vm.host == host]
            for host in sorted(homes, key=lambda host: problem.hosts[host].held)
        ]
        self._whole = [not problem.hosts[problem.vms[vms[0]].host].held for vms in self._order]
        self._idle = sum(
            host.drained and not host.held and number not in homes for number, host in enumerate(problem.hosts)
        )
        self._looked = 0

    def run(self) -> Solution | None:
        start = _World(self._first, frozenset(), frozenset(), False)
        ways = [_Way((self._idle, 0, 0, 0), start, None)]
        hosts, vms = sum(self._whole), len(self._problem.vms)
        for own, whole in zip(self._order, self._whole, strict=True):
            hosts -= whole
            for vm in own:
                vms -= 1
                ways = self._further(ways, vm, (hosts, whole), vms)
                if self._is_too_much():
                    return None
            ways = [self._left(way, whole) for way in ways]
        best = max(ways, key=lambda way: way.score, default=None)
        return self._solution(best.step) if best and best.score > self._beat else None

    def _further(self, ways: t.Iterable[_Way], vm: int, hosts: tuple[int, bool], vms: int) -> list[_Way]:
        """All that differ after one more decision, when at most so many hosts and VMs may still follow. ``hosts`` does
        not count the VM's own, but tells whether that one can be emptied."""
        found: dict[t.Hashable, _Way] = {}
        for way in ways:
            for new in self._decisions(way, vm):
                emptied, placed, cost, unknown = new.score
                emptied += hosts[0] + (hosts[1] and not new.world.staying)
                if (emptied, placed + vms, cost, unknown) <= self._beat:
                    continue
                key = self._key(new)
                if key not in found or found[key].score < new.score:
                    found[key] = new
            self._looked += 1
            if self._is_too_much():
                break
        self._looked += len(found)
        return list(found.values())

    def _is_too_much(self) -> bool:
        """Whether this takes too long; or is in vain, as ways to take a VM were left out."""
        return self._looked > MOST or self._rooms.work > WORK or not self._rooms.complete

    def _key(self, way: _Way) -> t.Hashable:
        """What tells worlds apart: where no groups are, hosts that cost the same have no names."""
        problem, world = self._problem, way.world
        if problem.groups:
            return world, way.score[0]
        changes: collections.Counter[Bucket] = collections.Counter()
        for number, before, now in zip(self._targets, self._first, world.states, strict=True):
            if before != now:
                cost = problem.hosts[number].cost
                changes[now, cost] += 1
                changes[before, cost] -= 1
        return tuple(sorted(each for each in changes.items() if each[1])), world.staying, way.score[0]

    def _decisions(self, way: _Way, vm: int) -> t.Iterator[_Way]:
        problem, world = self._problem, way.world
        own = problem.vms[vm]
        home = self._spots(vm, own.host)
        if not home & world.moved:
            yield _Way(way.score, world._replace(stayed=world.stayed | home, staying=True), way.step)
        seen = set()
        hosts, vms, cost, unknown = way.score
        for place, (state, number) in enumerate(zip(world.states, self._targets, strict=True)):
            host = problem.hosts[number]
            spots = self._spots(vm, number)
            if number == own.host or spots & (world.moved | world.stayed) or self._is_taken(vm, number):
                continue
            if not problem.groups and (state, host.cost) in seen:
                continue
            seen.add((state, host.cost))
            for option in self._rooms.options(state, demand(own)):
                states = (*world.states[:place], option.state, *world.states[place + 1 :])
                score = (hosts, vms + 1, cost - host.cost, unknown - option.unknown)
                new = world._replace(states=states, moved=world.moved | spots)
                yield _Way(score, new, _Step(vm, number, option, way.step))

    def _spots(self, vm: int, host: int) -> Spots:
        groups, there = self._problem.groups, self._problem.hosts[host]
        return frozenset((number, groups[number].place(there)) for number in self._problem.vms[vm].groups)

    def _is_taken(self, vm: int, host: int) -> bool:
        return any(place in self._problem.groups[number].taken for number, place in self._spots(vm, host))

    def _left(self, way: _Way, whole: bool) -> _Way:
        """All VMs of a host are decided on."""
        hosts, vms, cost, unknown = way.score
        gone = whole and not way.world.staying
        return _Way((hosts + gone, vms, cost, unknown), way.world._replace(staying=False), way.step)

    def _solution(self, step: _Step | None) -> Solution:
        steps = []
        while step:
            steps.append(step)
            step = step.before
        floors: dict[int, Floor] = {}
        placements = []
        for vm, number, option, _before in reversed(steps):
            floor = floors.setdefault(number, Floor(self._problem.hosts[number], self._problem.kinds))
            placements.append(Placement(vm, number, tuple(floor.seat(pick) for pick in option.picks)))
        return Solution(tuple(sorted(placements, key=lambda each: (each.host, each.vm))))
