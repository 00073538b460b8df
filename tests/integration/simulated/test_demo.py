# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo says of its own; the rest of it is the playbooks' own output."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _plan
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


def test_the_maintenance_is_of_all_hosts() -> None:
    named = [host for batch in demo.BATCHES for host in batch]
    assert sorted(named) == [host.name for host in load("small").hosts]


@pytest.mark.thorough
def test_the_demo_goes_from_start_to_end(capfd: pytest.CaptureFixture[str]) -> None:
    """The real playbooks on a whole fleet, with a VM that is stuck and explained."""
    assert demo.main() == 0
    said = capfd.readouterr().out
    plan = _plan.load(str(demo.PLAN))
    stuck = {one["name"]: one for one in plan["stuck"]}
    assert (stuck["batch1"]["host"], stuck["batch1"]["reason"]) == ("hv3", "no_compatible_host")
    assert f"batch1 on hv3: {stuck['batch1']['detail']}" in said
    assert [remedy["kind"] for remedy in stuck["serial1"]["remedies"]] == ["allow_unknown"]
    assert demo.PAGE.read_text(encoding="utf-8").count(f"Plan {plan['id']}") == 1
    lines = said.splitlines()
    restarted = [line for line in lines if line.startswith("Maintenance: ")]
    assert restarted == [
        "Maintenance: hv1 was restarted.",
        "Maintenance: hv2 was restarted.",
        "Maintenance: hv4 was restarted, hv6 was restarted.",
    ]
    assert [line.split(",")[0] for line in lines if " has to wait" in line] == ["hv5 has to wait", "hv3 has to wait"]
    assert "hv3 has to wait, for batch1: the plan says why." in lines
    moved = [(name, line.split()[3]) for line in lines if " runs on " in line for name in [line.split()[0]]]
    assert moved == [("web2", "hv1"), ("db1", "hv1"), ("vdi1", "hv5")]
    assert [line.split(";")[0] for line in lines if " is stopped on " in line] == [
        "web1 is stopped on hv1",
        "render1 is stopped on hv1",
    ]
