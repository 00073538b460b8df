# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
import time
import types
import typing as t
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.module_utils import _libvirt, _reader
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard
from ansible_collections.vfio.migration.plugins.module_utils._libvirt import Asked, Domain

UUID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
NEW = "eeeeeeee-2222-3333-4444-555555555555"
VM = "aaaaaaaa-0000-0000-0000-000000000001"

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
def test_domains(text: str, devices: t.List[str]) -> None:
    assert _libvirt.parse_domain(text.encode()) == ("web 1", VM, devices, "domstatus" in text)


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
    with Guard(_libvirt.FILE_HANDLERS, 5.0, 20.0) as guard:
        return _libvirt.from_files([str(root) for root in roots], guard)


@pytest.mark.parametrize("data", BROKEN_DOMAINS)
def test_broken_domain_may_hold_anything_and_spoils_no_other(tmp_path: t.Any, data: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(data)
    (tmp_path / "b.xml").write_text(domain(MDEV))
    assert _domains(tmp_path) == ([Domain("web 1", VM, [UUID])], [str(tmp_path / "a.xml")])


@given(st.one_of(st.binary(max_size=60), st.text(alphabet="<>/domain'=&;!?[] ", max_size=60).map(str.encode)))
def test_no_domain_file_breaks_it(data: bytes) -> None:
    with pytest.raises((ValueError, ET.ParseError)):
        _libvirt.parse_domain(data)


def test_domain_files_are_read(tmp_path: t.Any) -> None:
    defined, running = tmp_path / "etc", tmp_path / "run"
    for root in (defined, running):
        (root / "networks").mkdir(parents=True)
        (root / "web.xml").write_text(domain(MDEV))
        (root / "web.pid").write_text("7")
    (running / "gone.xml").symlink_to("removed meanwhile")
    assert _domains(defined, running, tmp_path / "absent") == ([Domain("web 1", VM, [UUID])] * 2, [])


def test_too_many_domains_are_not_all_known(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_libvirt, "_MOST_DOMAINS", 1)
    for name in ("a", "b"):
        (tmp_path / (name + ".xml")).write_text(domain(MDEV, name))
    assert _domains(tmp_path) == ([Domain("a", VM, [UUID])], [str(tmp_path)])


def test_in_a_container_libvirt_is_looked_for_where_the_hosts_first_process_sees_it() -> None:
    assert _reader.domain_folders("/proc/") == ("/etc/libvirt/qemu", "/run/libvirt/qemu")
    assert _reader.domain_folders("/host/proc") == (
        "/host/proc/1/root/etc/libvirt/qemu",
        "/host/proc/1/root/run/libvirt/qemu",
    )


STAYS = """<?xml version="1.0"?>\n<!-- d\u00e9j\u00e0 %s -->\n<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'
><name>a&amp;b</name><uuid>%s</uuid><devices>
<hostdev type="mdev"  display='off'><source>\t<address  uuid = "%s" /></source></hostdev>
<hostdev type='mdev'><source><address uuid='%s'></address></source></hostdev>
</devices><qemu:commandline><qemu:arg value='-x'/></qemu:commandline></domain>\n"""


def test_swapping_changes_the_uuids_and_nothing_else() -> None:
    text = STAYS % ("x", VM, UUID.upper(), OTHER)
    swapped = _libvirt.swap_mdevs(text.encode(), {UUID: NEW})
    assert swapped.decode() == STAYS % ("x", VM, NEW, OTHER)
    assert _libvirt.swap_mdevs(text.encode(), {UUID: UUID, OTHER: NEW}).decode() == STAYS % ("x", VM, UUID, NEW)
    assert _libvirt.swap_mdevs(text.encode(), {}) == text.encode()


def test_two_mdevs_may_change_places() -> None:
    text = STAYS % ("", VM, UUID, OTHER)
    assert _libvirt.swap_mdevs(text.encode(), {UUID: OTHER, OTHER: UUID}).decode() == STAYS % ("", VM, OTHER, UUID)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (domain(PCI), "does not name the mdev " + UUID),
        (STAYS % (UUID, VM, UUID, OTHER), "outside of a hostdev"),
        (domain(MDEV)[:-4], "is no XML"),
    ],
)
def test_what_cannot_be_swapped_as_a_whole_is_not_swapped(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _libvirt.swap_mdevs(text.encode(), {UUID: NEW})


@given(st.permutations([UUID, OTHER, NEW]), st.text(alphabet="<>'\"&; abc\u00e9", max_size=20))
def test_swapped_xml_names_the_new_devices(uuids: t.List[str], name: str) -> None:
    escaped = name.replace("&", "&amp;").replace("<", "&lt;")
    text = domain("".join(MDEV.replace(UUID.upper(), uuid) for uuid in uuids[:2]), name="n" + escaped)
    swapped = _libvirt.parse_domain(_libvirt.swap_mdevs(text.encode(), {uuids[0]: uuids[2]}))
    assert swapped.devices == sorted([uuids[1], uuids[2]])


# ------------------------------------------------------------------------- libvirt that answers in all ways it can


class FakeError(Exception):
    """As libvirt's own: a code and, for errors of the system, an errno."""

    def __init__(self, text: str, code: int, errno: int = -1) -> None:
        super().__init__(text)
        self._code = code
        self._errno = errno

    def get_error_code(self) -> int:
        return self._code

    def get_int1(self) -> int:
        return self._errno


class FakeDomain:
    def __init__(self, uuid: str, live: t.Optional[str], config: t.Optional[str]) -> None:
        self._uuid, self._live, self._config = uuid, live, config

    def UUIDString(self) -> str:  # noqa: N802
        return self._uuid

    def isActive(self) -> bool:  # noqa: N802
        return self._live is not None

    def isPersistent(self) -> bool:  # noqa: N802
        return self._config is not None

    def XMLDesc(self, flags: int = 0) -> t.Any:  # noqa: N802
        return self._config if flags or self._live is None else self._live


class Fake:
    """The binding; the process that asks inherits it by fork."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.domains: t.List[FakeDomain] = []
        self.on_open: t.Callable[[], t.Any] = lambda: None
        self.on_lookup: t.Callable[[str], t.Any] = lambda _uuid: None
        module = types.ModuleType("libvirt")
        numbers = {"SYSTEM_ERROR": 38, "NO_DOMAIN": 42, "AUTH_FAILED": 45, "AUTH_CANCELLED": 79}
        numbers.update(AUTH_UNAVAILABLE=80, ACCESS_DENIED=88, XML_DETAIL=35, XML_INVALID_SCHEMA=92)
        for name, number in numbers.items():
            setattr(module, "VIR_ERR_" + name, number)
        contents = {"libvirtError": FakeError, "VIR_DOMAIN_XML_INACTIVE": 2, "openReadOnly": self.open}
        vars(module).update(contents, registerErrorHandler=lambda *_arguments: None)
        monkeypatch.setitem(sys.modules, "libvirt", module)

    def open(self, _uri: str) -> Fake:
        self.on_open()
        return self

    def listAllDomains(self) -> t.List[FakeDomain]:  # noqa: N802
        return self.domains

    def lookupByUUIDString(self, uuid: str) -> FakeDomain:  # noqa: N802
        self.on_lookup(uuid)
        return next(one for one in self.domains if one.UUIDString() == uuid)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


def _ask(timeout: float = 5.0) -> Asked:
    return _libvirt.from_libvirt("fake:///system", timeout, 20.0)


def _raise(error: Exception) -> t.Any:
    raise error


def test_running_domain_has_devices_now_and_after_its_next_start(fake: Fake) -> None:
    off = "aaaaaaaa-0000-0000-0000-000000000002"
    fake.domains = [
        FakeDomain(VM, domain(MDEV), domain(PCI)),
        FakeDomain(off, None, domain(PCI, "off", off)),
        FakeDomain("aaaaaaaa-0000-0000-0000-000000000003", domain(MDEV, "gone with its end"), None),
    ]
    assert _ask().domains == [
        Domain("web 1", VM, [UUID], True),
        Domain("web 1", VM, ["0000:3b:00.2"], False),
        Domain("off", off, ["0000:3b:00.2"], False),
        Domain("gone with its end", VM, [UUID], True),
    ]


PROBLEMS: t.List[t.Any] = [
    pytest.param(FakeError("no\nsocket \x1b", 38, 2), ("nobody", "no socket"), id="no socket"),
    pytest.param(FakeError("refused", 38, 111), ("nobody", "refused"), id="nobody listens"),
    pytest.param(FakeError("denied", 38, 13), ("denied", "denied"), id="socket of others"),
    pytest.param(FakeError("polkit", 45), ("denied", "polkit"), id="authentication"),
    pytest.param(FakeError("acl", 88), ("denied", "acl"), id="access control"),
    pytest.param(FakeError("unknown driver", 38, 71), ("refused", "unknown driver"), id="another error of the system"),
    pytest.param(FakeError("x" * 9999, 1), ("refused", "x" * 300), id="anything else"),
    pytest.param(RuntimeError("odd"), ("refused", "RuntimeError: odd"), id="a binding that breaks"),
]


@pytest.mark.fault("V1")
@pytest.mark.parametrize(("error", "expected"), PROBLEMS)
def test_libvirt_that_cannot_be_asked_says_why(fake: Fake, error: Exception, expected: t.Tuple[str, str]) -> None:
    fake.on_open = lambda: _raise(error)
    asked = _ask()
    assert (asked.domains, asked.problem, asked.said) == ([], *expected)
    assert "(%s)" % expected[1] in _libvirt.why(expected[0], expected[1])


@pytest.mark.fault("V1")
def test_host_without_the_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    assert _ask() == Asked([], "no_binding", "")


@pytest.mark.fault("V2")
def test_libvirt_that_hangs_costs_its_time_and_no_more(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_libvirt, "_PATIENCE", 0.3)
    fake.on_open = lambda: time.sleep(60)
    start = time.monotonic()
    assert _ask(0.1).problem == "hung"
    assert time.monotonic() - start < 10


@pytest.mark.fault("V2")
def test_domain_that_hangs_leaves_those_before_it(fake: Fake) -> None:
    off = "aaaaaaaa-0000-0000-0000-000000000002"
    fake.domains = [FakeDomain(VM, None, domain(MDEV)), FakeDomain(off, None, domain(MDEV, "off", off))]
    fake.on_lookup = lambda uuid: time.sleep(60 if uuid == off else 0)
    assert _ask(0.5) == Asked([Domain("web 1", VM, [UUID])], "hung", "", False)


def test_domain_that_went_away_meanwhile_is_no_news(fake: Fake) -> None:
    fake.domains = [FakeDomain(VM, None, domain(MDEV))]
    fake.on_lookup = lambda _uuid: _raise(FakeError("no domain", 42))
    assert _ask() == Asked([])


@pytest.mark.parametrize("text", ["<domain", domain("", name="")])
def test_domain_that_makes_no_sense_may_hold_anything(fake: Fake, text: str) -> None:
    fake.domains = [FakeDomain(VM, None, text)]
    assert _ask() == Asked([], complete=False)
