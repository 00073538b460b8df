# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads -> their instances on this host, all of them or none, and back.

Every change is announced in the ledger before it is made, so that whatever kills this process leaves a host that the
next run can finish or clean. Only what the ledger names is ever removed.

This file is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _devices, _mdevctl, _mdevs, _reader
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, WorkerError
from ansible_collections.vfio.migration.plugins.module_utils._jobs import Done, Job, Report, WorkloadResult
from ansible_collections.vfio.migration.plugins.module_utils._keeper import Keeper, is_entry, owner
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerError, LedgerFile
from ansible_collections.vfio.migration.plugins.module_utils._mdevs import Found, MdevError, Mdevs, no_room
from ansible_collections.vfio.migration.plugins.module_utils._model import LedgerEntry, Name
from ansible_collections.vfio.migration.plugins.module_utils._order import Order, Wish

Groups = t.Sequence[t.Tuple[t.Optional[str], t.Sequence[Wish]]]
"""Wishes by workload. Those of no workload stand each for itself."""


class Maker(Keeper):
    """Makes what workloads need.

    First everything is decided, then all that is to be made is announced at once, then it is made and verified, and
    at the end it is looked at once more: the ledger is written twice, however many instances there are.
    """

    def __init__(self, mdevs: Mdevs, ledger: LedgerFile, order: Order, check_mode: bool) -> None:
        super().__init__(mdevs, ledger, order, check_mode)
        self._claimed = {wish.uuid for wish in order.instances}
        self._rooms: t.Dict[str, t.Optional[int]] = {}
        """By type directory: what it has room for, less what is decided."""

    def run(self, groups: Groups) -> t.List[Done]:
        """All instances of each workload, or none of them."""
        self.mdevs.look_for([wish.uuid for _name, wishes in groups for wish in wishes])
        decided = [self._each(Done(name, [Job(wish) for wish in wishes]), self._decide) for name, wishes in groups]
        if self.check_mode:
            return decided
        self._announce([job for done in decided if done.ok for job in done.jobs])
        made = [self._each(done, self._make) for done in decided]
        self.mdevs.look_for([job.uuid for done in made if done.ok for job in done.jobs])
        verified = [self._each(done, self._verify) for done in made]
        try:
            self._confirm([job for done in verified if done.ok for job in done.jobs])
        except LedgerError as exc:
            # They stand and are announced: the next run finds them.
            return [done._replace(reason="ledger", msg=str(exc)) if done.ok else done for done in verified]
        return verified

    def _each(self, done: Done, step: t.Callable[[Job], None]) -> Done:
        """One step for all instances of a workload; what was done before is undone when it fails for one of them."""
        if not done.ok:
            return done
        rooms, claimed = dict(self._rooms), set(self._claimed)
        job = done.jobs[0]
        try:
            for job in done.jobs:
                with self.told():
                    step(job)
        except MdevError as problem:
            self._rooms, self._claimed = rooms, claimed
            return self._failed(done, job, problem)
        return done

    def _decide(self, job: Job) -> None:
        """What is to be done, without doing any of it. Raises ``MdevError``."""
        wish = job.wish
        entry = self.look(job)
        job.changes = entry != self.ledger.get(wish.uuid)
        job.begun = entry is not None and self.may_appear(wish.uuid)
        if entry is not None and entry["workload"] != wish.workload:
            raise MdevError(
                "other_owner",
                "%s belongs to workload %s of plan %s; release that first" % (wish, entry["workload"], entry["plan"]),
            )
        self._check_definition(wish)
        if job.found is None and entry is not None and job.begun:
            if (entry["parent"], entry["type"]) != (wish.parent, wish.type):
                raise self.pending("instance %s (%s on %s)" % (wish.uuid, entry["type"], entry["parent"]), wish.uuid)
            self._decide_begun(job)
        elif job.found is None:
            self._decide_new(job)
        elif (job.found.parent, job.found.type) != (wish.parent, wish.type):
            raise MdevError("conflict", "%s: there is %s already; plan again" % (wish, job.found))
        elif entry is None:
            self._decide_foreign(job, job.found)
        elif entry["state"] == "created":
            job.action = "unchanged"
            job.changes = entry["plan"] != self.order.plan or (self.order.persist and not self._keeps(entry))
        else:
            job.action, job.changes = "created", True
            job.leaving = entry["state"] == "removing"
            job.directory = self.mdevs.type_directory(str(wish.parent), str(wish.type), wait=False)

    def _check_definition(self, wish: Wish) -> None:
        definition = self.defined().get(wish.uuid) if self.order.persist else None
        if definition is not None and (definition.parent, definition.type) != (wish.parent, wish.type):
            raise MdevError(
                "conflict",
                "%s: mdevctl has it defined as %s on %s; undefine that first"
                % (wish, definition.type, definition.parent),
            )

    def _decide_new(self, job: Job) -> None:
        wish = job.wish
        job.directory = self.mdevs.type_directory(str(wish.parent), str(wish.type), wait=not self.check_mode)
        if self._take_free(job):
            return
        if job.directory not in self._rooms:
            self._rooms[job.directory] = self.mdevs.room(job.directory)
        room = self._rooms[job.directory]
        if room is not None:
            if room <= 0:
                raise no_room(wish)
            self._rooms[job.directory] = room - 1
        job.action, job.changes = "created", True

    def _decide_begun(self, job: Job) -> None:
        """Whether there is room for it, the driver knows; it may have taken that already."""
        wish = job.wish
        job.directory = self.mdevs.type_directory(str(wish.parent), str(wish.type), wait=not self.check_mode)
        job.action, job.changes = "created", True

    def _take_free(self, job: Job) -> bool:
        """Take an instance that stands free: the one that an earlier run took, else with ``reuse`` any."""
        wish = job.wish
        for entry in self.ledger.entries:
            place = (entry["workload"], entry["parent"], entry["type"])
            same = place == (wish.workload, wish.parent, wish.type)
            if same and entry["reused"] and entry["uuid"] not in self._claimed and self.entry(entry["uuid"]):
                job.found = self.mdevs.find(entry["uuid"])
                if job.found is not None:
                    self.check_holders(job.found, wish.workload, self.users())
                    job.uuid, job.action = entry["uuid"], "unchanged"
                    job.changes = entry["plan"] != self.order.plan
                    job.before = job.place(owner(entry))
                    self._claimed.add(job.uuid)
                    return True
        # An instance with attributes is made to measure.
        for found in self.mdevs.free(job.directory) if self.order.reuse and not wish.attributes else ():
            if found.uuid in self._claimed or self.entry(found.uuid) or not self._accepted(found, wish):
                continue
            job.found, job.uuid, job.action, job.changes = found, found.uuid, "reused", True
            job.before = job.place(None)
            self._claimed.add(job.uuid)
            return True
        return False

    def _accepted(self, found: Found, wish: Wish) -> bool:
        if self.check_mode:
            return True
        try:
            self.mdevs.ask(found, wish)
        except MdevError:
            return False
        return True

    def _decide_foreign(self, job: Job, found: Found) -> None:
        """Somebody else's instance is as good as ours if it is the same and free; it never becomes ours."""
        if job.wish.attributes:
            raise MdevError(
                "conflict",
                "%s exists, and is not ours, so its attributes cannot be vouched for; remove it or plan again"
                % job.wish,
            )
        try:
            self.mdevs.check_free(found, self.users())
        except MdevError as problem:
            raise MdevError(problem.reason, "%s is not ours: %s" % (job.wish, problem), problem.holders) from None
        job.action = "unchanged"

    def _keeps(self, entry: LedgerEntry) -> bool:
        """Whether the instance comes back after a reboot, or is somebody else's to keep."""
        return entry["reused"] or entry["uuid"] in self.defined()

    def _announce(self, jobs: t.Sequence[Job]) -> None:
        """Into the ledger with what is about to be made, and out of it with what a reboot has ended."""
        new = [self._new_entry(job) for job in jobs if job.action in ("created", "reused") and not job.leaving]
        stale = [job.wish.uuid for job in jobs if self.entry(job.wish.uuid) is None]
        if new and self.boot_id is None:
            raise LedgerError(
                "the boot id of the host cannot be read, so what is made now could not be told from what a reboot has "
                "ended; nothing was made; see that /proc/sys/kernel/random/boot_id can be read, and run again"
            )
        self.ledger.update(new, stale)

    def _new_entry(self, job: Job) -> LedgerEntry:
        known = self.entry(job.uuid)
        # A definition that was there before us is not ours to undo.
        defines = self.order.persist and job.action != "reused" and job.uuid not in self.defined()
        return {
            "uuid": job.uuid,
            "parent": Name(str(job.wish.parent)),
            "type": Name(str(job.wish.type)),
            "plan": str(self.order.plan),
            "workload": str(job.wish.workload),
            "state": "created" if job.action == "reused" else "creating",
            "persist": known["persist"] or defines if known else defines,
            "reused": job.action == "reused",
            "boot_id": self.boot_id,
            "time": _reader.timestamp(),
        }

    def _make(self, job: Job) -> None:
        """Bring one instance to where it is wanted. Raises ``MdevError``."""
        wish = job.wish
        if job.leaving and job.found is not None:
            self.take_away(job.found)
            job.found = None
            self.ledger.put(self._new_entry(job))
        if job.action == "created":
            if job.found is None:
                job.found = self._create(job)
            self.mdevs.await_bound(job.found, wish)
            self.mdevs.configure(job.found, wish)
        if job.found is not None and (job.action == "created" or (job.action == "unchanged" and self._idle(job.found))):
            self.mdevs.ask(job.found, wish)
        self._define(job)

    def _idle(self, found: Found) -> bool:
        """A device that may be in use is not written to."""
        try:
            self.mdevs.check_free(found, self.users())
        except MdevError:
            return False
        return True

    def _create(self, job: Job) -> Found:
        # Its siblings, made a moment ago, may have taken the room.
        if not job.begun and self.mdevs.room(job.directory) == 0:
            raise no_room(job.wish)
        try:
            return self.mdevs.create(job.wish, job.directory, job.begun)
        except MdevError as problem:
            if problem.reason == "conflict":
                job.begun = False
                self.ledger.drop(job.uuid)
                raise
            job.pending = job.begun or problem.reason in ("hung", "deadline")
            found = self._late(job) if job.begun else None
            if found is None:
                raise
            return found

    def _late(self, job: Job) -> t.Optional[Found]:
        """What an earlier run began, if it comes after all."""
        self.mdevs.await_any([job.uuid])
        found = self.mdevs.find(job.uuid)
        same = found is not None and found.parent == job.wish.parent and found.type in (None, job.wish.type)
        return found if same else None

    def _define(self, job: Job) -> None:
        entry = self.entry(job.uuid)
        if not self.order.persist or entry is None or self._keeps(entry):
            return
        if not entry["persist"]:
            entry = t.cast(LedgerEntry, dict(entry, persist=True))
            self.ledger.put(entry)
        try:
            _mdevctl.define(self.guard, job.uuid, entry["parent"], entry["type"], job.wish.attributes)
        except _mdevctl.MdevctlError as exc:
            raise MdevError("mdevctl", "%s cannot be made to survive a reboot: %s" % (job.wish, exc)) from None
        self.defined()[job.uuid] = _mdevctl.Definition(entry["parent"], entry["type"])

    def _verify(self, job: Job) -> None:
        """At the very end: others may have been at work meanwhile. Raises ``MdevError``."""
        found = self.mdevs.find(job.uuid)
        if found is None or (found.parent, found.type) != (job.wish.parent, job.wish.type):
            raise MdevError("gone", "%s was removed or replaced by somebody else; run again" % job.wish)
        entry = self.entry(job.uuid)
        if entry is None or entry["reused"]:
            self.check_holders(found, job.wish.workload)

    def _confirm(self, jobs: t.Sequence[Job]) -> None:
        """Into the ledger with what stands."""
        entries = []
        for job in jobs:
            entry = self.entry(job.uuid)
            if entry is not None and (entry["state"] == "creating" or entry["plan"] != self.order.plan):
                entries.append(
                    t.cast(LedgerEntry, dict(entry, state="created", plan=self.order.plan, boot_id=self.boot_id))
                )
        self.ledger.put(*entries)

    def _failed(self, done: Done, culprit: Job, problem: MdevError) -> Done:
        """Undo what this run did for the workload, and say why."""
        sentences = [problem.sentence]
        for job in done.jobs:
            undone = None if self.check_mode else self._undo(job)
            if undone is not None:
                sentences.append("Could not be taken back, run again with state absent: %s" % undone.sentence)
            if job.made and job.action == "reused":
                job.action, job.changes = "given_back", False
            elif job.made:
                job.action = "created" if undone else "rolled_back"
            elif job.action != "unchanged":
                job.action, job.changes = "none", False
        if not culprit.made:
            culprit.action = "refused"
        culprit.reason, culprit.holders = problem.reason, problem.holders
        return done._replace(reason=problem.reason, msg=". ".join(sentences))

    def _undo(self, job: Job) -> t.Optional[MdevError]:
        """Null, or why it stays. What was announced and never begun leaves the ledger."""
        entry = self.entry(job.uuid)
        if entry is None or entry["workload"] != job.wish.workload:
            return None
        if job.action == "reused":
            job.made = True
            return self._give_back(job)
        if job.action != "created" and entry["state"] == "created":
            return None
        try:
            with self.told():
                found = self.mdevs.find(job.uuid)
                if found is not None and is_entry(found, entry):
                    job.made = True
                    self.take_away(found)
                elif found is None and (job.pending or job.begun):
                    return self.pending(job.wish, job.uuid)
                else:
                    self.forget(job.uuid)
        except MdevError as problem:
            return problem
        return None

    def _give_back(self, job: Job) -> t.Optional[MdevError]:
        try:
            with self.told():
                self.ledger.drop(job.uuid)
        except MdevError as problem:
            return problem
        return None


