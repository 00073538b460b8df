# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each workload of a plan, after ``vfio.migration.mdev`` ran on its hosts: one row, one line.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _plan, _reasons
from ansible_collections.vfio.migration.plugins.plugin_utils._report import plain
from ansible_collections.vfio.migration.plugins.plugin_utils._targets import Dropped

State = t.Literal["ready", "planned", "dropped", "failed", "released", "kept", "nothing"]

Registered = t.Mapping[str, t.Mapping[str, t.Any]]
"""Host -> what the task with ``vfio.migration.mdev`` returned there."""


class Made(t.TypedDict):
    """An instance and what was done to it."""

    uuid: str
    parent: str | None
    type: str | None
    action: str


class Row(t.TypedDict):
    """One workload on one host."""

    workload: str
    name: str | None
    source: str | None
    host: str
    state: State
    reason: str | None
    msg: str | None
    instances: list[Made]
    domain_xml: str | None
    """File on the source host with the XML that the VM shall have on its target."""
    domain_note: str | None
    """Why there is no such file, or why libvirt could not validate it."""


class Mdev(t.TypedDict):
    """An mdev's UUID before and after."""

    source: str
    target: str


class Domain(t.TypedDict):
    """What ``vfio.migration.domain_xml`` takes for one VM."""

    workload: str
    mdevs: list[Mdev]


def prepared(
    moves: list[_model.Move],
    dropped: t.Iterable[Dropped],
    registered: Registered,
    seen: t.Mapping[str, _model.Snapshot],
    *,
    check_mode: bool,
) -> list[Row]:
    """A row for each move, in the order of the plan.

    :arg seen: what each target host said after everything was created; without it nothing is called ready.
    """
    reasons = {one["workload"]: one for one in dropped}
    done = {host: _by_workload(result) for host, result in registered.items()}
    rows = []
    for move in moves:
        left, host = reasons.get(move["workload"]), move["target"]
        if left is not None:
            outcome: _Outcome = ("dropped", left["reason"], left["detail"], [])
        else:
            result = done.get(host, {}).get(move["workload"])
            if result is None and not move["devices"]:
                result = {"ok": True, "instances": []}  # there was nothing to make
            outcome = _outcome(result, registered.get(host, {}), seen.get(host), check_mode)
            outcome = _with_passthrough(move, outcome, seen.get(host))
        rows.append(_row(move["workload"], move["name"], move["source"], host, outcome))
    return rows


def released(registered: t.Iterable[Registered], names: t.Mapping[str, str | None], *, check_mode: bool) -> list[Row]:
    """A row for each workload that a host has taken something back of, in order of hosts and ids.

    :arg names: of workloads by id, as far as a plan is at hand.
    """
    rows = []
    for results in registered:
        for host, result in sorted(results.items()):
            workloads = _by_workload(result)
            if not workloads and (result.get("failed") or result.get("unreachable")):
                rows.append(_row("all", None, None, host, ("failed", "task_failed", _said(result), [])))
            for workload, one in sorted(workloads.items()):
                rows.append(_row(workload, names.get(workload), None, host, _given_back(one, check_mode)))
    return rows


_Outcome = tuple[State, str | None, str | None, list[Made]]


def _row(workload: str, name: str | None, source: str | None, host: str, outcome: _Outcome) -> Row:
    state, reason, msg, made = outcome
    return Row(
        workload=workload,
        name=name,
        source=source,
        host=host,
        state=state,
        reason=reason,
        msg=msg,
        instances=made,
        domain_xml=None,
        domain_note=None,
    )


def domains(moves: list[_model.Move], rows: list[Row]) -> dict[str, list[Domain]]:
    """Per source host the VMs that may move now, with the UUIDs that change."""
    may_move = {row["workload"] for row in rows if row["state"] in ("ready", "planned")}
    found: dict[str, list[Domain]] = {}
    for move in moves:
        if move["workload"] in may_move:
            mdevs = [Mdev(source=one["source"], target=one["uuid"]) for one in move["devices"]]
            found.setdefault(move["source"], []).append(Domain(workload=move["workload"], mdevs=mdevs))
    return found


def add_domains(rows: list[Row], registered: Registered) -> None:
    """Put what ``vfio.migration.domain_xml`` did on the source hosts into the rows."""
    for host, result in registered.items():
        written = {one["workload"]: one for one in result.get("domains") or ()}
        for row in rows:
            one = written.get(row["workload"])
            if row["source"] != host or row["state"] not in ("ready", "planned"):
                continue
            row["domain_xml"] = one["path"] if one else None
            row["domain_note"] = one["msg"] if one else _said(result)


def _by_workload(result: t.Mapping[str, t.Any]) -> dict[str, t.Mapping[str, t.Any]]:
    return {one["workload"] or "-": one for one in result.get("workloads") or ()}


def _said(result: t.Mapping[str, t.Any]) -> str:
    return str(result.get("msg") or _reasons.sentence("task_failed"))


