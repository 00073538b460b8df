# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one change would free a VM that stays. Each is tried in the search before it is told to anybody.

This file is private to the collection and pure.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Name, Pairing, Remedy
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._fold import Folded
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    Host,
    Kind,
    Parent,
    Problem,
    Seat,
    Solution,
    Vm,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._prospects import Family, Prospect, View
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._solve import Contention, Trial, can_place

TRIES: t.Final = 3
"""How often one kind of change is tried, for one class of VMs: every time is a small search."""

Pairs = t.Mapping[tuple[str, str], Pairing]


class Remedies:
    """Tries changes for one case. VMs that are alike share what was found."""

    def __init__(self, view: View, folded: Folded, pairs: Pairs) -> None:
        self._view = view
        self._problem = view.problem
        self._folded = folded
        self._pairs = pairs
        self._known: dict[t.Hashable, Solution | None] = {}
        self._emptied = frozenset(view.case.emptied)
        self._shared: dict[t.Hashable, list[Remedy]] = {}
        """Class of VMs -> remedies that do not depend on where they are."""
        self._allowing = _Allowing(self._problem.kinds)
        self._on: dict[str, dict[str, set[str | None]]] = {}

    def of(self, vm: int, prospect: Prospect, rivalry: Contention, family: Family | None) -> list[Remedy]:
        """At most one of each kind, the least intrusive first."""
        key = (self._class(vm), family)
        if key not in self._shared:
            self._shared[key] = _firsts(
                self._instance(vm, rivalry, prospect),
                self._allow_unknown(vm, prospect),
                self._limit(vm, family),
                self._anti_affinity(vm, family),
            )
        own = _firsts(self._order(vm, prospect), self._host(vm, prospect))
        return [Remedy({**each}) for each in (*self._shared[key], *own)]

    def _instance(self, vm: int, rivalry: Contention, prospect: Prospect) -> t.Iterator[Remedy]:
        needs = rivalry.needs or self._problem.vms[vm].needs
        hosts = rivalry.hosts or prospect.offering
        places = ((number, *each) for number in hosts for each in self._seats(self._problem.hosts[number], needs))
        for number, place, seat in itertools.islice(places, TRIES):
            host = self._problem.hosts[number]
            parent = host.parents[place]
            more = _more(self._problem.kinds[parent.kind], parent, seat)
            if self._frees(vm, number, _with(host, place, more), ("instance", place, seat)):
                kind = self._problem.kinds[parent.kind].seats[seat].type
                what = f"instance of {kind} on {host.name} {parent.address}"
                if kind is None:
                    what = f"device like {parent.address} on {host.name}"
                yield _remedy("instance", f"one more {what} would do", host, parent.address, kind)

    def _seats(self, host: Host, needs: t.Iterable[int]) -> t.Iterator[tuple[int, int]]:
        """Seats that take one of the needs, on parents that differ."""
        seen: set[t.Hashable] = set()
        for place, parent in enumerate(host.parents):
            for number, seat in enumerate(self._problem.kinds[parent.kind].seats):
                key = (parent.kind, parent.left, number)
                if key in seen or not any(need in seat.yes or need in seat.maybe for need in needs):
                    continue
                if not self._is_barred(host, parent, number):
                    seen.add(key)
                    yield place, number

    def _is_barred(self, host: Host, parent: Parent, seat: int) -> bool:
        """Whether another type is on an exclusive parent: as long as it is, no more of this one would help."""
        kind = self._problem.kinds[parent.kind]
        if not kind.exclusive or parent.left[seat]:
            return False
        there = self._types_on(host.name).get(parent.address, set())
        return any(parent.left) or bool(there - {kind.seats[seat].type})

    def _types_on(self, host: str) -> dict[str, set[str | None]]:
        """Parent -> types of its instances."""
        if host not in self._on:
            found = self._on[host] = {}
            for device in self._folded.snapshots[host]["devices"]:
                if device["parent"] is not None:
                    found.setdefault(device["parent"], set()).add(device["type"])
        return self._on[host]

    def _allow_unknown(self, vm: int, prospect: Prospect) -> t.Iterator[Remedy]:
        for number in prospect.unknown[:TRIES]:
            host = self._problem.hosts[number]
            parents = tuple(
                dataclasses.replace(each, kind=self._allowing.numbers.get(each.kind, each.kind))
                for each in host.parents
            )
            changed = dataclasses.replace(host, parents=parents)
            if self._frees(vm, number, changed, "allow_unknown", self._allowing.kinds):
                detail = f"{host.name} has room, were the unknown answers of its drivers allowed"
                yield _remedy("allow_unknown", detail, host)

    def _limit(self, vm: int, family: Family | None) -> t.Iterator[Remedy]:
        if family and not family.groups:
            host = self._problem.hosts[family.host]
            more = _lacking(self._view.case.after[family.host], self._problem.vms[vm], family.limits)
            if self._frees(vm, family.host, _raised(host, more), ("limit", *more.items())):
                texts = (_more_of(limit, number) for limit, number in more.items())
                yield _remedy("limit", f"{host.name} has room, were there {' and '.join(texts)}", host)

    def _anti_affinity(self, vm: int, family: Family | None) -> t.Iterator[Remedy]:
        if family and not family.limits and len(family.groups) == 1:
            group, host = family.groups[0], self._problem.hosts[family.host]
            key = ("group", group, self._class(vm))
            if key not in self._known:
                self._known[key] = can_place(self._without(vm, group), self._view.case.solution, vm)
            if self._known[key] is not None:
                detail = f"{host.name} has room, were it not for group {self._problem.groups[group].name}"
                yield _remedy("anti_affinity", detail, host)

    def _without(self, vm: int, group: int) -> Problem:
        """The problem with this VM no member of the group; the others still are."""
        vms = list(self._problem.vms)
        vms[vm] = dataclasses.replace(vms[vm], groups=tuple(each for each in vms[vm].groups if each != group))
        return dataclasses.replace(self._problem, vms=tuple(vms))

    def _order(self, vm: int, prospect: Prospect) -> t.Iterator[Remedy]:
        """Hosts that are drained together, but need not be: one is the place for what comes from the other."""
        own = self._problem.vms[vm].host
        name = self._problem.hosts[own].name
        others = [number for number in prospect.away if number != own]
        for number in [number for number in others if number in self._emptied][:TRIES]:
            host = self._problem.hosts[number]
            back = tuple(dataclasses.replace(each, left=each.full) for each in host.parents)
            returned = dataclasses.replace(host, target=True, drained=False, parents=back)
            if self._is_alone(vm, number, self._frees(vm, number, returned, "back"), guests=True):
                yield _remedy("order", f"drain {host.name} first: when it is back, {name} can be drained to it", host)
        for number in [] if prospect.holding else others[:TRIES]:
            host = self._problem.hosts[number]
            solution = self._stays(vm, number)
            if self._is_alone(vm, number, solution, guests=False) and self._returns(vm, solution):
                yield _remedy("order", f"drain {name} first: as long as {host.name} is up, it has room", host)

    def _host(self, vm: int, prospect: Prospect) -> t.Iterator[Remedy]:
        if prospect.holding:
            return  # elsewhere it is a matter of room, and every host that is not drained would do
        own = self._problem.vms[vm].host
        for number in [number for number in prospect.away if number != own][:TRIES]:
            if self._stays(vm, number):
                host = self._problem.hosts[number]
                yield _remedy("host", f"{host.name} has room, were it not in maintenance at the same time", host)

    def _stays(self, vm: int, number: int) -> Solution | None:
        """The solution when this host is not drained."""
        changed = dataclasses.replace(self._problem.hosts[number], target=True, drained=False)
        return self._frees(vm, number, changed, "up")

    def _is_alone(self, vm: int, number: int, solution: Solution | None, guests: bool) -> bool:
        """Whether nobody of this host has found a place by going home; without guests also nobody else but the VM."""
        there = [each.vm for each in solution.placements if each.host == number] if solution else []
        if not guests:
            return there == [vm]
        return solution is not None and all(self._problem.vms[each].host != number for each in there)

    def _returns(self, vm: int, solution: Solution | None) -> bool:
        """Whether a VM can come back from where it went to its own host."""
        found = next((each for each in solution.placements if each.vm == vm), None) if solution else None
        if found is None:
            return False
        needs = self._problem.vms[vm].needs
        for need, (place, seat) in zip(needs, found.seats, strict=True):
            target = self._folded.target(found.host, place, seat)
            pairing = self._pairs.get((self._folded.sources[need]["id"], target["id"]))
            if pairing is None or pairing["way_back"] != "compatible":
                return False
        return True

    def _frees(
        self, vm: int, number: int, host: Host, what: t.Hashable, kinds: tuple[Kind, ...] | None = None
    ) -> Solution | None:
        """The search again, with one host changed and everybody else still placed."""
        key = (what, number, self._class(vm))
        if key not in self._known:
            hosts = list(self._problem.hosts)
            hosts[number] = host
            changed = dataclasses.replace(self._problem, hosts=tuple(hosts), kinds=kinds or self._problem.kinds)
            self._known[key] = self.trial.can_place(vm, changed)
        return self._known[key]

    def _class(self, vm: int) -> t.Hashable:
        one = self._problem.vms[vm]
        return (one.needs, one.cpus, one.memory, one.groups)

    @functools.cached_property
    def trial(self) -> Trial:
        """The search where the solution has left it."""
        return Trial(self._problem, self._view.case.solution)


