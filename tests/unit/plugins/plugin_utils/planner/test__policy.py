# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a plan: what is taken, and that every mistake is named at once."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import DEFAULTS, Apart, Spare, read
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data


def named(name: str, ident: str, *devices: str) -> t.Any:
    return {**data.workload(name, *devices), "id": ident}


HOSTS = _nodes.load(
    {
        "hv1": data.host(named("web", "u-1", "d1"), named("twin", "u-2", "d2"), data.workload("pid:7", "d3")),
        "hv2": data.host(named("twin", "u-3", "d4"), data.workload("pid:7", "d5")),
        "hv3": None,
    }
)


def test_defaults_are_complete_and_careful() -> None:
    policy = read({"drain": ["hv2", "hv1", "hv2"]}, HOSTS)
    assert policy.drain == ("hv1", "hv2")
    assert policy.rolling is None
    assert (policy.allow_unknown, policy.persist, policy.uuid_policy, policy.id) == (frozenset(), False, "new", None)
    assert (policy.incoming, policy.concurrent, policy.apart, policy.capacity) == (None, None, (), ())


def test_workloads_are_found_by_id_by_name_and_with_their_host_where_several_have_it() -> None:
    policy = read(
        {
            "drain": ["hv1"],
            "workloads": {"web": "stop", "hv2/pid:7": "skip", "hv1/twin": "migrate"},
            "demand": {"u-1": {"cpus": 4}},
            "anti_affinity": [{"workloads": ["hv1/twin", "u-3"], "across": "domain"}],
        },
        HOSTS,
    )
    assert policy.conduct == {("hv1", "u-1"): "stop", ("hv2", "pid:7"): "skip"}
    assert policy.demand == {("hv1", "u-1"): Spare(4, None)}
    assert policy.apart == (Apart("group 1", "domain", (("hv1", "u-2"), ("hv2", "u-3"))),)


def test_rolling_takes_batches_or_a_number() -> None:
    rolling = read({"rolling": {"batches": [["hv2"], ["hv1"]]}}, HOSTS).rolling
    assert rolling is not None
    assert (rolling.batches, rolling.max_unavailable) == ((("hv2",), ("hv1",)), None)
    rolling = read({"rolling": {"max_unavailable": 2}}, HOSTS).rolling
    assert rolling is not None
    assert (rolling.max_unavailable, rolling.batches) == (2, ())


def test_unknown_may_be_allowed_everywhere_or_on_some_hosts() -> None:
    assert read({"drain": ["hv1"], "allow_unknown": True}, HOSTS).allow_unknown == {"hv1", "hv2", "hv3"}
    assert read({"drain": ["hv1"], "allow_unknown": ["hv2"]}, HOSTS).allow_unknown == {"hv2"}


def test_units_are_a_number_or_several() -> None:
    rules = [
        {"driver": "a", "model": "shared_units", "costs": {"t1": 2}, "totals": 8},
        {"vendor": "b", "model": "vector", "costs": {"t1": {"low": 1, "high": 2}}, "totals": {"low": 4}},
    ]
    shared, vector = read({"drain": ["hv1"], "capacity": rules}, HOSTS).capacity
    assert (shared.costs, shared.totals) == ({"t1": {"units": 2}}, {"units": 8})
    assert (vector.costs, vector.totals) == ({"t1": {"low": 1, "high": 2}}, {"low": 4})


