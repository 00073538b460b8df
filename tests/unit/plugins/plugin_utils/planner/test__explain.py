# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a VM stays, and what would free it: for each reason a fleet in which it is the one."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _remedies, _solve
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.planner.evacuations import (
    Facts,
    drain,
    host,
    planned,
    routes,
    stuck,
)


class Answer(t.NamedTuple):
    """What a plan should say of vm1."""

    reason: str
    words: str
    """Part of the sentence."""
    hosts: list[str]
    remedies: list[tuple[str, str | None, str | None, str | None]]
    """Kind, host, parent, type."""


def source(*types: str, **others: t.Any) -> Facts:
    """hv1 with vm1."""
    return host(dict.fromkeys(types, 0), {"vm1": list(types), **others})


CASES: dict[str, tuple[Facts, dict[str, t.Any], Answer]] = {
    "nobody has the type": (
        {"hv1": source("t1"), "hv2": host({"t2": 4})},
        {},
        Answer("no_compatible_host", "no other host accepts t1", [], []),
    ),
    "every driver refuses": (
        {"hv1": source("t1"), "hv2": host({"t1": 4}, takes=[], refuses=["s"])},
        {},
        Answer("no_compatible_host", "the target's driver refuses it (EINVAL)", [], []),
    ),
    "its devices go to different hosts": (
        {"hv1": source("t1", "t2"), "hv2": host({"t1": 4}), "hv3": host({"t2": 4})},
        {},
        Answer("no_compatible_host", "other hosts accept its devices (t1, t2), but none accepts all of them", [], []),
    ),
    "alone": (
        {"hv1": source("t1")},
        {},
        Answer("no_compatible_host", "no host is left that could take anything", [], []),
    ),
    "some could not be looked at": (
        {"hv1": source("t1"), "hv2": host({"t2": 4}), "hv3": {}, "hv4": {}},
        {},
        Answer("no_compatible_host", "of 2 hosts that could not be looked at nothing is known", [], []),
    ),
    "nobody was asked": (
        {"hv1": source("t1"), "hv2": host({"t1": 4}, takes=[])},
        {},
        Answer(
            "unknown",
            "whether hv2 would accept it is unknown (the target was not asked yet), and the policy forbids that",
            ["hv2"],
            [("allow_unknown", "hv2", None, None)],
        ),
    ),
    "nobody was asked, and there is no room either": (
        {"hv1": source("t1"), "hv2": host({"t1": 0}, takes=[])},
        {},
        Answer("unknown", "whether hv2 would accept it is unknown", ["hv2"], []),
    ),
    "full of others": (
        {"hv1": source("t1"), "hv2": host({"t1": 0}, {"vm9": ["t1"]}), "hv3": host({"t2": 1})},
        {},
        Answer(
            "no_capacity",
            "hv2 would accept it, but no room for it is there, whoever moves",
            ["hv2"],
            [("instance", "hv2", "p-t1", "t1")],
        ),
    ),
    "two devices, room for one": (
        {"hv1": host({"t1": 0}, {"vm1": ["t1", "t1"]}), "hv2": host({"t1": 1})},
        {},
        Answer(
            "no_capacity",
            "hv2 would accept it, but no room for it is there, whoever moves",
            ["hv2"],
            [("instance", "hv2", "p-t1", "t1")],
        ),
    ),
    "two devices, no room": (
        {"hv1": host({"t1": 0}, {"vm1": ["t1", "t1"]}), "hv2": host({"t1": 0})},
        {},
        Answer("no_capacity", "hv2 would accept it, but no room for it is there, whoever moves", ["hv2"], []),
    ),
    "full, and elsewhere nobody was asked": (
        {"hv1": source("t1"), "hv2": host({"t1": 0}), "hv3": host({"t1": 1}, takes=[])},
        {},
        Answer(
            "no_capacity",
            "hv2 would accept it, but no room for it is there, whoever moves",
            ["hv2"],
            [("instance", "hv2", "p-t1", "t1"), ("allow_unknown", "hv3", None, None)],
        ),
    ),
    "too many for one batch": (
        {"hv1": host({"t1": 0}, {"vm0": ["t1"], "vm1": ["t1"]}), "hv2": host({"t1": 4})},
        {"incoming": 1},
        Answer(
            "limit",
            "hv2 has room for it, but takes at most 1 incoming VMs in one batch",
            ["hv2"],
            [("limit", "hv2", None, None)],
        ),
    ),
    "too few CPUs": (
        {"hv1": source("t1"), "hv2": host({"t1": 4})},
        {"headroom": {"hv2": {"cpus": 2}}, "demand": {"vm1": {"cpus": 4, "memory": 9}}},
        Answer("limit", "hv2 has room for it, but has fewer than 4 CPUs free", ["hv2"], [("limit", "hv2", None, None)]),
    ),
    "too few CPUs and too little memory": (
        {"hv1": source("t1"), "hv2": host({"t1": 4})},
        {"headroom": {"hv2": {"cpus": 2, "memory": 8}}, "demand": {"vm1": {"cpus": 4, "memory": 9}}},
        Answer(
            "limit",
            "has fewer than 4 CPUs free and has fewer than 9 MiB free",
            ["hv2"],
            [("limit", "hv2", None, None)],
        ),
    ),
    "kept apart": (
        {"hv1": source("t1"), "hv2": host({"t1": 4}, {"vm9": ["t1"]})},
        {"anti_affinity": [{"name": "db", "workloads": ["vm1", "vm9"]}]},
        Answer(
            "anti_affinity",
            "hv2 has room for it, but is barred by group db",
            ["hv2"],
            [("anti_affinity", "hv2", None, None)],
        ),
    ),
    "kept apart across domains": (
        {"hv1": source("t1"), "hv2": host({"t1": 4}), "hv3": host({"t1": 0}, {"vm9": ["t1"]})},
        {
            "anti_affinity": [{"name": "db", "across": "domain", "workloads": ["vm1", "vm9"]}],
            "failure_domains": {"rack1": ["hv2", "hv3"]},
        },
        Answer(
            "anti_affinity",
            "hv2 has room for it, but is barred by group db",
            ["hv2"],
            [("anti_affinity", "hv2", None, None)],
        ),
    ),
    "kept apart, or too few CPUs": (
        {"hv1": source("t1"), "hv2": host({"t1": 4}, {"vm9": ["t1"]}), "hv3": host({"t1": 4}, {"vm8": ["t1"]})},
        {
            "anti_affinity": [{"name": "db", "workloads": ["vm1", "vm8", "vm9"]}],
            "headroom": {"hv2": {"cpus": 0}},
            "demand": {"vm1": {"cpus": 1}},
        },
        Answer(
            "anti_affinity",
            "hv3 has room for it, but is barred by group db",
            ["hv3"],
            [("anti_affinity", "hv3", None, None)],
        ),
    ),
    "both at once": (
        {"hv1": source("t1"), "hv2": host({"t1": 4}, {"vm9": ["t1"]})},
        {
            "anti_affinity": [{"name": "db", "workloads": ["vm1", "vm9"]}],
            "headroom": {"hv2": {"cpus": 0}},
            "demand": {"vm1": {"cpus": 1}},
        },
        Answer("limit", "has fewer than 1 CPUs free and is barred by group db", ["hv2"], []),
    ),
}


