# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shipped playbooks make on real kernels, and take back, when something is in the way."""

from __future__ import annotations

import errno
import json
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


LISTENED = "grep -qE '^[0-9a-f]+ +15 +[0-9]+ +00000002 ' /proc/net/netlink"
"""Whether a socket of NETLINK_KOBJECT_UEVENT is in the group that udevd tells what it is done with."""


@pytest.mark.fault("C15")
@pytest.mark.parametrize("host", BOTH)
def test_a_parent_that_registers_late_is_waited_for(site: Site, host: str) -> None:
    """After a boot its driver may still be starting; udev's event ends the wait, long before the time is over. Here it
    starts only when somebody listens to udev, as pyudev does."""
    site.fleet.run(host, "rmmod mdev_lab")
    load = f"until {LISTENED}; do busybox usleep 100000; done; sleep 3; modprobe mdev_lab"
    running = later(lambda: site.fleet.run(host, load))
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
