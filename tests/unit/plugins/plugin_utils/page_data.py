# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole reports for the tests of the page: a large fleet with a plan, and one in which every text is hostile."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _pairing, _report
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _evacuation
from ansible_collections.vfio.migration.tests.benchmarks import _fleets
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data, report_data

HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "\"'`><svg onload=document.title='owned'>",
    "<!--<script>",
    "{a|b} ${1} %s {{ 7 * 7 }} @@data@@ [x](http://example.com) @everyone #1 ![](x)",
    "nul\0 bell\a escape\x1b[31m line\nfeed \u2028 \u202e right to left",
    "x" * 4000,
)


def large(hosts: int = 1000) -> _report.Report:
    """A generated fleet, and a plan that need not be a good one: every twentieth host is drained, in ten waves."""
    facts = _fleets.facts(_fleets.Spec(hosts, 0.97, 0.05, "all", 6))
    *_others, newer, lost = sorted(facts)
    facts[newer], facts[lost] = {"vfio_migration": {"schema_version": 7}}, {}
    # One host whose parents do not say how much of their first type is free.
    facts[min(facts)] = copy.deepcopy(facts[min(facts)])
    facts[min(facts)]["vfio_migration"]["parents"][0]["types"][0]["available_instances"] = None
    pairings = _pairing.pairings(facts, _fleets.MAX_AGE, _fleets.TIME)
    snapshots = {name: each["vfio_migration"] for name, each in facts.items() if name not in (newer, lost)}
    for number, (name, snapshot) in enumerate(sorted(snapshots.items())):
        snapshot["notes"] = [*snapshot["notes"], *notes(name, number)]
    return _report.build(pairings, snapshots, plan(snapshots, sorted(facts)[::20]))


def notes(host: str, number: int) -> list[_model.Note]:
    """What every host notes, and in words of its own what every fourth does."""
    every: _model.Note = {"item": "host", "reason": "no_pyudev", "detail": "Names need pyudev."}
    own: _model.Note = {
        "item": f"workloads/{number}",
        "reason": "missing_device",
        "detail": f"VM web-{host} names the mdev {number:08x}-0000-4000-8000-000000000001.",
    }
    return [every] if number % 4 else [every, own]


def plan(snapshots: t.Mapping[str, _model.Snapshot], drained: t.Sequence[str]) -> _model.Plan:
    """Who is on the drained hosts goes to the others in turn; one VM of each is stuck."""
    others = sorted(set(snapshots) - set(drained))
    moves: list[_model.Move] = []
    stuck: list[_model.Stuck] = []
    for host in drained:
        for workload in snapshots[host]["workloads"] if host in snapshots else ():
            if not any(one["host"] == host for one in stuck):
                stuck.append(_stuck(host, workload))
            else:
                moves.append(_move(host, workload, others[len(moves) % len(others)], 1 + len(moves) % 10))
    return {
        "schema_version": _model.SCHEMA_VERSION,
        "id": _model.Name("rack7"),
        "created": report_data.NOW,
        "uuid_policy": "new",
        "persist": False,
        "partial": False,
        "moves": moves,
        "stuck": stuck,
        "planning": _planning(drained),
    }


def _move(host: str, workload: _model.Workload, target: str, wave: int) -> _model.Move:
    devices = [
        _model.PlanDevice(
            source=name,
            source_type=report_data.TYPE,
            vendor="pci:8086",
            type_string=report_data.STRING,
            device_string=report_data.STRING,
            parent=_model.Name("0000:3b:00.0"),
            type=report_data.TYPE,
            uuid=name,
            attributes=[],
            evidence=_model.PlanEvidence(
                verdict="compatible", scope="type", reason=None, asked=report_data.NOW, warnings=["no_way_back"]
            ),
        )
        for name in workload["devices"]
    ]
    return {
        "workload": workload["id"],
        "name": workload["name"],
        "source": host,
        "target": target,
        "wave": wave,
        "devices": devices,
        "passthrough": [],
    }


def _stuck(host: str, workload: _model.Workload) -> _model.Stuck:
    remedy = _model.Remedy(
        kind="instance", host="hv2", parent=_model.Name("0000:3b:00.0"), type=report_data.TYPE,
        detail="One more instance of its type on 0000:3b:00.0 of hv2 frees it.",
    )  # fmt: skip
    return {
        "workload": workload["id"],
        "name": workload["name"],
        "host": host,
        "reason": "no_capacity",
        "detail": "No host that takes it has room.",
        "rivals": [],
        "hosts": [],
        "remedies": [remedy],
    }


def _planning(drained: t.Sequence[str]) -> _model.Planning:
    half = len(drained) // 2
    return {
        "inputs": {"fingerprint": "0" * 64, "oldest": report_data.NOW, "age": 5, "hosts": []},
        "policy": {},
        "batches": [
            {"batch": 1, "hosts": list(drained[:half]), "emptied": list(drained[1:half]), "waves": [1, 2, 3, 4, 5]},
            {"batch": 2, "hosts": list(drained[half:]), "emptied": list(drained[half:]), "waves": [6, 7, 8, 9, 10]},
        ],
        "stopped": [{"workload": "vm-x", "name": "batch-job", "host": drained[0]}],
        "capacity": [],
        "bound": None,
        "bound_reason": _evacuation.NO_ROLLING_BOUND,
        "gap": None,
        "notes": [{"item": "hosts/hv9", "reason": "room_unknown", "detail": "nothing is planned onto it"}],
    }


def hostile() -> _report.Report:
    """Every place that a host fills holds one of the hostile texts."""
    pairings = report_data.small()
    snapshots = {"hv1": report_data.snapshot("hv1", {"a": "b", "c": "d"}), "hv2": _snapshot("hv2")}
    for number, (name, snapshot) in enumerate(snapshots.items()):
        snapshot["notes"] = [note for _text in HOSTILE for note in notes(name, number)]
    report = _report.build(pairings, snapshots, plan(snapshots, ["hv1"]))
    report["notes"] *= len(HOSTILE)
    numbers = iter(range(10**6))
    return t.cast("_report.Report", {**_poisoned(report, numbers), "names": {("hv1", "vm-1"): HOSTILE[0]}})


def _snapshot(host: str) -> _model.Snapshot:
    parts = fleet_data.parent("0000:3b:00.0", fleet_data.mdev_type("t1", "s"), fleet_data.mdev_type("t2", "s"))
    return t.cast("_model.Snapshot", {**report_data.snapshot(host, {}), "parents": [parts]})


_KEPT = {"state", "verdict", "scope", "kind", "way_back", "status", "source", "target", "id", "model", "schema_version"}
"""Fields that decide, and ids that name each other; the contracts allow no other words there."""


def _poisoned(value: t.Any, numbers: t.Iterator[int]) -> t.Any:
    if isinstance(value, dict):
        return {key: one if key in _KEPT else _poisoned(one, numbers) for key, one in value.items()}
    if isinstance(value, list):
        return [_poisoned(one, numbers) for one in value]
    return HOSTILE[next(numbers) % len(HOSTILE)] if isinstance(value, str) else value
