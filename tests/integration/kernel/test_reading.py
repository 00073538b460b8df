# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook readiness learns of two real kernels, held against what their driver counted."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.tests.integration.kernel.site import (
    A1,
    A2,
    A4,
    BOTH,
    COUNTED,
    EDU,
    EXCLUSIVE,
    HV1,
    HV2,
    SHARED,
    TESTDEV,
    Site,
    uuid,
)

Facts = dict[str, t.Any]


def types(facts: Facts) -> dict[tuple[str, str], Facts]:
    """(parent, type) -> its record."""
    parents = facts["vfio_migration"]["parents"]
    return {(parent["address"], one["id"]): one for parent in parents for one in parent["types"]}


def strings(facts: Facts) -> dict[tuple[str, str], tuple[str, str | None, str | None]]:
    """(parent, type) -> status, value and errno of its migration_version."""
    found = {}
    for key, one in types(facts).items():
        version = one["migration_version"]
        found[key] = (version["status"], version["value"], version["errno"])
    return found


@pytest.mark.fault("R19", "R21")
def test_all_parents_are_found_with_their_types_and_room(site: Site) -> None:
    site.create(HV1, SHARED, A1, uuid(1))
    site.create(HV1, EXCLUSIVE, A2, uuid(2))
    site.create(HV1, COUNTED, A1, uuid(3))
    site.play("readiness", "--check")
    for host in BOTH:
        listed = site.fleet.run(
            host,
            "cd /sys/class/mdev_bus; for d in */mdev_supported_types/*; do "
            "printf '%s %s ' ${d%%/*} ${d##*/}; cat $d/available_instances; done",
        )
        seen = {(parent, kind): int(room) for parent, kind, room in map(str.split, listed.splitlines())}
        assert len(seen) == 15
        learnt = {key: one["available_instances"] for key, one in types(site.facts(host)).items()}
        assert learnt == seen
    left = {key: one["available_instances"] for key, one in types(site.facts(HV1)).items()}
    assert [left[SHARED, kind] for kind in (A1, A2, A4)] == [3, 1, 0]
    assert [left[EXCLUSIVE, kind] for kind in (A1, A2, A4)] == [0, 1, 0]
    assert [left[COUNTED, kind] for kind in (A1, A2, A4)] == [1, 1, 1]


ANSWERS: list[tuple[str, str, str, str, str | None, str | None]] = [
    # parent, type, fault, status, value (%s: the driver's own string), errno
    (EDU, A1, "ENODEV", "unsupported", None, "ENODEV"),
    (EDU, A2, "EIO", "unsupported", None, "EIO"),
    (EDU, A4, "EAGAIN read 1", "ok", "%s", None),
    (TESTDEV, A1, "empty", "invalid", None, None),
    (TESTDEV, A2, "newline", "invalid", None, None),
    (TESTDEV, A4, "nul", "invalid", None, None),
    (SHARED, A1, "notascii", "invalid", None, None),
    (SHARED, A2, "bare", "ok", "%s", None),
    (SHARED, A4, "full", "invalid", None, None),
    (EXCLUSIVE, A1, "multiline", "ok", "%s\nsecond line", None),
    (EXCLUSIVE, A2, "none", "ok", "%s", None),
]


@pytest.mark.fault("R3", "R4", "R9", "R10", "R11", "R12")
def test_every_answer_of_a_driver(site: Site) -> None:
    own = {(parent, kind): strings_of(site, HV2, parent, kind) for parent, kind, *_rest in ANSWERS}
    for host in BOTH:
        for parent, kind, fault, *_rest in ANSWERS:
            site.fault(host, parent, kind, "type", fault)
    site.play("readiness", "--check")
    for host in BOTH:
        found = strings(site.facts(host))
        for parent, kind, fault, status, value, errno in ANSWERS:
            expected = value.replace("%s", own[parent, kind]) if value is not None else None
            if host == HV1 and expected is not None:
                expected = expected.replace("4.2", "4.1")
            assert found[parent, kind] == (status, expected, errno), (host, parent, kind, fault)


def strings_of(site: Site, host: str, parent: str, kind: str) -> str:
    node = f"/sys/class/mdev_bus/{parent}/mdev_supported_types/{kind}/migration_version"
    return site.fleet.run(host, f"cat {node}").removesuffix("\n")


@pytest.mark.fault("P4", "P8", "P10", "P12", "P13")
def test_a_driver_is_asked_once_for_each_string_and_not_at_all_in_check_mode(site: Site) -> None:
    """Two devices with one string cost one write; what differs in vendor or type is never asked."""
    for number, (host, parent, kind) in enumerate(
        [(HV1, EDU, A1), (HV1, EDU, A1), (HV1, EDU, A2), (HV1, TESTDEV, A1), (HV2, EDU, A1), (HV2, SHARED, A1)], 1
    ):
        site.create(host, parent, kind, uuid(number))
    site.reset_counters()
    site.play("readiness", "--check")
    assert [site.writes(host) for host in BOTH] == [{}, {}]
    site.play("readiness")
    for host in BOTH:
        verdicts = site.facts(host)["vfio_migration_verdicts"]["verdicts"]
        asked = {(v["parent"], v["type"], v["device"], v["string"]) for v in verdicts}
        written = site.writes(host)
        assert len(asked) == len(verdicts) == sum(written.values())
        # One driver, one version on the other host: each type node has one string to be asked about.
        assert [written[node] for node in site.fleet.counters(host) if node.level == "type"] == [1] * 15
    # The newer host takes what the older one says, and not the other way round.
    for host, answers in ((HV1, (0, 1)), (HV2, (1, 0))):
        counters = site.fleet.counters(host)
        assert {(count.accepts, count.rejects) for node, count in counters.items() if node.level == "type"} == {answers}
    # An instance is asked about the devices of its vendor, whatever their type: the newer one about two strings.
    counted = {node.name: count[1:] for host in BOTH for node, count in site.fleet.counters(host).items()
               if node.level == "instance"}  # fmt: skip
    assert counted == {
        **dict.fromkeys(map(uuid, (1, 2, 3)), (1, 0, 1)),
        **dict.fromkeys(map(uuid, (4, 6)), (0, 0, 0)),
        uuid(5): (2, 1, 1),
    }
    site.reset_counters()
    site.play("readiness")
    assert [site.writes(host) for host in BOTH] == [{}, {}], "what is known is not asked again"
