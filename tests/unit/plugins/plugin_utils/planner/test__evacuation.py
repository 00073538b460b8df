# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans from facts to the contract: who goes where, in which wave, and what the plan says of itself."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.plugin_utils import _plan
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _assemble, _evacuation
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner.evacuations import (
    Facts,
    drain,
    host,
    planned,
    planning,
    routes,
    stuck,
    uuid,
)


def fleet() -> Facts:
    """hv1 has two VMs, one with two devices; hv2 and hv3 have room for three devices each."""
    return {
        "hv1": host({"t1": 0}, {"vm1": ["t1", "t1"], "vm2": ["t1"]}),
        "hv2": host({"t1": 2}, {"vm3": ["t1"]}),
        "hv3": host({"t1": 1}, {"vm4": ["t1"]}),
    }


@pytest.mark.fault("L2")
def test_all_devices_of_a_vm_go_to_one_host() -> None:
    plan = planned(fleet(), drain("hv1"))
    assert routes(plan) == {"vm1": ["hv2"], "vm2": ["hv3"]}
    move = next(each for each in plan["moves"] if each["workload"] == "vm1")
    assert [each["source"] for each in move["devices"]] == sorted([uuid("vm1/0"), uuid("vm1/1")])
    device = dict(move["devices"][0])
    new = device.pop("uuid")
    assert new not in {uuid("vm1/0"), uuid("vm1/1"), uuid("vm3/0")}
    assert device == {
        "source": move["devices"][0]["source"],
        "source_type": "t1",
        "vendor": data.VENDOR,
        "type_string": "s",
        "device_string": "s",
        "parent": "p-t1",
        "type": "t1",
        "attributes": [],
        "evidence": {
            "verdict": "compatible",
            "scope": "type",
            "reason": None,
            "asked": data.HOUR_AGO,
            "warnings": [],
        },
    }


@pytest.mark.fault("L2")
def test_a_vm_is_not_torn_apart() -> None:
    facts = fleet()
    facts["hv2"] = host({"t1": 1})
    plan = planned(facts, drain("hv1"))
    assert (list(routes(plan)), list(stuck(plan))) == (["vm2"], ["vm1"])
    assert planning(plan)["batches"][0]["emptied"] == []


@pytest.mark.fault("L3")
def test_one_slot_is_given_once() -> None:
    facts = {
        "hv1": host({"t1": 0}, {"vm1": ["t1"], "vm2": ["t1"]}),
        "hv2": host({"t1": 1}),
    }
    plan = planned(facts, drain("hv1"))
    assert (len(plan["moves"]), len(plan["stuck"])) == (1, 1)
    assert plan["stuck"][0]["reason"] == "contention"
    assert plan["stuck"][0]["rivals"] == list(routes(plan))


@pytest.mark.fault("L1")
def test_a_device_of_nobody_is_a_workload_of_its_own() -> None:
    facts = fleet()
    facts["hv1"] = host({"t1": 0}, {"?": ["t1", "t1"]})
    plan = planned(facts, drain("hv1"))
    assert sorted(routes(plan)) == sorted([uuid("?/0"), uuid("?/1")])
    assert "owner_unknown" in {note["reason"] for note in planning(plan)["notes"]}


@pytest.mark.fault("L6")
@pytest.mark.parametrize("others", [{}, {"hv2": {"t1": 4}}], ids=["alone", "everybody drained"])
def test_without_any_target_everybody_is_stuck(others: dict[str, dict[str, int | None]]) -> None:
    facts = {"hv1": host({"t1": 3}, {"vm1": ["t1"]}), **{name: host(rooms) for name, rooms in others.items()}}
    plan = planned(facts, drain(*facts))
    assert plan["moves"] == [], "its own host has room, and is no target"
    assert list(stuck(plan)) == ["vm1"]


@pytest.mark.fault("L7")
def test_one_that_cannot_move_spoils_nothing() -> None:
    facts = fleet()
    facts["hv1"] = host({"t1": 0, "odd": 0}, {"vm0": ["odd"], "vm1": ["t1", "t1"], "vm2": ["t1"]})
    plan = planned(facts, drain("hv1"))
    assert routes(plan) == {"vm1": ["hv2"], "vm2": ["hv3"]}
    assert stuck(plan)["vm0"]["reason"] == "no_compatible_host"


