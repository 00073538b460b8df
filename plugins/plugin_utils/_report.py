# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contracts -> a text a person reads at a glance, and a file that holds everything.

This file is private to the collection and pure. The same contracts give the
same bytes. Names and strings come from hosts, so all of them pass ``plain``
before they reach a terminal.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
import json
import re
import textwrap
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _notes, _overview, _readiness, _reasons

WIDTH: t.Final = 100
"""No line is wider, whatever the fleet says."""

TOP: t.Final = 5
"""So many of a kind are listed, then comes "and 37 more"."""

FINDINGS: t.Final = 3
"""Of each kind."""

BLOCKS: t.Final = 4
ROWS: t.Final = 6
COLUMNS: t.Final = 12
"""The matrix shows at most so many types, and of each so many classes, the largest first."""

FAIL_ON: t.Final = (
    "unreachable",
    "excluded",
    "cached",
    "blocked",
    "unknown",
    "no_room",
    "findings",
    *(kind for kind in _reasons.FINDINGS if kind not in ("unreachable", "excluded", "cached")),
)
"""What a run may be made to fail on: hosts, devices, any finding, or one kind of finding."""

_VM: t.Final = 36
"""A VM without a name is known by its UUID, which is of no use when it is cut."""

LABELS: t.Final[dict[str, str]] = {"no_room": "compatible but no room"}
_TIMES = re.compile(r'"(time|asked|age|written|pid|created|oldest)": (?:"[^"]*"|\d+|null)')
_VMS = re.compile(r'"(id|workload)": "pid:\d+"')


class Report(t.TypedDict):
    """All that the text is made of."""

    pairings: _model.Pairings
    summary: _readiness.Summary
    devices: list[_readiness.Standing]
    workloads: list[_readiness.Standing]
    names: dict[tuple[str, str], str]
    """(host, id of a workload) -> its name."""
    drains: list[_overview.Drain]
    capacity: list[_overview.Usage]
    plan: _model.Plan | None
    notes: list[_notes.Noted]


class HostFacts(t.TypedDict):
    """What was gathered of one host."""

    host: str
    snapshot: _model.Snapshot | None
    """As the module vfio_facts gave it."""
    verdicts: _model.VerdictSet | None
    """As the module compatibility_facts gave them; null where no driver was asked."""


class Contents(_model.Pairings):
    """Everything that is known of a fleet: its pairings, what was made of them, and what they are made of."""

    summary: _readiness.Summary
    devices: list[_readiness.Standing]
    """Every device, and whether it can leave its host now."""
    workloads: list[_readiness.Standing]
    """Every VM, and whether it can leave its host now with all its devices."""
    drains: list[_overview.Drain]
    """Every host, and whether it can be emptied now."""
    capacity: list[_overview.Usage]
    """Every parent, and how much of it is used and free."""
    plan: _model.Plan | None
    """The plan of an evacuation that was given to the report."""
    facts: list[HostFacts]
    """Hosts that were taken into account; their snapshots and verdicts are large."""


def build(
    pairings: _model.Pairings,
    snapshots: t.Mapping[str, _model.Snapshot] | None = None,
    plan: _model.Plan | None = None,
    verdicts: t.Mapping[str, _model.VerdictSet] | None = None,
) -> Report:
    """Judge the fleet; snapshots add the names of VMs, who holds a device, capacity and, with verdicts, notes.

    Raises ContractError for a plan whose word on capacity makes no sense.
    """
    snapshots = snapshots or {}
    devices, workloads = _readiness.standings(pairings)
    return {
        "pairings": pairings,
        "summary": _readiness.summary(pairings, devices, workloads),
        "devices": devices,
        "workloads": workloads,
        "names": {
            (host, workload["id"]): workload["name"]
            for host, snapshot in sorted(snapshots.items())
            for workload in snapshot["workloads"]
            if workload["name"]
        },
        "drains": _overview.drains(pairings, devices, workloads, snapshots, plan),
        "capacity": _overview.capacity(snapshots, plan),
        "plan": plan,
        "notes": _notes.collect(snapshots, verdicts),
    }


def failures(report: Report, fail_on: t.Iterable[str]) -> list[str]:
    """Name each condition of ``fail_on`` that this fleet meets, with its number: ``3 blocked``."""
    counts = report["summary"]
    states = collections.Counter(one["state"] for one in _telling(report))
    found: dict[str, int] = {
        **counts["findings"],
        "findings": sum(counts["findings"].values()),
        **{state: counts["hosts"][state] for state in ("cached", "unreachable", "excluded")},
        **{state: states[state] for state in _readiness.STATES[1:]},
    }
    return [f"{found[name]} {name}" for name in fail_on if found.get(name)]


