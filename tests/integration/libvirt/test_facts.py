# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What vfio_facts learns from a real libvirt, and what it says when that cannot be asked."""

from __future__ import annotations

import socket
import time
import typing as t
from pathlib import Path

import pytest

WEB = "aaaaaaaa-0000-4000-8000-000000000001"
DB = "aaaaaaaa-0000-4000-8000-000000000002"
LOST = "aaaaaaaa-0000-4000-8000-000000000003"
NET = "aaaaaaaa-0000-4000-8000-000000000004"
MDEV = "{0}{0}{0}{0}{0}{0}{0}{0}-2222-3333-4444-555555555555".format


def _notes(found: t.Any) -> list[tuple[str, str]]:
    """Notes, less the one that every host with another sysfs root has."""
    return [(one["item"], one["reason"]) for one in found["notes"] if one["reason"] not in ("other_root", "no_pyudev")]


def test_vms_have_names_states_and_devices(libvirt: t.Any, host: t.Any) -> None:
    """One that /proc shows as well, one that has no process to be seen, one that does not run."""
    libvirt.has("web1", "test", inactive=["db1"])
    host.process(10, ["/usr/bin/qemu-system-x86_64", "-name", "guest=web1", "-uuid", WEB], ["/dev/vfio/1"])
    found = libvirt.snapshot(host)
    assert found["workloads"] == [
        {
            "id": WEB,
            "kind": "qemu",
            "name": "web1",
            "uuid": WEB,
            "pid": 10,
            "state": "running",
            "devices": ["0000:3b:00.2", MDEV(1)],
        },
        {
            "id": DB,
            "kind": "qemu",
            "name": "db1",
            "uuid": DB,
            "pid": None,
            "state": "inactive",
            "devices": [MDEV(2)],
        },
        {
            "id": NET,
            "kind": "qemu",
            "name": "test",
            "uuid": NET,
            "pid": None,
            "state": "running",
            "devices": ["0000:3b:00.3"],
        },
    ]
    holders = {device["id"]: device["in_use_by"] for device in found["devices"]}
    assert holders[MDEV(2)] == [{"pid": None, "command": "libvirt domain db1", "workload": DB}]
    assert [holder["pid"] for holder in holders[MDEV(1)]] == [10]
    assert _notes(found) == []


@pytest.mark.fault("V3")
def test_vm_that_names_a_missing_mdev_is_one_note(libvirt: t.Any, host: t.Any) -> None:
    libvirt.has("web1", inactive=["lost1"])
    found = libvirt.snapshot(host)
    assert _notes(found) == [("workloads/" + LOST, "missing_device")]
    assert f"VM lost1 names the mdev {MDEV(9)}, which this host does not have" in found["notes"][0]["detail"]
    assert [one["name"] for one in found["workloads"]] == ["web1"]


@pytest.mark.fault("V3")
def test_host_that_lost_all_its_mdevs_tells_whose_they_are(libvirt: t.Any, tree: t.Any) -> None:
    libvirt.has(inactive=["db1", "lost1"])
    assert _notes(libvirt.snapshot(tree)) == [
        ("workloads/" + DB, "missing_device"),
        ("workloads/" + LOST, "missing_device"),
    ]


@pytest.fixture
def tree(host: t.Any, tmp_path: Path) -> t.Any:
    """A host without any device."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return type(host)(folder)


UNKNOWN: list[t.Any] = [
    pytest.param("test:///does/not/exist.xml", "failed to parse xml document", id="no such file"),
    pytest.param("test+unix:///default?socket=/does/not/exist", "nobody listens", id="no such socket"),
    pytest.param("test+nothing:///default", "URL not recognised", id="no such transport"),
    pytest.param("::::", "Unable to parse URI ::::", id="no URI"),
]


@pytest.mark.fault("V1")
@pytest.mark.parametrize(("uri", "why"), UNKNOWN)
def test_unknown_libvirt_is_one_note(libvirt: t.Any, host: t.Any, uri: str, why: str) -> None:
    found = libvirt.snapshot(host, uri)
    assert ("libvirt", "libvirt") in _notes(found)
    (detail,) = [one["detail"] for one in found["notes"] if one["reason"] == "libvirt"]
    assert why.lower() in detail.lower()
    assert len(found["devices"]) == 4
    assert all(device["in_use_by"] is None for device in found["devices"]), "who knows what it would have said"


@pytest.mark.fault("V1")
def test_host_without_libvirt_is_not_worth_a_note(libvirt: t.Any, host: t.Any) -> None:
    """No socket, and no files of domains: what the default URI meets there."""
    code = """
_libvirt.DEFAULT_URI = options["libvirt_uri"]
result = _inventory.snapshot(_inventory.Options(**options))"""
    options = dict(host.options()._asdict(), libvirt_uri="test+unix:///default?socket=/does/not/exist")
    found = libvirt.run(code, options=options)
    assert _notes(found) == []
    assert all(device["in_use_by"] == [] for device in found["devices"])


@pytest.fixture
def deaf(tmp_path: Path) -> t.Iterator[str]:
    """The URI of a libvirt that takes connections and never says a word."""
    with socket.socket(socket.AF_UNIX) as listener:
        path = tmp_path / "socket"
        listener.bind(str(path))
        listener.listen()
        yield f"test+unix:///default?socket={path}"


@pytest.mark.fault("V1", "R14")
def test_socket_that_is_not_for_us_is_one_note(libvirt: t.Any, open_host: t.Any, deaf: str, tmp_path: Path) -> None:
    """As an ordinary user: root may use any socket."""
    (tmp_path / "socket").chmod(0)
    code = """
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
result = _inventory.snapshot(_inventory.Options(**options))"""
    found = libvirt.run(code, options=dict(open_host.options()._asdict(), libvirt_uri=deaf))
    assert [one for one in _notes(found) if one[0] == "libvirt"] == [("libvirt", "libvirt")]
    (detail,) = [one["detail"] for one in found["notes"] if one["reason"] == "libvirt"]
    assert "Permission denied" in detail
    assert "run with become: true" in detail
    assert len(found["devices"]) == 4
    assert all(device["in_use_by"] is None for device in found["devices"]), "who knows what it would have said"


@pytest.mark.fault("V2")
def test_libvirt_that_hangs_does_not_hang_the_host(libvirt: t.Any, host: t.Any, deaf: str) -> None:
    start = time.monotonic()
    found = libvirt.snapshot(host, deaf, patience=0.5)
    assert time.monotonic() - start < 20
    (detail,) = [one["detail"] for one in found["notes"] if one["reason"] == "libvirt"]
    assert "it did not answer in time" in detail
    assert len(found["devices"]) == 4
