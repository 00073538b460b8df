# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report -> Markdown for a ticket: what the HTML page says, cut where a ticket would burst.

This file is private to the collection and pure. Trackers run Markdown of anyone, so all that hosts say stands in code:
there it makes no markup, no link, and mentions nobody. Escaping is not enough, since trackers look for people to call
and tickets to link only after Markdown was read (https://github.com/github/cmark-gfm/issues/181).
"""

from __future__ import annotations

import re
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

ROWS: t.Final = 40
"""Of one table; the largest trackers take 65,536 characters."""

NAMES: t.Final = 5
CELL: t.Final = 120

_STATES: t.Final[dict[str, str]] = {
    "ready": "ready",
    "no_room": "no room",
    "unknown": "unknown",
    "blocked": "blocked",
    "idle": "nothing to move",
    "lost": "not known",
}


def render(report: _report.Report, fingerprint: str) -> str:
    """The whole text; ``fingerprint`` is in its last line, for the next run to compare."""
    pairings = report["pairings"]
    partial = ", **PARTIAL**" if pairings["partial"] else ""
    parts = [
        [f"# VFIO migration readiness, {text(pairings['time'])}{partial}"],
        _glance(report),
        _section("What to do next", [f"- {line}" for line in _report.advice(report)]),
        _hosts(report),
        _not_ready(report),
        _section("Who may move where", _fenced(_report.matrix(pairings))),
        _capacity(report["capacity"]),
        _plan(report["plan"]),
        _findings(pairings["findings"]),
        _noted(report["notes"]),
        [f"<!-- fingerprint {fingerprint} -->"],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def text(said: str, limit: int = CELL) -> str:
    """What a host says, as code, for a title or a cell of a table."""
    shown = _report.plain(said, limit)
    if not shown:
        return ""
    # One blank on both sides is taken away, so there has to be one to keep those of the text, or its own backticks.
    blank = " " if {shown[0], shown[-1]} & set("` ") and not shown.isspace() else ""
    fence = "`" * _longer(shown, 1)
    return f"{fence}{blank}{shown}{blank}{fence}".replace("|", "\\|")


def _longer(shown: str, least: int) -> int:
    """How many backticks are none of the text's own."""
    return max(least, 1 + max(map(len, re.findall("`+", shown)), default=0))


def _why(reason: str | None, errno: str | None) -> str:
    """A reason in our own words, of which only the rest is code."""
    says = _reasons.sentence(reason) if reason in _reasons.REASONS else text(_reasons.sentence(reason))
    return f"{says} ({text(errno)})" if errno else says


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}", "", *lines] if lines else []


