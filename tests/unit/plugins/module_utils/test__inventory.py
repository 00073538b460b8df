# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _inventory, _reader
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Op
from ansible_collections.vfio.migration.plugins.module_utils._inventory import snapshot
from ansible_collections.vfio.migration.plugins.module_utils._model import Note, Snapshot

UUID = "11111111-2222-3333-4444-555555555555"
PARENT = "0000:00:02.0"
PARENT_PATH = "devices/pci0000:00/" + PARENT
TYPE = "i915-GVTg_V5_4"
STRING = "8086-591d-GVTg_V5_4-00000001"


def _reasons(notes: t.List[Note]) -> t.Set[t.Tuple[str, str]]:
    """Notes, less the one that every host with another sysfs root has."""
    return {(note["item"], note["reason"]) for note in notes if note["reason"] != "other_root"}


def _types(found: Snapshot) -> t.List[str]:
    return [type_["id"] for type_ in found["parents"][0]["types"]]


@pytest.mark.fault("R1")
def test_host_without_mdev_is_empty_not_broken(tree: t.Any) -> None:
    found = snapshot(tree.options())
    assert (found["parents"], found["devices"], found["workloads"], found["notes"]) == ([], [], [], [])
    assert (found["schema_version"], found["host"], found["kernel"], found["page_size"]) == (1, "hv1", "6.12.0", 4096)


def test_host_is_described(host: t.Any) -> None:
    host.file("module/i915/srcversion", b"0123ABC\n")
    host.link("bus/pci/drivers/i915/module", "module/i915")
    host.file(PARENT_PATH + "/numa_node", b"1\n")
    host.process(10, ["qemu-kvm", "-name", "guest=web", "-uuid", "u-1"], ["/dev/vfio/7"])
    found = snapshot(host.options())
    version = {"status": "ok", "value": STRING, "reason": None, "errno": None, "raw": None}
    unnamed = {"vendor": None, "model": None}
    assert found["parents"] == [
        {
            "address": PARENT,
            "path": PARENT_PATH,
            "subsystem": "pci",
            "vendor": "pci:8086",
            "driver": "i915",
            "driver_version": "0123ABC",
            "numa_node": 1,
            "hardware": unnamed,
            "state": "ok",
            "types": [
                {
                    "id": TYPE,
                    "name": "GVTg_V5_4",
                    "description": "low_gm_size: 64MB\nhigh_gm_size: 384MB",
                    "device_api": "vfio-pci",
                    "available_instances": 2,
                    "migration_version": version,
                }
            ],
        }
    ]
    holder = {"pid": 10, "command": "qemu-kvm", "workload": "u-1"}
    assert found["devices"] == [
        {
            "id": UUID,
            "kind": "mdev",
            "path": PARENT_PATH + "/" + UUID,
            "bus": "mdev",
            "parent": PARENT,
            "type": TYPE,
            "vendor": "pci:8086",
            "driver": "i915",
            "driver_version": "0123ABC",
            "numa_node": 1,
            "hardware": unnamed,
            "iommu_group": 7,
            "in_use_by": [holder],
            "migration_version": version,
        }
    ]
    assert [workload["name"] for workload in found["workloads"]] == ["web"]


def test_unknown_numa_node_is_null(host: t.Any) -> None:
    host.file(PARENT_PATH + "/numa_node", b"-1\n")
    assert snapshot(host.options())["parents"][0]["numa_node"] is None


def test_module_version_goes_before_the_checksum(host: t.Any) -> None:
    host.link("bus/pci/drivers/i915/module", "module/i915")
    host.file("module/i915/srcversion", b"0123ABC\n")
    host.file("module/i915/version", b"550.90\n")
    assert snapshot(host.options())["parents"][0]["driver_version"] == "550.90"


@pytest.mark.fault("R2")
def test_absent_attribute_is_unsupported_and_no_news(host: t.Any) -> None:
    (host.sys / PARENT_PATH / "mdev_supported_types" / TYPE / "migration_version").unlink()
    found = snapshot(host.options())
    version = found["parents"][0]["types"][0]["migration_version"]
    assert (version["status"], version["reason"]) == ("unsupported", "absent")
    assert not _reasons(found["notes"])


