# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One instance on its way through a run, and what is reported of it.

This file is private to the collection and does no I/O.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._mdevs import Found
from ansible_collections.vfio.migration.plugins.module_utils._model import Device, Holder, LedgerEntry, Name
from ansible_collections.vfio.migration.plugins.module_utils._order import Wish

Action = t.Literal["created", "unchanged", "reused", "removed", "given_back", "rolled_back", "refused", "none"]


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
        self.begun = False
        """An earlier run had begun to make it, and its driver may still be at it."""
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


class Done(t.NamedTuple):
    """A workload that was dealt with; ``reason`` and ``msg`` when it is not as it should be."""

    workload: t.Optional[str]
    jobs: t.Sequence[Job]
    reason: t.Optional[str] = None
    msg: t.Optional[str] = None

    @property
    def ok(self) -> bool:
        return self.reason is None
