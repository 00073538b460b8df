# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM after the other to where it does least harm, host by host: a host that cannot be emptied takes no room
before all others were tried.

This file is private to the collection and pure.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import math
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._prices import Prices
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Demand, Option, Stock
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._search import Bucket, Search

ENOUGH = 48
"""So many buckets with one kind of parent that take a VM are compared."""

Score = tuple[float, ...]
Way = tuple[float, Option]
"""What is lost, and how it is done."""


class Taste(enum.Enum):
    """What decides between two places."""

    QUICK = "the first place that costs nothing and relies on no unknown answer, or else the best such"
    THRIFTY = "worth first, then the fullest host: for fleets with little room"


class Choice(t.NamedTuple):
    """A place for a VM."""

    score: Score
    host: int
    option: Option


class Chooser:
    """Finds places in a search at given prices."""

    def __init__(self, search: Search, prices: Prices, taste: Taste) -> None:
        self.search = search
        self.prices = prices
        self.taste = taste
        self._burdens = [prices.burden(vm.needs) for vm in search.problem.vms]
        self._ways: dict[Demand, dict[int, Way | None]] = {}
        self._grades: dict[Demand, dict[Bucket, Score | None]] = {}
        self._ranks: dict[int, list[tuple[float, Stock]]] = {}
        self._known = 0
        self._accepts: dict[Stock, dict[int, float]] = {}
        self._sizes: dict[int, float] = {}
        self._nowhere: set[Demand] = set()

    def find(self, vm: int) -> Choice | None:
        """The best place for a VM now."""
        wanted = self.search.demands[vm]
        best: Choice | None = None
        for lost, stock in self._rank(self.anchor(wanted)):
            if best and self._is_settled(best, lost):
                break
            for choice in self._choices(vm, wanted, stock):
                best = min(best or choice, choice)
                if self.taste is Taste.THRIFTY or self._is_settled(best, lost):
                    break
        return best

    def anchor(self, wanted: Demand) -> int:
        """The need of a VM that is hardest to meet."""
        return max(wanted[0], key=lambda need: (self.prices.pressure.get(need, 0.0), need))

    def burden(self, vm: int) -> float:
        """How hard a VM is to place."""
        return self._burdens[vm]

    def accepted(self, state: int) -> list[int]:
        """Needs of anybody that some parent of a state has room for."""
        return sorted({need for stock in self.search.rooms.states[state].stocks for need in self._takes(stock)})

    def spread(self, vm: int) -> Choice | None:
        """The place that costs least, relies on fewest unknown answers, opens no empty parent and got fewest VMs, in
        this order; for QUICK taste."""
        best: Choice | None = None
        wanted = self.search.demands[vm]
        every = (each for _lost, stock in self._rank(self.anchor(wanted)) for each in self._choices(vm, wanted, stock))
        for looked, ((cost, unknown, lost, _size), host, option) in enumerate(every):
            score = (cost, unknown, self._opens(option), self.search.load(host), lost)
            if best is None or score < best.score:
                best = Choice(score, host, option)
            if best.score[:4] == (0, 0, 0, 0) or (looked >= ENOUGH and best.score[:2] == (0, 0)):
                break
        return best

    def _opens(self, option: Option) -> bool:
        kinds = self.search.problem.kinds
        return any(kinds[pick.stock[0]].exclusive and sum(map(bool, pick.stock[1])) > 1 for pick in option.picks)

    def place(self, vm: int) -> bool:
        """Put a VM to its best place; False when there is none."""
        choice = self.find(vm)
        if choice:
            self.search.place(vm, choice.host, choice.option)
        return choice is not None

    def give_up(self, vm: int) -> None:
        """No VM of this class finds a place before others make way."""
        if not self.search.problem.vms[vm].groups:
            self._nowhere.add(self.search.demands[vm])

    def is_hopeless(self, vm: int) -> bool:
        """Whether a VM of its class was given up."""
        return self.search.demands[vm] in self._nowhere

    def hope(self) -> None:
        """Some made way."""
        self._nowhere.clear()

    def way(self, state: int, wanted: Demand) -> Way | None:
        """How a state takes such a VM best, and what is lost."""
        known = self._ways.setdefault(wanted, {})
        if state not in known:
            options = self.search.rooms.options(state, wanted)
            ways = [(math.fsum(self.prices.lost(*pick) for pick in option.picks), option) for option in options]
            sure = self.taste is Taste.QUICK
            known[state] = min(
                ways, key=lambda way: (way[1].unknown, way[0]) if sure else (way[0], way[1].unknown), default=None
            )
        return known[state]

    def _choices(self, vm: int, wanted: Demand, stock: Stock) -> t.Iterator[Choice]:
        """Hosts that have such a parent and take a VM, not all of them where there are many; by THRIFTY taste the best
        goes first."""
        graded = itertools.islice(self._graded(wanted, stock), ENOUGH)
        for score, bucket in _ascending(graded) if self.taste is Taste.THRIFTY else graded:
            host, way = self.search.first(bucket, vm), self.way(bucket[0], wanted)
            if way and host is not None:
                yield Choice(score, host, way[1])

    def _graded(self, wanted: Demand, stock: Stock) -> t.Iterator[tuple[Score, Bucket]]:
        """Buckets that have such a parent and take a VM, and how good that is: the less, the better."""
        known = self._grades.setdefault(wanted, {})
        for bucket in self.search.buckets[stock]:
            if bucket not in known:
                known[bucket] = self._grade(bucket, wanted)
            grade = known[bucket]
            if grade is not None:
                yield grade, bucket

    def _grade(self, bucket: Bucket, wanted: Demand) -> Score | None:
        way = self.way(bucket[0], wanted)
        if way is None:
            return None
        lost, option = way
        if self.taste is Taste.QUICK:
            return (bucket[1], option.unknown, lost, self._size(bucket[0]))
        return (lost, bucket[1], option.unknown, self._size(bucket[0]))

    def _is_settled(self, best: Choice, lost: float) -> bool:
        """Whether parents that lose so much, or more, cannot be better."""
        if self.taste is Taste.QUICK:
            return best.score[:2] == (0, 0)
        return best.score[0] < lost

    def _rank(self, need: int) -> list[tuple[float, Stock]]:
        """Parents that take a need, those that lose least first."""
        if len(self.search.buckets) != self._known:
            self._known = len(self.search.buckets)
            self._ranks = {each: [] for each in self.prices.pressure}
            for stock in self.search.buckets:
                for each, lost in self._takes(stock).items():
                    self._ranks[each].append((lost, stock))
            for ranks in self._ranks.values():
                ranks.sort()
        return self._ranks.get(need, [])

    def _takes(self, stock: Stock) -> dict[int, float]:
        """Needs that a parent has room for, and what is lost at least."""
        if stock not in self._accepts:
            kind = self.search.problem.kinds[stock[0]]
            found: dict[int, float] = {}
            for number, seat in enumerate(kind.seats):
                if kind.take(stock[1], number) is not None:
                    lost = self.prices.lost(stock, number)
                    for need in (seat.yes | seat.maybe) & self.prices.pressure.keys():
                        found[need] = min(lost, found.get(need, lost))
            self._accepts[stock] = found
        return self._accepts[stock]

    def _size(self, state: int) -> float:
        """How much there is left in a state: the fuller the better to fill up."""
        if state not in self._sizes:
            self._sizes[state] = math.fsum(self.prices.worth(stock) for stock in self.search.rooms.states[state].stocks)
        return self._sizes[state]


