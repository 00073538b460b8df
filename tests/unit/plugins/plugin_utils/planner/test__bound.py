# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No solution is better than its bound, and every improvement is a solution."""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
import os
import subprocess
import sys
import typing as t

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.plugin_utils.planner import (
    _bound,
    _configurations,
    _crowd,
    _flow,
    _highs,
    _merged,
    _packing,
    _paths,
    _rooms,
    _solve,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    Bound,
    Group,
    Host,
    Kind,
    Parent,
    Placement,
    Problem,
    Seat,
    Solution,
    Vm,
    emptied,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._rooms import Rooms
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner import exhaustive, problems

NOTHING = Solution(())
NEEDS = st.integers(0, 2)


def keep(_problem: Problem, solution: Solution) -> Solution:
    """No help from the search, so that what is seen is this module's own."""
    return solution


@st.composite
def kinds(draw: st.DrawFn) -> Kind:
    seats = tuple(
        Seat(f"t{number}", draw(st.frozensets(NEEDS)), draw(st.frozensets(NEEDS, max_size=1)), frozenset(), None)
        for number in range(draw(st.integers(1, 2)))
    )
    if draw(st.booleans()):
        return Kind(True, seats, ())
    resources = draw(st.integers(1, 2))
    return Kind(False, seats, tuple(tuple(draw(st.integers(1, 2)) for _time in range(resources)) for _seat in seats))


@st.composite
def tiny(draw: st.DrawFn) -> Problem:
    """Two drained hosts and up to three targets."""
    known = tuple(draw(st.lists(kinds(), min_size=1, max_size=2)))
    hosts = [Host(f"d{number}", (), False, True, f"d{number}", None, None, None) for number in range(2)]
    for number in range(draw(st.integers(1, 3))):
        parents = []
        for place in range(draw(st.integers(1, 2))):
            kind = draw(st.integers(0, len(known) - 1))
            units = len(known[kind].seats) if known[kind].exclusive else len(known[kind].costs[0])
            left = tuple(draw(st.integers(0, 2)) for _time in range(units))
            parents.append(Parent(f"p{place}", kind, left, left))
        incoming = draw(st.none() | st.integers(0, 2))
        hosts.append(Host(f"h{number}", tuple(parents), True, False, f"h{number}", incoming, None, None))
    grouped = draw(st.booleans())
    vms = tuple(
        Vm(
            f"v{number}",
            draw(st.integers(0, 1)),
            tuple(sorted(draw(st.lists(NEEDS, min_size=1, max_size=2)))),
            (),
            groups=(0,) if grouped and number < 2 else (),
        )
        for number in range(draw(st.integers(1, 5)))
    )
    return Problem(tuple(hosts), known, vms, (Group("g", False, frozenset()),))


@given(given_problem=tiny())
@settings(max_examples=150)
def test_no_solution_is_better_than_the_bound(given_problem: Problem) -> None:
    best = exhaustive.best(given_problem)
    proof = _bound.improve(given_problem, NOTHING, keep)
    assert exhaustive.errors(given_problem, proof.solution) == []
    score = exhaustive.score(given_problem, proof.solution)
    assert proof.bound.hosts >= best.hosts
    if score.hosts == best.hosts:
        assert proof.bound.vms >= best.vms
    assert (score.hosts, score.vms) <= (proof.bound.hosts, proof.bound.vms)
    better = _bound.improve(given_problem, start := _solve.solve(given_problem), keep).solution
    assert exhaustive.score(given_problem, better)[:2] >= exhaustive.score(given_problem, start)[:2]
    if not any(vm.groups for vm in given_problem.vms) and proof.bound.hosts == score.hosts:
        assert (score.hosts, score.vms) <= (best.hosts, best.vms)


@pytest.mark.parametrize("rounds", [1, 60], ids=["before all loads are found", "with all loads"])
@given(given_problem=tiny())
@settings(max_examples=100)
def test_the_bound_of_configurations_holds(rounds: int, given_problem: Problem) -> None:
    crowd = _crowded(given_problem)
    assume(crowd.demands)
    best = exhaustive.best(given_problem)
    model = _configurations.Configurations(crowd, _configurations.Loads(crowd))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_configurations, "ROUNDS", rounds)
        hosts = model.relaxed("hosts", 0, -1)
        # Few loads may not even be enough to empty so many hosts.
        vms = model.relaxed("vms", best.hosts - crowd.idle if rounds > 1 else 0, -1)
    assert hosts is not None
    assert math.floor(hosts.bound + _highs.SLACK) + crowd.idle >= best.hosts
    assert vms is not None
    assert math.floor(vms.bound + _highs.SLACK) >= best.vms