@pytest.mark.fault("C16")
@pytest.mark.parametrize(
    "facts_of_hv3",
    [None, {}, pytest.param({"vfio_migration": {"schema_version": 7}}, marks=pytest.mark.fault("L8"))],
)
def test_hosts_that_nobody_reached_are_no_targets_and_the_plan_says_so(facts_of_hv3: Facts | None) -> None:
    facts = {**fleet(), "hv3": facts_of_hv3}
    plan = planned(facts, drain("hv1"))
    assert plan["partial"] is True
    assert {"hv3"} & {move["target"] for move in plan["moves"]} == set()
    states = {each["host"]: each["state"] for each in planning(plan)["inputs"]["hosts"]}
    assert states["hv3"] in ("unreachable", "excluded")
    assert "hosts/hv3" in {note["item"] for note in planning(plan)["notes"]}
    assert planned(fleet(), drain("hv1"))["partial"] is False


@pytest.mark.fault("C17")
@pytest.mark.parametrize(("more", "expected"), [(0, ""), (1, " and 1 other"), (2, " and 2 others")])
def test_hosts_with_stale_facts_are_named_up_to_five(more: int, expected: str) -> None:
    facts = {f"hv{number}": host({"t1": 1}) for number in range(1, 6 + more)}
    with pytest.raises(ContractError, match=f"^the facts of hv1, hv2, hv3, hv4, hv5{expected} are older than 60 sec"):
        _evacuation.plan(facts, drain("hv1"), data.NOW, 60)


@pytest.mark.fault("C16")
def test_a_drained_host_that_nobody_reached_does_not_count_as_emptied() -> None:
    plan = planned({**fleet(), "hv1": None}, drain("hv1"))
    assert planning(plan)["batches"] == [{"batch": 1, "hosts": ["hv1"], "emptied": [], "waves": []}]


@pytest.mark.fault("C16", "L8")
@pytest.mark.parametrize("options", [drain("hv1", "hv2"), {"rolling": {"max_unavailable": 1}}])
def test_answers_that_break_their_contract_cost_only_their_host(options: dict[str, t.Any]) -> None:
    facts = {**fleet(), "hv4": host({"t1": 3}, {"vm5": ["t1"]})}
    facts["hv1"]["vfio_migration_verdicts"]["verdicts"][0]["bytes_written"] = True
    plan = planned(facts, options)
    assert "hv1" not in {move[place] for move in plan["moves"] for place in ("source", "target")}
    assert stuck(plan) == {}, "nobody speaks for who is on that host"
    notes = [note["reason"] for note in planning(plan)["notes"] if note["item"] == "hosts/hv1"]
    assert notes == ["unknown_host", "excluded"]


@pytest.mark.fault("C3")
def test_under_policy_same_a_uuid_that_another_host_has_stays_away() -> None:
    facts = fleet()
    assert {each["uuid"] for move in planned(facts, drain("hv1", uuid_policy="same"))["moves"]
            for each in move["devices"]} == {uuid("vm1/0"), uuid("vm1/1"), uuid("vm2/0")}  # fmt: skip
    facts["hv3"]["vfio_migration"]["devices"][0]["id"] = uuid("vm2/0").upper()
    facts["hv3"]["vfio_migration"]["workloads"] = []
    plan = planned(facts, drain("hv1", uuid_policy="same"))
    assert list(routes(plan)) == ["vm1"]
    assert (stuck(plan)["vm2"]["reason"], stuck(plan)["vm2"]["hosts"]) == ("uuid_clash", ["hv3"])
    assert planning(plan)["batches"][0]["emptied"] == []


