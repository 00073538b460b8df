# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads -> their instances on this host, all of them or none, and back.

Every change is announced in the ledger before it is made, so that whatever kills this process leaves a host that the
next run can finish or clean. Only what the ledger names is ever removed.

This file is private to the collection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _inventory, _mdevctl
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerFile
from ansible_collections.vfio.migration.plugins.module_utils._mdevs import Found, MdevError, Mdevs, Wish, no_room
from ansible_collections.vfio.migration.plugins.module_utils._model import (
    Device,
    DeviceAttribute,
    Holder,
    LedgerEntry,
    Name,
    name_error,
)

Action = t.Literal["created", "unchanged", "reused", "removed", "given_back", "rolled_back", "refused", "none"]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_PLAN = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


class Order(t.NamedTuple):
    """What is to be done on this host."""

    plan: t.Optional[str]
    instances: t.List[Wish]
    workloads: t.Optional[t.List[str]]
    persist: bool
    reuse: bool
    force_foreign: bool
    all_ours: bool
    bind_timeout: float


class InstanceResult(t.TypedDict):
    """What became of one instance."""

    uuid: Name
    parent: t.Optional[Name]
    type: t.Optional[Name]
    action: Action
    reason: t.Optional[str]
    holders: t.List[Holder]
    device: t.Optional[Device]


class WorkloadResult(t.TypedDict):
    """What became of one workload."""

    workload: t.Optional[str]
    ok: bool
    reason: t.Optional[str]
    msg: t.Optional[str]
    instances: t.List[InstanceResult]


class Place(t.TypedDict):
    """One line of the difference that is shown."""

    uuid: Name
    parent: t.Optional[Name]
    type: t.Optional[Name]
    owner: t.Optional[str]


class Report(t.NamedTuple):
    """The outcome for the whole host. ``before`` and ``after`` name the instances concerned that exist."""

    changed: bool
    workloads: t.List[WorkloadResult]
    ledger: t.List[LedgerEntry]
    before: t.List[Place]
    after: t.List[Place]


# ------------------------------------------------------------------------------------------------------------ input


def normal_uuid(text: str) -> t.Optional[Name]:
    """The UUID as the kernel writes it, from any usual spelling (capitals, braces, ``urn:uuid:``, a newline at the
    end); null when it is none. Any 8-4-4-4-12 hexadecimal digits count: not everybody follows RFC 4122."""
    word = text.strip().lower()
    if word.startswith("urn:uuid:"):
        word = word[len("urn:uuid:") :]
    if word.startswith("{") and word.endswith("}"):
        word = word[1:-1]
    return Name(word) if _UUID.match(word) else None


def parse(params: t.Mapping[str, t.Any]) -> t.Tuple[Order, t.List[str]]:
    """Module parameters as an order, and all that is wrong with them; nothing may be touched before that is nothing,
    because names become paths."""
    absent = params["state"] == "absent"
    errors: t.List[str] = []
    wishes = []
    for index, item in enumerate(params["instances"] or []):
        where = "instances[%d]" % index
        uuid = normal_uuid(item["uuid"])
        if uuid is None:
            errors.append("%s.uuid must be 8-4-4-4-12 hexadecimal digits, not %r" % (where, item["uuid"]))
        errors += ["%s.%s" % (where, error) for error in _item_errors(item, absent)]
        wishes.append(
            Wish(
                uuid or Name(""),
                item["parent"],
                item["type"],
                item["workload"],
                item["attributes"] or [],
                item["accepts"],
            )
        )
    seen: t.Set[str] = set()
    for wish in wishes:
        if wish.uuid and wish.uuid in seen:
            errors.append("instances: the UUID %s is there twice" % wish.uuid)
        seen.add(wish.uuid)
    errors += _order_errors(params, absent)
    order = Order(
        params["plan"],
        wishes,
        params["workloads"],
        params["persist"],
        params["reuse"],
        params["force_foreign"],
        params["all_ours"],
        params["bind_timeout"],
    )
    return order, errors