class Taker(Keeper):
    """Takes back what is ours."""

    def run(self, groups: Groups) -> t.List[Done]:
        """All instances of each workload, or none of them where that can be told beforehand."""
        begun = [wish.uuid for _name, wishes in groups for wish in wishes if self.may_appear(wish.uuid)]
        if begun and not self.check_mode:
            # A killed run may have left the driver at one of them, and forgetting it now would leave it to nobody.
            self.mdevs.await_any(begun)
        return [self._release(name, wishes) for name, wishes in groups]

    def _release(self, workload: t.Optional[str], wishes: t.Sequence[Wish]) -> Done:
        """Take back all instances of one workload; none, if one of them has to stay."""
        jobs = [Job(wish) for wish in wishes]
        job, done = jobs[0], 0
        self.mdevs.look_for([job.uuid for job in jobs])
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
            if self.may_appear(job.uuid):
                raise self.pending(wish, job.uuid)
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


# ------------------------------------------------------------------------------------------------------ the whole host


def run(options: _reader.Options, order: Order, ledger: str, absent: bool, check_mode: bool) -> Report:
    """Do what is ordered, workload by workload; ``ledger`` is its folder. Nothing is written in check mode. Raises
    ``LedgerError``."""
    keeper = LedgerFile(ledger)
    if check_mode:
        return _run(options, order, keeper.read(), absent, True)
    with keeper:
        return _run(options, order, keeper, absent, False)


