# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan held against what hosts say: what is asked, what may be created, who is left out."""

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes, _plan, _reasons, _targets
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import plan_data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.plan_data import UUID

Facts = dict[str, t.Any]


def parent(room: int | None = 4, string: str | None = "s", **more: t.Any) -> t.Any:
    return data.parent("p1", data.mdev_type("t1", string, room), **more)


def fleet(answer: str = "yes", room: int | None = 4) -> Facts:
    """hv1 has what ``plan_data.two`` moves; hv2 and hv3 were asked and answered."""
    sources = [data.device(UUID.format(number), "s", ("p1", "t1"), in_use=True) for number in (1, 2, 3)]
    workloads = [data.workload("vm1", UUID.format(1), UUID.format(2)), data.workload("vm2", UUID.format(3))]
    asked = data.verdict(("p1", "t1", None), "s", answer)
    return {
        "hv1": data.host(parent(), *sources, *workloads),
        "hv2": data.host(parent(room), verdicts=[asked]),
        "hv3": data.host(parent(room), verdicts=[asked]),
    }


def run(facts: Facts, plan: plan_data.Plan | None = None, **options: t.Any) -> _targets.Targets:
    return _targets.targets(_plan.load(plan or plan_data.two())["moves"], now(facts, **options))


def now(facts: Facts, **options: t.Any) -> _targets.Now:
    hosts = {host.name: host for host in _nodes.load(facts)}
    return _targets.Now(**{"hosts": hosts, "fresh": set(hosts), "time": data.NOW, "max_age": 7200, **options})


def reasons(found: _targets.Targets) -> dict[str, str]:
    return {one["workload"]: one["reason"] for one in found["dropped"]}


def created(found: _targets.Targets) -> dict[str, list[str]]:
    return {host: [one["uuid"] for one in work["instances"]] for host, work in found["hosts"].items()}


BOTH = {"hv2": [UUID.format(101), UUID.format(102)], "hv3": [UUID.format(103)]}


def test_what_fits_is_asked_and_created() -> None:
    found = run(fleet())
    assert (created(found), found["dropped"], found["unseen"]) == (BOTH, [], [])
    node = {"scope": "type", "parent": "p1", "type": "t1", "device": None}
    source = {"string": "s", "vendor": data.VENDOR, "source_type": "t1"}
    assert found["hosts"]["hv2"]["requests"] == [{**node, **source}], "once for both devices"
    expected = _targets.Instance(
        workload="vm2", uuid=UUID.format(103), parent="p1", type="t1", attributes=[], accepts="s"
    )
    assert found["hosts"]["hv3"]["instances"] == [expected]


def test_before_it_is_asked_there_are_only_questions() -> None:
    facts = fleet()
    for host in ("hv2", "hv3"):
        del facts[host]["vfio_migration_verdicts"]
    found = run(facts)
    assert reasons(found) == {"vm1": "not_asked", "vm2": "not_asked"}
    assert [len(work["requests"]) for work in found["hosts"].values()] == [1, 1]
    assert created(found) == {"hv2": [], "hv3": []}


Spoil = t.Callable[[Facts], t.Any]


def snapshot(facts: Facts, host: str) -> t.Any:
    return facts[host]["vfio_migration"]


def _own(facts: Facts, host: str, *parts: t.Any) -> None:
    snapshot(facts, host)["devices"] += parts


