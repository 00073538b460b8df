# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests come up warm as well as cold, each one its own, and nothing of them outlives whoever wanted them."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time

from ansible_collections.vfio.migration.tests.fleet.kernel import machine
from ansible_collections.vfio.migration.tests.fleet.kernel.fleet import LAB, kernel_fleet
from ansible_collections.vfio.migration.tests.fleet.kernel.machine import Guest
from ansible_collections.vfio.migration.tests.integration.kernel.site import soon

OWNER = """
import os, pathlib, signal, sys
from ansible_collections.vfio.migration.tests.fleet.kernel.fleet import start
from ansible_collections.vfio.migration.tests.fleet.kernel.machine import Guest
start([Guest("hv1", "6.12")], warm=True, owner=os.getpid(), directory=pathlib.Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def qemus(directory: pathlib.Path) -> list[str]:
    """QEMU processes of a fleet."""
    done = subprocess.run(
        ["pgrep", "-f", f"qemu-system-x86_64 .*{directory}/"], capture_output=True, text=True, check=False
    )
    return done.stdout.split()


def test_a_virtual_cpu_runs_under_emulation_and_the_probe_sees_it() -> None:
    assert machine.runs(machine.EMULATION)
    assert not machine.runs("none")


def test_clones_of_one_state_are_hosts_of_their_own() -> None:
    guests = [Guest("hv1", "6.12", "version=4.1"), Guest("hv2", "6.12", "rule=exact")]
    with kernel_fleet(guests, warm=True) as fleet:
        assert len(qemus(fleet.directory)) == 2
        told = [
            fleet.run(host.name, f"hostname; cat /proc/sys/kernel/random/boot_id {LAB}/mdev_lab.0/version")
            for host in guests
        ]
        names, boots, versions = zip(*(lines.split() for lines in told), strict=True)
        assert names == ("hv1", "hv2")
        assert versions == ("4.1", "4.2")
        assert len(set(boots)) == 2, "a ledger tells a reboot by the boot id"
        assert abs(int(fleet.run("hv1", "date +%s")) - time.time()) < 60
        assert fleet.run("hv2", f"cat {LAB}/mdev_lab.0/rule").strip() == "exact"
        directory = fleet.directory
    assert not directory.exists()
    assert qemus(directory) == []


def test_guests_end_with_their_owner(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "fleet"
    done = subprocess.run([sys.executable, "-c", OWNER, str(directory)], check=False, timeout=300)
    assert done.returncode == -9
    assert soon(lambda: not directory.exists() and not qemus(directory))
