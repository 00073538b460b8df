# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search: valid always, exact where all can be gone through, the same bytes for any hash seed."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import math
import operator
import os
import subprocess
import sys
import typing as t
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.plugin_utils.planner import (
    _bound,
    _configurations,
    _exact,
    _greedy,
    _improve,
    _market,
    _prices,
    _rooms,
    _search,
    _solve,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._flow import flow_bound
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    Bound,
    Group,
    Host,
    Kind,
    Parent,
    Problem,
    Seat,
    Solution,
    Vm,
    emptied,
)
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner import exhaustive, problems
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner.problems import Shape

MODULE = "ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner.problems"
MANY = settings(max_examples=100)
NEEDS = range(3)


def faults(problem: Problem, solution: Solution) -> list[str]:
    """What is wrong with a solution: every sum worked out anew, in no order."""
    found: list[str] = []
    at: dict[tuple[int, int], list[int]] = collections.defaultdict(list)
    by_host: dict[int, list[Vm]] = collections.defaultdict(list)
    where = {number: vm.host for number, vm in enumerate(problem.vms)}
    placed = {one.vm for one in solution.placements}
    if len(placed) != len(solution.placements):
        found.append("a VM is placed twice")
    for vm, host, seats in solution.placements:
        where[vm] = host
        by_host[host].append(problem.vms[vm])
        for need, (position, seat) in zip(problem.vms[vm].needs, seats, strict=True):
            at[host, position].append(seat)
            own = problem.kinds[problem.hosts[host].parents[position].kind].seats[seat]
            if need not in own.yes | own.maybe:
                found.append(f"{vm} is refused")
        if not problem.hosts[host].target or host == problem.vms[vm].host:
            found.append(f"{vm} is on no target")
    for (host, place), types in at.items():
        parent = problem.hosts[host].parents[place]
        kind = problem.kinds[parent.kind]
        if kind.exclusive:
            fits = len(set(types)) == 1 and len(types) <= parent.left[types[0]]
        else:
            fits = all(
                sum(kind.costs[seat][resource] for seat in types) <= have for resource, have in enumerate(parent.left)
            )
        if not fits:
            found.append(f"parent {place} of {host} is too small")
    for number, vms in by_host.items():
        host_ = problem.hosts[number]
        sums = (len(vms), sum(vm.cpus for vm in vms), sum(vm.memory for vm in vms))
        limits = (host_.incoming, host_.cpus, host_.memory)
        if any(most is not None and most < much for most, much in zip(limits, sums, strict=True)):
            found.append(f"host {number} gets too much")
    return found + together(problem, where, placed)


def together(problem: Problem, where: dict[int, int], placed: set[int]) -> list[str]:
    """Members of groups that were placed beside another member."""
    found = []
    for position, group in enumerate(problem.groups):
        members = [number for number, vm in enumerate(problem.vms) if position in vm.groups]
        places = {number: group.place(problem.hosts[where[number]]) for number in members}
        for number in placed & set(members):
            others = [places[other] for other in members if other != number]
            if places[number] in others or places[number] in group.taken:
                found.append(f"{number} is not apart")
    return found


