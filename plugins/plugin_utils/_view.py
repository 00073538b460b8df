# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report -> the data of the HTML page, small enough for a thousand hosts.

Rows are arrays, and each text stands in ``words`` once; rows have its number. ``report_page/page.js`` reads them in
the order in which they are written here. Every text passes ``plain``: a page shows it as text anyway, but a person
shall see control characters instead of what they do.

This file is private to the collection and pure.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import (
    _itinerary,
    _notes,
    _overview,
    _readiness,
    _reasons,
    _report,
)

Row = list[t.Any]

NOTES: t.Final = 2000
"""Notes in the page, those of most hosts first; a fleet has more only when every host has some of its own."""

LONG: t.Final = 5000
"""Characters of a text that are shown; a migration string has at most 4,096 bytes."""

ANSWERS: t.Final = ("yes", "full", "room?", "?", "no", "own")
ALL_STATES: t.Final = ("ready", "no_room", "unknown", "blocked", "idle", "lost")
WARNINGS: t.Final[dict[str, str]] = {
    "no_way_back": "the move can not be undone: nothing that the target produces is taken back",
    "inconsistent": "type node and device nodes disagree; the device nodes are believed",
    "expired": "the answer expired",
}


class View(t.TypedDict):
    """What the page is made of."""

    time: str
    partial: bool
    counts: dict[str, dict[str, int]]
    """Hosts by how they can be emptied, VMs and devices by how they can leave."""
    words: list[str]
    advice: list[int]
    hosts: list[Row]
    items: list[Row]
    """VMs and devices."""
    sources: list[Row]
    targets: list[Row]
    pairs: list[Row]
    blocks: list[Row]
    capacity: list[Row]
    plan: dict[str, t.Any] | None
    findings: list[Row]
    notes: list[Row]
    unshown: int
    """Notes that are left out."""


