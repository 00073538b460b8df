# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark of targets asks for fits on its host, and both sides ask for the same."""

from __future__ import annotations

import errno

import pytest

from ansible_collections.vfio.migration.tests.benchmarks import targets
from ansible_collections.vfio.migration.tests.fleet.simulated import driver, scenario


def host(count: int) -> driver.HostState:
    """The benchmark's host."""
    hosts = {host.name: host for host in scenario.parse(targets.scenario(count)).hosts}
    return driver.HostState(hosts[targets.HOST])


@pytest.mark.parametrize("count", [1, 3, 64])
def test_all_instances_fit_and_accept_their_source(count: int) -> None:
    state = host(count)
    for one in targets.wishes(count):
        parent = state.parents[one["parent"]]
        state.create(parent, parent.types[one["type"]], one["uuid"].encode())
        state.store_device(state.devices[one["uuid"]], one["accepts"].encode())
    assert len(state.devices) == count


def test_the_driver_takes_no_time_of_its_own() -> None:
    assert {parent.delays for parent in host(64).parents.values()} == {scenario.Delays()}


def test_the_host_is_full_then() -> None:
    state = host(4)
    for one in targets.wishes(4):
        parent = state.parents[one["parent"]]
        state.create(parent, parent.types[one["type"]], one["uuid"].encode())
    with pytest.raises(OSError, match=f"Errno {errno.ENOSPC}"):
        state.create(parent, parent.types[one["type"]], b"00000000-0000-4000-8000-000000000001")


@pytest.mark.parametrize("count", [1, 9])
def test_the_plan_wants_the_same(count: int) -> None:
    plan = targets.plan(count)
    devices = [device for move in plan["moves"] for device in move["devices"]]
    wanted = {(one["uuid"], one["parent"], one["type"]) for one in targets.wishes(count)}
    assert {(device["uuid"], device["parent"], device["type"]) for device in devices} == wanted
    assert len(devices) == count
    source = next(host for host in scenario.parse(targets.scenario(count)).hosts if host.name == targets.SOURCE)
    held = {workload.uuid: set(workload.devices) for workload in source.workloads}
    assert {move["workload"]: {device["source"] for device in move["devices"]} for move in plan["moves"]} == held


def test_mdevctl_is_asked_for_the_same() -> None:
    for one, call in zip(targets.wishes(9), targets.calls(targets.wishes(9)), strict=True):
        assert call.split() == ["mdevctl", "start", "-u", one["uuid"], "-p", one["parent"], "-t", one["type"]]
