# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host modules over SSH, on hosts with a /sys, a /proc and a udev of their own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet

pytestmark = pytest.mark.over_ssh

TREE = pathlib.Path(__file__).parents[3] / ".cache" / "tree"
CARD = "0000:3b:00.0"
USED, IDLE = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"
VM = "aaaaaaaa-0000-4000-8000-000000000001"
VF = "0000:5e:00.2"

SCENARIO: dict[str, t.Any] = {
    "version": 1,
    "name": "over-ssh",
    "hosts": {
        "hv1": {
            "parents": {
                CARD: {
                    "driver": "nvidia",
                    "driver_version": "550.4",
                    "vendor": "10de",
                    "device": "20b5",
                    "hardware": {"vendor": "NVIDIA Corporation", "model": "GA100 [A100 PCIe 80GB]"},
                    "capacity": {"model": "shared_units", "total": 8},
                    "types": {"nvidia-35": {"name": "GRID A100-5Q"}},
                },
                "mtty": {"kind": "virtual", "driver": "mtty", "types": {"mtty-1": {"migration_version": []}}},
            },
            "vfs": {VF: {"driver": "mlx5_vfio_pci", "vendor": "15b3", "device": "101e", "rule": "exact"}},
            "mdevs": [{"uuid": uuid, "parent": CARD, "type": "nvidia-35"} for uuid in (USED, IDLE)],
            "workloads": [
                {"name": "web 1", "uuid": VM, "devices": [USED]},
                {"name": "/usr/bin/dpdk-testpmd", "kind": "process", "devices": [VF]},
            ],
        }
    },
}

UNPRIVILEGED = """
import json, os
os.setgroups([]); os.setgid(65534); os.setuid(65534)
from ansible_collections.vfio.migration.plugins.module_utils import _inventory, _probe, _reader
location = "bus/{bus}/devices/{address}/migration_version"
options = _reader.Options("/sys", "/proc", 2.0, 20.0, location, "h", "k", 4096)
request = {"scope": "type", "parent": "0000:3b:00.0", "type": "nvidia-35", "device": None, "string": "s",
           "vendor": "pci:10de", "source_type": "nvidia-35"}
print(json.dumps([_inventory.snapshot(options), _probe.verdicts(options, [request], 10, False)]))
"""


@pytest.fixture(scope="module")
def fleet() -> t.Iterator[Fleet]:
    with simulated_fleet(SCENARIO, reach="namespace") as running:
        yield running


