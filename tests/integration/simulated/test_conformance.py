# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated sysfs against the table of what a kernel does: reads, writes, creates, removes, with their errnos."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
import time
import typing as t

import pytest

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
HELD = "aaaaaaaa-0000-4000-8000-000000000002"
FRESH = "bbbbbbbb-0000-4000-8000-%012d"
VF = "0000:5e:00.1"

SCENARIO = one_host(
    parents={
        CARD: card(numa_node=1, capacity={"model": "shared_units", "total": 64}),
        "0.0.0313": {"kind": "ccw", "driver": "vfio_ccw", "types": {"vfio_ccw-io": {"device_api": "vfio-ccw"}}},
        "matrix": {"kind": "ap", "driver": "vfio_ap", "types": {"vfio_ap-passthrough": {"device_api": "vfio-ap"}}},
        "mtty": {"kind": "virtual", "driver": "mtty", "types": {"mtty-1": {"migration_version": []}}},
    },
    mdevs=[{"uuid": UUID, "parent": CARD, "type": "lab-A1"}, {"uuid": HELD, "parent": CARD, "type": "lab-A2"}],
    vfs={
        VF: {"driver": "mlx5_vfio_pci", "driver_version": "24.1", "vendor": "15b3", "device": "101e", "rule": "exact"},
        "0000:5e:00.2": {"driver": "vfio-pci", "vendor": "15b3", "device": "101e"},
    },
    workloads=[
        {"name": "vm1", "uuid": "cccccccc-0000-4000-8000-000000000001", "pid": 4242, "devices": [HELD]},
        {"name": "vm2", "pid": 4343, "style": "json", "handle": "cdev", "devices": [VF]},
    ],
    links={"devices/virtual/loop": "../virtual"},
)


@pytest.fixture(scope="module")
def fleet() -> t.Iterator[Fleet]:
    with simulated_fleet(SCENARIO) as running:
        yield running


def put(fleet: Fleet, path: str, data: bytes) -> t.Any:
    """Count written, or name of the errno."""
    try:
        return write(fleet.host(HOST).sysfs_root / path, data)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


TYPE = f"class/mdev_bus/{CARD}/mdev_supported_types/lab-A1"
READS: list[tuple[str, bytes]] = [
    (f"{TYPE}/name", b"A-1Q\n"),
    (f"{TYPE}/description", b"one\ntwo\n"),
    (f"{TYPE}/device_api", b"vfio-pci\n"),
    (f"{TYPE}/migration_version", b"10de-20b5-A1-4.2\n"),
    (f"bus/mdev/devices/{UUID}/migration_version", b"10de-20b5-A1-4.2\n"),
    (f"bus/mdev/devices/{UUID}/uevent", b"DRIVER=lab\n"),
    (f"bus/pci/devices/{VF}/migration_version", b"15b3-101e-vf-24.1\n"),
    (f"bus/pci/devices/{CARD}/vendor", b"0x10de\n"),
    (f"bus/pci/devices/{CARD}/device", b"0x20b5\n"),
    (f"bus/pci/devices/{CARD}/class", b"0x030000\n"),
    (f"bus/pci/devices/{CARD}/numa_node", b"1\n"),
    ("module/lab/version", b"4.2\n"),
    ("class/mdev_bus/matrix/mdev_supported_types/vfio_ap-passthrough/device_api", b"vfio-ap\n"),
    ("class/mdev_bus/0.0.0313/mdev_supported_types/vfio_ccw-io/device_api", b"vfio-ccw\n"),
]


@pytest.mark.parametrize(("path", "expected"), READS)
def test_reads(fleet: Fleet, path: str, expected: bytes) -> None:
    assert read(fleet.host(HOST).sysfs_root / path) == expected