def said(one: _model.Stuck) -> list[tuple[str, str | None, str | None, str | None]]:
    return [(each["kind"], each["host"], each["parent"], each["type"]) for each in one["remedies"]]


@pytest.mark.parametrize(("facts", "options", "expected"), CASES.values(), ids=CASES)
def test_reasons(facts: Facts, options: dict[str, t.Any], expected: Answer) -> None:
    one = stuck(planned(facts, drain("hv1", **options)))["vm1"]
    assert one["reason"] == expected.reason
    assert expected.words in one["detail"]
    assert one["hosts"] == expected.hosts
    assert said(one) == expected.remedies


TWO = {"hv1": host({"t1": 0}, {"vm0": ["t1"], "vm1": ["t1"]}), "hv2": host({"t1": 4})}
DEMAND = {name: {"cpus": 2, "memory": 9} for name in ("vm0", "vm1")}


@pytest.mark.parametrize(
    ("short", "enough", "words"),
    [
        ({"incoming": 1}, {"incoming": 2}, "1 more incoming VM in one batch"),
        (
            {"headroom": {"hv2": {"cpus": 3}}, "demand": DEMAND},
            {"headroom": {"hv2": {"cpus": 4}}, "demand": DEMAND},
            "1 more free CPU",
        ),
        (
            {"headroom": {"hv2": {"cpus": 2, "memory": 10}}, "demand": DEMAND},
            {"headroom": {"hv2": {"cpus": 4, "memory": 18}}, "demand": DEMAND},
            "2 more free CPUs and 8 more MiB of free memory",
        ),
        (
            {"headroom": {"hv2": {"memory": 9}}, "demand": DEMAND, "incoming": 1},
            {"headroom": {"hv2": {"memory": 18}}, "demand": DEMAND, "incoming": 2},
            "1 more incoming VM in one batch and 9 more MiB of free memory",
        ),
    ],
)
def test_a_limit_is_raised_by_what_is_missing(short: dict[str, t.Any], enough: dict[str, t.Any], words: str) -> None:
    (one,) = planned(TWO, drain("hv1", **short))["stuck"]
    assert [each["detail"] for each in one["remedies"]] == [f"hv2 has room, were there {words}"]
    assert planned(TWO, drain("hv1", **enough))["stuck"] == [], "the remedy holds"


