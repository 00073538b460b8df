# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as a person reads it: what stops, who goes where in which wave, who is stuck and what would free them.

This file is private to the collection and pure.
"""

from __future__ import annotations

import copy
import itertools
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils._report import plain

_WIDE: t.Final = 240
_SHOWN: t.Final = 200
"""Lines of one list; the rest is in the file."""
_REMEDIES: t.Final = 3
_NEXT: t.Final = "Next: ansible-playbook vfio.migration.prepare_targets with this plan, wave by wave."


class Summary(t.TypedDict):
    """A plan in numbers."""

    batches: int
    waves: int
    hosts: int
    emptied: int
    moves: int
    unknown: int
    stopped: int
    stuck: int


def summary(plan: _model.Plan) -> Summary:
    """The same keys whatever the plan."""
    planning = plan["planning"]
    batches = planning["batches"] if planning else []
    return Summary(
        batches=len(batches),
        waves=len({move["wave"] for move in plan["moves"]}),
        hosts=sum(len(batch["hosts"]) for batch in batches),
        emptied=sum(len(batch["emptied"]) for batch in batches),
        moves=len(plan["moves"]),
        unknown=sum("unknown" in _marks(move) for move in plan["moves"]),
        stopped=len(planning["stopped"]) if planning else 0,
        stuck=len(plan["stuck"]),
    )


def same_but_for_times(before: object, after: _model.Plan) -> bool:
    """Whether two plans say the same; when they were made and how old the facts were does not count."""
    return _timeless(before) == _timeless(after)


def _timeless(plan: object) -> object:
    known: t.Any = copy.copy(plan)
    if isinstance(known, dict):
        known.pop("created", None)
        planning = known.get("planning")
        if isinstance(planning, dict) and isinstance(planning.get("inputs"), dict):
            inputs = {**planning["inputs"], "age": None, "oldest": None, "hosts": None}
            known["planning"] = {**planning, "inputs": inputs}
    return known


def lines(plan: _model.Plan) -> list[str]:
    """The whole plan, one line each."""
    planning = plan["planning"]
    blocks = [head(plan)]
    if planning:
        blocks.append(_stopped(planning["stopped"]))
        blocks += [_batch(batch, plan["moves"]) for batch in planning["batches"]]
    else:
        blocks.append(_waves(plan["moves"]))
    blocks.append(_stuck(plan["stuck"]))
    if planning:
        blocks.append(_notes(planning["notes"]))
    if plan["moves"]:
        blocks.append([_NEXT])
    shown: list[str] = []
    for block in filter(None, blocks):
        shown += [*([""] if shown else []), *block]
    return shown


def head(plan: _model.Plan) -> list[str]:
    numbers, planning = summary(plan), plan["planning"]
    counts = [f"{_count(numbers['moves'], 'move')} in {_count(numbers['waves'], 'wave')}", f"{numbers['stuck']} stuck"]
    if planning:  # a plan that was made by hand names no hosts that are to be emptied
        counts.insert(0, f"{numbers['emptied']} of {_count(numbers['hosts'], 'host')} emptied")
        counts.insert(2, f"{numbers['stopped']} stopped")
    said = [f"Plan {plain(plan['id'])}: {', '.join(counts)}"]
    if planning:
        said += [_proof(planning, plan["partial"]), *_lost(planning["inputs"]["hosts"])]
    return said


def _proof(planning: _model.Planning, partial: bool) -> str:
    bound, gap = planning["bound"], planning["gap"]
    if bound is None or gap is None:
        reason = plain(planning["bound_reason"] or "no bound was computed", _WIDE)
        return f"{reason[:1].upper()}{reason[1:]}."
    proven = "Proven, as far as the fleet is known" if partial else "Proven"
    if not gap["hosts"] and not gap["workloads"]:
        return f"{proven}: no plan empties more hosts, or moves more VMs while it empties as many."
    return (
        f"{proven}: no plan empties more than {_count(bound['hosts'], 'host')}, or moves more than "
        f"{_count(bound['workloads'], 'VM')} while it empties as many as this one."
    )


def _lost(hosts: list[_model.HostState]) -> t.Iterator[str]:
    lost = [plain(host["host"]) for host in hosts if host["state"] in ("unreachable", "excluded")]
    if lost:
        yield f"PARTIAL: nothing is known of {_some(lost, 10)}, so nothing goes there, and who runs there is not seen."


def _stopped(stopped: list[_model.Stopped]) -> list[str]:
    if not stopped:
        return []
    rows = (f"  {name(one)} on {plain(one['host'])}" for one in stopped)
    return ["Will be STOPPED with their hosts, not migrated", *_cut(rows)]


def _batch(batch: _model.Batch, moves: list[_model.Move]) -> list[str]:
    stay = [host for host in batch["hosts"] if host not in batch["emptied"]]
    said = [f"Batch {batch['batch']}: maintenance of {_some(list(map(plain, batch['hosts'])), 20)}"]
    if stay:
        said.append(f"  NOT EMPTIED: {_some(list(map(plain, stay)), 20)}")
    return said + _waves([move for move in moves if move["wave"] in batch["waves"]])


def _waves(moves: list[_model.Move]) -> list[str]:
    names = max((len(name(move)) for move in moves), default=0)
    ways = max((len(_way(move)) for move in moves), default=0)
    rows: list[str] = []
    for wave, of_it in itertools.groupby(sorted(moves, key=lambda move: move["wave"]), key=lambda move: move["wave"]):
        rows.append(f"  Wave {wave}")
        rows += [f"    {name(move):{names}}  {_way(move):{ways}}  {what(move)}" for move in of_it]
    return _cut(rows)


def _way(move: _model.Move) -> str:
    return f"{plain(move['source'])} -> {plain(move['target'])}"


def what(move: _model.Move) -> str:
    places = [f"{plain(one['parent'])}/{plain(one['type'])}" for one in move["devices"]]
    places += [f"{plain(one['device'])} (is there)" for one in move["passthrough"]]
    marks = _marks(move)
    return ", ".join(places) + (f"  [{', '.join(marks)}]" if marks else "")


def _marks(move: _model.Move) -> list[str]:
    """What a person should mind about a move."""
    found = set()
    for one in (*move["devices"], *move["passthrough"]):
        evidence = one["evidence"]
        if evidence:
            found.update(evidence["warnings"])
            if evidence["verdict"] == "unknown":
                found.add("unknown")
    return sorted(plain(mark).replace("_", " ") for mark in found)


def _stuck(stuck: list[_model.Stuck]) -> list[str]:
    if not stuck:
        return []
    rows: list[str] = []
    for one in stuck:
        rows.append(f"  {name(one)} on {plain(one['host'])}: {plain(one['detail'], _WIDE)}")
        rows += [f"      free it: {plain(remedy['detail'], _WIDE)}" for remedy in one["remedies"][:_REMEDIES]]
    return ["STUCK, these can not move", *_cut(rows)]


def _notes(notes: list[_model.Note]) -> list[str]:
    rows = (f"  {plain(note['item'])}: {plain(note['detail'], _WIDE)}" for note in notes)
    return ["Notes", *_cut(rows, 20)] if notes else []


def name(one: _model.Move | _model.Stuck | _model.Stopped) -> str:
    return plain(one["name"] or one["workload"])


def _some(words: list[str], most: int) -> str:
    more = len(words) - most
    return ", ".join(words[:most]) + (f" and {more} other{'s' if more > 1 else ''}" if more > 0 else "")


def _cut(rows: t.Iterable[str], most: int = _SHOWN) -> list[str]:
    shown = list(rows)
    return shown[:most] + ([f"  ... and {len(shown) - most} lines more in the file"] if shown[most:] else [])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