REAL_PATHS: list[tuple[str, str]] = [
    (f"class/mdev_bus/{CARD}", f"devices/pci0000:3b/{CARD}"),
    (f"bus/pci/devices/{CARD}", f"devices/pci0000:3b/{CARD}"),
    (f"bus/pci/drivers/lab/{CARD}", f"devices/pci0000:3b/{CARD}"),
    ("bus/pci/drivers/lab/module", "module/lab"),
    ("module/lab/drivers/pci:lab", "bus/pci/drivers/lab"),
    ("module/mlx5_vfio_pci/drivers/pci:mlx5_vfio_pci", "bus/pci/drivers/mlx5_vfio_pci"),
    ("bus/pci/drivers/vfio-pci/module", "module/vfio_pci"),
    (f"devices/pci0000:3b/{CARD}/driver", "bus/pci/drivers/lab"),
    (f"devices/pci0000:3b/{CARD}/subsystem", "bus/pci"),
    ("class/mdev_bus/0.0.0313", "devices/css0/0.0.0313"),
    ("devices/css0/0.0.0313/subsystem", "bus/css"),
    ("devices/css0/0.0.0313/driver", "bus/css/drivers/vfio_ccw"),
    ("class/mdev_bus/matrix", "devices/vfio_ap/matrix"),
    ("devices/vfio_ap/matrix/subsystem", "bus/matrix"),
    ("class/mdev_bus/mtty", "devices/virtual/mtty/mtty"),
    ("class/mtty/mtty", "devices/virtual/mtty/mtty"),
    ("devices/virtual/mtty/mtty/subsystem", "class/mtty"),
    (f"bus/mdev/devices/{UUID}", f"devices/pci0000:3b/{CARD}/{UUID}"),
    (f"{TYPE}/devices/{UUID}", f"devices/pci0000:3b/{CARD}/{UUID}"),
    (f"bus/mdev/devices/{UUID}/mdev_type", f"devices/pci0000:3b/{CARD}/mdev_supported_types/lab-A1"),
    (f"bus/mdev/devices/{UUID}/driver", "bus/mdev/drivers/lab"),
    (f"bus/mdev/devices/{UUID}/subsystem", "bus/mdev"),
    (f"bus/mdev/drivers/lab/{UUID}", f"devices/pci0000:3b/{CARD}/{UUID}"),
    ("bus/mdev/drivers/lab/module", "module/lab"),
    (f"bus/mdev/devices/{UUID}/iommu_group", "kernel/iommu_groups/14"),
    (f"kernel/iommu_groups/14/devices/{UUID}", f"devices/pci0000:3b/{CARD}/{UUID}"),
    ("class/vfio-dev/vfio3", f"devices/pci0000:3b/{CARD}/{UUID}/vfio-dev/vfio3"),
    ("class/vfio-dev/vfio3/device", f"devices/pci0000:3b/{CARD}/{UUID}"),
    ("class/vfio-dev/vfio3/subsystem", "class/vfio-dev"),
    (f"bus/pci/devices/{VF}/iommu_group", "kernel/iommu_groups/11"),
    ("devices/virtual/loop/loop/mtty", "devices/virtual/mtty"),
]


@pytest.mark.parametrize(("path", "expected"), REAL_PATHS)
def test_links_lead_where_a_kernel_leads(fleet: Fleet, path: str, expected: str) -> None:
    if path == f"kernel/iommu_groups/14/devices/{UUID}" or path.endswith(f"{UUID}/iommu_group"):
        group = os.path.basename(os.path.realpath(device_dir(fleet, UUID) / "iommu_group"))
        path, expected = path.replace("/14", f"/{group}"), expected.replace("/14", f"/{group}")
    if "vfio3" in path:
        cdev = os.listdir(device_dir(fleet, UUID) / "vfio-dev")[0]
        path, expected = path.replace("vfio3", cdev), expected.replace("vfio3", cdev)
    root = fleet.host(HOST).sysfs_root
    assert os.path.exists(root / path)
    assert os.path.realpath(root / path) == str(root / expected)