@given(given_problem=tiny())
@settings(max_examples=100)
def test_the_bounds_of_the_merged_model_hold(given_problem: Problem) -> None:
    crowd = _crowded(given_problem)
    assume(crowd.demands)
    best = exhaustive.best(given_problem)
    model = _merged.Merged(crowd, given_problem.kinds)
    for aim, floor, most in _aims(crowd, best):
        relaxed, whole = model.relaxed(aim, floor), model.whole(aim, floor, 100)
        assert relaxed is not None
        assert whole is not None
        assert math.floor(relaxed + _highs.SLACK) >= math.floor(whole + _highs.CAUTION) >= most
        for asked in range(most + 2):
            emptying = math.floor(model.emptying(aim, floor, asked) + _highs.CAUTION)
            assert math.floor(relaxed + _highs.SLACK) >= emptying or emptying == asked - 1
            assert emptying >= most


def test_hosts_that_are_whole_prove_what_any_numbers_do_not() -> None:
    """Each two of four hosts have a VM that the one place for both takes: half of each is two hosts."""
    pairs = list(itertools.combinations(range(4), 2))
    seats = (Seat("t", frozenset({need}), frozenset(), frozenset(), None) for need in range(len(pairs)))
    known = tuple(Kind(False, (seat,), ((1,),)) for seat in seats)
    parents = tuple(Parent(f"p{kind}", kind, (1,), (1,)) for kind in range(len(known)))
    drained = (Host(f"d{number}", (), False, True, f"d{number}", None, None, None) for number in range(4))
    vms = tuple(Vm(f"v{need}-{host}", host, (need,), ("x",)) for need, pair in enumerate(pairs) for host in pair)
    problem = Problem((*drained, Host("h", parents, True, False, "h", None, None, None)), known, vms)
    model = _merged.Merged(_crowded(problem), known)
    assert model.relaxed("hosts", 0) == pytest.approx(2)
    assert model.emptying("hosts", 0, 2) == 1
    assert model.emptying("vms", 1, 7) == 6


@given(given_problem=tiny())
@settings(max_examples=100)
def test_paths_find_what_is_there_and_nothing_else(given_problem: Problem) -> None:
    given_problem = dataclasses.replace(
        given_problem, vms=tuple(dataclasses.replace(vm, groups=()) for vm in given_problem.vms)
    )
    crowd = _crowded(given_problem)
    assume(crowd.demands)
    best = exhaustive.best(given_problem)
    loads = _configurations.Loads(crowd)
    for aim, floor, most in _aims(crowd, best):
        priced = _configurations.Configurations(crowd, loads).relaxed(aim, floor, -1)
        assert priced is not None
        paths = _paths.Paths(crowd, loads)
        none, some = paths.seek(aim, floor, most + 1, priced), paths.seek(aim, floor, most, priced)
        assert none is not None
        assert (none.whole, none.bound) == (None, -math.inf)
        assert some is not None
        assert some.whole is not None
        solution = _packing.pack(given_problem, crowd, some.whole.loads, some.whole.drains)
        assert exhaustive.errors(given_problem, solution) == []
        score = exhaustive.score(given_problem, solution)
        assert (score.hosts - crowd.idle if aim == "hosts" else score.vms) == most


def _aims(crowd: _crowd.Crowd, best: exhaustive.Best) -> list[tuple[_configurations.Aim, int, int]]:
    """What is aimed at, hosts that are to be emptied, and the most that can be reached then."""
    hosts = best.hosts - crowd.idle
    return [("hosts", 0, hosts), ("vms", hosts, best.vms)]


