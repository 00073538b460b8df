# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One instance on its way through a run, and what is reported of it.

This file is private to the collection and does no I/O.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._mdevs import Found
from ansible_collections.vfio.migration.plugins.module_utils._model import (
    Device,
    DeviceAttribute,
    Holder,
    LedgerEntry,
    Name,
)
from ansible_collections.vfio.migration.plugins.module_utils._order import Wish

Action = t.Literal[
    "created", "replaced", "unchanged", "reused", "removed", "given_back", "rolled_back", "refused", "none"
]


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
    attributes: t.Optional[t.List[DeviceAttribute]]
    """Null where nobody can tell what was written to it."""


class Report(t.NamedTuple):
    """The outcome for the whole host. ``before`` and ``after`` name the instances concerned that exist."""

    changed: bool
    workloads: t.List[WorkloadResult]
    ledger: t.List[LedgerEntry]
    before: t.List[Place]
    after: t.List[Place]


class Job:
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
        self.leaving = False
        """What is there, or is kept in mdevctl, is taken away before it is made."""
        self.lost = False
        """What was there was taken away for it."""
        self.instead: t.Optional[LedgerEntry] = None
        """What an earlier run took for it and does not fit any more; it is given back."""

    @property
    def makes(self) -> bool:
        return self.action in ("created", "replaced")

    def place(self, entry: t.Optional[LedgerEntry]) -> Place:
        """Where it stands, by what the ledger says of it."""
        return self._place(owner(entry), None if entry is None or entry["reused"] else entry["attributes"])

    def _place(self, whose: t.Optional[str], attributes: t.Optional[t.List[DeviceAttribute]]) -> Place:
        result = self.result(None)
        return {
            "uuid": self.uuid,
            "parent": result["parent"],
            "type": result["type"],
            "owner": whose,
            "attributes": attributes,
        }

    def places_before(self) -> t.Iterator[Place]:
        if self.instead is not None:
            yield _taken(self.instead, owner(self.instead))
        if self.before is not None:
            yield self.before

    def places_after(self, whose: str) -> t.Iterator[Place]:
        """Where it stands in the end; ``whose`` is the order's owner."""
        if self.instead is not None:
            failed = self.action in ("refused", "none")
            yield _taken(self.instead, owner(self.instead) if failed else None)
        if self.makes:
            yield self._place(whose, self.wish.attributes)
        elif self.action == "reused":
            yield self._place(whose, None)
        elif self.before is not None and self.action == "given_back":
            yield self._place(None, None)
        elif self.before is not None and self.action == "unchanged" and self.before["owner"] is not None:
            yield self._place(whose, self.before["attributes"])
        elif self.before is not None and self.action != "removed" and not self.lost:
            yield self.before

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


def owner(entry: t.Optional[LedgerEntry]) -> t.Optional[str]:
    """Plan and workload in one, for people."""
    return "%s: %s" % (entry["plan"], entry["workload"]) if entry is not None else None


def _taken(entry: LedgerEntry, whose: t.Optional[str]) -> Place:
    return {
        "uuid": entry["uuid"],
        "parent": entry["parent"],
        "type": entry["type"],
        "owner": whose,
        "attributes": None,
    }


Groups = t.Sequence[t.Tuple[t.Optional[str], t.Sequence[Wish]]]
"""Wishes by workload. Those of no workload stand each for itself."""


class Done(t.NamedTuple):
    """A workload that was dealt with; ``reason`` and ``msg`` when it is not as it should be."""

    workload: t.Optional[str]
    jobs: t.Sequence[Job]
    reason: t.Optional[str] = None
    msg: t.Optional[str] = None

    @property
    def ok(self) -> bool:
        return self.reason is None
