# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook readiness learns of two real kernels, held against what their driver counted."""

from __future__ import annotations

import functools
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.kernel.fleet import LAB
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
    later,
    soon,
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


@pytest.mark.fault("R8", "P6")
@pytest.mark.parametrize("op", ["read", "write"])
def test_a_hung_node_delays_nothing_else(site: Site, op: str) -> None:
    site.create(HV2, EDU, A1, uuid(1))
    site.create(HV2, TESTDEV, A1, uuid(2))
    site.fault(HV1, EDU, A1, "type", f"hang {op}")
    start = time.monotonic()
    output = site.play("readiness")
    took = time.monotonic() - start
    waiting = site.fleet.run(HV1, "busybox ps -o stat,comm | grep ^D || true")
    assert "python3" in waiting, "the reader is to be in state D, where nothing ends it"
    assert took < 60, "it waits for one deadline, not for the driver"
    found = strings(site.facts(HV1))
    good = [key for key, (status, _value, _errno) in found.items() if status == "ok"]
    assert {(parent, kind) for parent, kind in found if parent != EDU} <= set(good)
    assert (found[EDU, A1][0] == "unknown") is (op == "read")
    verdicts = site.facts(HV1)["vfio_migration_verdicts"]["verdicts"]
    assert {v["parent"]: v["verdict"] for v in verdicts}[TESTDEV] == "incompatible"
    assert "does not answer" in output or "did not answer" in output, output
    site.fault(HV1, EDU, A1, "type", "none")
    assert soon(lambda: not site.fleet.run(HV1, "busybox ps -o stat,comm | grep ^D || true"))


@pytest.mark.fault("R5", "R6")
def test_a_parent_is_unplugged_while_its_host_is_read(site: Site) -> None:
    """The one that is read next: a kernel that unplugs what is being read waits until that is over, and whether the
    next node is opened before it is gone is then a matter of luck."""
    for host in BOTH:
        site.fleet.set(host, f"{EDU}/{A1}/type/delay_ms", "4000")

    def unplug(host: str) -> None:
        script = f"until grep -q '^{EDU} {A1} type reads=1 ' {LAB}/counters; do busybox usleep 20000; done"
        site.fleet.run(host, f"{script}; echo 1 >/sys/bus/pci/devices/{TESTDEV}/remove")

    threads = [later(functools.partial(unplug, host)) for host in BOTH]
    output = site.play("readiness", "--check")
    for thread in threads:
        thread.join(60)
    assert "failed=0" in output
    for host in BOTH:
        assert TESTDEV not in site.fleet.run(host, "ls /sys/class/mdev_bus")
        facts = site.facts(host)["vfio_migration"]
        state = {parent["address"]: parent["state"] for parent in facts["parents"]}
        assert state == {TESTDEV: "gone", **dict.fromkeys((EDU, SHARED, EXCLUSIVE, COUNTED), "ok")}
        assert {parent for parent, _kind in types(site.facts(host))} == {EDU, SHARED, EXCLUSIVE, COUNTED}
        assert (f"parents/{TESTDEV}", "gone") in {(note["item"], note["reason"]) for note in facts["notes"]}