def _item_errors(item: t.Mapping[str, t.Any], absent: bool) -> t.Iterator[str]:
    for key in ("parent", "type"):
        error = name_error(item[key]) if item[key] is not None else None
        if error:
            yield "%s %s, not %r" % (key, error, item[key])
    for key in () if absent else ("parent", "type", "workload"):
        if not item[key]:
            yield "%s is needed" % key
    for number, attribute in enumerate(item["attributes"] or []):
        error = _attribute_error(attribute)
        if error:
            yield "attributes[%d].%s" % (number, error)
    accepts = item["accepts"]
    if accepts is not None and (not accepts or not accepts.isascii()):
        yield "accepts must be the source's string, ASCII and not empty, not %r" % accepts


def _attribute_error(attribute: DeviceAttribute) -> t.Optional[str]:
    """Its name is a path below the device's own directory; the kernel's own files there are not for this."""
    parts = attribute["name"].split("/")
    if any(name_error(part) for part in parts) or parts[-1] in ("remove", "driver", "uevent", "driver_override"):
        return "name must be an attribute below the device, not %r" % attribute["name"]
    if not attribute["value"] or "\0" in attribute["value"]:
        return "value must be text and not empty, not %r" % attribute["value"]
    return None


def _order_errors(params: t.Mapping[str, t.Any], absent: bool) -> t.Iterator[str]:
    plan = params["plan"]
    if plan is not None and not _PLAN.match(plan):
        yield "plan must be letters, digits, dots, dashes and underscores, not %r" % plan
    if not 0 < params["bind_timeout"] < float("inf"):
        yield "bind_timeout must be a number of seconds above 0, not %r" % params["bind_timeout"]
    for key in ("persist", "reuse") if absent else ("force_foreign", "all_ours", "workloads"):
        if params[key]:
            yield "%s is for state %s only" % (key, "present" if absent else "absent")
    yield from _absent_errors(params) if absent else _present_errors(params)