class _Allowing:
    """Kinds whose unknown answers count, after all that are there."""

    def __init__(self, kinds: tuple[Kind, ...]) -> None:
        self.numbers: dict[int, int] = {}
        more: list[Kind] = []
        for number, kind in enumerate(kinds):
            if any(seat.barred for seat in kind.seats):
                self.numbers[number] = len(kinds) + len(more)
                more.append(dataclasses.replace(kind, seats=tuple(map(_allowed, kind.seats))))
        self.kinds = (*kinds, *more)


def _allowed(seat: Seat) -> Seat:
    return dataclasses.replace(seat, maybe=seat.maybe | seat.barred, barred=frozenset())


def _more(kind: Kind, parent: Parent, seat: int) -> Parent:
    """With room for one more instance than now."""
    if kind.exclusive:
        more = tuple(left + (number == seat) for number, left in enumerate(parent.left))
    else:
        more = tuple(left + cost for left, cost in zip(parent.left, kind.costs[seat], strict=True))
    return dataclasses.replace(parent, left=more)


def _lacking(after: Host, vm: Vm, limits: t.Iterable[str]) -> dict[str, int]:
    """Limit -> by how much it is too low, when the moves have taken their part of it."""
    wanted = {"incoming": 1, "cpus": vm.cpus, "memory": vm.memory}
    return {limit: wanted[limit] - getattr(after, limit) for limit in limits}


