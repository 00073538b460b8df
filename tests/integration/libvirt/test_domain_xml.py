# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The XML that a VM shall have on its target, written and validated by a real libvirt."""

from __future__ import annotations

import difflib
import stat
import typing as t
from pathlib import Path

import pytest

WEB = "aaaaaaaa-0000-4000-8000-000000000001"
DB = "aaaaaaaa-0000-4000-8000-000000000002"
NET = "aaaaaaaa-0000-4000-8000-000000000004"
OLD = "11111111-2222-3333-4444-555555555555"
OLD_DB = "22222222-2222-3333-4444-555555555555"
NEW = "eeeeeeee-0000-4000-8000-000000000001"
WRITE = """
wishes, errors = _domain_xml.parse(domains)
assert not errors, errors
result = _domain_xml.write(wishes, dest, uri, 10.0, check_mode)"""


def swap(workload: str, old: str, new: str = NEW) -> dict[str, t.Any]:
    return {"workload": workload, "mdevs": [{"source": old, "target": new}]}


@pytest.fixture
def write(libvirt: t.Any, tmp_path: Path) -> t.Callable[..., t.Any]:
    def run(*domains: t.Any, check_mode: bool = False, uri: str | None = None) -> t.Any:
        dest = str(tmp_path / "new" / "folder")
        return libvirt.run(WRITE, domains=domains, dest=dest, uri=uri or libvirt.uri, check_mode=check_mode)

    return run


def test_only_the_uuid_changes_and_root_alone_may_read_it(libvirt: t.Any, write: t.Any) -> None:
    libvirt.has("web1")
    before, after = (write(swap(WEB, OLD, new))[0] for new in (OLD, NEW))
    assert before["path"] == after["path"] == str(Path(after["path"]).parent / f"{WEB}.xml")
    libvirt_says = libvirt.run(
        "result = _libvirt.export(uri, [(vm, {})], 10.0)[0].data.decode()", uri=libvirt.uri, vm=WEB
    )
    changes = [
        line
        for line in difflib.ndiff(libvirt_says.splitlines(), Path(after["path"]).read_text().splitlines())
        if line[0] in "+-"
    ]
    assert [(line[0], line[2:].strip()) for line in changes] == [
        ("-", f"<address uuid='{OLD}'/>"),
        ("+", f"<address uuid='{NEW}'/>"),
    ]
    assert (after["ok"], after["changed"], after["validated"], after["reason"]) == (True, True, True, None)
    assert "passwd='secret-01'" in libvirt_says, "what migrates takes its password along"
    file = Path(after["path"])
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_same_again_changes_nothing(libvirt: t.Any, write: t.Any) -> None:
    """By name or UUID, running or not; and check mode writes nothing."""
    libvirt.has("web1", inactive=["db1"])
    wishes = [swap("web1", OLD.upper()), swap(DB, OLD_DB, NEW.upper())]
    (planned, _other) = write(*wishes, check_mode=True)
    assert (planned["ok"], planned["changed"]) == (True, True)
    assert not Path(planned["path"]).parent.exists()
    assert [one["changed"] for one in write(*wishes)] == [True, True]
    assert [one["changed"] for one in write(*wishes)] == [False, False]
    assert all(NEW in Path(one["path"]).read_text() for one in write(*wishes))


def test_vm_named_as_the_one_of_the_test_driver_is_validated_too(libvirt: t.Any, write: t.Any) -> None:
    libvirt.has("test")
    (one,) = write({"workload": NET, "mdevs": []})
    assert (one["ok"], one["validated"]) == (True, True)


@pytest.mark.fault("V1", "V3")
def test_what_is_wrong_with_one_vm_is_its_own_business(libvirt: t.Any, write: t.Any) -> None:
    libvirt.has("web1", "test")
    results = write(swap("gone", OLD), swap(NET, OLD), swap("test", "0000:3b:00.3"), swap(WEB, OLD))
    assert [(one["ok"], one["reason"], one["path"] is None) for one in results] == [
        (False, "no_domain", True),
        (False, "devices", True),
        (False, "devices", True),
        (True, None, False),
    ]
    assert results[0]["msg"].startswith("libvirt on this host does not know the VM (Domain not found")
    assert results[1]["msg"] == f"its XML on this host does not name the mdev {OLD}"


@pytest.mark.fault("V1")
def test_libvirt_that_is_not_there_is_told_for_each_vm(write: t.Any) -> None:
    results = write(swap(WEB, OLD), swap(DB, OLD_DB), uri="test+unix:///default?socket=/does/not/exist")
    assert [one["reason"] for one in results] == ["nobody", "nobody"]
    assert results[0]["msg"].startswith("libvirt could not be asked: nobody listens; start libvirt's daemon")


def test_folder_that_cannot_be_made_is_told(libvirt: t.Any, tmp_path: Path) -> None:
    libvirt.has("web1")
    (tmp_path / "file").write_text("in the way")
    dest = str(tmp_path / "file" / "folder")
    (one,) = libvirt.run(WRITE, domains=[swap(WEB, OLD)], dest=dest, uri=libvirt.uri, check_mode=False)
    assert (one["ok"], one["reason"]) == (False, "unwritable")


VALIDATE = "import libvirt\nlibvirt = _libvirt._binding()\nresult = _libvirt._validate(libvirt, text)"


def test_libvirt_refuses_what_breaks_its_schema(libvirt: t.Any) -> None:
    good = libvirt.text("web1")
    assert libvirt.run(VALIDATE, text=good) == [False, None]
    for bad in (good.replace(OLD, "no UUID"), good.replace("<hostdev", "<hostdevice"), good[:-5]):
        assert libvirt.run(VALIDATE, text=bad)[0] is True


def test_libvirt_without_its_validator_is_said_to_lack_it(libvirt: t.Any) -> None:
    """As where the distribution left the test driver out."""
    libvirt.has("web1")
    code = """
real = _libvirt._binding
def without():
    binding = real()
    opened = binding.open
    def open_other(uri):
        return opened("nothing:///default?socket=/does/not/exist" if uri == "test:///default" else uri)
    binding.open = open_other
    return binding
_libvirt._binding = without
"""
    dest = str(libvirt.folder / "out")
    (one,) = libvirt.run(code + WRITE, domains=[swap(WEB, OLD)], dest=dest, uri=libvirt.uri, check_mode=False)
    assert (one["ok"], one["validated"], one["reason"]) == (True, False, "not_validated")
    assert one["msg"].startswith("libvirt could not validate it (")
    assert NEW in Path(one["path"]).read_text()
