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
from ansible_collections.vfio.migration.plugins.plugin_utils._nodes import Host, Node, NodeKey, PoolKey, nodes


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
        for node in nodes(host):
            string = node.string
            if string is None:
                continue
            pool = found.setdefault(node.pool, {})
            origin = pool.get(string)
            if origin is None:
                pool[string] = Origin(host.name, node.type)
                continue
            if origin.host != host.name:
                origin.host = None
            if origin.type != node.type:
                origin.type = None
    return {key: dict(sorted(pool.items())) for key, pool in found.items()}


def asked(candidates: t.Iterable[Node]) -> t.Iterator[Node]:
    """Each node once, in a stable order: types, devices that may receive, and one of each parent and type in use."""
    unique = {node.key: node for node in candidates if node.can_be_asked}
    ordered = [unique[key] for key in sorted(unique, key=_order)]
    # A device in use is no target now, but one of them tells whether the type node lies.
    spoken_for = {(node.parent, node.type) for node in ordered if node.scope == "device" and node.free is not False}
    for node in ordered:
        if node.scope == "device" and node.kind == "mdev" and node.free is False:
            if (node.parent, node.type) in spoken_for:
                continue
            spoken_for.add((node.parent, node.type))
        yield node


def _order(key: NodeKey) -> tuple[str, ...]:
    scope, *names = key
    return (str(scope != "type"), *(name or "" for name in names))