@pytest.mark.fault("R15")
@pytest.mark.parametrize(
    "raw", [b"many\n", b"-1\n", b"4294967295\n", b"99999999999999999999\n", b"", b"1 2\n", b"0x4\n"]
)
def test_capacity_without_sense_is_unknown_not_zero(host: t.Any, raw: bytes) -> None:
    host.file(PARENT_PATH + "/mdev_supported_types/" + TYPE + "/available_instances", raw)
    found = snapshot(host.options())
    assert found["parents"][0]["types"][0]["available_instances"] is None
    item = "parents/%s/types/%s/available_instances" % (PARENT, TYPE)
    assert _reasons(found["notes"]) == {(item, "not_a_number")}


@pytest.mark.fault("R16")
def test_texts_for_people_may_be_missing_or_huge(tree: t.Any) -> None:
    tree.parent(PARENT_PATH)
    tree.type(PARENT_PATH, "t", available_instances=b"0\n", description=b"line\n" * 5000)
    found = snapshot(tree.options())["parents"][0]["types"][0]
    assert found["name"] is None
    assert found["device_api"] is None
    assert len(found["description"] or "") == 4096
    assert found["available_instances"] == 0


@pytest.mark.fault("R6")
def test_unplugged_parent_is_gone_and_noted(host: t.Any) -> None:
    host.link("class/mdev_bus/0000:00:03.0", "devices/pci0000:00/0000:00:03.0")
    found = snapshot(host.options())
    assert [(parent["address"], parent["state"]) for parent in found["parents"]] == [
        (PARENT, "ok"),
        ("0000:00:03.0", "gone"),
    ]
    assert _reasons(found["notes"]) == {("parents/0000:00:03.0", "gone")}


@pytest.mark.fault("R17", "R19")
def test_parent_reached_twice_is_one_record(host: t.Any) -> None:
    host.link("class/mdev_bus/Alias:Of.It", PARENT_PATH)
    host.link("class/mdev_bus/loop", "class/mdev_bus/loop")
    found = snapshot(host.options())
    assert [parent["address"] for parent in found["parents"]] == [PARENT]
    assert _reasons(found["notes"]) == {("class/mdev_bus/loop", "no_device")}


@pytest.mark.fault("R19")
@pytest.mark.parametrize(
    ("path", "bus", "driver", "vendor", "identity"),
    [
        ("devices/css0/0.0.0026", "css", "vfio_ccw", None, "css:vfio_ccw"),
        ("devices/vfio_ap/matrix", "matrix", "vfio_ap", None, "matrix:vfio_ap"),
        ("devices/virtual/mtty/mtty", "mtty", None, None, "mtty:unknown"),
        ("devices/pci0000:00/0000:AF:00.0", "pci", "nvidia", "0x10DE", "pci:10de"),
    ],
)
def test_parents_of_every_kind(
    tree: t.Any, path: str, bus: str, driver: t.Optional[str], vendor: t.Optional[str], identity: str
) -> None:
    tree.parent(path, bus, driver, vendor)
    tree.type(path, "Drv-Type.1", available_instances=b"1\n")
    found = snapshot(tree.options())
    parent = found["parents"][0]
    assert (parent["address"], parent["subsystem"], parent["driver"]) == (path.rsplit("/", maxsplit=1)[-1], bus, driver)
    assert parent["vendor"] == identity
    assert _types(found) == ["Drv-Type.1"]


@pytest.mark.fault("R21")
def test_same_type_on_two_parents_stays_two_records(host: t.Any) -> None:
    other = "devices/pci0000:00/0000:00:03.0"
    host.parent(other)
    host.type(other, TYPE, migration_version=b"other\n", available_instances=b"1\n")
    found = snapshot(host.options())
    assert [
        (parent["address"], parent["types"][0]["id"], parent["types"][0]["migration_version"]["value"])
        for parent in found["parents"]
    ] == [(PARENT, TYPE, STRING), ("0000:00:03.0", TYPE, "other")]


