# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.module_utils import _workloads
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard
from ansible_collections.vfio.migration.plugins.module_utils._libvirt import Domain
from ansible_collections.vfio.migration.plugins.module_utils._model import Name
from ansible_collections.vfio.migration.plugins.module_utils._workloads import DeviceKey, Process

UUID = "11111111-2222-3333-4444-555555555555"
VM = "aaaaaaaa-0000-0000-0000-000000000001"
DEVICES = [DeviceKey(Name(UUID), 7, ["vfio0"]), DeviceKey(Name("0000:3b:00.2"), 8, [])]

QEMU: t.List[t.Any] = [
    pytest.param(
        [
            "/usr/bin/qemu-system-x86_64",
            "-name",
            "guest=web 1,debug-threads=on",
            "-uuid",
            VM.upper(),
            "-device",
            "vfio-pci,id=h0,sysfsdev=/sys/bus/mdev/devices/" + UUID,
        ],
        ("web 1", VM, [UUID]),
        id="libvirt's words",
    ),
    pytest.param(
        [
            "/usr/libexec/qemu-kvm",
            "-name",
            "plain",
            "-device",
            '{"driver":"vfio-pci","sysfsdev":"/sys/bus/mdev/devices/%s","id":"x"}' % UUID.upper(),
        ],
        ("plain", None, [UUID]),
        id="json device",
    ),
    pytest.param(
        ["kvm", "-name", "a,,b,process=x", "-device", "vfio-pci,host=3b:00.2"],
        ("a,b", None, ["0000:3b:00.2"]),
        id="short address and escaped comma",
    ),
    pytest.param(
        ["qemu-kvm", "--name", "two dashes", "-device", "vfio-pci,host=0000:3b:00.2"],
        ("two dashes", None, ["0000:3b:00.2"]),
        id="two dashes",
    ),
    pytest.param(["qemu-kvm", "-device", "{broken", "-device"], (None, None, []), id="broken"),
    pytest.param(
        ["qemu-kvm", "-device", "vfio-pci,sysfsdev=/sys/devices/other"], (None, None, []), id="foreign device"
    ),
]


@pytest.mark.parametrize(("argv", "expected"), QEMU)
def test_qemu_command_lines(argv: t.List[str], expected: t.Tuple[t.Any, t.Any, t.List[str]]) -> None:
    found = _workloads.match(DEVICES, [Process(42, argv, [])], True)
    name, uuid, ids = expected
    assert sorted(found.holders) == sorted(ids)
    assert [(workload["name"], workload["uuid"], workload["devices"]) for workload in found.workloads] == (
        [(name, uuid, ids)] if ids else []
    )


def test_open_nodes_name_the_holder() -> None:
    found = _workloads.match(
        DEVICES,
        [
            Process(1, ["/sbin/init"], []),
            Process(5, ["/usr/bin/dpdk", "-x"], ["/dev/vfio/8", "/dev/vfio/vfio"]),
            Process(6, ["qemu-kvm", "-uuid", VM], ["/dev/vfio/devices/vfio0"]),
        ],
        True,
    )
    assert found.holders == {
        "0000:3b:00.2": [{"pid": 5, "command": "/usr/bin/dpdk", "workload": "pid:5"}],
        UUID: [{"pid": 6, "command": "qemu-kvm", "workload": VM}],
    }
    assert [(workload["id"], workload["kind"]) for workload in found.workloads] == [("pid:5", "process"), (VM, "qemu")]


@pytest.mark.fault("C11")
def test_group_without_an_iommu_has_another_name_and_is_held_all_the_same() -> None:
    dpdk = Process(5, ["dpdk"], ["/dev/vfio/noiommu-8"])
    assert [one["pid"] for one in _workloads.match(DEVICES, [dpdk], True).of("0000:3b:00.2") or ()] == [5]


def test_other_programs_are_no_vms() -> None:
    assert not _workloads.match(
        DEVICES, [Process(9, ["bash", "-name", "x", "-device", "host=3b:00.2"], [])], True
    ).holders


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
def test_no_command_line_breaks_it(words: t.List[str]) -> None:
    found = _workloads.match(DEVICES, [Process(1, ["qemu"] + words, None)], False)
    assert found.unsure == {UUID, "0000:3b:00.2"}


