# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shipped playbooks make on real kernels, and take back, when something is in the way."""

from __future__ import annotations

import errno
import json
import re
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.integration.kernel.site import (
    A1,
    A2,
    BOTH,
    COUNTED,
    EDU,
    EXCLUSIVE,
    HV1,
    HV2,
    SHARED,
    Site,
    later,
    soon,
    uuid,
)

OLD, NEW, OTHER = uuid(1), uuid(101), uuid(102)


@pytest.fixture
def moving(site: Site) -> Site:
    """A VM on the older host, and a plan that it moves to the newer one."""
    site.create(HV1, EDU, A1, OLD)
    site.hold(HV1, "vm", OLD)
    site.plan(site.move(OLD, A1, HV2, EDU, NEW))
    return site


def outcome(result: dict[str, t.Any]) -> tuple[str | None, list[tuple[str, str | None]]]:
    """Reason of the one workload; action and reason of each of its instances."""
    (workload,) = result["workloads"]
    return workload["reason"], [(one["action"], one["reason"]) for one in workload["instances"]]


def ledger(site: Site, host: str) -> list[str]:
    """UUIDs that the host's ledger names."""
    text = site.fleet.run(host, "cat /var/lib/vfio-migration/ledger.json 2>/dev/null || echo '{\"entries\": []}'")
    return [one["uuid"] for one in json.loads(text)["entries"]]


@pytest.mark.fault("P10")
def test_check_mode_of_every_playbook_writes_nothing(moving: Site) -> None:
    site = moving
    site.play("plan_evacuation", evacuation_drain=[HV1], evacuation_dest=str(site.folder / "made.json"))
    site.reset_counters()
    before = [site.devices(host) for host in BOTH]
    site.play("readiness", "--check")
    site.play("plan_evacuation", "--check", evacuation_drain=[HV1])
    assert "1 planned" in site.prepare("--check", "--diff")
    site.release("--check")
    site.play("release_targets", "--check", release_all=True)
    assert [site.writes(host) for host in BOTH] == [{}, {}]
    assert [site.devices(host) for host in BOTH] == before
    assert [ledger(site, host) for host in BOTH] == [[], []]


@pytest.mark.fault("C11")
def test_what_is_held_is_never_removed_and_its_holder_is_named(moving: Site) -> None:
    site = moving
    assert f"{NEW} created" in site.prepare()
    site.hold(HV2, "vm", NEW)
    pid = site.fleet.run(HV2, "busybox pidof qemu-system-hold").strip()
    site.reset_counters()
    output = site.release()
    assert "1 kept" in output
    assert "qemu-system-hold" in output
    assert pid in output
    assert site.devices(HV2) == [NEW]
    assert site.writes(HV2) == {}, "a device in use is not asked either"
    # The kernel itself has never been asked: it would say so, and block until the holder ends.
    assert "blocked until device is released" not in site.fleet.run(HV2, "dmesg")
    site.fleet.run(HV2, "busybox killall qemu-system-hold")
    assert "1 released" in site.release()
    assert site.devices(HV2) == []
    assert ledger(site, HV2) == []


@pytest.mark.fault("P9", "C18")
def test_a_device_that_refuses_what_its_type_accepted_is_rolled_back(moving: Site) -> None:
    site = moving
    site.fleet.set(HV2, f"{EDU}/rule", "lying")
    output = site.prepare(code=2)
    assert "1 failed" in output
    assert site.devices(HV2) == [], output
    assert ledger(site, HV2) == []
    counters = site.fleet.counters(HV2)
    asked = {node.level: (count.accepts, count.rejects) for node, count in counters.items()
             if (node.parent, node.name) == (EDU, A1)}  # fmt: skip
    assert asked == {"type": (1, 0), "device": (0, 1)}
    room = site.fleet.run(HV2, f"cat /sys/class/mdev_bus/{EDU}/mdev_supported_types/{A1}/available_instances")
    assert room.strip() == "4"


