# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is asked, and what: the one rule for both asking and reading the answers.

What is not asked any more is not missed either, or an old answer would count as expired for ever.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Name
from ansible_collections.vfio.migration.plugins.plugin_utils._nodes import Host, Node, NodeKey, PoolKey, strings


@dataclasses.dataclass
class Origin:
    """Where a string was read."""

    host: str | None
    """The only host that has it; None when there are more, so that every host is asked."""
    type: Name | None
    """mdev type of its sources; None when they differ or have none."""

    def asks(self, host: str) -> bool:
        """Whether a host is asked this string: not what it alone produces."""
        return self.host != host


Pools = dict[PoolKey, dict[str, Origin]]
"""All strings that nodes of one pool may be asked, sorted."""


def pools(hosts: t.Iterable[Host]) -> Pools:
    """Each string of a fleet once."""
    found: Pools = {}
    for host in hosts:
        for key, kind_of, string in strings(host):
            origin = found.setdefault(key, {}).setdefault(string, Origin(host.name, kind_of))
            if origin.host != host.name:
                origin.host = None
            if origin.type != kind_of:
                origin.type = None
    return {key: dict(sorted(pool.items())) for key, pool in found.items()}


def asked(candidates: t.Iterable[Node]) -> list[Node]:
    """The nodes that are asked, each once, in a stable order: types, then devices."""
    found = to_ask(candidates)
    return [found[key] for key in sorted(found, key=_order)]


def to_ask(candidates: t.Iterable[Node]) -> dict[NodeKey, Node]:
    """The nodes that are asked: types, devices that may receive, and one of each parent and type in use."""
    unique = {node.key: node for node in candidates if node.can_be_asked}
    # A device in use is no target now, but one of them tells whether the type node lies.
    busy: dict[tuple[Name | None, Name | None], list[NodeKey]] = {}
    spoken_for = set()
    for key, node in unique.items():
        if node.scope == "device":
            if node.kind == "mdev" and node.free is False:
                busy.setdefault((node.parent, node.type), []).append(key)
            else:
                spoken_for.add((node.parent, node.type))
    for place, keys in busy.items():
        speaker = None if place in spoken_for else min(keys, key=_order)
        for key in keys:
            if key != speaker:
                del unique[key]
    return unique


def _order(key: NodeKey) -> tuple[bool, str, str, str, str]:
    parent, kind_of, device, vendor = key
    return (device is not None, parent or "", kind_of or "", device or "", vendor)