DRIFT: dict[str, tuple[Spoil, str]] = {
    "source host away": (lambda facts: facts.update(hv1={}), "source_unread"),
    "source facts too old": (lambda f: snapshot(f, "hv1").update(time="2026-11-22T09:00:00Z"), "source_unread"),
    "source's facts of the future": (
        lambda f: snapshot(f, "hv1").update(time="2026-11-23T12:00:00Z"),
        "source_unread",
    ),
    "source gone": (lambda f: snapshot(f, "hv1")["devices"].pop(0), "source_gone"),
    "source of another type": (lambda f: snapshot(f, "hv1")["devices"][0].update(type="t2"), "source_changed"),
    "source with another driver": (
        lambda f: snapshot(f, "hv1")["devices"][1].update(migration_version=data.attribute("s2")),
        "source_changed",
    ),
    "source's type with another driver": (
        lambda f: snapshot(f, "hv1")["parents"][0]["types"][0].update(migration_version=data.attribute("s2")),
        "source_changed",
    ),
    "source silent": (
        lambda f: snapshot(f, "hv1")["devices"][0].update(migration_version=data.attribute("?busy")),
        "source_unread",
    ),
    "one more device": (
        lambda f: snapshot(f, "hv1")["workloads"][0]["devices"].append(UUID.format(9)),
        "source_changed",
    ),
    "target host away": (lambda facts: facts.update(hv2=None), "target_unread"),
    "target's facts broken": (lambda f: snapshot(f, "hv2").update(parents=7), "target_unread"),
    "parent gone": (lambda f: snapshot(f, "hv2")["parents"].clear(), "parent_gone"),
    "parent unplugged": (lambda f: snapshot(f, "hv2")["parents"][0].update(state="gone"), "parent_gone"),
    "parent hung": (lambda f: snapshot(f, "hv2")["parents"][0].update(state="hung"), "hung"),
    "type gone": (lambda f: snapshot(f, "hv2")["parents"][0]["types"].clear(), "type_gone"),
    "another vendor": (lambda f: snapshot(f, "hv2")["parents"][0].update(vendor="pci:10de"), "vendor"),
    "one slot left": (
        lambda f: snapshot(f, "hv2")["parents"][0]["types"][0].update(available_instances=1),
        "no_room",
    ),
    "refused": (lambda f: f.update(hv2=fleet("no")["hv2"]), "errno"),
    "busy": (lambda f: f.update(hv2=fleet("?busy")["hv2"]), "busy"),
    "asked before it was read": (lambda f: snapshot(f, "hv2").update(time=data.NOW), "not_asked"),
    "asked in an earlier run": (
        lambda f: (
            snapshot(f, "hv2").update(time=data.NOW),
            f["hv2"]["vfio_migration_verdicts"].update(time=data.NOW),
        ),
        "not_asked",
    ),
}


@pytest.mark.fault("C1", "C16", "C17")
@pytest.mark.parametrize(("spoil", "reason"), DRIFT.values(), ids=DRIFT.keys())
def test_drift_costs_its_own_workload_with_all_devices(spoil: Spoil, reason: str) -> None:
    facts = fleet()
    spoil(facts)
    found = run(facts)
    assert reasons(found)["vm1"] == reason
    assert not created(found).get("hv2")
    assert reason in _reasons.REASONS
    if reasons(found).keys() == {"vm1"}:
        assert created(found)["hv3"] == BOTH["hv3"]
    else:
        assert reason.startswith("source"), "vm2 has the same source host, and no other target"


@pytest.mark.fault("C3")
@pytest.mark.parametrize("host", ["hv1", "hv3", "hv4"])
def test_a_uuid_of_another_host_is_refused_before_anything_is_asked(host: str) -> None:
    facts = {**fleet(), "hv4": data.host(parent())}
    _own(facts, host, data.device(UUID.format(102), "s", ("p1", "t1")))
    found = run(facts)
    assert reasons(found) == {"vm1": "uuid_clash"}
    assert "hv2" not in found["hosts"]


@pytest.mark.fault("C3")
def test_policy_same_is_legal_for_the_own_source_only() -> None:
    plan = plan_data.plan(plan_data.move("vm2", "hv1", "hv2", plan_data.device(3)), policy="same")
    assert created(run(fleet(), plan)) == {"hv2": [UUID.format(3)]}
    facts = fleet()
    _own(facts, "hv3", data.device(UUID.format(3), "s", ("p1", "t1")))
    assert reasons(run(facts, plan)) == {"vm2": "uuid_clash"}


