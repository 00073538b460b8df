# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maximum flow on merged classes: a bound that needs no library.

In any solution the devices of the placed VMs are a flow from needs to parents, as no parent has more of them than
instances fit; so the greatest flow bounds the devices that leave. Merging parents that are alike only makes it greater.
The cut that bounds the flow says more: of the devices before it, as many as cannot pass stay in *every* solution, and
they need VMs to belong to and hosts to stay on, at least as many as hold so many of them. The same is done once more
with one device for each VM, and there no host gets more of them than it may take VMs. That the devices of a VM go
together, anti-affinity, CPUs and memory are left out, which only makes the bounds weaker.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._prices import pressure, uses_of
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Kind, Problem
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Rooms, Stock

EVERYTHING = 1 << 60


class Limits(t.NamedTuple):
    """What no solution can do better."""

    hosts: int
    vms: int


class Flow:
    """Dinic's algorithm."""

    def __init__(self) -> None:
        self._arcs: list[list[int]] = []
        """Numbers of the arcs that leave a node; an arc and its way back differ in the last bit."""
        self._to: list[int] = []
        self._room: list[int] = []

    def node(self) -> int:
        """A new node."""
        self._arcs.append([])
        return len(self._arcs) - 1

    def arc(self, start: int, end: int, most: int) -> int:
        """A new arc, by which so much may flow."""
        for node, to, room in ((start, end, most), (end, start, 0)):
            self._arcs[node].append(len(self._to))
            self._to.append(to)
            self._room.append(room)
        return len(self._to) - 2

    def used(self, arc: int) -> int:
        """What flows by an arc."""
        return self._room[arc ^ 1]

    def run(self, source: int, sink: int) -> int:
        """The greatest flow."""
        total = 0
        while True:
            levels = self.levels(source)
            if sink not in levels:
                return total
            tried = [0] * len(self._arcs)
            while True:
                much = self._push(source, sink, levels, tried)
                if not much:
                    break
                total += much

    def levels(self, source: int) -> dict[int, int]:
        """Nodes that more could flow to, and how many arcs away they are: after ``run`` the near side of the cut."""
        found = {source: 0}
        for node in (queue := [source]):
            for arc in self._arcs[node]:
                if self._room[arc] and self._to[arc] not in found:
                    found[self._to[arc]] = found[node] + 1
                    queue.append(self._to[arc])
        return found

    def _push(self, source: int, sink: int, levels: t.Mapping[int, int], tried: list[int]) -> int:
        """Let more flow by one path; how much."""
        path: list[int] = []
        node = source
        while node != sink:
            arcs = self._arcs[node]
            while tried[node] < len(arcs):
                arc = arcs[tried[node]]
                if self._room[arc] and levels.get(self._to[arc]) == levels[node] + 1:
                    break
                tried[node] += 1
            if tried[node] < len(arcs):
                path.append(arcs[tried[node]])
                node = self._to[path[-1]]
            elif path:
                node = self._to[path.pop() ^ 1]
                tried[node] += 1
            else:
                return 0
        much = min(self._room[arc] for arc in path)
        for arc in path:
            self._room[arc] -= much
            self._room[arc ^ 1] += much
        return much


class _Pool(t.NamedTuple):
    """Parents that are alike."""

    stock: Stock
    state: int | None
    """Of their hosts, where those may take fewer VMs than their parents; None: any other."""


def flow_bound(problem: Problem) -> Limits:
    """Upper bounds on the hosts emptied and on the VMs placed, each for itself."""
    rooms = Rooms(problem.kinds)
    pools, gates = _pools(problem, rooms)
    stocks: dict[Stock, int] = {}
    for pool, parents in pools.items():
        stocks[pool.stock] = stocks.get(pool.stock, 0) + parents
    wanted: dict[int, int] = {}
    for vm in problem.vms:
        for need in vm.needs:
            wanted[need] = wanted.get(need, 0) + 1
    stocks = dict(sorted(stocks.items()))
    crowded = pressure(uses_of(problem.kinds, stocks, wanted), stocks, wanted)
    stands = [(max(vm.needs, key=lambda need: (crowded[need], need)),) for vm in problem.vms]
    every = [vm.needs for vm in problem.vms]
    found = [
        _limits(problem, each, _stay(problem.kinds, pools, own, each)) for each, own in ((stands, gates), (every, {}))
    ]
    return Limits(min(each.hosts for each in found), min(each.vms for each in found))


def _pools(problem: Problem, rooms: Rooms) -> tuple[dict[_Pool, int], dict[int, int]]:
    """How many parents each pool has, and how many VMs the hosts of a state may take where that is a limit."""
    states: dict[int, int] = {}
    for host in problem.hosts:
        if host.target:
            states[rooms.of(host)] = states.get(rooms.of(host), 0) + 1
    pools: dict[_Pool, int] = {}
    gates: dict[int, int] = {}
    for number, hosts in sorted(states.items()):
        state = rooms.states[number]
        tight = state.incoming is not None and state.incoming < sum(most(problem.kinds, each) for each in state.stocks)
        if tight:
            gates[number] = (state.incoming or 0) * hosts
        for stock in state.stocks:
            pool = _Pool(stock, number if tight else None)
            pools[pool] = pools.get(pool, 0) + hosts
    return pools, gates


