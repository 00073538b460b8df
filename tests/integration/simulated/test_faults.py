# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault that a driver can produce, as the reader or writer of a node sees it; and it ends when it is cleared.

What may hang is done by a child, never by the test itself.
"""

from __future__ import annotations

import errno
import os
import pathlib
import subprocess
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError
from ansible_collections.vfio.migration.tests.fleet.simulated.faults import PRESETS
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet
from ansible_collections.vfio.migration.tests.integration.simulated.conftest import (
    CARD,
    HOST,
    card,
    device_dir,
    one_host,
    read,
    type_dir,
    write,
)

UUID = "aaaaaaaa-0000-4000-8000-000000000001"
FRESH = "bbbbbbbb-0000-4000-8000-000000000001"
TYPE = f"parents/{CARD}/types/lab-A1"
NODE = f"{TYPE}/migration_version"
OWN = b"10de-20b5-A1-4.2"
TYPES = {"lab-A1": {"name": "A", "description": "d", "attributes": {"num_heads": "1"}}, "lab-A2": {}}


@pytest.fixture(scope="module")
def shared() -> t.Iterator[Fleet]:
    spec = one_host(parents={CARD: card(types=TYPES)}, mdevs=[{"uuid": UUID, "parent": CARD, "type": "lab-A1"}])
    with simulated_fleet(spec) as running:
        yield running


@pytest.fixture
def fleet(shared: Fleet) -> t.Iterator[Fleet]:
    yield shared
    shared.client.clear()
    shared.client("plug", host=HOST, parent=CARD)
    if not device_dir(shared, UUID).exists():
        write(type_dir(shared) / "create", UUID.encode())


def seen(action: t.Callable[[], t.Any]) -> t.Any:
    """The result, or the name of the errno."""
    try:
        return action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


READS: list[tuple[str, dict[str, t.Any], str, t.Any]] = [
    ("R2", {"fault": "R2"}, "migration_version", "ENOENT"),
    ("R3", {"fault": "R3"}, "migration_version", "ENODEV"),
    ("R3 other", {"kind": "errno", "errno": "EIO"}, "migration_version", "EIO"),
    ("R4", {"fault": "R4"}, "migration_version", "EAGAIN"),
    ("R5", {"fault": "R5"}, "migration_version", "ENOENT"),
    ("R6", {"fault": "R6"}, "migration_version", "ENODEV"),
    ("R7", {"fault": "R7"}, "migration_version", "ENODEV"),
    ("R9", {"fault": "R9"}, "migration_version", b"x" * 4095),
    ("R10", {"fault": "R10"}, "migration_version", b"\n"),
    ("R10 nothing", {"kind": "value", "value": ""}, "migration_version", b""),
    ("R11", {"fault": "R11"}, "migration_version", b"\xff\xfe\xc3\x28\x00\x01\n"),
    ("R12", {"fault": "R12"}, "migration_version", b" two\nlines \n"),
    ("R13", {"fault": "R13"}, "migration_version", b"{{ 1+1 }}\n"),
    ("R14", {"fault": "R14"}, "migration_version", "EACCES"),
    ("R15", {"fault": "R15"}, "available_instances", b"many\n"),
    ("R16", {"fault": "R16"}, "description", b"a line\n" * 500),
    ("R16 no name", {"kind": "absent"}, "name", "ENOENT"),
]


@pytest.mark.parametrize(("fault", "name", "expected"), [row[1:] for row in READS], ids=[row[0] for row in READS])
def test_reading(fleet: Fleet, fault: dict[str, t.Any], name: str, expected: t.Any) -> None:
    fleet.client.fault(HOST, f"{TYPE}/{name}", **fault)
    assert seen(lambda: read(type_dir(fleet) / name)) == expected


WRITES: list[tuple[str, dict[str, t.Any], str, bytes, t.Any]] = [
    ("P1", {"fault": "P1"}, "migration_version", OWN, "EINVAL"),
    ("P1 vendor errno", {"kind": "errno", "op": "write", "errno": "EXDEV"}, "migration_version", OWN, "EXDEV"),
    ("P2", {"fault": "P2"}, "migration_version", OWN, "EROFS"),
    ("P3", {"fault": "P3"}, "migration_version", OWN, 8),
    ("C1", {"fault": "C1"}, "create", FRESH.encode(), "ENOSPC"),
    ("C8", {"fault": "C8"}, "create", FRESH.encode(), "ENODEV"),
]


@pytest.mark.parametrize(
    ("fault", "name", "data", "expected"), [row[1:] for row in WRITES], ids=[row[0] for row in WRITES]
)
def test_writing(fleet: Fleet, fault: dict[str, t.Any], name: str, data: bytes, expected: t.Any) -> None:
    fleet.client.fault(HOST, f"{TYPE}/{name}", **fault)
    assert seen(lambda: write(type_dir(fleet) / name, data)) == expected


def test_listed_but_gone_and_not_listed_differ(fleet: Fleet) -> None:
    fleet.client.fault(HOST, NODE, fault="R5")
    assert "migration_version" in os.listdir(type_dir(fleet))
    fleet.client.clear()
    fleet.client.fault(HOST, NODE, fault="R2")
    assert "migration_version" not in os.listdir(type_dir(fleet))


def test_a_parent_unplugged_by_a_read_takes_its_devices_along(fleet: Fleet) -> None:
    fleet.client.fault(HOST, NODE, fault="R6")
    assert seen(lambda: read(type_dir(fleet) / "migration_version")) == "ENODEV"
    assert not type_dir(fleet).exists()
    assert not device_dir(fleet, UUID).exists()


def test_only_the_type_goes_when_the_mode_changes(fleet: Fleet) -> None:
    fleet.client.fault(HOST, NODE, fault="R7")
    assert seen(lambda: read(type_dir(fleet) / "migration_version")) == "ENODEV"
    assert not type_dir(fleet).exists()
    assert type_dir(fleet, "lab-A2").exists()


def test_a_half_created_device_lacks_its_type_for_a_while(fleet: Fleet) -> None:
    fleet.client.fault(HOST, f"devices/{UUID}/mdev_type", fault="R18", times=2)
    link = device_dir(fleet, UUID) / "mdev_type"
    assert [seen(lambda: os.readlink(link)) for _time in range(3)][-1] == "../mdev_supported_types/lab-A1"
    assert fleet.client("faults", host=HOST)[0]["kind"] == "absent"


def test_times_and_after_bound_a_fault(fleet: Fleet) -> None:
    fleet.client.fault(HOST, NODE, kind="errno", op="read", errno="EBUSY", after=1, times=2)
    path = type_dir(fleet) / "migration_version"
    assert [seen(lambda: read(path)) for _time in range(4)] == [OWN + b"\n", "EBUSY", "EBUSY", OWN + b"\n"]


def test_remove_may_say_eagain_twice(fleet: Fleet) -> None:
    fleet.client.fault(HOST, f"devices/{UUID}/remove", fault="C12")
    path = device_dir(fleet, UUID) / "remove"
    assert [seen(lambda: write(path, b"1")) for _time in range(3)] == ["EAGAIN", "EAGAIN", 1]


def test_an_attribute_write_may_fail_after_create(fleet: Fleet) -> None:
    fleet.client.fault(HOST, "devices/*/num_heads", fault="C5")
    assert seen(lambda: write(device_dir(fleet, UUID) / "num_heads", b"4")) == "EINVAL"
    fleet.client.clear()
    assert write(device_dir(fleet, UUID) / "num_heads", b"4\n") == 2
    assert read(device_dir(fleet, UUID) / "num_heads") == b"4\n"


@pytest.mark.parametrize(("made", "answer"), [(True, "EIO"), (False, 36)])
def test_create_may_lie_both_ways(fleet: Fleet, made: bool, answer: t.Any) -> None:
    fleet.client.fault(HOST, f"{TYPE}/create", fault="C6", made=made)
    assert seen(lambda: write(type_dir(fleet) / "create", FRESH.encode())) == answer
    assert device_dir(fleet, FRESH).exists() is made
    if made:
        write(device_dir(fleet, FRESH) / "remove", b"1")


def test_slow_is_slow(fleet: Fleet) -> None:
    fleet.client.fault(HOST, NODE, kind="slow", op="read", seconds=0.3)
    start = time.monotonic()
    assert read(type_dir(fleet) / "migration_version") == OWN + b"\n"
    assert time.monotonic() - start >= 0.3


def state(pid: int) -> str:
    """The letter of ps, or an empty text."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def until(condition: t.Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait for something that is about to happen."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


