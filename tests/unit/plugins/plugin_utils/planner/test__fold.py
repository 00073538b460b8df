# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts, pairings and policy -> a problem: who moves, who stays, what is there to take them."""

from __future__ import annotations

import dataclasses
import random
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils._pairing import pairings
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _policy
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._fold import Folded, fold
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Host, Seat
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data

Facts = dict[str, t.Any]
TYPES = {"t1": "one", "t2": "two"}
VF = "0000:05:00.1"
DRAIN: dict[str, t.Any] = {"drain": ["hv1"]}


def folded(facts: Facts, options: dict[str, t.Any] | None = None) -> Folded:
    options = options or DRAIN
    hosts = _nodes.load(facts)
    matrix = pairings(facts, data.DAY, data.NOW, sources="all" if "rolling" in options else "devices")
    return fold(matrix, hosts, _policy.read(options, hosts))


def host(
    *parts: t.Any,
    says: t.Mapping[str, str] | None = None,
    rooms: t.Mapping[str, int | None] | None = None,
    **more: t.Any,
) -> Facts:
    """One parent p1 with two types. ``says``: type -> its answer to its own string."""
    rooms = {"t1": 2, "t2": 1} if rooms is None else rooms
    answers = {"t1": "yes", "t2": "yes"} if says is None else says
    parent = data.parent("p1", *(data.mdev_type(name, string, rooms.get(name)) for name, string in TYPES.items()))
    verdicts = [data.verdict(("p1", name, None), TYPES[name], answer) for name, answer in answers.items()]
    return data.host(parent, *parts, verdicts=[*verdicts, *more.pop("verdicts", [])], **more)


def mdev(name: str, kind: str | None = "t1", in_use: bool | None = True, **more: t.Any) -> t.Any:
    return data.device(name, TYPES[kind] if kind else "?incomplete", ("p1", kind), in_use, **more)


def on(found: Folded, name: str) -> Host:
    return next(each for each in found.problem.hosts if each.name == name)


def seats(found: Folded, name: str, parent: int = 0) -> tuple[Seat, ...]:
    return found.problem.kinds[on(found, name).parents[parent].kind].seats


def reasons(found: Folded) -> set[tuple[str, str]]:
    return {(note["item"], note["reason"]) for note in found.notes}


BUSY = host(mdev("d1"), mdev("d2", "t2"), data.workload("vm", "d1", "d2"), rooms={"t1": 0, "t2": 0})


@pytest.mark.fault("L2")
def test_a_vm_is_one_with_all_of_its_devices() -> None:
    found = folded({"hv1": BUSY, "hv2": host()})
    (vm,) = found.problem.vms
    assert (vm.id, vm.host, vm.devices, found.names) == ("vm", 0, ("d1", "d2"), ("vm",))
    assert [found.sources[need]["type"] for need in vm.needs] == ["t1", "t2"]
    target, source = on(found, "hv2"), on(found, "hv1")
    assert (target.target, target.drained, source.target, source.drained) == (True, False, False, True)
    assert [(each.address, each.left, each.full) for each in target.parents] == [("p1", (2, 1), (2, 1))]
    assert [(seat.type, seat.yes, seat.maybe, seat.barred) for seat in seats(found, "hv2")] == [
        ("t1", frozenset({vm.needs[0]}), frozenset(), frozenset()),
        ("t2", frozenset({vm.needs[1]}), frozenset(), frozenset()),
    ]
    assert [found.target(1, 0, seat)["type"] for seat in (0, 1)] == ["t1", "t2"]


def test_only_what_has_to_move_is_asked_for() -> None:
    found = folded({"hv1": host(mdev("d1"), data.workload("vm", "d1")), "hv2": host()})
    assert [vm.id for vm in found.problem.vms] == ["vm"]
    assert [seat.type for seat in seats(found, "hv2")] == ["t1"]
    assert on(found, "hv2").parents[0].left == (2,)


@pytest.mark.parametrize("in_use", [True, None])
@pytest.mark.fault("L1")
def test_a_device_without_a_known_owner_is_a_workload_of_its_own(in_use: bool | None) -> None:
    found = folded({"hv1": host(mdev("d1", in_use=in_use)), "hv2": host()})
    assert [(vm.id, vm.devices) for vm in found.problem.vms] == [("d1", ("d1",))]
    assert ("hosts/hv1", "owner_unknown") in reasons(found)


