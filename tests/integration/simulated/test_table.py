# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator answers what the table says of kernels, on machines that cannot run one, too."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.conformance import platforms
from ansible_collections.vfio.migration.tests.fleet.conformance.compare import unexpected
from ansible_collections.vfio.migration.tests.fleet.conformance.table import ROWS, Row
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import simulated_fleet

pytestmark = [pytest.mark.thorough, pytest.mark.over_ssh]
ALIKE = [row for row in ROWS if row.differs is None]


@pytest.fixture(scope="module", params=["6.1", "6.12"])
def report(request: pytest.FixtureRequest) -> t.Iterator[platforms.Results]:
    with simulated_fleet(platforms.twin(request.param), reach="namespace") as fleet:
        yield platforms.perform(platforms.Simulated(fleet), ALIKE)


@pytest.mark.parametrize("row", ALIKE, ids=[row.name for row in ALIKE])
def test_row(report: platforms.Results, row: Row) -> None:
    said = report["rows"][row.name]
    problems = unexpected(row, said) + said["left"]
    assert not problems, "\n".join(problems)
