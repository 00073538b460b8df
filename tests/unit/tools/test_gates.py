# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine cannot run is a step that says so, and a failure where nothing may be left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.vfio.migration.tests.fleet.simulated import inplace, namespace
from ansible_collections.vfio.migration.tests.tools import gates, setup, steps

FOLDER = gates.ROOT / "tests" / "integration" / "simulated"
NEEDS = {
    "over_ssh": ('reach="namespace"', '("namespace", "'),
    "libvirt": ("libvirt_python",),
}
"""Mark -> what stands in a file whose tests need it."""


@pytest.fixture(name="commands")
def fixture_commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the steps would run, on a machine that has everything."""
    run: list[str] = []
    monkeypatch.setattr(steps.Session, "run", lambda _self, *words: run.append(" ".join(words)))
    monkeypatch.setattr(inplace, "missing", lambda: None)
    monkeypatch.setattr(namespace, "missing", lambda: None)
    monkeypatch.setattr(setup, "libvirt_python", lambda: Path("/usr/bin/python3"))
    return run


def simulated(suite: str) -> list[steps.Step]:
    return [step for step in gates.SUITES[suite] if step.name.startswith("simulated fleet")]


LACKING = [
    (inplace, "missing", lambda: "no FUSE", {"simulated fleet", "over SSH", "with libvirt"}, "no FUSE"),
    (namespace, "missing", lambda: "not root", {"over SSH"}, "not root"),
    (setup, "libvirt_python", lambda: None, {"with libvirt"}, gates.NO_BINDING),
]


@pytest.mark.parametrize(("module", "name", "answer", "expected", "why"), LACKING)
@pytest.mark.parametrize(("strict", "status"), [(False, "left out"), (True, "failed")])
def test_what_is_lacking_is_said_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, commands: list[str],
    module: object, name: str, answer: object, expected: set[str], why: str, strict: bool, status: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, name, answer)
    results = steps.run_steps(simulated("simulated"), tmp_path, tmp_path, strict)
    lost = {one.name.split(", ")[-1]: (one.status, one.message) for one in results if one.status != "ok"}
    assert lost == dict.fromkeys(expected, (status, why))
    assert len(commands) == len(results) - len(expected)
    line = next(line for line in steps.table(results) if line.startswith(status))
    assert strict or why in line


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ("simulated", ["not over_ssh and not libvirt", "over_ssh", "libvirt"]),
        ("quick", ["not over_ssh and not libvirt and not thorough", "over_ssh and not thorough"]),
    ],
)
def test_steps_share_the_tests_by_their_marks(
    tmp_path: Path, commands: list[str], suite: str, expected: list[str]
) -> None:
    steps.run_steps(simulated(suite), tmp_path, tmp_path, strict=True)
    assert commands == [f"pytest -q -m {marks} tests/integration/simulated" for marks in expected]


@pytest.mark.parametrize("mark", NEEDS)
def test_who_needs_it_is_marked(mark: str) -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("test_*.py")}
    needing = {name for name, text in texts.items() if any(word in text for word in NEEDS[mark])}
    assert needing
    assert needing == {name for name, text in texts.items() if f"mark.{mark}" in text}