def test_an_idle_instance_is_nothing_to_evacuate_and_no_target() -> None:
    found = folded({"hv1": host(mdev("d1", in_use=False)), "hv2": host(mdev("d2", in_use=False))})
    assert found.problem.vms == ()
    assert ("hosts/hv1", "idle") in reasons(found)
    assert not on(found, "hv1").held
    assert all(each.address == "p1" for each in on(found, "hv2").parents)


def test_the_domain_of_devices_that_do_not_run_is_one_workload() -> None:
    devices = [mdev("d1"), mdev("d2", "t2")]
    for each in devices:
        each["in_use_by"] = [{"pid": None, "command": "libvirt domain off", "workload": "u-off"}]
    found = folded({"hv1": host(*devices), "hv2": host()})
    assert [(vm.id, vm.devices) for vm in found.problem.vms] == [("u-off", ("d1", "d2"))]
    assert ("hosts/hv1", "not_running") in reasons(found)


def test_who_runs_and_is_no_vm_is_noted() -> None:
    testpmd = {**data.workload("pid:7", "d1"), "kind": "process"}
    found = folded({"hv1": host(mdev("d1"), testpmd), "hv2": host()})
    assert ("hosts/hv1", "process") in reasons(found)


def test_a_device_of_two_workloads_moves_once() -> None:
    parts = [mdev("d1"), mdev("d2"), data.workload("a", "d1"), data.workload("b", "d1", "d2"), data.workload("c", "d1")]
    found = folded({"hv1": host(*parts), "hv2": host()})
    assert [(vm.id, vm.devices) for vm in found.problem.vms] == [("a", ("d1",)), ("b", ("d2",))]
    assert ("hosts/hv1/workloads/b", "shared") in reasons(found)


STAYS: list[tuple[str, list[t.Any]]] = [
    ("its type is not known", [mdev("d1"), mdev("d2", None), data.workload("vm", "d1", "d2")]),
    ("its vendor is not known", [mdev("d1"), mdev("d2", vendor=None), data.workload("vm", "d1", "d2")]),
    ("its host does not list it", [mdev("d1"), data.workload("vm", "d1", "d9")]),
]


@pytest.mark.parametrize("parts", [parts for _name, parts in STAYS], ids=[name for name, _parts in STAYS])
@pytest.mark.fault("L7", "L2")
def test_a_vm_with_a_device_nobody_can_ask_for_is_stuck_as_a_whole_and_alone(parts: list[t.Any]) -> None:
    found = folded({"hv1": host(*parts, mdev("d3"), data.workload("other", "d3")), "hv2": host()})
    assert [vm.id for vm in found.problem.vms] == ["other"]
    assert [(each["workload"], each["reason"], each["hosts"]) for each in found.stuck] == [
        ("vm", "source_unknown", ["hv1"])
    ]
    assert on(found, "hv1").held


def test_who_is_to_stop_is_gone_but_keeps_its_room() -> None:
    parts = [mdev("d1"), mdev("d2"), data.workload("a", "d1"), data.workload("b", "d2")]
    facts = {"hv1": host(*parts, rooms={"t1": 0, "t2": 0}), "hv2": host()}
    found = folded(facts, {"rolling": {"max_unavailable": 1}, "workloads": {"a": "stop"}})
    assert [vm.id for vm in found.problem.vms] == ["b"]
    assert found.stopped == ({"workload": "a", "name": "a", "host": "hv1"},)
    assert not on(found, "hv1").held
    assert (on(found, "hv1").parents[0].left, on(found, "hv1").parents[0].full) == ((0, 0), (1, 0))


def test_who_is_skipped_holds_its_host() -> None:
    found = folded({"hv1": BUSY, "hv2": host()}, {**DRAIN, "workloads": {"vm": "skip"}})
    assert (found.problem.vms, on(found, "hv1").held) == ((), True)
    assert [(each["workload"], each["reason"]) for each in found.stuck] == [("vm", "skipped")]


# ------------------------------------------------ answers


@pytest.mark.parametrize(
    ("allowed", "maybe"), [(False, False), (True, True), (["hv2"], True), (["hv1", "hv3"], False)], ids=repr
)
def test_unknown_is_used_only_on_hosts_that_may(allowed: t.Any, maybe: bool) -> None:
    facts = {"hv1": BUSY, "hv2": host(says={"t1": "?busy", "t2": "no"}), "hv3": host(says={"t1": "no", "t2": "no"})}
    found = folded(facts, {**DRAIN, "allow_unknown": allowed})
    need = found.problem.vms[0].needs[0]
    (seat,) = seats(found, "hv2")
    assert (seat.type, seat.yes) == ("t1", frozenset())
    assert (need in seat.maybe, need in seat.barred) == (maybe, not maybe)
    assert on(found, "hv3").parents == ()


