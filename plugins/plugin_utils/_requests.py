# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which strings each host has to be asked.

The work grows with hosts, nodes and distinct strings: strings are pooled once for the fleet, pairs of hosts or of
devices are never looked at.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Name, Request, Scope, Timestamp, Verdict
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import require
from ansible_collections.vfio.migration.plugins.plugin_utils._nodes import (
    Facts,
    Host,
    Node,
    NodeKey,
    expired,
    load,
    nodes,
    verdicts,
)

_SETTLED = frozenset({"too_long", "empty", "not_ascii", "short_write"})
"""Reasons of an unknown answer that lie in the string: asking again changes nothing."""


class _Options(t.TypedDict):
    max_age: int
    now: Timestamp


@dataclasses.dataclass
class _Origin:
    """Where a string was read."""

    host: str | None
    """The only host that has it; None when there are more, so that every host is asked."""
    type: str | None
    """mdev type of its sources; None when they differ or have none."""


_Pools = dict[tuple[Scope, str, str | None], dict[str, _Origin]]


def probe_requests(facts: Facts, max_age: int, now: str) -> dict[str, list[Request]]:
    """For every host, what to ask its nodes: never twice the same, nothing whose last answer still holds.

    :arg facts: host name -> its ansible_facts (``vfio_migration``, ``vfio_migration_verdicts``) or None.
    :arg max_age: seconds after which an answer is asked for again.
    :arg now: a Timestamp.
    :returns: host name -> requests in a stable order, for those hosts only that have to be asked anything.
    """
    require(_Options, {"max_age": max_age, "now": now})
    hosts = load(facts)
    pools = _pools(hosts)
    requests = ((host.name, _host_requests(host, pools, max_age, now)) for host in hosts)
    return {name: asked for name, asked in requests if asked}


def _pools(hosts: t.Iterable[Host]) -> _Pools:
    pools: _Pools = {}
    for host in hosts:
        for node in nodes(host):
            string = node.string
            if string is None:
                continue
            pool = pools.setdefault(node.pool, {})
            origin = pool.get(string)
            if origin is None:
                pool[string] = _Origin(host.name, node.type)
                continue
            if origin.host != host.name:
                origin.host = None
            if origin.type != node.type:
                origin.type = None
    return {key: dict(sorted(pool.items())) for key, pool in pools.items()}


def _host_requests(host: Host, pools: _Pools, max_age: int, now: str) -> list[Request]:
    known = verdicts(host)
    requests = []
    for node in _asked(nodes(host)):
        answers = known.get(node.key, {})
        for string, origin in pools.get(node.pool, {}).items():
            if origin.host == host.name:
                continue
            verdict = answers.get(string)
            if verdict is None or not _settled(verdict) or expired(verdict, node, max_age, now):
                requests.append(_request(node, string, origin))
    return requests


def _asked(candidates: t.Iterable[Node]) -> t.Iterator[Node]:
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


def _settled(verdict: Verdict) -> bool:
    return verdict["verdict"] != "unknown" or verdict["reason"] in _SETTLED


def _request(node: Node, string: str, origin: _Origin) -> Request:
    return Request(
        scope=node.scope,
        parent=_name(node.parent),
        type=_name(node.type),
        device=_name(node.device),
        string=string,
        vendor=node.vendor,
        source_type=_name(origin.type),
    )


def _name(value: str | None) -> Name | None:
    return None if value is None else Name(value)