def _ascending(graded: t.Iterable[tuple[Score, Bucket]]) -> t.Iterator[tuple[Score, Bucket]]:
    heap = list(graded)
    heapq.heapify(heap)
    while heap:
        yield heapq.heappop(heap)


class Drain:
    """The hosts that are to be emptied, and how far that is."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self._search = chooser.search
        self._hardest: dict[int, list[int]] = {}
        """VMs of each drained host, hardest to place first."""
        for vm, own in enumerate(self._search.problem.vms):
            self._hardest.setdefault(own.host, []).append(vm)
        for vms in self._hardest.values():
            vms.sort(key=lambda vm: (-chooser.burden(vm), vm))

    def order(self, leaning: float = 0.0) -> list[int]:
        """Hosts that may still be emptied, those first whose VMs that are not placed are easiest to place. With a
        leaning towards many VMs each of them makes up for so much of the mean burden of a VM."""
        search, burden = self._search, self._chooser.burden
        vms = range(len(search.problem.vms))
        credit = leaning * math.fsum(map(burden, vms)) / max(1, len(vms))
        missing = {
            host: [vm for vm in vms if vm not in search.placed]
            for host, vms in self._hardest.items()
            if not search.problem.hosts[host].held
        }
        return sorted(
            (host for host, vms in missing.items() if vms),
            key=lambda host: (math.fsum(burden(vm) - credit for vm in missing[host]), host),
        )

    def emptied(self) -> list[int]:
        """Hosts whose VMs are all placed, those that it was hardest for first."""
        held = self._search.problem.hosts
        done = {
            host: math.fsum(map(self._chooser.burden, vms))
            for host, vms in self._hardest.items()
            if not held[host].held and all(vm in self._search.placed for vm in vms)
        }
        return sorted(done, key=lambda host: (-done[host], host))

    def size(self, host: int) -> int:
        """How many VMs are to leave it."""
        return len(self._hardest[host])

    def refill(self, host: int) -> None:
        """Send all VMs of a host home."""
        for vm in self._hardest[host]:
            self._search.remove(vm)

    def empty(self, host: int, place: t.Callable[[int], bool]) -> bool:
        """Place all VMs of a host, or none more."""
        mark = self._search.mark()
        missing = [vm for vm in self._hardest[host] if vm not in self._search.placed]
        if any(self._chooser.is_hopeless(vm) for vm in missing):
            return False
        for vm in missing:
            if not place(vm):
                self._search.back(mark)
                if vm == missing[0]:
                    self._chooser.give_up(vm)
                return False
        return True

    def fill(self, place: t.Callable[[int], bool]) -> None:
        """Place who can be placed, the easiest first."""
        vms = [vm for vms in self._hardest.values() for vm in vms if vm not in self._search.placed]
        for vm in sorted(vms, key=lambda vm: (self._chooser.burden(vm), vm)):
            place(vm)
