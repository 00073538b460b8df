# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo says of its own; the rest of it is the playbooks' own output."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.tests.fleet.simulated import namespace
from ansible_collections.vfio.migration.tests.fleet.simulated.scenario import load
from ansible_collections.vfio.migration.tests.tools import demo


@pytest.mark.parametrize(
    ("problem", "way", "why"),
    [
        (None, "namespace", "Each host has its own network"),
        ("No ip.", "in_place", "Hosts run in place, without SSH. No ip."),
    ],
)
def test_hosts_are_run_as_well_as_this_machine_lets_them(
    monkeypatch: pytest.MonkeyPatch, problem: str | None, way: str, why: str
) -> None:
    monkeypatch.setattr(namespace, "missing", lambda: problem)
    assert demo.reach()[0] == way
    assert why in demo.reach()[1]


def test_hosts_that_are_not_empty_are_named_with_who_is_there() -> None:
    stuck = [
        {"workload": "a", "name": "db", "host": "hv1"},
        {"workload": "b", "name": None, "host": "hv1"},
        {"workload": "c", "name": "web", "host": "hv7"},
    ]
    plan = t.cast("_model.Plan", {"stuck": stuck})
    batch = _model.Batch(batch=1, hosts=["hv1", "hv2"], emptied=["hv2"], waves=[1])
    assert demo.waiting(plan, batch) == ["hv1 has to wait, for db, b: the plan says why."]


def test_the_maintenance_is_of_hosts_that_there_are() -> None:
    assert {host for batch in demo.BATCHES for host in batch} <= {host.name for host in load("small").hosts}
