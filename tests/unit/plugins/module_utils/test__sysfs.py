# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import errno
import os
import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.module_utils import _sysfs
from ansible_collections.vfio.migration.plugins.module_utils._guard import HUNG, LATE, Guard, Outcome

PAGE = 4096

VALUES: t.List[t.Any] = [
    pytest.param(b"8086-x\n", "8086-x", id="one newline is stripped"),
    pytest.param(b"8086-x", "8086-x", id="no newline"),
    pytest.param(b"a\n\n", "a\n", id="only one newline is stripped", marks=pytest.mark.fault("R12")),
    pytest.param(b"a\nb\n", "a\nb", id="inner newline", marks=pytest.mark.fault("R12")),
    pytest.param(b"  a \t\n", "  a \t", id="blanks", marks=pytest.mark.fault("R12")),
    pytest.param(b" 0x10 \n", " 0x10 ", id="number", marks=pytest.mark.fault("R13")),
    pytest.param(b"yes\n", "yes", id="boolean", marks=pytest.mark.fault("R13")),
    pytest.param(b"{{ 1+1 }}\n", "{{ 1+1 }}", id="template", marks=pytest.mark.fault("R13")),
    pytest.param(b'{"a": [1]}\n', '{"a": [1]}', id="json", marks=pytest.mark.fault("R13")),
    pytest.param(b"x" * 4094 + b"\n", "x" * 4094, id="full page with its newline"),
]

INVALID: t.List[t.Any] = [
    pytest.param(b"x" * 4095, 4096, "truncated", marks=pytest.mark.fault("R9")),
    pytest.param(b"x" * 65535, 65536, "truncated", marks=pytest.mark.fault("R9")),
    pytest.param(b"x" * 4095, 65536, "truncated", marks=pytest.mark.fault("R9")),
    pytest.param(b"x" * 16383, 16384, "truncated", marks=pytest.mark.fault("R9")),
    pytest.param(b"", PAGE, "empty", marks=pytest.mark.fault("R10")),
    pytest.param(b"\n", PAGE, "empty", marks=pytest.mark.fault("R10")),
    pytest.param(b"caf\xc3\xa9\n", PAGE, "not_ascii", marks=pytest.mark.fault("R11")),
    pytest.param(b"\xff\xfe\xc3\x28\n", PAGE, "not_ascii", marks=pytest.mark.fault("R11")),
    pytest.param(b"a\0b\n", PAGE, "not_ascii", marks=pytest.mark.fault("R11")),
    pytest.param(b"a\x1b[31m\n", PAGE, "not_ascii", marks=pytest.mark.fault("R11")),
    pytest.param(b"a\r\n", PAGE, "not_ascii", marks=pytest.mark.fault("R11")),
]

UNREAD: t.List[t.Any] = [
    pytest.param(errno.ENOENT, "unsupported", "absent", "ENOENT", marks=pytest.mark.fault("R2")),
    pytest.param(errno.ENODEV, "unsupported", "errno", "ENODEV", marks=pytest.mark.fault("R3")),
    pytest.param(errno.EOPNOTSUPP, "unsupported", "errno", "EOPNOTSUPP", marks=pytest.mark.fault("R3")),
    pytest.param(errno.EIO, "unsupported", "errno", "EIO", marks=pytest.mark.fault("R3")),
    pytest.param(errno.EINVAL, "unsupported", "errno", "EINVAL", marks=pytest.mark.fault("R3")),
    pytest.param(errno.EAGAIN, "unknown", "busy", "EAGAIN", marks=pytest.mark.fault("R4")),
    pytest.param(errno.EBUSY, "unknown", "busy", "EBUSY", marks=pytest.mark.fault("R4")),
    pytest.param(errno.EINTR, "unknown", "busy", "EINTR", marks=pytest.mark.fault("R4")),
    pytest.param(errno.ETIMEDOUT, "unknown", "busy", "ETIMEDOUT", marks=pytest.mark.fault("R4")),
    pytest.param(errno.ENOMEM, "unknown", "busy", "ENOMEM", marks=pytest.mark.fault("R4")),
    pytest.param(errno.EMFILE, "unknown", "busy", "EMFILE", marks=pytest.mark.fault("R4")),
    pytest.param(errno.EACCES, "unknown", "permission", "EACCES", marks=pytest.mark.fault("R14")),
    pytest.param(errno.EPERM, "unknown", "permission", "EPERM", marks=pytest.mark.fault("R14")),
]


@pytest.mark.parametrize(("raw", "value"), VALUES)
def test_value_is_kept_byte_for_byte(raw: bytes, value: str) -> None:
    assert _sysfs.attribute(Outcome("done", raw), PAGE) == {
        "status": "ok",
        "value": value,
        "reason": None,
        "errno": None,
        "raw": None,
    }


@pytest.mark.parametrize(("raw", "page", "reason"), INVALID)
def test_invalid_value_is_kept_as_base64_only(raw: bytes, page: int, reason: str) -> None:
    found = _sysfs.attribute(Outcome("done", raw), page)
    assert (found["status"], found["reason"], found["value"], found["errno"]) == ("invalid", reason, None, None)
    assert base64.b64decode(found["raw"] or "") == raw[:4096]


@pytest.mark.parametrize(("number", "status", "reason", "name"), UNREAD)
def test_errno_is_data(number: int, status: str, reason: str, name: str) -> None:
    found = _sysfs.attribute(Outcome("errno", None, number), PAGE)
    assert found == {"status": status, "value": None, "reason": reason, "errno": name, "raw": None}


