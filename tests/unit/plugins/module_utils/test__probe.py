# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os
import shutil
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _probe, _sysfs
from ansible_collections.vfio.migration.plugins.module_utils._model import VerdictSet

UUID = "11111111-2222-3333-4444-555555555555"
PARENT = "0000:00:02.0"
PARENT_PATH = "devices/pci0000:00/" + PARENT
TYPE = "i915-GVTg_V5_4"
TYPE_NODE = PARENT_PATH + "/mdev_supported_types/" + TYPE + "/migration_version"
AT_TYPE = {
    "scope": "type",
    "parent": PARENT,
    "type": TYPE,
    "device": None,
    "string": "s",
    "vendor": "pci:8086",
    "source_type": TYPE,
}
AT_DEVICE = {
    "scope": "device",
    "parent": None,
    "type": None,
    "device": UUID,
    "string": "s",
    "vendor": "pci:8086",
    "source_type": None,
}


class Log:
    """Writes that reached a node, in a file because they happen in a child process."""

    def __init__(self, path: str) -> None:
        self.path = path

    def add(self, node: str, data: bytes) -> None:
        with open(self.path, "ab") as file:
            file.write(os.path.basename(os.path.dirname(node)).encode() + b"=" + data + b"\x1f")

    def entries(self) -> t.List[bytes]:
        if not os.path.exists(self.path):
            return []
        with open(self.path, "rb") as file:
            return file.read().split(b"\x1f")[:-1]


