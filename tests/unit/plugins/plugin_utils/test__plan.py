# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is wrong with a plan is said at once, and nothing of it gets through."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.filter.plan_hosts import plan_hosts
from ansible_collections.vfio.migration.plugins.module_utils import _model, _order
from ansible_collections.vfio.migration.plugins.plugin_utils import _plan
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import plan_data

BAD = {**plan_data.BROKEN, **plan_data.WRONG}


@pytest.mark.parametrize("change", plan_data.GOOD.values(), ids=plan_data.GOOD.keys())
def test_good_plans_are_taken(change: plan_data.Change) -> None:
    assert _plan.load(plan_data.changed(change))["id"] == "rack-7.b"


@pytest.mark.fault("L9", "L10", "C3", "C4")
@pytest.mark.parametrize(("change", "error"), BAD.values(), ids=BAD.keys())
def test_bad_plans_are_refused_with_the_place(change: plan_data.Change, error: str) -> None:
    with pytest.raises(_plan.PlanError) as caught:
        _plan.load(plan_data.changed(change))
    assert any(error in each for each in caught.value.errors), caught.value.errors
    assert all(each.startswith("plan.") for each in caught.value.errors)


@pytest.mark.fault("L9")
def test_all_mistakes_are_said_at_once() -> None:
    def change(plan: plan_data.Plan) -> None:
        for mistake in ("uuid is none", "wave 0", "host is a glob", "attribute removes", "string is empty"):
            plan_data.WRONG[mistake][0](plan)
        plan["moves"][1]["devices"][0]["uuid"] = "x"

    with pytest.raises(_plan.PlanError) as caught:
        _plan.load(plan_data.changed(change))
    assert len(caught.value.errors) == 6
    assert str(caught.value) == "; ".join(caught.value.errors)


@pytest.mark.fault("L9")
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "is not JSON, or was cut off"),
        ("{}", ".moves is missing"),
        ("[]", "must be a mapping, not list"),
        (json.dumps(plan_data.two())[:-40], "is not JSON, or was cut off"),
        ('{"id": "a", "id": "b"}', "these keys stand more than once in one mapping: id"),
        ("[" * 100_000, "is not JSON, or was cut off"),
        ("\ufeff{}", "is not JSON"),
    ],
)
def test_files_that_are_no_plan(tmp_path: pathlib.Path, text: str, error: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(_plan.PlanError) as caught:
        _plan.load(str(path))
    assert error in str(caught.value)
    assert str(path) in str(caught.value)


@given(cut=st.integers(0, 1400))
@pytest.mark.fault("L9")
def test_a_plan_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    text = json.dumps(plan_data.two())
    path.write_text(text[: min(cut, len(text) - 1)])
    with pytest.raises(_plan.PlanError):
        _plan.load(str(path))


def test_missing_files_and_no_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(_plan.PlanError, match=r"cannot read the plan .*: No such file or directory"):
        _plan.load(str(tmp_path / "plan.json"))
    with pytest.raises(_plan.PlanError, match="no plan is named"):
        _plan.load("")


@pytest.mark.fault("C4")
def test_uuids_get_one_spelling() -> None:
    for spelling in ("capitals", "braces", "a name for resources"):
        plan = _plan.load(plan_data.changed(plan_data.GOOD[spelling]))
        assert plan["moves"][0]["devices"][0]["uuid"] == "00abcdef-0000-4000-8000-000000000000"


@given(st.text())
@pytest.mark.fault("C4")
def test_a_uuid_is_a_fixed_point(text: str) -> None:
    found = _plan.uuid(text)
    assert found is None or (_plan.uuid(found) == found and len(found) == 36)


@pytest.mark.fault("C17")
@pytest.mark.parametrize(("max_age", "refused"), [(3599, True), (3600, False), (86400, False), (0, True)])
def test_old_plans(max_age: int, refused: bool) -> None:
    error = _plan.age_error(t.cast(_model.Plan, plan_data.two()), max_age, data.NOW)
    assert (error is not None) == refused
    if error:
        assert "3600 seconds ago" in error
        assert "revalidate" in error


@pytest.mark.fault("C17")
@pytest.mark.parametrize(("created", "refused"), [("2026-11-22T12:05:00Z", False), ("2026-11-22T12:05:01Z", True)])
def test_a_plan_of_the_future_is_of_no_known_age(created: str, refused: bool) -> None:
    plan = t.cast("_model.Plan", {**plan_data.two(), "created": created})
    error = _plan.age_error(plan, 3600, data.NOW)
    assert (error is not None) == refused
    assert error is None or "its age is not known" in error


NAMES = ["assign_adapter", "power/control", "vfio-dev/x", "remove", "a/driver", "../x", "", "a//b", "a\x1bb"]


@pytest.mark.fault("L10")
@pytest.mark.parametrize("value", ["5", "", "a\nb", "\x7f"])
@pytest.mark.parametrize("name", NAMES)
def test_plans_and_orders_take_the_same_attributes(name: str, value: str) -> None:
    attributes = [{"name": name, "value": value}]
    item = {"uuid": "x", "parent": "p", "type": "t", "workload": "w", "attributes": attributes, "accepts": None}
    order = dict.fromkeys(("plan", "persist", "reuse", "workloads", "all_ours", "force_foreign"))
    found = _order.parse({**order, "state": "present", "bind_timeout": 1.0, "instances": [item]})[1]

    def change(plan: plan_data.Plan) -> None:
        plan["moves"][0]["devices"][0]["attributes"] = attributes

    errors: list[str] = []
    try:
        _plan.load(plan_data.changed(change))
    except _plan.PlanError as error:
        errors = error.errors
    ends = [[one.split(".attributes", 1)[1] for one in some if ".attributes" in one] for some in (found, errors)]
    assert ends[0] == ends[1]


def test_a_part_of_a_plan() -> None:
    plan = _plan.load(plan_data.two())

    def chosen(workloads: list[str] | None = None, waves: list[int] | None = None) -> list[str]:
        return [move["workload"] for move in _plan.select(plan, workloads, waves)]

    assert chosen() == chosen([], []) == ["vm1", "vm2"]
    assert chosen(["vm2"]) == chosen(["name-of-vm2"]) == chosen(None, [2]) == ["vm2"]
    assert chosen(["vm1"], [2]) == []
    with pytest.raises(_plan.PlanError) as caught:
        chosen(["vm1", "vm7"], [3])
    assert caught.value.errors == ["plan rack-7.b does not move 'vm7'", "plan rack-7.b has no wave 3"]


@pytest.mark.fault("L9", "L10")
def test_hosts_of_a_plan() -> None:
    plan = plan_data.two()
    assert plan_hosts(plan) == ["hv1", "hv2", "hv3"]
    assert plan_hosts(plan, known=["hv1", "hv2", "hv3", "hv4"], waves="2") == ["hv1", "hv3"]
    assert plan_hosts(plan, workloads="vm1, vm2") == ["hv1", "hv2", "hv3"]
    with pytest.raises(AnsibleFilterError, match=r"nothing was touched: .* not in the inventory: hv2, hv3"):
        plan_hosts(plan, known=["hv1"])
    with pytest.raises(AnsibleFilterError, match="waves are numbers, not 'first'"):
        plan_hosts(plan, waves="first")
    with pytest.raises(AnsibleFilterError, match="must be the name of a host"):
        plan_hosts(plan_data.changed(plan_data.WRONG["host is a pattern"][0]))
    assert plan_hosts("", otherwise="all") == plan_hosts(plan, known=["hv1"], otherwise="all") == "all"
