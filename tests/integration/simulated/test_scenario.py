# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scenario is refused with every error at once, each naming the object; rules and capacity are pure tables."""

from __future__ import annotations

import errno
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.simulated import rules, scenario
from ansible_collections.vfio.migration.tests.fleet.simulated._reader import ScenarioError

CARD = "0000:3b:00.0"

BAD: list[tuple[str, t.Any, str]] = [
    ("empty", None, "scenario: is empty"),
    ("no host", {"version": 1}, "hosts: has no host"),
    ("not a mapping", [], "scenario: must be a mapping, not a list"),
    ("version", {"version": 2, "hosts": {"a": {}}}, "version: this simulator reads version 1 only"),
    ("host name", {"hosts": {"../x": {}}}, "hosts.../x: a host name has letters"),
    ("typo", {"hosts": {"a": {"parent": {}}}}, "hosts.a.parent: is not a known key; did you mean parents?"),
    ("address", {"hosts": {"a": {"parents": {"x": {}}}}}, "hosts.a.parents.x: is of kind pci but no PCI address"),
    (
        "model",
        {"hosts": {"a": {"parents": {CARD: {"capacity": {"model": "magic"}}}}}},
        "capacity.model: 'magic' is not known; use one of exclusive",
    ),
    ("rule", {"hosts": {"a": {"parents": {CARD: {"rule": "no"}}}}}, "rule.name: 'no' is not known"),
    (
        "number as version",
        {"hosts": {"a": {"parents": {CARD: {"driver_version": 1.10}}}}},
        "driver_version: must be a string, not 1.1; put it in quotes",
    ),
    (
        "mdev without parent",
        {"hosts": {"a": {"mdevs": [{"uuid": "0" * 8, "parent": "p", "type": "t"}]}}},
        "mdevs[0].uuid: '00000000' is not a UUID",
    ),
    (
        "workload",
        {"hosts": {"a": {"workloads": [{"name": "vm", "devices": ["x"]}]}}},
        "workloads[0].devices: 'x' is neither an mdev nor a VF of this host",
    ),
    ("errno", {"hosts": {"a": {"faults": [{"node": "n", "errno": "EWHAT"}]}}}, "'EWHAT' is not the name of an errno"),
    ("fault", {"hosts": {"a": {"faults": [{"node": "n", "fault": "R99"}]}}}, "'R99' has no shorthand"),
    (
        "one module, two versions",
        {"hosts": {"a": {"parents": {CARD: {"driver_version": "1"}, "0000:3c:00.0": {"driver_version": "2"}}}}},
        "driver lab has two versions",
    ),
    (
        "vector without needs",
        {"hosts": {"a": {"parents": {CARD: {"capacity": {"model": "vector"}, "types": {"lab-a": {}}}}}}},
        "types.lab-a.needs: is empty",
    ),
]


@pytest.mark.parametrize(("data", "expected"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_scenario_is_refused_with_a_sentence(data: t.Any, expected: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario.parse(data)
    assert any(expected in error for error in caught.value.errors), caught.value.errors


def test_all_errors_come_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario.parse({"hosts": {"a": {"mdev": 3, "kernel": 6, "vfs": {"x": {}}}, "b": {"faults": 1}}})
    assert len(caught.value.errors) == 4


@pytest.mark.parametrize("name", ["small", "fleet"])
def test_the_shipped_scenarios_are_valid(name: str) -> None:
    assert scenario.load(name).hosts


def test_a_missing_file_names_the_shipped_ones() -> None:
    with pytest.raises(ScenarioError, match="shipped scenarios: fleet, small"):
        scenario.load("nowhere")


def test_a_generated_fleet_is_the_same_for_the_same_seed() -> None:
    fleets = [scenario.parse({"generate": {"hosts": 5, "seed": seed}}) for seed in (7, 7, 8)]
    assert fleets[0] == fleets[1]
    assert fleets[0] != fleets[2]


OWN = "10de-20b5-A1-4.2"
# rule, extra keys, scope, what is written, accepted
RULES: list[tuple[str, dict[str, t.Any], str, str, bool]] = [
    ("exact", {}, "type", OWN, True),
    ("exact", {}, "device", OWN, True),
    ("exact", {}, "type", OWN + "\n", True),
    ("exact", {}, "type", OWN + "\n\n", False),
    ("exact", {}, "type", " " + OWN, False),
    ("exact", {}, "type", "10de-20b5-A1-4.1", False),
    ("exact", {"newline": "refused"}, "type", OWN + "\n", False),
    ("exact", {"newline": "required"}, "type", OWN, False),
    ("exact", {"newline": "required"}, "type", OWN + "\n", True),
    ("exact", {"accepts": (b"foreign",)}, "type", "foreign", True),
    ("exact", {"string": b" 0x10 "}, "type", " 0x10 ", True),
    ("exact", {"string": b" 0x10 "}, "type", "0x10", False),
    ("older_minor_accepted", {}, "type", "10de-20b5-A1-4.1", True),
    ("older_minor_accepted", {}, "type", OWN, True),
    ("older_minor_accepted", {}, "type", "10de-20b5-A1-4.3", False),
    ("older_minor_accepted", {}, "type", "10de-20b5-A1-3.1", False),
    ("older_minor_accepted", {}, "type", "10de-20b5-A2-4.1", False),
    ("older_minor_accepted", {}, "type", "10de-20b5-A1-4.x", False),
    ("i915", {}, "type", OWN, False),
    ("asymmetric", {"accepts": (b"old",)}, "type", "old", True),
    ("asymmetric", {"accepts": (b"old",)}, "type", OWN, False),
    ("nvme", {"remote": "a", "reaches": ("a", "b")}, "device", "10de-20b5-nvme-b", True),
    ("nvme", {"remote": "b", "reaches": ("b",)}, "device", "10de-20b5-nvme-a", False),
    ("lying", {}, "type", "10de-20b5-A1-4.1", True),
    ("lying", {}, "device", OWN, False),
]


@pytest.mark.parametrize(("rule", "keys", "scope", "text", "accepted"), RULES)
def test_vendor_rules(rule: str, keys: dict[str, t.Any], scope: str, text: str, accepted: bool) -> None:
    node = rules.Node(scope, "10de", "20b5", "A1", "4.2")
    if accepted:
        rules.store(scenario.Rule(rule, **keys), node, text.encode())
        return
    with pytest.raises(OSError, match="Errno") as caught:
        rules.store(scenario.Rule(rule, **keys), node, text.encode())
    assert caught.value.errno == (errno.ENODEV if rule == "i915" else errno.EINVAL)


def test_i915_says_enodev_on_read_too() -> None:
    with pytest.raises(OSError, match="Errno") as caught:
        rules.show(scenario.Rule("i915"), rules.Node("type", "8086", "591d", "V5_4", "1"))
    assert caught.value.errno == errno.ENODEV
