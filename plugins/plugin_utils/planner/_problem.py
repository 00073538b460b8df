# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the search works on: one drain of one fleet, in numbers.

``_fold.py`` makes it of snapshots and pairings, ``_assemble.py`` makes a plan of its solution. Everything between
the two knows neither hosts' names nor strings: a *need* is the number of a source class, so the work grows with
classes. All values are immutable and hashable, and every order is given by the facts alone.

This file is private to the collection and pure.
"""

from __future__ import annotations

import dataclasses
import typing as t


class DefectError(Exception):
    """The planner itself went wrong, whatever the input is. One sentence for the operator."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}; this is a defect of the planner, so no plan is made: report it with the facts and the options "
            "that led to it"
        )


Left = tuple[int, ...]
"""What is left of a parent: units of each resource, or for an exclusive parent instances of each seat."""


@dataclasses.dataclass(frozen=True, slots=True)
class Seat:
    """One mdev type of a parent, or a free VFIO device that is there already."""

    type: str | None
    """Null for a VFIO device."""
    yes: frozenset[int]
    """Needs that its driver accepts."""
    maybe: frozenset[int]
    """Needs that nobody could ask it about, and that may be tried: its answer is unknown and the policy allows it."""
    barred: frozenset[int]
    """Needs with the answer unknown that the policy does not allow; only explanations look at them."""
    becomes: int | None
    """The need of an instance that was made here; null for a plan without a second move."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """Parents that only their address and what is left of them tells apart."""

    exclusive: bool
    """Its first instance fixes the type: the siblings have no room any more."""
    seats: tuple[Seat, ...]
    costs: tuple[Left, ...]
    """For each seat the units of each resource that an instance takes. Empty for an exclusive parent."""

    def take(self, left: Left, seat: int) -> Left | None:
        """What is left after one more instance, None when it does not fit."""
        if self.exclusive:
            if left[seat] < 1:
                return None
            return tuple(count - 1 if number == seat else 0 for number, count in enumerate(left))
        after = tuple(have - cost for have, cost in zip(left, self.costs[seat], strict=True))
        return after if min(after, default=0) >= 0 else None

    def taken(self, left: Left, seat: int) -> Left:
        """What is left after one more instance that is known to fit."""
        after = self.take(left, seat)
        if after is None:
            raise DefectError(f"a place was chosen that is not free: nothing is left of {left} for seat {seat}")
        return after


@dataclasses.dataclass(frozen=True, slots=True)
class Parent:
    """A parent, or a free VFIO device, of one host."""

    address: str
    kind: int
    """Index of Problem.kinds."""
    left: Left
    """What is left now, with everything that is on it."""
    full: Left
    """What is left of it with none of the instances that can be evacuated."""


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """A hypervisor."""

    name: str
    parents: tuple[Parent, ...]
    target: bool
    """False for one that is drained, or that must not receive."""
    drained: bool
    domain: str
    """Failure domain; the host's own name where none is given."""
    incoming: int | None
    """VMs that it may still take; null without a limit."""
    cpus: int | None
    """Free CPUs; null when nobody said."""
    memory: int | None
    """Free MiB; null when nobody said."""
    cost: int = 0
    """A placement here costs so many more moves: 1 when the host is drained later on."""
    held: bool = False
    """It will not be empty whatever moves: something on it is to stay."""


@dataclasses.dataclass(frozen=True, slots=True)
class Vm:
    """A workload that is to leave its host, with all of its devices to one other host."""

    id: str
    host: int
    """Index of Problem.hosts."""
    needs: tuple[int, ...]
    """One for each device, ascending; ``devices`` has the same order."""
    devices: tuple[str, ...]
    cpus: int = 0
    memory: int = 0
    groups: tuple[int, ...] = ()
    """Indexes of Problem.groups."""


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Workloads that must not be together: nobody is placed where another member is in the end, whether that one was
    placed there too, is ``taken``, or is a VM of the problem that stays at home. Two that stay together do no harm:
    the plan did not put them there."""

    name: str
    by_domain: bool
    """Not in one failure domain; otherwise not on one host."""
    taken: frozenset[str]
    """Names of hosts or domains where members are that do not move."""

    def place(self, host: Host) -> str:
        """What must differ between its members."""
        return host.domain if self.by_domain else host.name


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One drain. In order of importance: most hosts emptied, most VMs placed, least cost, fewest unknown answers
    relied on, even load."""

    hosts: tuple[Host, ...]
    kinds: tuple[Kind, ...]
    vms: tuple[Vm, ...]
    groups: tuple[Group, ...] = ()


class Placement(t.NamedTuple):
    """One VM and where each of its devices goes."""

    vm: int
    host: int
    seats: tuple[tuple[int, int], ...]
    """(index of Host.parents, index of Kind.seats) for each device, in the order of ``Vm.needs``."""


class Solution(t.NamedTuple):
    """Placements in the order in which they have to be replayed; who is not in it stays."""

    placements: tuple[Placement, ...]


class Bound(t.NamedTuple):
    """What no plan can do better."""

    hosts: int
    """No solution empties more hosts."""
    vms: int
    """No solution that empties at least as many hosts as the given one places more VMs."""
    method: str
    """Stable code of what proved it: everything (all were placed), nothing (no host takes any), flow, merged_lp,
    configurations, merged_milp, paths. Two, joined by ``+``, where hosts and VMs were proven by different ones."""


def emptied(problem: Problem, placed: t.Collection[int]) -> list[int]:
    """Drained hosts with nothing left on them when these VMs have gone, ascending."""
    stay = {vm.host for number, vm in enumerate(problem.vms) if number not in placed}
    return [n for n, host in enumerate(problem.hosts) if host.drained and not host.held and n not in stay]
