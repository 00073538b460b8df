# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maximum flow on merged classes: a bound that needs no library.

This file is private to the collection and pure.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Problem


class Limits(t.NamedTuple):
    """What no solution can do better."""

    hosts: int
    vms: int


def flow_bound(problem: Problem) -> Limits:
    """Upper bounds on the hosts emptied and on the VMs placed, each for itself."""
    raise NotImplementedError
