# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The yardstick itself, on problems whose optimum is plain to see."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    Group,
    Host,
    Kind,
    Parent,
    Placement,
    Problem,
    Seat,
    Solution,
    Vm,
)
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner.exhaustive import (
    Best,
    best,
    errors,
    score,
)


def seat(*yes: int, maybe: t.Iterable[int] = ()) -> Seat:
    return Seat("t", frozenset(yes), frozenset(maybe), frozenset(), None)


ONE = Kind(True, (seat(0),), ())
TWO = Kind(True, (seat(0), seat(1)), ())
SHARED = Kind(False, (seat(0), seat(1)), ((1,), (2,)))
GUESS = Kind(True, (seat(maybe=[0]),), ())
KINDS = (ONE, TWO, SHARED, GUESS)


def drained(name: str, **more: t.Any) -> Host:
    options = {"target": False, "drained": True, "domain": name, "incoming": None, "cpus": None, "memory": None}
    return Host(name, (), **{**options, **more})


def target(name: str, *rooms: tuple[int, tuple[int, ...]], **more: t.Any) -> Host:
    """``rooms``: kind and what is left."""
    parents = tuple(Parent(f"p{number}", kind, left, left) for number, (kind, left) in enumerate(rooms))
    options = {"target": True, "drained": False, "domain": name, "incoming": None, "cpus": None, "memory": None}
    return Host(name, parents, **{**options, **more})


def vm(host: int, *needs: int, **more: t.Any) -> Vm:
    return Vm(f"vm-{host}", host, needs, tuple(f"d{number}" for number in range(len(needs))), **more)


def problem(hosts: t.Sequence[Host], *vms: Vm, groups: t.Sequence[Group] = ()) -> Problem:
    return Problem(tuple(hosts), KINDS, vms, tuple(groups))