FULL: list[tuple[str, str, list[str], str]] = [
    # parent, type, types of instances that are there, errno of the kernel
    (SHARED, A1, [A2, A2], "ENOSPC"),
    (EXCLUSIVE, A1, [A2], "EINVAL"),
    (COUNTED, A1, [A2, A2], "EUSERS"),
]


@pytest.mark.fault("C1", "C2", "C7", "C19")
@pytest.mark.parametrize("host", BOTH)
def test_room_and_conflicts_are_told_by_the_state_and_not_by_the_errno(site: Site, host: str) -> None:
    numbers = iter(range(200, 300))
    for parent, kind, there, refusal in FULL:
        for one in there:
            site.create(host, parent, one, uuid(next(numbers)))
        node = f"/sys/class/mdev_bus/{parent}/mdev_supported_types/{kind}/create"
        script = f"import os; os.write(os.open('{node}', os.O_WRONLY), b'{NEW}')"
        done = site.fleet.try_to(host, f'python3 -c "{script}"')
        words = {"ENOSPC": "No space left", "EINVAL": "Invalid argument", "EUSERS": "Too many users"}
        assert words[refusal] in done.stderr
        result = site.mdev(host, [{"uuid": NEW, "parent": parent, "type": kind}])
        assert outcome(result) == ("no_room", [("refused", "no_room")]), (parent, refusal)
    # What is somebody else's does as it is, unless it is on another parent.
    taken = uuid(200)
    same = site.mdev(host, [{"uuid": taken, "parent": SHARED, "type": A2}])
    other = site.mdev(host, [{"uuid": taken, "parent": EDU, "type": A1}])
    assert outcome(same) == (None, [("unchanged", None)])
    assert outcome(other) == ("conflict", [("refused", "conflict")])
    assert taken in site.devices(host)
    assert taken not in ledger(site, host)


REFUSED: list[tuple[int, str, str]] = [
    # errno of the driver, although there is room; reason, and words of the sentence
    (errno.EIO, "errno", "the driver answered EIO, which it chooses freely"),
    (errno.ENOSPC, "errno", "the driver answered ENOSPC, which it chooses freely"),
    (errno.EUSERS, "errno", "the driver answered EUSERS, which it chooses freely"),
    (errno.EEXIST, "busy", "an instance of this UUID is still being removed"),
]


@pytest.mark.fault("C1", "C2", "C6", "C7")
@pytest.mark.parametrize("host", BOTH)
def test_a_create_that_the_driver_refuses_leaves_nothing(site: Site, host: str) -> None:
    """No errno is taken for a lack of room where the kernel still shows room."""
    for number, reason, words in REFUSED:
        site.fleet.set(host, f"{EDU}/create_errno", str(number))
        result = site.mdev(host, [{"uuid": NEW, "parent": EDU, "type": A1}], bind_timeout=1)
        assert outcome(result) == (reason, [("refused", reason)])
        assert words in result["workloads"][0]["msg"]
        assert not result["changed"]
        assert site.devices(host) == []
        assert ledger(site, host) == []


@pytest.mark.fault("C7", "C11")
@pytest.mark.parametrize("host", BOTH)
def test_a_uuid_whose_old_instance_cannot_end_is_busy(site: Site, host: str) -> None:
    """The kernel's own EEXIST: somebody removes what a VM holds, so it is off the bus and not gone."""
    site.create(host, EDU, A1, NEW)
    site.hold(host, "vm", NEW)
    removal = later(lambda: site.fleet.run(host, f"echo 1 >/sys/bus/mdev/devices/{NEW}/remove"))
    assert soon(lambda: site.devices(host) == [])
    result = site.mdev(host, [{"uuid": NEW, "parent": EDU, "type": A1}], bind_timeout=1)
    assert outcome(result) == ("busy", [("refused", "busy")])
    assert "an instance of this UUID is still being removed" in result["workloads"][0]["msg"]
    assert removal.is_alive()
    assert ledger(site, host) == []
    site.fleet.run(host, "busybox killall qemu-system-hold")
    removal.join(30)
    result = site.mdev(host, [{"uuid": NEW, "parent": EDU, "type": A1}])
    assert outcome(result) == (None, [("created", None)])
    assert site.devices(host) == [NEW]