def test_no_link_of_the_tree_dangles(fleet: Fleet) -> None:
    root = fleet.host(HOST).sysfs_root
    links = [os.path.join(top, name) for top, dirs, files in os.walk(root) for name in dirs + files]
    broken = [path for path in links if os.path.islink(path) and not os.path.exists(path)]
    assert links
    assert broken == []


MODES: list[tuple[str, int]] = [
    (f"{TYPE}/create", 0o200),
    (f"{TYPE}/available_instances", 0o444),
    (f"{TYPE}/migration_version", 0o644),
    (f"bus/mdev/devices/{UUID}/remove", 0o200),
    (f"bus/mdev/devices/{UUID}/migration_version", 0o644),
    (f"bus/pci/devices/{VF}/migration_version", 0o644),
    (f"bus/pci/devices/{CARD}/vendor", 0o444),
]


@pytest.mark.parametrize(("path", "mode"), MODES)
def test_modes_and_sizes(fleet: Fleet, path: str, mode: int) -> None:
    found = os.stat(fleet.host(HOST).sysfs_root / path)
    assert (stat.S_IMODE(found.st_mode), found.st_size, found.st_uid) == (mode, 4096, os.geteuid())


ABSENT = [
    "bus/pci/devices/0000:5e:00.2/migration_version",
    "class/mdev_bus/mtty/mdev_supported_types/mtty-1/migration_version",
    "class/mdev_bus/mtty/mdev_supported_types/mtty-1/name",
    "class/mdev_bus/0000:3B:00.0",
    "devices/virtual/mtty/mtty/driver",
    "bus/mdev/devices/" + FRESH % 999,
]