@pytest.mark.fault("R18")
def test_half_created_device_is_unknown(host: t.Any) -> None:
    second = "22222222-2222-3333-4444-555555555555"
    host.mdev(PARENT_PATH, second, None, 8, b"early\n")
    found = snapshot(host.options())
    device = found["devices"][1]
    assert (device["id"], device["type"]) == (second, None)
    assert (device["migration_version"]["status"], device["migration_version"]["reason"]) == ("unknown", "incomplete")
    assert ("devices/%s/migration_version" % second, "incomplete") in _reasons(found["notes"])


@pytest.mark.fault("R5")
def test_device_that_vanished_is_dropped_with_a_note(host: t.Any) -> None:
    second = "22222222-2222-3333-4444-555555555555"
    host.link("bus/mdev/devices/" + second, PARENT_PATH + "/" + second)
    found = snapshot(host.options())
    assert [device["id"] for device in found["devices"]] == [UUID]
    assert _reasons(found["notes"]) == {("devices/" + second, "gone")}


@pytest.mark.fault("R11")
def test_names_that_are_no_text_are_told_as_text(host: t.Any, tmp_path: t.Any) -> None:
    """Ansible refuses the report of the whole host otherwise."""
    os.mkdir(os.fsencode(str(host.sys / PARENT_PATH / "mdev_supported_types")) + b"/i915-\xff")
    folder = tmp_path / "libvirt"
    folder.mkdir()
    (folder / os.fsdecode(b"\xe9.xml")).write_bytes(b"<broken")
    found = snapshot(host.options(libvirt_roots=(str(folder),)))
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    assert [kind["id"] for kind in found["parents"][0]["types"]] == [TYPE]
    expected = {("parents/0000:00:02.0/types/i915-\\xff", "gone"), ("%s/\\xe9.xml" % folder, "domain_file")}
    assert expected <= _reasons(found["notes"])


@pytest.mark.fault("R7")
def test_type_that_vanished_is_dropped_with_a_note(host: t.Any) -> None:
    with Guard(_inventory.HANDLERS, 5.0, 20.0) as guard:
        reader = _reader.Reader(host.options(), guard)
        directory = PARENT_PATH + "/mdev_supported_types/"
        present, gone = (
            reader.versions([(PARENT_PATH, directory + name, directory + name + "/migration_version")])[0]
            for name in (TYPE, "i915-GVTg_V5_8")
        )
    assert present is not None
    assert present["value"] == STRING
    assert gone is None


def _vfio(tree: t.Any, bus: str, address: str, driver: str) -> str:
    path = "devices/%s/%s" % (bus, address)
    tree.device(path, bus, driver, "0x15b3")
    tree.link("bus/%s/devices/%s" % (bus, address), path)
    tree.link("bus/%s/drivers/%s/%s" % (bus, driver, address), path)
    tree.link(path + "/iommu_group", "kernel/iommu_groups/21")
    return path


def test_vfio_devices_that_are_not_mediated(tree: t.Any) -> None:
    """One found through its driver (kernels before 6.1), one through class vfio-dev."""
    old = _vfio(tree, "pci", "0000:3b:00.2", "mlx5_vfio_pci")
    tree.file(old + "/migration_version", b"mlx5-22\n")
    new = _vfio(tree, "pci", "0000:3b:00.3", "nvidia")
    (tree.sys / new / "vfio-dev/vfio3").mkdir(parents=True)
    tree.link("class/vfio-dev/vfio3", new + "/vfio-dev/vfio3")
    _vfio(tree, "pci", "0000:3b:00.4", "mlx5_core")
    tree.process(7, ["qemu-kvm", "-name", "n"], ["/dev/vfio/devices/vfio3"])
    found = snapshot(tree.options())
    assert [
        (device["id"], device["kind"], device["driver"], device["parent"], device["iommu_group"])
        for device in found["devices"]
    ] == [("0000:3b:00.2", "vfio", "mlx5_vfio_pci", None, 21), ("0000:3b:00.3", "vfio", "nvidia", None, 21)]
    assert found["devices"][0]["migration_version"]["value"] == "mlx5-22"
    assert found["devices"][1]["migration_version"]["reason"] == "absent"
    assert [holder["pid"] for holder in found["devices"][1]["in_use_by"] or []] == [7]


