# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is placed where while the search goes on: whatever is done here can be undone.

Hosts in the same state that cost the same are a *bucket*. Whoever looks for room looks through the buckets that hold
a fitting parent, so that the work grows with the states that differ, not with hosts.

This file is private to the collection and pure.
"""

from __future__ import annotations

import heapq
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    DefectError,
    Placement,
    Problem,
    Solution,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Demand, Option, Rooms, Stock, demand

Bucket = tuple[int, int]
"""State and Host.cost."""


class Search:
    """One problem and what is placed so far."""

    def __init__(self, problem: Problem, rooms: Rooms | None = None) -> None:
        self.problem = problem
        self.rooms = rooms or Rooms(problem.kinds)
        self.demands: list[Demand] = [demand(vm) for vm in problem.vms]
        self.placed: dict[int, Placement] = {}
        self.guests: dict[int, dict[int, None]] = {}
        """Placed VMs of each host that ever got one, in the order in which they came."""
        self.bare: list[int] = [self.rooms.of(host) if host.target else -1 for host in problem.hosts]
        """State of each target before anybody came; -1 for other hosts."""
        self.state: list[int] = [-1] * len(problem.hosts)
        """The same now."""
        self.changed: dict[int, None] = {}
        """Hosts whose guests changed since somebody emptied this."""
        self.buckets: dict[Stock, dict[Bucket, None]] = {}
        """The buckets that have a host, by each parent they hold. A stock that was ever seen stays a key."""
        self._stocks: dict[int, list[Stock]] = {}
        self._heaps: dict[Bucket, list[tuple[int, int]]] = {}
        self._sizes: dict[Bucket, int] = {}
        self._done: list[tuple[bool, Placement]] = []
        self._there = [dict.fromkeys(group.taken, 1) for group in problem.groups]
        for vm in range(len(problem.vms)):
            self._stand(vm, problem.vms[vm].host, 1)
        for host, state in enumerate(self.bare):
            if state >= 0:
                self._enter(host, state)

    def load(self, host: int) -> int:
        """VMs that came here."""
        return len(self.guests.get(host, ()))

    def first(self, bucket: Bucket, vm: int) -> int | None:
        """The host of a bucket that got fewest VMs and where no other member of a group of this VM is."""
        heap = self._heaps[bucket]
        refused = []
        found = None
        while heap and found is None:
            entry = heap[0]
            if not self._is_current(entry, bucket):
                heapq.heappop(heap)
            elif self.keeps_apart(vm, entry[1]):
                found = entry[1]
            else:
                refused.append(heapq.heappop(heap))
        for entry in refused:
            heapq.heappush(heap, entry)
        return found

    def keeps_apart(self, vm: int, host: int) -> bool:
        """Whether that host is not its own, and no other member of its groups is there or in its failure domain."""
        problem, own = self.problem, self.problem.vms[vm]
        if own.host == host:
            return False
        for number in own.groups:
            group = problem.groups[number]
            place = group.place(problem.hosts[host])
            there = self._there[number].get(place, 0)
            now = self.placed[vm].host if vm in self.placed else own.host
            if there > (group.place(problem.hosts[now]) == place):
                return False
        return True

    def place(self, vm: int, host: int, option: Option) -> None:
        """Put a VM where an option of the host's state leads it."""
        stocks = list(self._stocks_of(host))
        seats = []
        for pick in option.picks:
            parent = stocks.index(pick.stock)
            seats.append((parent, pick.seat))
            self._take(stocks, parent, pick.seat)
        self.put(Placement(vm, host, tuple(seats)))

    def put(self, placement: Placement) -> None:
        """Put a VM on just these seats, which are free."""
        self._come(placement)
        self._done.append((True, placement))

    def remove(self, vm: int) -> None:
        """Send a VM home."""
        placement = self.placed[vm]
        self._leave(placement)
        self._done.append((False, placement))

    def have(self, solution: Solution) -> None:
        """Just this is placed from now on; what was done before can not be undone any more."""
        before, self.placed = self.placed, {each.vm: each for each in solution.placements}
        hosts = dict.fromkeys(each.host for each in (*before.values(), *solution.placements))
        for host in hosts:
            self._exit(host)
            self.guests[host] = {}
        for placement in before.values():
            self._go(placement.vm, placement.host, -1)
        for placement in solution.placements:
            self._go(placement.vm, placement.host, 1)
            self.guests[placement.host][placement.vm] = None
        for host in hosts:
            self.changed[host] = None
            self._stocks[host] = self._stocks_with(host, self.guests[host])
            self._enter(host, self._state_of(host, self._stocks[host], self.guests[host]))
        self._done.clear()

    def mark(self) -> int:
        """A point to go back to."""
        return len(self._done)

    def back(self, mark: int) -> None:
        """Undo all that was done since the mark."""
        while len(self._done) > mark:
            came, placement = self._done.pop()
            if came:
                self._leave(placement)
            else:
                self._come(placement)

    def swap(self, problem: Problem, hosts: t.Iterable[int]) -> None:
        """Go on with a problem of which only these hosts, and kinds that came after all others, differ."""
        for host in hosts:
            if self.state[host] >= 0:
                self._exit(host)
        self.problem = problem
        for host in hosts:
            own, guests = problem.hosts[host], self.guests.get(host, {})
            self.changed[host] = None
            self.bare[host] = self.rooms.of(own) if own.target else -1
            self.state[host] = -1
            self._stocks[host] = self._stocks_with(host, guests)
            if own.target:
                self._enter(host, self._state_of(host, self._stocks[host], guests))

    def unknown(self, placement: Placement) -> int:
        """Devices that rely on an unknown answer."""
        needs, parents = self.problem.vms[placement.vm].needs, self.problem.hosts[placement.host].parents
        return sum(
            need not in self.problem.kinds[parents[parent].kind].seats[seat].yes
            for need, (parent, seat) in zip(needs, placement.seats, strict=True)
        )

    def solution(self) -> Solution:
        """What is placed. Any order can be replayed, so the hosts' order is taken."""
        return Solution(tuple(sorted(self.placed.values(), key=lambda each: (each.host, each.vm))))

    def parents(self) -> dict[Stock, int]:
        """How many parents of all targets have so much left now, those that are full left out."""
        found: dict[Stock, int] = {}
        for (state, _cost), hosts in self._sizes.items():
            for stock in self.rooms.states[state].stocks:
                found[stock] = found.get(stock, 0) + hosts
        return {stock: found[stock] for stock in sorted(found) if found[stock]}

    def state_without(self, host: int, gone: t.Collection[int]) -> int:
        """The state of a host if these of its guests were not there."""
        guests = [vm for vm in self.guests[host] if vm not in gone]
        return self._state_of(host, self._stocks_with(host, guests), guests)

    def _come(self, placement: Placement) -> None:
        vm, host, seats = placement
        stocks = self._stocks_of(host)
        for parent, seat in seats:
            self._take(stocks, parent, seat)
        self.placed[vm] = placement
        self.guests.setdefault(host, {})[vm] = None
        self._moved(vm, host)

    def _leave(self, placement: Placement) -> None:
        vm, host, _seats = placement
        del self.placed[vm]
        del self.guests[host][vm]
        self._stocks[host] = self._stocks_with(host, self.guests[host])
        self._moved(vm, host)

    def _moved(self, vm: int, host: int) -> None:
        self._go(vm, host, 1 if vm in self.placed else -1)
        self.changed[host] = None
        self._exit(host)
        self._enter(host, self._state_of(host, self._stocks_of(host), self.guests[host]))

    def _go(self, vm: int, host: int, times: int) -> None:
        self._stand(vm, host, times)
        self._stand(vm, self.problem.vms[vm].host, -times)

    def _stand(self, vm: int, host: int, count: int) -> None:
        for number in self.problem.vms[vm].groups:
            there, place = self._there[number], self.problem.groups[number].place(self.problem.hosts[host])
            there[place] = there.get(place, 0) + count

    def _stocks_of(self, host: int) -> list[Stock]:
        if host not in self._stocks:
            self._stocks[host] = self._stocks_with(host, ())
        return self._stocks[host]

    def _stocks_with(self, host: int, guests: t.Iterable[int]) -> list[Stock]:
        stocks = [(each.kind, each.left) for each in self.problem.hosts[host].parents]
        for vm in guests:
            for parent, seat in self.placed[vm].seats:
                self._take(stocks, parent, seat)
        return stocks

    def _take(self, stocks: list[Stock], parent: int, seat: int) -> None:
        kind, left = stocks[parent]
        after = self.problem.kinds[kind].take(left, seat)
        if after is None:
            raise DefectError(f"a place was given away twice: nothing is left of {left} for seat {seat}")
        stocks[parent] = (kind, after)

    def _state_of(self, host: int, stocks: list[Stock], guests: t.Collection[int]) -> int:
        own, vms = self.problem.hosts[host], [self.problem.vms[vm] for vm in guests]
        return self.rooms.with_left(
            stocks,
            None if own.incoming is None else own.incoming - len(vms),
            None if own.cpus is None else own.cpus - sum(vm.cpus for vm in vms),
            None if own.memory is None else own.memory - sum(vm.memory for vm in vms),
        )

    def _enter(self, host: int, state: int) -> None:
        self.state[host] = state
        bucket = (state, self.problem.hosts[host].cost)
        heapq.heappush(self._heaps.setdefault(bucket, []), (self.load(host), host))
        self._sizes[bucket] = self._sizes.get(bucket, 0) + 1
        if self._sizes[bucket] == 1:
            for stock in self.rooms.states[state].stocks:
                self.buckets.setdefault(stock, {})[bucket] = None

    def _exit(self, host: int) -> None:
        state = self.state[host]
        bucket = (state, self.problem.hosts[host].cost)
        self._sizes[bucket] -= 1
        if not self._sizes[bucket]:
            for stock in self.rooms.states[state].stocks:
                self.buckets[stock].pop(bucket, None)

    def _is_current(self, entry: tuple[int, int], bucket: Bucket) -> bool:
        count, host = entry
        return self.state[host] == bucket[0] and self.problem.hosts[host].cost == bucket[1] and count == self.load(host)