HANGS = {
    "R8": (NODE, "cat {path}"),
    "P6": (NODE, "printf x > {path}"),
    "R8 location 2": (f"devices/{UUID}/migration_version", "cat {path}"),
    "create": (f"{TYPE}/create", f"printf {FRESH} > {{path}}"),
}


@pytest.mark.parametrize(("node", "command"), HANGS.values(), ids=HANGS)
def test_a_hung_access_survives_sigkill_until_it_is_released(fleet: Fleet, node: str, command: str) -> None:
    name = node.rsplit("/", 1)[1]
    path = (device_dir(fleet, UUID) if node.startswith("devices") else type_dir(fleet)) / name
    number = fleet.client.fault(HOST, node, kind="hang", times=1)
    child = subprocess.Popen(["sh", "-c", "exec " + command.format(path=path)], stdout=subprocess.PIPE)
    assert until(lambda: fleet.client("faults", host=HOST)[0]["stuck"] == 1)
    child.kill()
    assert until(lambda: state(child.pid) == "D")
    time.sleep(0.1)
    assert child.poll() is None
    assert read(type_dir(fleet, "lab-A2") / "migration_version")  # the others go on
    fleet.client("fault_clear", host=HOST, id=number)
    assert until(lambda: child.poll() is not None)
    if child.stdout is not None:
        child.stdout.close()
    if node.endswith("create"):
        assert until(lambda: device_dir(fleet, FRESH).exists())
        write(device_dir(fleet, FRESH) / "remove", b"1")