@pytest.fixture
def log(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> Log:
    """Counts what is written; the answer is what ``ANSWERS`` says of the string."""
    found = Log(str(tmp_path / "writes"))

    def write(path: str, data: bytes) -> int:
        found.add(path, data)
        answer = ANSWERS.get(data, len(data))
        if answer < 0:
            raise OSError(-answer, os.strerror(-answer))
        return answer

    monkeypatch.setitem(_sysfs.HANDLERS, "write", write)
    return found


ANSWERS = {
    b"short": 2,
    b"einval": -errno.EINVAL,
    b"eio": -errno.EIO,
    b"erange": -errno.ERANGE,
    b"eacces": -errno.EACCES,
    b"eperm": -errno.EPERM,
    b"erofs": -errno.EROFS,
    b"eagain": -errno.EAGAIN,
    b"enomem": -errno.ENOMEM,
    b"enoent": -errno.ENOENT,
}


def _ask(host: t.Any, *requests: t.Mapping[str, t.Any], **changes: t.Any) -> VerdictSet:
    max_writes = changes.pop("max_writes", 100)
    check_mode = changes.pop("check_mode", False)
    return _probe.verdicts(host.options(**changes), _probe.parse_requests(requests), max_writes, check_mode)


def _answers(found: VerdictSet) -> t.List[t.Tuple[str, t.Optional[str], t.Optional[str]]]:
    return [(verdict["verdict"], verdict["reason"], verdict["errno"]) for verdict in found["verdicts"]]


WRITES: t.List[t.Any] = [
    pytest.param("fine", ("compatible", None, None), 4, id="accepted"),
    pytest.param("einval", ("incompatible", "errno", "EINVAL"), 0, marks=pytest.mark.fault("P1")),
    pytest.param("eio", ("incompatible", "errno", "EIO"), 0, marks=pytest.mark.fault("P1")),
    pytest.param("erange", ("incompatible", "errno", "ERANGE"), 0, marks=pytest.mark.fault("P1")),
    pytest.param("eacces", ("unknown", "not_probed", "EACCES"), None, marks=pytest.mark.fault("P2")),
    pytest.param("eperm", ("unknown", "not_probed", "EPERM"), None, marks=pytest.mark.fault("P2")),
    pytest.param("erofs", ("unknown", "not_probed", "EROFS"), None, marks=pytest.mark.fault("P2")),
    pytest.param("short", ("unknown", "short_write", None), 2, marks=pytest.mark.fault("P3")),
    pytest.param("eagain", ("unknown", "busy", "EAGAIN"), 0, marks=pytest.mark.fault("R4")),
    pytest.param("enomem", ("unknown", "busy", "ENOMEM"), 0, marks=pytest.mark.fault("R4", "P1")),
    pytest.param("enoent", ("unknown", "gone", "ENOENT"), None, marks=pytest.mark.fault("P1")),
]


@pytest.mark.parametrize(("string", "answer", "count"), WRITES)
def test_answers_of_a_driver(
    host: t.Any, log: Log, string: str, answer: t.Tuple[str, t.Any, t.Any], count: t.Optional[int]
) -> None:
    found = _ask(host, dict(AT_TYPE, string=string), dict(AT_DEVICE, string=string))
    assert _answers(found) == [answer, answer]
    assert [verdict["bytes_written"] for verdict in found["verdicts"]] == [count, count]
    assert {verdict["form"] for verdict in found["verdicts"]} == {None if count is None else "without_newline"}
    assert set(log.entries()) == {("%s=%s" % (node, string)).encode() for node in (TYPE, UUID)}


@pytest.mark.fault("P1")
@pytest.mark.usefixtures("log")
def test_no_from_a_node_that_cannot_be_read_afterwards_is_unknown(host: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = _sysfs.HANDLERS["read"]

    def broken(path: str) -> t.Any:
        if path.endswith("migration_version"):
            raise OSError(errno.ENODEV, "")
        return read(path)

    monkeypatch.setitem(_sysfs.HANDLERS, "read", broken)
    assert _answers(_ask(host, dict(AT_TYPE, string="einval"))) == [("unknown", "unreadable", "EINVAL")]


VF, VF_PATH = "0000:3b:00.2", "devices/pci0000:3b/0000:3b:00.2"
OWNERS = [
    pytest.param(AT_TYPE, os.path.dirname(TYPE_NODE), id="type"),
    pytest.param(AT_DEVICE, PARENT_PATH + "/" + UUID, id="mdev"),
    pytest.param(dict(AT_DEVICE, device=VF), VF_PATH, id="vfio"),
]


@pytest.mark.fault("R2", "R5")
@pytest.mark.parametrize(("request_", "owner"), OWNERS)
def test_node_that_is_not_there_is_absent_and_one_whose_owner_went_away_is_gone(
    host: t.Any, monkeypatch: pytest.MonkeyPatch, request_: t.Any, owner: str
) -> None:
    host.device(VF_PATH, "pci", "mlx5_vfio_pci", "0x8086")
    host.link("bus/pci/devices/" + VF, VF_PATH)
    host.file(owner + "/migration_version", b"s")
    assert _answers(_ask(host, request_)) == [("compatible", None, None)]
    (host.sys / owner / "migration_version").unlink()
    assert _answers(_ask(host, request_)) == [("unknown", "absent", "ENOENT")]

    def vanish(path: str, _data: bytes) -> int:
        shutil.rmtree(str(host.sys / owner))
        raise OSError(errno.ENOENT, path)

    monkeypatch.setitem(_sysfs.HANDLERS, "write", vanish)
    assert _answers(_ask(host, request_)) == [("unknown", "gone", "ENOENT")]


@pytest.mark.fault("P5", "R12", "R13")
@pytest.mark.parametrize("string", [" 0x10 ", "{{ 1+1 }}", "yes", "1e3", "'\"\\", "a\nb", "\ta ", "x" * 4094])
def test_string_is_written_as_it_is(host: t.Any, log: Log, string: str) -> None:
    found = _ask(host, dict(AT_TYPE, string=string))
    assert log.entries() == [(TYPE + "=" + string).encode()]
    assert _answers(found) == [("compatible", None, None)]
    assert found["verdicts"][0]["form"] == "without_newline"


REFUSED: t.List[t.Any] = [
    pytest.param(dict(AT_TYPE, vendor="pci:10de"), "incompatible", "vendor", marks=pytest.mark.fault("P13")),
    pytest.param(dict(AT_DEVICE, vendor="pci:10de"), "incompatible", "vendor", marks=pytest.mark.fault("P13")),
    pytest.param(dict(AT_TYPE, source_type="i915-GVTg_V5_8"), "incompatible", "type", marks=pytest.mark.fault("P11")),
    pytest.param(dict(AT_TYPE, source_type=None), "incompatible", "type", marks=pytest.mark.fault("P11")),
    pytest.param(dict(AT_TYPE, string="x" * 4097), "unknown", "too_long", marks=pytest.mark.fault("P4")),
    pytest.param(dict(AT_TYPE, string=""), "unknown", "empty", marks=pytest.mark.fault("R10")),
    pytest.param(dict(AT_TYPE, string="caf\xe9"), "unknown", "not_ascii", marks=pytest.mark.fault("R11")),
    pytest.param(dict(AT_TYPE, parent="0000:ff:00.0"), "unknown", "absent", id="no such parent"),
    pytest.param(dict(AT_DEVICE, device="0000:ff:00.0"), "unknown", "absent", id="no such device"),
]


@pytest.mark.parametrize(("request_", "verdict", "reason"), REFUSED)
def test_answers_that_need_no_write(host: t.Any, log: Log, request_: t.Any, verdict: str, reason: str) -> None:
    assert _answers(_ask(host, request_)) == [(verdict, reason, None)]
    assert log.entries() == []


@pytest.mark.fault("P12")
def test_the_same_string_is_written_once_to_a_node(host: t.Any, log: Log) -> None:
    found = _ask(host, AT_TYPE, AT_TYPE, dict(AT_DEVICE, source_type="one"), dict(AT_DEVICE, source_type="two"))
    assert log.entries() == [(TYPE + "=s").encode(), (UUID + "=s").encode()]
    assert len(found["verdicts"]) == 3
    assert found["written"] == 2


@pytest.mark.fault("P12")
def test_writes_are_capped_and_the_rest_is_unknown(host: t.Any, log: Log) -> None:
    found = _ask(host, *(dict(AT_TYPE, string="s%d" % number) for number in range(5)), max_writes=2)
    assert len(log.entries()) == 2
    assert [reason for _verdict, reason, _errno in _answers(found)] == [None, None] + ["write_limit"] * 3
    assert [note["reason"] for note in found["notes"]] == ["write_limit"]


@pytest.mark.fault("P10")
def test_check_mode_writes_nothing_and_says_what_it_would(host: t.Any, log: Log) -> None:
    found = _ask(host, AT_TYPE, AT_DEVICE, dict(AT_TYPE, vendor="pci:10de"), check_mode=True)
    assert log.entries() == []
    assert found["would_write"] == [AT_TYPE, AT_DEVICE]
    assert [reason for _verdict, reason, _errno in _answers(found)] == ["check_mode", "check_mode", "vendor"]
    assert found["written"] == 0


@pytest.mark.fault("P6")
def test_hung_write_ends_the_questions_to_its_parent(
    host: t.Any, monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any
) -> None:
    log, sleep = Log(str(tmp_path / "hung")), time.sleep

    def write(path: str, data: bytes) -> int:
        log.add(path, data)
        if data == b"deaf":
            sleep(60)
        return len(data)

    monkeypatch.setitem(_sysfs.HANDLERS, "write", write)
    found = _ask(host, dict(AT_TYPE, string="deaf"), AT_TYPE, AT_DEVICE, read_timeout=0.3)
    assert [reason for _verdict, reason, _errno in _answers(found)] == ["hung"] * 3
    assert log.entries() == [(TYPE + "=deaf").encode()], "the instances of a hung parent are left alone, too"
    assert [(note["item"], note["reason"]) for note in found["notes"]] == [(PARENT_PATH, "hung")]


@pytest.mark.fault("P13")
def test_vendor_that_was_not_read_is_not_another_vendor(host: t.Any, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    read = _sysfs.HANDLERS["read"]

    def late(path: str) -> t.Any:
        if path.endswith("/vendor"):
            raise OSError(errno.EBUSY, "")
        return read(path)

    monkeypatch.setitem(_sysfs.HANDLERS, "read", late)
    assert _answers(_ask(host, AT_TYPE)) == [("unknown", "vendor_unknown", None)]
    assert log.entries() == []


@pytest.mark.fault("R6", "P13")
@pytest.mark.parametrize("lost", ["vendor", "subsystem"])
def test_device_that_is_on_its_way_out_is_not_another_vendors(host: t.Any, log: Log, lost: str) -> None:
    """Each PCI device has a vendor, and each parent a subsystem, until it is unplugged."""
    (host.sys / PARENT_PATH / lost).unlink()
    assert _answers(_ask(host, AT_TYPE)) == [("unknown", "vendor_unknown", None)]
    assert log.entries() == []


@pytest.mark.fault("P7")
@pytest.mark.usefixtures("log")
def test_evidence_says_for_what_the_verdict_holds(host: t.Any) -> None:
    host.link("bus/pci/drivers/i915/module", "module/i915")
    host.file("module/i915/version", b"1.2\n")
    boot = host.proc / "sys/kernel/random"
    boot.mkdir(parents=True)
    (boot / "boot_id").write_text("b-1\n")
    found = _ask(host, AT_TYPE, AT_DEVICE)
    for verdict in found["verdicts"]:
        evidence = verdict["evidence"]
        assert (evidence["boot_id"], evidence["driver"], evidence["driver_version"]) == ("b-1", "i915", "1.2")
        assert evidence["time"] == found["time"]


def test_device_that_is_not_mediated_is_asked_at_location_3(tree: t.Any, log: Log) -> None:
    path = "devices/pci0000:3a/0000:3b:00.2"
    tree.device(path, "pci", "mlx5_vfio_pci", "0x15b3")
    tree.link("bus/pci/devices/0000:3b:00.2", path)
    (tree.sys / "bus/mdev").mkdir(parents=True)
    found = _ask(tree, dict(AT_DEVICE, device="0000:3b:00.2", vendor="pci:15b3"))
    assert _answers(found) == [("compatible", None, None)]
    assert log.entries() == [b"0000:3b:00.2=s"]


@pytest.mark.fault("L10")
@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "..", ".", "", "a/b", "a\0b", "x" * 300])
def test_hostile_names_are_refused_before_a_path_is_built(name: str) -> None:
    bad = [
        dict(AT_TYPE, parent=name),
        dict(AT_TYPE, type=name),
        dict(AT_DEVICE, device=name),
        dict(AT_DEVICE, source_type=name),
        dict(AT_DEVICE, parent=name),
    ]
    errors = _probe.request_errors(_probe.parse_requests([AT_TYPE, *bad]))
    assert [error.split()[0] for error in errors] == [
        "requests[1].parent",
        "requests[2].type",
        "requests[3].device",
        "requests[4].source_type",
        "requests[5].parent",
    ]


def test_incomplete_requests_are_named() -> None:
    requests = _probe.parse_requests([dict(AT_TYPE, parent=None), dict(AT_DEVICE, device=None)])
    assert _probe.request_errors(requests) == [
        "requests[0].parent is needed to name a type node",
        "requests[1].device is needed to name a device node",
    ]
