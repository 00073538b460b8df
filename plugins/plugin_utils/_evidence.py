# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep what a host's drivers answered in earlier runs.

This file is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Verdict, VerdictSet
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import check


def merge(earlier: object, latest: VerdictSet) -> VerdictSet:
    """``latest`` and whatever ``earlier`` knows beyond it. A reboot ends everything earlier, and what a cache spoiled
    is as good as nothing. A question that check mode did not put leaves the earlier answer alone. Order: earlier
    first, each verdict once."""
    if not earlier or check(VerdictSet, earlier, "earlier"):
        return latest
    known = t.cast(VerdictSet, earlier)
    return latest if _rebooted(known, latest) else _merged(known, latest)


def _merged(earlier: VerdictSet, latest: VerdictSet) -> VerdictSet:
    found = {_key(verdict): verdict for verdict in earlier["verdicts"]}
    for verdict in latest["verdicts"]:
        if verdict["reason"] != "check_mode":
            found[_key(verdict)] = verdict
        else:
            found.setdefault(_key(verdict), verdict)
    return {**latest, "verdicts": list(found.values())}


def _rebooted(earlier: VerdictSet, latest: VerdictSet) -> bool:
    return earlier["boot_id"] is None or earlier["boot_id"] != latest["boot_id"]


def _key(verdict: Verdict) -> tuple[t.Any, ...]:
    return (
        verdict["scope"],
        verdict["parent"] if verdict["scope"] == "type" else None,
        verdict["type"] if verdict["scope"] == "type" else None,
        verdict["device"],
        verdict["string"],
        verdict["vendor"],
        verdict["source_type"],
    )
