# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room for one more VM by letting others, who are placed already, go elsewhere.

A *chain*: the VM takes the place of a guest, that one the place of another, the last one a free place. Chains are
sought breadth first over classes of VMs, so none is looked at twice. Where one guest is not enough, all guests of a
host are *reseated*: a VM with several devices may need two of them to go, and a parent changes its type only when it
is empty.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import itertools
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._greedy import Chooser
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Demand

TRIES = 4
"""Chains of one length tried for one VM: two steps of a chain may get in each other's way."""
GUESTS = 4
"""Guests that a spot's class is judged by; only anti-affinity makes a difference between them."""
HOSTS = 12
"""Hosts tried whose guests would all have to move."""

Spot = tuple[int, Demand]
"""State of a host without one of its guests, and the class of that guest."""

Crowd = tuple[int, int]
"""Number of guests of a host, and its state without any of them."""


class Chains:
    """Makes room in the search of a chooser. Nobody who is placed is left without a place."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self._search = chooser.search
        self._guests: dict[Spot, dict[int, None]] = {}
        self._spots: dict[int, dict[Spot, None]] = {}
        """Those with a parent that takes a need, for each need."""
        self._listed: dict[int, list[tuple[int, Spot]]] = {}
        """Guests and their spots, for each host."""
        self._crowds: dict[Crowd, dict[int, None]] = {}
        """Hosts with several guests."""
        self._crowd_of: dict[int, Crowd] = {}
        self.stuck: set[tuple[Demand, tuple[int, ...]]] = set()
        """Classes and groups for which no chain was found since it was emptied last."""

    def place(self, vm: int) -> bool:
        """Place a VM; False, and nothing changed, when no way was found."""
        if self._chooser.place(vm):
            return True
        alike = (self._search.demands[vm], self._search.problem.vms[vm].groups)
        if alike in self.stuck:
            return False
        if self._chain(vm) or self._reseat(vm):
            return True
        self.stuck.add(alike)
        return False

    def rivals(self, vm: int) -> tuple[list[int], list[int], list[int]]:
        """Guests whose place would do for a VM; where they and all others are who may have to make way, the nearest
        first; and the needs of them all."""
        self._list()
        search, own = self._search, self._search.demands[vm]
        spots = self._open(own)
        direct = [guest for spot in spots for guest in self._guests[spot]]
        direct = direct or [guest for host in self._crowded(vm) for guest in search.guests[host]]
        hosts = {search.placed[guest].host: None for guest in direct}
        needs = set(own[0])
        for wanted, _step in self._walk(own, grouped=False):
            needs |= set(wanted[0])
            hosts.update(
                {search.placed[guest].host: None for spot in self._open(wanted) for guest in self._guests[spot]}
            )
        return sorted(direct), list(hosts), sorted(needs)

    def _open(self, wanted: Demand) -> list[Spot]:
        """Spots that would do for a class."""
        spots = self._spots.get(self._chooser.anchor(wanted), ())
        return [spot for spot in spots if self._guests[spot] and self._chooser.way(spot[0], wanted) is not None]

    def _walk(self, own: Demand, grouped: bool) -> t.Iterator[tuple[Demand, tuple[Demand | None, Spot] | None]]:
        came: set[Demand] = set()
        if not grouped:
            came.add(own)
            yield own, None
        queue: collections.deque[tuple[Demand, Demand | None]] = collections.deque([(own, None)])
        while queue:
            wanted, previous = queue.popleft()
            for spot in self._spots.get(self._chooser.anchor(wanted), ()):
                known = spot[1] in came or not self._guests[spot]
                if known or self._chooser.way(spot[0], wanted) is None:
                    continue
                came.add(spot[1])
                queue.append((spot[1], spot[1]))
                yield spot[1], (previous, spot)

    def _chain(self, vm: int) -> bool:
        self._list()
        came: dict[Demand, tuple[Demand | None, Spot] | None] = {}
        tries = TRIES
        for wanted, step in self._walk(self._search.demands[vm], bool(self._search.problem.vms[vm].groups)):
            came[wanted] = step
            if step and self._is_free(step[1]):
                if self._follow(vm, _path(came, wanted)):
                    return True
                tries -= 1
                if not tries:
                    return False
        return False

    def _is_free(self, spot: Spot) -> bool:
        """Whether there is a free place for one of the guests of a spot."""
        for guest in itertools.islice(self._guests[spot], GUESTS):
            if self._chooser.find(guest):
                return True
            if not self._search.problem.vms[guest].groups:
                return False  # the others are like this one, or more restricted
        return False

    def _follow(self, vm: int, path: list[Spot]) -> bool:
        """Let each take the place of the next, and the last one any place."""
        search, mark, movers = self._search, self._search.mark(), [vm]
        for spot in path:
            guests = [each for each in itertools.islice(self._guests[spot], GUESTS) if each not in movers]
            fits = [each for each in guests if search.keeps_apart(movers[-1], search.placed[each].host)]
            if not fits:
                return False
            movers.append(fits[0])
        hosts = [search.placed[guest].host for guest in movers[1:]]
        for guest in movers[1:]:
            search.remove(guest)
        for mover, host in zip(movers, hosts, strict=False):
            if not self._seat(mover, host):
                search.back(mark)
                return False
        if self._chooser.place(movers[-1]):
            return True
        search.back(mark)
        return False

    def _reseat(self, vm: int) -> bool:
        """Send all guests of one host elsewhere, or back to where there is still room."""
        search = self._search
        for host in list(itertools.islice(self._crowded(vm), HOSTS)):
            mark = search.mark()
            guests = sorted(search.guests[host], key=lambda each: (-self._chooser.burden(each), each))
            for guest in guests:
                search.remove(guest)
            if self._seat(vm, host) and all(self._chooser.place(each) for each in guests):
                return True
            search.back(mark)
        return False

    def _crowded(self, vm: int) -> t.Iterator[int]:
        """Hosts with several guests that would take a VM if none of them were there, those with fewest first."""
        self._list()
        wanted = self._search.demands[vm]
        for crowd in sorted(self._crowds):
            if self._chooser.way(crowd[1], wanted):
                yield from self._crowds[crowd]

    def _seat(self, vm: int, host: int) -> bool:
        way = self._chooser.way(self._search.state[host], self._search.demands[vm])
        if way is None or not self._search.keeps_apart(vm, host):
            return False
        self._search.place(vm, host, way[1])
        return True

    def _list(self) -> None:
        """List the guests of hosts that changed."""
        search = self._search
        for host in search.changed:
            for guest, spot in self._listed.get(host, ()):
                self._guests[spot].pop(guest, None)
            listed = self._listed[host] = []
            for guest in search.guests.get(host, ()):
                spot = (search.state_without(host, {guest}), search.demands[guest])
                listed.append((guest, spot))
                if spot not in self._guests:
                    self._guests[spot] = {}
                    for need in self._chooser.accepted(spot[0]):
                        self._spots.setdefault(need, {})[spot] = None
                self._guests[spot][guest] = None
            if host in self._crowd_of:
                del self._crowds[self._crowd_of.pop(host)][host]
            if len(listed) > 1:
                crowd = self._crowd_of[host] = (len(listed), search.bare[host])
                self._crowds.setdefault(crowd, {})[host] = None
        search.changed.clear()


def _path(came: t.Mapping[Demand, tuple[Demand | None, Spot] | None], last: Demand) -> list[Spot]:
    """Spots from the VM's new place to the last guest's."""
    path: list[Spot] = []
    step = came[last]
    while step:
        path.append(step[1])
        step = came[step[0]] if step[0] is not None else None
    return path[::-1]


def settle(chooser: Chooser) -> None:
    """Move each VM that costs, or relies on an unknown answer, to a better place; and those on hosts that got several
    to hosts that got fewer, unless that would open an empty parent: the next drain may need it."""
    search = chooser.search
    for vm in sorted(search.placed, key=lambda each: (-search.load(search.placed[each].host), each)):
        mark, old = search.mark(), search.placed[vm]
        now = (search.problem.hosts[old.host].cost, search.unknown(old), search.load(old.host))
        if now <= (0, 0, 1):
            continue
        search.remove(vm)
        choice = chooser.spread(vm)
        if choice and (*choice.score[:2], choice.score[3] + 1 if not choice.score[2] else now[2]) < now:
            search.place(vm, choice.host, choice.option)
        else:
            search.back(mark)