@pytest.mark.fault("L5")
def test_only_a_host_in_maintenance_has_the_type() -> None:
    facts = {"hv1": source("t1"), "hv2": host({"t1": 1}), "hv3": host({"t2": 4})}
    plan = planned(facts, drain("hv1", "hv2"))
    one = stuck(plan)["vm1"]
    assert one["reason"] == "maintenance"
    assert one["detail"] == "hv1 cannot drain because only hv2 offers room for t1, and it is in maintenance too"
    assert one["hosts"] == ["hv2"]
    assert said(one) == [("order", "hv2", None, None), ("host", "hv2", None, None)]
    assert one["remedies"][0]["detail"] == "drain hv2 first: when it is back, hv1 can be drained to it"
    assert routes(planned(facts, drain("hv1"))) == {"vm1": ["hv2"]}, "the remedy holds"
    rolled = planned(facts, {"rolling": {"batches": [["hv2"], ["hv1"]]}})
    assert rolled["stuck"] == [], "and so does the other"


@pytest.mark.fault("L5")
def test_two_hosts_that_only_have_each_other() -> None:
    """Neither can be empty first and then be back, but one can hold both VMs for a while."""
    facts = {"hv1": host({"t1": 1}, {"vm1": ["t1"]}), "hv2": host({"t1": 1}, {"vm2": ["t1"]})}
    plan = planned(facts, drain("hv1", "hv2"))
    for name, other in (("vm1", "hv2"), ("vm2", "hv1")):
        one = stuck(plan)[name]
        assert (one["reason"], said(one)) == ("maintenance", [(kind, other, None, None) for kind in ("order", "host")])
        assert one["remedies"][0]["detail"] == f"drain {one['host']} first: as long as {other} is up, it has room"
    assert planned(facts, {"rolling": {"batches": [["hv1"], ["hv2"]]}})["stuck"] == []


@pytest.mark.fault("L5")
def test_no_way_back_no_such_order() -> None:
    facts = {
        "hv1": host({"t1": 0}, {"vm1": ["t1"]}, takes=["s"], refuses=["s2"]),
        "hv2": host({"t1": 1}, {"vm2": ["t1"]}, string="s2", takes=["s"]),
    }
    one = stuck(planned(facts, drain("hv1", "hv2")))["vm1"]
    assert said(one) == [("host", "hv2", None, None)]