@pytest.mark.parametrize("path", ABSENT)
def test_what_is_absent_is_enoent(fleet: Fleet, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        read(fleet.host(HOST).sysfs_root / path)


CREATES: list[tuple[str, bytes, t.Any]] = [
    ("plain", (FRESH % 1).encode(), 36),
    ("with a newline", (FRESH % 2).encode() + b"\n", 37),
    ("any 37th byte, as the kernel", (FRESH % 3).encode() + b"x", 37),
    ("upper case", (FRESH % 4).upper().encode(), 36),
    ("not RFC 4122", b"00000100-0000-0000-0000-000000000007", 36),
    ("taken, same type", UUID.encode(), "EEXIST"),
    ("taken, other type", HELD.encode(), "EEXIST"),
    ("braces", b"{" + (FRESH % 5).encode() + b"}", "EINVAL"),
    ("too short", b"bbbbbbbb", "EINVAL"),
    ("no hex", b"gggggggg-0000-4000-8000-000000000001", "EINVAL"),
    ("two newlines", (FRESH % 6).encode() + b"\n\n", "EINVAL"),
]


@pytest.mark.parametrize(("data", "expected"), [row[1:] for row in CREATES], ids=[row[0] for row in CREATES])
def test_create(fleet: Fleet, data: bytes, expected: t.Any) -> None:
    before = set(os.listdir(fleet.host(HOST).sysfs_root / "bus/mdev/devices"))
    assert put(fleet, f"{TYPE}/create", data) == expected
    after = set(os.listdir(fleet.host(HOST).sysfs_root / "bus/mdev/devices"))
    made = {data[:36].decode().lower()} if isinstance(expected, int) else set()
    assert after - before == made
    for uuid in made:
        assert os.path.exists(type_dir(fleet) / "devices" / uuid / "mdev_type/create")
        assert put(fleet, f"bus/mdev/devices/{uuid}/remove", b"1\n") == 2
    assert set(os.listdir(fleet.host(HOST).sysfs_root / "bus/mdev/devices")) == before


REMOVES: list[tuple[bytes, t.Any, bool]] = [
    (b"0", 1, True),
    (b"no", "EINVAL", True),
    (b"1", 1, False),
    (b"0x1\n", 4, False),
]


@pytest.mark.parametrize(("data", "expected", "stays"), REMOVES)
def test_remove(fleet: Fleet, data: bytes, expected: t.Any, stays: bool) -> None:
    uuid = FRESH % 50
    assert put(fleet, f"{TYPE}/create", uuid.encode()) == 36
    assert put(fleet, f"bus/mdev/devices/{uuid}/remove", data) == expected
    assert device_dir(fleet, uuid).exists() is stays
    if stays:
        assert put(fleet, f"bus/mdev/devices/{uuid}/remove", b"1") == 1


WRITES: list[tuple[str, bytes, t.Any]] = [
    (f"{TYPE}/migration_version", b"10de-20b5-A1-4.2", 16),
    (f"{TYPE}/migration_version", b"10de-20b5-A1-4.2\n", 17),
    (f"{TYPE}/migration_version", b"another", "EINVAL"),
    (f"{TYPE}/migration_version", b"x" * 5000, "EINVAL"),
    (f"{TYPE}/name", b"x", "EACCES"),
    (f"{TYPE}/nothing", b"x", "ENOENT"),
    (f"bus/mdev/devices/{UUID}/uevent", b"x" * 5000, "EINVAL"),
    (f"bus/mdev/devices/{UUID}/uevent", b"change\n", 7),
]


@pytest.mark.parametrize(("path", "data", "expected"), WRITES)
def test_writes(fleet: Fleet, path: str, data: bytes, expected: t.Any) -> None:
    assert put(fleet, path, data) == expected


def test_a_write_only_file_cannot_be_read_even_by_root(fleet: Fleet) -> None:
    with pytest.raises(PermissionError):
        read(type_dir(fleet) / "create")


def test_nothing_can_be_made_or_unlinked(fleet: Fleet) -> None:
    root = fleet.host(HOST).sysfs_root
    with pytest.raises(PermissionError):
        os.open(root / "bus/new", os.O_CREAT | os.O_WRONLY)
    with pytest.raises(PermissionError):
        os.unlink(root / "module/lab/version")
    with pytest.raises(PermissionError):
        os.mkdir(root / "new")


def test_an_empty_write_does_not_reach_the_driver(fleet: Fleet) -> None:
    fleet.client("reset_counters")
    assert put(fleet, f"{TYPE}/migration_version", b"") == 0
    assert fleet.client.total("writes") == 0


def test_counters_tell_what_was_touched(fleet: Fleet) -> None:
    fleet.client("reset_counters")
    node = type_dir(fleet) / "migration_version"
    read(node)
    write(node, b"10de-20b5-A1-4.2")
    put(fleet, f"{TYPE}/migration_version", b"no")
    counted = fleet.client.counters(HOST)[f"parents/{CARD}/types/lab-A1/migration_version"]
    assert counted == {"reads": 1, "writes": 2, "accepts": 1, "rejects": 1}


def test_one_open_file_reads_once_until_it_rewinds(fleet: Fleet) -> None:
    fleet.client("reset_counters")
    descriptor = os.open(type_dir(fleet) / "migration_version", os.O_RDONLY)
    try:
        parts = [os.read(descriptor, 5), os.read(descriptor, 5), os.read(descriptor, 100), os.read(descriptor, 100)]
        assert b"".join(parts) == b"10de-20b5-A1-4.2\n"
        assert fleet.client.total("reads") == 1
        os.lseek(descriptor, 0, os.SEEK_SET)
        assert os.read(descriptor, 100) == b"10de-20b5-A1-4.2\n"
        assert fleet.client.total("reads") == 2
    finally:
        os.close(descriptor)


def test_a_node_removed_while_open_says_enodev(fleet: Fleet) -> None:
    uuid = FRESH % 60
    put(fleet, f"{TYPE}/create", uuid.encode())
    descriptor = os.open(device_dir(fleet, uuid) / "migration_version", os.O_RDWR)
    put(fleet, f"bus/mdev/devices/{uuid}/remove", b"1")
    try:
        for attempt in (lambda: os.read(descriptor, 100), lambda: os.write(descriptor, b"x")):
            with pytest.raises(OSError, match="No such device"):
                attempt()
    finally:
        os.close(descriptor)


def test_remove_of_a_device_in_use_blocks_until_its_holder_ends(run_fleet: t.Callable[..., Fleet]) -> None:
    fleet = run_fleet(SCENARIO)
    writer = threading.Thread(target=put, args=(fleet, f"bus/mdev/devices/{HELD}/remove", b"1"), daemon=True)
    writer.start()
    writer.join(0.3)
    assert writer.is_alive()
    assert not device_dir(fleet, HELD).exists()
    parent = fleet.host(HOST).sysfs_root / f"bus/pci/devices/{CARD}"
    assert os.listdir(parent / HELD) == ["iommu_group"]
    fleet.client("stop_workload", host=HOST, name="vm1")
    writer.join(5)
    assert not writer.is_alive()
    assert not (parent / HELD).exists()


def test_proc_shows_boot_id_and_holders(fleet: Fleet) -> None:
    proc = fleet.host(HOST).proc_root
    boot_id = read(proc / "sys/kernel/random/boot_id")
    assert boot_id.decode().strip() == fleet.client("status")[HOST]["boot_id"]
    words = read(proc / "4242/cmdline").split(b"\0")
    assert words[words.index(b"-name") + 1] == b"guest=vm1,debug-threads=on"
    assert words[words.index(b"-uuid") + 1] == b"cccccccc-0000-4000-8000-000000000001"
    assert f"sysfsdev=/sys/bus/mdev/devices/{HELD}".encode() in words[words.index(b"-device") + 1]
    group = os.path.basename(os.path.realpath(device_dir(fleet, HELD) / "iommu_group"))
    assert os.readlink(proc / "4242/fd/4") == f"/dev/vfio/{group}"
    assert f'"host":"{VF}"'.encode() in read(proc / "4343/cmdline")
    cdev = os.listdir(device_dir(fleet, VF, bus="pci") / "vfio-dev")[0]
    assert os.readlink(proc / "4343/fd/4") == f"/dev/vfio/devices/{cdev}"
    assert read(proc / "4242/comm") == b"qemu-system-x86\n"


def test_an_ordinary_user_reads_but_neither_writes_nor_looks_into_processes(fleet: Fleet) -> None:
    if os.geteuid() != 0:
        assert os.stat(type_dir(fleet)).st_uid == os.geteuid()  # the tree belongs to who mounted it
        return
    node, fd = type_dir(fleet) / "migration_version", fleet.host(HOST).proc_root / "4242/fd"
    os.chmod(fleet.directory, 0o755)
    script = f"cat {node}; (echo x > {node}) 2>&1; ls {fd} 2>&1; readlink {fd}/4 || echo unseen"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, user="nobody")
    assert "10de-20b5-A1-4.2" in done.stdout
    assert done.stdout.count("Permission denied") == 2
    assert "unseen" in done.stdout