def _run(options: _reader.Options, order: Order, ledger: LedgerFile, absent: bool, check_mode: bool) -> Report:
    _check_boot_id(_reader.boot_id(options.proc_root), ledger)
    groups = _grouped(_from_ledger(order, ledger) if absent and not order.instances else order.instances, ledger)
    # The time for looking at the host, and on top of it what each instance may take.
    deadline = options.deadline + order.bind_timeout * sum(len(wishes) for _name, wishes in groups)
    with Guard(_mdevs.HANDLERS, options.read_timeout, deadline) as guard:
        reader = _reader.Reader(options, guard)
        keeper = (Taker if absent else Maker)(Mdevs(reader, order.bind_timeout), ledger, order, check_mode)
        before = ledger.entries
        done = keeper.run(groups)
        return _report(reader, order, done, ledger, ledger.entries != before)


def _check_boot_id(boot_id: t.Optional[str], ledger: LedgerFile) -> None:
    """Without it nobody can tell what a reboot has ended, that is, what is ours. Raises ``LedgerError``."""
    nameless = [entry["uuid"] for entry in ledger.entries if entry["boot_id"] is None]
    if boot_id is None and ledger.entries:
        raise LedgerError(
            "the boot id of the host cannot be read, so what the ledger names may be older than the last boot, and "
            "nothing was touched; see that /proc/sys/kernel/random/boot_id can be read, and run again"
        )
    if nameless:
        raise LedgerError(
            "the ledger does not say in which boot instance %s was made; remove that by hand if it is there, take its "
            "line out of the ledger, and run again" % ", ".join(nameless)
        )


