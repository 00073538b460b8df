# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A problem as classes with numbers of members: what models with proven bounds are made of.

Anti-affinity is left out: who solves the crowd may place more than the problem allows, never less, so its bounds hold.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Problem
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Demand, Rooms, demand


@dataclasses.dataclass(frozen=True)
class Crowd:
    """Classes in an order that only the problem decides."""

    rooms: Rooms
    demands: list[Demand]
    """Classes of VMs that at least one host can take."""
    vms: list[list[int]]
    """Class -> its VMs."""
    states: list[int]
    """Classes of target hosts: their states."""
    hosts: list[list[int]]
    """Class -> its hosts, cheapest first."""
    drains: list[tuple[tuple[int, int], ...]]
    """Kinds of drained hosts that can be emptied: (class of VMs, number) of all that is on one. Hosts without any VM
    are not among them."""
    drained: list[int]
    """Kind -> number of such hosts."""
    idle: int
    """Drained hosts that are empty already."""

    def fits(self, state: int, vms: int) -> bool:
        """Whether a host of this state takes a VM of this class."""
        return bool(self.rooms.options(state, self.demands[vms]))


def crowd(problem: Problem, rooms: Rooms) -> Crowd:
    """Fold a problem."""
    hosts: dict[int, list[int]] = {}
    for number, host in enumerate(problem.hosts):
        if host.target:
            hosts.setdefault(rooms.of(host), []).append(number)
    for alike in hosts.values():
        alike.sort(key=lambda number: (problem.hosts[number].cost, number))
    members: dict[Demand, list[int]] = {}
    for number, vm in enumerate(problem.vms):
        members.setdefault(demand(vm), []).append(number)
    states = sorted(hosts, key=lambda state: hosts[state][0])
    demands = sorted(each for each in members if any(rooms.options(state, each) for state in states))
    places = {each: number for number, each in enumerate(demands)}
    drains, idle = _drains(problem, places)
    return Crowd(
        rooms=rooms,
        demands=demands,
        vms=[members[each] for each in demands],
        states=states,
        hosts=[hosts[state] for state in states],
        drains=list(drains),
        drained=list(drains.values()),
        idle=idle,
    )


def _drains(problem: Problem, places: t.Mapping[Demand, int]) -> tuple[dict[tuple[tuple[int, int], ...], int], int]:
    """Kinds of drained hosts with their numbers, and how many of them are empty already."""
    held: dict[int, collections.Counter[int] | None] = {
        number: None if host.held else collections.Counter()
        for number, host in enumerate(problem.hosts)
        if host.drained
    }
    for vm in problem.vms:
        found = held.get(vm.host)
        place = places.get(demand(vm))
        if found is not None and place is None:
            held[vm.host] = None
        elif found is not None and place is not None:
            found[place] += 1
    kinds: dict[tuple[tuple[int, int], ...], int] = {}
    idle = 0
    for found in held.values():
        if found:
            key = tuple(sorted(found.items()))
            kinds[key] = kinds.get(key, 0) + 1
        elif found is not None:
            idle += 1
    return dict(sorted(kinds.items())), idle