@pytest.mark.fault("C2", "C9")
def test_what_is_there_from_an_earlier_run_needs_no_room() -> None:
    facts = fleet(room=0)
    for number in (101, 102):
        _own(facts, "hv2", data.device(UUID.format(number), "s", ("p1", "t1")))
    found = run(facts)
    assert created(found)["hv2"] == BOTH["hv2"]
    assert reasons(found) == {"vm2": "no_room"}


@pytest.mark.fault("C1", "C7", "L3")
def test_the_last_slot_goes_to_the_first_of_the_plan_that_fits_whole() -> None:
    moves = [
        plan_data.move("big", "hv1", "hv2", plan_data.device(1, 101), plan_data.device(2, 102)),
        plan_data.move("small", "hv1", "hv2", plan_data.device(3, 103)),
    ]
    facts = fleet(room=1)
    snapshot(facts, "hv1")["workloads"].clear()
    found = run(facts, plan_data.plan(*moves))
    assert (created(found), reasons(found)) == ({"hv2": [UUID.format(103)]}, {"big": "no_room"})
    assert created(run(facts, plan_data.plan(*moves), reuse=True))["hv2"] == [UUID.format(n) for n in (101, 102, 103)]
    assert not run(fleet(room=None))["dropped"], "unknown room is the driver's to decide"


@pytest.mark.fault("C1", "L3")
def test_two_workloads_do_not_get_one_slot() -> None:
    moves = [plan_data.move(f"vm{n}", "hv1", "hv2", plan_data.device(n, 100 + n)) for n in (1, 2)]
    facts = fleet(room=1)
    snapshot(facts, "hv1")["workloads"].clear()
    found = run(facts, plan_data.plan(*moves))
    assert (created(found), reasons(found)) == ({"hv2": [UUID.format(101)]}, {"vm2": "no_room"})


def test_hosts_that_were_not_read_in_this_run_are_no_targets() -> None:
    assert reasons(run(fleet(), fresh={"hv1", "hv3"})) == {"vm1": "target_unread"}
    assert reasons(run(fleet(), fresh={"hv2", "hv3"})) == {}, "the facts of a source may come from the cache"


@pytest.mark.fault("C16")
def test_hosts_that_could_not_be_compared_are_named() -> None:
    assert run({**fleet(), "hv9": None, "hv8": {}})["unseen"] == ["hv8", "hv9"]


@pytest.mark.parametrize(
    ("type_string", "device_string", "target_type", "expected"),
    [
        ("s", "s", "t2", []),
        (None, "s", "t1", []),
        (None, None, "t1", ["nobody_to_ask"]),
        ("s", None, "t2", ["nobody_to_ask"]),
    ],
)
@pytest.mark.fault("P11")
def test_who_is_asked(
    type_string: str | None, device_string: str | None, target_type: str, expected: list[str]
) -> None:
    """Another type is never asked at its type node; then only the new device can tell."""
    device = {
        **plan_data.device(3, 103),
        "type_string": type_string,
        "device_string": device_string,
        "type": target_type,
    }
    facts = fleet()
    facts["hv2"] = data.host(data.parent("p1", *[data.mdev_type(name, "s") for name in ("t1", "t2")]))
    source = data.parent("p1", data.mdev_type("t1", type_string))
    facts["hv1"] = data.host(source, data.device(UUID.format(3), device_string, ("p1", "t1")))
    plan = plan_data.plan(plan_data.move("vm2", "hv1", "hv2", device))
    found = run(facts, plan)
    assert list(reasons(found).values()) == expected
    assert found["hosts"]["hv2"]["requests"] == []
    assert not run(facts, plan, allow_unknown=True)["dropped"]


def test_a_type_without_the_attribute_leaves_it_to_the_device() -> None:
    assert created(run(fleet("?absent"))) == BOTH


