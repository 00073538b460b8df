# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ./dev says at the end must be true: counts, closing lines and left-out steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.vfio.migration.tests.tools import steps

CLOSING = [
    ("....\n463 passed in 6.93s\n", ("463 passed in 6.93s",)),
    ("x\n===== 2 failed, 22 passed in 2.56s =====\n", ("2 failed, 22 passed in 2.56s",)),
    ("== 139 passed in 6.48s ==\nmore\n== 324 passed, 1 warning in 5.52s ==\n",
     ("139 passed in 6.48s", "324 passed, 1 warning in 5.52s")),
    ("$ mypy\nSuccess: no issues found in 3 source files\n\n", ("Success: no issues found in 3 source files",)),
    ("$ quiet tool\n", ()),
]  # fmt: skip


@pytest.mark.parametrize(("output", "expected"), CLOSING)
def test_closing_lines(output: str, expected: tuple[str, ...]) -> None:
    assert steps.closing_lines(output) == expected


def result(status: steps.Status, *closing: str) -> steps.Result:
    return steps.Result("step", status, 1.0, "", closing)


COUNTS = [
    (result("ok", "All checks passed!"), (1, 0)),
    (result("ok", "139 passed in 6.48s", "324 passed in 5.52s"), (463, 0)),
    (result("failed", "2 failed, 22 passed in 2.56s"), (22, 2)),
    (result("failed", "2 passed, 1 error in 2.56s"), (2, 1)),
    (result("failed", "24 passed in 2.56s"), (24, 1)),
    (result("failed", "Found 3 errors."), (0, 1)),
    (result("left out"), (0, 0)),
]


@pytest.mark.parametrize(("one", "expected"), COUNTS)
def test_counts(one: steps.Result, expected: tuple[int, int]) -> None:
    assert steps.counts(one) == expected


def hold(session: steps.Session) -> None:
    session.run("true")


def break_down(session: steps.Session) -> None:
    session.run("sh", "-c", "echo why; exit 3")


def stumble(session: steps.Session) -> None:
    print("before")
    raise KeyError(session.cwd.name)


def lack(session: steps.Session) -> None:
    raise steps.LeftOut(f"{session.cwd.name} lacks a thing.")


STATES = [
    (False, ["ok", "failed", "left out", "failed", "ok"], "2 passed, 2 failed"),
    (True, ["ok", "failed", "failed", "failed", "ok"], "2 passed, 3 failed"),
]


@pytest.mark.parametrize(("strict", "expected", "last"), STATES)
def test_one_failing_step_leaves_the_others_their_turn(
    tmp_path: Path, strict: bool, expected: list[str], last: str
) -> None:
    work = (hold, break_down, lack, stumble, hold)
    todo = [steps.Step(f"step {number}", one) for number, one in enumerate(work)]
    results = steps.run_steps(todo, tmp_path / "logs", tmp_path, strict)
    assert [one.status for one in results] == expected
    assert results[1].message == "sh ended with exit code 3."
    assert results[1].closing == ("why",)
    log = (tmp_path / "logs" / "04-step-3.log").read_text()
    assert log.startswith("before\nTraceback")
    assert steps.table(results)[-1] == last
