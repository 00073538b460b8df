# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan in words: everything a person has to know before saying yes."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _itinerary, _plan
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _evacuation
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import plan_data

EVIDENCE: dict[str, t.Any] = {"verdict": "compatible", "scope": "type", "reason": None, "asked": None, "warnings": []}
STUCK = {
    "workload": "vm7",
    "name": "db",
    "host": "hv1",
    "reason": "contention",
    "detail": "hv2 has one place, and vm1 has it",
    "rivals": ["vm1"],
    "hosts": ["hv2"],
    "remedies": [{"kind": "instance", "host": "hv2", "parent": "p1", "type": "t1", "detail": "one more t1 on hv2"}],
}


def made(**changes: t.Any) -> _model.Plan:
    """A planner's plan."""
    plan = plan_data.two()
    plan["planning"] = {**plan_data.planning(), **changes.pop("planning", {})}
    return _plan.load({**plan, **changes})


def text(plan: _model.Plan) -> str:
    return "\n".join(_itinerary.lines(plan))


def test_a_plan_wave_by_wave() -> None:
    assert text(made()).splitlines() == [
        "Plan rack-7.b: 1 of 1 host emptied, 2 moves in 2 waves, 1 stopped, 0 stuck",
        "Proven: no plan empties more hosts, or moves more VMs while it empties as many.",
        "",
        "Will be STOPPED with their hosts, not migrated",
        "  vm8 on hv1",
        "",
        "Batch 1: maintenance of hv1",
        "  Wave 1",
        "    name-of-vm1  hv1 -> hv2  p1/t1, p1/t1",
        "  Wave 2",
        "    name-of-vm2  hv1 -> hv3  p1/t1",
        "",
        "Notes",
        "  devices/x: nobody knows whose it is",
        "",
        "Next: ansible-playbook vfio.migration.prepare_targets with this plan, wave by wave.",
    ]


def _marked(verdict: str, *warnings: str) -> _model.Plan:
    plan = plan_data.two()
    plan["moves"][0]["devices"][1]["evidence"] = {**EVIDENCE, "verdict": verdict, "warnings": list(warnings)}
    return _plan.load(plan)


SAID: dict[str, tuple[_model.Plan, str]] = {
    "made by hand": (_plan.load(plan_data.two()), "Plan rack-7.b: 2 moves in 2 waves, 0 stuck\n\n  Wave 1"),
    "stuck": (made(stuck=[STUCK]), "  db on hv1: hv2 has one place, and vm1 has it\n      free it: one more t1 on hv2"),
    "an unknown answer": (_marked("unknown"), "p1/t1, p1/t1  [unknown]"),
    "no way back": (_marked("compatible", "no_way_back"), "[no way back]"),
    "passed through": (
        _plan.load(
            {
                **plan_data.two(),
                "moves": [
                    plan_data.move("vm1", "hv1", "hv2") | {"passthrough": [plan_data.passthrough(7, "0000:01:00.1")]}
                ],
            }
        ),
        "vm1  hv1 -> hv2  0000:01:00.1 (is there)",
    ),
    "not emptied": (
        made(planning={"batches": [{"batch": 1, "hosts": ["hv1", "hv4"], "emptied": ["hv1"], "waves": [1, 2]}]}),
        "  NOT EMPTIED: hv4",
    ),
    "a gap": (
        made(planning={"gap": {"hosts": 1, "workloads": 3}, "bound": {"hosts": 2, "workloads": 5, "method": "x"}}),
        "Proven: no plan empties more than 2 hosts, or moves more than 5 VMs while it empties as many as this one.",
    ),
    "proven of what is known": (made(partial=True), "Proven, as far as the fleet is known: no plan empties more hosts"),
    "no bound": (
        made(planning={"gap": None, "bound": None, "bound_reason": _evacuation.NO_ROLLING_BOUND}),
        "No bound was computed: workloads stay behind, and each batch of a rolling maintenance depends on those before",
    ),
    "a lost host": (
        made(
            planning={
                "inputs": {
                    **plan_data.planning()["inputs"],
                    "hosts": [{"host": "hv9", "state": "unreachable", "time": None, "age": None, "errors": []}],
                }
            }
        ),
        "PARTIAL: nothing is known of hv9, so nothing goes there",
    ),
}


@pytest.mark.parametrize(("plan", "expected"), SAID.values(), ids=SAID.keys())
def test_what_a_person_has_to_mind_is_said(plan: _model.Plan, expected: str) -> None:
    assert expected in text(plan)


@pytest.mark.fault("L10")
def test_hostile_names_stay_on_their_line() -> None:
    plan = made(stuck=[{**STUCK, "name": "a\x1b[2J\nb", "detail": "c\nd"}])
    assert not [line for line in _itinerary.lines(plan) if "\x1b" in line or "\n" in line]


@pytest.mark.parametrize(
    ("more", "expected"), [(0, "hv9, so"), (1, "hv9 and 1 other, so"), (2, "hv9 and 2 others, so")]
)
def test_lost_hosts_are_named_up_to_ten(more: int, expected: str) -> None:
    names = [f"hv{number}" for number in range(10 + more)]
    lost: dict[str, t.Any] = {"state": "unreachable", "time": None, "age": None, "errors": []}
    plan = made(
        planning={"inputs": {**plan_data.planning()["inputs"], "hosts": [{"host": name, **lost} for name in names]}}
    )
    assert f"PARTIAL: nothing is known of {', '.join(names[:9])}, {expected}" in "\n".join(_itinerary.lines(plan))


def test_long_lists_are_cut_and_counted() -> None:
    plan = made(stuck=[{**STUCK, "workload": f"w{number}", "name": None, "remedies": []} for number in range(300)])
    assert "  ... and 100 lines more in the file" in _itinerary.lines(plan)


def test_a_plan_in_numbers() -> None:
    assert _itinerary.summary(made(stuck=[STUCK])) == {
        "batches": 1, "waves": 2, "hosts": 1, "emptied": 1, "moves": 2, "unknown": 0, "stopped": 1, "stuck": 1,
    }  # fmt: skip
    assert _itinerary.summary(_marked("unknown"))["unknown"] == 1
    assert set(_itinerary.summary(_marked("unknown"))) == set(_itinerary.Summary.__annotations__)


def test_times_make_no_other_plan() -> None:
    plan = made()
    later = copy.deepcopy(plan)
    assert later["planning"] is not None
    later["created"] = _model.Timestamp("2027-01-01T00:00:00Z")
    later["planning"]["inputs"]["age"] = 7
    later["planning"]["inputs"]["oldest"] = None
    assert _itinerary.same_but_for_times(plan, later)
    later["planning"]["inputs"]["fingerprint"] = "1" * 64
    assert not _itinerary.same_but_for_times(plan, later)
    assert not _itinerary.same_but_for_times(None, plan)
    assert not _itinerary.same_but_for_times("no plan", plan)
