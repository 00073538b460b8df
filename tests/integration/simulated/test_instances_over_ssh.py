# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module mdev over SSH: the real mdevctl, udev's events, real processes that hold devices, and reboots."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet
from ansible_collections.vfio.migration.tests.integration.simulated.conftest import CARD, HOST, card, one_host

pytestmark = [pytest.mark.thorough, pytest.mark.over_ssh]

TREE = pathlib.Path(__file__).parents[3] / ".cache" / "tree"
TYPE = "lab-A1"
OURS = [f"11111111-0000-4000-8000-{number:012d}" for number in range(1, 4)]
FOREIGN = "ffffffff-0000-4000-8000-000000000001"
ACCEPTED = "10de-20b5-A1-4.2"

WAITER = """
import sys, time
from ansible_collections.vfio.migration.plugins.module_utils import _mdevs, _udev
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard
from ansible_collections.vfio.migration.plugins.module_utils._sysfs import Sysfs
begin, looks = time.monotonic(), []
with Guard(_mdevs.HANDLERS, 2.0, 20.0) as guard:
    sysfs = Sysfs("/sys", guard)
    _udev._EVENT_SLICE = 5.0
    def look():
        looks.append(sysfs.exists([("host", sys.argv[1])])[0].state == "done")
        print("looked", flush=True)
        return looks[-1]
    print(_udev.wait_until(look, 10.0, "/sys", guard), len(looks), round(time.monotonic() - begin, 2), flush=True)
"""


@pytest.fixture(scope="module")
def running() -> t.Iterator[Fleet]:
    types = {TYPE: {"attributes": {"first": "0"}}}
    scenario = one_host(
        parents={CARD: card(types=types, capacity={"model": "shared_units", "total": 8})},
        mdevs=[{"uuid": FOREIGN, "parent": CARD, "type": TYPE}],
    )
    with simulated_fleet(scenario, reach="namespace") as fleet:
        yield fleet


@pytest.fixture
def fleet(running: Fleet) -> t.Iterator[Fleet]:
    yield running
    running.client("fault_clear")
    for name in running.client("status")[HOST]["workloads"]:
        running.client("stop_workload", host=HOST, name=name)
    shell(running, "rm -rf /etc/mdevctl.d/*:* /var/lib/vfio-migration")
    for uuid in OURS:
        shell(running, f"[ ! -e /sys/bus/mdev/devices/{uuid} ] || echo 1 > /sys/bus/mdev/devices/{uuid}/remove")


def shell(fleet: Fleet, command: str) -> str:
    done = fleet.run(HOST, "sh", "-c", command)
    return done.stdout + done.stderr


def there(fleet: Fleet) -> set[str]:
    return set(shell(fleet, "ls /sys/bus/mdev/devices").split()) - {FOREIGN}


