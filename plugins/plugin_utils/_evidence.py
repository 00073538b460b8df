# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep what a host's drivers answered in earlier runs.

This file is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Snapshot, Timestamp, Verdict, VerdictSet
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import check

KEPT: t.Final = 30 * 86400
"""Seconds for which an answer is kept that nobody asks for again."""


def merge(earlier: object, latest: VerdictSet, snapshot: object, now: Timestamp) -> VerdictSet:
    """``latest`` and whatever ``earlier`` knows beyond it. A reboot ends everything earlier, and what a cache spoiled
    is as good as nothing. A question that check mode did not put leaves the earlier answer alone. Order: earlier
    first, each verdict once.

    :arg snapshot: of the same host; what was asked of nodes that it does not have any more is dropped.
    :arg now: time of the controller, of which the latest answers are from here on: ages are reckoned by its clock,
        and a host's own may be years off.
    """
    latest = {**latest, "time": now, "verdicts": [_dated(verdict, now) for verdict in latest["verdicts"]]}
    if not earlier or check(VerdictSet, earlier, "earlier"):
        return latest
    known = t.cast(VerdictSet, earlier)
    if _rebooted(known, latest):
        return latest
    there = _there(snapshot)
    kept = [
        verdict
        for verdict in known["verdicts"]
        if _clock.within(verdict["evidence"]["time"], KEPT, now) and (there is None or _node(verdict) in there)
    ]
    return _merged(kept, latest)


def _dated(verdict: Verdict, now: Timestamp) -> Verdict:
    return {**verdict, "evidence": {**verdict["evidence"], "time": now}}


def _there(snapshot: object) -> set[tuple[str | None, ...]] | None:
    """The nodes of a host; None when that is not known."""
    if not snapshot or check(Snapshot, snapshot, "snapshot"):
        return None
    known = t.cast(Snapshot, snapshot)
    types = {(parent["address"], each["id"], None) for parent in known["parents"] for each in parent["types"]}
    return {*types, *((None, None, device["id"]) for device in known["devices"])}


def _merged(earlier: list[Verdict], latest: VerdictSet) -> VerdictSet:
    found = {_key(verdict): verdict for verdict in earlier}
    for verdict in latest["verdicts"]:
        if verdict["reason"] != "check_mode":
            found[_key(verdict)] = verdict
        else:
            found.setdefault(_key(verdict), verdict)
    return {**latest, "verdicts": list(found.values())}


def _rebooted(earlier: VerdictSet, latest: VerdictSet) -> bool:
    return earlier["boot_id"] is None or earlier["boot_id"] != latest["boot_id"]


def _node(verdict: Verdict) -> tuple[str | None, ...]:
    if verdict["scope"] == "device":
        return (None, None, verdict["device"])
    return (verdict["parent"], verdict["type"], None)


def _key(verdict: Verdict) -> tuple[t.Any, ...]:
    return (verdict["scope"], *_node(verdict), verdict["string"], verdict["vendor"], verdict["source_type"])
