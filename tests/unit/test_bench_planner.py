# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner's benchmark makes of its numbers."""

from __future__ import annotations

import argparse
import json
import pathlib
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.benchmarks import planner
from ansible_collections.vfio.migration.tests.benchmarks.planner import Cached, Row


def row(way: str, moved: int = 100, bound: tuple[int, int] | None = None, **more: t.Any) -> Row:
    fields: dict[str, t.Any] = {
        "fleet": "f", "way": way, "hosts": 10000, "used": 0.95, "devices": 1, "drained": 5, "vms": 100, "emptied": 5,
        "moved": moved, "bound": bound, "pair": 0.5, "fold": 0.5, "solve": 0.5, "memory": 100.0, "wrong": [],
    }  # fmt: skip
    return Row(**{**fields, **more})


def judged(*rows: Row, cached: Cached | None = None) -> dict[str, bool]:
    return {target.text: target.hit for target in planner.targets(rows, cached)}


FAST = "10000 hosts: pairing, classes and the library's search < 2 CPU s"
PROVEN = "10000 hosts: the same with bound < 30 CPU s"
LEAN = "10000 hosts: with bound < 256 MiB above the facts"
WHOLE = "10000 hosts: the whole plan, explained, with bound < 30 CPU s"
WHOLE_LEAN = "10000 hosts: the whole plan < 256 MiB above the facts"
CLOSED = "gap 0 on at least 90 %"
CLOSE = "gap never above max(1, 0.1 %)"
ALONE = "the library alone <= 5 % below the bound at 95 % use, in hosts and in VMs"
VALID = "no plan breaks a rule"
READ = "10000 hosts: planning from the fact cache <= 3 x parsing it"


@pytest.mark.parametrize(
    ("rows", "text", "hit"),
    [
        ([row("library")], FAST, True),
        ([row("library"), row("library", solve=1.1)], FAST, False),
        ([row("highs", 100, (5, 100), solve=28.9)], PROVEN, True),
        ([row("highs", 100, (5, 100), solve=29.1)], PROVEN, False),
        ([row("highs", 100, (5, 100), memory=256.5)], LEAN, False),
        ([row("plan", 100, (5, 100), solve=28.9)], WHOLE, True),
        ([row("plan", 100, (5, 100), solve=29.1)], WHOLE, False),
        ([row("plan", 100, (5, 100), memory=255.5)], WHOLE_LEAN, True),
        ([row("plan", 100, (5, 100), memory=256.5)], WHOLE_LEAN, False),
        ([row("highs", 100, (5, 100))] * 9 + [row("highs", 99, (5, 100), fleet="g")], CLOSED, False),
        ([row("highs", 100, (5, 100), fleet=f"{n}") for n in range(9)] + [row("highs", 99, (5, 100))], CLOSED, True),
        ([row("highs", 99, (5, 100))], CLOSE, True),
        ([row("highs", 98, (5, 100))], CLOSE, False),
        ([row("highs", 9990, (5, 10000))], CLOSE, True),
        ([row("highs", 9989, (5, 10000))], CLOSE, False),
        ([row("highs", 100, (7, 100))], CLOSE, False),
        ([row("highs", 100, None)], CLOSE, False),
        ([row("highs", 100, (5, 100)), row("library", 95)], ALONE, True),
        ([row("highs", 100, (5, 100)), row("library", 94)], ALONE, False),
        ([row("highs", 100, (5, 100)), row("library", emptied=4)], ALONE, False),
        ([row("highs", 100, (5, 100), used=0.9), row("library", 50, used=0.9), row("library")], ALONE, True),
        ([row("library")], VALID, True),
        ([row("library", wrong=["vm1 has no room"])], VALID, False),
    ],
)
def test_targets_are_judged_by_the_numbers(rows: list[Row], text: str, hit: bool) -> None:
    assert judged(*rows)[text] is hit


def test_the_cache_is_judged_by_its_ratio() -> None:
    assert judged(cached=Cached(100.0, 2.0, 6.0))[READ] is True
    assert judged(cached=Cached(100.0, 2.0, 6.1))[READ] is False


def test_small_fleets_say_nothing_of_large_ones() -> None:
    assert set(judged(row("library", hosts=100), row("highs", 100, (5, 100), hosts=100))) == {
        CLOSED, CLOSE, ALONE, VALID,
    }  # fmt: skip


def test_the_suite_is_what_was_promised() -> None:
    assert len(planner.SUITE) >= 20
    assert len({spec.label for spec in planner.SUITE}) == len(planner.SUITE)
    assert {spec.hosts for spec in planner.SUITE} == {100, 1000, 10000}
    assert all(0.5 <= spec.used <= 0.95 and 0.02 <= spec.drained <= 0.1 for spec in planner.SUITE)
    assert all(5 <= spec.strings <= 50 for spec in planner.SUITE)


@pytest.mark.parametrize(
    ("way", "hosts", "reason"),
    [("milp", 1000, None), ("milp", 10000, "more than 1000 hosts"), ("plan", 10000, None)],
)
def test_what_is_not_measured_is_said(way: str, hosts: int, reason: str | None) -> None:
    spec = next(spec for spec in planner.SUITE if spec.hosts == hosts)
    found = planner.why_left_out(spec, way, 1000)
    assert found == (None if reason is None else (spec.label, way, reason))


def test_what_is_left_out_is_printed_and_recorded(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    planner.run(argparse.Namespace(sizes=[1000], ways=["milp"], milp_hosts=100, json=report))
    left_out = json.loads(report.read_text())["left_out"]
    assert len(left_out) == sum(spec.hosts == 1000 for spec in planner.SUITE)
    assert {each["reason"] for each in left_out} == {"more than 100 hosts"}
    assert capsys.readouterr().out.count("milp  left out: more than 100 hosts\n") == len(left_out)
