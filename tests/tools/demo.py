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
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet

from . import setup

DEST = setup.CACHE / "demo"


def reach() -> tuple[str, str]:
    """How the hosts are run, and a sentence on why."""
    problem = namespace.missing()
    if problem is None:
        return "namespace", "Each host has its own network, /sys and SSH server."
    return "in_place", f"Hosts run in place, without SSH. {problem}"


READINESS = ("readiness_hosts=hypervisors", f"readiness_dest={DEST}/pairings.json", f"report_dest={DEST}/report.json")
# The plan is as old as this checkout. One of its two moves is refused by a driver, as drivers do.
PLAN = setup.ROOT / "tests" / "plans" / "small.json"
PREPARE = (f"targets_plan={PLAN}", "targets_revalidate=true", "targets_fail=false")
RELEASE = (f"release_plan={PLAN}",)
TARGET = "hv1"


def playbook(name: str, inventory: Path, options: tuple[str, ...]) -> None:
    """Run one playbook by its full name, as an operator would."""
    command = ["ansible-playbook", "-i", str(inventory), f"vfio.migration.{name}"]
    for option in options:
        command += ["-e", option]
    # The facts of hosts that are not in the plan are kept, so that UUIDs can be compared with theirs.
    cache = {"PLUGIN": "ansible.builtin.jsonfile", "PLUGIN_CONNECTION": str(inventory.parent / "facts")}
    env = os.environ | {"ANSIBLE_HOST_KEY_CHECKING": "false", "ANSIBLE_PIPELINING": "true"}
    env |= {f"ANSIBLE_CACHE_{key}": value for key, value in cache.items()}
    print(f"\n$ {' '.join(command)}\n", flush=True)
    if subprocess.run(command, env=env, check=False).returncode:
        raise FleetError(f"the playbook vfio.migration.{name} failed; its own message is above.")


def show_instances(fleet: Fleet, way: str) -> None:
    """What the target has now, by the word of somebody else than the collection."""
    if way == "namespace":
        command = ["ssh", "-F", str(fleet.directory / "ssh" / "config"), TARGET, "mdevctl", "list"]
    else:
        command = ["ls", str(fleet.host(TARGET).sysfs_root / "bus" / "mdev" / "devices")]
    print(f"\n$ {' '.join(command)}", flush=True)
    subprocess.run(command, check=False, stdin=subprocess.DEVNULL)


def main() -> int:
    problem = inplace.missing()
    if problem:
        print(f"./dev demo: {problem}", file=sys.stderr)
        return 1
    DEST.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    way, why = reach()

    def step(number: int, what: str) -> None:
        print(f"\n[{number}/4] {time.monotonic() - start:.0f} s: {what}", flush=True)

    step(1, f"Start six simulated hypervisors. {why}")
    try:
        with simulated_fleet("small", reach=way) as fleet:
            step(2, "Learn which device may move where.")
            playbook("readiness", fleet.inventory, READINESS)
            step(3, f"Prepare the targets of the plan {PLAN.relative_to(setup.ROOT)}.")
            playbook("prepare_targets", fleet.inventory, PREPARE)
            show_instances(fleet, way)
            step(4, "Take back what was made.")
            playbook("release_targets", fleet.inventory, RELEASE)
            show_instances(fleet, way)
    except FleetError as error:
        print(f"./dev demo: {error}", file=sys.stderr)
        return 1
    print(f"\nDone after {time.monotonic() - start:.0f} s; the fleet is gone again.")
    print(f"All that is known of it: {DEST / 'report.json'}; the matrix alone: {DEST / 'pairings.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