@pytest.mark.fault("P10")
def test_check_mode_shows_what_would_be_created_if_the_drivers_agree() -> None:
    facts = fleet("?check_mode")
    assert created(run(facts)) == BOTH
    facts = fleet("no")
    asked = run(facts)["hosts"]["hv2"]["requests"]
    for host in ("hv2", "hv3"):
        snapshot(facts, host).update(time=data.NOW)
        facts[host]["vfio_migration_verdicts"].update(time=data.NOW, would_write=asked)
    assert reasons(run(facts)) == {"vm1": "errno", "vm2": "errno"}, "what was answered before is not forgotten"


@given(st.lists(st.sampled_from(sorted(DRIFT)), max_size=4))
def test_a_workload_is_created_whole_or_left_out_whatever_drifts(names: list[str]) -> None:
    facts = fleet()
    for name in names:
        try:
            DRIFT[name][0](facts)
        except (AttributeError, IndexError, KeyError, TypeError):
            continue  # what it would spoil is gone already
    plan = plan_data.two()
    found = run(copy.deepcopy(facts), plan)
    done = [one["workload"] for work in found["hosts"].values() for one in work["instances"]]
    for move in plan["moves"]:
        dropped = move["workload"] in reasons(found)
        assert done.count(move["workload"]) == (0 if dropped else len(move["devices"]))


def moved() -> Facts:
    """vm1 holds its new instances; the old ones of vm2 are still in use."""
    facts = fleet()
    for number in (101, 102):
        held = data.device(UUID.format(number), "s", ("p1", "t1"), in_use=True)
        held["in_use_by"] = [{"pid": 7, "command": "qemu", "workload": "vm1"}]
        _own(facts, "hv2", held)
    for number in (0, 1):
        snapshot(facts, "hv1")["devices"][number]["in_use_by"] = []
    snapshot(facts, "hv1")["workloads"] = [one for one in snapshot(facts, "hv1")["workloads"] if one["id"] != "vm1"]
    return facts


def freed(facts: Facts, **options: t.Any) -> dict[str, list[str]]:
    found = _targets.release(_plan.load(plan_data.two())["moves"], now(facts, **options))
    assert found["hosts"] == {"hv2": ["vm1"], "hv3": ["vm2"]}
    return {host: [one["uuid"] for one in instances] for host, instances in found["sources"].items()}


@pytest.mark.fault("C11")
def test_old_instances_are_freed_after_their_workload_has_moved() -> None:
    assert freed(moved()) == {"hv1": [UUID.format(1), UUID.format(2)]}


def holder(pid: int | None) -> dict[str, t.Any]:
    """Of vm1: its process, or its libvirt domain that does not run."""
    return {"pid": pid, "command": "qemu" if pid else "libvirt domain vm1", "workload": "vm1"}


def test_domain_that_is_still_defined_at_the_source_has_moved_all_the_same() -> None:
    """Removing the instance then says which domain names it."""
    facts = moved()
    snapshot(facts, "hv1")["devices"][1].update(in_use_by=[holder(None)])
    assert freed(facts) == {"hv1": [UUID.format(1), UUID.format(2)]}


@pytest.mark.fault("R18")
def test_old_instance_of_an_unknown_type_spoils_no_other() -> None:
    """An empty name would be a mistake in the options, for which the module does nothing at all on that host."""
    facts = moved()
    snapshot(facts, "hv1")["devices"][0].update(type=None, migration_version=data.attribute("?incomplete"))
    found = _targets.release(_plan.load(plan_data.two())["moves"], now(facts))["sources"]["hv1"]
    assert [(one["parent"], one["type"]) for one in found] == [("p1", None), ("p1", "t1")]


STAYS: dict[str, Spoil] = {
    "nothing moved": lambda f: f.update(fleet()),
    "one is still held": lambda f: snapshot(f, "hv1")["devices"][1].update(in_use_by=[holder(1)]),
    "its VM runs nowhere": lambda f: snapshot(f, "hv2")["devices"][0].update(in_use_by=[holder(None)]),
    "libvirt runs it, its process is hidden": lambda f: snapshot(f, "hv1")["workloads"].append(
        dict(data.workload("vm1"), pid=None)
    ),
    "nobody knows who holds it": lambda f: snapshot(f, "hv1")["devices"][1].update(in_use_by=None),
    "the VM is only shut down": lambda f: snapshot(f, "hv2")["devices"][0].update(in_use_by=[]),
    "nobody knows whether it runs": lambda f: snapshot(f, "hv2")["devices"][0].update(in_use_by=None),
    "another workload holds the new one": lambda f: snapshot(f, "hv2")["devices"][0].update(
        in_use_by=[{"pid": 7, "command": "qemu", "workload": "vm9"}]
    ),
    "target host away": lambda f: f.update(hv2=None),
    "source host away": lambda f: f.update(hv1=None),
}