@pytest.mark.fault("C3")
def test_new_uuids_are_none_that_the_fleet_has() -> None:
    facts = fleet()
    first = planned(facts, drain("hv1", id="drain-7"))
    assert planned(facts, drain("hv1", id="drain-7")) == first, "stable across reruns"
    taken = first["moves"][0]["devices"][0]["uuid"]
    facts["hv4"] = data.host(
        data.parent("p-t1", data.mdev_type("t1", "s", 0)), data.device(taken.upper(), "s", ("p-t1", "t1"))
    )
    second = planned(facts, drain("hv1", id="drain-7"))
    assert routes(second) == routes(first)
    assert second["moves"][0]["devices"][0]["uuid"] != taken
    assert second["moves"][0]["devices"][1:] == first["moves"][0]["devices"][1:]


def test_a_workload_that_a_plan_file_cannot_name_stays() -> None:
    facts = {
        "hv1": host({"t1": 0}, {"pid:7": ["t1"], "vm1": ["t1"]}),
        "hv2": data.host(
            data.parent("p-t1", data.mdev_type("t1", "s", 0)),
            data.device(uuid("other"), "s", ("p-t1", "t1"), in_use=True),
            data.workload("pid:7", uuid("other")),
        ),
        "hv3": host({"t1": 5}),
        "all:!hv1": host({"t1": 9}, {"vm9": ["t1"]}),
    }
    plan = planned(facts, drain("hv1", "hv2", "all:!hv1"))
    assert routes(plan) == {"vm1": ["hv3"]}
    assert {(one["host"], one["reason"]) for one in plan["stuck"]} == {
        ("hv1", "ambiguous"),
        ("hv2", "ambiguous"),
        ("all:!hv1", "name"),
    }
    assert planned(facts, drain("hv1"))["moves"][0]["target"] == "hv3", "and nothing goes to such a host"


def test_policies_of_workloads() -> None:
    facts = fleet()
    plan = planned(facts, drain("hv1", workloads={"vm1": "stop", "vm2": "skip"}))
    assert planning(plan)["stopped"] == [{"workload": "vm1", "name": "vm1", "host": "hv1"}]
    assert (plan["moves"], stuck(plan)["vm2"]["reason"]) == ([], "skipped")
    assert planning(plan)["batches"][0]["emptied"] == []
    assert planning(planned(facts, drain("hv1", workloads={"vm1": "stop"})))["batches"][0]["emptied"] == ["hv1"]


def test_devices_that_are_there_already_are_passed_through() -> None:
    one, two = "0000:01:00.0", "0000:02:00.0"
    facts = {
        "hv1": data.host(data.device(one, "v", None, in_use=True), data.workload("vm1", one)),
        "hv2": data.host(data.device(two, "w"), verdicts=[data.verdict((None, None, two), "v")]),
    }
    plan = planned(facts, drain("hv1"))
    move = plan["moves"][0]
    assert (move["devices"], len(move["passthrough"])) == ([], 1)
    assert (move["passthrough"][0]["source"], move["passthrough"][0]["device"]) == (one, two)
    assert move["passthrough"][0]["device_string"] == "v"
    assert planning(plan)["capacity"] == []


def test_the_plan_has_the_capacity_of_what_it_uses_and_no_more() -> None:
    plan = planned({**fleet(), "hv4": host({"t1": 4, "t2": 4})}, drain("hv1"))
    records = planning(plan)["capacity"]
    parents = [(one["host"], one["parent"], one["left"]) for record in records for one in record["parents"]]
    rooms = {"hv2": 2, "hv3": 1, "hv4": 4}
    assert parents == [
        (name, "p-t1", [{"resource": "t1", "units": rooms[name]}])
        for name in sorted({move["target"] for move in plan["moves"]})
    ]
    assert [(record["driver"], [one["type"] for one in record["types"]]) for record in records] == [("drv", ["t1"])]


