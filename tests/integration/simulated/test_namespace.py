# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real clients on namespace hosts: ssh, ansible, pyudev and mdevctl see what the scenario says."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.simulated import namespace, scenario
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet

pytestmark = pytest.mark.over_ssh

HELD = "11111111-0000-4000-8000-000000000001"
FRESH = "77777777-0000-4000-8000-000000000001"
PYUDEV = """
import json, pyudev
context = pyudev.Context()
print(json.dumps({
    kind: {device.sys_name: [device.sys_path, device.driver, device.properties.get("ID_MODEL_FROM_DATABASE")]
           for device in context.list_devices(subsystem=kind)}
    for kind in ("pci", "mdev", "vfio-dev")
}))
"""


@pytest.fixture(scope="module")
def fleet() -> t.Iterator[Fleet]:
    with simulated_fleet("small", reach="namespace") as running:
        yield running


@pytest.fixture(scope="module")
def small() -> dict[str, scenario.Host]:
    return {host.name: host for host in scenario.load("small").hosts}


def ssh(fleet: Fleet, host: str, command: str) -> str:
    """Output of a command over SSH."""
    words = ["ssh", "-F", str(fleet.directory / "ssh/config"), host, command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


HOSTS = ["hv1", "hv2", "hv3", "hv4", "hv5", "hv6"]


@pytest.mark.parametrize("name", HOSTS)
def test_mdevctl_types(fleet: Fleet, small: dict[str, scenario.Host], name: str) -> None:
    found = json.loads(ssh(fleet, name, "mdevctl types --dumpjson"))
    parents = found[0] if found else {}
    # mdevctl 1.2 folds several parents into one list entry each or into one mapping.
    for entry in found[1:]:
        parents.update(entry)
    shown = {
        address: {kind: item for entry in types for kind, item in entry.items()} for address, types in parents.items()
    }
    expected = {parent.address: {kind.id for kind in parent.types} for parent in small[name].parents}
    assert {address: set(types) for address, types in shown.items()} == expected
    for parent in small[name].parents:
        for kind in parent.types:
            item = shown[parent.address][kind.id]
            assert (item["device_api"], item["name"]) == (kind.device_api, kind.name or "")


@pytest.mark.parametrize("name", HOSTS)
def test_mdevctl_list(fleet: Fleet, small: dict[str, scenario.Host], name: str) -> None:
    lines = {tuple(line.split()[:3]) for line in ssh(fleet, name, "mdevctl list").splitlines() if line}
    assert lines == {(mdev.uuid, mdev.parent, mdev.type) for mdev in small[name].mdevs}


def test_mdevctl_starts_stops_and_defines_on_its_own_host_only(fleet: Fleet) -> None:
    before = set(os.listdir("/etc/mdevctl.d"))
    arguments = f"-u {FRESH} -p 0000:3b:00.0 -t nvidia-35"
    assert FRESH in ssh(fleet, "hv1", f"mdevctl start {arguments} && mdevctl list")
    assert ssh(fleet, "hv1", f"mdevctl stop -u {FRESH} && ls /sys/bus/mdev/devices").count(FRESH) == 0
    assert FRESH in ssh(fleet, "hv1", f"mdevctl define {arguments} && ls /etc/mdevctl.d/0000:3b:00.0")
    assert "0000:3b:00.0" not in ssh(fleet, "hv2", "ls /etc/mdevctl.d")
    assert set(os.listdir("/etc/mdevctl.d")) == before


@pytest.mark.parametrize("name", HOSTS)
def test_pyudev(fleet: Fleet, small: dict[str, scenario.Host], name: str) -> None:
    done = fleet.run(name, sys.executable, "-W", "ignore", "-c", PYUDEV)
    assert done.returncode == 0, done.stderr
    found, host = json.loads(done.stdout), small[name]
    pci: dict[str, tuple[str, str | None]] = {
        item.address: (item.driver, item.pci.hardware_model) for item in host.parents if item.kind == "pci"
    }
    pci.update({item.address: (item.driver, item.pci.hardware_model) for item in host.vfs})
    assert {address: (driver, model) for address, (_path, driver, model) in found["pci"].items()} == pci
    assert set(found["mdev"]) == {mdev.uuid for mdev in host.mdevs}
    for uuid, (path, _driver, _model) in found["mdev"].items():
        assert path.endswith(f"/{uuid}")
    assert len(found["vfio-dev"]) == len(host.mdevs) + len(host.vfs)


def test_ansible_runs_from_outside(fleet: Fleet) -> None:
    program = shutil.which("ansible", path=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    assert program is not None, "ansible is missing: install ansible-core"
    words = [
        program,
        "-i",
        str(fleet.inventory),
        "hypervisors",
        "-m",
        "ansible.builtin.command",
        "-a",
        "hostname",
        "-o",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in HOSTS:
        assert f"(stdout) {name}" in done.stdout


def test_a_host_sees_only_itself(fleet: Fleet) -> None:
    assert ssh(fleet, "hv1", "hostname").strip() == "hv1"
    assert ssh(fleet, "hv1", "cat /proc/sys/kernel/random/boot_id").strip() == fleet.client("status")["hv1"]["boot_id"]
    assert "web1" in ssh(fleet, "hv1", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "web1" not in ssh(fleet, "hv2", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert ssh(fleet, "hv1", "ls /sys").split() == ["bus", "class", "devices", "kernel", "module"]
    assert pathlib.Path("/proc/sys/kernel/random/boot_id").read_text() != ssh(
        fleet, "hv1", "cat /proc/sys/kernel/random/boot_id"
    )
    assert not pathlib.Path("/run/udev/data/+pci:0000:3b:00.0").exists()


def test_holders_are_real_processes(fleet: Fleet) -> None:
    group = os.path.basename(ssh(fleet, "hv1", f"readlink /sys/bus/mdev/devices/{HELD}/iommu_group").strip())
    open_files = ssh(fleet, "hv1", "ls -l /proc/[0-9]*/fd")
    assert f"-> /dev/vfio/{group}\n" in open_files
    nodes = ssh(fleet, "hv1", "ls /dev/vfio").split()
    assert {group, "vfio"} <= set(nodes)


def test_a_new_device_has_a_node_until_it_is_removed(fleet: Fleet) -> None:
    kind = "/sys/class/mdev_bus/0000:3b:00.0/mdev_supported_types/nvidia-35"
    before = set(ssh(fleet, "hv2", "ls /dev/vfio").split())
    ssh(fleet, "hv2", f"printf {FRESH} > {kind}/create")
    group = os.path.basename(ssh(fleet, "hv2", f"readlink /sys/bus/mdev/devices/{FRESH}/iommu_group").strip())
    assert soon(lambda: set(ssh(fleet, "hv2", "ls /dev/vfio").split()) == before | {group})
    ssh(fleet, "hv2", f"printf 1 > /sys/bus/mdev/devices/{FRESH}/remove")
    assert soon(lambda: set(ssh(fleet, "hv2", "ls /dev/vfio").split()) == before)


def test_remove_waits_for_the_real_holder(fleet: Fleet) -> None:
    held = "44444444-0000-4000-8000-000000000001"
    words = namespace.enter(fleet.client("host_pid", host="hv4"))
    command = f"printf 1 > /sys/bus/mdev/devices/{held}/remove"
    with subprocess.Popen([*words, "sh", "-c", command]) as writer:
        time.sleep(0.3)
        assert writer.poll() is None
        ssh(fleet, "hv4", "kill -9 $(grep -lsz guest=vdi1 /proc/[0-9]*/cmdline | cut -d/ -f3 | grep -v self | head -1)")
        assert writer.wait(10) == 0
    assert held not in ssh(fleet, "hv4", "ls /sys/bus/mdev/devices")


def test_a_reboot_ends_processes_and_changes_the_boot_id(fleet: Fleet) -> None:
    before = ssh(fleet, "hv3", "cat /proc/sys/kernel/random/boot_id")
    fleet.client("reboot", host="hv3")
    assert soon(lambda: ssh(fleet, "hv3", "cat /proc/sys/kernel/random/boot_id") != before)
    assert ssh(fleet, "hv3", "mdevctl list").strip() == ""
    assert soon(lambda: "qemu" not in ssh(fleet, "hv3", "cat /proc/[0-9]*/comm"))


def soon(condition: t.Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether something becomes true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