def test_proc_is_read(tree: t.Any) -> None:
    tree.process(10, ["qemu-kvm", "-uuid", VM], ["/dev/vfio/7", "/dev/null"])
    tree.process(11, [], [])
    (tree.proc / "self").mkdir()
    tree.process(1, ["/sbin/init"])
    with Guard(_workloads.HANDLERS, 5.0, 20.0) as guard:
        processes, complete = _workloads.processes(str(tree.proc), guard)
    assert processes == [
        Process(1, ["/sbin/init"], []),
        Process(10, ["qemu-kvm", "-uuid", VM], ["/dev/vfio/7"]),
        Process(11, [""], []),
    ]
    assert complete


@pytest.mark.fault("R14")
def test_hidden_processes_leave_it_open_who_holds_what(tmp_path: t.Any) -> None:
    with Guard(_workloads.HANDLERS, 5.0, 20.0) as guard:
        assert _workloads.processes(str(tmp_path / "nothing"), guard) == ([], False)


@pytest.mark.fault("R14")
def test_user_who_is_shown_own_processes_only_knows_of_no_free_device(tree: t.Any) -> None:
    """/proc mounted with hidepid: not even process 1 is there."""
    tree.process(10, ["bash"])
    with Guard(_workloads.HANDLERS, 5.0, 20.0) as guard:
        processes, complete = _workloads.processes(str(tree.proc), guard)
    assert not complete
    assert _workloads.match(DEVICES, processes, complete).of(UUID) is None


def _deaf(_proc_root: str, pid: int) -> t.Any:
    if pid == 10:
        time.sleep(60)
    if pid == 11:
        raise PermissionError(13, "denied")
    if pid == 12:
        raise FileNotFoundError(2, "ended")
    return b"/sbin/init\0", []


@pytest.mark.parametrize(("pid", "complete"), [(10, False), (11, False), (12, True)])
def test_process_that_cannot_be_looked_at_may_hold_anything(tree: t.Any, pid: int, complete: bool) -> None:
    """One that hangs (in mmap, say), one that is denied; one that ended meanwhile holds nothing any more."""
    tree.process(1, ["/sbin/init"])
    tree.process(pid, ["x"])
    with Guard(dict(_workloads.HANDLERS, process=_deaf), 0.3, 20.0) as guard:
        assert _workloads.processes(str(tree.proc), guard)[1] is complete


def test_device_whose_group_is_unknown_is_not_called_free() -> None:
    device = DeviceKey(Name(UUID), None, [], sure=False)
    found = _workloads.match([device], [Process(1, ["/sbin/init"], [])], True)
    assert found.of(UUID) is None
    named = Process(9, ["qemu-kvm", "-device", "vfio-pci,sysfsdev=/sys/bus/mdev/devices/" + UUID], [])
    assert [holder["pid"] for holder in _workloads.match([device], [named], True).of(UUID) or []] == [9]


def test_command_line_made_to_break_us_does_not() -> None:
    """Anybody may start a program with QEMU's name and any words."""
    nested = '{"a":' * 200000
    found = _workloads.match(
        DEVICES,
        [Process(9, ["qemu-x", "-name", "n" * 5000, "-device", nested, "-device", "vfio-pci,host=3b:00.2"], [])],
        True,
    )
    assert found.workloads[0]["devices"] == ["0000:3b:00.2"]
    assert len(found.workloads[0]["name"] or "") == 256


def _denied(_path: str) -> t.Any:
    raise PermissionError(13, "denied")


@pytest.mark.fault("R14")
@pytest.mark.parametrize("handler", ["domain_files", "domain"])
def test_libvirt_that_may_not_be_looked_at_leaves_it_open_who_holds_what(
    tree: t.Any, tmp_path: t.Any, handler: str
) -> None:
    tree.process(1, ["/sbin/init"])
    (tmp_path / "web.xml").write_text("<domain/>")
    with Guard(dict(_workloads.HANDLERS, **{handler: _denied}), 5.0, 20.0) as guard:
        users = _workloads.users(str(tree.proc), [str(tmp_path)], guard)
    assert not users.complete
    path = tmp_path if handler == "domain_files" else tmp_path / "web.xml"
    assert users.unread == [str(path)]
    assert _workloads.match(DEVICES, *users[:3]).of(UUID) is None


