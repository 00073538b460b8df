# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped playbooks where a libvirt (its test driver) knows the VMs of a simulated fleet."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import simulated_fleet
from ansible_collections.vfio.migration.tests.tools import setup

pytestmark = [pytest.mark.thorough, pytest.mark.libvirt]

WEB2, OLD = "aaaaaaaa-0000-4000-8000-000000000003", "22222222-0000-4000-8000-000000000001"
NEW = "eeeeeeee-0000-4000-8000-000000000001"
COLD, FREE = "aaaaaaaa-0000-4000-8000-0000000000ff", "44444444-0000-4000-8000-000000000002"
DOMAIN = """<domain type='kvm'><name>{}</name><uuid>{}</uuid><memory>1048576</memory>
<os><type arch='x86_64'>hvm</type></os>
<devices><hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='{}'/></source></hostdev>
</devices>{}</domain>"""
START = """
import libvirt, pathlib, sys
import xml.etree.ElementTree as tree
target = libvirt.open("test:///default")
text = pathlib.Path(sys.argv[1]).read_text()
vm = target.createXML(text, libvirt.VIR_DOMAIN_START_VALIDATE)
devices = tree.fromstring(vm.XMLDesc()).findall("devices/hostdev/source/address")
print(vm.name(), vm.UUIDString(), vm.isActive(), *(device.get("uuid") for device in devices))
"""
SHUT_OFF = "<test:runstate xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>5</test:runstate>"


@pytest.fixture
def run(tmp_path: pathlib.Path) -> t.Iterator[t.Callable[..., str]]:
    """Runs a playbook on a fleet whose hosts share one libvirt."""
    domains = DOMAIN.format("web2", WEB2, OLD, "") + DOMAIN.format("cold9", COLD, FREE, SHUT_OFF)
    (tmp_path / "node.xml").write_text(f"<node>{domains}</node>")
    variables = {
        "ansible_python_interpreter": str(setup.libvirt_python()),
        "vfio_migration_libvirt_uri": f"test://{tmp_path}/node.xml",
    }
    own = {"COLLECTIONS_PATH": str(setup.TREE), "NOCOLOR": "1", "LOCALHOST_WARNING": "0", "HOME": str(tmp_path)}
    with simulated_fleet("small") as fleet:

        def start(name: str, *words: str, **options: t.Any) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "ansible", "playbook", f"vfio.migration.{name}", "-i", str(fleet.inventory),
                 "-e", json.dumps({**variables, **options}), *words],
                env={**os.environ, **{f"ANSIBLE_{key}": value for key, value in own.items()}}, cwd=tmp_path,
                capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
            return " ".join(done.stdout.split())

        yield start


def plan() -> dict[str, t.Any]:
    """The small plan, as if it had been made now."""
    found: dict[str, t.Any] = json.loads((setup.ROOT / "tests" / "plans" / "small.json").read_text())
    return {**found, "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def test_targets_write_what_the_vm_shall_be_there(run: t.Callable[..., str], tmp_path: pathlib.Path) -> None:
    options = {"targets_plan": plan(), "targets_domain_xml": str(tmp_path / "xml"), "targets_fail": False}
    file = tmp_path / "xml" / f"{WEB2}.xml"
    planned = run("prepare_targets", "--check", **options)
    assert f"planned web2 hv2 to hv1 0000:3b:00.0/nvidia-35 {NEW} created, domain XML {file}" in planned
    assert not file.exists()
    text = run("prepare_targets", **options)
    assert f"ready web2 hv2 to hv1 0000:3b:00.0/nvidia-35 {NEW} created, domain XML {file}" in text
    assert NEW in file.read_text()
    assert OLD not in file.read_text()
    assert [one.name for one in file.parent.iterdir()] == [file.name], "not of the VM that a driver refused"


def test_libvirt_starts_the_vm_from_its_file(run: t.Callable[..., str], tmp_path: pathlib.Path) -> None:
    """As the target's does when virsh migrate --xml hands it over; the test driver itself cannot migrate."""
    run("prepare_targets", targets_plan=plan(), targets_domain_xml=str(tmp_path / "xml"), targets_fail=False)
    started = subprocess.run(
        [str(setup.libvirt_python()), "-c", START, str(tmp_path / "xml" / f"{WEB2}.xml")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert started.stdout.split() == ["web2", WEB2, "1", NEW], started.stderr


def test_vm_without_a_domain_is_ready_and_says_why_there_is_no_file(
    run: t.Callable[..., str], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "node.xml").write_text("<node/>")
    options = {"targets_plan": plan(), "targets_domain_xml": str(tmp_path / "xml"), "targets_fail": False}
    text = run("prepare_targets", **options)
    assert f"{NEW} created, no domain XML: libvirt on this host does not know the VM (Domain not found" in text


def test_readiness_names_a_vm_that_does_not_run(run: t.Callable[..., str], tmp_path: pathlib.Path) -> None:
    dest = tmp_path / "readiness.json"
    assert f"hv4 {FREE} (VM cold9)" in run("readiness", report_dest=str(dest))
    facts = {one["host"]: one["snapshot"] for one in json.loads(dest.read_text())["facts"]}
    cold = [one for one in facts["hv4"]["workloads"] if one["id"] == COLD]
    assert cold == [
        {"id": COLD, "kind": "qemu", "name": "cold9", "uuid": COLD, "pid": None, "state": "inactive", "devices": [FREE]}
    ]


def test_plan_names_a_vm_that_only_libvirt_knows(run: t.Callable[..., str], tmp_path: pathlib.Path) -> None:
    dest = tmp_path / "plan.json"
    text = run("plan_evacuation", evacuation_drain=["hv4"], evacuation_dest=str(dest))
    assert "STUCK, these can not move cold9 on hv4: no other host accepts nvmet_mdev-ns" in text
    assert [one["name"] for one in json.loads(dest.read_text())["stuck"]] == ["cold9"]


UNKNOWN = ["test:///does/not/exist.xml", "test+unix:///default?socket=/does/not/exist", "::::"]


@pytest.mark.fault("V1")
@pytest.mark.parametrize("uri", UNKNOWN)
def test_unknown_libvirt_is_one_note_of_each_host_and_fails_none(
    run: t.Callable[..., str], tmp_path: pathlib.Path, uri: str
) -> None:
    dest = tmp_path / "readiness.json"
    text = run("readiness", report_dest=str(dest), vfio_migration_libvirt_uri=uri)
    assert "6 hosts: 6 fresh, 0 cached, 0 unreachable, 0 excluded" in text
    for one in json.loads(dest.read_text())["facts"]:
        notes = [note for note in one["snapshot"]["notes"] if note["item"] == "libvirt"]
        assert [note["reason"] for note in notes] == ["libvirt"], one["host"]
        assert uri in notes[0]["detail"]