def _present_errors(params: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    if params["plan"] is None:
        yield "plan is needed to remember whose the instances are"
    if not params["instances"]:
        yield "instances are needed with state present"


def _absent_errors(params: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    if not params["instances"] and params["plan"] is None and not params["all_ours"]:
        yield "state absent needs instances, a plan, or all_ours: true"
    if params["instances"] and (params["all_ours"] or params["workloads"]):
        yield "instances go neither with all_ours nor with workloads"
    if params["force_foreign"] and not params["instances"]:
        yield "force_foreign needs instances that name what is to be removed"


# --------------------------------------------------------------------------------------------------------- the work


class _Job:
    """One instance on its way. ``made``: there is an instance that this run has to undo if the workload fails."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.uuid = wish.uuid
        self.action: Action = "none"
        self.reason: t.Optional[str] = None
        self.holders: t.List[Holder] = []
        self.found: t.Optional[Found] = None
        self.before: t.Optional[Place] = None
        self.directory = ""
        self.changes = False
        self.made = False
        self.begun = False
        """A killed run had begun to make it."""
        self.leaving = False
        """A killed run had begun to remove it."""
        self.pending = False
        """The driver has not answered yet, so it may still appear."""

    def place(self, owner: t.Optional[str]) -> Place:
        result = self.result(None)
        return {"uuid": self.uuid, "parent": result["parent"], "type": result["type"], "owner": owner}

    def after(self, owner: t.Optional[str]) -> t.Optional[Place]:
        """Where it stands in the end; ``owner`` is the order's."""
        if self.action in ("created", "reused"):
            return self.place(owner)
        if self.action == "removed":
            return None
        if self.before is not None and self.action in ("unchanged", "given_back"):
            kept = self.before["owner"] is not None and self.action == "unchanged"
            return self.place(owner if kept else None)
        return self.before

    def result(self, device: t.Optional[Device]) -> InstanceResult:
        return {
            "uuid": self.uuid,
            "parent": self.wish.parent or (self.found.parent if self.found else None),
            "type": self.wish.type or (self.found.type if self.found else None),
            "action": self.action,
            "reason": self.reason,
            "holders": self.holders,
            "device": device,
        }


class _Done(t.NamedTuple):
    """A workload that was dealt with; ``reason`` and ``msg`` when it is not as it should be."""

    workload: t.Optional[str]
    jobs: t.Sequence[_Job]
    reason: t.Optional[str] = None
    msg: t.Optional[str] = None


class Keeper:
    """Keeps the instances of one host."""

    def __init__(self, mdevs: Mdevs, ledger: LedgerFile, order: Order, check_mode: bool) -> None:
        self.mdevs = mdevs
        self.guard = mdevs.reader.guard
        self.ledger = ledger
        self.order = order
        self.check_mode = check_mode
        self.boot_id = _inventory.boot_id(mdevs.reader.options.proc_root)
        self._definitions: t.Optional[t.Dict[str, _mdevctl.Definition]] = None
        self._claimed = {wish.uuid for wish in order.instances}
        self._planned: t.Dict[str, int] = {}
        """Check mode: instances that would be made, by type directory."""

    def entry(self, uuid: str) -> t.Optional[LedgerEntry]:
        """What the ledger says, unless a reboot has ended it: only what mdevctl keeps comes back, and whatever stands
        there otherwise is not what we made."""
        entry = self.ledger.get(uuid)
        if entry is not None and entry["boot_id"] != self.boot_id and not entry["persist"]:
            return None
        return entry

    def defined(self) -> t.Dict[str, _mdevctl.Definition]:
        """What mdevctl keeps, asked once and only where something is, or is to be, kept. Raises ``MdevError``."""
        if self._definitions is None:
            try:
                self._definitions = _mdevctl.definitions(self.guard)
            except _mdevctl.MdevctlError as exc:
                raise MdevError("mdevctl", str(exc)) from None
        return self._definitions

    # --------------------------------------------------------------------------------------------------- present

    def ensure(self, workload: t.Optional[str], wishes: t.Sequence[Wish]) -> _Done:
        """All instances of one workload, or none."""
        jobs = [_Job(wish) for wish in wishes]
        job = jobs[0]
        planned, claimed = dict(self._planned), set(self._claimed)
        try:
            for job in jobs:
                self._decide(job)
            if not self.check_mode:
                self._announce(jobs)
                for job in jobs:
                    self._make(job)
                self._confirm(jobs)
        except MdevError as problem:
            self._planned, self._claimed = planned, claimed
            return self._failed(workload, jobs, job, problem)
        return _Done(workload, jobs)

    def _decide(self, job: _Job) -> None:
        """What is to be done, without doing any of it. Raises ``MdevError``."""
        wish = job.wish
        entry = self._look(job)
        job.changes = entry != self.ledger.get(wish.uuid)
        if entry is not None and entry["workload"] != wish.workload:
            raise MdevError(
                "other_owner",
                "%s belongs to workload %s of plan %s; release that first" % (wish, entry["workload"], entry["plan"]),
            )
        self._check_definition(wish)
        if job.found is None:
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
            job.begun = entry["state"] == "creating"
            job.leaving = entry["state"] == "removing"
            job.directory = self.mdevs.type_directory(str(wish.parent), str(wish.type), wait=False)

    def _look(self, job: _Job) -> t.Optional[LedgerEntry]:
        """What there is of a job's instance, and what the ledger says of it."""
        entry = self.entry(job.uuid)
        job.found = self.mdevs.find(job.uuid)
        job.before = job.place(_owner(entry)) if job.found is not None else None
        return entry

    def _check_definition(self, wish: Wish) -> None:
        definition = self.defined().get(wish.uuid) if self.order.persist else None
        if definition is not None and (definition.parent, definition.type) != (wish.parent, wish.type):
            raise MdevError(
                "conflict",
                "%s: mdevctl has it defined as %s on %s; undefine that first"
                % (wish, definition.type, definition.parent),
            )

    def _decide_new(self, job: _Job) -> None:
        wish = job.wish
        job.directory = self.mdevs.type_directory(str(wish.parent), str(wish.type), wait=not self.check_mode)
        if self._take_free(job):
            return
        room = self.mdevs.room(job.directory)
        if room is not None and room <= self._planned.get(job.directory, 0):
            raise no_room(wish)
        if self.check_mode:
            self._planned[job.directory] = self._planned.get(job.directory, 0) + 1
        job.action, job.changes = "created", True

    def _take_free(self, job: _Job) -> bool:
        """Take an instance that stands free: the one that an earlier run took, else with ``reuse`` any."""
        wish = job.wish
        for entry in self.ledger.entries:
            ours = (entry["plan"], entry["workload"]) == (self.order.plan, wish.workload)
            same = (entry["parent"], entry["type"]) == (wish.parent, wish.type)
            if ours and same and entry["reused"] and entry["uuid"] not in self._claimed and self.entry(entry["uuid"]):
                job.found = self.mdevs.find(entry["uuid"])
                if job.found is not None:
                    job.uuid, job.action = entry["uuid"], "unchanged"
                    job.before = job.place(_owner(entry))
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

    def _decide_foreign(self, job: _Job, found: Found) -> None:
        """Somebody else's instance is as good as ours if it is the same and free; it never becomes ours."""
        if job.wish.attributes:
            raise MdevError(
                "conflict",
                "%s exists, and is not ours, so its attributes cannot be vouched for; remove it or plan again"
                % job.wish,
            )
        try:
            self.mdevs.check_free(found)
        except MdevError as problem:
            raise MdevError(problem.reason, "%s is not ours: %s" % (job.wish, problem), problem.holders) from None
        job.action = "unchanged"

    def _keeps(self, entry: LedgerEntry) -> bool:
        """Whether the instance comes back after a reboot, or is somebody else's to keep."""
        return entry["reused"] or entry["uuid"] in self.defined()

    def _announce(self, jobs: t.Sequence[_Job]) -> None:
        """Into the ledger with what is about to be made."""
        stale = [job.wish.uuid for job in jobs if self.entry(job.wish.uuid) is None]
        self.ledger.drop(*stale)
        for job in jobs:
            if job.leaving and job.found is not None:
                self._take_away(job.found)
                job.found = None
        self.ledger.put(*(self._new_entry(job, "creating") for job in jobs if job.action == "created"))
        self.ledger.put(*(self._new_entry(job, "created") for job in jobs if job.action == "reused"))

    def _new_entry(self, job: _Job, state: t.Literal["creating", "created"]) -> LedgerEntry:
        known = self.entry(job.uuid)
        # A definition that was there before us is not ours to undo.
        defines = self.order.persist and job.action != "reused" and job.uuid not in self.defined()
        return {
            "uuid": job.uuid,
            "parent": Name(str(job.wish.parent)),
            "type": Name(str(job.wish.type)),
            "plan": str(self.order.plan),
            "workload": str(job.wish.workload),
            "state": state,
            "persist": known["persist"] or defines if known else defines,
            "reused": job.action == "reused",
            "boot_id": self.boot_id,
            "time": _inventory.timestamp(),
        }

    def _make(self, job: _Job) -> None:
        """Bring one instance to where it is wanted. Raises ``MdevError``."""
        wish = job.wish
        if job.action == "created":
            if job.found is None:
                job.found = self._create(job)
            self.mdevs.await_bound(job.found, wish)
            self.mdevs.configure(job.found, wish)
        if job.found is not None and job.action != "reused":
            self.mdevs.ask(job.found, wish)
        self._define(job)

    def _create(self, job: _Job) -> Found:
        # Its siblings, made a moment ago, may have taken the room.
        if self.mdevs.room(job.directory) == 0:
            raise no_room(job.wish)
        try:
            return self.mdevs.create(job.wish, job.directory)
        except MdevError as problem:
            if problem.reason == "conflict":
                self.ledger.drop(job.uuid)
            job.pending = problem.reason in ("hung", "deadline")
            raise

    def _define(self, job: _Job) -> None:
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

    def _confirm(self, jobs: t.Sequence[_Job]) -> None:
        """Verified at the very end: others may have been at work meanwhile. Raises ``MdevError``."""
        entries = []
        for job in jobs:
            found = self.mdevs.find(job.uuid)
            if found is None or (found.parent, found.type) != (job.wish.parent, job.wish.type):
                raise MdevError("gone", "%s was removed or replaced by somebody else; run again" % job.wish)
            entry = self.entry(job.uuid)
            if entry is not None and (entry["state"] == "creating" or entry["plan"] != self.order.plan):
                entries.append(
                    t.cast(LedgerEntry, dict(entry, state="created", plan=self.order.plan, boot_id=self.boot_id))
                )
        self.ledger.put(*entries)

    def _failed(self, workload: t.Optional[str], jobs: t.Sequence[_Job], culprit: _Job, problem: MdevError) -> _Done:
        """Undo what this run did for the workload, and say why."""
        sentences = [problem.sentence]
        for job in jobs:
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
        return _Done(workload, jobs, problem.reason, ". ".join(sentences))

    def _undo(self, job: _Job) -> t.Optional[MdevError]:
        """Null, or why it stays. What was announced and never begun leaves the ledger."""
        entry = self.entry(job.uuid)
        if entry is None or entry["workload"] != job.wish.workload:
            return None
        if job.action == "reused":
            job.made = True
            self.ledger.drop(job.uuid)
            return None
        if job.action != "created" and entry["state"] == "created":
            return None
        try:
            found = self.mdevs.find(job.uuid)
            if found is not None and _is_entry(found, entry):
                job.made = True
                self._take_away(found)
            elif job.pending:
                return MdevError("hung", "%s may still appear when the driver answers" % job.wish)
            else:
                self._forget(job.uuid)
        except MdevError as problem:
            return problem
        return None

    # ---------------------------------------------------------------------------------------------------- absent

    def release(self, workload: t.Optional[str], wishes: t.Sequence[Wish]) -> _Done:
        """Take back all instances of one workload; none, if one of them has to stay."""
        jobs = [_Job(wish) for wish in wishes]
        job, done = jobs[0], 0
        try:
            for job in jobs:
                self._decide_release(job)
            for job in jobs if not self.check_mode else ():
                self._let_go(job)
                done += 1
        except MdevError as problem:
            for other in jobs[done:]:
                other.action, other.changes = "none", False
            job.action, job.reason, job.holders = "refused", problem.reason, problem.holders
            return _Done(workload, jobs, problem.reason, problem.sentence)
        return _Done(workload, jobs)

    def _decide_release(self, job: _Job) -> None:
        wish = job.wish
        entry = self._look(job)
        found = job.found
        job.changes = self.ledger.get(job.uuid) is not None
        if entry is not None and self.order.plan is not None and entry["plan"] != self.order.plan:
            raise MdevError(
                "other_owner",
                "%s belongs to workload %s of plan %s, not to this plan" % (wish, entry["workload"], entry["plan"]),
            )
        if entry is not None and entry["reused"]:
            job.action = "given_back"
            return
        if found is None:
            job.action, job.reason = ("removed", "gone") if entry is not None else ("none", None)
            return
        mine = entry is not None and _is_entry(found, entry)
        if not mine and not self.order.force_foreign:
            # With nothing but the ledger to go by, what stands there now was never asked for.
            if not self.order.instances:
                job.action, job.reason = "none", "foreign"
                return
            raise MdevError("foreign", "%s is not ours; it is removed only with force_foreign: true" % found)
        if (wish.parent or found.parent, wish.type or found.type) != (found.parent, found.type):
            raise MdevError("conflict", "%s: there is %s instead; it stays" % (wish, found))
        self.mdevs.check_free(found)
        job.action, job.changes = "removed", True

    def _let_go(self, job: _Job) -> None:
        if job.action == "removed" and job.found is not None:
            self._take_away(job.found)
        elif job.action == "given_back":
            self.ledger.drop(job.uuid)
        else:
            self._forget(job.uuid)

    def _take_away(self, found: Found) -> None:
        """Announce, remove, forget. Raises ``MdevError``."""
        entry = self.entry(found.uuid)
        if entry is not None and entry["state"] != "removing":
            self.mdevs.check_free(found)
            self.ledger.put(t.cast(LedgerEntry, dict(entry, state="removing")))
        self.mdevs.remove(found)
        self._forget(found.uuid)

    def _forget(self, uuid: str) -> None:
        """Out of mdevctl, if we put it there, and out of the ledger. Raises ``MdevError``."""
        entry = self.ledger.get(uuid)
        if entry is None:
            return
        if entry["persist"]:
            try:
                if uuid in self.defined():
                    _mdevctl.undefine(self.guard, uuid, entry["parent"])
                    del self.defined()[uuid]
            except _mdevctl.MdevctlError as exc:
                raise MdevError("mdevctl", "instance %s is still defined: %s" % (uuid, exc)) from None
        self.ledger.drop(uuid)


def _is_entry(found: Found, entry: LedgerEntry) -> bool:
    """A type that the kernel does not tell (its driver hangs) is no reason to call it another instance."""
    return (found.parent, found.type or entry["type"]) == (entry["parent"], entry["type"])


def _owner(entry: t.Optional[LedgerEntry]) -> t.Optional[str]:
    return "%s: %s" % (entry["plan"], entry["workload"]) if entry is not None else None


# ------------------------------------------------------------------------------------------------------ the whole host


def run(options: _inventory.Options, order: Order, ledger: str, absent: bool, check_mode: bool) -> Report:
    """Do what is ordered, workload by workload; ``ledger`` is its folder. Nothing is written in check mode. Raises
    ``LedgerError``."""
    keeper = LedgerFile(ledger)
    if check_mode:
        return _run(options, order, keeper.read(), absent, True)
    with keeper:
        return _run(options, order, keeper, absent, False)


def _run(options: _inventory.Options, order: Order, ledger: LedgerFile, absent: bool, check_mode: bool) -> Report:
    groups = _grouped(_from_ledger(order, ledger) if absent and not order.instances else order.instances, ledger)
    handlers = {**_inventory.HANDLERS, **_mdevctl.HANDLERS}
    # The time for looking at the host, and on top of it what each instance may take.
    deadline = options.deadline + order.bind_timeout * sum(len(wishes) for wishes in groups.values())
    with Guard(handlers, options.read_timeout, deadline) as guard:
        reader = _inventory.Reader(options, guard)
        keeper = Keeper(Mdevs(reader, order.bind_timeout), ledger, order, check_mode)
        deal = keeper.release if absent else keeper.ensure
        done = [deal(workload, wishes) for workload, wishes in groups.items()]
        return _report(reader, order, done, ledger)


def _from_ledger(order: Order, ledger: LedgerFile) -> t.List[Wish]:
    """Everything of the plan, or all that is ours; of the named workloads, if any are named."""
    return [
        Wish(entry["uuid"], None, None, entry["workload"], [], None)
        for entry in ledger.entries
        if (order.plan is None or entry["plan"] == order.plan)
        and (order.workloads is None or entry["workload"] in order.workloads)
    ]


def _grouped(wishes: t.Sequence[Wish], ledger: LedgerFile) -> t.Dict[t.Optional[str], t.List[Wish]]:
    groups: t.Dict[t.Optional[str], t.List[Wish]] = {}
    for wish in wishes:
        entry = ledger.get(wish.uuid)
        owner = wish.workload or (entry["workload"] if entry is not None else None)
        groups.setdefault(owner, []).append(wish)
    return groups


def _report(reader: _inventory.Reader, order: Order, done: t.Sequence[_Done], ledger: LedgerFile) -> Report:
    jobs = [job for one in done for job in one.jobs]
    standing = {job.found.path for job in jobs if job.found is not None and job.action != "removed"}
    devices = {device["id"]: device for device in _inventory.devices_at(reader, sorted(standing))}
    workloads: t.List[WorkloadResult] = [
        {
            "workload": one.workload,
            "ok": one.reason is None,
            "reason": one.reason,
            "msg": one.msg,
            "instances": [job.result(devices.get(job.uuid)) for job in one.jobs],
        }
        for one in done
    ]
    after = [job.after("%s: %s" % (order.plan, one.workload)) for one in done for job in one.jobs]
    return Report(
        changed=any(job.changes and job.action not in ("refused", "rolled_back") for job in jobs),
        workloads=workloads,
        ledger=ledger.entries,
        before=[job.before for job in jobs if job.before is not None],
        after=[place for place in after if place is not None],
    )
