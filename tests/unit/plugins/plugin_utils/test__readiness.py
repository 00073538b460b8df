# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How ready a device or a VM is, from pairings made by hand."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _readiness
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import report_data as data


@dataclasses.dataclass
class Case:
    """One device ``d`` on hv1, and what the fleet offers it."""

    targets: list[_model.TargetClass]
    pairings: list[_model.Pairing]
    state: str
    reason: str | None = None
    errno: str | None = None
    hosts: tuple[t.Literal["fresh", "cached", "unreachable", "excluded"], ...] = ("fresh", "fresh", "fresh")
    incomplete: tuple[str, ...] = ()


X2 = data.target("x", ("hv2", 2))
FULL2 = data.target("x", ("hv2", 0))
YES = data.pairing("s", "x")
NO = data.pairing("s", "x", "incompatible", "errno", "EINVAL")

CASES = {
    "accepted, with room": Case([X2], [YES], "ready"),
    "accepted, full": Case([FULL2], [YES], "no_room", "full"),
    "accepted, room not known": Case([data.target("x", ("hv2", None))], [YES], "no_room", "room_unknown"),
    "accepted, one full and one not known": Case(
        [data.target("x", ("hv2", None), ("hv3", 0))], [YES], "no_room", "room_unknown"
    ),
    "a host counts by its best parent": Case([data.target("x", ("hv2", 0), ("hv2", 1))], [YES], "ready"),
    "its own host is not elsewhere": Case([data.target("x", ("hv1", 4))], [YES], "blocked", "no_target"),
    "room on its own host only": Case([data.target("x", ("hv1", 4), ("hv2", 0))], [YES], "no_room", "full"),
    "a device in use says nothing": Case(
        [X2, data.target("y", ("hv3", 0))],
        [NO, data.pairing("s", "y", "unknown", "in_use")],
        "blocked",
        "errno",
        "EINVAL",
    ),
    "refused": Case([X2], [NO], "blocked", "errno", "EINVAL"),
    "unknown": Case([X2], [data.pairing("s", "x", "unknown", "hung")], "unknown", "hung"),
    "one no and one unknown": Case(
        [X2, data.target("y", ("hv3", 1))], [NO, data.pairing("s", "y", "unknown", "expired")], "unknown", "expired"
    ),
    "full outranks unknown": Case(
        [FULL2, data.target("y", ("hv3", 1))], [YES, data.pairing("s", "y", "unknown", "expired")], "no_room", "full"
    ),
    "the reason heard from most hosts": Case(
        [X2, data.target("y", ("hv2", 1), ("hv3", 1))],
        [NO, data.pairing("s", "y", "incompatible", "errno", "EPERM")],
        "blocked",
        "errno",
        "EPERM",
    ),
    "nothing listed": Case([X2], [], "blocked", "no_target"),
    "refused, but a host is unreachable": Case(
        [X2], [NO], "unknown", "hosts_missing", hosts=("fresh", "fresh", "unreachable")
    ),
    "refused, but a host is excluded": Case(
        [X2], [NO], "unknown", "hosts_missing", hosts=("fresh", "fresh", "excluded")
    ),
    "refused, but a host could not tell all it has": Case([X2], [NO], "unknown", "hosts_missing", incomplete=("hv3",)),
    "nothing listed, but a host could not tell all it has": Case(
        [X2], [], "unknown", "hosts_missing", incomplete=("hv1", "hv2")
    ),
    "what its own host could not tell does not matter": Case(
        [X2], [NO], "blocked", "errno", "EINVAL", incomplete=("hv1",)
    ),
    "cached hosts are known": Case([X2], [NO], "blocked", "errno", "EINVAL", hosts=("fresh", "cached", "cached")),
}


@pytest.mark.fault("C16")
@pytest.mark.parametrize("name", CASES)
def test_one_device(name: str) -> None:
    case = CASES[name]
    hosts = [data.host(f"hv{number}", state) for number, state in enumerate(case.hosts, 1)]
    pairings = data.pairings(hosts, [data.source("s", ("hv1", "d", "vm"))], case.targets, case.pairings)
    if case.incomplete:
        pairings["findings"] = [
            {"kind": "incomplete", "hosts": list(case.incomplete), "item": "host", "detail": "It hangs."}
        ]
    devices, vms = _readiness.standings(pairings)
    for one in (devices[0], vms[0]):
        assert (one["state"], one["reason"], one["errno"]) == (case.state, case.reason, case.errno)


VMS: dict[str, tuple[list[data.Where], list[data.Where], str, str | None]] = {
    "both on one host": ([("hv2", 1)], [("hv2", 1)], "ready", None),
    "each on another host": ([("hv2", 1)], [("hv3", 1)], "blocked", "split"),
    "together only where one has no room": ([("hv2", 1)], [("hv2", 0), ("hv3", 1)], "no_room", "split"),
    "one is full everywhere": ([("hv2", 1)], [("hv2", 0)], "no_room", "full"),
    "one goes nowhere": ([("hv2", 1)], [("hv1", 1)], "blocked", "no_target"),
}


@pytest.mark.fault("L2")
@pytest.mark.parametrize("name", VMS)
def test_all_devices_of_a_vm_go_to_one_host(name: str) -> None:
    first, second, state, reason = VMS[name]
    pairings = data.pairings(
        [data.host(f"hv{number}") for number in (1, 2, 3)],
        [data.source("a", ("hv1", "d1", "vm")), data.source("b", ("hv1", "d2", "vm"))],
        [data.target("x", *first), data.target("y", *second)],
        [data.pairing("a", "x"), data.pairing("b", "y")],
    )
    _devices, vms = _readiness.standings(pairings)
    assert [(one["workload"], one["state"], one["reason"]) for one in vms] == [("vm", state, reason)]


def test_types_without_a_device_are_not_counted() -> None:
    pairings = data.pairings([data.host("hv1")], [data.source("s", ("hv1", None, None))])
    assert _readiness.standings(pairings) == ([], [])


def test_vms_of_one_id_on_two_hosts_are_two() -> None:
    pairings = data.pairings([], [data.source("s", ("hv1", "d1", "pid:7"), ("hv2", "d2", "pid:7"))])
    assert [one["host"] for one in _readiness.standings(pairings)[1]] == ["hv1", "hv2"]


def test_summary_has_every_state_and_counts_everything() -> None:
    pairings = data.small()
    assert _readiness.summary(pairings, *_readiness.standings(pairings)) == {
        "hosts": {"fresh": 2, "cached": 1, "unreachable": 1, "excluded": 1},
        "devices": {"ready": 2, "no_room": 1, "unknown": 1, "blocked": 0},
        "workloads": {"ready": 1, "no_room": 1, "unknown": 1, "blocked": 0},
        "findings": {"no_way_back": 1, "unreachable": 1},
    }