KERNELS: list[tuple[str, bool, bool]] = [("5.10.0", False, False), ("6.1.0", False, True), ("6.12.0", True, True)]


@pytest.mark.parametrize(("kernel", "empty_class", "cdevs"), KERNELS)
def test_kernel_versions_differ(run_fleet: t.Callable[..., Fleet], kernel: str, empty_class: bool, cdevs: bool) -> None:
    fleet = run_fleet(one_host(parents={}, kernel=kernel, vfs={VF: {"driver": "vfio-pci"}}))
    root = fleet.host(HOST).sysfs_root
    assert (root / "class/mdev_bus").exists() is empty_class
    assert (root / "class/vfio-dev").exists() is cdevs
    assert (root / "bus/mdev/devices").exists()


def test_a_host_without_mdev_has_neither_class_nor_bus(run_fleet: t.Callable[..., Fleet]) -> None:
    root = run_fleet(one_host(parents={}, mdev=False)).host(HOST).sysfs_root
    assert not (root / "class/mdev_bus").exists()
    assert not (root / "bus/mdev").exists()
    assert (root / "bus/pci/devices").exists()


CAPACITY: list[tuple[str, dict[str, t.Any], dict[str, t.Any], list[str], list[dict[str, int]], str]] = [
    # name, capacity, types, creates in order, available after each (and before), errno when full
    (
        "shared_units",
        {"model": "shared_units", "total": 4},
        {"lab-1": {"cost": 1}, "lab-2": {"cost": 2}, "lab-4": {"cost": 4}},
        ["lab-1", "lab-2", "lab-1"],
        [
            {"lab-1": 4, "lab-2": 2, "lab-4": 1},
            {"lab-1": 3, "lab-2": 1, "lab-4": 0},
            {"lab-1": 1, "lab-2": 0, "lab-4": 0},
            {"lab-1": 0, "lab-2": 0, "lab-4": 0},
        ],
        "ENOSPC",
    ),
    (
        "exclusive",
        {"model": "exclusive"},
        {"lab-1": {"instances": 2}, "lab-2": {"instances": 1}},
        ["lab-1", "lab-1"],
        [{"lab-1": 2, "lab-2": 1}, {"lab-1": 1, "lab-2": 0}, {"lab-1": 0, "lab-2": 0}],
        "EINVAL",
    ),
    (
        "vector",
        {"model": "vector", "totals": {"low": 10, "fence": 3}},
        {"lab-1": {"needs": {"low": 2, "fence": 1}}, "lab-2": {"needs": {"low": 6, "fence": 0}}},
        ["lab-1", "lab-2", "lab-1"],
        [{"lab-1": 3, "lab-2": 1}, {"lab-1": 2, "lab-2": 1}, {"lab-1": 1, "lab-2": 0}, {"lab-1": 0, "lab-2": 0}],
        "EIO",
    ),
    (
        "independent",
        {"model": "independent", "full_errno": "EPERM"},
        {"lab-1": {"instances": 1}, "lab-2": {"instances": 2}},
        ["lab-1"],
        [{"lab-1": 1, "lab-2": 2}, {"lab-1": 0, "lab-2": 2}],
        "EPERM",
    ),
    (
        "unknown",
        {"model": "unknown", "total": 2},
        {"lab-1": {}, "lab-2": {}},
        ["lab-1", "lab-2"],
        [{"lab-1": 2, "lab-2": 2}, {"lab-1": 1, "lab-2": 1}, {"lab-1": 0, "lab-2": 0}],
        "EUSERS",
    ),
]