def test_the_policy_is_told_in_the_words_of_the_options() -> None:
    options = drain(
        "hv1",
        incoming=3,
        concurrent=2,
        anti_affinity=[{"name": "db", "across": "domain", "workloads": ["vm1", "vm2"]}],
        failure_domains={"rack1": ["hv2"], "rack2": ["hv3"]},
        headroom={"hv2": {"cpus": 4, "memory": 100}},
        demand={"vm1": {"cpus": 1}},
        workloads={"vm2": "skip"},
        allow_unknown=["hv3"],
        capacity=[{"driver": "drv", "model": "exclusive", "most": {"t1": 4}}],
    )
    told = planning(planned(fleet(), options))["policy"]
    again = planning(planned(fleet(), {key: each for key, each in told.items() if each is not None}))["policy"]
    assert (told["drain"], told["uuid_policy"], told["rolling"]) == (["hv1"], "new", None)
    assert again == told


def test_mistakes_are_told_before_anything_is_planned() -> None:
    with pytest.raises(ContractError, match="nobody"):
        _evacuation.plan(fleet(), drain("nobody"), data.NOW, data.DAY)


# Bound and gap.


def test_where_everybody_moves_nothing_better_exists() -> None:
    said = planning(planned(fleet(), drain("hv1")))
    assert said["bound"] == {"hosts": 1, "workloads": 2, "method": "everything"}
    assert (said["gap"], said["bound_reason"]) == ({"hosts": 0, "workloads": 0}, None)


# Waves.


def test_hosts_are_emptied_one_after_the_other() -> None:
    facts = {
        "hv1": host({"t1": 0}, {f"a{number}": ["t1"] for number in range(3)}),
        "hv2": host({"t1": 0, "odd": 0}, {"b0": ["t1"], "b1": ["odd"]}),
        "hv3": host({"t1": 0}, {"c0": ["t1"], "c1": ["t1"]}),
        "hv9": host({"t1": 9}),
    }
    plan = planned(facts, drain("hv1", "hv2", "hv3", concurrent=2))
    waves = {
        number: [move["workload"] for move in moves]
        for number, moves in itertools.groupby(plan["moves"], key=lambda move: move["wave"])
    }
    assert waves == {1: ["c0", "c1"], 2: ["a0", "a1"], 3: ["a2", "b0"]}, "hv2 will not be empty, so it can wait"
    assert planning(plan)["batches"] == [
        {"batch": 1, "hosts": ["hv1", "hv2", "hv3"], "emptied": ["hv1", "hv3"], "waves": [1, 2, 3]}
    ]
    assert {move["wave"] for move in planned(facts, drain("hv1", "hv2", "hv3"))["moves"]} == {1}


# Rolling maintenance.


def roll(*batches: t.Sequence[str], **options: t.Any) -> dict[str, t.Any]:
    return {"rolling": {"batches": [list(batch) for batch in batches]}, **options}


@pytest.mark.fault("L4")
def test_a_vm_does_not_go_where_it_has_to_leave_again() -> None:
    facts = {
        "hv1": host({"t1": 0}, {"vm1": ["t1"]}),
        "hv2": host({"t1": 3}, {"vm2": ["t1"]}),
        "hv3": host({"t1": 3}),
    }
    plan = planned(facts, roll(["hv1"], ["hv2"]))
    assert routes(plan) == {"vm1": ["hv3"], "vm2": ["hv3"]} or routes(plan) == {"vm1": ["hv3"], "vm2": ["hv1"]}
    assert [batch["emptied"] for batch in planning(plan)["batches"]] == [["hv1"], ["hv2"]]


@pytest.mark.fault("L4")
def test_a_vm_moves_on_with_what_it_became() -> None:
    facts = {
        "hv1": host({"t1": 0}, {"vm1": ["t1"]}, takes=["s", "s2"]),
        "hv2": host({"t1": 1}, string="s2", takes=["s"]),
    }
    plan = planned(facts, roll(["hv1"], ["hv2"]))
    assert routes(plan) == {"vm1": ["hv2", "hv1"]}
    first, second = plan["moves"]
    assert (first["wave"], second["wave"]) == (1, 2)
    assert second["devices"][0]["source"] == first["devices"][0]["uuid"]
    assert second["devices"][0]["uuid"] != first["devices"][0]["uuid"]
    assert (second["devices"][0]["type_string"], second["devices"][0]["device_string"]) == ("s2", None)
    assert planning(plan)["bound"] == {"hosts": 2, "workloads": 1, "method": "everything"}
    assert _plan.again(plan) == {("vm1", 2)}