def _made(result: t.Mapping[str, t.Any]) -> list[Made]:
    return [
        Made(uuid=one["uuid"], parent=one.get("parent"), type=one.get("type"), action=one["action"])
        for one in result["instances"]
    ]


def _outcome(
    result: t.Mapping[str, t.Any] | None,
    task: t.Mapping[str, t.Any],
    snapshot: _model.Snapshot | None,
    check_mode: bool,
) -> _Outcome:
    if result is None:
        return "failed", "task_failed", _said(task), []
    made = _made(result)
    if not result["ok"]:
        return "failed", result["reason"], result["msg"], made
    if check_mode:
        return "planned", None, None, made
    if snapshot is None:
        return "failed", "unverified", _reasons.sentence("unverified"), made
    there = {
        _plan.uuid(one["id"]): (one["parent"], one["type"]) for one in snapshot["devices"] if one["driver"] is not None
    }
    lost = [one["uuid"] for one in made if there.get(_plan.uuid(one["uuid"])) != (one["parent"], one["type"])]
    if lost:
        return "failed", "lost", f"{', '.join(lost)}: {_reasons.sentence('lost')}", made
    return "ready", None, None, made


def _with_passthrough(move: _model.Move, outcome: _Outcome, snapshot: _model.Snapshot | None) -> _Outcome:
    """What is there already counts as much as what was made."""
    state, reason, msg, made = outcome
    made = made + [Made(uuid=one["device"], parent=None, type=None, action="there") for one in move["passthrough"]]
    if state == "ready" and snapshot is not None:
        there = {one["id"] for one in snapshot["devices"] if one["kind"] == "vfio"}
        lost = [one["device"] for one in move["passthrough"] if one["device"] not in there]
        if lost:
            return "failed", "lost", f"{', '.join(lost)}: {_reasons.sentence('lost')}", made
    return state, reason, msg, made


def _given_back(result: t.Mapping[str, t.Any], check_mode: bool) -> _Outcome:
    """In use is no failure: after a migration the workload is there, and its instance is its own."""
    made = _made(result)
    if not result["ok"]:
        state: State = "kept" if result["reason"] == "in_use" else "failed"
        return state, result["reason"], result["msg"], made
    if all(one["action"] == "none" for one in made):
        return "nothing", None, None, made
    return ("planned" if check_mode else "released"), None, None, made


def render(title: str, rows: list[Row], unseen: list[str]) -> str:
    """A line for each row, then what to do about those that are not as they should be."""
    counts = collections.Counter(row["state"] for row in rows)
    numbers = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "nothing to do"
    states = max((len(row["state"]) for row in rows), default=0)
    names = max((len(_name(row)) for row in rows), default=0)
    ways = max((len(_way(row)) for row in rows), default=0)
    lines = [f"{title}: {numbers}"]
    for row in rows:
        lines.append(f"  {row['state']:{states}}  {_name(row):{names}}  {_way(row):{ways}}  {_what(row)}".rstrip())
    if counts["kept"]:
        lines.append("  kept is what is in use, as it should be on a host that its VM has moved to")
    if unseen:
        lines.append(f"  UUIDs could not be compared with hosts without facts: {plain(', '.join(unseen), 120)}")
    todo = sorted({_todo(row) for row in rows if row["state"] in ("dropped", "failed")} - {""})
    if todo:
        lines += ["", "What to do next", *(f"  - {one}" for one in todo)]
    return "\n".join(lines)


def _name(row: Row) -> str:
    return plain(row["name"] or row["workload"])


def _way(row: Row) -> str:
    host = plain(row["host"])
    return f"{plain(row['source'])} to {host}" if row["source"] else f"on {host}"


def _what(row: Row) -> str:
    if row["state"] in ("dropped", "failed", "kept"):
        return plain(row["msg"] or _reasons.sentence(row["reason"]), 240)
    made = (f"{_place(one)}{one['uuid']} {one['action']}" for one in row["instances"])
    words = [plain(one, 120) for one in made]
    if row["domain_xml"]:
        words.append(f"domain XML {plain(row['domain_xml'], 120)}")
    if row["domain_note"]:
        words.append(f"{'but' if row['domain_xml'] else 'no domain XML:'} {plain(row['domain_note'], 240)}")
    return ", ".join(words)


def _place(made: Made) -> str:
    """Where it is; an instance that was not there to be taken back is nowhere."""
    return f"{made['parent']}/{made['type']} " if made["parent"] and made["type"] else ""


def _todo(row: Row) -> str:
    known = _reasons.REASONS.get(row["reason"] or "")
    return (known.do if known else None) or ""


def failures(rows: t.Iterable[Row], bad: t.Collection[State]) -> list[str]:
    """Which workloads did not end well, in words."""
    return [
        f"{_name(row)} on {plain(row['host'])} ({row['reason'] or row['state']})" for row in rows if row["state"] in bad
    ]
