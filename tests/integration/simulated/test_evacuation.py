# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped playbook plans evacuations of a simulated fleet, live and offline, and the others carry them out."""

from __future__ import annotations

import json
import pathlib
import re
import sys
import time
import typing as t

import pytest
import yaml

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _plan
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet
from ansible_collections.vfio.migration.tests.integration.simulated import test_targets
from ansible_collections.vfio.migration.tests.tools import demo, maintenance

pytestmark = pytest.mark.thorough

VF = "0000:5e:00.1"
OLD = ["hv2", "hv3"]
"""Only hv1 has a driver that takes what these have; the one of hv3 says that it does, and does not."""


class Office(test_targets.Site):
    """Somebody who plans with a fact cache."""

    def __init__(self, fleet: Fleet, folder: pathlib.Path) -> None:
        super().__init__(fleet, folder)
        self.inventory = fleet.inventory

    def command(self, name: str, *words: str) -> list[str]:
        if name not in ("plan_evacuation", "readiness"):
            return super().command(name, *words)
        playbook = (sys.executable, "-m", "ansible", "playbook", f"vfio.migration.{name}")
        return [*playbook, "-i", str(self.inventory), *words]

    @property
    def environment(self) -> dict[str, str]:
        cache = {"PLUGIN": "ansible.builtin.jsonfile", "PLUGIN_CONNECTION": str(self.folder / "facts")}
        return {**super().environment, **{f"ANSIBLE_CACHE_{key}": value for key, value in cache.items()}}

    def evacuate(self, *words: str, code: int = 0, **options: t.Any) -> str:
        """Make a plan; what was printed."""
        given = {f"evacuation_{name}": value for name, value in {"dest": str(self.plan_file), **options}.items()}
        return self.run("plan_evacuation", *words, "-e", json.dumps(given), code=code)

    def made(self) -> _model.Plan:
        return _plan.load(str(self.plan_file))

    def out_of_reach(self, *names: str) -> None:
        """From now on these hosts do not answer."""
        inventory = yaml.safe_load(self.fleet.inventory.read_text())
        for group in inventory.values():
            for name in names:
                dead = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
                group["hosts"][name] = {**(group["hosts"][name] or {}), **dead}
        self.inventory = self.folder / "inventory.yml"
        self.inventory.write_text(yaml.safe_dump(inventory))

    def migrate(self, wave: int) -> None:
        maintenance.migrate(self.fleet.client, self.made()["moves"], {wave})


@pytest.fixture(name="office")
def fixture_office(tmp_path: pathlib.Path) -> t.Iterator[Office]:
    with simulated_fleet("small") as fleet:
        yield Office(fleet, tmp_path)


def ways(plan: _model.Plan) -> list[tuple[str | None, str, str, int]]:
    return [(move["name"], move["source"], move["target"], move["wave"]) for move in plan["moves"]]


def touched(office: Office) -> bool:
    """Whether anybody looked at a host."""
    return any(office.fleet.client("counters").values())


def test_the_same_plan_live_and_offline_without_any_host(office: Office) -> None:
    output = office.evacuate(drain=OLD)
    live = office.made()
    assert ways(live) == [("web2", "hv2", "hv1", 1), ("db1", "hv2", "hv1", 1)]
    assert not live["partial"]
    assert "Plan " in output
    office.out_of_reach(*office.hosts)
    office.fleet.client("reset_counters")
    output = office.evacuate(live=False, drain=OLD)
    assert not touched(office)
    assert "changed=0" in output, "the same facts give the same plan"
    offline = office.made()
    assert offline["moves"] == live["moves"]
    assert offline["planning"]
    assert {host["state"] for host in offline["planning"]["inputs"]["hosts"]} == {"cached"}
    # A command line and a survey give text.
    office.evacuate(live="false", drain="hv2,hv3", incoming="0", concurrent="0", fail="false")
    assert office.made()["moves"] == live["moves"]


