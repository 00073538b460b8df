# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table, done on a guest and on a simulated host that describes the same; one guest at a time."""

from __future__ import annotations

import concurrent.futures
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.conformance import platforms
from ansible_collections.vfio.migration.tests.fleet.conformance.table import ROWS
from ansible_collections.vfio.migration.tests.fleet.kernel import image
from ansible_collections.vfio.migration.tests.fleet.kernel.fleet import kernel_fleet
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import simulated_fleet


class Reports(t.NamedTuple):
    """What was seen on each of the two."""

    kernel: platforms.Results
    simulated: platforms.Results


def on_a_kernel(kernel: str) -> platforms.Results:
    with kernel_fleet([platforms.guest(kernel)], warm=True) as fleet:
        return platforms.perform(platforms.Kernel(fleet), ROWS)


def simulated(kernel: str) -> platforms.Results:
    with simulated_fleet(platforms.twin(kernel), reach="namespace") as fleet:
        return platforms.perform(platforms.Simulated(fleet), ROWS)


@pytest.fixture(scope="session", params=image.SUITES)
def reports(request: pytest.FixtureRequest) -> Reports:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        both = [pool.submit(one, request.param) for one in (on_a_kernel, simulated)]
        return Reports(*(future.result() for future in both))