def _ansible(fleet: Fleet, cache: pathlib.Path, module: str, arguments: str = "") -> dict[str, t.Any]:
    """Run a module on the host over SSH; the facts it left."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(TREE),
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(cache),
    }
    command = [
        sys.executable,
        "-m",
        "ansible",
        "adhoc",
        "hv1",
        "-i",
        str(fleet.inventory),
        "-m",
        module,
        "-a",
        arguments,
    ]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    payload = json.loads((cache / "s1_hv1").read_text())["__payload__"]
    return t.cast("dict[str, t.Any]", json.loads(payload))


@pytest.fixture(scope="module")
def snapshot(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, t.Any]:
    facts = _ansible(fleet, tmp_path_factory.mktemp("facts"), "vfio.migration.vfio_facts")
    return t.cast("dict[str, t.Any]", facts["vfio_migration"])


def test_hardware_is_named_through_libudev(snapshot: dict[str, t.Any]) -> None:
    names = {parent["address"]: parent["hardware"] for parent in snapshot["parents"]}
    assert names[CARD] == {"vendor": "NVIDIA Corporation", "model": "GA100 [A100 PCIe 80GB]"}
    assert names["mtty"] == {"vendor": None, "model": None}
    mdev = next(device for device in snapshot["devices"] if device["id"] == USED)
    assert mdev["hardware"] == names[CARD], "an mdev is known by its parent's name"
    assert "no_pyudev" not in [note["reason"] for note in snapshot["notes"]]


def test_holders_are_named(snapshot: dict[str, t.Any]) -> None:
    held = {device["id"]: device["in_use_by"] for device in snapshot["devices"]}
    assert [(holder["command"], holder["workload"]) for holder in held[USED]] == [("/usr/bin/qemu-system-x86_64", VM)]
    assert held[IDLE] == []
    assert [holder["command"] for holder in held[VF]] == ["/usr/bin/dpdk-testpmd"]
    workloads = {workload["id"]: workload for workload in snapshot["workloads"]}
    assert (workloads[VM]["name"], workloads[VM]["kind"], workloads[VM]["devices"]) == ("web 1", "qemu", [USED])


def test_host_itself_is_described(fleet: Fleet, snapshot: dict[str, t.Any]) -> None:
    assert snapshot["host"] == "hv1"
    assert snapshot["boot_id"] == fleet.client("status")["hv1"]["boot_id"]
    assert snapshot["notes"] == []


@pytest.mark.fault("R14", "P2")
def test_ordinary_user_sees_what_it_may_and_says_what_not(fleet: Fleet) -> None:
    """Strings are readable for all; who holds what, and asking, is not."""
    # The checkout may lie where an ordinary user cannot look, so the code goes in a copy of its own.
    copy = pathlib.PurePath("/tmp", f"vfio-migration-{os.getpid()}")
    package = copy / "ansible_collections/vfio/migration"
    steps = (
        f"mkdir -p {package}",
        f"cp -rL {TREE / 'ansible_collections/vfio/migration/plugins'} {package}/plugins",
        f"chmod -R a+rX {copy}",
        f"PYTHONPATH={copy} /usr/bin/python3 -c '{UNPRIVILEGED}'",
    )
    done = fleet.run("hv1", "sh", "-c", " && ".join(steps) + f"; code=$?; rm -rf {copy}; exit $code")
    assert done.returncode == 0, done.stderr[-2000:]
    found, asked = json.loads(done.stdout)
    card = next(parent for parent in found["parents"] if parent["address"] == CARD)
    assert card["types"][0]["migration_version"]["status"] == "ok"
    held = {device["id"]: device["in_use_by"] for device in found["devices"]}
    assert held[IDLE] is None, "without a look at other users' processes nobody can say that it is free"
    assert held[USED], "the command line of QEMU is readable for all"
    assert ("host", "holders") in {(note["item"], note["reason"]) for note in found["notes"]}
    assert [(verdict["verdict"], verdict["reason"]) for verdict in asked["verdicts"]] == [("unknown", "not_probed")]


@pytest.mark.fault("R8")
def test_hung_driver_does_not_hold_the_connection(fleet: Fleet, tmp_path: pathlib.Path) -> None:
    """The reader stays in state D on the host, and neither the module nor SSH waits for it."""
    node = f"parents/{CARD}/types/nvidia-35/migration_version"
    fleet.client("fault_set", host="hv1", fault={"node": node, "fault": "R8"})
    try:
        begin = time.monotonic()
        found = _ansible(fleet, tmp_path, "vfio.migration.vfio_facts", "read_timeout=1 deadline=10")["vfio_migration"]
        took = time.monotonic() - begin
        states = fleet.run("hv1", "sh", "-c", "cat /proc/[0-9]*/stat").stdout
        assert " D " in states, "the reader that was left behind is still there"
        assert fleet.client("status")["hv1"]["stuck"] == 1
    finally:
        fleet.client("fault_clear", host="hv1")
    assert took < 15
    assert {parent["address"]: parent["state"] for parent in found["parents"]} == {CARD: "hung", "mtty": "ok"}


def test_questions_are_asked_over_ssh(fleet: Fleet, tmp_path: pathlib.Path) -> None:
    fleet.client("reset_counters")
    request = {
        "scope": "device",
        "device": IDLE,
        "string": "10de-20b5-35-550.4",
        "vendor": "pci:10de",
    }
    arguments = json.dumps({"requests": [request, {**request, "string": " {{ 1+1 }}"}]})
    facts = _ansible(fleet, tmp_path, "vfio.migration.compatibility_facts", arguments)
    answers = {verdict["string"]: verdict["verdict"] for verdict in facts["vfio_migration_verdicts"]["verdicts"]}
    assert answers["10de-20b5-35-550.4"] == "compatible"
    counts = fleet.client("counters", host="hv1")["hv1"][f"devices/{IDLE}/migration_version"]
    assert (counts["accepts"], counts["rejects"]) == (1, 1)
