# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``./dev demo``: start the simulated fleet, run the real playbooks on it and show what they found."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _plan
from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError
from ansible_collections.vfio.migration.tests.fleet.simulated import inplace, namespace
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet

from . import maintenance, setup

DEST = setup.CACHE / "demo"


def reach() -> tuple[str, str]:
    """How the hosts are run, and a sentence on why."""
    problem = namespace.missing()
    if problem is None:
        return "namespace", "Each host has its own network, /sys and SSH server."
    return "in_place", f"Hosts run in place, without SSH. {problem}"


PLAN = DEST / "plan.json"
PAGE = DEST / "report.html"
READINESS = (f"readiness_dest={DEST}/pairings.json", f"report_dest={DEST}/report.json", "readiness_hosts=hypervisors")
# hv1 has the newest driver, which no other host takes VMs from, and hv3 one that is so old: the VMs of hv1 may stop for
# the maintenance, that of hv3 may not, so it is stuck, and the rest goes on. hv1 and hv5 come first, while nothing has
# moved there yet that could not leave again.
BATCHES = [["hv1", "hv5"], ["hv2", "hv3"], ["hv4", "hv6"]]
CONDUCT = {"web1": "stop", "render1": "stop"}
EVACUATION = (
    json.dumps({"evacuation_rolling": {"batches": BATCHES}, "evacuation_workloads": CONDUCT}),
    f"evacuation_dest={PLAN}",
    "evacuation_live=false",
)


# Nothing has changed since the first run, so no driver is asked again.
TOGETHER = (*READINESS, f"report_plan={PLAN}", f"report_html={PAGE}", "report_show=false")


def playbook(name: str, inventory: Path, options: tuple[str, ...]) -> None:
    """Run one playbook by its full name, as an operator would."""
    command = ["ansible-playbook", "-i", str(inventory), f"vfio.migration.{name}"]
    for option in options:
        command += ["-e", option]
    # The facts of hosts that are not in the plan are kept, so that UUIDs can be compared with theirs.
    cache = {"PLUGIN": "ansible.builtin.jsonfile", "PLUGIN_CONNECTION": str(inventory.parent / "facts")}
    env = os.environ | {"ANSIBLE_HOST_KEY_CHECKING": "false", "ANSIBLE_PIPELINING": "true"}
    env |= {f"ANSIBLE_CACHE_{key}": value for key, value in cache.items()}
    print(f"\n$ {shlex.join(command)}\n", flush=True)
    if subprocess.run(command, env=env, check=False).returncode:
        raise FleetError(f"the playbook vfio.migration.{name} failed; its own message is above.")


def show_instances(fleet: Fleet, way: str, hosts: t.Iterable[str]) -> None:
    """What hosts have now, by the word of somebody else than the collection."""
    for host in hosts:
        if way == "namespace":
            command = ["ssh", "-F", str(fleet.directory / "ssh" / "config"), host, "mdevctl", "list"]
        else:
            command = ["ls", str(fleet.host(host).sysfs_root / "bus" / "mdev" / "devices")]
        print(f"\n$ {shlex.join(command)}", flush=True)
        subprocess.run(command, check=False, stdin=subprocess.DEVNULL)


def maintain(fleet: Fleet, way: str, plan: _model.Plan, batch: _model.Batch) -> None:
    """Everything of one batch: prepare, migrate, release, wave by wave, and the maintenance itself."""
    for wave in batch["waves"]:
        prepare = (f"targets_plan={PLAN}", json.dumps({"targets_waves": [wave]}))
        playbook("prepare_targets", fleet.inventory, prepare)
        print(f"\nNow the operator's own tool migrates the VMs of wave {wave}.")
        print("\n".join(maintenance.migrate(fleet.client, plan["moves"], {wave})))
        release = (f"release_plan={PLAN}", json.dumps({"release_waves": [wave], "release_sources": True}))
        playbook("release_targets", fleet.inventory, release)
    show_instances(fleet, way, sorted({move["target"] for move in plan["moves"] if move["wave"] in batch["waves"]}))
    stopped = plan["planning"]["stopped"] if plan["planning"] else []
    print("".join(f"\n{line}" for line in maintenance.stop(fleet.client, stopped, batch["emptied"])))
    restarted = maintenance.restart(fleet.client, batch["emptied"])
    print(f"\nMaintenance: {', '.join(restarted) or 'of no host'}.")
    print("".join(f"{line}\n" for line in waiting(plan, batch)), end="")


def waiting(plan: _model.Plan, batch: _model.Batch) -> list[str]:
    """A line for each host of a batch that is not empty: who is in the way."""
    there: dict[str, list[str]] = {host: [] for host in batch["hosts"] if host not in batch["emptied"]}
    for one in plan["stuck"]:
        if one["host"] in there:
            there[one["host"]].append(one["name"] or one["workload"])
    return [f"{host} has to wait, for {', '.join(names)}: the plan says why." for host, names in there.items()]


def main() -> int:
    problem = inplace.missing()
    if problem:
        print(f"./dev demo: {problem}", file=sys.stderr)
        return 1
    DEST.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    way, why = reach()

    def step(number: int, what: str) -> None:
        print(f"\n[{number}/{3 + len(BATCHES)}] {time.monotonic() - start:.0f} s: {what}", flush=True)

    step(1, f"Start six simulated hypervisors. {why}")
    try:
        with simulated_fleet("small", reach=way) as fleet:
            step(2, "Learn which device may move where.")
            playbook("readiness", fleet.inventory, READINESS)
            step(3, f"Plan the maintenance of {'; then '.join(map(' and '.join, BATCHES))}.")
            playbook("plan_evacuation", fleet.inventory, EVACUATION)
            playbook("readiness", fleet.inventory, TOGETHER)
            plan = _plan.load(str(PLAN))
            for batch in plan["planning"]["batches"] if plan["planning"] else ():
                step(3 + batch["batch"], f"Maintenance of {' and '.join(batch['hosts'])}.")
                maintain(fleet, way, plan, batch)
    except FleetError as error:
        print(f"./dev demo: {error}", file=sys.stderr)
        return 1
    print(f"\nDone after {time.monotonic() - start:.0f} s; the fleet is gone again.")
    print(f"Readiness and plan, to look at in a browser: {PAGE}")
    print(f"The same for programs: {DEST / 'report.json'}; the matrix: {DEST / 'pairings.json'}; the plan: {PLAN}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
