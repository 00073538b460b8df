# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""./dev bench targets: what it costs to make many instances on a host, next to ping and to as many mdevctl calls.

One simulated host over SSH whose driver takes no time of its own. Tasks are compared, not runs: what Ansible needs to
start, to connect and to pack a module is in none of them, as each module runs once before. Everything is measured in
turns, so that whatever else the machine does slows all of it down. A missed target is reported with where the time
went; it never fails the run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
import typing as t
import uuid

from ansible_collections.vfio.migration.tests.benchmarks._measure import BenchError, Run, Runner, ratio
from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError
from ansible_collections.vfio.migration.tests.fleet.simulated import namespace
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet

TREE = pathlib.Path(__file__).resolve().parents[2] / ".cache" / "tree"
SOURCE, HOST = "hv0", "hv1"
PLAN, TYPE = "bench", "nv-1"
PARENTS, DEVICES_OF_A_VM = 4, 4
STRING = "10de-20b5-1-550.4"
TARGET = 1.5
TOP = 8

WARM_UP = "warm up"
PING, MAKE, AGAIN, BACK = "ping", "make all", "all are there", "take all back"
NOTHING, ONE, ONE_BACK = "nothing to do", "make one", "take one back"
SHELL, LOOP, STOP = "mdevctl start, in one shell", "mdevctl start, in a loop", "stop"

BARE = """
import json, os, sys, time
def put(path, text):
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, text.encode())
    os.close(descriptor)
places = json.loads(sys.argv[1])
began = time.monotonic()
for directory, uuid in places:
    put(directory + "/create", uuid + "\\n")
print(time.monotonic() - began)
for directory, uuid in places:
    put("/sys/bus/mdev/devices/%s/remove" % uuid, "1")
"""
"""Creates one after the other and nothing else: the driver's own time."""

PROFILE = """
import cProfile, io, json, mmap, os, pstats, struct, sys, time
from ansible.module_utils.testing import patch_module_args
from ansible_collections.vfio.migration.plugins.module_utils import _mdevs
from ansible_collections.vfio.migration.plugins.modules import mdev
shared = mmap.mmap(-1, 16)  # the child that touches sysfs writes to it, too
def timed(handler):
    def call(*arguments):
        began = time.monotonic()
        try:
            return handler(*arguments)
        finally:
            seconds, number = struct.unpack("dd", shared[:])
            shared[:] = struct.pack("dd", seconds + time.monotonic() - began, number + 1)
    return call
for name, handler in list(_mdevs.HANDLERS.items()):
    _mdevs.HANDLERS[name] = timed(handler)
profile = cProfile.Profile()
os.register_at_fork(after_in_child=profile.disable)
output, sys.stdout = sys.stdout, io.StringIO()
began = time.monotonic()
with patch_module_args(json.loads(sys.argv[1])):
    try:
        profile.runcall(mdev.main)
    except SystemExit:
        pass
everything = time.monotonic() - began
rows = pstats.Stats(profile).stats
found = [[row[2], row[1], place[2], place[0].rpartition("/")[2]] for place, row in rows.items()]
sysfs = struct.unpack("dd", shared[:])
json.dump({"all": everything, "sysfs": sysfs, "functions": sorted(found, reverse=True)}, output)
"""
"""The module with a profiler around it: its child's seconds and calls in sysfs, and of each of its own functions the
seconds, calls, name and file."""


@dataclasses.dataclass
class Round:
    """Every side once."""

    run: Run
    driver: float

    def seconds(self, task: str) -> float:
        """Wall time of a task."""
        return sum(self.run.tasks[task])


def main() -> int:
    """Measure and print; 1 only if nothing could be measured."""
    parser = argparse.ArgumentParser(prog="./dev bench targets", description=__doc__)
    parser.add_argument("--instances", type=int, default=64, help="instances to make (default: 64)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, after one that warms up (default: 7)")
    arguments = parser.parse_args()
    t.cast("t.Any", sys.stdout).reconfigure(line_buffering=True)  # shows progress through a pipe, too
    try:
        with tempfile.TemporaryDirectory(prefix="vb-") as work:
            measure(arguments.instances, arguments.rounds, pathlib.Path(work))
    except (BenchError, FleetError) as error:
        sys.stderr.write(f"bench targets: {error}\n")
        return 1
    return 0


