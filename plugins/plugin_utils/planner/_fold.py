# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots, pairings and policy -> a problem in numbers, and the way back from its numbers to names.

This file is private to the collection and pure.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import (
    Note,
    Pairings,
    SourceClass,
    Stopped,
    Stuck,
    TargetClass,
)
from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._capacity import Room
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import Policy
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Left, Problem


@dataclasses.dataclass(frozen=True)
class Folded:
    """A problem and what its numbers mean."""

    problem: Problem
    """``hosts``: every host of the inventory in order of names, those that nobody reached without parents. With
    ``policy.drain`` it is ready to be solved: those hosts are drained, and ``vms`` are what is on them. Of a rolling
    maintenance nobody is drained yet: every host is a target, and ``vms`` are all that some batch will move."""
    sources: tuple[SourceClass, ...]
    """By need."""
    targets: tuple[TargetClass, ...]
    """By the numbers of ``seats``."""
    seats: tuple[tuple[tuple[int, ...], ...], ...]
    """Host, index of its parents, seat -> index of ``targets``. (Kinds are merged across target classes that take the
    same needs, so the class belongs to the parent, not to the kind.)"""
    rooms: t.Mapping[tuple[str, str], Room]
    """Host and parent -> its room by its whole model, for the capacity records of a plan."""
    names: tuple[str | None, ...]
    """Name of each VM."""
    stuck: tuple[Stuck, ...]
    """Workloads that are not in ``vms``: skipped, or of which nothing is known to ask a driver."""
    stopped: tuple[Stopped, ...]
    notes: tuple[Note, ...]
    homes: t.Mapping[tuple[int, str], tuple[int, int]]
    """Host and device of a VM -> index of Host.parents and seat that it gives back when it leaves. Not in it: what
    stands on a parent that no need can use."""

    def target(self, host: int, parent: int, seat: int) -> TargetClass:
        """The class of a seat, to look up its pairings."""
        return self.targets[self.seats[host][parent][seat]]

    def left_after(self, host: int, gone: t.Collection[str]) -> tuple[Left, ...]:
        """What is left of each of its parents when these devices of its VMs have gone: between left and full."""
        raise NotImplementedError


def fold(pairings: Pairings, hosts: t.Sequence[_nodes.Host], policy: Policy) -> Folded:
    """What the search works on."""
    raise NotImplementedError