def test_location_3_follows_its_pattern(tree: t.Any) -> None:
    _vfio(tree, "platform", "fpga.0", "vfio-platform")
    tree.file("elsewhere/platform/fpga.0/mv", b"f1\n")
    found = snapshot(tree.options(device_attribute="elsewhere/{bus}/{address}/mv"))
    assert found["devices"][0]["migration_version"]["value"] == "f1"


@pytest.mark.fault("L10")
@pytest.mark.parametrize("pattern", ["/etc/passwd", "bus/../../x", "bus/{bus}/{0}", "bus/{bus", "a\0b"])
def test_pattern_of_location_3_stays_below_the_root(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"below sysfs_root|in braces"):
        _reader.device_attribute(pattern, "pci", "0000:00:00.0")


@pytest.mark.fault("R14")
def test_unknown_holders_are_null(host: t.Any) -> None:
    found = snapshot(host.options(proc_root=str(host.sys / "no/proc")))
    assert found["devices"][0]["in_use_by"] is None
    assert found["boot_id"] is None
    assert ("host", "holders") in _reasons(found["notes"])


@pytest.mark.fault("R14")
def test_the_file_of_a_domain_that_is_broken_is_named(host: t.Any, tmp_path: t.Any) -> None:
    folder = tmp_path / "libvirt"
    folder.mkdir()
    (folder / "vm 8.xml").write_text("<domain")
    found = snapshot(host.options(libvirt_roots=(str(folder),)))
    assert found["devices"][0]["in_use_by"] is None
    notes = {note["item"]: note for note in found["notes"]}
    assert notes[str(folder / "vm 8.xml")]["reason"] == "domain_file"
    assert "check it with virt-xml-validate" in notes[str(folder / "vm 8.xml")]["detail"]
    assert ("host", "holders") in _reasons(found["notes"])


def test_nobody_holds_it_is_an_empty_list(host: t.Any) -> None:
    assert snapshot(host.options())["devices"][0]["in_use_by"] == []