def measure(count: int, rounds: int, work: pathlib.Path) -> None:
    """Play the rounds and print what they took."""
    if shutil.which("mdevctl", path=namespace.PATH) is None:
        raise BenchError("the program mdevctl is missing: install the package mdevctl.")
    print(f"{count} instances on one host over SSH, {rounds} rounds; medians, and least to most ratio of neighbours")
    wanted = wishes(count)
    with simulated_fleet(scenario(count), reach="namespace") as fleet:
        runner = Runner(work, fleet.inventory, forks=1)
        once, loop = playbook(work / "once.json", tasks(wanted)), playbook(work / "loop.json", loop_tasks(wanted))
        found = [Round(runner.play(once), driver_time(fleet, wanted)) for _number in range(rounds + 1)][1:]
        slow = runner.play(loop)
        hit = show(found, slow)
        for number in sorted({min(DEVICES_OF_A_VM, count), count}):  # one VM, and all
            prepare_and_release(runner, work / "plan.json", number)
        if not hit:
            print_profile(fleet, wanted)


def prepare_and_release(runner: Runner, path: pathlib.Path, count: int) -> None:
    """Play the shipped playbooks with a plan of so many instances, and count what runs."""
    path.write_text(json.dumps(plan(count)), encoding="utf-8")
    prepared = runner.play("vfio.migration.prepare_targets", targets_plan=str(path))
    released = runner.play("vfio.migration.release_targets", release_plan=str(path))
    for name, run in (("prepare_targets", prepared), ("release_targets", released)):
        number = sum(len(seconds) for seconds in run.tasks.values())
        print(f"  {name} of {count:3} instances: {run.seconds:5.2f} s, {number} tasks, ", end="")
        print(f"{sum(run.module_runs.values())} module runs on two hosts and the controller together")