@pytest.mark.fault("L4")
def test_under_policy_same_a_vm_keeps_its_uuid_all_the_way() -> None:
    facts = {"hv1": host({"t1": 0}, {"vm1": ["t1"]}), "hv2": host({"t1": 1})}
    plan = planned(facts, roll(["hv1"], ["hv2"], uuid_policy="same"))
    assert [move["devices"][0]["uuid"] for move in plan["moves"]] == [uuid("vm1/0")] * 2


@pytest.mark.fault("L4")
def test_a_vm_that_cannot_go_on_is_stuck_where_it_is_then() -> None:
    facts = {
        "hv1": host({"t1": 0}, {"vm1": ["t1"]}, takes=["s"], refuses=["s2"]),
        "hv2": host({"t1": 1}, string="s2", takes=["s"]),
    }
    plan = planned(facts, roll(["hv1"], ["hv2"]))
    assert (routes(plan), stuck(plan)["vm1"]["host"]) == ({"vm1": ["hv2"]}, "hv2")
    assert stuck(plan)["vm1"]["reason"] == "no_compatible_host"
    assert [batch["emptied"] for batch in planning(plan)["batches"]] == [["hv1"], []]
    assert planning(plan)["bound"] is None
    assert planning(plan)["bound_reason"] == _evacuation.NO_ROLLING_BOUND


def test_a_host_that_is_back_has_all_its_room() -> None:
    """The first batch fills hv3, so the second must go to what the first has left."""
    facts = {
        "hv1": host({"t1": 0}, {"vm1": ["t1"], "vm2": ["t1"]}),
        "hv2": host({"t1": 0}, {"vm3": ["t1"], "vm4": ["t1"]}),
        "hv3": host({"t1": 2}),
    }
    plan = planned(facts, roll(["hv1"], ["hv2"]))
    assert routes(plan) == {"vm1": ["hv3"], "vm2": ["hv3"], "vm3": ["hv1"], "vm4": ["hv1"]}


def test_a_host_that_was_not_emptied_keeps_what_stays_on_it() -> None:
    facts = {
        "hv1": host({"t1": 0, "odd": 0}, {"vm0": ["odd"], "vm1": ["t1"], "vm2": ["t1"]}),
        "hv2": host({"t1": 0}, {"vm3": ["t1"], "vm4": ["t1"]}),
        "hv3": host({"t1": 1}),
    }
    plan = planned(facts, roll(["hv1"], ["hv2"]))
    assert [batch["emptied"] for batch in planning(plan)["batches"]] == [[], []]
    assert {one["workload"] for one in plan["stuck"]} > {"vm0"}


def test_limits_count_in_every_batch_anew() -> None:
    facts = {
        "hv1": host({"t1": 0}, {"vm1": ["t1"]}),
        "hv2": host({"t1": 0}, {"vm2": ["t1"]}),
        "hv3": host({"t1": 4, "odd": 1}, {"vm3": ["odd"]}),
    }
    plan = planned(facts, roll(["hv1"], ["hv2"], incoming=1, workloads={"vm3": "skip"}))
    assert plan["stuck"] == []


def test_who_stays_does_not_count_as_incoming_later_on() -> None:
    """vm1 stays on hv2, which then may take vm3 as well."""
    facts = {
        "hv1": host({"t1": 0}, {"vm1": ["t1"]}, takes=["s"], refuses=["s2"]),
        "hv2": host({"t1": 2}, string="s2"),
        "hv3": host({"t1": 0}, {"vm3": ["t1"]}, takes=["s"], refuses=["s2"]),
    }
    plan = planned(facts, roll(["hv1"], ["hv2"], ["hv3"], incoming=1, workloads={}))
    assert (stuck(plan)["vm1"]["host"], list(stuck(plan))) == ("hv2", ["vm1"])
    assert "vm3" in routes(plan)