def _telling(report: Report) -> t.Iterator[_readiness.Standing]:
    """Every device, and the VMs that say more than their devices do: those fit one by one, not together."""
    yield from report["devices"]
    yield from (one for one in report["workloads"] if one["reason"] == "split")


# --- text


def plain(text: str, limit: int = 60) -> str:
    """Make text from a host harmless on a terminal: printable, on one line, and not endless.

    A backslash is doubled, so what was escaped can be told from what only looks so.
    """
    cut = text[:limit]
    shown = "".join(_escaped(char) for char in cut)
    return shown if cut == text else f"{shown}... ({len(text)} characters)"


def render_text(report: Report, dest: str | None = None) -> str:
    """Render the whole report; ``dest`` is the file that holds the rest."""
    parts = [
        _glance(report),
        _lost_hosts(report["pairings"]["hosts"]),
        _not_ready(report),
        matrix(report["pairings"]),
        _findings(report["pairings"]["findings"]),
        _next(report),
    ]
    if dest:
        parts.append([f"In full: {plain(dest, WIDTH)}"])
    blocks = ("\n".join(itertools.chain.from_iterable(_fit(line) for line in part)) for part in parts if part)
    return "\n\n".join(blocks)


def _glance(report: Report) -> list[str]:
    counts, pairings = report["summary"], report["pairings"]
    ages = [host["age"] for host in pairings["hosts"] if host["state"] == "cached" and host["age"] is not None]
    oldest = f" (oldest: {span(max(ages))})" if ages else ""
    return [
        f"VFIO migration readiness, {plain(pairings['time'])}" + (", PARTIAL" if pairings["partial"] else ""),
        _count_line("hosts", counts["hosts"], _readiness.HOST_STATES) + oldest,
        _count_line("devices", counts["devices"], _readiness.STATES),
        _count_line("VMs", counts["workloads"], _readiness.STATES),
    ]


def _count_line(what: str, counts: dict[str, int], order: t.Iterable[str]) -> str:
    states = ", ".join(f"{counts[state]} {LABELS.get(state, state)}" for state in order)
    total = sum(counts.values())
    noun = what.removesuffix("s") if total == 1 else what
    return f"  {total:>6} {noun + ':':<9}{states}"


def _lost_hosts(hosts: list[_model.HostState]) -> list[str]:
    lines = []
    unreachable = [plain(host["host"]) for host in hosts if host["state"] == "unreachable"]
    if unreachable:
        lines.append(f"  unreachable: {_some(unreachable, TOP)}")
    excluded = [host for host in hosts if host["state"] == "excluded"]
    for host in excluded[:TOP]:
        errors = _some([plain(error, 120) for error in host["errors"]], 1, "; ")
        lines.append(f"  excluded: {plain(host['host'])}: {errors or 'its facts break their contract'}")
    if len(excluded) > TOP:
        lines.append(f"  excluded: and {len(excluded) - TOP} more hosts")
    return ["Hosts not taken into account", *lines] if lines else []


def _not_ready(report: Report) -> list[str]:
    lines: list[str] = []
    for state in reversed(_readiness.STATES[1:]):
        groups: dict[tuple[str, str], list[str]] = {}
        for one in _telling(report):
            if one["state"] == state:
                groups.setdefault((one["reason"] or "", one["errno"] or ""), []).append(_who(one, report["names"]))
        ranked = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
        for (reason, errno), who in ranked[:TOP]:
            said = plain(_reasons.sentence(reason or None, errno or None), 120)
            lines.append(f"  {LABELS.get(state, state)}, {_plural(len(who), 'device', reason)}: {said}")
            lines += [f"    {name}" for name in who[:TOP]]
            lines += [f"    and {len(who) - TOP} more"] if len(who) > TOP else []
        if len(ranked) > TOP:
            lines.append(f"  {LABELS.get(state, state)}: and {len(ranked) - TOP} more reasons")
    return ["Not ready, and why", *lines] if lines else []


def _who(one: _readiness.Standing, names: dict[tuple[str, str], str]) -> str:
    host, vm = plain(one["host"]), ""
    if one["workload"] is not None:
        vm = plain(names.get((one["host"], one["workload"]), one["workload"]), _VM)
        # Without a VM the workload is a process, and called so.
        vm = vm if vm.startswith("pid:") else f"VM {vm}"
    if one["device"] is None:
        return f"{host} {vm}"
    return f"{host} {plain(one['device'])}" + (f" ({vm})" if vm else "")