@pytest.mark.fault("C11")
@pytest.mark.parametrize("spoil", STAYS.values(), ids=STAYS.keys())
def test_old_instances_stay_unless_it_is_certain(spoil: Spoil) -> None:
    facts = moved()
    spoil(facts)
    assert not any(freed(facts).values())


def test_old_instances_stay_when_the_facts_are_of_an_earlier_run() -> None:
    assert not any(freed(moved(), fresh=()).values())


def passed_fleet() -> Facts:
    """vm1 has an mdev and VF 7 on hv1; hv2 has a free VF, which was asked."""
    facts = fleet()
    source = data.device("0000:00:07.0", "v", in_use=True)
    source["in_use_by"] = [_model.Holder(pid=7, command="qemu", workload="vm1")]
    _own(facts, "hv1", source)
    snapshot(facts, "hv1")["workloads"][0]["devices"].append("0000:00:07.0")
    _own(facts, "hv2", data.device("0000:01:00.1", "v"))
    facts["hv2"]["vfio_migration_verdicts"]["verdicts"].append(
        data.verdict((None, None, "0000:01:00.1"), "v", source_type=None)
    )
    return facts


def passed_plan() -> plan_data.Plan:
    plan = plan_data.two()
    plan["moves"][0]["passthrough"] = [plan_data.passthrough(7, "0000:01:00.1", "v")]
    return plan


def test_a_device_that_is_there_already_is_asked_and_not_created() -> None:
    found = run(passed_fleet(), passed_plan())
    assert (created(found), found["dropped"]) == (BOTH, [])
    assert [one for one in found["hosts"]["hv2"]["requests"] if one["scope"] == "device"] == [
        {
            "scope": "device",
            "parent": None,
            "type": None,
            "device": "0000:01:00.1",
            "string": "v",
            "vendor": data.VENDOR,
            "source_type": None,
        }
    ]


def _vf(**fields: t.Any) -> Spoil:
    def change(facts: Facts) -> None:
        (vf,) = [one for one in snapshot(facts, "hv2")["devices"] if one["id"] == "0000:01:00.1"]
        vf.update(fields)

    return change


PASSED: dict[str, tuple[Spoil, str]] = {
    "it is away": (lambda f: snapshot(f, "hv2")["devices"].clear(), "device_gone"),
    "it is an mdev now": (_vf(kind="mdev", parent="p1", type="t1"), "device_gone"),
    "it is another vendor's": (_vf(vendor="pci:10de"), "vendor"),
    "somebody holds it": (_vf(in_use_by=[data.HOLDER]), "device_taken"),
    "nobody knows who holds it": (_vf(in_use_by=None), "holders_unknown"),
    "it was not asked": (lambda f: f["hv2"]["vfio_migration_verdicts"]["verdicts"].pop(), "not_asked"),
    "it refuses": (
        lambda f: f["hv2"]["vfio_migration_verdicts"]["verdicts"][1].update(verdict="incompatible"),
        "incompatible",
    ),
    "its host was not read": (lambda f: f.update(hv2=None), "target_unread"),
    "its source changed": (
        lambda f: snapshot(f, "hv1")["devices"][-1].update(migration_version=data.attribute("w")),
        "source_changed",
    ),
}