def most(kinds: t.Sequence[Kind], stock: Stock) -> int:
    """No more instances than this fit into a parent, whatever their types."""
    kind, left = kinds[stock[0]], stock[1]
    if kind.exclusive:
        return max(left, default=0)
    each = [fit(cost, left) for cost in kind.costs]
    cheapest: list[int] = [min(costs) for costs in zip(*kind.costs, strict=True)]
    shared = [have // cost for have, cost in zip(left, cheapest, strict=False) if cost]
    return min([sum(each), *shared])


def fit(cost: t.Sequence[int], left: t.Sequence[int]) -> int:
    """No more instances of one type at this cost fit into what is left."""
    return min((have // much for have, much in zip(left, cost, strict=True) if much), default=EVERYTHING)


def _takes(kinds: t.Sequence[Kind], stock: Stock) -> dict[int, int]:
    """Needs that a parent takes, and how many instances at most."""
    kind, left = kinds[stock[0]], stock[1]
    found: dict[int, int] = {}
    for number, seat in enumerate(kind.seats):
        room = left[number] if kind.exclusive else fit(kind.costs[number], left)
        for need in sorted(seat.yes | seat.maybe) if room else ():
            # Several types may take it: their instances side by side are still not more than fit in all.
            found[need] = max(room, found.get(need, 0)) if kind.exclusive else found.get(need, 0) + room
    return found


def _stay(
    kinds: t.Sequence[Kind], pools: t.Mapping[_Pool, int], gates: t.Mapping[int, int], vms: t.Sequence[tuple[int, ...]]
) -> list[tuple[frozenset[int], int]]:
    """Sets of needs, and how many devices with one of them stay whatever is done. The sets are disjoint."""
    flow = Flow()
    source, sink = flow.node(), flow.node()
    wanted = collections.Counter(need for needs in vms for need in needs)
    needs = {need: flow.node() for need in sorted(wanted)}
    arcs = {need: flow.arc(source, node, wanted[need]) for need, node in needs.items()}
    doors = {state: flow.node() for state in gates}
    for state, door in doors.items():
        flow.arc(door, sink, gates[state])
    reach: dict[int, list[int]] = {need: [] for need in needs}
    for pool, parents in pools.items():
        node, end = flow.node(), sink
        if pool.state is not None and pool.state in doors:
            end = doors[pool.state]
        flow.arc(node, end, parents * most(kinds, pool.stock))
        for need, room in _takes(kinds, pool.stock).items():
            if need in needs:
                flow.arc(needs[need], node, parents * room)
                reach[need] += [node, end] if end != sink else [node]
    flow.run(source, sink)
    near = flow.levels(source)
    parts = _parts({need: [each for each in nodes if each in near] for need, nodes in reach.items()})
    missing = [(part, sum(wanted[need] - flow.used(arcs[need]) for need in part)) for part in parts]
    return [(part, devices) for part, devices in missing if devices]


def _parts(reach: t.Mapping[int, t.Sequence[int]]) -> list[frozenset[int]]:
    """Needs that have something to share, together."""
    found: list[tuple[set[int], set[int]]] = []
    for need, nodes in reach.items():
        part, shared = {need}, set(nodes)
        rest = []
        for others, theirs in found:
            if theirs & shared:
                part |= others
                shared |= theirs
            else:
                rest.append((others, theirs))
        found = [*rest, (part, shared)]
    return [frozenset(part) for part, _shared in found]


def _limits(problem: Problem, vms: t.Sequence[tuple[int, ...]], stay: t.Sequence[tuple[frozenset[int], int]]) -> Limits:
    """What is left to hope for when so many devices stay, on as few VMs and hosts as can hold them."""
    wanted = collections.Counter(need for needs in vms for need in needs)
    lost = {need for part, devices in stay if devices == sum(wanted[need] for need in part) for need in part}
    stuck = {number for number, needs in enumerate(vms) if not lost.isdisjoint(needs)}
    drained = {number for number, host in enumerate(problem.hosts) if host.drained and not host.held}
    full = drained & {problem.vms[number].host for number in stuck}
    more_vms = more_hosts = 0
    together = (frozenset[int]().union(*(part for part, _count in stay)), sum(count for _part, count in stay))
    for part, devices in [*stay, together]:
        by_vm: collections.Counter[int] = collections.Counter()
        by_host: collections.Counter[int] = collections.Counter()
        inside = aside = devices
        for number, needs in enumerate(vms):
            own = sum(need in part for need in needs)
            host = problem.vms[number].host
            if number in stuck:
                inside -= own
            else:
                by_vm[number] = own
            if host in full or host not in drained:
                aside -= own
            else:
                by_host[host] += own
        more_vms = max(more_vms, _fewest(by_vm.values(), inside))
        more_hosts = max(more_hosts, _fewest(by_host.values(), aside))
    return Limits(len(drained) - len(full) - more_hosts, len(vms) - len(stuck) - more_vms)


def _fewest(sizes: t.Iterable[int], total: int) -> int:
    """How many of the greatest of them make up a total, at least."""
    count = 0
    for size in sorted(sizes, reverse=True):
        if total <= 0 or not size:
            break
        total -= size
        count += 1
    return count
