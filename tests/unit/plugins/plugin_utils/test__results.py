# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line for each workload, and ``ready`` only for what was seen afterwards."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _plan, _results, _targets
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import plan_data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.plan_data import UUID

MOVES = _plan.load(plan_data.two())["moves"]
NUMBERS = {"vm1": (101, 102), "vm2": (103,)}


def result(workload: str | None, action: str = "created", ok: bool = True, **more: t.Any) -> dict[str, t.Any]:
    """What vfio.migration.mdev returns for one workload."""
    instances = [
        {"uuid": UUID.format(number), "parent": "p1", "type": "t1", "action": action, "holders": []}
        for number in NUMBERS[workload or "vm2"]
    ]
    return {"workload": workload, "ok": ok, "reason": None, "msg": None, "instances": instances, **more}


def done(**hosts: t.Any) -> dict[str, dict[str, t.Any]]:
    return {host: {"changed": True, "workloads": [one]} for host, one in hosts.items()}


def seen(*numbers: int, place: tuple[str, str] = ("p1", "t1")) -> _model.Snapshot:
    return t.cast("_model.Snapshot", data.snapshot(*[data.device(UUID.format(one), "s", place) for one in numbers]))


DONE = done(hv2=result("vm1"), hv3=result("vm2", "unchanged"))
SEEN = {"hv2": seen(101, 102), "hv3": seen(103)}


def states(rows: list[_results.Row]) -> dict[str, tuple[str, str | None]]:
    return {row["workload"]: (row["state"], row["reason"]) for row in rows}


def test_all_is_there() -> None:
    rows = _results.prepared(MOVES, [], DONE, SEEN, check_mode=False)
    assert states(rows) == {"vm1": ("ready", None), "vm2": ("ready", None)}
    assert _results.failures(rows, ("dropped", "failed")) == []
    text = _results.render("Targets", rows, []).splitlines()
    assert text[0] == "Targets: 2 ready"
    assert len(text) == 3
    assert text[2].split() == ["ready", "name-of-vm2", "hv1", "to", "hv3", "p1/t1", UUID.format(103), "unchanged"]


def _driverless() -> _model.Snapshot:
    snapshot = seen(101, 102)
    snapshot["devices"][1]["driver"] = None
    return snapshot


@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (seen(101), "lost"),
        (seen(101, 102, place=("p2", "t1")), "lost"),
        (seen(101, 102, place=("p1", "t2")), "lost"),
        (_driverless(), "lost"),
        (None, "unverified"),
    ],
)
def test_what_was_made_and_is_not_seen_is_not_ready(found: _model.Snapshot | None, reason: str) -> None:
    seen_then = {"hv3": seen(103), **({"hv2": found} if found else {})}
    rows = _results.prepared(MOVES, [], DONE, seen_then, check_mode=False)
    assert states(rows) == {"vm1": ("failed", reason), "vm2": ("ready", None)}
    assert _results.failures(rows, ("dropped", "failed")) == [f"name-of-vm1 on hv2 ({reason})"]


@pytest.mark.fault("C18", "P9")
def test_the_module_says_why_a_workload_failed() -> None:
    refused = result("vm1", "rolled_back", ok=False, reason="inconsistent", msg="its device node refuses it")
    rows = _results.prepared(MOVES, [], done(hv2=refused, hv3=result("vm2")), SEEN, check_mode=False)
    assert states(rows) == {"vm1": ("failed", "inconsistent"), "vm2": ("ready", None)}
    assert "its device node refuses it" in _results.render("Targets", rows, [])


@pytest.mark.parametrize(
    "task", [None, {"unreachable": True, "msg": "no route"}, {"failed": True, "msg": "the ledger"}]
)
def test_a_host_that_failed_as_a_whole(task: dict[str, t.Any] | None) -> None:
    tasks = {"hv3": DONE["hv3"], **({"hv2": task} if task else {})}
    rows = _results.prepared(MOVES, [], tasks, SEEN, check_mode=False)
    assert states(rows) == {"vm1": ("failed", "task_failed"), "vm2": ("ready", None)}
    assert rows[0]["msg"] == (task["msg"] if task else "the task on that host failed")


def test_what_was_left_out_has_its_reason_and_what_to_do() -> None:
    dropped = [_targets.Dropped(workload="vm1", reason="no_room", detail="a to b: no room")]
    rows = _results.prepared(MOVES, dropped, done(hv3=result("vm2")), SEEN, check_mode=False)
    assert states(rows)["vm1"] == ("dropped", "no_room")
    text = _results.render("Targets", rows, ["hv8", "hv9"])
    assert "a to b: no room" in text
    assert "hosts without facts: hv8, hv9" in text
    assert "  - Make a new plan: this one no longer fits the fleet." in text.splitlines()


@pytest.mark.fault("P10")
def test_check_mode_calls_nothing_ready() -> None:
    rows = _results.prepared(MOVES, [], DONE, {}, check_mode=True)
    assert states(rows) == {"vm1": ("planned", None), "vm2": ("planned", None)}


