# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker itself: it passes a valid plan, and finds what is done to it, one by one."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _contracts, _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils._pairing import pairings
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._checker import violations
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import Apart, Policy, Rolling, Spare
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data

Json = dict[str, t.Any]

STRINGS = {"t1": "one", "t2": "two", "u1": "unit", "u2": "units"}
ROOMS = {"p1": {"t1": 2, "t2": 1}, "q1": {"u1": 4, "u2": 2}}
TAKEN = {"p1": {"t1": 0, "t2": 0}, "q1": {"u1": 2, "u2": 1}}
VFIO = "vfio-string"


def ident(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


def host(number: int, rooms: t.Mapping[str, t.Mapping[str, int | None]], *parts: t.Any) -> Json:
    """Takes everything but on hv4, which was asked nothing and says no to u1."""
    parents = [
        data.parent(address, *(data.mdev_type(kind, STRINGS[kind], room) for kind, room in types.items()))
        for address, types in rooms.items()
    ]
    verdicts = [
        data.verdict((address, kind, None), STRINGS[kind], "no" if kind == "u1" else "yes")
        for address, types in rooms.items()
        for kind in types
        if number != 4 or kind == "u1"
    ]
    verdicts.append(data.verdict((None, None, f"0000:0{number}:00.0"), VFIO))
    return data.host(*parents, *parts, verdicts=verdicts)


def vfio(number: int, in_use: bool = False) -> _model.Device:
    return data.device(f"0000:0{number}:00.0", VFIO, None, in_use)


def mdev(number: int, parent: str, kind: str) -> _model.Device:
    return data.device(ident(number), STRINGS[kind], (parent, kind), True)


FACTS: dict[str, Json] = {
    "hv1": host(
        1, TAKEN, mdev(1, "p1", "t1"), mdev(2, "p1", "t1"), vfio(1, True), mdev(4, "q1", "u2"),
        data.workload("vm1", ident(1), ident(2)), data.workload("vm2", "0000:01:00.0"),
    ),
    "hv2": host(
        2, {"p1": ROOMS["p1"], "q1": TAKEN["q1"]}, vfio(2), mdev(5, "q1", "u2"), data.workload("vm5", ident(5)),
    ),
    "hv3": host(
        3, ROOMS, vfio(3), mdev(6, "q1", "u1"), mdev(7, "q1", "u1"),
        data.workload("vm6", ident(6)), data.workload("vm7", ident(7)),
    ),
    "hv4": host(4, ROOMS, vfio(4, True)),
    "hv5": host(5, {"p1": {"t1": None}, "q1": {"u1": 0, "u2": 0}}),
}  # fmt: skip
POLICY = Policy(
    drain=(),
    rolling=Rolling(None, (("hv1",), ("hv2",), ("hv3",))),
    incoming=3,
    concurrent=2,
    apart=(
        Apart("pair", "host", (("hv1", "vm1"), ("hv3", "vm7"))),
        Apart("zones", "domain", (("hv1", "vm2"), ("hv3", "vm7"))),
    ),
    domains={"hv2": "east", "hv3": "west", "hv5": "west"},
    headroom={"hv2": Spare(8, 100)},
    demand={("hv1", "vm1"): Spare(4, 50), ("hv1", "vm2"): Spare(4, 50), ("hv2", "vm5"): Spare(4, 50)},
    conduct={("hv3", "vm6"): "stop", ("hv3", "vm7"): "skip"},
    uuid_policy="new",
    allow_unknown=frozenset(),
    capacity=(),
    persist=False,
    id=None,
)


def made(source: int | str, parent: str, kind: str, number: int, **more: t.Any) -> Json:
    """One device of a move; a source given by its number was there before the plan."""
    first = isinstance(source, int) and source < 100
    return {
        "source": ident(source) if isinstance(source, int) else source,
        "source_type": kind,
        "vendor": data.VENDOR,
        "type_string": STRINGS[kind],
        "device_string": STRINGS[kind] if first else None,
        "parent": parent,
        "type": kind,
        "uuid": ident(number),
        "attributes": [],
        "evidence": evidence("type"),
        **more,
    }


def passed(source: str, target: str) -> Json:
    return {
        "source": source,
        "source_type": None,
        "vendor": data.VENDOR,
        "device_string": VFIO,
        "device": target,
        "evidence": evidence("device"),
    }


def evidence(scope: str | None, **more: t.Any) -> Json:
    yes: Json = {"verdict": "compatible", "scope": scope, "reason": None, "asked": data.HOUR_AGO, "warnings": []}
    return {**yes, **more}


def move(workload: str, way: tuple[str, str], wave: int, *devices: Json, name: str | None = "") -> Json:
    return {
        "workload": workload,
        "name": workload if name == "" else name,
        "source": way[0],
        "target": way[1],
        "wave": wave,
        "devices": [one for one in devices if "uuid" in one],
        "passthrough": [one for one in devices if "uuid" not in one],
    }


def record(model: str, origin: str, types: t.Sequence[tuple[str, int | None, dict[str, int]]], **parents: Json) -> Json:
    return {
        "model": model,
        "origin": origin,
        "detail": "by hand",
        "driver": "drv",
        "types": [{"type": kind, "most": most, "needs": shares(needs)} for kind, most, needs in types],
        "parents": [{"host": place[:3], "parent": place[4:], "left": shares(left)} for place, left in parents.items()],
    }


def shares(units: dict[str, int]) -> list[Json]:
    return [{"resource": resource, "units": count} for resource, count in units.items()]


def plan() -> t.Any:
    """Three batches: vm1 and vm2 move to hv2 and, when that is drained, back to hv1 and what they had there."""
    exclusive = record(
        "exclusive", "driver", [("t1", None, {"t1": 1}), ("t2", 1, {"t2": 1})],
        hv1_p1={"t1": 0, "t2": 0}, hv2_p1={"t1": 2, "t2": 1},
    )  # fmt: skip
    shared = record(
        "shared_units", "siblings", [("u1", None, {"units": 1}), ("u2", None, {"units": 2})],
        hv1_q1={"units": 2}, hv2_q1={"units": 2}, hv3_q1={"units": 4},
    )  # fmt: skip
    return {
        "schema_version": 1,
        "id": "p",
        "created": data.NOW,
        "uuid_policy": "new",
        "persist": False,
        "partial": False,
        "moves": [
            move("vm1", ("hv1", "hv2"), 1, made(1, "p1", "t1", 101), made(2, "p1", "t1", 102)),
            move("vm2", ("hv1", "hv2"), 2, passed("0000:01:00.0", "0000:02:00.0")),
            move(ident(4), ("hv1", "hv3"), 1, made(4, "q1", "u2", 104), name=None),
            move("vm1", ("hv2", "hv1"), 3, made(101, "p1", "t1", 201), made(102, "p1", "t1", 202)),
            move("vm2", ("hv2", "hv1"), 3, passed("0000:02:00.0", "0000:01:00.0")),
            move("vm5", ("hv2", "hv3"), 4, made(5, "q1", "u2", 205)),
            move(ident(4), ("hv3", "hv1"), 5, made(104, "q1", "u2", 304), name=None),
            move("vm5", ("hv3", "hv2"), 5, made(205, "q1", "u2", 305)),
        ],
        "stuck": [stuck("vm7", "hv3", "skipped")],
        "planning": {
            "inputs": {"fingerprint": "0" * 64, "oldest": data.HOUR_AGO, "age": 3600, "hosts": []},
            "policy": {},
            "batches": [
                {"batch": 1, "hosts": ["hv1"], "emptied": ["hv1"], "waves": [1, 2]},
                {"batch": 2, "hosts": ["hv2"], "emptied": ["hv2"], "waves": [3, 4]},
                {"batch": 3, "hosts": ["hv3"], "emptied": [], "waves": [5]},
            ],
            "stopped": [{"workload": "vm6", "name": "vm6", "host": "hv3"}],
            "capacity": [exclusive, shared],
            "bound": {"hosts": 3, "workloads": 4, "method": "flow"},
            "bound_reason": None,
            "gap": {"hosts": 1, "workloads": 0},
            "notes": [],
        },
    }


def stuck(workload: str, place: str, reason: str) -> Json:
    return {
        "workload": workload,
        "name": workload,
        "host": place,
        "reason": reason,
        "detail": "so it is",
        "rivals": [],
        "hosts": [],
        "remedies": [],
    }


def wrong(plan: t.Any, facts: t.Mapping[str, Json] | None = None, policy: Policy = POLICY) -> list[str]:
    facts = FACTS if facts is None else facts
    matrix = pairings(facts, data.DAY, data.NOW, "all")
    snapshots = {one.name: one.snapshot for one in _nodes.load(facts) if one.snapshot}
    return violations(plan, snapshots, matrix, policy)


def test_a_valid_plan_passes() -> None:
    assert _contracts.check(_model.Plan, plan(), "plan") == []
    assert wrong(plan()) == []


Change = t.Callable[[t.Any], object]


def of_move(number: int, **fields: t.Any) -> Change:
    return lambda plan: plan["moves"][number].update(fields)


def of_device(number: int, device: int, **fields: t.Any) -> Change:
    return lambda plan: plan["moves"][number]["devices"][device].update(fields)


def of_planning(**fields: t.Any) -> Change:
    return lambda plan: plan["planning"].update(fields)


def of_batch(number: int, **fields: t.Any) -> Change:
    return lambda plan: plan["planning"]["batches"][number].update(fields)


def of_record(number: int, **fields: t.Any) -> Change:
    return lambda plan: plan["planning"]["capacity"][number].update(fields)


def of_left(number: int, parent: int, **left: int) -> Change:
    return lambda plan: plan["planning"]["capacity"][number]["parents"][parent].update(left=shares(left))


def without(*moves: int) -> Change:
    """Leave these moves out, and say so of bound and gap."""

    def change(plan: t.Any) -> None:
        plan["moves"] = [one for number, one in enumerate(plan["moves"]) if number not in moves]
        plan["planning"]["gap"]["workloads"] += len(moves)

    return change


MUTATIONS: dict[str, tuple[Change, str]] = {
    "no planning": (lambda plan: plan.update(planning=None), "does not say how it was made"),
    # Devices.
    "a device is left out": (
        lambda plan: plan["moves"][0]["devices"].pop(),
        f"vm1 of hv1 is moved with {ident(1)}, and has {ident(1)}, {ident(2)}",
    ),
    "a device of another": (of_device(0, 0, source=ident(4)), f"vm1 of hv1 is moved with {ident(2)}, {ident(4)}, and"),
    "a device twice": (
        lambda plan: plan["moves"][0]["devices"].append(made(1, "p1", "t1", 103)),
        f"vm1 of hv1 is moved with {ident(1)}, {ident(1)}, {ident(2)}, and",
    ),
    "another name": (of_move(0, name="web"), "vm1 of hv1 is called web in the plan, and vm1 by its host"),
    "other source type": (of_device(0, 0, source_type="t2"), "its source_type is 't2' in the plan, and 't1'"),
    "other vendor": (of_device(0, 0, vendor="pci:1"), "its vendor is 'pci:1' in the plan"),
    "other type string": (of_device(0, 0, type_string="x"), "its type_string is 'x' in the plan, and 'one'"),
    "other device string": (of_device(0, 0, device_string=None), "its device_string is None in the plan, and 'one'"),
    "a string of what is not there yet": (of_device(3, 0, device_string="one"), "is 'one' in the plan, and None"),
    "evidence of another": (
        of_device(0, 0, evidence=evidence("type", warnings=["no_way_back"])),
        f"vm1 of hv1 device {ident(1)}: its evidence is not what the pairings say of hv2 p1 t1",
    ),
    "no evidence": (of_device(0, 0, evidence=None), "its evidence is not what"),
    # Where from and where to.
    "a host of the same batch": (of_move(0, target="hv1"), "vm1 of hv1 goes to hv1, which is drained in the same"),
    "to nowhere": (of_move(0, target="hv9"), "vm1 of hv1 goes to hv9, of which there are no facts"),
    "to a parent that is not there": (of_device(0, 0, parent="p9"), "the pairings do not know hv2 p9 t1"),
    "not where it is": (of_move(3, source="hv3"), "vm1 of hv3 is moved from hv3, and is not there"),
    "second move without the first": (without(0), "vm1 of hv2 is moved from hv2, and is not there"),
    "second move of what was there first": (of_device(3, 0, source=ident(1)), f"with {ident(1)}, {ident(102)}, and"),
    "moved twice at once": (
        lambda plan: plan["moves"].append(move("vm2", ("hv1", "hv3"), 2, passed("0000:01:00.0", "0000:03:00.0"))),
        "vm2 of hv1 is moved from hv1, and is not there",
    ),
    "leaves too early": (of_move(5, wave=1), "vm5 of hv2 leaves hv2, which is not drained in batch 1"),
    # Answers.
    "refused": (
        of_device(5, 0, type="u1"),
        f"vm5 of hv2 device {ident(5)} goes to hv3 q1 u1, which does not take it",
    ),
    "nobody knows": (
        of_move(5, target="hv4"),
        f"vm5 of hv2 device {ident(5)} goes to hv4 q1 u2, whose answer is unknown, and the policy forbids that",
    ),
    # Capacity.
    "one more than there is": (
        lambda plan: plan["moves"][0]["devices"].append(made(2, "p1", "t1", 110)),
        "whose driver shows room for 2, and the plan makes 3",
    ),
    "a type with no room": (of_move(2, target="hv5"), "of whose capacity the plan says nothing"),
    "two types on an exclusive parent": (
        of_device(0, 1, type="t2"),
        "vm1 of hv1 gets t2 on hv2 p1, which takes one type only and has t1",
    ),
    "not given back yet": (
        of_batch(1, hosts=["hv2", "hv1"]),
        "vm1 of hv2 goes to hv1, which is drained in the same batch",
    ),
    "record against driver": (
        of_left(1, 2, units=6),
        "hv3 q1: the plan's shared_units record has room for 6 of u1, and its driver shows 4",
    ),
    "costs that nobody could have seen": (
        of_record(1, types=record("vector", "x", [("u1", None, {"units": 1}), ("u2", None, {"units": 1})])["types"]),
        "hv3 q1: the plan's shared_units record has room for 4 of u2, and its driver shows 2",
    ),
    "driver's record of more than it shows": (of_left(0, 1, t1=3, t2=1), "room for 3 of t1, and its driver shows 2"),
    "more than a parent takes": (
        of_record(0, types=record("x", "x", [("t1", 1, {"t1": 1})])["types"]),
        "hv2 p1: the plan's record lets at most 1 of t1 onto it, and its driver shows 2 more",
    ),
    "the record has none left": (
        of_left(0, 1, t1=1, t2=1),
        "vm1 of hv1 gets t1 on hv2 p1, where the plan's own record has none left",
    ),
    "the record has too few units": (
        of_left(1, 2, units=1),
        f"{ident(4)} of hv1 gets u2 on hv3 q1, where the plan's own record has too few units left",
    ),
    "the record lacks the type": (
        of_record(1, types=record("x", "x", [("u1", None, {"units": 1})])["types"]),
        "vm5 of hv2 gets u2 on hv3 q1, which the plan's own record does not know",
    ),
    "no record": (of_record(0, parents=[]), "gets an instance on hv2 p1, of whose capacity the plan says nothing"),
    "two records": (
        lambda plan: plan["planning"]["capacity"].append(copy.deepcopy(plan["planning"]["capacity"][0])),
        "hv2 p1 has two capacity records",
    ),
    "a record of nothing": (
        lambda plan: plan["planning"]["capacity"][0]["parents"][0].update(host="hv9"),
        "hv9 p1 has a capacity record, but no facts say that it is there",
    ),
    "more than came back": (
        lambda plan: plan["moves"][3]["devices"].append(made(103, "p1", "t1", 203)),
        "vm1 of hv2 gets t1 on hv1 p1, where the plan's own record has none left",
    ),
    "more units than came back": (
        lambda plan: plan["moves"][6]["devices"].extend([made(105, "q1", "u2", 306), made(106, "q1", "u2", 307)]),
        f"{ident(4)} of hv3 gets u2 on hv1 q1, where the plan's own record has too few units left",
    ),
    # Devices that are there already.
    "no such device": (
        lambda plan: plan["moves"][1]["passthrough"][0].update(device="0000:09:00.0"),
        "vm2 of hv1 is given hv2 0000:09:00.0, and there is no such VFIO device",
    ),
    "an mdev as a device": (
        lambda plan: plan["moves"][1]["passthrough"][0].update(device=ident(5)),
        f"vm2 of hv1 is given hv2 {ident(5)}, and there is no such VFIO device",
    ),
    "one in use": (of_move(1, target="hv4", passthrough=[passed("0000:01:00.0", "0000:04:00.0")]), "which is not free"),
    "one for two": (
        lambda plan: plan["moves"][4]["passthrough"].append(passed("0000:02:00.0", "0000:01:00.0")),
        "vm2 of hv2 is given hv1 0000:01:00.0, which is not free",
    ),
    # UUIDs.
    "one UUID twice": (of_device(0, 1, uuid=ident(101)), f"vm1 of hv1 gets {ident(101)}, which the plan uses twice"),
    "a UUID of the fleet": (of_device(0, 0, uuid=ident(7)), f"vm1 gets {ident(7)}, which hv3 has already"),
    "its own UUID": (of_device(0, 0, uuid=ident(1)), f"vm1 gets {ident(1)}, which hv1 has already"),
    # Accounts.
    "forgotten": (without(5, 7), "vm5 stays on hv2 with policy migrate, and is listed 0 times as stuck"),
    "skipped and not told": (lambda plan: plan["stuck"].clear(), "vm7 stays on hv3 with policy skip, and is listed 0"),
    "skipped for another reason": (
        lambda plan: plan["stuck"][0].update(reason="contention"),
        "vm7 on hv3 is to be skipped, and is stuck for contention",
    ),
    "stopped and not told": (of_planning(stopped=[]), "vm6 stays on hv3 with policy stop, and is listed 0 times"),
    "stuck twice": (lambda plan: plan["stuck"].append(stuck("vm7", "hv3", "skipped")), "is listed 2 times as stuck"),
    "moved and stuck": (
        lambda plan: plan["stuck"].append(stuck("vm5", "hv2", "limit")),
        "vm5 is listed as staying on hv2, and is not there then",
    ),
    "stuck where it is not": (
        lambda plan: plan["stuck"].append(stuck("vm9", "hv1", "limit")),
        "vm9 is listed as staying on hv1, and is not there then",
    ),
    "stuck on a host that stays": (
        lambda plan: plan["stuck"].append(stuck("vm9", "hv4", "limit")),
        "vm9 is listed as staying on hv4, which is never drained",
    ),
    "emptied, it says": (of_batch(2, emptied=["hv3"]), "batch 3 says that it empties hv3, and it empties none"),
    "not emptied, it says": (of_batch(0, emptied=[]), "batch 1 says that it empties none, and it empties hv1"),
    # Limits.
    "wave too large": (of_move(1, wave=1), "wave 1 has 3 migrations at once, and the limit is 2"),
    "not apart": (
        of_move(0, target="hv3"),
        "vm1 of hv1, vm7 of hv3 come together on host hv3, against group pair",
    ),
    "not apart by domain": (
        of_move(1, target="hv3", passthrough=[passed("0000:01:00.0", "0000:03:00.0")]),
        "vm2 of hv1, vm7 of hv3 come together on domain west, against group zones",
    ),
    # Batches, bound and frame.
    "a batch too few": (lambda plan: plan["planning"]["batches"].pop(), "the batches are not those that were asked"),
    "a host twice": (of_batch(2, hosts=["hv3", "hv1"]), "hv1 is in two batches"),
    "numbers": (of_batch(0, batch=7), "the batches are not numbered 1, 2, 3"),
    "waves out of order": (of_batch(0, waves=[2, 1]), "the waves of the batches are not in order"),
    "a wave of no batch": (of_move(5, wave=9), "wave 9 is not both of a batch and of a move"),
    "a wave without a move": (of_batch(2, waves=[5, 6]), "wave 6 is not both of a batch and of a move"),
    "bound below the plan": (of_planning(bound={"hosts": 3, "workloads": 3, "method": "flow"}), "more than its bound"),
    "hosts beyond the bound": (of_planning(bound={"hosts": 1, "workloads": 4, "method": "flow"}), "has 2 hosts, more"),
    "wrong gap": (of_planning(gap={"hosts": 0, "workloads": 0}), "the gap of hosts is 0, and bound 3 less plan 2 is 1"),
    "no bound and no reason": (of_planning(bound=None, gap=None), "bound and gap, or the reason why there is none"),
    "bound without gap": (of_planning(gap=None), "bound and gap, or the reason why there is none"),
    "other policy": (lambda plan: plan.update(persist=True), "persist are not those that were asked for"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_is_found(name: str) -> None:
    change, expected = MUTATIONS[name]
    changed = plan()
    change(changed)
    found = wrong(changed)
    assert [one for one in found if expected in one], found


STRICTER: dict[str, tuple[dict[str, t.Any], str]] = {
    "incoming": ({"incoming": 1}, "hv2 is to take 2 workloads in batch 1, and the limit is 1"),
    "cpus": ({"headroom": {"hv2": Spare(7, None)}}, "hv2 is to take 8 CPUs more in batch 1, and has 7 free"),
    "memory": ({"headroom": {"hv2": Spare(None, 99)}}, "hv2 is to take 100 MiB more in batch 1, and has 99 free"),
    "stop": ({"conduct": {**POLICY.conduct, ("hv1", "vm1"): "stop"}}, "vm1 of hv1 is moved, and its policy is stop"),
    "uuids": ({"uuid_policy": "same"}, f"vm1 of hv1 gets {ident(101)}, and should keep the UUID of {ident(1)}"),
    "one at a time": ({"rolling": Rolling(1, ())}, "hv4 is in no batch"),
    "batches": ({"rolling": Rolling(None, (("hv2",),))}, "the batches are not those that were asked for"),
    "a drain": ({"rolling": None, "drain": ("hv1",)}, "the plan drains hv1, hv2, hv3, and it should drain hv1"),
}


@pytest.mark.parametrize("name", STRICTER)
def test_what_the_policy_forbids_is_found(name: str) -> None:
    changes, expected = STRICTER[name]
    found = wrong(plan(), policy=dataclasses.replace(POLICY, **changes))
    assert [one for one in found if expected in one], found


def test_large_batches_are_found() -> None:
    given = plan()
    given["planning"]["batches"][2]["hosts"] = ["hv3", "hv4", "hv5"]
    assert "batch 3 has 3 hosts in maintenance, and the limit is 2" in wrong(
        given, policy=dataclasses.replace(POLICY, rolling=Rolling(2, ()))
    )


def test_unknown_answers_are_good_where_they_are_allowed_and_marked() -> None:
    given = plan()
    # hv4 was not asked about u2, and vm5 goes there instead of to hv3.
    unknown = evidence(None, verdict="unknown", reason="not_asked", asked=None)
    given["moves"][5] = move("vm5", ("hv2", "hv4"), 4, made(5, "q1", "u2", 205, evidence=unknown))
    del given["moves"][7]
    given["planning"]["capacity"][1]["parents"].append({"host": "hv4", "parent": "q1", "left": shares({"units": 4})})
    allowed = dataclasses.replace(POLICY, allow_unknown=frozenset({"hv4"}))
    assert wrong(given, policy=allowed) == []
    given["moves"][5]["devices"][0]["evidence"] = evidence("type")
    assert [one for one in wrong(given, policy=allowed) if "its evidence is not what the pairings say" in one]


def test_a_driver_that_does_not_say_how_many_fit_is_only_used_on_the_word_of_the_operator() -> None:
    given = plan()
    given["moves"][0]["target"] = "hv5"
    given["planning"]["capacity"].append(record("exclusive", "default", [("t1", None, {"t1": 1})], hv5_p1={"t1": 2}))
    told = "vm1 of hv1 gets t1 on hv5 p1, whose driver does not say how many fit"
    assert told in wrong(given)
    given["planning"]["capacity"][-1]["origin"] = "operator"
    assert told not in wrong(given)


def test_a_parent_that_shows_no_room_takes_nothing_whoever_says_so() -> None:
    given = plan()
    given["moves"][2]["target"] = "hv5"
    units = [("u2", None, {"units": 1})]
    given["planning"]["capacity"].append(record("shared_units", "operator", units, hv5_q1={"units": 9}))
    assert f"{ident(4)} of hv1 gets u2 on hv5 q1, whose driver shows room for 0, and the plan makes 1" in wrong(given)


def test_the_same_uuid_is_good_on_source_and_target_only() -> None:
    given = plan()
    for one, number in ((given["moves"][0], 1), (given["moves"][3], 1)):
        for position, device in enumerate(one["devices"]):
            device.update(source=ident(number + position), uuid=ident(number + position))
    for place, number in ((2, 4), (5, 5), (6, 4), (7, 5)):
        given["moves"][place]["devices"][0].update(source=ident(number), uuid=ident(number))
    given["uuid_policy"] = "same"
    same = dataclasses.replace(POLICY, uuid_policy="same")
    assert wrong(given, policy=same) == []
    clash = copy.deepcopy(FACTS)
    clash["hv4"]["vfio_migration"]["devices"].append(mdev(1, "p1", "t1"))
    assert f"vm1 gets {ident(1)}, which hv4 has already" in wrong(given, clash, same)
    given["moves"][5]["devices"][0]["uuid"] = ident(2)
    assert f"vm5 of hv2 gets {ident(2)}, which the plan gives to vm1 as well" in wrong(given, policy=same)


@pytest.mark.fault("C16")
def test_hosts_that_are_missing_make_a_plan_partial_and_are_never_empty() -> None:
    facts = {**FACTS, "hv6": {}}
    assert "the plan does not say that it is partial, and hv6 could not be taken into account" in wrong(plan(), facts)
    given = plan()
    given["partial"] = True
    assert wrong(given, facts) == []
    given["planning"]["batches"].append({"batch": 4, "hosts": ["hv6"], "emptied": ["hv6"], "waves": []})
    given["planning"]["gap"]["hosts"] = 0
    assert wrong(
        given,
        facts,
        dataclasses.replace(POLICY, rolling=Rolling(None, (("hv1",), ("hv2",), ("hv3",), ("hv6",)))),
    ) == ["batch 4 says that it empties hv6, and it empties none"]