def _from_ledger(order: Order, ledger: LedgerFile) -> t.List[Wish]:
    """Everything of the plan, or all that is ours; of the named workloads, if any are named."""
    return [
        Wish(entry["uuid"], None, None, entry["workload"], [], None)
        for entry in ledger.entries
        if (order.plan is None or entry["plan"] == order.plan)
        and (order.workloads is None or entry["workload"] in order.workloads)
    ]


def _grouped(wishes: t.Sequence[Wish], ledger: LedgerFile) -> t.List[t.Tuple[t.Optional[str], t.List[Wish]]]:
    groups: t.Dict[t.Tuple[t.Optional[str], str], t.List[Wish]] = {}
    for wish in wishes:
        entry = ledger.get(wish.uuid)
        workload = wish.workload or (entry["workload"] if entry is not None else None)
        groups.setdefault((workload, "" if workload is not None else wish.uuid), []).append(wish)
    return [(workload, together) for (workload, _uuid), together in groups.items()]


def _report(reader: _reader.Reader, order: Order, done: t.Sequence[Done], ledger: LedgerFile, touched: bool) -> Report:
    jobs = [job for one in done for job in one.jobs]
    standing = {job.found.path for job in jobs if job.found is not None and job.action != "removed"}
    try:
        devices = {device["id"]: device for device in _devices.devices_at(reader, sorted(standing))}
    except WorkerError:
        # What was done is worth more than how it looks.
        devices = {}
    workloads: t.List[WorkloadResult] = [
        {
            "workload": one.workload,
            "ok": one.ok,
            "reason": one.reason,
            "msg": one.msg,
            "instances": [job.result(devices.get(job.uuid)) for job in one.jobs],
        }
        for one in done
    ]
    after = [job.after("%s: %s" % (order.plan, one.workload)) for one in done for job in one.jobs]
    return Report(
        changed=touched or any(job.changes and job.action not in ("refused", "rolled_back") for job in jobs),
        workloads=workloads,
        ledger=ledger.entries,
        before=[job.before for job in jobs if job.before is not None],
        after=[place for place in after if place is not None],
    )
