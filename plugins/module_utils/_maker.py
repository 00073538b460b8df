# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the instances of workloads: all of a workload, or none.

This file is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _mdevctl, _reader
from ansible_collections.vfio.migration.plugins.module_utils._jobs import Done, Groups, Job
from ansible_collections.vfio.migration.plugins.module_utils._keeper import Keeper, is_entry
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerError, LedgerFile
from ansible_collections.vfio.migration.plugins.module_utils._mdevs import Found, MdevError, Mdevs, no_room
from ansible_collections.vfio.migration.plugins.module_utils._model import LedgerEntry, Name
from ansible_collections.vfio.migration.plugins.module_utils._order import Order, Wish


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
        self.look_for([wish.uuid for _name, wishes in groups for wish in wishes])
        decided = [self._each(Done(name, [Job(wish) for wish in wishes]), self._decide) for name, wishes in groups]
        if self.check_mode:
            return decided
        self._announce([job for done in decided if done.ok for job in done.jobs])
        made = [self._each(done, self._make) for done in decided]
        self.look_for([job.uuid for done in made if done.ok for job in done.jobs])
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
        job.instead = self.ledger.taken_for(wish.uuid) if entry is None else None
        for mine in (entry, self.entry(job.instead["uuid"]) if job.instead is not None else None):
            if mine is not None and mine["workload"] != wish.workload:
                raise MdevError(
                    "other_owner",
                    "%s belongs to workload %s of plan %s; release that first" % (wish, mine["workload"], mine["plan"]),
                )
        if self.order.persist:
            self._check_kept(wish, entry)
        if job.found is None:
            job.leaving = entry is not None and not _is_wished(entry, wish)
            self._decide_new(job)
        elif (job.found.parent, job.found.type) != (wish.parent, wish.type):
            raise MdevError("conflict", "%s: there is %s already; plan again" % (wish, job.found))
        elif entry is None:
            self._decide_foreign(job, job.found)
        else:
            self._decide_ours(job, job.found, entry)
        job.changes = job.changes or job.instead is not None

    def _check_kept(self, wish: Wish, entry: t.Optional[LedgerEntry]) -> None:
        """A definition that is there already has to bring back what is wanted, and no other may bring back the same
        UUID. Ours goes when the instance is made anew. Raises ``MdevError``."""
        wanted = _mdevctl.wanted(str(wish.parent), str(wish.type), wish.attributes)
        ours = None
        if entry is not None and entry["persist"]:
            ours = _mdevctl.wanted(entry["parent"], entry["type"], entry["attributes"] or ())
        for (_parent, uuid), kept in sorted(self.definitions().items()):
            if uuid != wish.uuid or kept in (wanted, ours):
                continue
            if (kept.parent, kept.type) != (wanted.parent, wanted.type):
                what = "as %s on %s; undefine that first" % (kept.type, kept.parent)
                raise MdevError("conflict", "%s: mdevctl has it defined %s" % (wish, what))
            how = "with other attributes: %s" % (_words(kept.attributes) or "none")
            if kept.start != wanted.start:
                how = "with start: %s, so it would not come back by itself" % kept.start
            raise MdevError(
                "defined_differently", "%s: mdevctl has it defined %s; undefine it there and run again" % (wish, how)
            )

    def _decide_new(self, job: Job) -> None:
        wish = job.wish
        job.directory = self.mdevs.type_directory(str(wish.parent), str(wish.type), wait=not self.check_mode)
        if self._take_again(job) or self._take_free(job):
            job.leaving = False
            return
        if job.directory not in self._rooms:
            self._rooms[job.directory] = self.mdevs.room(job.directory)
        room = self._rooms[job.directory]
        if room is not None:
            if room <= 0:
                raise no_room(wish)
            self._rooms[job.directory] = room - 1
        job.action, job.changes = "created", True

    def _decide_ours(self, job: Job, found: Found, entry: LedgerEntry) -> None:
        """What stands there as it is wanted stays; what does not, or was not finished, is made anew."""
        wish = job.wish
        differs = entry["attributes"] != wish.attributes
        if differs and entry["reused"]:
            raise self._not_vouched_for(wish)
        if entry["state"] == "created" and not differs:
            job.action = "unchanged"
            job.changes = self._is_to_be_updated(entry, wish) or (self.order.persist and not self._keeps(entry))
            return
        if differs:
            self._check_replaceable(found, entry)
        job.action, job.changes = "replaced" if entry["state"] == "created" else "created", True
        job.leaving = differs or entry["state"] == "removing"
        job.directory = self.mdevs.type_directory(str(wish.parent), str(wish.type), wait=False)

    def _check_replaceable(self, found: Found, entry: LedgerEntry) -> None:
        """Attributes are written once, before anybody uses a device. Raises ``MdevError`` if it is in use."""
        try:
            self.mdevs.check_free(found, self.users())
        except MdevError as problem:
            pairs = [(one["name"], one["value"]) for one in entry["attributes"] or ()]
            has = (_words(pairs) or "none") if entry["attributes"] is not None else "unknown"
            raise MdevError(
                problem.reason,
                "%s is wanted with other attributes than it has (%s), and cannot be made anew: %s"
                % (found, has, problem),
                problem.holders,
            ) from None

    def _take_again(self, job: Job) -> bool:
        """Take the instance that an earlier run took, if it is still free and fits."""
        wish = job.wish
        for entry in sorted(self.ledger.entries, key=lambda one: one["wished"] != wish.uuid):
            mine = entry["reused"] and entry["workload"] == wish.workload and _is_wished(entry, wish)
            for_another = entry["uuid"] in self._claimed or entry["wished"] in self._claimed - {wish.uuid}
            if not mine or for_another or self.entry(entry["uuid"]) is None:
                continue
            job.found = self.mdevs.find(entry["uuid"])
            if job.found is None:
                continue
            self.check_holders(job.found, wish.workload, self.users())
            job.uuid, job.action, job.instead = entry["uuid"], "unchanged", None
            job.changes = self._is_to_be_updated(entry, wish)
            job.before = job.place(entry)
            self._claimed.add(job.uuid)
            return True
        job.found = None
        return False

    def _take_free(self, job: Job) -> bool:
        """With ``reuse``, take any instance that stands free. One with attributes is made to measure."""
        wish = job.wish
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
            raise self._not_vouched_for(job.wish)
        try:
            self.mdevs.check_free(found, self.users())
        except MdevError as problem:
            raise MdevError(problem.reason, "%s is not ours: %s" % (job.wish, problem), problem.holders) from None
        job.action = "unchanged"

    @staticmethod
    def _not_vouched_for(wish: Wish) -> MdevError:
        return MdevError(
            "conflict",
            "%s exists, and is not ours, so its attributes cannot be vouched for; remove it or plan again" % wish,
        )

    def _keeps(self, entry: LedgerEntry) -> bool:
        """Whether the instance comes back after a reboot, or is somebody else's to keep."""
        return entry["reused"] or (entry["parent"], entry["uuid"]) in self.definitions()

    def _is_to_be_updated(self, entry: LedgerEntry, wish: Wish) -> bool:
        """Whether an instance that stands goes over to another plan, or to another UUID that was asked for."""
        return (entry["plan"], entry["wished"]) != (self.order.plan, wish.uuid)

    def _announce(self, jobs: t.Sequence[Job]) -> None:
        """Into the ledger with what is about to be made, and out of it with what a reboot has ended or what does not
        fit any more."""
        new = [self._new_entry(job) for job in jobs if job.action in ("created", "reused") and not job.leaving]
        stale = [job.wish.uuid for job in jobs if self.entry(job.wish.uuid) is None]
        stale += [job.instead["uuid"] for job in jobs if job.instead is not None]
        if new and self.boot_id is None:
            raise LedgerError(
                "the boot id of the host cannot be read, so what is made now could not be told from what a reboot has "
                "ended; nothing was made; see that /proc/sys/kernel/random/boot_id can be read, and run again"
            )
        self.ledger.update(new, stale)

    def _new_entry(self, job: Job) -> LedgerEntry:
        known = self.entry(job.uuid)
        wish = job.wish
        # A definition that was there before us is not ours to undo.
        place = (str(wish.parent), job.uuid)
        defines = self.order.persist and job.action != "reused" and place not in self.definitions()
        return {
            "uuid": job.uuid,
            "parent": Name(str(wish.parent)),
            "type": Name(str(wish.type)),
            "plan": str(self.order.plan),
            "workload": str(wish.workload),
            "state": "created" if job.action == "reused" else "creating",
            "persist": known["persist"] or defines if known else defines,
            "reused": job.action == "reused",
            "wished": wish.uuid,
            "attributes": list(wish.attributes),
            "boot_id": self.boot_id,
            "time": _reader.timestamp(),
        }

    def _make(self, job: Job) -> None:
        """Bring one instance to where it is wanted. Raises ``MdevError``."""
        wish = job.wish
        if job.uuid != wish.uuid:
            # What was made for it once is gone.
            self.forget(wish.uuid)
        if job.leaving:
            if job.found is not None:
                self.take_away(job.found)
                job.lost = True
            self.forget(job.uuid)
            job.found = None
            self.ledger.put(self._new_entry(job))
        if job.makes:
            if job.found is None:
                job.found = self._create(job)
            self.mdevs.await_bound(job.found, wish)
            self.mdevs.configure(job.found, wish)
        if job.found is not None and (job.makes or (job.action == "unchanged" and self._idle(job.found))):
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
        if self.mdevs.room(job.directory) == 0:
            raise no_room(job.wish)
        try:
            return self.mdevs.create(job.wish, job.directory)
        except MdevError as problem:
            if problem.reason != "conflict":
                raise
            entry, found = self.entry(job.uuid), self.mdevs.find(job.uuid)
            if entry and entry["persist"] and found and is_entry(found, entry) and self._keeps_ours(entry):
                # mdevctl was quicker: it starts what we had it define as soon as the parent is there.
                return found
            self.ledger.drop(job.uuid)
            raise

    def _define(self, job: Job) -> None:
        entry = self.entry(job.uuid)
        if not self.order.persist or entry is None or self._keeps(entry):
            return
        if not entry["persist"]:
            entry = t.cast(LedgerEntry, dict(entry, persist=True))
            self.ledger.put(entry)
        definition = _mdevctl.wanted(entry["parent"], entry["type"], job.wish.attributes)
        try:
            _mdevctl.define(self.guard, job.uuid, definition, self.mdevs.claims.of(job.uuid))
        except _mdevctl.MdevctlError as exc:
            raise MdevError("mdevctl", "%s cannot be made to survive a reboot: %s" % (job.wish, exc)) from None
        self.definitions()[entry["parent"], job.uuid] = definition

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
            if entry is not None and (entry["state"] == "creating" or self._is_to_be_updated(entry, job.wish)):
                stands = dict(entry, state="created", plan=self.order.plan, wished=job.wish.uuid, boot_id=self.boot_id)
                entries.append(t.cast(LedgerEntry, stands))
        self.ledger.put(*entries)

    def _failed(self, done: Done, culprit: Job, problem: MdevError) -> Done:
        """Undo what this run did for the workload, and say why."""
        self.mdevs.look_anew()
        sentences = [problem.sentence]
        for job in done.jobs:
            undone = None if self.check_mode else self._undo(job)
            if undone is not None:
                sentences += _stays(undone, problem)
            elif job.lost:
                sentences.append("What was there before as %s was taken away to be made anew, and is gone" % job.wish)
            if job.made and job.action == "reused":
                job.action, job.changes = "given_back", False
            elif job.made:
                job.action = job.action if undone else "rolled_back"
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
                busy = self.busy(job.uuid)
                if busy is not None:
                    return busy
                found = self.mdevs.find(job.uuid)
                if found is not None and is_entry(found, entry):
                    job.made = True
                    self.take_away(found)
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


def _is_wished(entry: LedgerEntry, wish: Wish) -> bool:
    return (entry["parent"], entry["type"], entry["attributes"]) == (wish.parent, wish.type, wish.attributes)


def _words(attributes: t.Iterable[t.Tuple[str, str]]) -> str:
    return ", ".join("%s=%s" % pair for pair in attributes)


def _stays(undone: MdevError, problem: MdevError) -> t.List[str]:
    """What else there is to say of something that was not taken back."""
    if undone.sentence != problem.sentence:
        return ["Could not be taken back, run again with state absent: %s" % undone.sentence]
    return [] if problem.reason == "pending" else ["So it could not be taken back either; run again with state absent"]