@pytest.mark.fault("L5")
def test_in_a_rolling_maintenance_too() -> None:
    facts = {"hv1": source("t1"), "hv2": host({"t1": 1}), "hv3": host({"t2": 4})}
    one = stuck(planned(facts, {"rolling": {"batches": [["hv3"], ["hv1", "hv2"]]}}))["vm1"]
    assert (one["reason"], one["hosts"]) == ("maintenance", ["hv2"])
    assert said(one) == [("order", "hv2", None, None), ("host", "hv2", None, None)]


def test_a_device_that_is_there_already_may_be_the_one_that_is_missing() -> None:
    own, other = "0000:01:00.0", "0000:02:00.0"
    facts = {
        "hv1": data.host(data.device(own, "v", None, in_use=True), data.workload("vm1", own)),
        "hv2": data.host(data.device(other, "w"), verdicts=[data.verdict((None, None, other), "v")]),
        "hv3": host({"t1": 1}),
    }
    facts["hv1"]["vfio_migration"]["devices"].append(data.device("0000:01:00.1", "v", None, in_use=True))
    facts["hv1"]["vfio_migration"]["workloads"].append(data.workload("vm2", "0000:01:00.1"))
    plan = planned(facts, drain("hv1"))
    one = plan["stuck"][0]
    assert (one["reason"], said(one)) == ("contention", [("instance", "hv2", other, None)])
    assert one["remedies"][0]["detail"] == f"one more device like {other} on hv2 would do"


@pytest.mark.fault("L3")
def test_a_rival_has_the_last_slot() -> None:
    facts = {"hv1": host({"t1": 0}, {"vm0": ["t1"], "vm1": ["t1"]}), "hv2": host({"t1": 1})}
    plan = planned(facts, drain("hv1"))
    one, other = plan["stuck"][0], plan["moves"][0]["workload"]
    assert one["detail"] == f"all room that hv2 could have for it is taken, also by {other}"
    assert (one["reason"], one["hosts"], one["rivals"]) == ("contention", ["hv2"], [other])
    assert said(one) == [("instance", "hv2", "p-t1", "t1")]
    assert one["remedies"][0]["detail"] == "one more instance of t1 on hv2 p-t1 would do"


def test_a_remedy_is_told_only_if_everybody_else_still_moves() -> None:
    """vm1 and vm0 want the same slot; allowing hv3, which has no room, or another type would not help."""
    facts = {
        "hv1": host({"t1": 0}, {"vm0": ["t1"], "vm1": ["t1"]}),
        "hv2": host({"t1": 1}),
        "hv3": host({"t1": 0}, {"vm9": ["t1"]}, takes=[]),
        "hv4": host({"t2": 5}, takes=[]),
    }
    one = planned(facts, drain("hv1"))["stuck"][0]
    assert said(one) == [("instance", "hv2", "p-t1", "t1")]


def test_thousands_of_stuck_vms_cost_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Counting(_solve.Trial):
        def can_place(self, vm: int, changed: t.Any = None) -> t.Any:
            asked.append(vm)
            return super().can_place(vm, changed)

    monkeypatch.setattr(_remedies, "Trial", Counting)

    def count(hosts: int, vms: int) -> int:
        asked.clear()
        facts = {
            f"hv{number}": host({"t1": 0}, {f"vm{number}-{each}": ["t1"] for each in range(vms)})
            for number in range(hosts)
        }
        facts |= {"target": host({"t1": 1}), "dark": host({"t1": 0}, {"vm": ["t1"]}, takes=[])}
        plan = planned(facts, drain(*(name for name in facts if name.startswith("hv"))))
        assert len(plan["stuck"]) == hosts * vms - 1
        return len(asked)

    assert count(hosts=8, vms=12) <= count(hosts=2, vms=2) + 2 * _remedies.TRIES
