# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts and options -> the plan: one drain, or batch after batch until the whole fleet was in maintenance.

A VM that is on a host after its maintenance moves no more, so no plan made here depends on what the new drivers say to
each other.

This file is private to the collection and pure.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Note, Pairings, Plan, Stuck
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _nodes, _pairing
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import (
    _aside,
    _assemble,
    _checker,
    _explain,
    _fold,
    _policy,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._assemble import Stage
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._batches import Offers
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._bound import improve
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._fold import Folded
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._ground import Ground
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import Policy
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    Bound,
    DefectError,
    Problem,
    Solution,
    emptied,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._prospects import Case
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._solve import solve
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._waves import waves

NO_ROLLING_BOUND = (
    "no bound was computed: workloads stay behind, and each batch of a rolling maintenance depends on those before it"
)


def plan(
    facts: _nodes.Facts,
    options: t.Mapping[str, object],
    now: str,
    max_age: int,
    fresh_hosts: list[str] | None = None,
) -> Plan:
    """The plan for a fleet.

    :arg facts: host name -> its ansible_facts (``vfio_migration``, ``vfio_migration_verdicts``) or None.
    :arg options: as ``_policy.read`` takes them.
    :arg now: a Timestamp.
    :arg max_age: seconds after which a driver's answer counts as unknown.
    :arg fresh_hosts: hosts whose facts were gathered in this run, None for all.

    Raises ContractError with every mistake in the options, and when the facts of a host are older than ``max_age``:
    what it had room for then says nothing of now. Raises DefectError where the plan breaks a rule.
    """
    hosts = _nodes.load(facts)
    _pairing.check_options(max_age, now, "all", fresh_hosts)
    policy = _policy.read(options, hosts)
    _refuse_stale(hosts, max_age, now)
    sources: _pairing.Sources = "all" if policy.rolling else "devices"
    return of_pairings(hosts, _pairing.of_hosts(hosts, max_age, now, sources, fresh_hosts), policy, now)


def _refuse_stale(hosts: t.Iterable[_nodes.Host], max_age: int, now: str) -> None:
    old = [host for host in hosts if host.snapshot and not _clock.within(host.snapshot["time"], max_age, now)]
    if old:
        more = f" and {len(old) - 5} other{'s' if old[6:] else ''}" if old[5:] else ""
        names = ", ".join(host.name for host in old[:5]) + more
        raise ContractError(
            f"the facts of {names} are older than {max_age} seconds, or of the future: gather them again, raise "
            "max_age, or leave these hosts out of the fleet"
        )


def of_pairings(hosts: t.Sequence[_nodes.Host], pairings: Pairings, policy: Policy, now: str) -> Plan:
    """The plan, with the pairings at hand; those of a rolling maintenance are of ``sources="all"``.

    Raises DefectError where the independent checker finds something in it.
    """
    # All that was needed to make the plan is gone when the checker begins, which takes as much again.
    made = _made(hosts, pairings, policy, now)
    _refuse_invalid(made, hosts, pairings, policy)
    return made


def _made(hosts: t.Sequence[_nodes.Host], pairings: Pairings, policy: Policy, now: str) -> Plan:
    folded = _aside.set_aside(_fold.fold(pairings, hosts, policy), hosts, policy)
    fingerprint = _assemble.fingerprint(pairings, folded, policy)
    name = policy.id or f"plan-{fingerprint[:12]}"
    course = _Course(folded, policy, pairings, _assemble.Uuids(name, policy, folded, hosts))
    course.run()
    bound, reason = course.bound()
    return _assemble.plan(
        _assemble.Made(
            folded=folded,
            policy=policy,
            pairings=pairings,
            id=name,
            fingerprint=fingerprint,
            now=now,
            stages=tuple(course.stages),
            stuck=(*folded.stuck, *course.stuck),
            bound=bound,
            bound_reason=reason,
            notes=(*folded.notes, *_unread(pairings)),
        )
    )


def _refuse_invalid(made: Plan, hosts: t.Iterable[_nodes.Host], pairings: Pairings, policy: Policy) -> None:
    known = {each["host"] for each in pairings["hosts"] if each["state"] in ("fresh", "cached")}
    snapshots = {host.name: host.snapshot for host in hosts if host.snapshot and host.name in known}
    wrong = _checker.violations(made, snapshots, pairings, policy)
    if wrong:
        more = f" (the first of {len(wrong)} violations)" if wrong[1:] else ""
        raise DefectError(f"the plan would break a rule: {wrong[0]}{more}")


def _unread(pairings: Pairings) -> t.Iterator[Note]:
    """Which hosts a partial plan knows nothing of."""
    for each in pairings["hosts"]:
        if each["state"] in ("unreachable", "excluded"):
            detail = "; ".join(each["errors"]) or "it has no facts"
            yield Note(
                item=f"hosts/{each['host']}", reason=each["state"], detail=f"nothing can be planned onto it: {detail}"
            )


class _Course:
    """The batches of one plan, one after the other."""

    def __init__(self, folded: Folded, policy: Policy, pairings: Pairings, uuids: _assemble.Uuids) -> None:
        self.stages: list[Stage] = []
        self.stuck: list[Stuck] = []
        self._folded = folded
        self._policy = policy
        self._numbers = {host.name: number for number, host in enumerate(folded.problem.hosts)}
        self._scope = self._hosts_in_scope()
        self._ground = Ground(folded, self._scope if policy.rolling else (), uuids.name)
        self._explainer = _explain.Explainer(folded, pairings)
        self._proof: Bound | None = None

    def _hosts_in_scope(self) -> list[int]:
        rolling = self._policy.rolling
        if rolling is None:
            return [self._numbers[name] for name in self._policy.drain]
        if rolling.batches:
            return [self._numbers[name] for batch in rolling.batches for name in batch]
        return [self._numbers[name] for name in sorted(self._folded.snapshots)]

    def run(self) -> None:
        """Plan every batch."""
        for batch in self._batches():
            self._drain(batch)

    def _batches(self) -> t.Iterator[tuple[int, ...]]:
        rolling = self._policy.rolling
        if rolling is None:
            yield tuple(self._scope)
        elif rolling.batches:
            yield from (tuple(self._numbers[name] for name in batch) for batch in rolling.batches)
        else:
            yield from self._least_loaded_first(rolling.max_unavailable or 1)

    def _least_loaded_first(self, size: int) -> t.Iterator[tuple[int, ...]]:
        """The VMs of the first batch move twice where no host is empty, so it should have few; and who got some of
        them is not next."""
        offers = Offers(self._folded.problem)
        remaining = set(self._scope)
        while remaining:
            order = sorted(remaining, key=lambda number: (self._ground.load(number), number))
            batch = offers.batch(order, size)
            remaining.difference_update(batch)
            yield tuple(batch)

    def _drain(self, batch: tuple[int, ...]) -> None:
        task = self._ground.begin(batch)
        solution = self._solve(task.problem)
        placed = {placement.vm for placement in solution.placements}
        empty = emptied(task.problem, placed)
        steps = [self._ground.move(task, placement) for placement in solution.placements]
        ordered = waves(steps, frozenset(empty), self._policy.concurrent)
        self.stages.append(Stage(batch, tuple(empty), tuple(map(tuple, ordered))))
        case = Case(task, solution, tuple(self._ground.hosts), tuple(empty))
        self.stuck += self._explainer.explain(case)
        self.stuck += self._explainer.muted(self._ground, self._ground.muted(batch))
        self._ground.finish(batch, empty)

    def _solve(self, problem: Problem) -> Solution:
        solution = solve(problem)
        if self._policy.rolling:
            return solution
        proof = improve(problem, solution, solve)
        self._proof = proof.bound
        return proof.solution

    def bound(self) -> tuple[Bound | None, str | None]:
        """Of the whole plan; a rolling one has one only when nobody stays behind."""
        if self._proof is not None:
            return self._proof, None
        if self.stuck:
            return None, NO_ROLLING_BOUND
        count = len(self._folded.problem.vms)
        return Bound(sum(len(stage.emptied) for stage in self.stages), count, "everything"), None
