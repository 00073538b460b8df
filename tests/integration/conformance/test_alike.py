# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator does what a kernel does, row by row: answers, visible effects, uevents."""

from __future__ import annotations

import pytest

from ansible_collections.vfio.migration.tests.fleet.conformance.compare import differences, differing, unexpected
from ansible_collections.vfio.migration.tests.fleet.conformance.table import ROWS, Row
from ansible_collections.vfio.migration.tests.integration.conformance.conftest import Reports


def test_both_look_alike_before_anything_is_done(reports: Reports) -> None:
    assert reports.kernel["first"]
    assert differing("at first", reports.kernel["first"], reports.simulated["first"]) == []


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_row(reports: Reports, row: Row) -> None:
    kernel, simulated = (report["rows"][row.name] for report in reports)
    assert unexpected(row, kernel) == []
    assert kernel["left"] == []
    found = differences(row, kernel, simulated)
    if row.differs is None:
        assert found == []
        assert simulated["left"] == []
    else:
        assert found, f"both are alike now: strike from the table that {row.differs}"