@pytest.mark.parametrize(("spoil", "reason"), PASSED.values(), ids=PASSED.keys())
def test_a_device_that_is_there_already_drifts(spoil: Spoil, reason: str) -> None:
    facts = passed_fleet()
    spoil(facts)
    found = run(facts, passed_plan())
    assert reasons(found) == {"vm1": reason}
    assert created(found).get("hv2", []) == [], "all devices of a workload, or none"


def test_a_device_that_the_same_workload_holds_already_is_its_own() -> None:
    facts = passed_fleet()
    _vf(in_use_by=[_model.Holder(pid=7, command="qemu", workload="vm1")])(facts)
    assert run(facts, passed_plan())["dropped"] == []


def second_plan() -> plan_data.Plan:
    """vm1 went to hv2 and goes on to hv3; what its new instances say nobody could know before."""
    plan = plan_data.two()
    plan["moves"].append(
        plan_data.move("vm1", "hv2", "hv3", plan_data.device(101, 201), plan_data.device(102, 202), wave=3)
    )
    for one in plan["moves"][-1]["devices"]:
        one["device_string"] = None
    return plan


def test_a_second_move_takes_the_strings_of_what_the_first_one_made() -> None:
    plan, facts = _plan.load(second_plan()), fleet()
    for number in (101, 102):
        _own(facts, "hv2", data.device(UUID.format(number), "made", ("p1", "t1"), in_use=True))
    moves = _plan.select(plan, None, [3])
    found = _targets.targets(moves, now(facts, again=_plan.again(plan)))
    assert found["dropped"] == []
    assert [one["accepts"] for one in found["hosts"]["hv3"]["instances"]] == ["made", "made"]
    assert _targets.targets(moves, now(facts))["dropped"], "for a first move the plan's own word counts"


def test_a_second_move_waits_for_the_first() -> None:
    plan = _plan.load(second_plan())
    with pytest.raises(_plan.PlanError, match="moves vm1 more than once: name the waves of one batch"):
        _plan.select(plan, None, None)
    found = _targets.targets(_plan.select(plan, None, [3]), now(fleet(), again=_plan.again(plan)))
    assert reasons(found) == {"vm1": "source_gone"}


def test_an_instance_whose_device_is_passed_through_now_is_freed() -> None:
    plan, facts = passed_plan(), moved()
    passed = plan_data.passthrough(1, "0000:01:00.1", "s") | {"source": UUID.format(1), "source_type": "t1"}
    plan["moves"][0] |= {"devices": [], "passthrough": [passed]}
    _own(facts, "hv2", data.device("0000:01:00.1", "v"))
    _vf(in_use_by=[_model.Holder(pid=7, command="qemu", workload="vm1")])(facts)
    found = _targets.release(_plan.load(plan)["moves"], now(facts))["sources"]
    assert {host: [one["uuid"] for one in instances] for host, instances in found.items()} == {"hv1": [UUID.format(1)]}


def test_a_host_with_nothing_to_free_is_left_alone() -> None:
    plan, facts = passed_plan(), moved()
    plan["moves"][0]["devices"] = []
    _own(facts, "hv1", data.device("0000:00:07.0", "v"))
    _own(facts, "hv2", data.device("0000:01:00.1", "v"))
    _vf(in_use_by=[_model.Holder(pid=7, command="qemu", workload="vm1")])(facts)
    assert _targets.release(_plan.load(plan)["moves"], now(facts))["sources"] == {}


def test_old_instances_stay_while_a_passed_through_device_has_not_moved() -> None:
    facts = moved()
    source = data.device("0000:00:07.0", "v", in_use=True)
    _own(facts, "hv1", source)
    _own(facts, "hv2", data.device("0000:01:00.1", "v"))
    moves = _plan.load(passed_plan())["moves"]
    assert not _targets.release(moves, now(facts))["sources"]
    source["in_use_by"] = []
    _vf(in_use_by=[_model.Holder(pid=7, command="qemu", workload="vm1")])(facts)
    found = _targets.release(moves, now(facts))["sources"]
    assert [one["uuid"] for one in found["hv1"]] == [UUID.format(1), UUID.format(2)], "a VF cannot be removed"
