# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
import typing as t
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.module_utils import _workloads
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard
from ansible_collections.vfio.migration.plugins.module_utils._model import Name
from ansible_collections.vfio.migration.plugins.module_utils._workloads import DeviceKey, Domain, Process

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


MDEV = "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='%s'/></source></hostdev>" % (
    UUID.upper()
)
PCI = (
    "<hostdev mode='subsystem' type='pci'><source>"
    "<address domain='0x0000' bus='0x3b' slot='0x00' function='0x2'/></source>"
    "<address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/></hostdev>"
)
VF = PCI.replace("hostdev", "interface").replace("<address domain='0x0000'", "<address type='pci'")
DISKS = "<disk><source file='/a'/><target dev='vda'/></disk><disk><source file='/b'/><target dev='vdb'/></disk>"
USB = "<hostdev type='usb'><source><address bus='1' device='2'/></source></hostdev>"


def domain(devices: str, name: str = "web 1", uuid: str = VM.upper()) -> str:
    return "<domain type='kvm'><name>%s</name><uuid>%s</uuid><devices>%s</devices></domain>" % (name, uuid, devices)


DOMAINS: t.List[t.Any] = [
    pytest.param(domain(MDEV), [UUID], id="mdev"),
    pytest.param(domain(PCI), ["0000:3b:00.2"], id="PCI device, not its address in the VM"),
    pytest.param(domain(VF), ["0000:3b:00.2"], id="network interface, PCI domain left out"),
    pytest.param(domain(DISKS + PCI + USB + MDEV), ["0000:3b:00.2", UUID], id="among others"),
    pytest.param(domain(DISKS), [], id="no host device"),
    pytest.param("<!-- by libvirt --><domstatus state='running'>%s</domstatus>" % domain(MDEV), [UUID], id="running"),
]


@pytest.mark.parametrize(("text", "devices"), DOMAINS)
def test_libvirt_domains(text: str, devices: t.List[str]) -> None:
    assert _workloads.parse_domain(text.encode()) == ("web 1", VM, devices)


BROKEN_DOMAINS: t.List[t.Any] = [
    pytest.param(b"", id="empty"),
    pytest.param(domain(MDEV)[:-9].encode(), id="cut off"),
    pytest.param(b"<!DOCTYPE domain [<!ENTITY a 'b'>]>" + domain(MDEV).encode(), id="document type"),
    pytest.param(domain(MDEV).encode("utf-16"), id="another encoding"),
    pytest.param(b"<network><name>n</name><uuid>u</uuid></network>", id="no domain"),
    pytest.param(b"<domstatus><x/></domstatus>", id="state of no domain"),
    pytest.param(domain(MDEV, name="").encode(), id="no name"),
    pytest.param(domain(MDEV, uuid="").encode(), id="no UUID"),
    pytest.param(domain(PCI.replace("0x3b", "bus")).encode(), id="no address"),
    pytest.param(b" " * ((4 << 20) + 1) + domain(MDEV).encode(), id="too large"),
]


def _domains(*roots: t.Any) -> t.Tuple[t.List[Domain], t.List[str]]:
    with Guard(_workloads.HANDLERS, 5.0, 20.0) as guard:
        return _workloads.domains([str(root) for root in roots], guard)


@pytest.mark.parametrize("data", BROKEN_DOMAINS)
def test_broken_domain_may_hold_anything_and_spoils_no_other(tmp_path: t.Any, data: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(data)
    (tmp_path / "b.xml").write_text(domain(MDEV))
    assert _domains(tmp_path) == ([Domain("web 1", VM, [UUID])], [str(tmp_path / "a.xml")])


@given(st.one_of(st.binary(max_size=60), st.text(alphabet="<>/domain'=&;!?[] ", max_size=60).map(str.encode)))
def test_no_domain_file_breaks_it(data: bytes) -> None:
    with pytest.raises((ValueError, ET.ParseError)):
        _workloads.parse_domain(data)


def test_domain_files_are_read(tmp_path: t.Any) -> None:
    defined, running = tmp_path / "etc", tmp_path / "run"
    for root in (defined, running):
        (root / "networks").mkdir(parents=True)
        (root / "web.xml").write_text(domain(MDEV))
        (root / "web.pid").write_text("7")
    (running / "gone.xml").symlink_to("removed meanwhile")
    assert _domains(defined, running, tmp_path / "absent") == ([Domain("web 1", VM, [UUID])] * 2, [])


def _denied(_path: str) -> t.Any:
    raise PermissionError(13, "denied")


@pytest.mark.fault("R14")
@pytest.mark.parametrize("handler", ["domain_files", "domain"])
def test_libvirt_that_may_not_be_looked_at_leaves_it_open_who_holds_what(
    tree: t.Any, tmp_path: t.Any, handler: str
) -> None:
    tree.process(1, ["/sbin/init"])
    (tmp_path / "web.xml").write_text(domain(MDEV))
    with Guard(dict(_workloads.HANDLERS, **{handler: _denied}), 5.0, 20.0) as guard:
        users = _workloads.users(str(tree.proc), [str(tmp_path)], guard)
    assert not users.complete
    path = tmp_path if handler == "domain_files" else tmp_path / "web.xml"
    assert users.unread == [str(path)]
    assert _workloads.match(DEVICES, *users[:3]).of(UUID) is None


def test_too_many_domains_are_not_all_known(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workloads, "_MOST_DOMAINS", 1)
    for name in ("a", "b"):
        (tmp_path / (name + ".xml")).write_text(domain(MDEV, name))
    assert _domains(tmp_path) == ([Domain("a", VM, [UUID])], [str(tmp_path)])


def test_in_a_container_libvirt_is_looked_for_where_the_hosts_first_process_sees_it() -> None:
    assert _workloads.libvirt_roots("/proc/") == ("/etc/libvirt/qemu", "/run/libvirt/qemu")
    assert _workloads.libvirt_roots("/host/proc") == (
        "/host/proc/1/root/etc/libvirt/qemu",
        "/host/proc/1/root/run/libvirt/qemu",
    )


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
    assert [workload["id"] for workload in found.workloads] == [VM], "one that does not run is nobody's workload"


def test_process_without_command_line_can_hold_a_device(tree: t.Any) -> None:
    """Whoever empties it, or removes the node below /dev after opening it, is seen all the same."""
    tree.process(1, ["/sbin/init"])
    tree.process(10, [], ["/dev/vfio/7 (deleted)"])
    with Guard(_workloads.HANDLERS, 5.0, 20.0) as guard:
        processes, complete = _workloads.processes(str(tree.proc), guard)
    assert [holder["pid"] for holder in _workloads.match(DEVICES, processes, complete).of(UUID) or []] == [10]