@given(
    rows=st.lists(st.tuples(st.lists(st.integers(-2, 3), min_size=3, max_size=3), st.integers(0, 6)), max_size=3),
    duals=st.lists(st.floats(-2, 2), min_size=3, max_size=3),
)
@settings(max_examples=100)
def test_any_weights_of_rows_give_a_bound(rows: list[tuple[list[int], int]], duals: list[float]) -> None:
    model = _highs.Model()
    columns = [model.column(2, integer=True) for _time in range(3)]
    for values, upper in rows:
        model.row(-_highs.INFINITY, dict(zip(columns, map(float, values), strict=True)), upper)
    model.aim(columns)
    ways = itertools.product(range(3), repeat=3)
    sums = [sum(way) for way in ways if all(sum(map(operator.mul, values, way)) <= upper for values, upper in rows)]
    assert model.bound(duals[: len(rows)]) >= max(sums) - 1e-9
    answer = model.relaxed()
    assert answer is not None
    assert model.bound(answer.duals) == pytest.approx(answer.value, abs=1e-6)


@given(given_problem=tiny(), prices=st.lists(st.integers(0, 3), min_size=5, max_size=5))
@settings(max_examples=100)
def test_the_dearest_load_fits_and_none_is_dearer(given_problem: Problem, prices: list[int]) -> None:
    crowd = _crowded(given_problem)
    found = _configurations.Loads(crowd).best([float(price) for price in prices])
    assert found is not None
    for state, (worth, load) in zip(crowd.states, found, strict=True):
        assert _packing.chain(crowd, state, load) is not None
        assert sum(prices[vms] for vms in load) == worth
        bigger = [(*load, vms) for vms in range(len(crowd.demands)) if prices[vms]]
        assert not any(_packing.chain(crowd, state, each) for each in bigger)


def _crowded(problem: Problem) -> _crowd.Crowd:
    return _crowd.crowd(problem, Rooms(problem.kinds))


SHAPES = {
    "tight": problems.Shape(100, seed=3),
    "with limits": problems.Shape(60, used=0.8, incoming=2, headroom=True),
    "with anti-affinity": problems.Shape(60, together=0.3),
    "with unknown answers": problems.Shape(60, unknown=0.5),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_whole_fleets_come_to_their_bound(shape: problems.Shape) -> None:
    problem = problems.problem(shape)
    proof = _bound.improve(problem, NOTHING, keep)
    assert exhaustive.errors(problem, proof.solution) == []
    assert len(emptied(problem, {each.vm for each in proof.solution.placements})) == proof.bound.hosts
    assert 0 <= proof.bound.vms - len(proof.solution.placements) <= 1


def test_a_good_solution_is_never_lost() -> None:
    problem = problems.problem(problems.Shape(100, seed=3))
    once = _bound.improve(problem, NOTHING, keep)
    twice = _bound.improve(problem, once.solution, keep)
    assert exhaustive.score(problem, twice.solution)[:2] >= exhaustive.score(problem, once.solution)[:2]


def test_when_everything_is_placed_that_is_the_proof() -> None:
    hosts = (
        Host("d", (), False, True, "d", None, None, None),
        Host("h", (Parent("p", 0, (1,), (1,)),), True, False, "h", None, None, None),
    )
    kind = Kind(False, (Seat("t", frozenset({0}), frozenset(), frozenset(), None),), ((1,),))
    problem = Problem(hosts, (kind,), (Vm("v", 0, (0,), ("x",)),))
    whole = _packing.pack(problem, _crowded(problem), [{(0,): 1}], [1])
    assert _bound.improve(problem, whole, keep) == _bound.Proof(whole, Bound(1, 1, "everything"))


def test_without_the_solver_flows_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_highs, "is_there", lambda: False)
    problem = problems.problem(problems.Shape(20, strings=5))
    proof = _bound.improve(problem, NOTHING, keep)
    assert proof == _bound.Proof(NOTHING, Bound(*_flow.flow_bound(problem), "flow"))


def test_with_too_many_states_the_merged_model_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problems.problem(problems.Shape(20, strings=5))
    exact = _bound.improve(problem, NOTHING, keep).bound
    monkeypatch.setattr(_configurations, "STATES", 3)
    proof = _bound.improve(problem, NOTHING, keep)
    assert set(proof.bound.method.split("+")) <= {"merged_lp", "merged_milp"}
    assert exact.hosts <= proof.bound.hosts


