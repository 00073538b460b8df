# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan inside a real ansible-playbook run, from a fact cache; and that the documentation says what it takes."""

from __future__ import annotations

import json
import pathlib
import typing as t
from unittest import mock

import pytest
import yaml
from ansible.errors import AnsibleActionFail

from ansible_collections.vfio.migration.plugins.action import evacuation_plan
from ansible_collections.vfio.migration.plugins.doc_fragments import evacuation
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _plan
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _policy
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Kind
from ansible_collections.vfio.migration.tests.unit.plugins.action.test_pairing_actions import (
    FLEET,
    Controller,
    play,
    run_once,
    save,
)
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.plan_data import UUID

NOW = _clock.now()
ODD = "{{ 1 + 1 }}"
"""A string that must stay what it is, from the facts into the plan."""


def fleet(time: str = NOW) -> dict[str, t.Any]:
    """hv1 has one VM, hv2 takes it, hv3 has no facts."""
    here = data.parent("p1", data.mdev_type("t1", ODD, 0))
    device = data.device(UUID.format(1), ODD, ("p1", "t1"), in_use=True)
    there = data.parent("p1", data.mdev_type("t1", ODD, 2))
    verdicts = [data.verdict(("p1", "t1", None), ODD, time=time)]
    return {
        "hv1": data.host(here, device, data.workload("vm1", UUID.format(1)), time=time),
        "hv2": data.host(there, verdicts=verdicts, time=time),
    }


@pytest.fixture(name="controller")
def fixture_controller(tmp_path: pathlib.Path) -> Controller:
    return Controller(tmp_path)


def test_a_plan_is_written_shown_and_the_same_again(controller: Controller) -> None:
    controller.cache(fleet())
    options = {"hosts": FLEET, "drain": ["hv1"], "dest": "{{ playbook_dir }}/plan.json"}
    tasks = [*run_once("first", "evacuation_plan", **options), *run_once("again", "evacuation_plan", **options)]
    run = controller.play(play(*tasks))
    plan = _plan.load(str(controller.folder / "plan.json"))
    (move,) = plan["moves"]
    assert (move["workload"], move["source"], move["target"], move["wave"]) == ("vm1", "hv1", "hv2", 1)
    assert move["devices"][0]["type_string"] == ODD
    first = run.result("first")
    assert (first["changed"], first["plan"], first["partial"], first["id"]) == (True, None, True, plan["id"])
    assert first["summary"]["emptied"] == 1
    assert not run.result("again")["changed"], "the same facts give the same plan"
    assert "vm1  hv1 -> hv2  p1/t1" in run.output
    assert "PARTIAL: nothing is known of hv3" in run.output


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("no", False), ("hv1", ["hv1"]), ("hv1, hv2", ["hv1", "hv2"]), ("", [])],
)
def test_where_unknown_is_allowed_may_be_text(text: str, value: bool | list[str]) -> None:
    assert evacuation_plan.from_text(text) == value


def test_check_mode_writes_nothing_and_returns_the_plan(controller: Controller) -> None:
    controller.cache(fleet())
    dest = "{{ playbook_dir }}/plan.json"
    run = controller.play(
        play(*run_once("made", "evacuation_plan", hosts=FLEET, drain=["hv1"], dest=dest, show=False)), "--check"
    )
    assert not (controller.folder / "plan.json").exists()
    made = run.result("made")
    assert made["changed"]
    assert made["plan"]["moves"][0]["target"] == "hv2"
    assert made["text"][0].startswith("Plan plan-")


def test_the_filter_says_the_same(controller: Controller) -> None:
    controller.cache(fleet())
    facts = "{{ dict(groups['hypervisors'] | zip(groups['hypervisors'] | map('extract', hostvars, 'ansible_facts'))) }}"
    filtered = "{{ facts | vfio.migration.evacuation_plan(drain=['hv1']) }}"
    run = controller.play(
        play(
            *run_once("made", "evacuation_plan", hosts=FLEET, drain=["hv1"]),
            {**save("filtered", filtered), "vars": {"facts": facts, "value": filtered}},
        )
    )
    assert run.result("filtered")["moves"] == run.result("made")["plan"]["moves"]