A, B = drained("a"), drained("b")
APART = Group("g", False, frozenset())
BY_DOMAIN = Group("g", True, frozenset())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(problem([A]), Best(1, 0, 0, 0), id="nothing on it"),
        pytest.param(problem([A], vm(0, 0)), Best(0, 0, 0, 0), id="nowhere to go"),
        pytest.param(problem([A, target("c", (0, (1,)))], vm(0, 0)), Best(1, 1, 0, 0), id="one place"),
        pytest.param(problem([A, target("c", (0, (1,)))], vm(0, 0), vm(0, 0)), Best(0, 1, 0, 0), id="last place"),
        pytest.param(problem([A, target("c", (0, (1,)))], vm(0, 1)), Best(0, 0, 0, 0), id="not accepted"),
        pytest.param(
            problem([A, target("c", (1, (2, 1)))], vm(0, 0), vm(0, 1)), Best(0, 1, 0, 0), id="the first fixes the type"
        ),
        pytest.param(
            problem([A, target("c", (1, (2, 1)))], vm(0, 0), vm(0, 0)), Best(1, 2, 0, 0), id="two of one type"
        ),
        pytest.param(
            problem([A, target("c", (2, (3,)))], vm(0, 0), vm(0, 1)), Best(1, 2, 0, 0), id="units: one and two of three"
        ),
        pytest.param(
            problem([A, target("c", (2, (3,)))], vm(0, 1), vm(0, 1)), Best(0, 1, 0, 0), id="units: four of three"
        ),
        pytest.param(
            problem([A, target("c", (0, (1,))), target("d", (0, (1,)))], vm(0, 0, 0)),
            Best(0, 0, 0, 0),
            id="all devices to one host",
        ),
        pytest.param(
            problem([A, target("c", (0, (1,)), (0, (1,)))], vm(0, 0, 0)), Best(1, 1, 0, 0), id="on two parents"
        ),
        pytest.param(
            problem([A, B, target("c", (0, (2,)))], vm(0, 0), vm(1, 0), vm(1, 0), vm(1, 0)),
            Best(1, 2, 0, 0),
            id="hosts before VMs",
        ),
        pytest.param(problem([drained("a", held=True), target("c", (0, (1,)))], vm(0, 0)), Best(0, 1, 0, 0), id="held"),
        pytest.param(
            problem([A, target("c", (0, (9,)), incoming=1)], vm(0, 0), vm(0, 0)), Best(0, 1, 0, 0), id="incoming"
        ),
        pytest.param(
            problem([A, target("c", (0, (9,)), cpus=5)], vm(0, 0, cpus=3), vm(0, 0, cpus=3)),
            Best(0, 1, 0, 0),
            id="cpus",
        ),
        pytest.param(
            problem([A, target("c", (0, (9,)), memory=5)], vm(0, 0, memory=3), vm(0, 0, memory=3)),
            Best(0, 1, 0, 0),
            id="memory",
        ),
        pytest.param(
            problem([A, target("c", (0, (1,)), cost=1), target("d", (0, (1,)))], vm(0, 0), vm(0, 0)),
            Best(1, 2, 1, 0),
            id="as cheap as can be",
        ),
        pytest.param(
            problem([A, target("c", (3, (1,))), target("d", (0, (1,)))], vm(0, 0)), Best(1, 1, 0, 0), id="known first"
        ),
        pytest.param(
            problem([A, target("c", (3, (1,))), target("d", (0, (1,)), cost=1)], vm(0, 0)),
            Best(1, 1, 0, 1),
            id="cost before unknown answers",
        ),
        pytest.param(
            problem([A, target("c", (0, (9,)))], vm(0, 0, groups=(0,)), vm(0, 0, groups=(0,)), groups=[APART]),
            Best(0, 1, 0, 0),
            id="apart",
        ),
        pytest.param(
            problem(
                [A, target("c", (0, (9,)), domain="x"), target("d", (0, (9,)), domain="x")],
                vm(0, 0, groups=(0,)),
                vm(0, 0, groups=(0,)),
                groups=[BY_DOMAIN],
            ),
            Best(0, 1, 0, 0),
            id="apart by domain",
        ),
        pytest.param(
            problem(
                [A, target("c", (0, (9,)))], vm(0, 0, groups=(0,)), groups=[Group("g", False, frozenset({"c"}))]
            ),
            Best(0, 0, 0, 0),
            id="apart from one that does not move",
        ),
        pytest.param(
            problem(
                [drained("a", domain="x"), target("c", (0, (9,)), domain="y"), drained("b"),
                 target("d", (0, (9,)), domain="x")],
                vm(0, 1, groups=(0,)), vm(2, 0, groups=(0,)),
                groups=[Group("g", True, frozenset({"y"}))],
            ),
            Best(0, 0, 0, 0),
            id="apart from one that is stuck",
        ),
        pytest.param(
            problem(
                [drained("a", domain="x"), target("c", (0, (9,)), domain="y"), drained("b"),
                 target("d", (0, (1,)), domain="x")],
                vm(0, 0, groups=(0,)), vm(2, 0, groups=(0,)),
                groups=[BY_DOMAIN],
            ),
            Best(2, 2, 0, 0),
            id="one leaves what another enters",
        ),
        pytest.param(problem([A, drained("b", target=True)], vm(0)), Best(2, 1, 0, 0), id="without a device"),
    ],
)  # fmt: skip
def test_the_best_is_found(given: Problem, expected: Best) -> None:
    assert best(given) == expected


FULL = problem(
    [A, target("c", (1, (1, 2)), incoming=2, cost=1), target("d", (3, (1,)))],
    vm(0, 0, groups=(0,)),
    vm(0, 1, groups=(0,)),
    vm(0, 1),
    groups=[APART],
)


@pytest.mark.parametrize(
    ("placements", "wrong"),
    [
        ([Placement(0, 2, ((0, 0),)), Placement(1, 1, ((0, 1),)), Placement(2, 1, ((0, 1),))], []),
        ([Placement(0, 1, ((0, 0),)), Placement(2, 1, ((0, 1),))], ["VM 2 does not fit into ((0, 1),) of host 1"]),
        ([Placement(0, 1, ((0, 1),))], ["VM 0 does not fit into ((0, 1),) of host 1"]),
        ([Placement(0, 1, ())], ["VM 0 does not fit into () of host 1"]),
        ([Placement(0, 0, ((0, 0),))], ["VM 0 does not fit into ((0, 0),) of host 0"]),
        ([Placement(2, 1, ((0, 1),)), Placement(2, 1, ((0, 1),))], ["VM 2 is placed twice"]),
    ],
)
def test_what_is_wrong_with_a_solution_is_said(placements: list[Placement], wrong: list[str]) -> None:
    assert errors(FULL, Solution(tuple(placements))) == wrong


def test_a_solution_is_scored() -> None:
    assert score(FULL, Solution(())) == Best(0, 0, 0, 0)
    whole = (Placement(0, 2, ((0, 0),)), Placement(1, 1, ((0, 1),)), Placement(2, 1, ((0, 1),)))
    assert score(FULL, Solution(whole)) == best(FULL) == Best(1, 3, 2, 1)