def matrix(pairings: _model.Pairings) -> list[str]:
    """One block for each type, as drivers are seldom asked across types; rows and columns without a yes or no are
    left out, for all they say was said before."""
    telling = [one for one in pairings["pairings"] if one["verdict"] != "unknown"]
    sources = {one["source"] for one in telling}
    groups: dict[tuple[str, str, str], list[_model.SourceClass]] = {}
    for source in pairings["sources"]:
        if source["id"] in sources:
            groups.setdefault((source["kind"], source["type"] or "", source["vendor"]), []).append(source)
    ranked = sorted(groups.items(), key=lambda group: (-sum(map(device_count, group[1])), group[0]))
    lines: list[str] = []
    shown: set[str] = set()
    for (kind, mdev_type, vendor), rows in ranked[:BLOCKS]:
        lines.append(f"  {_node(kind, mdev_type, vendor)}")
        lines += _block(pairings, telling, rows, shown)
    if not lines:
        return []
    classes = {one["id"] for one in itertools.chain(pairings["sources"], pairings["targets"])}
    return [
        "Who may move where (from row s to column t; the other direction is another question)",
        *lines,
        "  yes: accepted, and room now   full: accepted, no room   room?: accepted, room not known",
        "  ?: unknown   no: refused   -: not asked   own: only its own host   *: see findings",
        *([f"  {len(classes - shown)} more classes are in the JSON file."] if classes - shown else []),
    ]


def _block(
    pairings: _model.Pairings, telling: list[_model.Pairing], group: list[_model.SourceClass], shown: set[str]
) -> list[str]:
    rows = sorted(group, key=lambda one: (-device_count(one), *size(one)))[:ROWS]
    of_rows = {row["id"] for row in rows}
    asked = {one["target"] for one in telling if one["source"] in of_rows}
    targets = [target for target in pairings["targets"] if target["id"] in asked and not taken(target)]
    columns = sorted(targets, key=lambda one: (one["scope"] == "device", *size(one)))[:COLUMNS]
    shown.update(of_rows, (column["id"] for column in columns))
    found = cells(pairings["pairings"], rows, columns)
    lines = [" " * 10 + "".join(f"{plain(column['id'], 6):>7}" for column in columns)]
    for row in rows:
        answers = "".join(f"{found.get((row['id'], column['id']), '-'):>7}" for column in columns)
        lines.append(f"    {plain(row['id'], 6):<6}{answers}")
    lines += [f"    {plain(row['id'], 6)}: {_source(row)}" for row in rows]
    lines += [f"    {plain(column['id'], 6)}: {_target(column)}" for column in columns]
    return [*lines, ""]


def cells(
    pairings: list[_model.Pairing], rows: list[_model.SourceClass], columns: list[_model.TargetClass]
) -> dict[tuple[str, str], str]:
    """(source, target) -> the word of the matrix, with a star where there is a warning."""
    homes = {row["id"]: {member["host"] for member in row["members"]} for row in rows}
    rooms = {column["id"]: column["members"] for column in columns}
    found = {}
    for pairing in pairings:
        source, target = pairing["source"], pairing["target"]
        if source in homes and target in rooms and pairing["reason"] != "in_use":
            # For a class that lives on one host, that host is not elsewhere.
            home = homes[source] if len(homes[source]) == 1 else set()
            found[source, target] = _cell(pairing, [one for one in rooms[target] if one["host"] not in home])
    return found


def _cell(pairing: _model.Pairing, elsewhere: list[_model.TargetMember]) -> str:
    if not elsewhere:
        return "own"
    word = {"incompatible": "no", "unknown": "?"}.get(pairing["verdict"])
    if word is None and any(member["room"] for member in elsewhere):
        word = "yes"
    elif word is None:
        word = "room?" if any(member["room"] is None for member in elsewhere) else "full"
    return word + ("*" if pairing["warnings"] else "")


def _source(one: _model.SourceClass) -> str:
    count = device_count(one)
    what = _plural(count, "device") if count else "no device yet,"
    version = one["device_version"] or one["type_version"]
    return f"{what} on {_hosts(one)}" + (f"; {says(version)}" if version else "")


def _target(one: _model.TargetClass) -> str:
    what = "new" if one["scope"] == "type" else f"existing {_node(one['kind'], one['type'], one['vendor'])}"
    return f"{what} on {_hosts(one)}; {says(one['version'])}"


def _node(kind: str, mdev_type: str | None, vendor: str) -> str:
    return f"{kind} {plain(mdev_type, 40)}" if mdev_type else f"{kind} of {plain(vendor, 40)}"


def says(version: _model.Attribute) -> str:
    if version["value"] is not None:
        return f"says {plain(version['value'], 40)}"
    known = _reasons.READING.get(version["reason"] or version["status"])
    return known.says if known else plain(f"reason {version['reason']}")


def _hosts(one: _model.SourceClass | _model.TargetClass) -> str:
    names = sorted({plain(member["host"], 30) for member in one["members"]})
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} hosts"