def test_domain_holds_what_it_names_once() -> None:
    """Defined and in the files of those that run; that it runs is known from its QEMU."""
    off = Domain("db", "aaaaaaaa-0000-0000-0000-000000000002", [UUID, "0000:3b:00.2", "0000:99:00.0"])
    web = Domain("web 1", VM, [UUID])
    qemu = Process(6, ["qemu-kvm", "-uuid", VM], ["/dev/vfio/7"])
    found = _workloads.match(DEVICES, [qemu], True, [web, web, off, off])
    by_off = {"pid": None, "command": "libvirt domain db", "workload": off.uuid}
    assert found.holders == {
        UUID: [{"pid": 6, "command": "qemu-kvm", "workload": VM}, by_off],
        "0000:3b:00.2": [by_off],
    }
    assert [(one["id"], one["name"], one["state"], one["pid"], one["devices"]) for one in found.workloads] == [
        (VM, "web 1", "running", 6, [UUID]),
        (off.uuid, "db", "inactive", None, ["0000:3b:00.2", UUID]),
    ]


def test_running_domain_has_what_it_has_now() -> None:
    """What its next start adds is held by it, but does not move with it; a process that is hidden does not stop it."""
    config = Domain("web 1", VM, [UUID, "0000:3b:00.2"])
    live = Domain("web 1", VM, [UUID], True)
    found = _workloads.match(DEVICES, [], True, [config, live])
    assert sorted(found.holders) == ["0000:3b:00.2", UUID]
    assert found.workloads == [
        {"id": VM, "kind": "qemu", "name": "web 1", "uuid": VM, "pid": None, "state": "running", "devices": [UUID]}
    ]


def test_one_vm_is_one_workload_whoever_tells_of_it() -> None:
    """QEMU without a name, one device seen by /proc and another by libvirt only."""
    qemu = Process(6, ["qemu-kvm", "-uuid", VM], ["/dev/vfio/7"])
    found = _workloads.match(DEVICES, [qemu], True, [Domain("web 1", VM, ["0000:3b:00.2"], True)])
    assert [(one["name"], one["pid"], one["devices"]) for one in found.workloads] == [
        ("web 1", 6, ["0000:3b:00.2", UUID])
    ]


def test_domain_of_other_devices_is_no_workload_of_ours() -> None:
    assert not _workloads.match(DEVICES, [], True, [Domain("disk only", VM, ["0000:99:00.0"], True)]).workloads


@pytest.mark.fault("V3")
def test_mdevs_that_are_missing_are_told_once_for_each_vm() -> None:
    gone = "99999999-2222-3333-4444-555555555555"
    web = Domain("web 1", VM, [UUID, gone, "0000:99:00.0"])
    assert _workloads.missing([web, web, Domain("ok", "b", [UUID])], [UUID.upper()]) == [(web, [gone])]


def test_process_without_command_line_can_hold_a_device(tree: t.Any) -> None:
    """Whoever empties it, or removes the node below /dev after opening it, is seen all the same."""
    tree.process(1, ["/sbin/init"])
    tree.process(10, [], ["/dev/vfio/7 (deleted)"])
    with Guard(_workloads.HANDLERS, 5.0, 20.0) as guard:
        processes, complete = _workloads.processes(str(tree.proc), guard)
    assert [holder["pid"] for holder in _workloads.match(DEVICES, processes, complete).of(UUID) or []] == [10]


@pytest.mark.fault("C11")
def test_process_whose_first_thread_ended_is_seen_by_its_others(tree: t.Any) -> None:
    """The kernel shows neither its command line nor what it has open, and the device is held all the same."""
    tree.process(1, ["/sbin/init"])
    tree.process(10, [])
    for thread, target in ((10, None), (11, "/dev/vfio/7")):
        directory = tree.proc / "10" / "task" / str(thread) / "fd"
        directory.mkdir(parents=True)
        if target:
            (directory / "3").symlink_to(target)
    with Guard(_workloads.HANDLERS, 5.0, 20.0) as guard:
        processes, complete = _workloads.processes(str(tree.proc), guard)
    assert [holder["pid"] for holder in _workloads.match(DEVICES, processes, complete).of(UUID) or []] == [10]