def mdev(fleet: Fleet, **params: t.Any) -> dict[str, t.Any]:
    """Run the module on the host; what it returned."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(TREE),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
    }
    words = [sys.executable, "-m", "ansible", "adhoc", HOST, "-i", str(fleet.inventory), "-m", "vfio.migration.mdev"]
    done = subprocess.run(
        [*words, "-a", json.dumps(params)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    _before, found, answer = done.stdout.partition(f"{HOST} | ")
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return t.cast("dict[str, t.Any]", json.loads(answer.partition(" => ")[2]))


def wishes(*numbers: int, **keys: t.Any) -> list[dict[str, t.Any]]:
    return [
        {"uuid": OURS[number], "parent": CARD, "type": TYPE, "workload": "vm1", "accepts": ACCEPTED, **keys}
        for number in numbers
    ]


def actions(result: dict[str, t.Any]) -> list[tuple[str, str | None]]:
    return [(item["action"], item["reason"]) for one in result["workloads"] for item in one["instances"]]


def test_made_and_taken_back_over_ssh(fleet: Fleet) -> None:
    made = mdev(fleet, plan="p1", instances=wishes(0, 1))
    assert (made["changed"], actions(made), there(fleet)) == (True, [("created", None)] * 2, set(OURS[:2]))
    assert not mdev(fleet, plan="p1", instances=wishes(0, 1))["changed"]
    back = mdev(fleet, plan="p1", state="absent")
    assert (actions(back), there(fleet)) == ([("removed", None)] * 2, set())


@pytest.mark.fault("C13")
def test_what_is_persisted_comes_back_after_a_reboot_with_its_attributes_and_goes_for_good(fleet: Fleet) -> None:
    attributes = [{"name": "first", "value": "7"}]
    made = mdev(fleet, plan="p1", instances=wishes(0, attributes=attributes), persist=True)
    assert actions(made) == [("created", None)]
    assert [entry["persist"] for entry in made["ledger"]] == [True]
    assert not mdev(fleet, plan="p1", instances=wishes(0, attributes=attributes), persist=True)["changed"]
    fleet.client("reboot", host=HOST)
    end = time.monotonic() + 10
    while OURS[0] not in there(fleet) and time.monotonic() < end:
        time.sleep(0.05)
    assert shell(fleet, f"cat /sys/bus/mdev/devices/{OURS[0]}/first") == "7\n"
    again = mdev(fleet, plan="p1", instances=wishes(0, attributes=attributes), persist=True)
    assert actions(again) == [("unchanged", None)]
    back = mdev(fleet, plan="p1", state="absent")
    assert (actions(back), there(fleet)) == ([("removed", None)], set())
    assert shell(fleet, "mdevctl list --defined --dumpjson").strip() == "[]"


@pytest.mark.fault("C13")
def test_persisting_what_was_made_without_it(fleet: Fleet) -> None:
    mdev(fleet, plan="p1", instances=wishes(0))
    assert actions(mdev(fleet, plan="p1", instances=wishes(0), persist=True)) == [("unchanged", None)]
    assert OURS[0] in shell(fleet, "mdevctl list --defined")
    assert not mdev(fleet, plan="p1", instances=wishes(0), persist=True)["changed"]
    mdev(fleet, plan="p1", state="absent")
    assert shell(fleet, "mdevctl list --defined").strip() == ""


@pytest.mark.fault("C13", "C19")
def test_definition_of_somebody_else_stays(fleet: Fleet) -> None:
    shell(fleet, f"mdevctl define -u {OURS[0]} -p {CARD} -t {TYPE} --auto")
    assert actions(mdev(fleet, plan="p1", instances=wishes(0), persist=True)) == [("created", None)]
    mdev(fleet, plan="p1", state="absent")
    assert OURS[0] in shell(fleet, "mdevctl list --defined")


SEVEN, EIGHT = ([{"name": "first", "value": value}] for value in "78")


def defined(fleet: Fleet) -> dict[str, t.Any]:
    """What mdevctl has by parent and UUID: type, start and attributes."""
    listing = json.loads(shell(fleet, "mdevctl list --defined --dumpjson"))
    return {
        f"{parent} {uuid}": (device["mdev_type"], device["start"], device.get("attrs", []))
        for group in listing
        for parent, devices in group.items()
        for one in devices
        for uuid, device in one.items()
    }


@pytest.mark.fault("C13")
def test_other_attributes_make_the_instance_and_its_definition_anew(fleet: Fleet) -> None:
    mdev(fleet, plan="p1", instances=wishes(0, attributes=SEVEN), persist=True)
    assert defined(fleet) == {f"{CARD} {OURS[0]}": (TYPE, "auto", [{"first": "7"}])}
    again = mdev(fleet, plan="p1", instances=wishes(0, attributes=EIGHT), persist=True)
    assert (again["changed"], actions(again)) == (True, [("replaced", None)])
    assert defined(fleet) == {f"{CARD} {OURS[0]}": (TYPE, "auto", [{"first": "8"}])}
    assert shell(fleet, f"cat /sys/bus/mdev/devices/{OURS[0]}/first") == "8\n"
    assert not mdev(fleet, plan="p1", instances=wishes(0, attributes=EIGHT), persist=True)["changed"]
    mdev(fleet, plan="p1", state="absent")
    assert (defined(fleet), there(fleet)) == ({}, set())


@pytest.mark.fault("C13", "C19")
@pytest.mark.parametrize(
    ("words", "reason", "message"),
    [
        (f"-p {CARD} -t {TYPE}", "defined_differently", "with start: manual"),
        (f"-p {CARD} -t {TYPE} --auto; mdevctl modify -u {OURS[0]} --addattr=first --value=9",
         "defined_differently", "with other attributes: first=9"),
        (f"-p {CARD} -t lab-A2 --auto", "conflict", f"as lab-A2 on {CARD}"),
        (f"-p 0000:99:00.0 -t {TYPE} --auto", "conflict", f"as {TYPE} on 0000:99:00.0"),
    ],
)  # fmt: skip
def test_what_mdevctl_would_bring_back_otherwise_is_refused_and_stays(
    fleet: Fleet, words: str, reason: str, message: str
) -> None:
    shell(fleet, f"mdevctl define -u {OURS[0]} {words}")
    before = defined(fleet)
    assert before
    found = mdev(fleet, plan="p1", instances=wishes(0), persist=True, fail_on_error=False)
    assert [one["reason"] for one in found["workloads"]] == [reason]
    assert message in found["workloads"][0]["msg"]
    assert (there(fleet), defined(fleet)) == (set(), before)


@pytest.mark.fault("C13")
def test_what_somebody_defined_is_not_taken(fleet: Fleet) -> None:
    theirs = OURS[2]
    # The foreign one of the scenario does not outlive the reboot of another test.
    shell(fleet, f"[ ! -e /sys/bus/mdev/devices/{FOREIGN} ] || echo 1 > /sys/bus/mdev/devices/{FOREIGN}/remove")
    shell(fleet, f"echo {theirs} > /sys/class/mdev_bus/{CARD}/mdev_supported_types/{TYPE}/create")
    shell(fleet, f"mdevctl define -u {theirs} -p {CARD} -t {TYPE}")
    assert actions(mdev(fleet, plan="p1", instances=wishes(0), reuse=True)) == [("created", None)]
    mdev(fleet, plan="p1", state="absent")
    shell(fleet, f"mdevctl undefine -u {theirs}")
    made = mdev(fleet, plan="p1", instances=wishes(0), reuse=True)
    assert [item["uuid"] for item in made["workloads"][0]["instances"]] == [theirs]
    assert actions(made) == [("reused", None)]


@pytest.mark.fault("C5", "C13")
def test_what_mdevctl_refuses_is_undone(fleet: Fleet) -> None:
    shell(fleet, f"rm -rf /etc/mdevctl.d/{CARD}; touch /etc/mdevctl.d/{CARD}")
    found = mdev(fleet, plan="p1", instances=wishes(0), persist=True, fail_on_error=False)
    assert [one["reason"] for one in found["workloads"]] == ["mdevctl"]
    assert "cannot be made to survive a reboot: mdevctl define failed" in found["workloads"][0]["msg"]
    assert (there(fleet), found["ledger"]) == (set(), [])


@pytest.mark.fault("C11")
def test_real_process_that_holds_a_device_is_named(fleet: Fleet) -> None:
    mdev(fleet, plan="p1", instances=wishes(0))
    fleet.client("start_workload", host=HOST, workload={"name": "web", "devices": [OURS[0]]})
    found = mdev(fleet, plan="p1", state="absent")
    assert actions(found) == [("refused", "in_use")]
    assert "is held by /usr/bin/qemu-system-x86_64" in found["msg"]
    fleet.client("stop_workload", host=HOST, name="web")
    assert actions(mdev(fleet, plan="p1", state="absent")) == [("removed", None)]


def test_event_of_udev_ends_the_wait(fleet: Fleet) -> None:
    """With so rare a look in between, only the event can have ended it."""
    command = f"PYTHONPATH={TREE} {sys.executable} -c '{WAITER}' bus/mdev/devices/{OURS[2]}/driver > /run/waited 2>&1 &"
    shell(fleet, command)
    end = time.monotonic() + 10
    while shell(fleet, "cat /run/waited").count("looked") < 2 and time.monotonic() < end:
        time.sleep(0.05)
    shell(fleet, f"echo {OURS[2]} > /sys/class/mdev_bus/{CARD}/mdev_supported_types/{TYPE}/create")
    end = time.monotonic() + 10
    while "True" not in shell(fleet, "cat /run/waited") and time.monotonic() < end:
        time.sleep(0.05)
    verdict, looks, seconds = shell(fleet, "tail -n 1 /run/waited").split()
    assert verdict == "True"
    assert int(looks) <= 4, "one look before listening, one after, then one an event"
    assert float(seconds) < 5.0


@pytest.mark.fault("C15")
def test_parent_that_registers_while_it_is_waited_for(fleet: Fleet) -> None:
    fleet.client("unregister", host=HOST, parent=CARD)
    timer = threading.Timer(4, fleet.client, ("plug",), {"host": HOST, "parent": CARD})
    timer.start()
    found = mdev(fleet, plan="p1", instances=wishes(0), bind_timeout=20)
    timer.join()
    assert actions(found) == [("created", None)]