def taken(one: _model.TargetClass) -> bool:
    """Whether it is instances in use: they were asked for what they tell about their type, and are no targets."""
    return one["scope"] == "device" and one["kind"] == "mdev" and all(member["room"] == 0 for member in one["members"])


def size(one: _model.SourceClass | _model.TargetClass) -> tuple[int, int, str]:
    """Sort the largest class first, then t9 before t10."""
    return (-len(one["members"]), len(one["id"]), one["id"])


def device_count(one: _model.SourceClass) -> int:
    return sum(member["device"] is not None for member in one["members"])


def _findings(findings: list[_model.Finding]) -> list[str]:
    kinds: dict[str, list[str]] = {}
    for finding in findings:
        item = "" if finding["item"] == "host" else f" {plain(finding['item'])}"
        where = _some([plain(host) for host in finding["hosts"]], 3)
        kinds.setdefault(finding["kind"], []).append(f"{where}{item}: {plain(finding['detail'], 300)}")
    order = list(_reasons.FINDINGS)
    lines = []
    for kind in sorted(kinds, key=lambda one: (order.index(one) if one in order else len(order), one)):
        known = _reasons.FINDINGS.get(kind)
        lines.append(f"  {plain(kind)} ({len(kinds[kind])}): {known.says if known else 'see below'}")
        lines += [f"    {detail}" for detail in kinds[kind][:FINDINGS]]
        if len(kinds[kind]) > FINDINGS:
            lines.append(f"    and {len(kinds[kind]) - FINDINGS} more")
    return ["Findings", *lines] if lines else []


def advice(report: Report) -> list[str]:
    """Collect the advice of every finding and reason, the most pressing first, each once."""
    kinds = report["summary"]["findings"]
    found = [known.do for kind, known in _reasons.FINDINGS.items() if kinds.get(kind)]
    standings = sorted(
        (one for one in report["devices"] if one["reason"]), key=lambda one: -_readiness.STATES.index(one["state"])
    )
    for reason in dict.fromkeys(one["reason"] for one in standings):
        known = _reasons.REASONS.get(reason or "")
        found.append(known.do if known else None)
    if not report["devices"]:
        found.append("No VFIO device was found. What was dropped, and why, stands in the notes of the report's files.")
    lines = [line for line in dict.fromkeys(found) if line]
    if not lines and report["summary"]["devices"]["ready"]:
        lines = ["Nothing stands in the way."]
    return lines


def _next(report: Report) -> list[str]:
    lines = [f"  - {line}" for line in advice(report)]
    return ["What to do next", *lines] if lines else []


def _plural(count: int, noun: str, reason: str = "") -> str:
    noun = "VM" if reason == "split" else noun
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _some(items: list[str], limit: int, between: str = ", ") -> str:
    more = [f"and {len(items) - limit} more"] if len(items) > limit else []
    return between.join(items[:limit] + more)


def span(seconds: int) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _escaped(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if char.isprintable():
        return char
    number = ord(char)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


def _fit(line: str) -> list[str]:
    """Wrap one line; what follows the first is indented by four more."""
    if len(line) <= WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(line, WIDTH, initial_indent="", subsequent_indent=indent + "    ")


# --- file


def contents(
    report: Report, snapshots: t.Mapping[str, _model.Snapshot], verdicts: t.Mapping[str, _model.VerdictSet]
) -> Contents:
    """Put every contract into one: the pairings, and what was made of them and for them.

    Its keys are those of the pairings and more, so whatever reads pairings reads this file too.
    """
    return {
        **report["pairings"],
        "summary": report["summary"],
        "devices": report["devices"],
        "workloads": report["workloads"],
        "drains": report["drains"],
        "capacity": report["capacity"],
        "plan": report["plan"],
        "facts": [
            {"host": host, "snapshot": snapshots.get(host), "verdicts": verdicts.get(host)}
            for host in sorted({*snapshots, *verdicts})
        ],
    }


def fingerprint(report: Report) -> str:
    """SHA-256 of all that a report says but for what passes, see ``differ``; renderings are compared by it."""
    held = contents(report, {}, {})
    names = sorted([*key, name] for key, name in report["names"].items())
    lines = (_timeless(json.dumps(part)) for part in (held, names, report["notes"]))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def differ(before: t.Iterable[str], after: t.Iterable[str]) -> bool:
    """Tell whether two files, as lines, differ in more than what passes: times, ages, counts of writes, process ids."""
    pairs = itertools.zip_longest(before, after, fillvalue="")
    return any(one != two and _timeless(one) != _timeless(two) for one, two in pairs)


def _timeless(line: str) -> str:
    return _VMS.sub(r"\1", _TIMES.sub(r"\1", line))