@pytest.mark.fault("C11")
def test_taking_back() -> None:
    busy = result("vm1", "refused", ok=False, reason="in_use", msg="qemu (7) holds it")
    tasks = done(hv2=busy, hv3=result("vm2", "removed"))
    tasks["hv4"] = {"failed": True, "msg": "the ledger is locked", "workloads": []}
    rows = _results.released([tasks, done(hv1=result(None, "none"))], {"vm2": "web2"}, check_mode=False)
    assert [(row["host"], row["name"] or row["workload"], row["state"]) for row in rows] == [
        ("hv2", "vm1", "kept"),
        ("hv3", "web2", "released"),
        ("hv4", "all", "failed"),
        ("hv1", "-", "nothing"),
    ]
    assert _results.failures(rows, ("dropped", "failed")) == ["all on hv4 (task_failed)"]
    shown = _results.render("Release", rows, [])
    assert "qemu (7) holds it" in shown
    assert "kept is what is in use, as it should be on a host that its VM has moved to" in shown
    assert _results.render("Release", [], []) == "Release: nothing to do"


def test_what_is_not_there_has_no_place() -> None:
    """After a reboot the ledger knows a transient instance that no kernel has."""
    gone: dict[str, t.Any] = {"uuid": UUID.format(103), "parent": None, "type": None, "action": "none", "holders": []}
    tasks = done(hv3={**result("vm2", "none"), "instances": [gone]})
    rows = _results.released([tasks], {}, check_mode=False)
    line = _results.render("Release", rows, []).splitlines()[1]
    assert line.split()[-2:] == [UUID.format(103), "none"]
    assert "None" not in line


@pytest.mark.fault("L10")
def test_hostile_names_are_harmless_on_a_terminal() -> None:
    moves = [{**MOVES[0], "name": "\x1b[2J\nready  all"}]
    rows = _results.prepared(t.cast("list[_model.Move]", moves), [], DONE, SEEN, check_mode=False)
    text = _results.render("Targets", rows, [])
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


def test_vms_that_may_move_get_a_domain_with_their_new_devices() -> None:
    """Asked on the host they leave; one that has no target gets none."""
    rows = _results.prepared(MOVES, [], DONE, {"hv2": seen(101, 102)}, check_mode=False)
    pairs = [{"source": UUID.format(old), "target": UUID.format(old + 100)} for old in (1, 2)]
    assert _results.domains(MOVES, rows) == {"hv1": [{"workload": "vm1", "mdevs": pairs}]}
    both = _results.prepared(MOVES, [], DONE, {}, check_mode=True)
    assert [one["workload"] for one in _results.domains(MOVES, both)["hv1"]] == ["vm1", "vm2"]


WRITTEN: list[t.Any] = [
    pytest.param({"path": "/xml/1.xml", "msg": None}, ", domain XML /xml/1.xml", id="written"),
    pytest.param({"path": "/x", "msg": "not validated"}, ", domain XML /x, but not validated", id="not validated"),
    pytest.param({"path": None, "msg": "unknown VM"}, ", no domain XML: unknown VM", id="no file"),
    pytest.param(None, ", no domain XML: host gone", id="no answer"),
]


@pytest.mark.parametrize(("one", "end"), WRITTEN)
def test_row_says_what_became_of_the_domain(one: dict[str, t.Any] | None, end: str) -> None:
    rows = _results.prepared(MOVES, [], DONE, {"hv2": seen(101, 102)}, check_mode=False)
    domains = [{**one, "workload": "vm1"}] if one else []
    _results.add_domains(rows, {"hv1": {"domains": domains, "msg": "host gone"}, "hv9": {"domains": []}})
    lines = _results.render("Targets", rows, []).splitlines()
    assert lines[1].endswith(end)
    assert "domain" not in lines[2], "it failed, so nobody asked"
    assert "  - " not in "".join(line for line in lines if "domain" in line)


def passed(devices: bool = True) -> list[_model.Move]:
    plan = plan_data.two()
    plan["moves"][0]["passthrough"] = [plan_data.passthrough(7, "0000:01:00.1")]
    if not devices:
        plan["moves"][0]["devices"] = []
    return _plan.load(plan)["moves"]


@pytest.mark.parametrize("devices", [True, False], ids=["with instances", "alone"])
def test_a_device_that_is_there_already_counts(devices: bool) -> None:
    there = seen(101, 102)
    there["devices"].append(data.device("0000:01:00.1", "v"))
    registered = DONE if devices else done(hv3=result("vm2"))
    rows = _results.prepared(passed(devices), [], registered, {**SEEN, "hv2": there}, check_mode=False)
    assert states(rows)["vm1"] == ("ready", None)
    assert rows[0]["instances"][-1] == {"uuid": "0000:01:00.1", "parent": None, "type": None, "action": "there"}
    assert "0000:01:00.1 there" in _results.render("Targets", rows, [])
    rows = _results.prepared(passed(devices), [], registered, SEEN, check_mode=False)
    assert states(rows)["vm1"] == ("failed", "lost")
