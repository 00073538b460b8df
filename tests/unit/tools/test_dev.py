# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ./dev says to a wrong command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

DEV = Path(__file__).parents[3] / "dev"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["bench"], "./dev bench: which one? There are pairing, planner, readiness and targets.\n"),
        (["bench", "nothing"], "./dev bench: which one? There are pairing, planner, readiness and targets.\n"),
        (["nothing"], "./dev: unknown command 'nothing'.\n"),
    ],
)
def test_mistakes_are_named(words: list[str], error: str) -> None:
    done = subprocess.run(["sh", str(DEV), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(error)


def test_every_benchmark_is_named() -> None:
    benchmarks = DEV.parent / "tests" / "benchmarks"
    names = [path.stem for path in sorted(benchmarks.glob("*.py")) if not path.stem.startswith("_")]
    assert f"{' | '.join(names)}) ;;" in DEV.read_text(encoding="utf-8")
