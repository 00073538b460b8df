# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has to be asked what, from facts made by hand."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError
from ansible_collections.vfio.migration.plugins.plugin_utils._requests import probe_requests
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils.fleet_data import (
    DAY,
    NOW,
    Facts,
    device,
    host,
    mdev_type,
    parent,
    verdict,
)

T1 = ("p1", "t1")


def offers(string: str | None, **more: t.Any) -> Facts:
    """A host with one parent p1 and one type t1."""
    return host(parent("p1", mdev_type("t1", string), **more))


def holds(*devices: tuple[str, str | None, bool | None], string: str | None = None) -> Facts:
    """The same with devices of that type."""
    return host(parent("p1", mdev_type("t1", string)), *(device(name, text, T1, used) for name, text, used in devices))


class Case(t.NamedTuple):
    facts: dict[str, Facts]
    asked: dict[str, list[str]]
    """Host -> ``<parent>/<type>/<device> <string>`` of its requests, in order."""


ABSENT, GONE, HUNG = offers(None), offers("b", state="gone"), offers("b", state="hung")
UNREAD = host(parent("p1", mdev_type("t1", "b"), vendor=None), device("u1", "b", T1, vendor=None))
TWO = host(parent("p1", mdev_type("t1", "a")), parent("p2", mdev_type("t1", "b")))
CASES = {
    "nobody": Case({}, {}),
    "no facts": Case({"h1": {}, "h2": {}}, {}),
    "a host alone": Case({"h1": offers("a")}, {}),
    "equal strings prove nothing": Case(
        {"h1": offers("a"), "h2": offers("a")}, {"h1": ["p1/t1/ a"], "h2": ["p1/t1/ a"]}
    ),
    "each its own string": Case({"h1": offers("a"), "h2": offers("b")}, {"h1": ["p1/t1/ b"], "h2": ["p1/t1/ a"]}),
    "two parents, two strings": Case(
        {"h1": TWO, "h2": offers("c")}, {"h1": ["p1/t1/ c", "p2/t1/ c"], "h2": ["p1/t1/ a", "p1/t1/ b"]}
    ),
    "absent": Case({"h1": offers("a"), "h2": ABSENT}, {}),
    "present but ENODEV": Case({"h1": offers("a"), "h2": offers("!ENODEV")}, {}),
    "truncated": Case({"h1": offers("a"), "h2": offers("~truncated")}, {}),
    "a parent that is gone is no target": Case({"h1": offers("a"), "h2": GONE}, {"h1": ["p1/t1/ b"]}),
    "a parent that hangs is no target": Case({"h1": offers("a"), "h2": HUNG}, {"h1": ["p1/t1/ b"]}),
    "a parent that could not be listed is no target": Case(
        {"h1": offers("a"), "h2": offers("b", state="unknown")}, {"h1": ["p1/t1/ b"]}
    ),
    "a vendor that could not be read neither asks nor is asked": Case(
        {"h1": offers("a"), "h2": UNREAD, "h3": UNREAD}, {}
    ),
    "an mdev that does not say its type": Case(
        {"h1": holds(("u1", "d1", False)), "h2": host(parent("p1"), device("u2", "?incomplete", ("p1", None)))}, {}
    ),
    "vendors": Case({"h1": offers("a"), "h2": offers("a", vendor="pci:10de")}, {}),
    "types": Case({"h1": offers("a"), "h2": host(parent("p1", mdev_type("t2", "a")))}, {}),
    "a device is asked all device strings of its vendor": Case(
        {
            "h1": holds(("u1", "d1", False)),
            "h2": host(parent("p1", mdev_type("t2", None)), device("u2", "d2", ("p1", "t2"))),
            "h3": host(device("0000:01:00.0", "d3"), device("0000:02:00.0", "x", vendor="pci:10de")),
        },
        {
            "h1": ["p1/t1/u1 d2", "p1/t1/u1 d3"],
            "h2": ["p1/t2/u2 d1", "p1/t2/u2 d3"],
            "h3": ["//0000:01:00.0 d1", "//0000:01:00.0 d2"],
        },
    ),
    "of devices in use one speaks": Case(
        {"h1": holds(("u3", "d1", True), ("u2", "d1", True), ("u1", None, True)), "h2": holds(("u4", "d2", False))},
        {"h1": ["p1/t1/u2 d2"], "h2": ["p1/t1/u4 d1"]},
    ),
    "unless one is free, or nobody knows": Case(
        {"h1": holds(("u1", "d1", True), ("u2", "d1", None), ("u3", "d1", False)), "h2": holds(("u4", "d2", True))},
        {"h1": ["p1/t1/u2 d2", "p1/t1/u3 d2"], "h2": ["p1/t1/u4 d1"]},
    ),
    "a physical device is its own place": Case(
        {
            "h1": host(device("0000:01:00.0", "d1", in_use=True), device("0000:02:00.0", "d1", in_use=True)),
            "h2": holds(("u1", "d2", False)),
        },
        {"h1": ["//0000:01:00.0 d2", "//0000:02:00.0 d2"], "h2": ["p1/t1/u1 d1"]},
    ),
    "broken facts of one host": Case(
        {"h1": offers("a"), "h2": {"vfio_migration": {"schema_version": 1}}, "h3": offers("b")},
        {"h1": ["p1/t1/ b"], "h3": ["p1/t1/ a"]},
    ),
}  # fmt: skip


