# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner against the checker and against exhaustive search, on random fleets."""

from __future__ import annotations

import json
import random
from unittest import mock

import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _contracts, _nodes, _pairing, _plan
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _evacuation, _fold, _highs, _policy, _solve
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._checker import violations
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner import exhaustive, fleets
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner.fleets import Case

FEW = settings(max_examples=80)


def planned(case: Case) -> tuple[_model.Plan, list[str]]:
    """A plan, and what the checker says of it."""
    hosts = _nodes.load(case.facts)
    policy = _policy.read(case.options, hosts)
    pairings = _pairing.pairings(case.facts, fleet_data.DAY, fleet_data.NOW, "all" if policy.rolling else "devices")
    plan = _evacuation.plan(case.facts, case.options, fleet_data.NOW, fleet_data.DAY)
    states = {one["host"]: one["state"] for one in pairings["hosts"]}
    snapshots = {one.name: one.snapshot for one in hosts if one.snapshot and states[one.name] in ("fresh", "cached")}
    return plan, violations(plan, snapshots, pairings, policy)


@pytest.mark.fault("L1", "L2", "L3", "L7", "C16")
@FEW
@given(fleets.cases(rolling=False))
def test_a_drain_keeps_every_rule(case: Case) -> None:
    plan, wrong = planned(case)
    event(f"{min(3, len(plan['moves']))} moves, {min(2, len(plan['stuck']))} stuck")
    assert wrong == []


def test_a_good_share_of_the_drains_moves_more_than_one_vm() -> None:
    """Of always the same cases: what nobody moves in proves little."""
    moves: list[int] = []

    @settings(FEW, derandomize=True, database=None, phases=[Phase.generate])
    @given(fleets.cases(rolling=False))
    def count(case: Case) -> None:
        moves.append(len(_evacuation.plan(case.facts, case.options, fleet_data.NOW, fleet_data.DAY)["moves"]))

    count()
    assert len(moves) >= FEW.max_examples
    assert sum(number >= 2 for number in moves) >= len(moves) / 4, moves


@pytest.mark.fault("L1", "L2", "L3", "L4", "L7")
@FEW
@given(fleets.cases(rolling=True))
def test_a_rolling_maintenance_keeps_every_rule(case: Case) -> None:
    plan, wrong = planned(case)
    event(f"{min(5, len(plan['moves']))} moves, {min(2, len(plan['stuck']))} stuck")
    assert wrong == []


@FEW
@given(fleets.cases(rolling=True))
def test_every_plan_is_one_that_can_be_read(case: Case) -> None:
    plan, _wrong = planned(case)
    assert _contracts.check(_model.Plan, plan, "plan") == []
    assert _plan.load(json.loads(json.dumps(plan))) == plan


@pytest.mark.fault("L3", "L7")
@pytest.mark.parametrize("proven", [False, True], ids=["library", "highs"])
@FEW
@given(fleets.cases(rolling=False))
def test_a_drain_of_a_tiny_fleet_is_as_good_as_it_gets(proven: bool, case: Case) -> None:
    hosts = _nodes.load(case.facts)
    policy = _policy.read(case.options, hosts)
    pairings = _pairing.pairings(case.facts, fleet_data.DAY, fleet_data.NOW)
    best = exhaustive.best(_fold.fold(pairings, hosts, policy).problem)
    with mock.patch.object(_highs, "is_there", return_value=proven):
        planning = (plan := _evacuation.of_pairings(hosts, pairings, policy, fleet_data.NOW))["planning"]
    assert planning
    emptied = sum(len(batch["emptied"]) for batch in planning["batches"])
    event(f"{emptied} of {len(policy.drain)} emptied, {len(plan['stuck'])} stuck")
    assert (emptied, len(plan["moves"])) == (best.hosts, best.vms)
    assert planning["bound"]
    assert planning["bound"]["hosts"] >= best.hosts
    assert planning["bound"]["workloads"] >= best.vms


@pytest.mark.fault("L3", "L7")
@FEW
@given(fleets.cases(rolling=False))
def test_without_going_through_everything_a_bound_that_is_true_is_reached(case: Case) -> None:
    """In a fleet that is too large for that, only the models of the solver close a gap."""
    hosts = _nodes.load(case.facts)
    policy = _policy.read(case.options, hosts)
    pairings = _pairing.pairings(case.facts, fleet_data.DAY, fleet_data.NOW)
    best = exhaustive.best(_fold.fold(pairings, hosts, policy).problem)
    with mock.patch.object(_solve, "exact", return_value=None):
        planning = _evacuation.of_pairings(hosts, pairings, policy, fleet_data.NOW)["planning"]
    assert planning
    bound = planning["bound"]
    assert bound
    assert bound["hosts"] >= best.hosts
    is_tight = (bound["hosts"], bound["workloads"]) == (best.hosts, best.vms)
    event(f"tight: {is_tight}, by {bound['method']}")
    assert not is_tight or planning["gap"] == {"hosts": 0, "workloads": 0}


@FEW
@given(st.one_of(fleets.cases(rolling=False), fleets.cases(rolling=True)), st.randoms(use_true_random=False))
def test_the_order_of_the_facts_does_not_matter(case: Case, chance: random.Random) -> None:
    plans = [
        _evacuation.plan(facts, case.options, fleet_data.NOW, fleet_data.DAY)
        for facts in (case.facts, fleet_data.mixed(case.facts, chance))
    ]
    assert json.dumps(plans[0]) == json.dumps(plans[1])


def one_each(host: str, room: int, *workloads: str) -> dict[str, object]:
    """A host of one parent and type with these workloads; it takes what others offer."""
    number = int(host[2:])
    names = [f"00000000-0000-0000-{number:04}-{place:012}" for place in range(len(workloads))]
    return fleet_data.host(
        fleet_data.parent("p1", fleet_data.mdev_type("t1", "s", room)),
        *(fleet_data.device(name, "s", ("p1", "t1"), True) for name in names),
        *(fleet_data.workload(word, name) for word, name in zip(workloads, names, strict=True)),
        verdicts=[fleet_data.verdict(("p1", "t1", None), "s")],
    )


def test_who_is_stopped_for_the_maintenance_is_there_again_after_it() -> None:
    facts = {"hv1": one_each("hv1", 1, "a"), "hv2": one_each("hv2", 0, "b")}
    rolling = {"batches": [["hv1"], ["hv2"]]}
    apart = [{"workloads": ["a", "b"]}]
    plan, wrong = planned(Case(facts, {"rolling": rolling, "workloads": {"a": "stop"}, "anti_affinity": apart}))
    assert wrong == []
    assert plan["moves"] == []
    assert [(one["workload"], one["reason"]) for one in plan["stuck"]] == [("b", "anti_affinity")]
