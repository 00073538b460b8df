# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters are thin: they pass values through, and errors with a name."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.vfio.migration.plugins.filter import evacuation_plan, pairings, probe_requests
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _evacuation
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import DefectError, Kind
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data

FACTS = {
    "hv1": data.host(data.parent("p1", data.mdev_type("t1", "a"))),
    "hv2": data.host(data.parent("p1", data.mdev_type("t1", "b"))),
}
FILTERS: dict[str, t.Callable[..., t.Any]] = {
    **pairings.FilterModule().filters(),
    **probe_requests.FilterModule().filters(),
    **evacuation_plan.FilterModule().filters(),
}


def test_probe_requests() -> None:
    requests = FILTERS["probe_requests"](FACTS)
    assert {host: [one["string"] for one in found] for host, found in requests.items()} == {"hv1": ["b"], "hv2": ["a"]}


def test_pairings() -> None:
    matrix = FILTERS["pairings"](FACTS, now=data.NOW, sources="all", fresh_hosts=["hv1"], max_age=60)
    assert matrix["time"] == data.NOW
    assert [host["state"] for host in matrix["hosts"]] == ["fresh", "cached"]
    assert len(matrix["sources"]) == 2


def test_evacuation_plan() -> None:
    plan = FILTERS["evacuation_plan"](FACTS, now=data.NOW, fresh_hosts=[], drain=["hv1"], id="p1")
    assert (plan["id"], plan["created"]) == ("p1", data.NOW)
    assert [host["state"] for host in plan["planning"]["inputs"]["hosts"]] == ["cached", "cached"]
    with pytest.raises(AnsibleFilterError, match="evacuation_plan: options does not know 'drian'"):
        FILTERS["evacuation_plan"](FACTS, drian=["hv1"])


def test_a_defect_of_the_planner_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kind, "take", lambda _kind, _left, _seat: None)
    with pytest.raises(DefectError, match=r"^a place was chosen that is not free: .* defect of the planner"):
        Kind(True, (), ()).taken((), 0)
    monkeypatch.setattr(_evacuation, "of_pairings", lambda *_args: Kind(True, (), ()).taken((), 0))
    with pytest.raises(AnsibleFilterError, match=r"evacuation_plan: a place was chosen .* report it with the facts"):
        FILTERS["evacuation_plan"](FACTS, now=data.NOW, drain=["hv1"])


@pytest.mark.parametrize("name", sorted(FILTERS))
@pytest.mark.parametrize(
    ("facts", "options", "error"),
    [
        ("hv1", {}, "hosts must be a mapping of host names to their facts, not string"),
        (FACTS, {"max_age": "day"}, "max_age must be an int, not string"),
        (FACTS, {"max_age": -1}, "max_age must not be negative, not -1"),
    ],
)
def test_errors_name_the_filter_and_the_path(name: str, facts: t.Any, options: dict[str, t.Any], error: str) -> None:
    with pytest.raises(AnsibleFilterError) as raised:
        FILTERS[name](facts, **options)
    assert f"vfio.migration.{name}: {error}" in str(raised.value)