class Words:
    """Each text once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str | None, limit: int = LONG) -> int:
        """Its number; that of nothing is that of the empty text."""
        shown = _report.plain(text, limit) if text else ""
        return self._numbers.setdefault(shown, len(self._numbers))

    def all(self, texts: t.Iterable[str]) -> list[int]:
        return [self(text) for text in texts]

    @property
    def texts(self) -> list[str]:
        return list(self._numbers)


def build(report: _report.Report) -> View:
    """All that the page shows."""
    words = Words()
    pairings, plan = report["pairings"], report["plan"]
    drains = [one["state"] for one in report["drains"]]
    targets = [one for one in pairings["targets"] if not _report.taken(one)]
    places = {one["id"]: number for number, one in enumerate(pairings["sources"])}
    columns = {one["id"]: number for number, one in enumerate(targets)}
    return View(
        time=_report.plain(pairings["time"]),
        partial=pairings["partial"],
        counts={
            "hosts": {state: drains.count(state) for state in ALL_STATES},
            "VMs": report["summary"]["workloads"],
            "devices": report["summary"]["devices"],
        },
        advice=words.all(_report.advice(report)),
        hosts=_hosts(report, words),
        items=_items(report, words),
        sources=[_source(one, report, words) for one in pairings["sources"]],
        targets=[_target(one, words) for one in targets],
        pairs=_pairs(pairings, places, columns, targets, words),
        blocks=_blocks(pairings, places, columns, words),
        capacity=[_usage(one, words) for one in report["capacity"]],
        plan=_plan(plan, words) if plan else None,
        findings=_findings(pairings["findings"], words),
        notes=[_noted(one, words) for one in report["notes"][:NOTES]],
        unshown=max(0, len(report["notes"]) - NOTES),
        words=words.texts,
    )


def _hosts(report: _report.Report, words: Words) -> list[Row]:
    """The worst first."""
    both = zip(report["pairings"]["hosts"], report["drains"], strict=True)
    ranked = sorted(both, key=lambda pair: -_overview.DRAIN_STATES.index(pair[1]["state"]))
    return [_host(host, drain, words) for host, drain in ranked]


def _host(host: _model.HostState, drain: _overview.Drain, words: Words) -> Row:
    why = [[one["count"], words(_reasons.sentence(one["reason"], one["errno"]))] for one in drain["why"]]
    age = "" if host["age"] is None else f"{_report.span(host['age'])} old"
    return [
        words(host["host"]),
        words(host["state"]),
        words(age),
        ALL_STATES.index(drain["state"]),
        drain["leaving"],
        drain["emptied"],
        why,
        words.all(host["errors"]),
    ]


def _items(report: _report.Report, words: Words) -> list[Row]:
    """VMs first, then devices; of each the worst first."""
    rows = []
    for one in (*report["workloads"], *report["devices"]):
        vm = one["workload"] and report["names"].get((one["host"], one["workload"]), one["workload"])
        rows.append(
            [
                words(one["host"]),
                words(vm),
                words(one["device"]),
                words(one["type"]),
                ALL_STATES.index(one["state"]),
                words(_reasons.sentence(one["reason"], one["errno"]) if one["reason"] else None),
            ]
        )
    rank = {ALL_STATES.index(state): -number for number, state in enumerate(_readiness.STATES)}
    return sorted(rows, key=lambda row: (row[2] != words(None), rank[row[4]]))


def _source(one: _model.SourceClass, report: _report.Report, words: Words) -> Row:
    members = []
    for member in one["members"]:
        vm = member["workload"] and report["names"].get((member["host"], member["workload"]), member["workload"])
        members.append([words(member["host"]), words(member["parent"]), words(member["device"]), words(vm)])
    return [
        words(one["id"]),
        words(one["kind"]),
        words(one["vendor"]),
        words(one["type"]),
        words(_said(one["device_version"])),
        words(_said(one["type_version"])),
        members,
    ]


def _target(one: _model.TargetClass, words: Words) -> Row:
    members = [
        [words(member["host"]), words(member["parent"]), words(member["device"]), member["room"]]
        for member in one["members"]
    ]
    return [
        words(one["id"]),
        words("new" if one["scope"] == "type" else "existing"),
        words(one["kind"]),
        words(one["vendor"]),
        words(one["type"]),
        words(_said(one["version"])),
        members,
    ]


def _said(version: _model.Attribute | None) -> str | None:
    if version is None:
        return None
    if version["value"] is not None:
        return f'says "{version["value"]}"'
    errno = f" ({version['errno']})" if version["errno"] else ""
    return _report.says(version) + errno


def _pairs(
    pairings: _model.Pairings,
    rows: t.Mapping[str, int],
    columns: t.Mapping[str, int],
    targets: list[_model.TargetClass],
    words: Words,
) -> list[Row]:
    answers = _report.cells(pairings["pairings"], pairings["sources"], targets)
    found = []
    for one in pairings["pairings"]:
        answer = answers.get((one["source"], one["target"]))
        if answer is None or one["source"] not in rows or one["target"] not in columns:
            continue
        found.append(
            [
                rows[one["source"]],
                columns[one["target"]],
                ANSWERS.index(answer.removesuffix("*")),
                words(one["verdict"]),
                words(_reasons.sentence(one["reason"], one["errno"]) if one["reason"] else None),
                words(one["scope"]),
                words(one["way_back"]),
                words("; ".join(WARNINGS.get(warning, warning) for warning in one["warnings"])),
                words(one["asked"]),
            ]
        )
    return found


def _blocks(
    pairings: _model.Pairings, rows: t.Mapping[str, int], columns: t.Mapping[str, int], words: Words
) -> list[Row]:
    """One heat map for each type, as drivers are seldom asked across types; those with most devices first."""
    groups: dict[tuple[str, str, str], list[_model.SourceClass]] = {}
    for source in pairings["sources"]:
        groups.setdefault((source["kind"], source["type"] or "", source["vendor"]), []).append(source)
    asked: dict[str, set[str]] = {}
    for one in pairings["pairings"]:
        if one["target"] in columns and one["reason"] != "in_use":
            asked.setdefault(one["source"], set()).add(one["target"])
    targets = {one["id"]: one for one in pairings["targets"]}
    ranked = sorted(groups.items(), key=lambda group: (-sum(map(_report.device_count, group[1])), group[0]))
    blocks = []
    for (kind, mdev_type, vendor), sources in ranked:
        sources.sort(key=lambda one: (-_report.device_count(one), *_report.size(one)))
        names = set().union(*(asked.get(one["id"], ()) for one in sources))
        found = sorted(map(targets.__getitem__, names), key=lambda one: (one["scope"] == "device", *_report.size(one)))
        if found:
            title = f"{kind} {mdev_type}" if mdev_type else f"{kind} of {vendor or 'an unknown vendor'}"
            blocks.append([words(title), [rows[one["id"]] for one in sources], [columns[one["id"]] for one in found]])
    return blocks


def _usage(one: _overview.Usage, words: Words) -> Row:
    """Parents have their types by their places in a list, as those of one group mostly offer the same."""
    known = {str(each["type"]): each for each in one["types"]}
    names = [*known, *sorted({use["type"] or "" for each in one["parents"] for use in each["types"]} - set(known))]
    place = {name: number for number, name in enumerate(names)}
    types = []
    for name in names:
        needs = known[name]["needs"] if name in known else []
        said = ", ".join(f"{part['units']} {part['resource']}" for part in needs)
        types.append([words(name or "type not known"), words(said)])
    # What is left of these are the numbers of their types once more.
    alone = one["model"] in ("exclusive", "unknown")
    return [
        words(one["model"]),
        words(one["origin"]),
        words(one["detail"]),
        words(one["driver"]),
        types,
        [
            [
                words(parent["host"]),
                words(parent["parent"]),
                [[place[use["type"] or ""], use["used"], use["room"]] for use in parent["types"]],
                [] if alone else [[words(part["resource"]), part["units"]] for part in parent["left"]],
            ]
            for parent in one["parents"]
        ],
    ]


def _plan(plan: _model.Plan, words: Words) -> dict[str, t.Any]:
    planning = plan["planning"]
    batches = planning["batches"] if planning else []
    batch_of = {wave: batch["batch"] for batch in batches for wave in batch["waves"]}
    return {
        "head": words.all(_itinerary.head(plan)),
        "batches": [
            [batch["batch"], words.all(batch["hosts"]), words.all(batch["emptied"]), batch["waves"]]
            for batch in batches
        ],
        "moves": [
            [
                move["wave"],
                batch_of.get(move["wave"]),
                words(_itinerary.name(move)),
                words(move["source"]),
                words(move["target"]),
                words(_itinerary.what(move)),
            ]
            for move in sorted(plan["moves"], key=lambda move: move["wave"])
        ],
        "stuck": [
            [
                words(_itinerary.name(one)),
                words(one["host"]),
                words(one["reason"].replace("_", " ")),
                words(one["detail"]),
                words.all(one["rivals"]),
                words.all(remedy["detail"] for remedy in one["remedies"]),
            ]
            for one in plan["stuck"]
        ],
        "stopped": [[words(_itinerary.name(one)), words(one["host"])] for one in planning["stopped"]]
        if planning
        else [],
        "notes": [[words(note["item"]), words(note["detail"])] for note in planning["notes"]] if planning else [],
    }


def _findings(findings: list[_model.Finding], words: Words) -> list[Row]:
    order = list(_reasons.FINDINGS)
    ranked = sorted(findings, key=lambda one: order.index(one["kind"]) if one["kind"] in order else len(order))
    rows = []
    for one in ranked:
        known = _reasons.FINDINGS.get(one["kind"])
        rows.append(
            [
                words(one["kind"].replace("_", " ")),
                words(known.says if known else None),
                words.all(one["hosts"]),
                words(one["item"]),
                words(one["detail"]),
                words(known.do if known else None),
            ]
        )
    return rows


def _noted(one: _notes.Noted, words: Words) -> Row:
    return [
        words(one["reason"].replace("_", " ")),
        words.all(one["hosts"]),
        words.all(one["items"]),
        one["count"],
        words(one["detail"]),
    ]