def test_a_type_that_does_not_say_how_many_fit_has_no_seat() -> None:
    found = folded({"hv1": BUSY, "hv2": host(rooms={"t1": None, "t2": 1})})
    assert [seat.type for seat in seats(found, "hv2")] == ["t2"]
    assert ("hosts/hv2", "room_unknown") in reasons(found)


def test_a_vfio_device_that_is_free_is_a_parent_of_its_own() -> None:
    source = data.device(VF, "vf", in_use=True)
    free, used, owned = (data.device(f"0000:06:00.{n}", "vf", in_use=n == 1) for n in range(3))
    verdicts = [data.verdict((None, None, each["id"]), "vf") for each in (free, used, owned)]
    facts = {
        "hv1": host(source, data.workload("vm", VF)),
        "hv2": host(free, used, owned, data.workload("off", owned["id"]), verdicts=verdicts),
    }
    found = folded(facts)
    (parent,) = on(found, "hv2").parents
    assert (parent.address, parent.left, parent.full) == (free["id"], (1,), (1,))
    (seat,) = seats(found, "hv2")
    assert (seat.type, seat.yes) == (None, frozenset({found.problem.vms[0].needs[0]}))
    kind = found.problem.kinds[parent.kind]
    assert (kind.exclusive, kind.take((1,), 0), kind.take((0,), 0)) == (False, (0,), None)


def test_the_order_of_free_devices_does_not_matter() -> None:
    """Kinds have numbers, which decide between places that are equally good."""
    two = {name: data.device(name, "vf") for name in ("0000:06:00.0", "0000:06:00.1")}
    verdicts = [data.verdict((None, None, name), "vf", said) for name, said in zip(two, ("yes", "?busy"), strict=True)]
    source = data.host(data.device(VF, "vf", in_use=True), data.workload("vm", VF))
    found, again = (
        folded({"hv0": data.host(*order, verdicts=verdicts), "hv1": source}).problem
        for order in (two.values(), reversed(two.values()))
    )
    assert [parent.kind for parent in found.hosts[0].parents] == [0, 1]
    assert again == found


def test_the_order_of_two_records_of_one_vm_does_not_matter() -> None:
    records = [{**data.workload("vm", f"d{number}"), "name": name} for number, name in enumerate(("b", "a"))]
    devices = [mdev("d0"), mdev("d1")]
    for parts in (records, records[::-1]):
        found = folded({"hv1": host(*devices, *parts), "hv2": host()})
        assert [(vm.id, vm.devices) for vm in found.problem.vms] == [("vm", ("d0", "d1"))]
        assert found.names == ("a",)


# ------------------------------------------------ hosts


@pytest.mark.fault("C16", "L8")
def test_a_host_nobody_knows_is_no_target_and_does_not_count_as_emptied() -> None:
    broken = host()
    broken["vfio_migration"]["schema_version"] = 99
    bad_verdicts = host(mdev("d1"), data.workload("vm", "d1"))
    bad_verdicts["vfio_migration_verdicts"]["verdicts"] = "?"
    facts = {"hv1": BUSY, "hv2": host(), "hv3": None, "hv4": broken, "hv5": bad_verdicts}
    found = folded(facts, {"drain": ["hv1", "hv3", "hv5"]})
    assert [each.name for each in found.problem.hosts if each.target] == ["hv2"]
    assert [(each.name, each.held, each.parents) for each in found.problem.hosts if each.drained][1:] == [
        ("hv3", True, ()),
        ("hv5", True, ()),
    ]
    assert [vm.id for vm in found.problem.vms] == ["vm"]
    assert found.stuck == ()
    assert {("hosts/hv3", "unknown_host"), ("hosts/hv5", "unknown_host")} <= reasons(found)


@pytest.mark.parametrize("drain", [["hv1", "hv2"], ["hv1"]], ids=["all are drained", "source is the only host"])
@pytest.mark.fault("L6")
def test_no_target_at_all_is_said(drain: list[str]) -> None:
    facts = {"hv1": BUSY, "hv2": host()} if len(drain) == 2 else {"hv1": BUSY}
    found = folded(facts, {"drain": drain})
    assert ("hosts", "no_targets") in reasons(found)
    assert not any(each.target for each in found.problem.hosts)
    assert len(found.problem.vms) == 1


