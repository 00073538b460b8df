# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator does what a kernel does, row by row: answers, visible effects, uevents."""

from __future__ import annotations

import pytest

from ansible_collections.vfio.migration.tests.fleet.conformance.compare import differences, differing, unexpected
from ansible_collections.vfio.migration.tests.fleet.conformance.table import PLATFORM, ROWS, Row
from ansible_collections.vfio.migration.tests.integration.conformance.conftest import Reports

NONE = {"reads": 0, "writes": 0, "accepts": 0, "rejects": 0}


def test_both_look_alike_before_anything_is_done(reports: Reports) -> None:
    assert reports.kernel["first"]
    problems = differing("at first", reports.kernel["first"], reports.simulated["first"])
    assert not problems, "\n".join(problems)


def test_the_drivers_counters_are_heard(reports: Reports) -> None:
    """Each row begins at 0, and one without a write to a driver counts none."""
    node = f"{PLATFORM} mdev_lab-A1"
    for report in reports:
        rows = report["rows"]
        assert rows["read migration_version of a type"]["counted"][node] == {**NONE, "reads": 1}
        assert rows["write the right string"]["counted"][node] == {**NONE, "writes": 1, "accepts": 1}
        assert rows["write nothing"]["counted"] == {}


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_row(reports: Reports, row: Row) -> None:
    kernel, simulated = (report["rows"][row.name] for report in reports)
    problems = unexpected(row, kernel) + kernel["left"]
    assert not problems, "\n".join(problems)
    problems = differences(row, kernel, simulated)
    assert not problems, "\n".join(problems)
    assert simulated["left"] == list(row.differs.left if row.differs is not None else ())