@st.composite
def tiny(draw: st.DrawFn) -> Problem:
    accepted = st.frozensets(st.sampled_from(NEEDS), max_size=3)
    kinds = []
    for _kind in range(draw(st.integers(1, 3))):
        seats = []
        for _seat in range(draw(st.integers(1, 2))):
            yes = draw(accepted)
            maybe = draw(accepted) - yes if draw(st.booleans()) else frozenset[int]()
            seats.append(Seat("t", yes, maybe, frozenset(), None))
        exclusive = draw(st.booleans())
        resources = draw(st.integers(1, 2))
        cost = st.tuples(*[st.integers(1 if resource == 0 else 0, 2) for resource in range(resources)])
        costs = () if exclusive else tuple(draw(cost) for _each in seats)
        kinds.append(Kind(exclusive, tuple(seats), costs))
    optional = st.none() | st.integers(0, 2)
    hosts = []
    for number in range(draw(st.integers(1, 3))):
        more: t.Any = {"held": draw(st.integers(0, 5)) == 0, "target": False, "drained": True}
        hosts.append(
            Host(f"d{number}", (), domain=draw(st.sampled_from("xy")), incoming=None, cpus=None, memory=None, **more)
        )
    drained = len(hosts)
    for number in range(draw(st.integers(0, 3))):
        parents = []
        for place in range(draw(st.integers(0, 2))):
            kind = draw(st.integers(0, len(kinds) - 1))
            size = len(kinds[kind].seats) if kinds[kind].exclusive else len(kinds[kind].costs[0])
            left = tuple(draw(st.integers(0, 3)) for _each in range(size))
            parents.append(Parent(f"p{place}", kind, left, left))
        limits: t.Any = {"incoming": draw(optional), "cpus": draw(optional), "memory": draw(optional)}
        domain = draw(st.sampled_from("xyz"))
        far = draw(st.sampled_from([0, 0, 1]))
        hosts.append(Host(f"t{number}", tuple(parents), target=True, drained=False, domain=domain, cost=far, **limits))
    groups = tuple(
        Group(f"g{number}", draw(st.booleans()), draw(st.frozensets(st.sampled_from(["x", "z", "t0"]), max_size=1)))
        for number in range(draw(st.sampled_from([0, 0, 1, 2])))
    )
    vms = []
    for number in range(draw(st.integers(0, 6))):
        needs = tuple(sorted(draw(st.lists(st.sampled_from(NEEDS), min_size=1, max_size=2))))
        own = tuple(each for each in range(len(groups)) if draw(st.booleans()))
        devices = tuple(f"{number}/{each}" for each in range(len(needs)))
        home = draw(st.integers(0, drained - 1))
        vms.append(Vm(f"v{number}", home, needs, devices, draw(st.integers(0, 1)), draw(st.integers(0, 1)), own))
    return Problem(tuple(hosts), tuple(kinds), tuple(vms), groups)


@given(tiny())
@MANY
def test_a_tiny_problem_is_solved_to_the_optimum(given_: Problem) -> None:
    solution = _solve.solve(given_)
    assert faults(given_, solution) == []
    assert exhaustive.score(given_, solution) == exhaustive.best(given_)


@given(tiny())
@MANY
def test_without_going_through_all_it_is_still_valid(given_: Problem) -> None:
    with mock.patch.object(_solve, "exact", return_value=None):
        solution = _solve.solve(given_)
    assert faults(given_, solution) == []
    assert exhaustive.score(given_, solution)[:2] <= exhaustive.best(given_)[:2]


@given(tiny())
@MANY
def test_no_solution_is_better_than_the_flow_bound(given_: Problem) -> None:
    best, bound = exhaustive.best(given_), flow_bound(given_)
    assert best.hosts <= bound.hosts
    assert best.vms <= bound.vms


@given(tiny(), st.randoms(use_true_random=False))
@MANY
def test_going_on_from_a_solution_never_makes_it_worse(given_: Problem, chance: t.Any) -> None:
    whole = _solve.solve(given_)
    groups = {each.vm for each in whole.placements if given_.vms[each.vm].groups}
    part = Solution(tuple(each for each in whole.placements if not groups and chance.random() < 0.5))
    solution = _solve.solve(given_, part)
    assert faults(given_, solution) == []
    assert exhaustive.score(given_, solution)[:2] >= exhaustive.score(given_, part)[:2]


@given(tiny())
@MANY
def test_a_solution_is_had_as_if_it_was_put_one_by_one(given_: Problem) -> None:
    solution = _solve.solve(given_)
    put, had = _search.Search(given_), _search.Search(given_)
    for placement in solution.placements:
        put.put(placement)
    for each in (solution, Solution(()), solution):
        had.have(each)
    assert (had.solution(), had.parents()) == (put.solution(), put.parents())
    pairs = itertools.product(range(len(given_.vms)), range(len(given_.hosts)))
    assert all(had.keeps_apart(vm, host) == put.keeps_apart(vm, host) for vm, host in pairs)


@given(tiny())
@MANY
def test_one_more_vm_leaves_nobody_without_a_place(given_: Problem) -> None:
    whole = _solve.solve(given_)
    trial = _solve.Trial(given_, whole)
    for vm in range(len(given_.vms)):
        if vm in {each.vm for each in whole.placements}:
            continue
        contention = trial.contention(vm)
        placed = {each.vm: each for each in whole.placements}
        assert set(contention.rivals) <= set(placed)
        assert {placed[each].host for each in contention.rivals} <= set(contention.hosts)
        found = trial.can_place(vm)
        assert found is None or (
            faults(given_, found) == [] and {*placed, vm} == {each.vm for each in found.placements}
        )


