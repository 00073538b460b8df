# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""./dev bench readiness: what the readiness playbook costs, next to the least that Ansible costs on the same hosts.

Everything is measured in one run on one simulated fleet, the two sides of each ratio in turns; medians are compared.
A missed target is reported with where the seconds went; it never fails the run.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t

from ansible_collections.vfio.migration.tests.benchmarks import _distinct
from ansible_collections.vfio.migration.tests.benchmarks._measure import BenchError, Run, Runner, profile, ratio
from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError
from ansible_collections.vfio.migration.tests.fleet.simulated import scenario
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet

READINESS = "vfio.migration.readiness"
GROUP = {"hosts": "all", "gather_facts": False}
PING = [{**GROUP, "tasks": [{"name": "ping", "ansible.builtin.ping": {}}]}]
TRIALS = 7
"""Of each module, after one that warms up."""

FIRST, STEADY = 2.4, 1.3
SIZES: t.Final[dict[str, tuple[dict[str, int], float]]] = {
    "4 parents of 4 types": ({"parents": 4, "types": 4}, 0.9),
    "256 VFs of 8 types": ({"parents": 256, "types": 8}, 1.5),
}


def main() -> int:
    """Measure and print; 1 only if nothing could be measured."""
    parser = argparse.ArgumentParser(prog="./dev bench readiness", description=__doc__)
    parser.add_argument("--hosts", type=int, default=20, help="hosts over SSH (default: 20)")
    parser.add_argument("--in-place", type=int, metavar="HOSTS", help="so many hosts without SSH instead")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of ping, first and steady run (default: 3)")
    parser.add_argument("--forks", type=int, default=10, help="forks of all runs (default: 10)")
    arguments = parser.parse_args()
    t.cast("t.Any", sys.stdout).reconfigure(line_buffering=True)  # shows progress through a pipe, too
    try:
        with tempfile.TemporaryDirectory(prefix="vb-") as work:
            fleet_playbooks(arguments, pathlib.Path(work))
        reach = "namespace" if arguments.in_place is None else "in_place"
        for name, (size, target) in SIZES.items():
            with tempfile.TemporaryDirectory(prefix="vb-") as work:
                one_host(name, size, target, reach, pathlib.Path(work))
        pairing_stage()
    except (BenchError, FleetError) as error:
        sys.stderr.write(f"bench readiness: {error}\n")
        return 1
    return 0


def fleet_playbooks(arguments: argparse.Namespace, work: pathlib.Path) -> None:
    """First and steady run of the playbook against ping, and the writes of each."""
    count, reach = (arguments.hosts, "namespace") if arguments.in_place is None else (arguments.in_place, "in_place")
    data = {"name": "bench", "generate": {"hosts": count}}
    least = _distinct.pairs(scenario.parse(data))
    print(f"{count} hosts {'over SSH' if reach == 'namespace' else 'in place'}, {arguments.forks} forks, ", end="")
    print(f"{arguments.rounds} rounds; medians, and least to most ratio of neighbours in time")
    with simulated_fleet(data, reach=reach) as fleet:
        runner = Runner(work, fleet.inventory, arguments.forks)
        ping = _playbook(work / "ping.yml", PING)
        runner.play(ping)  # opens the connections
        runs: dict[str, list[Run]] = {"first": [], "steady": []}
        pings: dict[str, list[Run]] = {"first": [], "steady": []}
        written: dict[str, set[int]] = {"first": set(), "steady": set()}
        for _round in range(arguments.rounds):
            runner.forget()
            for kind in ("first", "steady"):
                pings[kind].append(runner.play(ping))
                fleet.client("reset_counters")
                runs[kind].append(runner.play(READINESS, readiness_hosts="all"))
                written[kind].add(writes(fleet))
    hits = {
        kind: ratio(f"readiness playbook, {kind} run / ping", seconds(runs[kind]), seconds(pings[kind]), target)
        for kind, target in (("first", FIRST), ("steady", STEADY))
    }
    for kind, expected in (("first", least), ("steady", 0)):
        word = "hit" if written[kind] == {expected} else "MISSED"
        found = ", ".join(map(str, sorted(written[kind])))
        print(f"  {'writes, ' + kind + ' run / distinct (string, node) pairs':<50} {found} / {expected}   {word}")
    for kind, hit in hits.items():
        if not hit:
            profile(f"where the {kind} run's seconds go", runs[kind])
            profile("where those of ping next to it go", pings[kind])


def one_host(name: str, size: dict[str, int], target: float, reach: str, work: pathlib.Path) -> None:
    """Compare vfio_facts with setup on one host, both in one playbook, in turns."""
    with simulated_fleet({"name": "bench", "generate": {"hosts": 1, **size}}, reach=reach) as fleet:
        runner = Runner(work, fleet.inventory, forks=1)
        run = runner.play(_playbook(work / "modules.yml", _modules("")))
        setup, ours = (run.tasks[task][1:] for task in ("setup", "vfio_facts"))
        if ratio(f"vfio_facts / setup, {name}", ours, setup, target):
            return
        bare = work / "sys"
        copy_tree(fleet.host("hv0001").sysfs_root, bare)
        plain = runner.play(_playbook(work / "plain.yml", _modules(str(bare))))
        print("  of that vfio_facts takes, with the same tree as plain files instead of the simulator's FUSE:", end="")
        print(f" {plain.task('vfio_facts'):.2f} s, {plain.task('vfio_facts') / plain.task('setup'):.2f} times setup")


def pairing_stage() -> None:
    """Time and memory of the pairing stage; in a process of its own, for the sake of the memory."""
    if subprocess.run([sys.executable, "-m", f"{__package__}.pairing"], check=False).returncode:
        raise BenchError("the pairing stage could not be measured, see above.")


def seconds(runs: t.Iterable[Run]) -> list[float]:
    """Wall times."""
    return [run.seconds for run in runs]


def writes(fleet: Fleet) -> int:
    """Sum what the simulator counted on all migration_version nodes."""
    counters = fleet.client("counters")
    return sum(one["writes"] for host in counters.values() for node, one in host.items() if "migration_version" in node)


def copy_tree(source: pathlib.Path, dest: pathlib.Path) -> None:
    """Copy what can be read; the links of a sysfs are relative and stay as they are."""
    for root, folders, files in os.walk(source):
        folder = pathlib.Path(root)
        (dest / folder.relative_to(source)).mkdir()
        for name in (*folders, *files):
            here, there = folder / name, dest / folder.relative_to(source) / name
            if here.is_symlink():
                there.symlink_to(here.readlink())
            elif name in files:
                try:
                    there.write_bytes(here.read_bytes())
                except OSError:
                    continue  # write-only, or its driver answers with an errno


def _modules(root: str) -> list[dict[str, t.Any]]:
    where = {"sysfs_root": root or "{{ vfio_migration_sysfs_root | default('/sys') }}"}
    both = [
        {"name": "setup", "ansible.builtin.setup": {"gather_subset": ["min"]}},
        {"name": "vfio_facts", "vfio.migration.vfio_facts": where},
    ]
    return [{**GROUP, "tasks": both * (TRIALS + 1)}]


def _playbook(path: pathlib.Path, plays: list[dict[str, t.Any]]) -> pathlib.Path:
    path.write_text(json.dumps(plays), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
