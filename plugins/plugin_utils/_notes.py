# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots and verdicts -> what hosts noted: what was dropped or is not known there, and why.

What many hosts note in the same words is one line that lists them, so that notes stay readable on a large fleet.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model

ITEMS: t.Final = 20
"""So many things are named in one line; a driver that hangs takes every device of a host with it."""


class Noted(t.TypedDict):
    """One note, and everybody who has it."""

    reason: str
    """The code of the note."""
    detail: str
    hosts: list[str]
    items: list[str]
    """What it is about, each once, at most ``ITEMS``."""
    count: int
    """How many different things it is about."""


def collect(
    snapshots: t.Mapping[str, _model.Snapshot], verdicts: t.Mapping[str, _model.VerdictSet] | None = None
) -> list[Noted]:
    """All notes of a fleet, those of most hosts first, in a stable order."""
    found: dict[tuple[str, str], dict[str, set[str]]] = {}
    for facts in (snapshots, verdicts or {}):
        for host, own in facts.items():
            for note in own["notes"]:
                found.setdefault((note["reason"], note["detail"]), {}).setdefault(note["item"], set()).add(host)
    noted = [_noted(reason, detail, items) for (reason, detail), items in found.items()]
    return sorted(noted, key=lambda one: (-len(one["hosts"]), one["reason"], one["hosts"], one["detail"]))


def _noted(reason: str, detail: str, items: t.Mapping[str, set[str]]) -> Noted:
    """What most hosts name comes first."""
    ranked = sorted(items, key=lambda item: (-len(items[item]), item))
    hosts = sorted(set().union(*items.values()))
    return Noted(reason=reason, detail=detail, hosts=hosts, items=ranked[:ITEMS], count=len(ranked))
