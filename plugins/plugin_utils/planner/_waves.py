# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The moves of one batch, wave after wave.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._ground import Step


def waves(steps: t.Sequence[Step], emptied: t.Collection[int], concurrent: int | None) -> list[list[Step]]:
    """At most ``concurrent`` moves in each wave, all in one without that limit.

    Hosts are emptied one after the other, those with the fewest VMs first, so that the maintenance of the first can
    begin early; those that will not be empty come last. No target is drained in its own batch, and what a move takes
    does not depend on the moves before it: every beginning of the list is valid for the capacity. A host takes its
    incoming VMs in any wave, for that limit counts within the batch.
    """
    count = collections.Counter(step.source for step in steps)
    order = sorted(steps, key=lambda step: (step.source not in emptied, count[step.source], step.source, step.vm))
    size = concurrent or max(1, len(order))
    return [order[first : first + size] for first in range(0, len(order), size)]
