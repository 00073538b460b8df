# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark's fleets are what their documentation says."""

from __future__ import annotations

import json
import pathlib

import pytest

from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils._pairing import pairings
from ansible_collections.vfio.migration.tests.benchmarks import _fleets

SPECS = [_fleets.Spec(60, 0.8, 0.05, mix, 3) for mix in _fleets.MIXES]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.mix)
def test_facts_keep_their_contracts(spec: _fleets.Spec) -> None:
    hosts = _nodes.load(_fleets.facts(spec))
    assert [error for host in hosts for error in (*host.errors, *host.verdict_errors)] == []
    assert all(host.snapshot and len(host.snapshot["parents"]) == 8 for host in hosts)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.mix)
def test_a_fleet_is_as_its_spec_says(spec: _fleets.Spec) -> None:
    snapshots = [each["vfio_migration"] for each in _fleets.facts(spec).values()]
    strings = {
        kind["migration_version"]["value"] for one in snapshots for parent in one["parents"] for kind in parent["types"]
    }
    assert len(strings) == spec.strings
    sizes = [len(vm["devices"]) for one in snapshots for vm in one["workloads"]]
    assert max(sizes) == 4
    assert 0.05 < sum(size > 1 for size in sizes) / len(sizes) < 0.15
    devices = [device["id"] for one in snapshots for device in one["devices"]]
    assert sum(sizes) == len(devices) == len(set(devices))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.mix)
def test_the_room_of_siblings_is_coupled_as_their_driver_does(spec: _fleets.Spec) -> None:
    for one in _fleets.facts(spec).values():
        used: dict[str, set[str]] = {}
        for device in one["vfio_migration"]["devices"]:
            used.setdefault(device["parent"], set()).add(device["type"])
        for parent in one["vfio_migration"]["parents"]:
            taken = used.get(parent["address"], set())
            room = {kind["id"] for kind in parent["types"] if kind["available_instances"]}
            if parent["driver"] == "nvidia" and taken:
                assert len(taken) == 1
                assert room <= taken


def test_only_newer_drivers_accept() -> None:
    spec = _fleets.Spec(40, 0.8, 0.05, "gpu", 5)
    facts = _fleets.facts(spec)
    matrix = pairings(facts, _fleets.MAX_AGE, _fleets.TIME)
    versions = {one["id"]: one["version"] for one in matrix["targets"]}
    versions.update({one["id"]: one["type_version"] for one in matrix["sources"] if one["type_version"]})
    releases = {name: int((version["value"] or "")[-4:]) for name, version in versions.items()}
    accepted = {(one["source"], one["target"]) for one in matrix["pairings"] if one["verdict"] == "compatible"}
    assert accepted
    assert all(0 <= releases[target] - releases[source] < 3 for source, target in accepted)


def test_the_same_spec_makes_the_same_fleet(tmp_path: pathlib.Path) -> None:
    spec = SPECS[-1]
    _fleets.lay_cache(tmp_path, spec)
    texts = {path.name.removeprefix("s1_"): json.loads(path.read_text()) for path in tmp_path.iterdir()}
    laid = {host: json.loads(text["__payload__"]) for host, text in texts.items()}
    assert laid == _fleets.facts(spec)
    assert _fleets.drain(spec) == _fleets.drain(spec)
    assert set(_fleets.drain(spec)) < set(laid)
    assert len(_fleets.drain(spec)) == 3