@pytest.mark.fault("R18")
@pytest.mark.parametrize("host", BOTH)
def test_a_device_is_ready_only_when_its_driver_has_bound_it(site: Site, host: str) -> None:
    """udev says add long before bind; the attributes come with bind."""
    site.fleet.set(host, f"{EDU}/bind_delay_ms", "2500")
    site.fleet.run(host, "udevadm monitor --kernel --subsystem-match=mdev >/tmp/events 2>&1 & echo $! >/tmp/monitor")
    half = {}

    def look() -> None:
        script = f"until [ -e /sys/bus/mdev/devices/{NEW} ]; do :; done; ls /sys/bus/mdev/devices/{NEW}"
        half["files"] = site.fleet.run(host, script).split()

    thread = later(look)
    told = site.fleet.run(host, f"cat /sys/class/mdev_bus/{EDU}/mdev_supported_types/{A1}/migration_version").strip()
    result = site.mdev(host, [{"uuid": NEW, "parent": EDU, "type": A1, "accepts": told}], bind_timeout=10)
    thread.join(30)
    assert outcome(result) == (None, [("created", None)])
    assert "migration_version" not in half["files"], "it was seen before it was bound"
    device = result["workloads"][0]["instances"][0]["device"]
    assert device["driver"] == "mdev_lab"
    assert device["migration_version"]["value"] == told
    events = site.fleet.run(host, "kill $(cat /tmp/monitor); cat /tmp/events")
    order = [re.split(r"[] ]+", line)[1] for line in events.splitlines() if line.startswith("KERNEL[") and NEW in line]
    assert order == ["add", "bind"]
    count = next(count for node, count in site.fleet.counters(host).items() if node.name == NEW)
    assert (count.writes, count.accepts) == (1, 1)


@pytest.mark.fault("C15")
@pytest.mark.parametrize("host", BOTH)
def test_a_parent_that_registers_late_is_waited_for(site: Site, host: str) -> None:
    """After a boot its driver may still be starting; udev's event ends the wait, long before the time is over."""
    site.fleet.run(host, "rmmod mdev_lab")
    running = later(lambda: site.fleet.run(host, "sleep 12; modprobe mdev_lab"))
    start = time.monotonic()
    result = site.mdev(host, [{"uuid": NEW, "parent": EDU, "type": A1}], bind_timeout=100)
    running.join(30)
    assert outcome(result) == (None, [("created", None)])
    assert time.monotonic() - start < 60
    assert site.devices(host) == [NEW]
    gone = site.mdev(host, [], state="absent", all_ours=True)
    assert outcome(gone) == (None, [("removed", None)])
    site.fleet.run(host, "rmmod mdev_lab")
    never = site.mdev(host, [{"uuid": NEW, "parent": EDU, "type": A1}], bind_timeout=1)
    assert outcome(never) == ("no_parent", [("refused", "no_parent")])


@pytest.mark.fault("C8")
def test_a_parent_is_unplugged_while_an_instance_is_made(moving: Site) -> None:
    site = moving
    site.fleet.set(HV2, f"{EDU}/bind_delay_ms", "3000")

    def unplug() -> None:
        script = f"until [ -e /sys/bus/mdev/devices/{NEW} ]; do busybox usleep 20000; done"
        site.fleet.run(HV2, f"{script}; echo 1 >/sys/bus/pci/devices/{EDU}/remove")

    thread = later(unplug)
    output = site.prepare(code=2)
    thread.join(60)
    assert "1 failed" in output
    assert EDU not in site.fleet.run(HV2, "ls /sys/class/mdev_bus")
    assert site.devices(HV2) == []
    assert soon(lambda: not site.fleet.run(HV2, "busybox ps -o stat,comm | grep ^D || true"))
    # Back again, a new run does what is left to do.
    site.fleet.run(HV2, "echo 1 >/sys/bus/pci/rescan; udevadm settle")
    assert "1 ready" in site.prepare()
    assert site.devices(HV2) == [NEW]