@pytest.mark.fault("R8")
def test_hung_parent_is_marked_and_the_rest_reported(host: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "devices/pci0000:00/0000:00:03.0"
    host.parent(other)
    host.type(other, "deaf", available_instances=b"1\n", migration_version=b"x\n")
    host.type(other, "mute", available_instances=b"1\n", migration_version=b"y\n")
    _hang_on(monkeypatch, "/deaf/migration_version")
    found = snapshot(host.options(read_timeout=0.3))
    assert [(parent["address"], parent["state"]) for parent in found["parents"]] == [
        (PARENT, "ok"),
        ("0000:00:03.0", "hung"),
    ]
    assert [type_["migration_version"]["reason"] for type_ in found["parents"][1]["types"]] == ["hung", "hung"]
    assert found["parents"][1]["types"][1]["available_instances"] == 1, "what was read before stays"
    assert found["devices"][0]["migration_version"]["value"] == STRING


@pytest.mark.fault("R8")
def test_hang_takes_nothing_along_that_needs_no_driver(host: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type, IOMMU group and holders of the instances of a hung parent come from the kernel's core."""
    host.process(10, ["/usr/bin/dpdk"], ["/dev/vfio/7"])
    _hang_on(monkeypatch, TYPE + "/name")
    found = snapshot(host.options(read_timeout=0.3))
    device = found["devices"][0]
    assert found["parents"][0]["state"] == "hung"
    assert (device["type"], device["iommu_group"], device["vendor"]) == (TYPE, 7, "pci:8086")
    assert [holder["pid"] for holder in device["in_use_by"] or []] == [10]
    assert device["migration_version"]["reason"] == "hung"


@pytest.mark.fault("R8", "P13")
def test_vendor_that_was_not_read_is_unknown(host: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _hang_on(monkeypatch, PARENT + "/vendor")
    found = snapshot(host.options(read_timeout=0.3))
    assert (found["parents"][0]["vendor"], found["devices"][0]["vendor"]) == (None, None)


@pytest.mark.fault("R14")
def test_types_that_may_not_be_listed_are_not_called_absent(host: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _deny(monkeypatch, "list", "/mdev_supported_types")
    found = snapshot(host.options())
    assert (found["parents"][0]["state"], found["parents"][0]["types"]) == ("unknown", [])
    assert ("parents/" + PARENT, "permission") in _reasons(found["notes"])


@pytest.mark.fault("R14")
@pytest.mark.parametrize(("handler", "ending"), [("list", "class/mdev_bus"), ("link", "class/mdev_bus/" + PARENT)])
def test_host_whose_classes_may_not_be_read_is_no_empty_host(
    host: t.Any, monkeypatch: pytest.MonkeyPatch, handler: str, ending: str
) -> None:
    _deny(monkeypatch, handler, ending)
    with pytest.raises(_reader.HostError, match=r"mdev_bus.*become"):
        snapshot(host.options())


@pytest.mark.parametrize(("handler", "ending"), [("list", "class/mdev_bus"), ("link", "bus/mdev/devices/" + UUID)])
def test_host_that_is_merely_busy_is_not_lost(
    host: t.Any, monkeypatch: pytest.MonkeyPatch, handler: str, ending: str
) -> None:
    """No driver answers there, so nobody hangs."""
    answer = _inventory.HANDLERS[handler]

    def late(path: str) -> t.Any:
        time.sleep(0.6 if path.endswith(ending) else 0)
        return answer(path)

    monkeypatch.setitem(_inventory.HANDLERS, handler, late)
    assert [device["id"] for device in snapshot(host.options(read_timeout=0.3))["devices"]] == [UUID]


@pytest.mark.fault("R14")
def test_devices_that_may_not_be_listed_are_noted_by_their_folder(host: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _deny(monkeypatch, "list", "class/vfio-dev")
    assert ("class/vfio-dev", "permission") in _reasons(snapshot(host.options())["notes"])


def test_device_that_became_an_mdev_meanwhile_is_left_to_the_next_run(host: t.Any) -> None:
    late = "22222222-2222-3333-4444-555555555555"
    path = host.mdev(PARENT_PATH, late, TYPE, 9, b"x\n")
    (host.sys / "bus/mdev/devices" / late).unlink()
    (host.sys / path / "vfio-dev/vfio3").mkdir(parents=True)
    host.link("class/vfio-dev/vfio3", path + "/vfio-dev/vfio3")
    assert [device["id"] for device in snapshot(host.options())["devices"]] == [UUID]


def _deny(monkeypatch: pytest.MonkeyPatch, handler: str, ending: str) -> None:
    real = _inventory.HANDLERS[handler]

    def denied(path: str) -> t.Any:
        if path.endswith(ending):
            raise PermissionError(13, "denied")
        return real(path)

    monkeypatch.setitem(_inventory.HANDLERS, handler, denied)


@pytest.mark.fault("R22", "R8")
def test_deadline_ends_it_with_a_note(host: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _hang_on(monkeypatch, TYPE + "/migration_version")
    found = snapshot(host.options(read_timeout=60.0, deadline=0.4))
    assert found["parents"][0]["types"][0]["migration_version"]["reason"] == "deadline"
    assert ("host", "deadline") in _reasons(found["notes"])
    assert found["parents"][0]["state"] == "ok"


def _hang_on(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """The read of one node never comes back; the real thing, in state D, is tested on the simulated fleet."""
    read, sleep = _inventory.HANDLERS["read"], time.sleep

    def hang(path: str) -> t.Any:
        return sleep(60) if path.endswith(ending) else read(path)

    monkeypatch.setitem(_inventory.HANDLERS, "read", hang)


def test_guard_takes_the_handlers_of_all_parts() -> None:
    with Guard(_inventory.HANDLERS, 1.0, 5.0) as guard:
        assert guard.run([Op("g", "pids", ("/proc",))])[0].state == "done"
