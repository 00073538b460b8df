# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts can be emptied now, and what is used and free of every parent."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _overview, _report
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as fleet
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import page_data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import report_data as data


def drains(
    pairings: _model.Pairings,
    snapshots: t.Mapping[str, t.Any] | None = None,
    plan: _model.Plan | None = None,
) -> dict[str, _overview.Drain]:
    return {one["host"]: one for one in _report.build(pairings, snapshots, plan)["drains"]}


def said(drain: _overview.Drain) -> tuple[str, int, list[tuple[str, str | None, int]]]:
    return drain["state"], drain["leaving"], [(one["state"], one["reason"], one["count"]) for one in drain["why"]]


def test_a_host_is_as_good_as_the_worst_that_has_to_leave() -> None:
    found = drains(data.small())
    # A device in use without a VM counts like a VM; whose devices are a VM's, the VM counts.
    assert said(found["hv1"]) == ("ready", 2, [])
    assert said(found["hv2"]) == ("no_room", 1, [("no_room", "full", 1)])
    assert said(found["hv3"]) == ("unknown", 1, [("unknown", "hosts_missing", 1)])
    assert [found[name]["state"] for name in ("hv4", "hv5")] == ["lost", "lost"]


def idle(name: str, in_use: bool | None) -> dict[str, t.Any]:
    device = fleet.device(name, "s", ("0000:00:02.0", data.TYPE), in_use=in_use)
    return {**data.snapshot("hv1", {}), "devices": [device]}


def test_what_nobody_uses_need_not_leave() -> None:
    pairings = data.pairings([data.host("hv1"), data.host("hv2")], [data.source("a", ("hv1", "d1", None))])
    assert said(drains(pairings, {"hv1": idle("d1", False)})["hv1"]) == ("idle", 0, [])
    # Who does not know must not call it idle.
    for snapshots in ({"hv1": idle("d1", None)}, {"hv1": idle("d1", True)}, {}):
        assert said(drains(pairings, snapshots)["hv1"])[:2] == ("blocked", 1)


@pytest.mark.fault("R14")
def test_a_host_that_could_not_list_its_devices_is_not_called_idle() -> None:
    pairings = data.pairings([data.host("hv1")])
    notes = [{"item": "class/vfio-dev", "reason": "permission", "detail": "It says why."}]
    blind = t.cast("_model.Snapshot", {**data.snapshot("hv1", {}), "notes": notes})
    assert said(drains(pairings, {"hv1": blind})["hv1"]) == ("unknown", 0, [("unknown", "unlisted", 1)])


def crowd(here: int, elsewhere: int | None, own: int = 9) -> _overview.Drain:
    members = [("hv1", f"d{number}", f"vm{number}") for number in range(here)]
    targets = [data.target("x", ("hv1", own), ("hv2", elsewhere), ("hv3", 1))]
    pairings = data.pairings(
        [data.host(name) for name in ("hv1", "hv2", "hv3")],
        [data.source("a", *members)],
        targets,
        [data.pairing("a", "x")],
    )
    return drains(pairings)["hv1"]


def test_each_may_fit_and_all_together_not() -> None:
    assert said(crowd(3, 2)) == ("ready", 3, [])
    assert said(crowd(4, 2)) == ("no_room", 4, [("no_room", "crowded", 4)])
    assert said(crowd(4, None)) == ("ready", 4, [])  # how much room there is nobody said


def test_a_plan_says_what_it_empties() -> None:
    snapshots = {name: data.snapshot(name, {"a": "b"}) for name in ("hv1", "hv2", "hv3")}
    plan = page_data.plan(snapshots, ["hv1", "hv2"])
    assert plan["planning"]
    plan["planning"]["batches"][1]["emptied"] = []
    found = drains(data.small(), snapshots, plan)
    assert {name: one["emptied"] for name, one in found.items() if name < "hv4"} == {
        "hv1": False, "hv2": False, "hv3": None,
    }  # fmt: skip
    plan["planning"]["batches"][1]["emptied"] = ["hv2"]
    assert drains(data.small(), snapshots, plan)["hv2"]["emptied"] is True


def usage(*parts: t.Any) -> list[_overview.Usage]:
    return _overview.capacity({"hv1": t.cast("_model.Snapshot", fleet.snapshot(*parts))})


def test_capacity_counts_used_and_free_of_each_type() -> None:
    [one] = usage(
        fleet.parent("p1", fleet.mdev_type("t10", "s", 3), fleet.mdev_type("t2", "s", None)),
        fleet.device("d1", "s", ("p1", "t2")),
        fleet.device("d2", "s", ("p1", "t2")),
        fleet.device("d3", None, ("p1", None)),
        fleet.device("d4", "s", ("p1", "gone")),
    )
    assert one["model"] == "unknown"
    assert one["parents"] == [
        {
            "host": "hv1",
            "parent": "p1",
            "left": [{"resource": "t10", "units": 3}],
            "types": [
                {"type": "t10", "used": 0, "room": 3},
                {"type": "t2", "used": 2, "room": None},
                {"type": None, "used": 1, "room": None},
                {"type": "gone", "used": 1, "room": None},
            ],
        }
    ]


def test_a_parent_that_hangs_has_no_known_room_and_comes_last() -> None:
    found = usage(
        fleet.parent("p1", fleet.mdev_type("t1", "s", 3), state="hung"),
        fleet.parent("p2", fleet.mdev_type("t1", "s", 3)),
    )
    assert [(one["model"], one["parents"][0]["parent"]) for one in found] == [("independent", "p2"), ("silent", "p1")]
    assert found[1]["parents"][0]["types"] == [{"type": "t1", "used": 0, "room": None}]
    assert found[1]["parents"][0]["left"] == []


def planned(*capacity: object) -> _model.Plan:
    plan = page_data.plan({}, ["hv1"])
    assert plan["planning"]
    plan["planning"]["policy"] = {"capacity": list(capacity)}
    return plan


@pytest.mark.parametrize(
    ("said", "model", "origin"),
    [
        ([], "unknown", "default"),
        ([{"host": "hv1", "model": "independent"}], "independent", "operator"),
        ([{"host": "gone", "model": "vector"}, {"type": "t1", "model": "independent"}], "independent", "operator"),
    ],
)
def test_the_operator_s_word_on_capacity_counts_as_in_the_plan(
    said: list[dict[str, str]], model: str, origin: str
) -> None:
    snapshot = fleet.snapshot(fleet.parent("p1", fleet.mdev_type("t1", "s", 3), fleet.mdev_type("t2", "s", 3)))
    [one] = _overview.capacity({"hv1": t.cast("_model.Snapshot", snapshot)}, planned(*said))
    assert (one["model"], one["origin"]) == (model, origin)


def test_a_fleet_is_grouped_by_how_types_share_a_parent() -> None:
    found = page_data.large(30)["capacity"]
    assert {one["model"] for one in found} == {"exclusive", "vector", "shared_units", "independent"}
    counts = [len(one["parents"]) for one in found]
    assert counts == sorted(counts, reverse=True)
