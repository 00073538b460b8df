# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan says would free a VM does free it: made true in the facts or options, and planned again."""

from __future__ import annotations

import copy
import re
import typing as t

from hypothesis import event, given, settings

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _evacuation
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner import fleets
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner.fleets import Case

FEW = settings(max_examples=150)


MODELS = [
    {"driver": sort.driver, "model": "shared_units", "costs": {kind: cost for kind, (cost,) in sort.costs.items()}}
    for sort in fleets.SORTS
    if not sort.exclusive and len(sort.total) == 1
]
"""By numbers of siblings alone a parent that is one larger could be of another model than the others."""


def allow_unknown(case: Case, _workload: str, remedy: _model.Remedy) -> None:
    allowed = case.options.get("allow_unknown") or []
    case.options["allow_unknown"] = [*allowed, remedy["host"]]


def anti_affinity(case: Case, workload: str, remedy: _model.Remedy) -> None:
    """Groups without a name are counted; one with a single member is none."""
    number = re.search(r"group group (\d+)$", remedy["detail"])
    assert number, remedy["detail"]
    group = case.options["anti_affinity"][int(number[1]) - 1]
    group["workloads"].remove(workload)
    if len(group["workloads"]) < 2:
        case.options["anti_affinity"].remove(group)


def instance(case: Case, _workload: str, remedy: _model.Remedy) -> None:
    """A parent that is larger by one instance, or another device like this one."""
    assert remedy["host"] is not None
    facts = case.facts[remedy["host"]]
    snapshot, verdicts = facts["vfio_migration"], facts["vfio_migration_verdicts"]["verdicts"]
    if remedy["type"] is None:
        (device,) = (one for one in snapshot["devices"] if one["id"] == remedy["parent"])
        name = f"{device['id'][:-1]}7"
        snapshot["devices"].append({**copy.deepcopy(device), "id": name, "in_use_by": []})
        verdicts += [{**one, "device": name} for one in verdicts if one["device"] == remedy["parent"]]
        return
    (parent,) = (one for one in snapshot["parents"] if one["address"] == remedy["parent"])
    (sort,) = (one for one in fleets.SORTS if one.driver == parent["driver"])
    taken = [one["type"] for one in snapshot["devices"] if one["parent"] == parent["address"]]
    room = sort.grown(remedy["type"]).room(taken)
    for one in parent["types"]:
        if not sort.exclusive:
            one["available_instances"] = room[one["id"]]
        elif one["id"] == remedy["type"]:
            one["available_instances"] += 1


APPLY: dict[str, t.Callable[[Case, str, _model.Remedy], None]] = {
    "allow_unknown": allow_unknown,
    "anti_affinity": anti_affinity,
    "instance": instance,
}


def others_stay(plan: _model.Plan, workload: str, options: fleets.Options) -> dict[str, str]:
    """Who else is stuck is told to stay, so that nobody takes the place that was meant for this one."""
    others = {one["workload"]: "skip" for one in plan["stuck"] if one["workload"] != workload}
    return {**options.get("workloads", {}), **others}


def can_show(case: Case, remedy: _model.Remedy) -> bool:
    """What is left of several resources does not follow from numbers of instances, so facts can not say it."""
    parents = case.facts[str(remedy["host"])]["vfio_migration"]["parents"]
    several = {sort.driver for sort in fleets.SORTS if len(sort.total) > 1}
    return not any(one["address"] == remedy["parent"] and one["driver"] in several for one in parents)


def drivers(case: Case) -> set[str]:
    return {parent["driver"] for own in case.facts.values() for parent in own["vfio_migration"]["parents"]}


def planned(case: Case) -> _model.Plan:
    return _evacuation.plan(case.facts, case.options, fleet_data.NOW, fleet_data.DAY)


@FEW
@given(fleets.cases(rolling=False, odd=False))
def test_a_remedy_frees_the_vm_and_costs_nobody_else_a_place(case: Case) -> None:
    case.options["capacity"] = [each for each in MODELS if each["driver"] in drivers(case)]
    plan = planned(case)
    for one in plan["stuck"]:
        for remedy in one["remedies"]:
            if remedy["kind"] not in APPLY or not can_show(case, remedy):
                continue
            event(f"{remedy['kind']}")
            changed = copy.deepcopy(case)
            APPLY[remedy["kind"]](changed, one["workload"], remedy)
            changed.options["workloads"] = others_stay(plan, one["workload"], case.options)
            stuck = {each["workload"] for each in planned(changed)["stuck"]}
            assert stuck == {each["workload"] for each in plan["stuck"]} - {one["workload"]}, remedy["detail"]
