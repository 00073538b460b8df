# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a VM stays, in one sentence and a stable code, and what one change would free it.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Pairings, Remedy, Stuck, StuckReason
from ansible_collections.vfio.migration.plugins.plugin_utils._reasons import sentence
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._fold import Folded
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._ground import Ground
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Vm
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._prospects import Case, Family, Prospect, View
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._remedies import Remedies
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._solve import Contention

LISTED: t.Final = 10
"""Hosts and rivals in the lists of one stuck workload."""
SAID: t.Final = 3
"""Of them, those in its sentence."""

_NOBODY: t.Final = Contention((), (), ())


class _Why(t.NamedTuple):
    reason: StuckReason
    detail: str
    hosts: tuple[int, ...] = ()
    rivals: tuple[str, ...] = ()


class Explainer:
    """Knows the names behind the numbers."""

    def __init__(self, folded: Folded, pairings: Pairings) -> None:
        self._folded = folded
        self._hosts = folded.problem.hosts
        self.pairs = {(one["source"], one["target"]): one for one in pairings["pairings"]}
        refused: dict[str, collections.Counter[tuple[str, str]]] = collections.defaultdict(collections.Counter)
        for one in pairings["pairings"]:
            if one["verdict"] != "compatible" and one["reason"]:
                refused[one["source"]][one["verdict"], sentence(one["reason"], one["errno"])] += 1
        self._refused = refused

    def explain(self, case: Case) -> list[Stuck]:
        """Everybody who stays, in the order of the problem."""
        problem = case.task.problem
        placed = {placement.vm for placement in case.solution.placements}
        stay = [number for number in range(len(problem.vms)) if number not in placed]
        if not stay:
            return []
        look = _Look(self, View(case), self._folded)
        return [self._stuck(case.task.numbers[number], problem.vms[number], *look.at(number)) for number in stay]

    def muted(self, ground: Ground, numbers: t.Iterable[int]) -> list[Stuck]:
        """VMs of which nobody can tell what they became when they moved first."""
        detail = "what it became by its first move is not known, so no driver can be asked about it"
        return [
            self._stuck(number, ground.vms[number], _Why("source_unknown", detail, (ground.vms[number].host,)), [])
            for number in numbers
        ]

    def _stuck(self, number: int, vm: Vm, why: _Why, remedies: list[Remedy]) -> Stuck:
        return Stuck(
            workload=vm.id,
            name=self._folded.names[number],
            host=self._hosts[vm.host].name,
            reason=why.reason,
            detail=why.detail,
            rivals=list(why.rivals[:LISTED]),
            hosts=[self._hosts[host].name for host in why.hosts[:LISTED]],
            remedies=remedies,
        )

    def names(self, hosts: t.Sequence[int]) -> str:
        """Some of them, in words."""
        return listed([self._hosts[host].name for host in hosts])

    def what(self, vm: Vm) -> str:
        """The types of its devices."""
        kinds = dict.fromkeys(self._folded.sources[need]["type"] or "a VFIO device" for need in vm.needs)
        return listed(sorted(kinds))

    def refusal(self, vm: Vm, verdict: str) -> str | None:
        """What most drivers said to one of its devices, in words."""
        for need in vm.needs:
            said = self._refused[self._folded.sources[need]["id"]]
            found = sorted((-count, text) for (answer, text), count in said.items() if answer == verdict)
            if found:
                return found[0][1]
        return None

    def residents(self, hosts: t.Iterable[int], gone: t.Container[tuple[str, str]]) -> list[str]:
        """Workloads with devices that are on these hosts and stay there."""
        found: dict[str, None] = {}
        for number in hosts:
            name = self._hosts[number].name
            snapshot = self._folded.snapshots.get(name)
            for workload in snapshot["workloads"] if snapshot else ():
                if workload["devices"] and (name, workload["id"]) not in gone:
                    found[workload["id"]] = None
        return sorted(found)


