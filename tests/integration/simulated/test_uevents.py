# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pyudev hears on a namespace host when something happens there, and what udev's rules make of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.simulated import namespace
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet
from ansible_collections.vfio.migration.tests.integration.simulated.conftest import CARD, HOST, card, one_host

pytestmark = [pytest.mark.thorough, pytest.mark.over_ssh]

UUID = "aaaaaaaa-0000-4000-8000-000000000001"
FRESH = "bbbbbbbb-0000-4000-8000-000000000001"
TYPE = f"/sys/class/mdev_bus/{CARD}/mdev_supported_types/lab-A1"
CREATE, REMOVE = f"printf {FRESH} > {TYPE}/create", f"printf 1 > /sys/bus/mdev/devices/{FRESH}/remove"
CREATE_NODE = f"parents/{CARD}/types/lab-A1/create"
HELD = "find /proc/[0-9]*/fd -lname '/dev/vfio/[0-9]*' -printf '%l\\n' 2>/dev/null"
CORE_PARENT, CORE_TYPE = "mtty", "/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1"

LISTENER = """
import sys, time, pyudev
monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source=sys.argv[1])
if sys.argv[2]:
    monitor.filter_by(sys.argv[2])
monitor.start()
print("ready", flush=True)
while True:
    device = monitor.poll()
    if device is not None:  # libudev says nothing of a kernel's event that the filter drops
        print(device.action, device.subsystem, device.sys_name, device.get("MDEV_STATE") or "-", flush=True)
"""


@pytest.fixture(scope="module")
def running() -> t.Iterator[Fleet]:
    parents = {
        CARD: card(capacity={"model": "shared_units", "total": 4}),
        CORE_PARENT: {"kind": "virtual", "driver": "mtty", "capacity": {"total": 0}, "types": {"mtty-1": {}}},
    }
    with simulated_fleet(one_host(parents=parents), reach="namespace") as fleet:
        yield fleet


@pytest.fixture
def fleet(running: Fleet) -> t.Iterator[Fleet]:
    """The host, without instances at the end."""
    yield running
    running.client("fault_clear")
    running.client("set_delays", host=HOST, parent=CARD, create=0, bind=0, remove=0, udev=0)
    shell(running, f"rm -rf /etc/mdevctl.d/{CARD}; [ ! -e /sys/bus/mdev/devices/{FRESH} ] || {REMOVE}")


def shell(fleet: Fleet, command: str) -> str:
    """Output of a command on the host, with its errors."""
    done = fleet.run(HOST, "sh", "-c", command)
    return done.stdout + done.stderr


