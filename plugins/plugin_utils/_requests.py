# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which strings each host has to be asked.

The work grows with hosts, nodes and distinct strings: strings are pooled once for the fleet, pairs of hosts or of
devices are never looked at.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Request, Timestamp, Verdict
from ansible_collections.vfio.migration.plugins.plugin_utils import _asking
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import Seconds, require
from ansible_collections.vfio.migration.plugins.plugin_utils._nodes import (
    Facts,
    Host,
    Node,
    answers,
    expired,
    latest,
    load,
    nodes,
)

_SETTLED = frozenset({"too_long", "empty", "not_ascii", "short_write"})
"""Reasons of an unknown answer that lie in the string: asking again changes nothing."""


class _Options(t.TypedDict):
    max_age: Seconds
    now: Timestamp


def probe_requests(facts: Facts, max_age: int, now: str) -> dict[str, list[Request]]:
    """For every host, what to ask its nodes: never twice the same, nothing whose last answer still holds.

    :arg facts: host name -> its ansible_facts (``vfio_migration``, ``vfio_migration_verdicts``) or None.
    :arg max_age: seconds after which an answer is asked for again.
    :arg now: a Timestamp.
    :returns: host name -> requests in a stable order, for those hosts only that have to be asked anything.
    """
    require(_Options, {"max_age": max_age, "now": now})
    hosts = load(facts)
    pools = _asking.pools(hosts)
    requests = ((host.name, _host_requests(host, pools, max_age, now)) for host in hosts)
    return {name: asked for name, asked in requests if asked}


def _host_requests(host: Host, pools: _asking.Pools, max_age: int, now: str) -> list[Request]:
    known = answers(host)
    requests = []
    for node in _asking.asked(nodes(host)):
        said = latest(known.get(node.key, ()))
        for string, origin in pools.get(node.pool, {}).items():
            if not origin.asks(host.name):
                continue
            verdict = said.get(string)
            if verdict is None or not _settled(verdict) or expired(verdict, node, max_age, now):
                requests.append(_request(node, string, origin))
    return requests


def _settled(verdict: Verdict) -> bool:
    return verdict["verdict"] != "unknown" or verdict["reason"] in _SETTLED


def _request(node: Node, string: str, origin: _asking.Origin) -> Request:
    return Request(
        scope=node.scope,
        parent=node.parent,
        type=node.type,
        device=node.device,
        string=string,
        vendor=node.vendor,
        source_type=origin.type,
    )
