# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search of the standard library: always a valid solution, never a proof.

This file is private to the collection and pure.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Problem, Solution


class Contention(t.NamedTuple):
    """Who has what a VM that stays would need."""

    rivals: tuple[int, ...]
    """Placed VMs that sit where it could go, ascending."""
    hosts: tuple[int, ...]
    """Hosts where one more seat for one of ``needs`` may free it, some only after others made way; ascending."""
    needs: tuple[int, ...]
    """Its own needs and those of the VMs that could make way for it, ascending."""


def solve(problem: Problem, start: Solution | None = None) -> Solution:
    """A good solution; with a start at least as good as that, which must be valid."""
    raise NotImplementedError


def contention(problem: Problem, solution: Solution, vm: int) -> Contention:
    """Why this VM, which is compatible with something, found no place."""
    raise NotImplementedError


class Trial:
    """Asks many times what one change would do to one solution. Nothing is kept between two questions."""

    def __init__(self, problem: Problem, solution: Solution) -> None:
        raise NotImplementedError

    def can_place(self, vm: int, changed: Problem | None = None) -> Solution | None:
        """The solution with this VM placed too and all others still placed; None when none was found.

        ``changed`` is the problem with some hosts replaced and with kinds appended, all else the same objects:
        only the hosts that were replaced cost anything.
        """
        raise NotImplementedError


def can_place(problem: Problem, solution: Solution, vm: int) -> Solution | None:
    """As Trial.can_place, for one question."""
    return Trial(problem, solution).can_place(vm)