@pytest.mark.fault("L5")
def test_a_type_offered_only_by_hosts_in_maintenance_stays_known() -> None:
    found = folded({"hv1": BUSY, "hv2": host(), "hv3": host(says={"t1": "no", "t2": "no"})}, {"drain": ["hv1", "hv2"]})
    assert [each.name for each in found.problem.hosts if each.target] == ["hv3"]
    assert on(found, "hv3").parents == ()
    assert [seat.type for seat in seats(found, "hv2")] == ["t1", "t2"]


def test_limits_demands_domains_and_groups_arrive() -> None:
    facts = {
        "hv1": host(mdev("d1"), mdev("d2"), data.workload("a", "d1"), data.workload("b", "d2")),
        "hv2": host(mdev("d3"), data.workload("c", "d3")),
    }
    options = {
        **DRAIN,
        "incoming": 3,
        "headroom": {"hv2": {"cpus": 8}},
        "demand": {"a": {"cpus": 2, "memory": 64}},
        "failure_domains": {"east": ["hv2"]},
        "anti_affinity": [
            {"name": "hosts", "workloads": ["a", "c"]},
            {"name": "domains", "workloads": ["a", "b", "c"], "across": "domain"},
        ],
    }
    found = folded(facts, options)
    target = on(found, "hv2")
    assert (target.incoming, target.cpus, target.memory, target.domain) == (3, 8, None, "east")
    assert [(vm.id, vm.cpus, vm.memory, vm.groups) for vm in found.problem.vms] == [
        ("a", 2, 64, (0, 1)),
        ("b", 0, 0, (1,)),
    ]
    assert [(each.name, each.by_domain, each.taken) for each in found.problem.groups] == [
        ("hosts", False, frozenset({"hv2"})),
        ("domains", True, frozenset({"east"})),
    ]


@pytest.mark.parametrize(
    ("conduct", "taken"),
    [("migrate", frozenset[str]()), ("stop", frozenset({"hv1"})), ("skip", frozenset({"hv1"}))],
)
def test_a_group_minds_who_stays_and_who_starts_there_again(conduct: str, taken: frozenset[str]) -> None:
    facts = {"hv1": host(mdev("d1"), mdev("d2"), data.workload("a", "d1"), data.workload("b", "d2")), "hv2": host()}
    found = folded(facts, {**DRAIN, "workloads": {"b": conduct}, "anti_affinity": [{"workloads": ["a", "b"]}]})
    assert [each.taken for each in found.problem.groups] == [taken]


# ------------------------------------------------ rolling


def rolled(**more: t.Any) -> Folded:
    facts = {
        "hv1": host(
            mdev("d1"), mdev("d2"), data.workload("a", "d1"), data.workload("b", "d2"), rooms={"t1": 0, "t2": 0}
        ),
        "hv2": host(),
    }
    return folded(facts, {"rolling": {"max_unavailable": 1}, **more})


def test_of_a_rolling_maintenance_nobody_is_drained_yet_and_everybody_may_take() -> None:
    found = rolled()
    assert [(each.name, each.target, each.drained) for each in found.problem.hosts] == [
        ("hv1", True, False),
        ("hv2", True, False),
    ]
    assert [vm.id for vm in found.problem.vms] == ["a", "b"]
    parent = on(found, "hv1").parents[0]
    assert (parent.left, parent.full) == ((0, 0), (2, 1))  # hv2 is alike and empty, so it shows what the sibling has


def test_what_is_made_on_the_way_has_a_need_of_its_own() -> None:
    found = rolled()
    for seat in seats(found, "hv2"):
        assert seat.becomes is not None
        source = found.sources[seat.becomes]
        assert source["type"] == seat.type
        assert {"host": "hv2", "parent": "p1", "device": None, "workload": None} in source["members"]
        assert seat.becomes in seat.yes


def test_only_hosts_of_the_batches_have_anything_to_move() -> None:
    found = rolled(rolling={"batches": [["hv2"]]})
    assert found.problem.vms == ()
    assert on(found, "hv1").parents[0].full == (0, 0)