def test_the_readme_shows_what_the_demo_prints(office: Office) -> None:
    readme = (test_targets.ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```text\n(Plan .*?)Next: ", readme, re.DOTALL)
    output = office.evacuate(rolling={"batches": demo.BATCHES}, workloads=demo.CONDUCT)
    printed = re.search(r"^(Plan .*?)Notes$", output, re.DOTALL | re.MULTILINE)
    assert shown
    assert printed
    # The name of a plan is made of everything in it, ids of processes too.
    text, expected = (re.sub(r"plan-\w+", "plan-", found[1]) for found in (printed, shown))
    assert text == expected


def test_the_readme_shows_what_readiness_prints(office: Office) -> None:
    readme = (test_targets.ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```text\n(VFIO migration readiness, .*?)```", readme, re.DOTALL)
    printed = re.search(r"^(VFIO migration readiness, .*?)^ok: ", office.run("readiness"), re.DOTALL | re.MULTILINE)
    assert shown
    assert printed
    # When it was, and a process of that day.
    text, expected = (re.sub(r"\d{4}-[\d-]+T[\d:]+Z|pid:\d+", "", found[1]) for found in (printed, shown))
    begin, end = expected.split("  [...]\n")
    assert text.startswith(begin)
    assert text.endswith(end)
    blocks = re.findall(r"^  (?:mdev|vfio) .*$", text[len(begin) : -len(end)], re.MULTILINE)
    assert len(blocks) == 3, "as many as the sentence above it says"


@pytest.mark.fault("P10")
def test_check_mode_asks_no_driver_and_writes_no_plan(office: Office) -> None:
    output = office.evacuate("--check", drain=["hv2"])
    assert (office.writes(), office.plan_file.exists(), office.more()) == (0, False, {})
    assert "STUCK" in output, "nobody was asked, so nobody knows"


@pytest.mark.fault("C17")
def test_facts_that_are_too_old_are_refused_and_the_old_plan_stays(office: Office) -> None:
    office.evacuate(drain=["hv2"])
    before = office.plan_file.read_bytes()
    time.sleep(2)
    output = " ".join(office.evacuate(live=False, drain=["hv4"], max_age=1, code=2).split())
    assert "the facts of hv1, hv2, hv3, hv4, hv5 and 1 other are older than 1 seconds" in output
    assert office.plan_file.read_bytes() == before


def test_a_plan_that_can_not_be_written_leaves_the_old_one(office: Office) -> None:
    """The new file cannot even be begun: its temporary name is too long. Permissions would not stop root."""
    dest = office.folder / ("p" * 250 + ".json")
    office.evacuate(drain=["hv2"])
    office.plan_file.rename(dest)
    before = dest.read_bytes()
    output = " ".join(office.evacuate(live=False, drain=["hv4"], dest=str(dest), code=2).split())
    assert "vfio.migration.evacuation_plan: cannot write" in output
    assert dest.read_bytes() == before
    assert [path.name for path in office.folder.glob("*p*.json*")] == [dest.name], "nothing else is left there"


@pytest.mark.fault("C16")
def test_an_unreachable_host_is_no_target_and_the_plan_says_so(office: Office) -> None:
    office.out_of_reach("hv5")
    output = office.evacuate(drain=[*OLD, "hv4"])
    plan = office.made()
    assert plan["partial"]
    assert [name for name, *_way in ways(plan)] == ["web2", "db1"]
    stuck = {one["name"]: one for one in plan["stuck"]}
    assert sorted(map(str, stuck)) == ["batch1", "vdi1"]
    assert "of 1 hosts that could not be looked at nothing is known" in stuck["vdi1"]["detail"]
    assert "PARTIAL: nothing is known of hv5" in output
    assert plan["planning"] is not None
    assert ("hosts/hv5", "unreachable") in {(note["item"], note["reason"]) for note in plan["planning"]["notes"]}


@pytest.mark.fault("C17")
def test_what_has_drifted_since_is_dropped_and_the_rest_is_made(office: Office) -> None:
    office.evacuate(drain=OLD)
    web2 = {"name": "web2", "uuid": test_targets.WEB2, "devices": ["22222222-0000-4000-8000-000000000002"]}
    office.fleet.client("start_workload", host="hv2", workload=web2)
    output = office.prepare(code=2)
    assert "1 dropped, 1 ready" in output
    assert "web2 on hv1 (source_changed)" in output
    db1 = next(move for move in office.made()["moves"] if move["name"] == "db1")
    assert office.more() == {"hv1": [db1["devices"][0]["uuid"]]}


def test_a_vm_moves_to_a_device_that_is_there_already(office: Office) -> None:
    office.evacuate(drain=["hv4"])
    (move,) = office.made()["moves"]
    assert (move["name"], move["target"], [one["device"] for one in move["passthrough"]]) == ("vdi1", "hv5", [VF])
    assert "1 ready" in office.prepare()
    assert office.more() == {}, "nothing has to be made"
    office.migrate(1)
    assert "1 released" in office.release("-e", "release_sources=true")
    assert move["passthrough"][0]["source"] in office.before["hv4"]
    assert office.devices()["hv4"] == [one for one in office.before["hv4"] if one != move["passthrough"][0]["source"]]


CARD = {
    "driver": "lab",
    "driver_version": "1.0",
    "vendor": "1af4",
    "device": "1042",
    "capacity": {"model": "shared_units", "total": 4},
    "types": {"lab-A1": {}},
}
FIRST = "11111111-0000-4000-8000-000000000001"
VM = {"name": "web", "uuid": "aaaaaaaa-0000-4000-8000-000000000001", "devices": [FIRST]}
PAIR = {
    "version": 1,
    "hosts": {
        "h1": {
            "parents": {"0000:3b:00.0": CARD},
            "mdevs": [{"uuid": FIRST, "parent": "0000:3b:00.0", "type": "lab-A1"}],
            "workloads": [VM],
        },
        "h2": {"parents": {"0000:3b:00.0": CARD}},
    },
}


@pytest.mark.fault("L4")
def test_a_vm_that_moves_twice_goes_wave_by_wave(tmp_path: pathlib.Path) -> None:
    with simulated_fleet(PAIR) as fleet:
        office = Office(fleet, tmp_path)
        office.evacuate(rolling={"batches": [["h1"], ["h2"]]})
        plan = office.made()
        assert ways(plan) == [("web", "h1", "h2", 1), ("web", "h2", "h1", 2)]
        writes = office.writes()
        output = " ".join(office.prepare(code=2).split())
        assert f"moves {VM['uuid']} more than once: name the waves of one batch" in output
        assert (office.writes(), office.more()) == (writes, {})
        for move in plan["moves"]:
            wave = json.dumps({"targets_waves": [move["wave"]], "release_waves": [move["wave"]]})
            assert "1 ready" in office.prepare("-e", wave)
            office.migrate(move["wave"])
            assert "1 kept, 1 released" in office.release("-e", wave, "-e", "release_sources=true")
            uuid = move["devices"][0]["uuid"]
            assert office.devices() == {move["source"]: [], move["target"]: [uuid]}
            maintenance.restart(fleet.client, [move["source"]])
        assert {host: one["workloads"] for host, one in fleet.client("status").items()} == {"h1": ["web"], "h2": []}