def test_many_hung_readers_do_not_stop_the_fleet(fleet: Fleet) -> None:
    fleet.client.fault(HOST, NODE, fault="R8")
    path = type_dir(fleet) / "migration_version"
    children = [subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL) for _time in range(40)]
    assert until(lambda: fleet.client("faults", host=HOST)[0]["stuck"] == 40)
    assert read(type_dir(fleet, "lab-A2") / "migration_version")
    fleet.client.clear()
    assert [child.wait(10) for child in children] == [0] * 40


def test_a_parent_that_registers_late(run_fleet: t.Callable[..., Fleet]) -> None:
    fleet = run_fleet(one_host(parents={CARD: card(registered=False)}))
    assert not type_dir(fleet).exists()
    assert (fleet.host(HOST).sysfs_root / "bus/pci/devices" / CARD).exists()
    fleet.client("plug", host=HOST, parent=CARD)
    assert read(type_dir(fleet) / "migration_version") == OWN + b"\n"


def test_a_reboot_takes_instances_and_holders_and_gives_a_new_boot_id(run_fleet: t.Callable[..., Fleet]) -> None:
    fleet = run_fleet("small")
    proc = fleet.host("hv1").proc_root
    before = read(proc / "sys/kernel/random/boot_id")
    fleet.client("set_driver", host="hv1", driver="nvidia", version="551.0")
    answer = fleet.client("reboot", host="hv1")
    after = read(proc / "sys/kernel/random/boot_id")
    assert after != before
    assert after.decode().strip() == answer
    assert os.listdir(fleet.host("hv1").sysfs_root / "bus/mdev/devices") == []
    assert [name for name in os.listdir(proc) if name.isdigit()] == ["1"]
    assert read(fleet.host("hv1").sysfs_root / "module/nvidia/version") == b"551.0\n"
    assert read(type_dir(fleet, "nvidia-35", host="hv1") / "migration_version") == b"10de-20b5-35-551.0\n"
    assert read(type_dir(fleet, "nvidia-35", host="hv1") / "available_instances") == b"8\n"


def test_every_shorthand_can_be_set(fleet: Fleet) -> None:
    for name in PRESETS:
        assert fleet.client.fault(HOST, "parents/none", fault=name) > 0
    assert fleet.client("fault_clear", host=HOST) == len(PRESETS)


BAD: list[tuple[dict[str, t.Any], str]] = [
    ({"do": "fly"}, "'fly' is not a command"),
    ({"do": "unplug", "host": "h9", "parent": CARD}, "there is no host 'h9'"),
    ({"do": "unplug", "host": HOST, "parent": "x"}, "h1 has no parent x; it has 0000:3b:00.0"),
    ({"do": "stop_workload", "host": HOST, "name": "x"}, "h1 has no workload 'x'"),
    ({"do": "fault_set", "host": HOST, "fault": {"kind": "hang"}}, "fault.node: is missing"),
    ({"do": "unplug"}, "unplug:"),
    ({"do": "_host"}, "'_host' is not a command"),
]


@pytest.mark.parametrize(("request_", "expected"), BAD)
def test_the_control_channel_says_what_is_wrong(fleet: Fleet, request_: dict[str, t.Any], expected: str) -> None:
    with pytest.raises(FleetError) as caught:
        fleet.client(**request_)
    assert expected in str(caught.value)