@pytest.mark.fault("C8", "P7")
def test_a_driver_is_unloaded_between_planning_and_preparing(site: Site) -> None:
    site.create(HV1, EDU, A1, OLD)
    site.hold(HV1, "vm", OLD)
    plan = site.folder / "made.json"
    site.play("plan_evacuation", evacuation_drain=[HV1], evacuation_dest=str(plan))
    (move,) = json.loads(plan.read_text())["moves"]
    assert (move["name"], move["target"]) == ("vm", HV2)
    site.fleet.run(HV2, "rmmod mdev_lab")
    output = site.play("prepare_targets", code=2, targets_plan=str(plan))
    assert "1 dropped" in output
    assert "the target host has no such parent any more" in output
    assert site.devices(HV2) == []
    # Loaded in another version it is asked anew, and refuses.
    site.fleet.run(HV2, "modprobe mdev_lab version=3.9; udevadm settle")
    output = site.play("prepare_targets", code=2, targets_plan=str(plan))
    assert "1 dropped" in output
    assert "EINVAL" in output
    site.fleet.run(HV2, "rmmod mdev_lab; modprobe mdev_lab; udevadm settle")
    assert "1 ready" in site.play("prepare_targets", targets_plan=str(plan))
    assert site.devices(HV2) == [move["devices"][0]["uuid"]]


@pytest.mark.fault("C13")
def test_a_reboot_loses_what_is_transient_and_keeps_what_is_persistent(site: Site) -> None:
    """On hosts that the role bootstrap has prepared: on a stock Debian udev looks for mdevctl in the wrong place."""
    site.bootstrap()
    for host in BOTH:
        assert site.fleet.run(host, "readlink /usr/sbin/mdevctl") == "/usr/bin/mdevctl\n"
    kept, lost = uuid(103), uuid(104)
    for host in BOTH:
        persistent = [{"uuid": kept, "parent": EDU, "type": A1}, {"uuid": OTHER, "parent": SHARED, "type": A2}]
        made = site.mdev(host, persistent, persist=True)
        assert outcome(made)[0] is None, made["workloads"][0]["msg"]
        assert outcome(site.mdev(host, [{"uuid": lost, "parent": EDU, "type": A1, "workload": "vm2"}]))[0] is None
        assert site.devices(host) == sorted([kept, OTHER, lost])
    boots = {host: site.fleet.boots(host) for host in BOTH}
    ids = {host: site.fleet.run(host, "cat /proc/sys/kernel/random/boot_id") for host in BOTH}
    for host in BOTH:
        site.fleet.try_to(host, "reboot")
    for host in BOTH:
        assert soon(lambda: site.fleet.boots(host) > boots[host], 120)  # noqa: B023 - called at once
        assert site.fleet.run(host, "cat /proc/sys/kernel/random/boot_id") != ids[host]
        assert soon(lambda: site.devices(host) == sorted([kept, OTHER]))  # noqa: B023 - called at once
        defined = site.fleet.run(host, "mdevctl list --defined")
        assert kept in defined
        assert lost not in defined
        result = site.mdev(host, [], state="absent", all_ours=True)
        assert {one["action"] for vm in result["workloads"] for one in vm["instances"]} <= {"removed", "none"}
        assert site.devices(host) == []
        assert site.fleet.run(host, "mdevctl list --defined").strip() == ""


@pytest.mark.fault("C12", "P6")
def test_a_driver_that_hangs_when_the_new_device_is_asked(moving: Site) -> None:
    """Its device is not counted as ready, and the run ends in time."""
    site = moving
    site.fault(HV2, EDU, A1, "device", "hang write")
    start = time.monotonic()
    output = site.prepare(code=2)
    assert time.monotonic() - start < 120
    assert "1 failed" in output
    assert "python3" in site.fleet.run(HV2, "busybox ps -o stat,comm | grep ^D || true")
    site.fault(HV2, EDU, A1, "device", "none")
    assert soon(lambda: not site.fleet.run(HV2, "busybox ps -o stat,comm | grep ^D || true"))
    assert "1 ready" in site.prepare()
    assert site.devices(HV2) == [NEW]