DRAIN: dict[str, t.Any] = {"drain": ["hv1"]}
MISTAKES: list[tuple[dict[str, t.Any], str]] = [
    ({}, "drain names no host, and there is no rolling: say which hosts are to be emptied"),
    ({"drain": "hv1"}, "drain must be a list, not string"),
    ({"drain": ["hv9"]}, "drain[0]: the inventory has no host hv9"),
    ({"drain": [None]}, "drain[0] must be a string, not null"),
    ({**DRAIN, "rolling": {"max_unavailable": 1}}, "drain and rolling are two plans: give one of them"),
    ({"rolling": {}}, "rolling needs either max_unavailable or batches"),
    ({"rolling": {"max_unavailable": 0}}, "rolling.max_unavailable must be at least 1, not 0"),
    ({"rolling": {"batches": [[]]}}, "rolling.batches[0] names no host"),
    ({"rolling": {"batches": []}}, "rolling.batches names no host"),
    ({"rolling": {"batches": [["hv1"], ["hv1"]]}}, "rolling.batches[1]: hv1 had their maintenance in an earlier batch"),
    ({**DRAIN, "incoming": -1}, "incoming must be at least 0, not -1"),
    ({**DRAIN, "incoming": True}, "incoming must be an int, not boolean"),
    ({**DRAIN, "concurrent": 0}, "concurrent must be at least 1, not 0"),
    ({**DRAIN, "workloads": {"nobody": "stop"}}, "workloads: no host has a workload 'nobody', neither by its id nor"),
    (
        {**DRAIN, "workloads": {"twin": "stop"}},
        "workloads: 'twin' are several workloads: write one of hv1/u-2, hv2/u-3",
    ),
    ({**DRAIN, "workloads": {"web": "kill"}}, "workloads.web must be one of migrate, stop, skip, not 'kill'"),
    ({**DRAIN, "workloads": {"web": "stop", "u-1": "skip"}}, "workloads.u-1 is the same workload as another one that"),
    ({**DRAIN, "demand": {"web": {"ram": 1}}}, "demand.web does not know 'ram', it takes cpus, memory"),
    ({**DRAIN, "headroom": {"hv9": {"cpus": 1}}}, "headroom: the inventory has no host hv9"),
    (
        {**DRAIN, "anti_affinity": [{"workloads": ["web", "u-3"], "across": "rack"}]},
        "anti_affinity[0].across must be one of",
    ),
    ({**DRAIN, "anti_affinity": [{"workloads": ["web"]}]}, "anti_affinity[0].workloads names fewer than two"),
    ({**DRAIN, "failure_domains": {"a": ["hv1"], "b": ["hv1"]}}, "failure_domains: hv1 is in a and in b"),
    ({**DRAIN, "failure_domains": {"hv2": ["hv1"]}}, "failure_domains.hv2 has the name of a host that is not in it"),
    ({**DRAIN, "uuid_policy": "old"}, "uuid_policy must be one of new, same, not 'old'"),
    ({**DRAIN, "allow_unknown": "yes"}, "allow_unknown must be a boolean or a list of hosts, not string"),
    ({**DRAIN, "persist": "yes"}, "persist must be a boolean, not string"),
    ({**DRAIN, "speed": 1}, "options does not know 'speed', it takes drain,"),
    ({**DRAIN, "capacity": [{"model": "exclusive"}]}, "capacity[0] fits every parent: say which by driver, vendor"),
    ({**DRAIN, "capacity": [{"driver": "x"}]}, "capacity[0].model must be one of exclusive, shared_units, vector"),
    ({**DRAIN, "capacity": [{"driver": "x", "model": "vector"}]}, "capacity[0].costs is missing: vector needs"),
    (
        {**DRAIN, "capacity": [{"driver": "x", "model": "exclusive", "costs": {"t": 1}}]},
        "capacity[0].costs and .totals",
    ),
    (
        {**DRAIN, "capacity": [{"driver": "x", "model": "vector", "costs": {"t": 0}}]},
        "capacity[0].costs.t takes nothing",
    ),
    (
        {**DRAIN, "capacity": [{"driver": "x", "model": "shared_units", "costs": {"t": {"a": 1}}}]},
        "capacity[0].costs.t must be a number of units for shared_units",
    ),
    (
        {**DRAIN, "capacity": [{"driver": "x", "model": "vector", "costs": {"t": {"a": 1}}, "totals": {"b": 1}}]},
        "capacity[0].totals.b is a resource that no type in costs takes",
    ),
    (
        {**DRAIN, "capacity": [{"driver": "x", "model": "independent", "most": {"t": 1}}]},
        "capacity[0].most is for exclusive, not for independent",
    ),
]


@pytest.mark.parametrize(("options", "expected"), MISTAKES, ids=[text for _options, text in MISTAKES])
def test_a_mistake_is_named(options: dict[str, t.Any], expected: str) -> None:
    with pytest.raises(ContractError) as refused:
        read(options, HOSTS)
    assert expected in str(refused.value)
    assert str(refused.value).count(";") == 0


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a b", "$(reboot)", "x" * 129])
@pytest.mark.fault("L10")
def test_the_id_of_a_plan_is_no_path(name: str) -> None:
    with pytest.raises(ContractError, match="id must be at most 128 letters, digits, dots, dashes and underscores"):
        read({**DRAIN, "id": name}, HOSTS)


def test_all_mistakes_are_named_at_once() -> None:
    options = {"drain": ["hv8", "hv9"], "workloads": {"x": "stop", "y": "skip"}, "incoming": "3"}
    with pytest.raises(ContractError) as refused:
        read(options, HOSTS)
    assert [each.partition(":")[0] for each in str(refused.value).split("; ")] == [
        "drain[0]",
        "drain[1]",
        "incoming must be an int, not string",
        "workloads",
        "workloads",
    ]


SHAPES: list[t.Any] = [1.5, "text", [1], [None], {"a": 1}, {1: {}}, [{}], {"hv1": []}, [[["hv1"]]]]


@pytest.mark.parametrize("key", sorted(set(DEFAULTS) - {"id"}))
@pytest.mark.parametrize("value", SHAPES, ids=repr)
def test_values_of_any_shape_are_refused_and_not_fallen_over(key: str, value: t.Any) -> None:
    with pytest.raises(ContractError, match=key):
        read({"drain": ["hv1"], key: value}, HOSTS)