LAST_WEEK = "2026-01-01T00:00:00Z"
REFUSED: dict[str, tuple[dict[str, t.Any], str, str]] = {
    "stale facts": ({"drain": ["hv1"]}, LAST_WEEK, "the facts of hv1, hv2 are older than 86400 seconds"),
    "nothing to drain": ({}, NOW, "drain names no host, and there is no rolling"),
    "two kinds of plan": (
        {"drain": ["hv1"], "rolling": {"max_unavailable": 1}}, NOW, "drain and rolling are two plans",
    ),
    "a host that is not there": ({"drain": ["hv9"]}, NOW, "the inventory has no host hv9"),
    "all mistakes at once": (
        {"drain": ["hv1"], "incoming": -1, "workloads": {"vm9": "stop"}}, NOW,
        "incoming must be at least 0, not -1; workloads: no host has a workload 'vm9'",
    ),
    "no such folder": ({"drain": ["hv1"], "dest": "/nowhere/plan.json"}, NOW, "the folder /nowhere does not exist"),
}  # fmt: skip


@pytest.mark.fault("C17")
@pytest.mark.parametrize(("options", "time", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_what_can_not_be_planned_is_refused_with_one_sentence(
    controller: Controller, options: dict[str, t.Any], time: str, error: str
) -> None:
    controller.cache(fleet(time))
    run = controller.play(play(*run_once("made", "evacuation_plan", hosts=FLEET, **options)), code=2)
    assert error in run.output


def test_a_defect_of_the_planner_is_one_sentence_and_no_plan(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is ever used up two VMs get one place."""
    monkeypatch.setattr(Kind, "take", lambda _kind, left, _seat: left)
    facts = fleet()
    second = data.device(UUID.format(2), ODD, ("p1", "t1"), in_use=True)
    first = data.device(UUID.format(1), ODD, ("p1", "t1"), in_use=True)
    vms = (data.workload("vm1", UUID.format(1)), data.workload("vm2", UUID.format(2)))
    facts["hv1"] = data.host(data.parent("p1", data.mdev_type("t1", ODD, 0)), first, second, *vms, time=NOW)
    room = data.parent("p1", data.mdev_type("t1", ODD, 1))
    facts["hv2"] = data.host(room, verdicts=[data.verdict(("p1", "t1", None), ODD, time=NOW)], time=NOW)
    known = mock.MagicMock(__contains__=lambda _known, name: name in facts)
    known.raw_get = lambda name: {"ansible_facts": facts[name]}
    args = {**dict.fromkeys(evacuation_plan.ARGUMENTS), **_policy.DEFAULTS}
    args |= {"hosts": ["hv1", "hv2"], "fresh_hosts": ["hv1", "hv2"], "drain": ["hv1"], "max_age": data.DAY}
    with pytest.raises(AnsibleActionFail) as raised:
        evacuation_plan._plan({"hostvars": known}, {**args, "dest": str(tmp_path / "plan.json")})
    text = str(raised.value)
    assert text.startswith("vfio.migration.evacuation_plan: the plan would break a rule: ")
    assert "hv2 p1" in text
    assert text.endswith("so no plan is made: report it with the facts and the options that led to it.")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_can_not_be_written_leaves_the_old_plan(controller: Controller) -> None:
    controller.cache(fleet())
    (controller.folder / "plan.json").mkdir()
    run = controller.play(
        play(*run_once("made", "evacuation_plan", hosts=FLEET, drain=["hv1"], dest="{{ playbook_dir }}/plan.json")),
        code=2,
    )
    assert "vfio.migration.evacuation_plan: cannot write" in run.output


def documented() -> dict[str, t.Any]:
    return dict(yaml.safe_load(evacuation.ModuleDocFragment.DOCUMENTATION)["options"])


def test_every_option_of_a_policy_is_taken_and_documented() -> None:
    options = documented()
    assert set(options) == set(_policy.DEFAULTS) == set(evacuation_plan.POLICY)
    for name, option in options.items():
        assert option.get("default") == _policy.DEFAULTS[name], name
        assert option["type"] == evacuation_plan.POLICY[name]["type"], name


def test_the_role_takes_and_hands_on_every_option() -> None:
    role = pathlib.Path(evacuation_plan.__file__).parents[2] / "roles" / "evacuation"
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    (task,) = [
        one["vfio.migration.evacuation_plan"]
        for one in yaml.safe_load((role / "tasks" / "main.yml").read_text())
        if "vfio.migration.evacuation_plan" in one
    ]
    assert set(spec) == set(defaults)
    for name, option in documented().items():
        own = spec[f"evacuation_{name}"]
        assert f"evacuation_{name}" in json.dumps(task[name]), name
        assert (own["type"], own.get("choices")) == (option["type"], option.get("choices")), name
        assert set(own.get("options", ())) == set(option.get("suboptions", ())), name
