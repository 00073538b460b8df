# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads that no plan may carry: they stay, so that the plan of all others stands.

A plan file is refused as a whole for one name that it cannot tell apart or one UUID that is there twice, so such a
workload must not get into it.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Stuck, StuckReason
from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes, _plan
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._fold import Folded
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import Policy
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Host, Kind, Seat, Vm


class _Obstacle(t.NamedTuple):
    reason: StuckReason
    detail: str
    hosts: tuple[str, ...]


def set_aside(folded: Folded, hosts: t.Iterable[_nodes.Host], policy: Policy) -> Folded:
    """The same without them, and with their hosts held."""
    find = _Obstacles(folded, hosts, policy)
    found = {number: obstacle for number, vm in enumerate(folded.problem.vms) if (obstacle := find.of(vm))}
    folded = _without_unspeakable(folded)
    if policy.uuid_policy == "same":
        folded = _without_new_uuids(folded)
    return _without(folded, found) if found else folded


class _Obstacles:
    """What keeps one workload out of a plan file."""

    def __init__(self, folded: Folded, hosts: t.Iterable[_nodes.Host], policy: Policy) -> None:
        self._hosts = folded.problem.hosts
        self._homes: dict[str, list[str]] = collections.defaultdict(list)
        for vm in folded.problem.vms:
            self._homes[vm.id].append(self._hosts[vm.host].name)
        self._having = _having(hosts) if policy.uuid_policy == "same" else {}

    def of(self, vm: Vm) -> _Obstacle | None:
        """None for most."""
        host = self._hosts[vm.host].name
        if not _plan.is_host(host):
            return _Obstacle("name", "the name of its host is none that a plan file may have", (host,))
        if not _plan.is_workload(vm.id):
            return _Obstacle("name", "its id has characters that no plan file may have", (host,))
        homes = self._homes[vm.id]
        if len(homes) > 1:
            others = ", ".join(sorted(set(homes) - {host})) or host
            return _Obstacle(
                "ambiguous",
                f"its id is also that of a workload on {others}, and a plan cannot tell them apart",
                (host,),
            )
        return self._clash(vm, host)

    def _clash(self, vm: Vm, host: str) -> _Obstacle | None:
        for device in vm.devices:
            others = sorted(self._having.get(_plan.uuid(device) or device, set()) - {host})
            if others:
                detail = f"it is to keep its UUIDs, and {device} is in use on {', '.join(others)} as well"
                return _Obstacle("uuid_clash", detail, tuple(others))
        return None


def _having(hosts: t.Iterable[_nodes.Host]) -> dict[str, set[str]]:
    """UUID -> hosts that have an instance of it."""
    found: dict[str, set[str]] = collections.defaultdict(set)
    for host in hosts:
        for device in host.snapshot["devices"] if host.snapshot else ():
            if device["kind"] == "mdev":
                found[_plan.uuid(device["id"]) or device["id"]].add(host.name)
    return found


def _without(folded: Folded, found: t.Mapping[int, _Obstacle]) -> Folded:
    problem = folded.problem
    keep = [number for number in range(len(problem.vms)) if number not in found]
    gone: dict[int, set[str]] = collections.defaultdict(set)
    for number in keep:
        gone[problem.vms[number].host].update(problem.vms[number].devices)
    held = {problem.vms[number].host for number in found}
    hosts = tuple(_held(folded, n, gone[n]) if n in held else host for n, host in enumerate(problem.hosts))
    vms = tuple(problem.vms[number] for number in keep)
    groups = list(problem.groups)
    for number in found:
        home = problem.hosts[problem.vms[number].host]
        for each in problem.vms[number].groups:
            groups[each] = dataclasses.replace(groups[each], taken=groups[each].taken | {groups[each].place(home)})
    return dataclasses.replace(
        folded,
        problem=dataclasses.replace(problem, hosts=hosts, vms=vms, groups=tuple(groups)),
        names=tuple(folded.names[number] for number in keep),
        stuck=(*folded.stuck, *(_stuck(folded, number, obstacle) for number, obstacle in found.items())),
    )


def _held(folded: Folded, number: int, gone: t.Collection[str]) -> Host:
    host = folded.problem.hosts[number]
    parents = tuple(
        dataclasses.replace(parent, full=left)
        for parent, left in zip(host.parents, folded.left_after(number, gone), strict=True)
    )
    return dataclasses.replace(host, parents=parents, held=True)


def _stuck(folded: Folded, number: int, obstacle: _Obstacle) -> Stuck:
    vm = folded.problem.vms[number]
    return Stuck(
        workload=vm.id,
        name=folded.names[number],
        host=folded.problem.hosts[vm.host].name,
        reason=obstacle.reason,
        detail=obstacle.detail,
        rivals=[],
        hosts=list(obstacle.hosts),
        remedies=[],
    )


def _without_unspeakable(folded: Folded) -> Folded:
    """Nothing may go to hosts that a plan file cannot name."""
    hosts = folded.problem.hosts
    if all(_plan.is_host(host.name) for host in hosts):
        return folded
    kept = tuple(host if _plan.is_host(host.name) else dataclasses.replace(host, target=False) for host in hosts)
    return dataclasses.replace(folded, problem=dataclasses.replace(folded.problem, hosts=kept))


def _without_new_uuids(folded: Folded) -> Folded:
    """A device that is no mdev has no UUID that an instance could keep."""
    foreign = frozenset(number for number, source in enumerate(folded.sources) if source["kind"] == "vfio")
    kinds = tuple(_kept(kind, foreign) for kind in folded.problem.kinds) if foreign else folded.problem.kinds
    return dataclasses.replace(folded, problem=dataclasses.replace(folded.problem, kinds=kinds))


def _kept(kind: Kind, foreign: frozenset[int]) -> Kind:
    return dataclasses.replace(kind, seats=tuple(_seat_kept(seat, foreign) for seat in kind.seats))


def _seat_kept(seat: Seat, foreign: frozenset[int]) -> Seat:
    if seat.type is None:
        return seat
    return dataclasses.replace(seat, yes=seat.yes - foreign, maybe=seat.maybe - foreign, barred=seat.barred - foreign)
