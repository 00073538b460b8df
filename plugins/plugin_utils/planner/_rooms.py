# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How VMs fit into hosts, worked out once for all hosts that are alike.

A host's *state* is what is left of its parents and limits, whichever addresses they have. States are numbered, and
what becomes of a state when it takes a VM is remembered: ten thousand hosts have some hundred states.

This file is private to the collection and pure.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Host, Kind, Left, Vm

Stock = tuple[int, Left]
"""Kind and what is left of one parent."""

Demand = tuple[tuple[int, ...], int, int]
"""Needs, CPUs and memory of a VM: who has the same is in one class. Anti-affinity is no matter of states."""

WAYS = 500
"""So many ways to seat the first devices of a VM are followed up. Hosts with little room, where each way counts, have
far fewer."""
SHORT = 4
"""With more devices fewer ways are followed up: each takes a step for each device, and hosts with so many parents."""


class Pick(t.NamedTuple):
    """A seat on any parent of this kind with so much left."""

    stock: Stock
    seat: int


Way = tuple[Pick, Stock, int]
"""A seat for a device, what is left of the parent then, and 1 when the answer is unknown."""


class Option(t.NamedTuple):
    """One way for a state to take a VM."""

    state: int
    """The state afterwards."""
    unknown: int
    """Devices that rely on an unknown answer."""
    picks: tuple[Pick, ...]
    """One for each need, to be taken in this order."""


class State(t.NamedTuple):
    """What is left of a host. Parents that can take nothing any more are left out."""

    stocks: tuple[Stock, ...]
    incoming: int | None
    cpus: int | None
    memory: int | None


def demand(vm: Vm) -> Demand:
    """The class of a VM."""
    return (vm.needs, vm.cpus, vm.memory)


class Rooms:
    """The states of one problem."""

    def __init__(self, kinds: t.Sequence[Kind]) -> None:
        self._kinds = kinds
        self.states: list[State] = []
        self._numbers: dict[State, int] = {}
        self._open: list[frozenset[int]] = []
        """For each state the needs that it has a seat for; most states have none for most VMs."""
        self._alike: dict[frozenset[int], frozenset[int]] = {}
        self._options: dict[tuple[int, Demand], tuple[Option, ...]] = {}
        self._takes: dict[Stock, dict[int, tuple[Way, ...]]] = {}
        self.complete = True
        """False once ways were left out: what is known of a state is then not all there is."""
        self.work = 0
        """Ways to seat one more device that were looked at so far: what this takes, whatever the machine."""

    def number(self, state: State) -> int:
        """The number of a state, the same for equal ones."""
        known = self._numbers.get(state)
        if known is None:
            known = self._numbers[state] = len(self.states)
            self.states.append(state)
            needs = frozenset().union(*map(self._taking, dict.fromkeys(state.stocks)))
            self._open.append(self._alike.setdefault(needs, needs))
        return known

    def of(self, host: Host) -> int:
        """The state of a host as it is."""
        stocks = [(each.kind, each.left) for each in host.parents]
        return self.with_left(stocks, host.incoming, host.cpus, host.memory)

    def with_left(self, stocks: t.Iterable[Stock], incoming: int | None, cpus: int | None, memory: int | None) -> int:
        """The state of a host of which so much is left."""
        useful = () if incoming == 0 else sorted(stock for stock in stocks if self._taking(stock))
        return self.number(State(tuple(useful), incoming, cpus, memory))

    def options(self, state: int, wanted: Demand) -> tuple[Option, ...]:
        """Every state that may follow when it takes such a VM, those with fewest unknown answers first."""
        if not self._open[state].issuperset(wanted[0]):
            return ()
        found = self._options.get((state, wanted))
        if found is None:
            found = self._options[state, wanted] = self._work_out(self.states[state], wanted)
        return found

    def _work_out(self, state: State, wanted: Demand) -> tuple[Option, ...]:
        needs, cpus, memory = wanted
        limits = (_less(state.incoming, 1), _less(state.cpus, cpus), _less(state.memory, memory))
        if any(each is not None and each < 0 for each in limits):
            return ()
        ways: dict[tuple[Stock, ...], tuple[int, tuple[Pick, ...]]] = {state.stocks: (0, ())}
        most = max(1, WAYS * SHORT**2 // max(SHORT, len(needs)) ** 2)
        for need in needs:
            ways = self._with(ways, need)
            if len(ways) > most:
                self.complete = False
                ways = dict(sorted(ways.items(), key=lambda way: (way[1], way[0]))[:most])
        options = [Option(self.with_left(stocks, *limits), unknown, picks) for stocks, (unknown, picks) in ways.items()]
        best: dict[int, Option] = {}
        for option in sorted(options, key=lambda each: (each.unknown, each.picks)):
            best.setdefault(option.state, option)
        return tuple(best.values())

    def _with(
        self, ways: dict[tuple[Stock, ...], tuple[int, tuple[Pick, ...]]], need: int
    ) -> dict[tuple[Stock, ...], tuple[int, tuple[Pick, ...]]]:
        found: dict[tuple[Stock, ...], tuple[int, tuple[Pick, ...]]] = {}
        for stocks, (unknown, picks) in ways.items():
            for stock in dict.fromkeys(stocks):
                for pick, after, guess in self._taking(stock).get(need, ()):
                    self.work += 1
                    rest = list(stocks)
                    rest.remove(stock)
                    key = tuple(sorted([*rest, after]))
                    way = (unknown + guess, (*picks, pick))
                    if key not in found or way < found[key]:
                        found[key] = way
        return found

    def _taking(self, stock: Stock) -> dict[int, tuple[Way, ...]]:
        """Need -> every seat that takes it now."""
        found = self._takes.get(stock)
        if found is None:
            kind = self._kinds[stock[0]]
            ways: dict[int, list[Way]] = {}
            for number, seat in enumerate(kind.seats):
                left = kind.take(stock[1], number)
                if left is None:
                    continue
                pick, after = Pick(stock, number), (stock[0], left)
                for need in seat.yes | seat.maybe:
                    ways.setdefault(need, []).append((pick, after, int(need not in seat.yes)))
            found = self._takes[stock] = {need: tuple(seats) for need, seats in sorted(ways.items())}
        return found


class Floor:
    """The parents of one host while picks become seats."""

    def __init__(self, host: Host, kinds: t.Sequence[Kind]) -> None:
        self._kinds = kinds
        self._stocks: list[Stock] = [(each.kind, each.left) for each in host.parents]

    def seat(self, pick: Pick) -> tuple[int, int]:
        """Take the first parent that is as the pick wants it: (index of Host.parents, index of Kind.seats)."""
        place = self._stocks.index(pick.stock)
        kind, left = pick.stock
        self._stocks[place] = (kind, self._kinds[kind].taken(left, pick.seat))
        return place, pick.seat


def _less(have: int | None, want: int) -> int | None:
    return None if have is None else have - want