def _raised(host: Host, more: t.Mapping[str, int]) -> Host:
    limits: dict[str, t.Any] = {limit: getattr(host, limit) + number for limit, number in more.items()}
    return dataclasses.replace(host, **limits)


def _more_of(limit: str, number: int) -> str:
    what = {"incoming": "incoming VM", "cpus": "free CPU", "memory": "MiB of free memory"}[limit]
    plural = "" if number == 1 or limit == "memory" else "s"
    return f"{number} more {what}{plural}{' in one batch' if limit == 'incoming' else ''}"


def _with(host: Host, place: int, parent: Parent) -> Host:
    parents = list(host.parents)
    parents[place] = parent
    return dataclasses.replace(host, parents=tuple(parents))


def _firsts(*makers: t.Iterator[Remedy]) -> list[Remedy]:
    """One of each kind."""
    return [remedy for maker in makers if (remedy := next(maker, None)) is not None]


_What = t.Literal["instance", "allow_unknown", "host", "limit", "anti_affinity", "order"]


def _remedy(kind: _What, detail: str, host: Host, parent: str | None = None, type_of: str | None = None) -> Remedy:
    return Remedy(
        kind=kind,
        host=host.name,
        parent=None if parent is None else Name(parent),
        type=None if type_of is None else Name(type_of),
        detail=detail,
    )