def scenario(count: int) -> dict[str, t.Any]:
    """A host with room for ``count`` instances on its parents, and one like it that is full."""
    parent = {
        "driver": "nv",
        "driver_version": "550.4",
        "vendor": "10de",
        "device": "20b5",
        "rule": "exact",
        "capacity": {"model": "shared_units", "total": -(-count // PARENTS)},
        "types": {TYPE: {"name": "1Q"}, "nv-2": {"name": "2Q", "cost": 2}},
    }
    parents = {address(number): parent for number in range(PARENTS)}
    full = {
        "parents": parents,
        "mdevs": [{"uuid": name("source", i), "parent": address(i % PARENTS), "type": TYPE} for i in range(count)],
        "workloads": [
            {"name": vm, "uuid": name(vm, 0), "devices": [name("source", i) for i in devices]}
            for vm, devices in vms(count).items()
        ],
    }
    return {"name": "bench", "hosts": {SOURCE: full, HOST: {"parents": parents}}}


def name(what: str, number: int) -> str:
    """A UUID that is always the same."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"bench:{what}:{number}"))


def vms(count: int) -> dict[str, list[int]]:
    """VM -> numbers of its devices."""
    found: dict[str, list[int]] = {}
    for number in range(count):
        found.setdefault(f"vm{number // DEVICES_OF_A_VM}", []).append(number)
    return found


def plan(count: int) -> dict[str, t.Any]:
    """A plan that moves so many devices."""
    same = {"source_type": TYPE, "vendor": "pci:10de", "type_string": STRING, "device_string": STRING, "type": TYPE}
    moves = [
        {
            "workload": name(vm, 0),
            "name": vm,
            "source": SOURCE,
            "target": HOST,
            "wave": 1,
            "devices": [
                {
                    **same,
                    "source": name("source", number),
                    "uuid": name("target", number),
                    "parent": address(number % PARENTS),
                    "attributes": [],
                }
                for number in devices
            ],
        }
        for vm, devices in vms(count).items()
    ]
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    head = {"schema_version": 1, "id": PLAN, "created": made, "uuid_policy": "new", "persist": False, "partial": False}
    return {**head, "moves": moves, "stuck": []}


def address(number: int) -> str:
    """Address of a parent."""
    return f"0000:{0x3B + number:02x}:00.0"


def wishes(count: int) -> list[dict[str, str]]:
    """Instances for VMs of a few devices each, spread over the parents."""
    return [
        {
            "uuid": name("target", number),
            "parent": address(number % PARENTS),
            "type": TYPE,
            "workload": vm,
            "accepts": STRING,
        }
        for vm, devices in vms(count).items()
        for number in devices
    ]


def tasks(wanted: list[dict[str, str]]) -> list[dict[str, t.Any]]:
    """One round: every side once, and the host as before."""
    return [
        {"name": WARM_UP, "ansible.builtin.ping": {}},
        _mdev(WARM_UP, state="absent"),
        {"name": PING, "ansible.builtin.ping": {}},
        _mdev(MAKE, instances=wanted),
        _mdev(AGAIN, instances=wanted),
        _mdev(BACK, state="absent"),
        _mdev(NOTHING, state="absent"),
        _mdev(ONE, instances=wanted[:1]),
        _mdev(ONE_BACK, state="absent"),
        {"name": SHELL, "ansible.builtin.shell": " && ".join(calls(wanted))},
        stop(),
    ]


def loop_tasks(wanted: list[dict[str, str]]) -> list[dict[str, t.Any]]:
    """What one writes without the collection; so slow that once is enough."""
    return [{"name": LOOP, "ansible.builtin.command": "{{ item }}", "loop": calls(wanted)}, stop()]


def calls(wanted: list[dict[str, str]]) -> list[str]:
    """The same with mdevctl, which neither asks the driver nor remembers."""
    return [f"mdevctl start -u {one['uuid']} -p {one['parent']} -t {one['type']}" for one in wanted]


def stop() -> dict[str, t.Any]:
    """Remove everything."""
    return {"name": STOP, "ansible.builtin.shell": "for one in /sys/bus/mdev/devices/*; do echo 1 > $one/remove; done"}


def _mdev(name: str, **options: t.Any) -> dict[str, t.Any]:
    return {"name": name, "vfio.migration.mdev": {"plan": PLAN, **options}}


def playbook(path: pathlib.Path, content: list[dict[str, t.Any]]) -> pathlib.Path:
    """Write a playbook of these tasks."""
    path.write_text(json.dumps([{"hosts": HOST, "gather_facts": False, "tasks": content}]), encoding="utf-8")
    return path


def on_host(fleet: Fleet, program: str, argument: t.Any) -> t.Any:
    """Run a Python program on the host, without SSH; what it printed, which is JSON."""
    words = ["env", f"PYTHONPATH={TREE}", sys.executable, "-W", "ignore", "-c", program, json.dumps(argument)]
    done = fleet.run(HOST, *words)
    if done.returncode:
        raise BenchError(f"a program failed on the host:\n{done.stderr[-1000:]}")
    return json.loads(done.stdout)


def driver_time(fleet: Fleet, wanted: list[dict[str, str]]) -> float:
    """Seconds of the creates alone."""
    types = "/sys/class/mdev_bus/{parent}/mdev_supported_types/{type}"
    return float(on_host(fleet, BARE, [[types.format(**one), one["uuid"]] for one in wanted]))


def show(rounds: t.Sequence[Round], slow: Run) -> bool:
    """Print the results; whether the target was hit."""
    pings = [one.seconds(PING) for one in rounds]
    made = [one.seconds(MAKE) for one in rounds]
    hit = ratio(
        "one task, less the driver's time / ping", [one.seconds(MAKE) - one.driver for one in rounds], pings, TARGET
    )
    shells = [one.seconds(SHELL) for one in rounds]
    for name, theirs in ((SHELL, shells), (LOOP, [sum(slow.tasks[LOOP])])):
        share = statistics.median(made) / statistics.median(theirs)
        print(
            f"  {'one task / ' + name:<42} {statistics.median(made):6.2f} s / {statistics.median(theirs):5.2f} s",
            end="",
        )
        print(f"  ratio {share:5.2f}")
    runs = {name: rounds[0].run.module_runs[name] for name in (ONE, MAKE)} | {LOOP: slow.module_runs[LOOP]}
    print("  modules run on the host: " + ", ".join(f"{name}: {number}" for name, number in runs.items()))
    print("  medians of all that was played:")
    for name in rounds[0].run.tasks:
        print(f"    {statistics.median(one.seconds(name) for one in rounds):7.3f} s  {name}")
    print(f"    {statistics.median(one.driver for one in rounds):7.3f} s  the driver's own time: the creates alone")
    return hit


def print_profile(fleet: Fleet, wanted: list[dict[str, str]]) -> None:
    """Where the module's time goes on the host."""
    found = on_host(fleet, PROFILE, {"plan": PLAN, "instances": wanted})
    seconds, number = found["sysfs"]
    print(f"  where the module's {found['all']:.3f} s on the host go, with a profiler that slows it down:")
    print(f"    {seconds:7.3f} s  {number:8.0f} accesses to sysfs by its child; here that is the simulator's FUSE")
    for seconds, number, name, file in found["functions"][:TOP]:
        print(f"    {seconds:7.3f} s  {number:8} calls of {name} {'' if file == '~' else file}")


if __name__ == "__main__":
    sys.exit(main())
