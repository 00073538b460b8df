# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts of a rolling maintenance are out together, when the operator only says how many.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Kind, Problem


class Offers:
    """What a fleet should never be without: hosts that take a string, hosts of a failure domain."""

    def __init__(self, problem: Problem) -> None:
        needed = frozenset(need for vm in problem.vms for need in vm.needs)
        takes = [_takes(kind) & needed for kind in problem.kinds]
        seen: dict[frozenset[int], frozenset[int]] = {}
        self._of: list[tuple[t.Hashable, ...]] = []
        for host in problem.hosts:
            kinds = frozenset(parent.kind for parent in host.parents)
            if kinds not in seen:
                seen[kinds] = frozenset[int]().union(*(takes[kind] for kind in kinds))
            self._of.append((*sorted(seen[kinds]), host.domain))
        self._total = collections.Counter(offer for offers in self._of for offer in offers)

    def batch(self, hosts: t.Iterable[int], size: int) -> list[int]:
        """The first hosts of these without any offer being out altogether; what one host alone offers cannot be
        kept. At least one host, ascending."""
        out: collections.Counter[t.Hashable] = collections.Counter()
        chosen: list[int] = []
        for host in hosts:
            if len(chosen) == size:
                break
            if all(out[offer] + 1 < max(2, self._total[offer]) for offer in self._of[host]):
                chosen.append(host)
                out.update(self._of[host])
        return sorted(chosen)


def _takes(kind: Kind) -> frozenset[int]:
    return frozenset[int]().union(*(seat.yes | seat.maybe for seat in kind.seats))
