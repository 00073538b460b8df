# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GitHub's workflows run the gates of ./dev test, all of them, and trust nobody with more than they need."""

from __future__ import annotations

import itertools
import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.vfio.migration.tests.tools import ansible_test, gates

WORKFLOWS = sorted((gates.ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$")


def jobs(file: Path) -> dict[str, t.Any]:
    found: dict[str, t.Any] = yaml.safe_load(file.read_text())["jobs"]
    return found


def commands(job: t.Any) -> t.Iterator[list[str]]:
    """Words of each ./dev of a job, once for each cell of its matrix."""
    matrix = job.get("strategy", {}).get("matrix", {})
    cells = [dict(zip(matrix, cell, strict=True)) for cell in itertools.product(*matrix.values())]
    lines = [line for step in job["steps"] for line in step.get("run", "").splitlines() if line.startswith("./dev ")]
    for cell, line in itertools.product(cells, lines):
        yield re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda match, cell=cell: str(cell[match[1]]), line).split()[1:]  # type: ignore[misc]


def words(name: str) -> list[list[str]]:
    file = next(file for file in WORKFLOWS if file.name == name)
    return [line for job in jobs(file).values() for line in commands(job)]


def test_every_gate_is_run_by_some_job_and_by_one_only() -> None:
    parts = [part for command, part in words("ci.yml") if command == "test" and part != "explore"]
    run = [step.name for part in parts for step in gates.SUITES[part]]
    assert sorted(run) == sorted(step.name for step in gates.SUITES["all"])


def test_new_examples_are_looked_for_beside_the_gates_of_a_change() -> None:
    (job,) = (each for each in jobs(WORKFLOWS[0]).values() if ["test", "explore"] in list(commands(each)))
    assert job["if"] == "github.event_name == 'schedule' || github.event_name == 'workflow_dispatch'"
    assert not set(gates.SUITES["explore"]) & set(gates.SUITES["all"])


def test_a_release_is_built_after_its_gates() -> None:
    assert words("release.yml") == [["test", "release"], ["build"]]


def test_gates_have_names_of_their_own() -> None:
    names = [step.name for step in gates.SUITES["all"]]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_and_may_do_little(file: Path) -> None:
    text = file.read_text()
    used = re.findall(r"uses: (.+)", text)
    assert used
    assert [one for one in used if not PINNED.match(one)] == []
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    for name, job in jobs(file).items():
        assert 0 < job["timeout-minutes"] < 90, name
        assert "permissions" not in job, name
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert [step["with"]["persist-credentials"] for step in checkouts] == [False], name


def test_jobs_of_ansible_core_bring_the_pythons_that_it_is_tested_with() -> None:
    job = jobs(next(file for file in WORKFLOWS if file.name == "ci.yml"))["core"]
    (given,) = (step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", ""))
    wanted = {version for core in gates.CORES for version in (*core.units, core.controller)}
    assert given.split() == [ansible_test.dotted(version) for version in sorted(wanted)]
