# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What making and taking back have in common: the ledger, mdevctl, and taking an instance away.

This file is private to the collection.
"""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _mdevctl, _reader
from ansible_collections.vfio.migration.plugins.module_utils._guard import WorkerError
from ansible_collections.vfio.migration.plugins.module_utils._jobs import Job
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerError, LedgerFile
from ansible_collections.vfio.migration.plugins.module_utils._mdevs import Found, MdevError, Mdevs
from ansible_collections.vfio.migration.plugins.module_utils._model import LedgerEntry
from ansible_collections.vfio.migration.plugins.module_utils._order import Order
from ansible_collections.vfio.migration.plugins.module_utils._workloads import Users

_PAUSE = 0.02


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
        self._users: t.Optional[Users] = None
        self._patience: t.Optional[float] = None

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

    def busy(self, uuid: str) -> t.Optional[MdevError]:
        """Why nothing can be said of an instance yet: a process is still at work on it, waiting for the driver."""
        claim = self.mdevs.claims.of(uuid)
        pid = claim.holder()
        while pid is not None and self._has_patience():
            self.guard.pause(_PAUSE)
            pid = claim.holder()
        if pid is None:
            return None
        return MdevError(
            "pending",
            "instance %s: %s of this run, or of an earlier one, is still at work on it and waits for the driver, so it "
            "is left as it is; run again later, and look at the kernel log of the host if that never ends"
            % (uuid, "process %d" % pid if pid else "a process"),
        )

    def _has_patience(self) -> bool:
        """As long as for a driver, but once for all instances."""
        if self._patience is None:
            self._patience = time.monotonic() + self.mdevs.bind_timeout
        return not self.check_mode and self.guard.time_left > 0 and time.monotonic() < self._patience

    def definitions(self) -> t.Dict[_mdevctl.Place, _mdevctl.Definition]:
        """What mdevctl keeps, asked once and only where something is, or is to be, kept, and what this run has it keep.
        Raises ``MdevError``."""
        if self._definitions is None:
            try:
                self._definitions = _mdevctl.definitions(self.guard)
            except _mdevctl.MdevctlError as exc:
                raise MdevError("mdevctl", str(exc)) from None
        return self._definitions

    def look_for(self, uuids: t.Sequence[str]) -> None:
        """Look at many at once, after waiting for whoever is at work on one of them, see ``look``."""
        self.mdevs.look_for([uuid for uuid in uuids if self.busy(uuid) is None])

    def look(self, job: Job) -> t.Optional[LedgerEntry]:
        """What there is of a job's instance, and what the ledger says of it. Raises ``MdevError``."""
        # First, because what comes of it is there, or is not, only when that is done.
        busy = self.busy(job.uuid)
        entry = self.entry(job.uuid)
        job.found = self.mdevs.find(job.uuid)
        job.before = job.place(entry) if job.found is not None else None
        if busy is not None and job.found is not None:
            # A removal waits for whoever holds it, and that is the better news.
            self.mdevs.check_free(job.found, self.users())
        if busy is not None:
            raise busy
        return entry

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
            _mdevctl.undefine(self.guard, entry["uuid"], entry["parent"], self.mdevs.claims.of(entry["uuid"]))
        except _mdevctl.MdevctlError as exc:
            self._definitions = None
            raise MdevError("mdevctl", "instance %s is still defined: %s" % (entry["uuid"], exc)) from None
        self.definitions().pop((entry["parent"], entry["uuid"]), None)

    def _keeps_ours(self, entry: LedgerEntry) -> bool:
        definition = self.definitions().get((entry["parent"], entry["uuid"]))
        return definition is not None and definition.type == entry["type"]


def is_entry(found: Found, entry: LedgerEntry) -> bool:
    """A type that the kernel does not tell (its driver hangs) is no reason to call it another instance."""
    return (found.parent, found.type or entry["type"]) == (entry["parent"], entry["type"])