class Listener:
    """pyudev on the host, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._line()

    def _line(self) -> str:
        return (self._process.stdout.readline() if self._process.stdout is not None else "").strip()

    def hear(self, count: int) -> list[str]:
        """The next events."""
        return [self._line() for _number in range(count)]


@contextlib.contextmanager
def listener(fleet: Fleet, source: str = "udev", subsystem: str = "mdev") -> t.Iterator[Listener]:
    """Somebody who listens."""
    words = [*namespace.enter(fleet.client("host_pid", host=HOST)), sys.executable, "-W", "ignore"]
    words += ["-c", LISTENER, source, subsystem]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Listener(process)
        finally:
            process.kill()


def mdev(*actions: str, uuid: str = FRESH) -> list[str]:
    """Events of an instance."""
    return [f"{action} mdev {uuid} -" for action in actions]


@pytest.mark.parametrize("source", ["udev", "kernel"])
def test_an_instance_is_added_then_bound_then_unbound_then_removed(fleet: Fleet, source: str) -> None:
    with listener(fleet, source) as ears:
        shell(fleet, f"{CREATE}; {REMOVE}")
        assert ears.hear(4) == mdev("add", "bind", "unbind", "remove")


def test_its_group_and_character_device_come_before_bind_and_go_before_unbind(fleet: Fleet) -> None:
    with listener(fleet, subsystem="") as ears:
        shell(fleet, f"{CREATE}; {REMOVE}")
        heard = [" ".join(line.split()[:2]) for line in ears.hear(8)]
    assert heard[:4] == ["add mdev", "add vfio", "add vfio-dev", "bind mdev"]
    assert heard[4:] == ["remove vfio-dev", "remove vfio", "unbind mdev", "remove mdev"]


def test_an_event_can_be_asked_for(fleet: Fleet) -> None:
    shell(fleet, CREATE)
    with listener(fleet, "kernel", subsystem="") as ears:
        shell(fleet, f"printf add > /sys/bus/mdev/devices/{FRESH}/uevent")
        shell(fleet, f"printf change > /sys/class/mdev_bus/{CARD}/uevent")
        assert ears.hear(2) == [*mdev("add"), f"change pci {CARD} -"]


FAILURES: list[t.Any] = [
    pytest.param({"fault": "C1"}, CREATE, ["add", "remove"], id="the driver's probe fails"),
    pytest.param({"fault": "C6"}, CREATE, ["add", "bind"], id="made, but called an error"),
    pytest.param({"kind": "create_lies", "made": False}, CREATE, [], id="not made, but called done"),
    pytest.param(None, f"printf {FRESH} > {CORE_TYPE}/create", [], id="the core's counter is at zero"),
    pytest.param(None, f"printf x > {TYPE}/create", [], id="no UUID"),
]


@pytest.mark.parametrize(("fault", "command", "expected"), FAILURES)
def test_what_a_create_that_fails_says(
    fleet: Fleet, fault: dict[str, t.Any] | None, command: str, expected: list[str]
) -> None:
    if fault is not None:
        fleet.client("fault_set", host=HOST, fault={"node": CREATE_NODE, **fault})
    marker = f"printf {UUID} > {TYPE}/create; printf 1 > /sys/bus/mdev/devices/{UUID}/remove"
    with listener(fleet) as ears:
        shell(fleet, command)
        fleet.client("fault_clear")
        shell(fleet, marker)
        assert ears.hear(len(expected) + 1) == mdev(*expected) + mdev("add", uuid=UUID)


def test_a_parent_that_goes_takes_its_instances_along_first(fleet: Fleet) -> None:
    shell(fleet, CREATE)
    with listener(fleet, subsystem="") as ears:
        fleet.client("unregister", host=HOST, parent=CARD)
        fleet.client("plug", host=HOST, parent=CARD)
        fleet.client("unplug", host=HOST, parent=CARD)
        fleet.client("plug", host=HOST, parent=CARD)
        heard = ears.hear(12)
    assert heard[2:4] == mdev("unbind", "remove")
    assert heard[4:] == [
        f"change pci {CARD} unregistered",
        f"change pci {CARD} registered",
        f"change pci {CARD} unregistered",
        f"unbind pci {CARD} -",
        f"remove pci {CARD} -",
        f"add pci {CARD} -",
        f"change pci {CARD} registered",
        f"bind pci {CARD} -",
    ]


def test_a_type_that_goes_says_nothing(fleet: Fleet) -> None:
    with listener(fleet, subsystem="") as ears:
        fleet.client("remove_type", host=HOST, parent=CARD, type="lab-A2")
        shell(fleet, CREATE)
        assert ears.hear(1) == mdev("add")
    fleet.client("plug", host=HOST, parent=CARD)


def test_bind_comes_after_the_drivers_own_time_and_with_the_attributes(fleet: Fleet) -> None:
    fleet.client("set_delays", host=HOST, parent=CARD, bind=0.6)
    files = f"ls /sys/bus/mdev/devices/{FRESH}"
    with listener(fleet) as ears:
        words = [*namespace.enter(fleet.client("host_pid", host=HOST)), "sh", "-c", CREATE]
        with subprocess.Popen(words):
            assert ears.hear(1) == mdev("add")
            began = time.monotonic()
            assert shell(fleet, files).split() == ["driver", "power", "remove", "subsystem", "uevent"]
            assert ears.hear(1) == mdev("bind")
            assert time.monotonic() - began > 0.3
            assert {"driver", "iommu_group", "mdev_type", "migration_version"} <= set(shell(fleet, files).split())


def test_udev_may_be_slower_than_the_kernel(fleet: Fleet) -> None:
    fleet.client("set_delays", host=HOST, parent=CARD, udev=0.6)
    with listener(fleet) as udev, listener(fleet, "kernel") as kernel:
        shell(fleet, CREATE)
        began = time.monotonic()
        assert kernel.hear(2) == mdev("add", "bind")
        quick = time.monotonic() - began
        assert udev.hear(2) == mdev("add", "bind")
        assert quick < 0.3 < time.monotonic() - began


def test_udevs_database_knows_an_instance_while_it_is_there(fleet: Fleet) -> None:
    entry = f"ls /run/udev/data/+mdev:{FRESH}"
    with listener(fleet) as ears:
        shell(fleet, CREATE)
        ears.hear(2)
        assert shell(fleet, entry) == f"/run/udev/data/+mdev:{FRESH}\n"
        shell(fleet, REMOVE)
        ears.hear(2)
        assert "No such file" in shell(fleet, entry)


ARGUMENTS = f"-u {FRESH} -p {CARD} -t lab-A1"


def active(fleet: Fleet) -> list[str]:
    """What mdevctl lists as active."""
    found = json.loads(shell(fleet, "mdevctl list --dumpjson") or "[]")
    return [uuid for parents in found for devices in parents.values() for item in devices for uuid in item]


def test_mdevctl_defines_starts_stops_and_undefines(fleet: Fleet) -> None:
    assert shell(fleet, f"mdevctl define {ARGUMENTS}") == ""
    assert active(fleet) == []
    assert shell(fleet, f"mdevctl start -u {FRESH}") == ""
    assert active(fleet) == [FRESH]
    assert shell(fleet, f"mdevctl stop -u {FRESH}; mdevctl undefine -u {FRESH}") == ""
    assert (active(fleet), shell(fleet, "mdevctl list -d").strip()) == ([], "")


@pytest.mark.parametrize(("option", "expected"), [("--auto", [FRESH]), ("", [])])
def test_after_a_reboot_only_what_is_defined_with_auto_comes_back(
    fleet: Fleet, option: str, expected: list[str]
) -> None:
    shell(fleet, f"mdevctl define {option} {ARGUMENTS}; mdevctl start -u {FRESH}")
    fleet.client("reboot", host=HOST)
    end = time.monotonic() + 5
    while active(fleet) != [FRESH] and time.monotonic() < end - 4 * (not expected):
        time.sleep(0.05)
    assert active(fleet) == expected


def test_a_holder_moves_from_one_device_to_another(fleet: Fleet) -> None:
    shell(fleet, f"{CREATE}; printf {UUID} > {TYPE}/create")
    for uuid in (FRESH, UUID):
        fleet.client("start_workload", host=HOST, workload={"name": "vm", "devices": [uuid]})
        group = shell(fleet, f"basename $(readlink /sys/bus/mdev/devices/{uuid}/iommu_group)").strip()
        assert shell(fleet, HELD).split() == [f"/dev/vfio/{group}"]
        assert f"/{uuid}," in shell(fleet, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    shell(fleet, REMOVE)
    fleet.client("stop_workload", host=HOST, name="vm")
    assert shell(fleet, HELD) == ""
    assert fleet.client("status")[HOST]["workloads"] == []
    shell(fleet, f"printf 1 > /sys/bus/mdev/devices/{UUID}/remove")
