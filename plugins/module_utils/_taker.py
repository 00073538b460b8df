# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking back the instances of workloads, and only those that are ours.

This file is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._jobs import Done, Groups, Job
from ansible_collections.vfio.migration.plugins.module_utils._keeper import Keeper, is_entry
from ansible_collections.vfio.migration.plugins.module_utils._mdevs import MdevError
from ansible_collections.vfio.migration.plugins.module_utils._order import Wish


class Taker(Keeper):
    """Takes back what is ours."""

    def run(self, groups: Groups) -> t.List[Done]:
        """All instances of each workload, or none of them where that can be told beforehand."""
        return [self._release(name, wishes) for name, wishes in groups]

    def _release(self, workload: t.Optional[str], wishes: t.Sequence[Wish]) -> Done:
        """Take back all instances of one workload; none, if one of them has to stay."""
        jobs = [Job(wish) for wish in wishes]
        job, done = jobs[0], 0
        self.look_for([job.uuid for job in jobs])
        try:
            for job in jobs:
                with self.told():
                    self._decide_release(job)
            for job in jobs if not self.check_mode else ():
                with self.told():
                    self._let_go(job)
                done += 1
        except MdevError as problem:
            for other in jobs[done:]:
                other.action, other.changes = "none", False
            job.action, job.reason, job.holders = "refused", problem.reason, problem.holders
            return Done(workload, jobs, problem.reason, problem.sentence)
        return Done(workload, jobs)

    def _decide_release(self, job: Job) -> None:
        wish = job.wish
        taken = self.ledger.taken_for(wish.uuid)
        if taken is not None and self.ledger.get(wish.uuid) is None and self.entry(taken["uuid"]) is not None:
            job.uuid = taken["uuid"]
        entry = self.look(job)
        found = job.found
        job.changes = self.ledger.get(job.uuid) is not None
        foreign = entry is not None and wish.workload not in (None, entry["workload"])
        if entry is not None and (foreign or self.order.plan not in (None, entry["plan"])):
            raise MdevError(
                "other_owner",
                "%s belongs to workload %s of plan %s, which was not asked for"
                % (wish, entry["workload"], entry["plan"]),
            )
        if entry is not None and entry["reused"]:
            job.action = "given_back"
            return
        if found is None:
            job.action, job.reason = ("removed", "gone") if entry is not None else ("none", None)
            return
        mine = entry is not None and is_entry(found, entry)
        if not mine and not self.order.force_foreign:
            # With nothing but the ledger to go by, what stands there now was never asked for.
            if not self.order.instances:
                job.action, job.reason = "none", "foreign"
                return
            raise MdevError("foreign", "%s is not ours; it is removed only with force_foreign: true" % found)
        if (wish.parent or found.parent, wish.type or found.type) != (found.parent, found.type):
            raise MdevError("conflict", "%s: there is %s instead; it stays" % (wish, found))
        self.mdevs.check_free(found, self.users())
        job.action, job.changes = "removed", True

    def _let_go(self, job: Job) -> None:
        if job.action == "removed" and job.found is not None:
            self.take_away(job.found)
        elif job.action == "given_back":
            self.ledger.drop(job.uuid)
        else:
            self.forget(job.uuid)
