# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What making and taking back have in common: the ledger, mdevctl, and taking an instance away.

This file is private to the collection.
"""

from __future__ import annotations

import calendar
import contextlib
import time
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _mdevctl, _reader
from ansible_collections.vfio.migration.plugins.module_utils._guard import WorkerError
from ansible_collections.vfio.migration.plugins.module_utils._jobs import Job
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerError, LedgerFile
from ansible_collections.vfio.migration.plugins.module_utils._mdevs import Found, MdevError, Mdevs
from ansible_collections.vfio.migration.plugins.module_utils._model import LedgerEntry
from ansible_collections.vfio.migration.plugins.module_utils._order import Order, Wish
from ansible_collections.vfio.migration.plugins.module_utils._workloads import Users


class Keeper:
    """Keeps the instances of one host. In check mode nothing is changed."""

    def __init__(self, mdevs: Mdevs, ledger: LedgerFile, order: Order, check_mode: bool) -> None:
        self.mdevs = mdevs
        self.guard = mdevs.reader.guard
        self.ledger = ledger
        self.order = order
        self.check_mode = check_mode
        self.boot_id = _reader.boot_id(mdevs.reader.options.proc_root)
        self._definitions: t.Optional[t.Dict[_mdevctl.Place, _mdevctl.Definition]] = None
        self._defined: t.Dict[str, _mdevctl.Definition] = {}
        self._users: t.Optional[Users] = None

    @contextlib.contextmanager
    def told(self) -> t.Iterator[None]:
        """What breaks beneath one instance ends its workload, and loses nothing of what was done for the others."""
        try:
            yield
        except LedgerError as exc:
            raise MdevError("ledger", str(exc)) from None
        except WorkerError as exc:
            # The next operation gets a new process.
            self.guard.close()
            raise MdevError("worker", str(exc)) from None

    def users(self) -> Users:
        """Who was running when the decisions began. Each removal looks again."""
        if self._users is None:
            self._users = self.mdevs.users()
        return self._users

    def entry(self, uuid: str) -> t.Optional[LedgerEntry]:
        """What the ledger says, unless a reboot has ended it: only what mdevctl keeps comes back, and whatever stands
        there otherwise is not what we made."""
        entry = self.ledger.get(uuid)
        if entry is not None and entry["boot_id"] != self.boot_id and not entry["persist"]:
            return None
        return entry

    def check_holders(self, found: Found, workload: t.Optional[str], users: t.Optional[Users] = None) -> None:
        """Raises ``MdevError`` when somebody besides the workload holds what it is to get (now, or among ``users``)."""
        try:
            self.mdevs.check_free(found, users)
        except MdevError as problem:
            if not problem.holders or any(one["workload"] != workload for one in problem.holders):
                raise

    def may_appear(self, uuid: str) -> bool:
        """Whether an earlier run may have left the driver at this one: announced in this boot, never finished, and not
        long ago."""
        entry = self.entry(uuid)
        if entry is None or entry["state"] != "creating":
            return False
        options = self.mdevs.reader.options
        return _age(entry) < options.deadline + self.mdevs.bind_timeout * (len(self.order.instances) + 1)

    def pending(self, what: object, uuid: str) -> MdevError:
        """Forgetting it now would leave it to nobody."""
        entry = self.ledger.get(uuid)
        since = entry["time"] if entry is not None else "?"
        return MdevError(
            "pending",
            "%s is not there, but the driver may still be making it since %s; it stays in the ledger, run again later"
            % (what, since),
        )

    def defined(self) -> t.Dict[str, _mdevctl.Definition]:
        """What mdevctl keeps, by UUID, and what this run has it keep. Raises ``MdevError``."""
        self._all_defined()
        return self._defined

    def _all_defined(self) -> t.Dict[_mdevctl.Place, _mdevctl.Definition]:
        """What mdevctl keeps, asked once and only where something is, or is to be, kept. Raises ``MdevError``."""
        if self._definitions is None:
            try:
                self._definitions = _mdevctl.definitions(self.guard)
            except _mdevctl.MdevctlError as exc:
                raise MdevError("mdevctl", str(exc)) from None
            self._defined = {uuid: definition for (_parent, uuid), definition in self._definitions.items()}
        return self._definitions

    def look(self, job: Job) -> t.Optional[LedgerEntry]:
        """What there is of a job's instance, and what the ledger says of it. Raises ``MdevError``."""
        if self.order.persist:
            self._check_kept(job.wish)
        entry = self.entry(job.uuid)
        job.found = self.mdevs.find(job.uuid)
        job.before = job.place(owner(entry)) if job.found is not None else None
        return entry

    def _check_kept(self, wish: Wish) -> None:
        """A definition that is there already has to bring back what is wanted."""
        definition = self._all_defined().get((str(wish.parent), wish.uuid))
        wanted = _mdevctl.wanted(str(wish.parent), str(wish.type), wish.attributes)
        if definition is None or definition.type != wanted.type or definition == wanted:
            return
        if definition.start != wanted.start:
            how = "with start: %s, so it would not come back by itself" % definition.start
        else:
            how = "with other attributes: %s" % (_words(definition.attributes) or "none")
        raise MdevError(
            "defined_differently", "%s: mdevctl has it defined %s; undefine it there and run again" % (wish, how)
        )

    def take_away(self, found: Found) -> None:
        """Announce, remove, forget. Raises ``MdevError``."""
        entry = self.entry(found.uuid)
        if entry is not None and entry["state"] != "removing":
            self.mdevs.check_free(found)
            self.ledger.put(t.cast(LedgerEntry, dict(entry, state="removing")))
        try:
            self.mdevs.remove(found)
        except MdevError as problem:
            # What was refused was not begun. What hangs may still go.
            if entry is not None and problem.reason not in ("hung", "deadline"):
                state = "creating" if entry["state"] == "creating" else "created"
                self.ledger.put(t.cast(LedgerEntry, dict(entry, state=state)))
            raise
        self.forget(found.uuid)

    def forget(self, uuid: str) -> None:
        """Out of mdevctl, if what we put there is still there, and out of the ledger. Raises ``MdevError``."""
        entry = self.ledger.get(uuid)
        if entry is None:
            return
        if entry["persist"]:
            self._undefine(entry)
        self.ledger.drop(uuid)

    def _undefine(self, entry: LedgerEntry) -> None:
        """Another parent's or another type's definition is somebody else's, whatever its UUID."""
        looked_before = self._definitions is not None
        if looked_before and not self._keeps_ours(entry):
            # A call of this run may have defined it since, even one that failed.
            self._definitions = None
        if not self._keeps_ours(entry):
            return
        try:
            _mdevctl.undefine(self.guard, entry["uuid"], entry["parent"])
        except _mdevctl.MdevctlError as exc:
            self._definitions = None
            raise MdevError("mdevctl", "instance %s is still defined: %s" % (entry["uuid"], exc)) from None
        self._all_defined().pop((entry["parent"], entry["uuid"]), None)
        self._defined.pop(entry["uuid"], None)

    def _keeps_ours(self, entry: LedgerEntry) -> bool:
        definition = self._all_defined().get((entry["parent"], entry["uuid"]))
        return definition is not None and definition.type == entry["type"]


def _words(attributes: t.Iterable[t.Tuple[str, str]]) -> str:
    return ", ".join("%s=%s" % pair for pair in attributes)


def _age(entry: LedgerEntry) -> float:
    """Seconds since it was announced. A clock that was set back in between says nothing."""
    return abs(time.time() - calendar.timegm(time.strptime(entry["time"], "%Y-%m-%dT%H:%M:%SZ")))


def is_entry(found: Found, entry: LedgerEntry) -> bool:
    """A type that the kernel does not tell (its driver hangs) is no reason to call it another instance."""
    return (found.parent, found.type or entry["type"]) == (entry["parent"], entry["type"])


def owner(entry: t.Optional[LedgerEntry]) -> t.Optional[str]:
    return "%s: %s" % (entry["plan"], entry["workload"]) if entry is not None else None