def test_cpus_move_with_the_vms() -> None:
    facts = {
        "hv1": host({"t1": 0}, {"vm1": ["t1"]}),
        "hv2": host({"t1": 0}, {"vm2": ["t1"]}),
        "hv3": host({"t1": 4}),
    }
    limits = {"headroom": {"hv1": {"cpus": 0}, "hv3": {"cpus": 8}}, "demand": {"vm1": {"cpus": 8}, "vm2": {"cpus": 8}}}
    plan = planned(facts, roll(["hv1"], ["hv2"], **limits))
    assert routes(plan) == {"vm1": ["hv3"], "vm2": ["hv1"]}, "what vm1 leaves is what vm2 needs"


def test_groups_hold_over_all_batches() -> None:
    facts = {
        "hv1": host({"t1": 0}, {"vm1": ["t1"]}),
        "hv2": host({"t1": 0}, {"vm2": ["t1"]}),
        "hv3": host({"t1": 4}),
    }
    apart = [{"name": "db", "workloads": ["vm1", "vm2"]}]
    assert routes(planned(facts, roll(["hv1"], ["hv2"], anti_affinity=apart))) == {"vm1": ["hv3"], "vm2": ["hv1"]}


def test_the_least_loaded_hosts_go_first() -> None:
    facts = {
        "hv1": host({"t1": 1}, {"a1": ["t1"], "a2": ["t1"], "a3": ["t1"]}),
        "hv2": host({"t1": 3}, {"b1": ["t1"]}),
        "hv3": host({"t1": 2}, {"c1": ["t1"], "c2": ["t1"]}),
    }
    plan = planned(facts, {"rolling": {"max_unavailable": 1}})
    batches = planning(plan)["batches"]
    assert batches[0]["hosts"] == ["hv2"]
    assert [batch["emptied"] for batch in batches] == [batch["hosts"] for batch in batches]
    assert len(plan["moves"]) == 7, "all six, and the one of the first batch twice"


def test_not_all_that_offer_a_type_nor_a_whole_domain_go_at_once() -> None:
    facts = {
        **{f"hv{number}": host({"t1": 1}) for number in (1, 2)},
        **{f"hv{number}": host({"t2": 1}) for number in (3, 4)},
        "hv5": host({"t1": 4, "t2": 4}, {"vm1": ["t1"], "vm2": ["t2"], "vm3": ["t2"]}),
    }
    racks = {"rack1": ["hv1", "hv3"], "rack2": ["hv2", "hv4"]}
    plan = planned(facts, {"rolling": {"max_unavailable": 3}, "failure_domains": racks})
    batches = [set(batch["hosts"]) for batch in planning(plan)["batches"]]
    assert not any({*rack} <= batch for rack in racks.values() for batch in batches)
    assert not any({"hv1", "hv2", "hv5"} <= batch or {"hv3", "hv4", "hv5"} <= batch for batch in batches)
    assert plan["stuck"] == []


# The same inputs, the same bytes.


def big() -> Facts:
    """Enough for any order of sets to show."""
    rooms = ("t1", "t2", "t3")
    facts: Facts = {}
    for number in range(12):
        vms = {f"vm{number}-{each}": [rooms[(number + each) % 3]] * (1 + each % 2) for each in range(3)}
        if number % 3 == 0:
            vms |= {f"wide{number}": ["t1"] * 9, f"odd{number}": ["t1", "t2", "t3"]}
        facts[f"hv{number:02}"] = host(
            {kind: (number + place) % 3 for place, kind in enumerate(rooms)}, vms, takes=["s"] if number % 4 else []
        )
    return facts