def test_where_ways_were_left_out_flows_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problems.problem(problems.Shape(20, strings=5))
    monkeypatch.setattr(_rooms, "WAYS", 1)
    proof = _bound.improve(problem, NOTHING, keep)
    assert proof.bound == Bound(*_flow.flow_bound(problem), "flow")


def test_where_ways_were_left_out_what_does_not_fit_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = problems.Shape(20, strings=5, drained=0.2, used=0.85, headroom=True, seed=2)
    problem = problems.problem(shape)
    monkeypatch.setattr(_rooms, "WAYS", 1)
    start = _solve.solve(problem)
    proof = _bound.improve(problem, start, _solve.solve)
    assert exhaustive.errors(problem, proof.solution) == []
    assert exhaustive.score(problem, proof.solution)[:2] >= exhaustive.score(problem, start)[:2]
    assert proof.bound.method == "flow"


def test_who_is_not_packed_after_all_may_go_to_the_next_host() -> None:
    """In the same failure domain, where no other member of its group is then."""
    hosts = (
        Host("d", (), False, True, "d", None, None, None),
        *(Host(name, (Parent("p", 0, (1,), (1,)),), True, False, "domain", None, None, None) for name in ("h1", "h2")),
    )
    kind = Kind(False, (Seat("t", frozenset({0}), frozenset(), frozenset(), None),), ((1,),))
    vms = (Vm("v0", 0, (0,), ("x",)), Vm("v1", 0, (0,), ("x",), groups=(0,)))
    problem = Problem(hosts, (kind,), vms, (Group("g", True, frozenset()),))
    packed = _packing.pack(problem, _crowded(problem), [{(0, 0): 2}], [1])
    assert packed == Solution((Placement(0, 1, ((0, 0),)), Placement(1, 2, ((0, 0),))))


@pytest.mark.parametrize("others", [(), ((0,),)], ids=["nobody seems to fit", "others fit"])
def test_who_was_placed_in_a_way_that_was_left_out_is_no_load(
    others: tuple[tuple[int, ...], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only way that is followed gives the parent that takes both needs to the first."""
    monkeypatch.setattr(_rooms, "WAYS", 1)
    both, one = (
        Kind(False, (Seat("t", frozenset(needs), frozenset(), frozenset(), None),), ((1,),)) for needs in ((0, 1), (0,))
    )
    parents = (Parent("p", 0, (1,), (1,)), Parent("q", 1, (1,), (1,)))
    hosts = (
        Host("d", (), False, True, "d", None, None, None),
        Host("h", parents, True, False, "h", None, None, None),
    )
    needs = ((0, 1), (2,), *others)
    vms = tuple(Vm(f"v{number}", 0, own, ("x", "y")[: len(own)]) for number, own in enumerate(needs))
    problem = Problem(hosts, (both, one), vms)
    start = Solution((Placement(0, 1, ((1, 0), (0, 0))),))
    assert exhaustive.errors(problem, start) == []
    assert _bound.improve(problem, start, keep) == _bound.Proof(start, Bound(*_flow.flow_bound(problem), "flow"))


PRINT = f"""
from {_bound.__name__} import improve
from {problems.__name__} import Shape, problem
print(improve(problem(Shape(60, seed=5)), improve.__globals__["Solution"](()), lambda _problem, solution: solution))
"""


ONE_CPU = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"
THREADS = "import highspy; other = highspy.Highs(); other.setOptionValue('threads', 2); other.run()"
RUNS = (
    ("0", "1", ""),
    ("1", "4", ""),
    ("77", "2", ONE_CPU),
    ("4711", "2", THREADS),
)
"""Hash seed, threads that OpenMP is told to use, and what the process did before: another model with two threads."""


def test_the_same_for_any_hash_seed_and_number_of_threads_and_nothing_else_is_printed() -> None:
    def run(seed: str, threads: str, before: str) -> str:
        env: dict[str, t.Any] = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        code = [sys.executable, "-c", f"{before}\n{PRINT}"]
        return subprocess.run(code, env=env, capture_output=True, text=True, check=True).stdout

    outputs = {"".join(each for each in run(*one).splitlines() if each.startswith("Proof(")) for one in RUNS}
    assert len(outputs) == 1
    assert outputs.pop()
    assert [line[:6] for line in run(*RUNS[0]).splitlines()] == ["Proof("]
