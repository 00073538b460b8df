# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped playbooks prepare the targets of a plan on a simulated fleet, and take them back."""

from __future__ import annotations

import copy
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, hosts, simulated_fleet

pytestmark = pytest.mark.thorough

ROOT = pathlib.Path(__file__).parents[3]
TREE = ROOT / ".cache" / "tree"
CARD, KIND = "0000:3b:00.0", "nvidia-35"
WEB2 = "aaaaaaaa-0000-4000-8000-000000000003"
NEW, OLD = "eeeeeeee-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000001"
SMALL = json.loads((ROOT / "tests" / "plans" / "small.json").read_text())

Plan = dict[str, t.Any]


class Site:
    """A fleet, a plan, and somebody who runs playbooks."""

    def __init__(self, fleet: Fleet, folder: pathlib.Path) -> None:
        self.fleet = fleet
        self.hosts = sorted(hosts(fleet))
        self.folder = folder
        self.plan_file = folder / "plan.json"
        self.before = self.devices()

    def plan(self, change: t.Callable[[Plan], t.Any] = lambda plan: plan) -> Plan:
        """Write the small plan, as if it had been made now."""
        plan: Plan = copy.deepcopy(SMALL)
        plan["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        change(plan)
        self.plan_file.write_text(json.dumps(plan))
        return plan

    def command(self, name: str, *words: str) -> list[str]:
        role = {"prepare_targets": "targets", "release_targets": "release"}[name]
        plan = [] if "release_all=true" in words else ["-e", f"{role}_plan={self.plan_file}"]
        return [
            *(sys.executable, "-m", "ansible", "playbook", f"vfio.migration.{name}"),
            *("-i", str(self.fleet.inventory), *plan, *words),
        ]

    @property
    def environment(self) -> dict[str, str]:
        own = {"COLLECTIONS_PATH": str(TREE), "NOCOLOR": "1", "LOCALHOST_WARNING": "0", "HOME": str(self.folder)}
        return {**os.environ, **{f"ANSIBLE_{key}": value for key, value in own.items()}}

    def run(self, name: str, *words: str, code: int = 0) -> str:
        """Run it and return what it printed, on one line each."""
        done = subprocess.run(
            self.command(name, *words), env=self.environment, cwd=self.folder, capture_output=True, text=True,
            check=False, timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert done.returncode == code, output[-5000:]
        return output

    def prepare(self, *words: str, code: int = 0) -> str:
        return self.run("prepare_targets", *words, code=code)

    def release(self, *words: str, code: int = 0) -> str:
        return self.run("release_targets", *words, code=code)

    def devices(self) -> dict[str, list[str]]:
        """Host -> mdevs, by the simulated kernel's word."""
        found = {}
        for host in self.hosts:
            directory = self.fleet.host(host).sysfs_root / "bus" / "mdev" / "devices"
            found[host] = sorted(os.listdir(directory)) if directory.is_dir() else []
        return found

    def more(self) -> dict[str, list[str]]:
        """Mdevs that were not there at first; none of the others may be missing."""
        now = self.devices()
        assert all(set(self.before[host]) <= set(now[host]) for host in now), "something foreign was removed"
        return {host: sorted(set(now[host]) - set(self.before[host])) for host in now if now[host] != self.before[host]}

    def ledger(self, host: str) -> pathlib.Path:
        return self.fleet.mount.parent / "ledgers" / host

    def states(self, host: str) -> list[str]:
        """Of the entries of a host's ledger."""
        try:
            entries = json.loads((self.ledger(host) / "ledger.json").read_text())["entries"]
        except FileNotFoundError:
            return []
        return [entry["state"] for entry in entries]

    def writes(self) -> int:
        return sum(one["writes"] for nodes in self.fleet.client("counters").values() for one in nodes.values())

    def until(self, condition: t.Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.005)


@pytest.fixture
def site(tmp_path: pathlib.Path) -> t.Iterator[Site]:
    with simulated_fleet("small") as fleet:
        yield Site(fleet, tmp_path)


def only(*names: str) -> t.Callable[[Plan], None]:
    def change(plan: Plan) -> None:
        plan["moves"] = [move for move in plan["moves"] if move["name"] in names]

    return change


def web2(**fields: t.Any) -> t.Callable[[Plan], None]:
    """Only web2, its move or its device changed."""

    def change(plan: Plan) -> None:
        only("web2")(plan)
        move = plan["moves"][0]
        for key, value in fields.items():
            (move if key in move else move["devices"][0])[key] = value

    return change


@pytest.mark.fault("C9", "C19")
def test_there_and_back(site: Site) -> None:
    """A refused workload does not stop the other; a rerun changes nothing; release leaves what was there before."""
    site.plan()
    output = site.prepare(code=2)
    assert "Targets of plan small: 1 dropped, 1 ready" in output
    assert "batch1 on hv2 (errno)" in output
    assert site.more() == {"hv1": [NEW]}
    output = site.prepare("-e", "targets_fail=false")
    assert "changed=1" not in output
    assert site.more() == {"hv1": [NEW]}
    assert "Release of plan small: 1 released" in site.release()
    assert site.more() == {}
    assert site.states("hv1") == []
    output = site.release()
    assert "Release of plan small: nothing to do" in output
    assert "changed=1" not in output


@pytest.mark.fault("P10")
def test_check_mode_writes_nothing_anywhere(site: Site) -> None:
    site.plan()
    output = site.prepare("--check", "--diff")
    assert "Targets of plan small: 2 planned" in output
    assert f'+            "uuid": "{NEW}"' in output
    assert (site.writes(), site.more()) == (0, {})
    assert not site.ledger("hv1").exists()
    site.plan(only("web2"))
    site.prepare()
    writes = site.writes()
    assert "1 planned" in site.release("--check")
    assert (site.writes(), site.more()) == (writes, {"hv1": [NEW]})


@pytest.mark.fault("L9", "L10")
@pytest.mark.parametrize(
    ("change", "errors"),
    [
        (lambda plan: plan.pop("moves"), ["moves is missing"]),
        (
            lambda plan: [plan.update(uuid_policy="same"), plan["moves"][1].update(wave=0)],
            ["devices[0].uuid must be that of its source", "moves[1].wave must be 1 or more"],
        ),
        (web2(parent="../../../../etc"), ["devices[0].parent must be one name"]),
        (web2(target="all:!hv6"), ["moves[0].target must be the name of a host"]),
        (web2(attributes=[{"name": "../remove", "value": "1"}]), ["attributes[0].name must be an attribute below"]),
        (web2(target="hv77"), ["not in the inventory: hv77"]),
    ],
)
def test_a_bad_plan_touches_nothing(site: Site, change: t.Callable[[Plan], t.Any], errors: list[str]) -> None:
    site.plan(change)
    for run in (site.prepare, site.release):
        output = " ".join(run(code=2).split())
        assert all(error in output for error in [*errors, "nothing was touched"]), output
    assert site.fleet.client("counters") == {host: {} for host in site.hosts}, "not even read"


@pytest.mark.fault("L9")
def test_a_plan_that_was_cut_off_touches_nothing(site: Site) -> None:
    site.plan()
    site.plan_file.write_text(site.plan_file.read_text()[:-30])
    assert "is not JSON, or was cut off" in " ".join(site.prepare(code=2).split())
    assert site.writes() == 0


def test_a_folder_that_depends_on_where_one_stands_is_refused_before_anything_is_touched(site: Site) -> None:
    site.plan(only("web2"))
    output = site.prepare("-e", "targets_domain_xml=xml", code=2)
    assert "targets_domain_xml must be an absolute path on the hosts, not xml" in output
    assert site.more() == {}


@pytest.mark.fault("C17")
def test_an_old_plan_is_refused_unless_it_is_revalidated(site: Site) -> None:
    site.plan(lambda plan: [only("web2")(plan), plan.update(created="2020-01-01T00:00:00Z")])
    output = " ".join(site.prepare(code=2).split())
    assert "one older than 86400 seconds is refused" in output
    assert (site.writes(), site.more()) == (0, {})
    site.prepare("-e", "targets_revalidate=true")
    assert site.more() == {"hv1": [NEW]}


@pytest.mark.fault("C17")
def test_a_plan_for_another_driver_is_stale(site: Site) -> None:
    site.plan(only("web2"))
    site.fleet.client("set_driver", host="hv2", driver="nvidia", version="550.1")
    assert "web2 on hv1 (source_changed)" in site.prepare(code=2)
    assert (site.writes(), site.more()) == (0, {})


@pytest.mark.fault("C3")
def test_a_uuid_of_another_host_is_refused_before_anything_is_touched(site: Site) -> None:
    site.plan(web2(uuid="55555555-0000-4000-8000-000000000001"))
    # hv5 is no host of the plan: its facts come from the fact cache.
    cache = ["-e", "readiness_hosts=hv5"]
    environment = {"ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile"}
    environment["ANSIBLE_CACHE_PLUGIN_CONNECTION"] = str(site.folder / "facts")
    command = [sys.executable, "-m", "ansible", "playbook", "vfio.migration.readiness", "--check", *cache]
    subprocess.run(
        [*command, "-i", str(site.fleet.inventory)], env={**site.environment, **environment}, check=True,
        capture_output=True, timeout=300,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for key, value in environment.items():
            patch.setenv(key, value)
        output = site.prepare(code=2)
    assert "web2 on hv1 (uuid_clash)" in output
    assert (site.writes(), site.more()) == (0, {})


@pytest.mark.fault("C3")
def test_policy_same(site: Site) -> None:
    site.plan(lambda plan: [web2(uuid=OLD)(plan), plan.update(uuid_policy="same")])
    site.prepare()
    assert site.more() == {"hv1": [OLD]}
    site.release()
    assert site.more() == {}


@pytest.mark.fault("P9", "C18")
def test_a_lying_type_node(site: Site) -> None:
    """The type of hv3 accepts web2, its instances do not: what was made is removed again."""
    site.plan(web2(target="hv3"))
    output = site.prepare(code=2)
    assert "web2 on hv3 (inconsistent)" in output
    assert site.more() == {}
    assert site.states("hv3") == []


@pytest.mark.fault("R2")
def test_where_the_type_cannot_be_asked_the_new_device_decides(site: Site) -> None:
    site.plan(only("web2"))
    node = f"parents/{CARD}/types/{KIND}/migration_version"
    site.fleet.client("fault_set", host="hv1", fault={"node": node, "kind": "absent"})
    assert "1 ready" in site.prepare()
    assert site.more() == {"hv1": [NEW]}


@pytest.mark.fault("C10")
def test_what_somebody_else_removes_is_not_ready(site: Site) -> None:
    site.plan(only("web2"))

    def remove() -> None:
        site.until(lambda: site.states("hv1") == ["created"])
        (site.fleet.host("hv1").sysfs_root / "bus" / "mdev" / "devices" / NEW / "remove").write_bytes(b"1\n")

    stranger = threading.Thread(target=remove)
    stranger.start()
    output = site.prepare(code=2)
    stranger.join()
    assert "web2 on hv1 (lost)" in output
    site.prepare()
    assert site.more() == {"hv1": [NEW]}


@pytest.mark.fault("C9")
def test_a_killed_controller(site: Site) -> None:
    """Killed with all of its children while the driver is at it; the rerun ends where an undisturbed run does."""
    site.plan(only("web2"))
    site.fleet.client("set_delays", host="hv1", parent=CARD, create=3.0)
    controller = subprocess.Popen(
        site.command("prepare_targets"), env=site.environment, cwd=site.folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    site.until(lambda: site.states("hv1") == ["creating"])
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    site.fleet.client("set_delays", host="hv1", parent=CARD, create=0.0)
    site.prepare()
    assert site.more() == {"hv1": [NEW]}
    assert site.states("hv1") == ["created"]
    site.release()
    assert site.more() == {}


def test_a_host_that_fails_costs_its_own_workloads(site: Site) -> None:
    def change(plan: Plan) -> None:
        second = copy.deepcopy(plan["moves"][0])
        second.update(workload="vm9", name="render9", source="hv5", target="hv4")
        node = {"type_string": "144d-a808-nvme-storage-west", "device_string": "144d-a808-nvme-storage-west"}
        second["devices"][0].update(
            source="55555555-0000-4000-8000-000000000001", source_type="nvmet_mdev-ns", vendor="pci:144d", **node,
            parent="0000:81:00.0", type="nvmet_mdev-ns", uuid="eeeeeeee-0000-4000-8000-000000000009",
        )  # fmt: skip
        plan["moves"][1] = second

    site.plan(change)
    site.ledger("hv1").parent.mkdir()
    site.ledger("hv1").write_text("a file where a folder should be")
    output = site.prepare(code=2)
    assert "web2 on hv1 (task_failed)" in output
    assert "render9 on" not in output.rpartition("these workloads")[2]
    assert site.more() == {"hv4": ["eeeeeeee-0000-4000-8000-000000000009"]}


def start(site: Site, host: str, device: str) -> None:
    site.fleet.client("start_workload", host=host, workload={"name": "web2", "uuid": WEB2, "devices": [device]})


@pytest.mark.fault("C11")
def test_after_a_migration(site: Site) -> None:
    """The new instance is the VM's own and stays; the old one is freed when asked for, and never while it is held."""
    site.plan(only("web2"))
    site.prepare()
    start(site, "hv1", NEW)
    assert "1 kept" in site.release("-e", "release_sources=true")
    assert site.more() == {"hv1": [NEW]}, "the source still holds its own"
    site.fleet.client("stop_workload", host="hv2", name="web2")
    assert "1 kept" in site.release()
    assert site.more() == {"hv1": [NEW]}, "nobody asked for it"
    assert "1 kept, 1 released" in site.release("-e", "release_sources=true")
    now = site.devices()
    assert NEW in now["hv1"]
    assert sorted({*now["hv2"], OLD}) == site.before["hv2"]
    assert OLD not in now["hv2"]


@pytest.mark.fault("C11")
def test_a_vm_that_is_shut_down_keeps_its_device(site: Site) -> None:
    site.plan(only("web2"))
    site.prepare()
    site.fleet.client("stop_workload", host="hv2", name="web2")
    site.release("-e", "release_sources=true")
    assert site.devices() == site.before


@pytest.mark.fault("P6")
def test_a_driver_that_removes_slowly_is_given_the_time_that_it_is_told_to_take(site: Site) -> None:
    site.plan(only("web2"))
    site.prepare()
    slow = {"node": f"devices/{NEW}/remove", "kind": "slow", "op": "write", "seconds": 1.5}
    site.fleet.client("fault_set", host="hv1", fault=slow)
    impatient = ("-e", "release_read_timeout=0.2")
    output = site.release(*impatient, "-e", "release_bind_timeout=0.3", code=2)
    assert "the driver did not answer within bind_timeout" in output
    assert "1 released" in site.release(*impatient)
    assert site.more() == {}


WRONG_CLOCK = """import time

right = time.gmtime
time.gmtime = lambda at=None: right((time.time() if at is None else at) + {})
"""


@pytest.mark.fault("P7", "C17")
@pytest.mark.parametrize("seconds", [3600, -3600, 86400 * 365])
def test_hosts_whose_clocks_are_wrong_are_prepared_all_the_same(site: Site, seconds: int) -> None:
    """What was asked after what is reckoned by the controller's clock alone."""
    (site.folder / "sitecustomize.py").write_text(WRONG_CLOCK.format(seconds))
    python = site.folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site.folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    site.plan(only("web2"))
    assert "Targets of plan small: 1 ready" in site.prepare("-e", f"ansible_python_interpreter={python}")


def test_everything_of_ours_without_a_plan(site: Site) -> None:
    site.plan(only("web2"))
    site.prepare()
    site.plan_file.unlink()
    assert "Release: 1 released" in site.release("-e", "release_all=true", "-e", "release_hosts=hypervisors")
    assert site.devices() == site.before