SHAPES = [
    pytest.param(Shape(2, drained=0.5), id="two hosts"),
    pytest.param(Shape(60, drained=0.1), id="little room"),
    pytest.param(Shape(60, drained=0.1, used=0.5), id="much room"),
    pytest.param(Shape(60, drained=0.1, used=0.8, incoming=1), id="one VM a host"),
    pytest.param(Shape(60, drained=0.1, used=0.8, headroom=True), id="CPUs and memory"),
    pytest.param(Shape(60, drained=0.2, used=0.8, together=0.6), id="anti-affinity"),
    pytest.param(Shape(60, drained=0.1, unknown=0.5), id="unknown answers"),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_fleet_is_solved_validly(shape: Shape, seed: int) -> None:
    given_ = problems.problem(dataclasses.replace(shape, seed=seed))
    solution = _solve.solve(given_)
    assert faults(given_, solution) == []
    bound = flow_bound(given_)
    assert len(emptied(given_, {each.vm for each in solution.placements})) <= bound.hosts
    assert len(solution.placements) <= bound.vms


@pytest.mark.parametrize(
    ("shape", "hosts", "vms"),
    [
        pytest.param(Shape(100), 2, 65, id="little choice"),
        pytest.param(Shape(300), 11, 202, id="95 % used"),
        pytest.param(Shape(300, used=0.9, drained=0.1), 27, 424, id="90 % used"),
        pytest.param(Shape(300, strings=5, used=0.8, drained=0.2), 57, 753, id="many drained"),
        pytest.param(Shape(300, used=0.5, drained=0.1), 30, 220, id="half used"),
        pytest.param(Shape(300, strings=20, drained=0.2), 14, 247, id="four times as many as there is room for"),
        pytest.param(Shape(400, strings=10, drained=0.15), 20, 357, id="three times as many as there is room for"),
    ],
)
def test_a_solution_is_within_five_per_cent_of_what_was_proven(shape: Shape, hosts: int, vms: int) -> None:
    """The bounds are those of the configuration model and of the merged one."""
    given_ = problems.problem(shape)
    solution = _solve.solve(given_)
    assert faults(given_, solution) == []
    found = exhaustive.score(given_, solution)
    assert 0.95 * hosts <= found.hosts <= hosts
    assert 0.95 * vms <= found.vms <= vms


def test_what_has_room_is_spread() -> None:
    given_ = problems.problem(Shape(200, used=0.5))
    load = collections.Counter(each.host for each in _solve.solve(given_).placements)
    assert max(load.values()) <= 2


ONE, TWO = (Kind(True, (Seat("t", frozenset([need]), frozenset(), frozenset(), None),), ()) for need in (0, 1))
EITHER = Kind(True, (Seat("t", frozenset([0, 1]), frozenset(), frozenset(), None),), ())


def contended() -> tuple[Problem, Solution]:
    """The first VM may go to either target, the second one only to where the first one is."""
    common: t.Any = {"incoming": None, "cpus": None, "memory": None}
    hosts = (
        Host("a", (), target=False, drained=True, domain="a", **common),
        Host("b", (Parent("p", 2, (1,), (1,)),), target=True, drained=False, domain="b", **common),
        Host("c", (Parent("p", 0, (0,), (1,)),), target=True, drained=False, domain="c", **common),
    )
    vms = (Vm("v0", 0, (0,), ("d0",)), Vm("v1", 0, (1,), ("d1",)))
    given_ = Problem(hosts, (ONE, TWO, EITHER), vms)
    return given_, _solve.solve(given_)


@pytest.mark.fault("L3")
def test_two_want_the_last_slot() -> None:
    given_, solution = contended()
    (only,) = solution.placements
    assert _solve.Trial(given_, solution).contention(1 - only.vm) == ((only.vm,), (1,), (0, 1))
    assert _solve.can_place(given_, solution, 1 - only.vm) is None


def with_host(given_: Problem, number: int, host: Host, kinds: tuple[Kind, ...]) -> Problem:
    hosts = (*given_.hosts[:number], host, *given_.hosts[number + 1 :])
    return dataclasses.replace(given_, hosts=hosts, kinds=kinds)


def test_one_change_is_tried_and_forgotten() -> None:
    given_, _solution = contended()
    first = _solve.solve(dataclasses.replace(given_, vms=given_.vms[:1]))
    trial = _solve.Trial(given_, first)
    more = dataclasses.replace(given_.hosts[2], parents=(Parent("p", 0, (1,), (1,)),))
    changed = with_host(given_, 2, more, given_.kinds)
    freed = trial.can_place(1, changed)
    assert freed is not None
    assert faults(changed, freed) == []
    assert trial.can_place(1) is None


def test_kinds_of_two_changes_are_told_apart() -> None:
    given_, _solution = contended()
    trial = _solve.Trial(given_, _solve.solve(dataclasses.replace(given_, vms=given_.vms[:1])))
    for need, frees in ((2, False), (1, True), (2, False)):
        kind = Kind(True, (Seat("t", frozenset([need]), frozenset(), frozenset(), None),), ())
        host = dataclasses.replace(given_.hosts[2], parents=(Parent("p", 3, (1,), (1,)),))
        assert (trial.can_place(1, with_host(given_, 2, host, (*given_.kinds, kind))) is not None) == frees


def devices(number: int) -> Problem:
    """Nine VMs with so many devices each; two targets of twelve parents with differing room, enough for a part."""
    seats = tuple(Seat(f"t{place}", frozenset({0, place}), frozenset(), frozenset(), None) for place in (1, 2))
    hosts = [Host(f"d{place}", (), False, True, f"d{place}", None, None, None) for place in range(3)]
    for name in ("h1", "h2"):
        parents = tuple(Parent(f"p{place}", place % 2, (units := 3 + place,), (units,)) for place in range(12))
        hosts.append(Host(name, parents, True, False, name, None, None, None))
    kinds = (Kind(False, seats, ((2,), (3,))), Kind(False, seats, ((3,), (4,))))
    vms = []
    for vm in range(9):
        needs = tuple(sorted((vm + place) % 3 for place in range(number)))
        vms.append(Vm(f"v{vm}", vm % 3, needs, tuple(f"x{place}" for place in range(number))))
    return Problem(tuple(hosts), kinds, tuple(vms))


def test_a_vm_with_many_devices_takes_no_more_than_one_with_few() -> None:
    """What is counted are ways to seat one more device."""
    work = {}
    for number in (4, 8, 12):
        problem = devices(number)
        rooms = _rooms.Rooms(problem.kinds)
        assert rooms.options(rooms.of(problem.hosts[-1]), _rooms.demand(problem.vms[0]))
        work[number] = rooms.work
    parents = 12
    assert max(work.values()) <= _rooms.SHORT * _rooms.WAYS * parents * 2
    assert work[8] <= work[4] * 1.5


def test_many_devices_end_the_search_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound and the searches may look at so many ways in all, and then finish the VM that they look at."""
    made: list[_rooms.Rooms] = []

    class Counted(_rooms.Rooms):
        def __init__(self, kinds: t.Sequence[Kind]) -> None:
            super().__init__(kinds)
            made.append(self)

    for module in (_bound, _exact, _search):
        monkeypatch.setattr(module, "Rooms", Counted)
    monkeypatch.setattr(_configurations, "STEPS", 50_000)
    problem = devices(8)
    start = _solve.solve(problem)
    proof = _bound.improve(problem, start, _solve.solve)
    assert faults(problem, proof.solution) == []
    assert proof.bound == Bound(*flow_bound(problem), "flow")
    assert len(made) >= 3
    assert max(rooms.work for rooms in made) <= 200_000


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(Shape(60, used=0.8, drained=0.2, together=0.6), id="anti-affinity"),
        pytest.param(Shape(300, strings=20, drained=0.2), id="little room"),
    ],
)
def test_how_python_adds_floats_changes_nothing(shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since Python 3.12 sum() loses less than before."""

    def solved(add: t.Callable[[t.Iterable[t.Any]], t.Any]) -> Solution:
        for module in (_market, _prices, _greedy, _improve, _solve):
            monkeypatch.setattr(module, "sum", add, raising=False)
        return _solve.solve(problems.problem(shape))

    def one_by_one(numbers: t.Iterable[t.Any]) -> t.Any:
        return functools.reduce(operator.add, numbers, 0)

    def exactly(numbers: t.Iterable[t.Any]) -> t.Any:
        own = list(numbers)
        return math.fsum(own) if any(isinstance(each, float) for each in own) else sum(own)

    assert solved(one_by_one) == solved(exactly)


def test_the_hash_seed_changes_nothing() -> None:
    code = (
        f"from {MODULE} import Shape, problem\n"
        f"from {_solve.__name__} import Trial, solve\n"
        "given = problem(Shape(60, drained=0.1, together=0.3, unknown=0.3, incoming=3))\n"
        "found = solve(given)\n"
        "missing = sorted(set(range(len(given.vms))) - {each.vm for each in found.placements})\n"
        "print(found, [Trial(given, found).contention(vm) for vm in missing[:5]])\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(outputs) == 1