@pytest.mark.fault("P12", "P13", "P11", "R21", "R2", "R3", "R8", "L8")
@pytest.mark.parametrize("name", CASES)
def test_asked(name: str) -> None:
    requests = probe_requests(CASES[name].facts, DAY, NOW)
    asked = {
        host: [f"{one['parent'] or ''}/{one['type'] or ''}/{one['device'] or ''} {one['string']}" for one in found]
        for host, found in requests.items()
    }
    assert asked == CASES[name].asked


def test_a_request_is_complete() -> None:
    facts = {"h1": offers("a"), "h2": holds(("u1", "d", False), string="b"), "h3": host(device("vf", "e"))}
    assert probe_requests(facts, DAY, NOW)["h2"] == [
        {"scope": "type", "parent": "p1", "type": "t1", "device": None, "string": "a", "vendor": "pci:8086",
         "source_type": "t1"},
        {"scope": "device", "parent": "p1", "type": "t1", "device": "u1", "string": "e", "vendor": "pci:8086",
         "source_type": None},
    ]  # fmt: skip


NODE = ("p1", "t1", None)
ANSWERS = [
    ("yes", {}, False),
    ("no", {}, False),
    ("?too_long", {}, False),
    ("?not_ascii", {}, False),
    ("?busy", {}, True),
    ("?hung", {}, True),
    ("?deadline", {}, True),
    ("?not_probed", {}, True),
    ("?check_mode", {}, True),
    ("?write_limit", {}, True),
    ("?gone", {}, True),
    ("yes", {"time": "2026-11-21T11:59:59Z"}, True),
    ("yes", {"time": "2026-11-21T12:00:00Z"}, False),
    ("yes", {"time": "2026-11-22T12:05:00Z"}, False),
    ("yes", {"time": "2026-11-22T12:05:01Z"}, True),
    ("yes", {"driven": (None, "drv", "1.0")}, True),
    ("no", {"driven": ("boot-0", "drv", "1.0")}, True),
    ("no", {"driven": ("boot-1", "drv", "1.1")}, True),
    ("no", {"driven": ("boot-1", "other", "1.0")}, True),
    ("yes", {"vendor": "pci:10de"}, True),
    ("yes", {"source_type": "t2"}, True),
]


@pytest.mark.fault("P7", "P10", "P12", "P13", "P11", "R4")
@pytest.mark.parametrize(("answer", "circumstances", "again"), ANSWERS)
def test_earlier_answers_are_used_while_they_hold(answer: str, circumstances: dict[str, t.Any], again: bool) -> None:
    known = host(parent("p1", mdev_type("t1", "a")), verdicts=[verdict(NODE, "b", answer, **circumstances)])
    requests = probe_requests({"h1": known, "h2": offers("b")}, DAY, NOW)
    assert ("h1" in requests) is again


@pytest.mark.fault("P7")
def test_no_boot_id_is_not_the_same_boot() -> None:
    unsure = verdict(NODE, "b", driven=(None, "drv", "1.0"))
    known = host(parent("p1", mdev_type("t1", "a")), verdicts=[unsure], boot=None)
    assert "h1" in probe_requests({"h1": known, "h2": offers("b")}, DAY, NOW)


@pytest.mark.fault("P7")
@pytest.mark.parametrize("scope", ["type", "device"])
def test_a_new_driver_version_is_asked_at_either_kind_of_node(scope: str) -> None:
    """The evidence is as it was, it is the snapshot that says another version."""
    name = "u1" if scope == "device" else None
    answered = verdict((*T1, name), "b")
    parts = [parent("p1", mdev_type("t1", "a"), version="1.1"), device("u1", "a", T1, version="1.1")]
    fleet = {"h1": host(*parts, verdicts=[answered]), "h2": holds(("u2", "b", False), string="b")}
    assert scope in {one["scope"] for one in probe_requests(fleet, DAY, NOW)["h1"]}


def test_the_latest_answer_counts() -> None:
    verdicts = [verdict(NODE, "b", "yes"), verdict(NODE, "b", "?busy", time="2026-11-22T10:00:00Z")]
    known = host(parent("p1", mdev_type("t1", "a")), verdicts=verdicts)
    assert "h1" not in probe_requests({"h1": known, "h2": offers("b")}, DAY, NOW)


@pytest.mark.fault("L8")
def test_broken_verdicts_are_asked_again() -> None:
    known = host(parent("p1", mdev_type("t1", "a")), verdicts=[verdict(NODE, "b")])
    known["vfio_migration_verdicts"]["verdicts"][0]["scope"] = "fleet"
    assert list(probe_requests({"h1": known, "h2": offers("b")}, DAY, NOW)) == ["h1", "h2"]


@pytest.mark.parametrize(
    ("facts", "options", "error"),
    [
        ([], {}, "hosts must be a mapping of host names to their facts, not list"),
        ({1: {}}, {}, "hosts must have strings as keys, not int"),
        ({}, {"max_age": "1"}, "max_age must be an int, not string"),
        ({}, {"max_age": True}, "max_age must be an int, not boolean"),
        ({}, {"max_age": -1}, "max_age must not be negative, not -1"),
        ({}, {"now": "now"}, "now must be a UTC time like 2026-11-22T19:04:14Z, not 'now'"),
    ],
)
def test_input_that_is_no_fleet(facts: t.Any, options: dict[str, t.Any], error: str) -> None:
    with pytest.raises(ContractError) as raised:
        probe_requests(facts, **{"max_age": DAY, "now": NOW, **options})
    assert str(raised.value) == error


@pytest.mark.fault("P12")
def test_work_grows_with_distinct_strings_not_with_pairs() -> None:
    fleet = {f"h{number:03}": offers(f"v{number % 3}") for number in range(300)}
    requests = probe_requests(fleet, DAY, NOW)
    assert sum(map(len, requests.values())) == 300 * 3