@pytest.mark.parametrize(
    ("capacity", "types", "creates", "available", "full"),
    [row[1:] for row in CAPACITY],
    ids=[row[0] for row in CAPACITY],
)
def test_capacity_models(
    run_fleet: t.Callable[..., Fleet],
    capacity: dict[str, t.Any],
    types: dict[str, t.Any],
    creates: list[str],
    available: list[dict[str, int]],
    full: str,
) -> None:
    fleet = run_fleet(one_host(parents={CARD: card(capacity=capacity, types=types)}))

    def now() -> dict[str, int]:
        return {name: int(read(type_dir(fleet, name) / "available_instances")) for name in types}

    seen = [now()]
    for number, name in enumerate(creates):
        assert write(type_dir(fleet, name) / "create", (FRESH % number).encode()) == 36
        seen.append(now())
    assert seen == available
    path = f"class/mdev_bus/{CARD}/mdev_supported_types/{creates[0]}/create"
    assert put(fleet, path, (FRESH % 90).encode()) == full
    for number in range(len(creates)):
        assert put(fleet, f"bus/mdev/devices/{FRESH % number}/remove", b"1") == 1
    assert now() == available[0]


def test_a_read_costs_little(fleet: Fleet) -> None:
    descriptor = os.open(type_dir(fleet) / "migration_version", os.O_RDONLY)
    samples = []
    for _time in range(300):
        start = time.perf_counter()
        os.pread(descriptor, 4096, 0)
        samples.append(time.perf_counter() - start)
    os.close(descriptor)
    assert sorted(samples)[30] < 0.0002  # the quick tenth: a busy machine is not the simulator's cost