@pytest.mark.parametrize(
    ("gone", "left"), [([], (0, 0)), (["d1"], (1, 0)), (["d1", "d2"], (2, 1))], ids=["nobody", "one", "all"]
)
def test_what_is_left_when_some_have_gone(gone: list[str], left: tuple[int, ...]) -> None:
    assert rolled().left_after(0, gone) == (left,)


def test_what_is_left_of_shared_units_when_some_have_gone() -> None:
    rule = {"driver": data.DRIVEN[1], "model": "shared_units", "costs": {"t1": 1, "t2": 2}}
    assert rolled(capacity=[rule]).left_after(0, ["d2"]) == ((1,),)


# ------------------------------------------------ any fleet


@st.composite
def fleets(draw: st.DrawFn) -> Facts:
    facts: Facts = {}
    for number in range(draw(st.integers(1, 4))):
        devices, owned = [], []
        for place in range(draw(st.integers(0, 3))):
            name = f"d{number}-{place}"
            in_use = draw(st.sampled_from([True, True, False, None]))
            devices.append(
                draw(st.sampled_from([mdev(name, "t1", in_use), mdev(name, "t2", in_use), mdev(name, None, in_use),
                                      data.device(name, "vf", in_use=in_use)]))
            )  # fmt: skip
            owned.append(draw(st.integers(0, 2)))
        loads = [
            data.workload(
                f"vm{number}-{which}", *(each["id"] for each, who in zip(devices, owned, strict=True) if who == which)
            )
            for which in {who for who in owned if who}
        ]
        answers = {name: draw(st.sampled_from(["yes", "yes", "no", "?busy"])) for name in TYPES}
        rooms = {name: draw(st.sampled_from([0, 1, 2, None])) for name in TYPES}
        verdicts = [
            data.verdict((None, None, each["id"]), "vf", draw(st.sampled_from(["yes", "yes", "no"])))
            for each in devices
            if each["kind"] == "vfio"
        ]
        facts[f"hv{number}"] = draw(
            st.sampled_from(
                [host(*devices, *loads, says=answers, rooms=rooms, verdicts=verdicts)] * 6
                + [None, {"vfio_migration": 3}]
            )
        )
    return facts


OPTIONS = st.sampled_from(
    [{"drain": ["hv0"]}, {"rolling": {"max_unavailable": 1}}, {"drain": ["hv0"], "allow_unknown": True}]
)


@given(facts=fleets(), options=OPTIONS, chance=st.randoms(use_true_random=False))
@settings(max_examples=80)
def test_any_fleet_folds_the_same_in_any_order(facts: Facts, options: dict[str, t.Any], chance: random.Random) -> None:
    found = folded(facts, options)
    again = folded(data.mixed(facts, chance), options)
    assert dataclasses.replace(again, snapshots={}) == dataclasses.replace(found, snapshots={})


@given(facts=fleets(), options=OPTIONS)
@settings(max_examples=80)
def test_any_fleet_folds_into_a_problem_that_holds_together(facts: Facts, options: dict[str, t.Any]) -> None:
    found = folded(facts, options)
    problem = found.problem
    assert [each.name for each in problem.hosts] == sorted(facts)
    devices = [(vm.host, device) for vm in problem.vms for device in vm.devices]
    assert len(devices) == len(set(devices))
    for number, each in enumerate(problem.hosts):
        assert len(each.parents) == len(found.seats[number])
        for parent, targets in zip(each.parents, found.seats[number], strict=True):
            kind = problem.kinds[parent.kind]
            width = len(kind.seats) if kind.exclusive else len(kind.costs[0])
            assert len(parent.left) == len(parent.full) == width
            assert all(0 <= left <= full for left, full in zip(parent.left, parent.full, strict=True))
            assert [seat.type for seat in kind.seats] == [found.targets[target]["type"] for target in targets]
            assert all(any(target["host"] == each.name for target in found.targets[one]["members"]) for one in targets)
        assert found.left_after(number, []) == tuple(parent.left for parent in each.parents)
        own = [device for vm in problem.vms if vm.host == number for device in vm.devices]
        assert found.left_after(number, own) == tuple(parent.full for parent in each.parents)
    for vm in problem.vms:
        assert list(vm.needs) == sorted(vm.needs)
        for need, device in zip(vm.needs, vm.devices, strict=True):
            members = found.sources[need]["members"]
            assert any((one["host"], one["device"]) == (problem.hosts[vm.host].name, device) for one in members)