OPTIONS: dict[str, dict[str, t.Any]] = {
    "drain": drain("hv00", "hv03", "hv07", incoming=2, concurrent=2),
    "rolling": {"rolling": {"max_unavailable": 2}},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_order_of_the_facts_does_not_matter(options: dict[str, t.Any]) -> None:
    facts = big()
    first = json.dumps(planned(facts, options))
    assert json.dumps(planned(dict(reversed(facts.items())), options)) == first


_PROGRAM = """
import json, sys
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _assemble, _evacuation
given = json.load(sys.stdin)
json.dump([_evacuation.plan(given["facts"], one, given["now"], 86400) for one in given["options"]], sys.stdout)
"""


def test_hash_seeds_do_not_matter() -> None:
    given_text = json.dumps({"facts": big(), "options": list(OPTIONS.values()), "now": data.NOW})
    # The import tree of whoever runs this test.
    tree = str(pathlib.Path(_evacuation.__file__).resolve())
    root = next((each for each in sys.path if each and (pathlib.Path(each) / "ansible_collections").is_dir()), tree)
    said = set()
    for seed in ("0", "1", "4711"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root}
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM], input=given_text, capture_output=True, text=True, env=env, check=True
        )
        said.add(done.stdout)
    assert len(said) == 1
    drained, rolling = json.loads(said.pop())
    assert drained["stuck"], "a search that places everybody at once has little to order"
    assert drained["planning"]["bound"]["method"] not in ("everything", "nothing")
    assert rolling["stuck"]


def test_when_the_facts_were_read_does_not_change_the_plan() -> None:
    facts, later = fleet(), fleet()
    for each in later.values():
        each["vfio_migration"]["time"] = each["vfio_migration_verdicts"]["verdicts"][0]["evidence"]["time"] = data.NOW
    first, second = planned(facts, drain("hv1")), planned(later, drain("hv1"))
    assert first["id"] == second["id"]
    assert [move["devices"][0]["uuid"] for move in first["moves"]] == [
        move["devices"][0]["uuid"] for move in second["moves"]
    ]
    assert (planning(first)["inputs"]["oldest"], planning(first)["inputs"]["age"]) == (data.HOUR_AGO, 3600)


CHANGES: dict[str, t.Callable[[Facts], object]] = {
    "a string": lambda facts: facts["hv3"]["vfio_migration"]["parents"][0]["types"][0]["migration_version"].update(
        value="s2"
    ),
    "room": lambda facts: facts["hv3"]["vfio_migration"]["parents"][0]["types"][0].update(available_instances=7),
    "a host less": lambda facts: facts.pop("hv3"),
    "a verdict": lambda facts: facts["hv3"].pop("vfio_migration_verdicts"),
    "an owner": lambda facts: facts["hv1"]["vfio_migration"]["workloads"].pop(),
    "a driver": lambda facts: facts["hv3"]["vfio_migration"]["parents"][0].update(driver="mtty"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_fingerprint_is_of_all_that_matters(change: t.Callable[[Facts], object]) -> None:
    facts = fleet()
    before = planned(facts, drain("hv1"))
    change(facts)
    after = planned(facts, drain("hv1"))
    assert planning(before)["inputs"]["fingerprint"] != planning(after)["inputs"]["fingerprint"]
    assert before["id"] != after["id"]


@pytest.mark.parametrize("part", [{"a": [1, 2]}, [{"a": 1}, [2, None]], ("x", "y"), [], None])
def test_the_text_of_the_fingerprint_is_that_of_the_whole(part: object) -> None:
    assert "".join(_assemble._texts([part, part])) == json.dumps(part, separators=(",", ":")) * 2


@given(
    rooms=st.lists(st.integers(0, 3), min_size=2, max_size=5),
    vms=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 2)), max_size=7),
    drained=st.integers(1, 3),
    rolling=st.booleans(),
    concurrent=st.sampled_from([None, 1, 2]),
    incoming=st.sampled_from([None, 1, 2]),
)
def test_every_plan_is_valid(
    rooms: list[int],
    vms: list[tuple[int, int]],
    drained: int,
    rolling: bool,
    concurrent: int | None,
    incoming: int | None,
) -> None:
    size = 4
    facts: Facts = {}
    for number, room in enumerate(rooms):
        own = {f"vm{index}": ["t1"] * count for index, (home, count) in enumerate(vms) if home % len(rooms) == number}
        used = sum(map(len, own.values()))
        facts[f"hv{number}"] = host({"t1": min(room, max(0, size - used)) if own else size}, own)
    limits = {"concurrent": concurrent, "incoming": incoming}
    planned(
        facts,
        {"rolling": {"max_unavailable": drained}, **limits} if rolling else drain(*list(facts)[:drained], **limits),
    )