@pytest.mark.fault("R8")
def test_hang_and_deadline_are_unknown() -> None:
    assert [_sysfs.attribute(outcome, PAGE)["reason"] for outcome in (HUNG, LATE)] == ["hung", "deadline"]
    assert {_sysfs.attribute(outcome, PAGE)["status"] for outcome in (HUNG, LATE)} == {"unknown"}


@pytest.mark.fault("R11", "R12", "R13")
@given(st.binary(max_size=4200))
def test_any_bytes_come_back_or_are_invalid(raw: bytes) -> None:
    found = _sysfs.attribute(Outcome("done", raw), PAGE)
    if found["status"] == "ok":
        value = (found["value"] or "").encode("ascii")
        assert value
        assert raw in (value, value + b"\n")
        assert _sysfs.is_probeable(value)
    else:
        assert found["status"] == "invalid"
        assert base64.b64decode(found["raw"] or "") == raw[:4096]


@pytest.fixture
def guard() -> t.Iterator[Guard]:
    with Guard(_sysfs.HANDLERS, 5.0, 20.0) as found:
        yield found


def test_nodes_are_read_and_listed(tmp_path: t.Any, guard: Guard) -> None:
    (tmp_path / "a").write_bytes(b"1\n")
    (tmp_path / "b").mkdir()
    sysfs = _sysfs.Sysfs(str(tmp_path), guard)
    assert sysfs.read([("g", "a"), ("g", "c")]) == [Outcome("done", b"1\n"), _sysfs.MISSING]
    assert sysfs.list([("g", ".")]) == [Outcome("done", ["a", "b"])]
    assert [outcome.state for outcome in sysfs.exists([("g", "b"), ("g", "c")])] == ["done", "errno"]


@pytest.mark.fault("P3")
def test_short_write_is_not_continued(tmp_path: t.Any) -> None:
    """A pipe that is nearly full takes a part of the value, as sysfs does beyond a page."""
    path = str(tmp_path / "node")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    size = 1 << 20
    with Guard({"write": _write_nonblocking}, 5.0, 20.0) as own:
        count = _sysfs.Sysfs(str(tmp_path), own).write([("g", "node", b"x" * size)])[0].value
    received = len(os.read(reader, size))
    os.close(reader)
    assert 0 < count < size
    assert received == count, "the tail must never follow"


def _write_nonblocking(path: str, data: bytes) -> int:
    """The real handler, on a pipe that would otherwise block."""
    real = os.open
    try:
        os.open = lambda name, flags: real(name, flags | os.O_NONBLOCK)  # type: ignore[assignment,misc]
        return int(_sysfs.HANDLERS["write"](path, data))
    finally:
        os.open = real


LINKS = [
    ("../../devices/pci0000:00/0000:00:02.0", "devices/pci0000:00/0000:00:02.0"),
    ("../../../outside", None),
    ("/etc", None),
]


@pytest.mark.fault("R17", "L10")
@pytest.mark.parametrize(("target", "expected"), LINKS)
def test_links_stay_below_the_root(tmp_path: t.Any, guard: Guard, target: str, expected: t.Optional[str]) -> None:
    (tmp_path / "class/mdev_bus").mkdir(parents=True)
    (tmp_path / "class/mdev_bus/p").symlink_to(target)
    found = _sysfs.Sysfs(str(tmp_path), guard).links([("g", "class/mdev_bus/p")])[0]
    assert found.value == expected


@pytest.mark.fault("R4")
def test_transient_error_is_retried(tmp_path: t.Any) -> None:
    (tmp_path / "count").write_bytes(b"")
    with Guard({"read": _busy_twice}, 5.0, 20.0) as guard:
        sysfs = _sysfs.Sysfs(str(tmp_path), guard)
        assert sysfs.read([("g", "count")]) == [Outcome("done", b"at last\n")]


@pytest.mark.fault("R4")
def test_retries_are_bounded(tmp_path: t.Any) -> None:
    (tmp_path / "count").write_bytes(b"never" * 100)
    with Guard({"read": _busy_twice}, 5.0, 20.0) as guard:
        outcome = _sysfs.Sysfs(str(tmp_path), guard).read([("g", "count")])[0]
    assert _sysfs.attribute(outcome, PAGE)["status"] == "unknown"
    assert os.path.getsize(str(tmp_path / "count")) == 500 + 4, "asked once, and three times again"


@pytest.mark.fault("R4")
def test_retry_that_comes_too_late_does_not_hide_what_was_said(tmp_path: t.Any) -> None:
    (tmp_path / "node").write_bytes(b"")
    with Guard({"read": _busy_then_deaf}, 30.0, 0.5) as guard:
        outcome = _sysfs.Sysfs(str(tmp_path), guard).read([("g", "node")])[0]
    assert outcome.errno_name == "EBUSY"


def _busy_then_deaf(path: str) -> bytes:
    with open(path, "ab") as file:
        file.write(b".")
        if file.tell() > 1:
            time.sleep(60)
    raise OSError(errno.EBUSY, "busy")


def _busy_twice(path: str) -> bytes:
    with open(path, "ab") as file:
        file.write(b".")
        if file.tell() != 3:
            raise OSError(errno.EAGAIN, "busy")
    return b"at last\n"


@pytest.mark.fault("R16")
def test_descriptions_are_bounded_and_never_fail() -> None:
    assert _sysfs.text(Outcome("done", b"a: 1\nb: 2\n")) == "a: 1\nb: 2"
    assert _sysfs.text(Outcome("done", b"\xff\0" + b"x" * 9000), 10) == "\\xff\\x00" + "x" * 8
    assert _sysfs.text(_sysfs.MISSING) is None
