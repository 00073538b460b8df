# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark's baselines keep the rules, and the integer programme finds the optimum of what is small."""

from __future__ import annotations

from hypothesis import given, settings

from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes, _pairing
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _fold, _policy
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Problem
from ansible_collections.vfio.migration.tests.benchmarks import _baselines
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner import exhaustive, fleets
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner.fleets import Case

FEW = settings(max_examples=100)
PLAIN = ("drain", "incoming")


def problem_of(case: Case) -> Problem:
    hosts = _nodes.load(case.facts)
    policy = _policy.read({key: case.options[key] for key in PLAIN if key in case.options}, hosts)
    return _fold.fold(_pairing.pairings(case.facts, fleet_data.DAY, fleet_data.NOW), hosts, policy).problem


@FEW
@given(fleets.cases(rolling=False))
def test_first_fit_is_valid(case: Case) -> None:
    problem = problem_of(case)
    solution = _baselines.first_fit(problem)
    assert exhaustive.errors(problem, solution) == []


@FEW
@given(fleets.cases(rolling=False, odd=False))
def test_the_integer_programme_is_valid_and_the_best_of_small_fleets(case: Case) -> None:
    problem = problem_of(case)
    solution = _baselines.host_level_milp(problem, _baselines.Limits(1000, 60.0))
    assert solution is not None
    assert exhaustive.errors(problem, solution) == []
    assert exhaustive.score(problem, solution)[:2] == exhaustive.best(problem)[:2]