def _table(heads: t.Sequence[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    lines = ["| " + " | ".join(row) + " |" for row in (list(heads), ["---"] * len(heads), *rows[:ROWS])]
    more = len(rows) - ROWS
    return [*lines, *(["", f"{more} more rows are in the HTML and JSON files."] if more > 0 else [])]


def _fenced(lines: list[str]) -> list[str]:
    """Lines in columns; the fence is longer than any that they hold."""
    if not lines:
        return []
    fence = "`" * _longer("\n".join(lines), 3)
    return [f"{fence}text", *lines, fence]


def _glance(report: _report.Report) -> list[str]:
    drains = [one["state"] for one in report["drains"]]
    counts: dict[str, t.Mapping[str, int]] = {
        "hosts, by whether they can be emptied": {state: drains.count(state) for state in _overview.DRAIN_STATES},
        "VMs": report["summary"]["workloads"],
        "devices": report["summary"]["devices"],
    }
    rows = [[what, *(str(found.get(state, "")) for state in _STATES)] for what, found in counts.items()]
    return _section("At a glance", _table(["", *_STATES.values()], rows))


def _hosts(report: _report.Report) -> list[str]:
    order = {state: number for number, state in enumerate(reversed(_overview.DRAIN_STATES))}
    both = zip(report["drains"], report["pairings"]["hosts"], strict=True)
    rows = []
    for one, host in sorted(both, key=lambda pair: order[pair[0]["state"]]):
        why = [f"{each['count']}: {_why(each['reason'], each['errno'])}" for each in one["why"]]
        why += [text(error) for error in host["errors"][:1]]
        planned = {None: "", True: "empties it", False: "does not empty it"}[one["emptied"]]
        rows.append([text(one["host"]), _STATES[one["state"]], str(one["leaving"]), planned, "; ".join(why[:3])])
    heads = ("Host", "Can be emptied now", "To move", "Plan", "What stands in the way")
    return _section("Which hosts can be emptied now", _table(heads, rows))


def _not_ready(report: _report.Report) -> list[str]:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for state in reversed(_readiness.STATES[1:]):
        for one in (*report["workloads"], *report["devices"]):
            if one["state"] == state:
                key = (_STATES[state], "device" if one["device"] else "VM", _why(one["reason"], one["errno"]))
                groups.setdefault(key, []).append(_who(one, report))
    rows = [
        [state, f"{len(who)} {kind}{'' if len(who) == 1 else 's'}", why, _some(who)]
        for (state, kind, why), who in groups.items()
    ]
    return _section("VMs and devices that are not ready", _table(("State", "Number", "Why", "Which"), rows))


def _who(one: _readiness.Standing, report: _report.Report) -> str:
    vm = one["workload"] and report["names"].get((one["host"], one["workload"]), one["workload"])
    return f"{text(one['device'] or vm or '')} on {text(one['host'])}"


def _some(names: list[str], count: int = 0) -> str:
    """The first of them; ``count`` is how many there are, where that is more than were given."""
    more = max(len(names), count) - NAMES
    shown = f" and {more} more" if more > 0 else ""
    return ", ".join(names[:NAMES]) + shown


def _capacity(groups: list[_overview.Usage]) -> list[str]:
    rows = []
    for group in groups:
        uses: dict[str, list[_overview.TypeUse]] = {}
        for parent in group["parents"]:
            for use in parent["types"]:
                uses.setdefault(use["type"] or "", []).append(use)
        coupled = "one type" if len(uses) == 1 else _coupling(group["model"])
        parents = str(len(group["parents"]))
        for name, of_it in uses.items():
            used = str(sum(use["used"] for use in of_it))
            named = text(name) or "type not known"
            rows.append([text(group["driver"] or ""), named, parents, used, _free(of_it), coupled])
    heads = ("Driver", "Type", "Parents", "Used", "Free, by this type alone", "Coupling")
    return _section("Capacity", _table(heads, rows))


def _free(uses: list[_overview.TypeUse]) -> str:
    """What is not known is no zero."""
    known = [use["room"] for use in uses if use["room"] is not None]
    if len(known) == len(uses):
        return str(sum(known))
    return f"{sum(known)}, and {len(uses) - len(known)} not known" if known else "not known"


def _coupling(model: str) -> str:
    known = {"independent": "none", "silent": "not known"}
    return known.get(model, f"coupled ({model.replace('_', ' ')}): free places are alternatives")


def _plan(plan: _model.Plan | None) -> list[str]:
    if plan is None:
        return []
    lines = _itinerary.lines(plan)
    more = [f"... and {len(lines) - 5 * ROWS} more lines, see the plan file"] if len(lines) > 5 * ROWS else []
    return _section("Evacuation plan", _fenced(lines[: 5 * ROWS] + more))


def _kind(kind: str) -> str:
    return kind.replace("_", " ") if kind in _reasons.FINDINGS else text(kind)


def _findings(findings: list[_model.Finding]) -> list[str]:
    order = list(_reasons.FINDINGS)
    ranked = sorted(findings, key=lambda one: order.index(one["kind"]) if one["kind"] in order else len(order))
    rows = [
        [_kind(one["kind"]), _some([text(host) for host in one["hosts"]]), text(one["item"]),
         text(one["detail"], 300)]
        for one in ranked
    ]  # fmt: skip
    return _section("Findings", _table(("Finding", "Hosts", "Item", "What, and what to do"), rows))


def _noted(notes: list[_notes.Noted]) -> list[str]:
    rows = [
        [_some([text(host) for host in one["hosts"]]), _some([text(item) for item in one["items"]], one["count"]),
         text(one["detail"], 300)]
        for one in notes
    ]  # fmt: skip
    return _section("Notes of hosts", _table(("Hosts", "Item", "What was dropped or is not known"), rows))
