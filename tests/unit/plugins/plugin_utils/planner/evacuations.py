# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets of a few hosts in a few words, and plans of them that were checked."""

from __future__ import annotations

import json
import typing as t
import zlib

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes, _plan
from ansible_collections.vfio.migration.plugins.plugin_utils._pairing import pairings
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _evacuation, _policy
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._checker import violations
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data

Facts = dict[str, t.Any]


def uuid(word: str) -> str:
    """Always the same for this word."""
    return f"{zlib.crc32(word.encode()):08x}-0000-4000-8000-000000000000"


def host(
    rooms: t.Mapping[str, int | None],
    vms: t.Mapping[str, t.Sequence[str]] | None = None,
    takes: t.Iterable[str] = ("s",),
    refuses: t.Iterable[str] = (),
    string: str = "s",
    **more: t.Any,
) -> Facts:
    """A host whose drivers all say ``string``.

    :arg rooms: type -> instances that still fit; each on a parent of its own, ``p-<type>``.
    :arg vms: VM -> types of its devices; one that starts with ``?`` belongs to nobody.
    :arg takes: strings that its drivers accept. What is neither here nor in ``refuses`` nobody asked them about.
    """
    parents = [data.parent(f"p-{kind}", data.mdev_type(kind, string, room)) for kind, room in rooms.items()]
    devices: list[_model.Device] = []
    workloads: list[_model.Workload] = []
    for vm, types in (vms or {}).items():
        names = [uuid(f"{vm}/{number}") for number in range(len(types))]
        pairs = zip(names, types, strict=True)
        devices += [data.device(name, string, (f"p-{kind}", kind), in_use=True) for name, kind in pairs]
        if not vm.startswith("?"):
            workloads.append(data.workload(vm, *names))
    verdicts = [
        data.verdict((f"p-{kind}", kind, None), text, answer)
        for kind in rooms
        for answer, texts in (("yes", takes), ("no", refuses))
        for text in texts
    ]
    return data.host(*parents, *devices, *workloads, verdicts=verdicts, **more)


def drain(*hosts: str, **options: t.Any) -> dict[str, t.Any]:
    """The options of a plan that drains these."""
    return {"drain": list(hosts), **options}


def planned(facts: Facts, options: dict[str, t.Any]) -> _model.Plan:
    """The plan: one that its own reader takes and in which the checker finds nothing."""
    plan = _evacuation.plan(facts, options, data.NOW, data.DAY)
    _plan.load(json.loads(json.dumps(plan)))
    hosts = _nodes.load(facts)
    matrix = pairings(facts, data.DAY, data.NOW, "all" if options.get("rolling") else "devices")
    known = {each["host"] for each in matrix["hosts"] if each["state"] in ("fresh", "cached")}
    snapshots = {each.name: each.snapshot for each in hosts if each.snapshot and each.name in known}
    wrong = violations(plan, snapshots, matrix, _policy.read(options, hosts))
    assert not wrong, "\n".join(wrong)
    return plan


def planning(plan: _model.Plan) -> _model.Planning:
    """Of a plan that a planner made."""
    assert plan["planning"] is not None
    return plan["planning"]


def routes(plan: _model.Plan) -> dict[str, list[str]]:
    """VM -> the hosts it goes to, in order of waves."""
    found: dict[str, list[str]] = {}
    for move in sorted(plan["moves"], key=lambda each: each["wave"]):
        found.setdefault(move["workload"], []).append(move["target"])
    return found


def stuck(plan: _model.Plan) -> dict[str, _model.Stuck]:
    """By VM."""
    return {one["workload"]: one for one in plan["stuck"]}
