# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark's own count of the least number of writes, on fleets small enough to count by hand."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.tests.benchmarks import _distinct
from ansible_collections.vfio.migration.tests.fleet.simulated import scenario

PARENT = "0000:3b:00.0"


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def host(
    version: str, vendor: str = "10de", free: t.Sequence[int] = (), used: t.Sequence[int] = ()
) -> dict[str, t.Any]:
    """A host with one parent of one type, with free instances and instances in use."""
    return {
        "parents": {
            PARENT: {
                "driver": "drv",
                "driver_version": version,
                "vendor": vendor,
                "device": "0001",
                "rule": "exact",
                "capacity": {"model": "shared_units", "total": 8},
                "types": {"drv-a": {"name": "A", "cost": 1}},
            }
        },
        "mdevs": [{"uuid": uuid(number), "parent": PARENT, "type": "drv-a"} for number in (*free, *used)],
        "workloads": [{"name": "vm", "devices": [uuid(number) for number in used]}] if used else [],
    }


CASES: dict[str, tuple[list[dict[str, t.Any]], int]] = {
    "alone: there is nobody to come from": ([host("1.0")], 0),
    "two of one version: each is asked what the other one has": ([host("1.0"), host("1.0")], 2),
    "two versions": ([host("1.0"), host("1.1")], 2),
    "three hosts, two versions": ([host("1.0"), host("1.0"), host("1.1")], 2 + 2 + 1),
    "another vendor is never asked": ([host("1.0"), host("1.0", "8086")], 0),
    "two types and two free instances": ([host("1.0", free=[1]), host("1.1", free=[2])], 2 + 2),
    "of instances in use one is asked": ([host("1.0", used=[1, 2, 3]), host("1.1", used=[4])], 2 + 2),
    "a free one speaks for those in use": ([host("1.0", used=[1, 2], free=[3]), host("1.1", used=[4])], 2 + 2),
    "each free one is a target": ([host("1.0", free=[1, 2]), host("1.1", free=[3])], 2 + 3),
}


@pytest.mark.parametrize("name", CASES)
def test_pairs(name: str) -> None:
    hosts, expected = CASES[name]
    data = {"hosts": {f"hv{number}": one for number, one in enumerate(hosts)}}
    assert _distinct.pairs(scenario.parse(data)) == expected
