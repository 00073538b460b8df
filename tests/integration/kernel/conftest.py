# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two guests, one of each kernel, for the whole folder; the driver is loaded anew for each test."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.kernel.fleet import KernelFleet, kernel_fleet
from ansible_collections.vfio.migration.tests.fleet.kernel.machine import Guest
from ansible_collections.vfio.migration.tests.integration.kernel.site import Site

GUESTS = [Guest("hv1", "6.1", "version=4.1"), Guest("hv2", "6.12", "version=4.2")]


@pytest.fixture(scope="session")
def fleet() -> t.Iterator[KernelFleet]:
    with kernel_fleet(GUESTS) as running:
        yield running


@pytest.fixture
def site(fleet: KernelFleet, tmp_path: pathlib.Path) -> Site:
    for guest in GUESTS:
        fleet.run(guest.name, "lab-anew")
    return Site(fleet, tmp_path)
