# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``./dev demo``: start the simulated fleet, run the real playbooks on it and show what they found."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.vfio.migration.tests.fleet.simulated import inplace, namespace
from ansible_collections.vfio.migration.tests.fleet.simulated.control import FleetError
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import simulated_fleet

from . import setup

DEST = setup.CACHE / "demo"


def reach() -> tuple[str, str]:
    """How the hosts are run, and a sentence on why."""
    problem = namespace.missing()
    if problem is None:
        return "namespace", "Each host has its own network, /sys and SSH server."
    return "in_place", f"Hosts run in place, without SSH. {problem}"


def playbook(name: str, inventory: Path) -> None:
    """Run one playbook by its full name, as an operator would."""
    command = ["ansible-playbook", "-i", str(inventory), f"vfio.migration.{name}"]
    command += ["-e", "readiness_hosts=hypervisors", "-e", f"readiness_dest={DEST}/pairings.json"]
    command += ["-e", f"report_dest={DEST}/report.json"]
    env = os.environ | {"ANSIBLE_HOST_KEY_CHECKING": "false", "ANSIBLE_PIPELINING": "true"}
    print(f"\n$ {' '.join(command)}\n", flush=True)
    if subprocess.run(command, env=env, check=False).returncode:
        raise FleetError(f"the playbook vfio.migration.{name} failed; its own message is above.")


def main() -> int:
    problem = inplace.missing()
    if problem:
        print(f"./dev demo: {problem}", file=sys.stderr)
        return 1
    DEST.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    way, why = reach()
    print(f"[1/2] Start six simulated hypervisors ... {why}", flush=True)
    try:
        with simulated_fleet("small", reach=way) as fleet:
            print(f"[2/2] Up after {time.monotonic() - start:.0f} s. Learn which device may move where.", flush=True)
            playbook("readiness", fleet.inventory)
    except FleetError as error:
        print(f"./dev demo: {error}", file=sys.stderr)
        return 1
    print(f"\nDone after {time.monotonic() - start:.0f} s; the fleet is gone again.")
    print(f"All that is known of it: {DEST / 'report.json'}; the matrix alone: {DEST / 'pairings.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