class _Look:
    """The reasons of one case; who is alike shares the work."""

    def __init__(self, explainer: Explainer, view: View, folded: Folded) -> None:
        self._tell = explainer
        self._view = view
        self._remedies = Remedies(view, folded, explainer.pairs)
        self._rivalries: dict[t.Hashable, Contention] = {}
        self._contentions: dict[t.Hashable, _Why] = {}
        problem = view.problem
        self._moving = {(problem.hosts[vm.host].name, vm.id) for vm in problem.vms}
        self._unseen = sum(not host.target and not host.drained for host in problem.hosts)

    def at(self, number: int) -> tuple[_Why, list[Remedy]]:
        """Why this VM stays, and what would free it."""
        vm = self._view.problem.vms[number]
        prospect = self._view.prospect(vm)
        family = self._view.family(number)
        rivalry = self._rivalry(number, vm) if prospect.holding and family is None else _NOBODY
        return self._why(vm, prospect, family, rivalry), self._remedies.of(number, prospect, rivalry, family)

    def _rivalry(self, number: int, vm: Vm) -> Contention:
        key = (vm.needs, vm.cpus, vm.memory, vm.groups)
        if key not in self._rivalries:
            self._rivalries[key] = self._remedies.trial.contention(number)
        return self._rivalries[key]

    def _why(self, vm: Vm, prospect: Prospect, family: Family | None, rivalry: Contention) -> _Why:
        if family:
            return self._limited(vm, family)
        if prospect.holding:
            return self._contended(prospect, rivalry)
        away = tuple(host for host in prospect.away if host != vm.host)
        if away:
            return self._in_maintenance(vm, away)
        if prospect.offering:
            detail = (
                f"{self._tell.names(prospect.offering)} would accept it, but no room for it is there, whoever moves"
            )
            return _Why("no_capacity", detail, prospect.offering)
        if prospect.unknown:
            return self._unknown(vm, prospect.unknown)
        return self._refused(vm)

    def _in_maintenance(self, vm: Vm, away: tuple[int, ...]) -> _Why:
        own, others = self._tell.names((vm.host,)), self._tell.names(away)
        offers, they = ("offers", "it is") if len(away) == 1 else ("offer", "they are")
        what = self._tell.what(vm)
        detail = f"{own} cannot drain because only {others} {offers} room for {what}, and {they} in maintenance too"
        return _Why("maintenance", detail, away)

    def _unknown(self, vm: Vm, hosts: tuple[int, ...]) -> _Why:
        why = self._tell.refusal(vm, "unknown") or "no driver was asked"
        detail = f"whether {self._tell.names(hosts)} would accept it is unknown ({why}), and the policy forbids that"
        return _Why("unknown", detail, hosts)

    def _refused(self, vm: Vm) -> _Why:
        detail = f"no other host accepts {self._tell.what(vm)}"
        if not any(host.target for host in self._view.problem.hosts):
            detail = "no host is left that could take anything"
        elif len(vm.needs) > 1 and self._is_split(vm):
            detail = f"other hosts accept its devices ({self._tell.what(vm)}), but none accepts all of them"
        elif (said := self._tell.refusal(vm, "incompatible")) is not None:
            detail = f"{detail}: {said}"
        if self._unseen:
            detail = f"{detail}; of {self._unseen} hosts that could not be looked at nothing is known"
        return _Why("no_compatible_host", detail)

    def _is_split(self, vm: Vm) -> bool:
        kinds = {parent.kind for host in self._view.problem.hosts if host.target for parent in host.parents}
        return all(any(self._view.takes(kind, need) for kind in kinds) for need in vm.needs)

    def _limited(self, vm: Vm, family: Family) -> _Why:
        host = self._view.problem.hosts[family.host]
        groups = [self._view.problem.groups[each].name for each in family.groups]
        texts = {
            "incoming": f"takes at most {host.incoming} incoming VMs in one batch",
            "cpus": f"has fewer than {vm.cpus} CPUs free",
            "memory": f"has fewer than {vm.memory} MiB free",
        }
        parts = [texts[each] for each in family.limits]
        if groups:
            parts.append(f"is barred by group {listed(groups)}")
        reason: StuckReason = "limit" if family.limits else "anti_affinity"
        return _Why(reason, f"{host.name} has room for it, but {' and '.join(parts)}", (family.host,))

    def _contended(self, prospect: Prospect, rivalry: Contention) -> _Why:
        hosts, vms = prospect.holding, self._view.problem.vms
        key = (hosts, rivalry)
        if key not in self._contentions:
            rivals = [vms[each].id for each in rivalry.rivals[: LISTED + 1]]
            who = f"also by {listed(rivals)}" if rivals else ""
            if not rivals:
                rivals = self._tell.residents(hosts, self._moving)
                who = f"by {listed(rivals)}" if rivals else ""
            detail = f"all room that {self._tell.names(hosts)} could have for it is taken"
            detail = f"{detail}, {who}" if who else detail
            self._contentions[key] = _Why("contention", detail, hosts, tuple(rivals))
        return self._contentions[key]


def listed(names: t.Sequence[str]) -> str:
    """``a, b, c and others``: a list is cut off where nobody reads on."""
    return f"{', '.join(names[:SAID])} and others" if len(names) > SAID else ", ".join(names)
