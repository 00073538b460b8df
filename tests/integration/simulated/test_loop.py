# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped playbook on a simulated fleet, from the drivers' strings to the matrix and back."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml

from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet

pytestmark = pytest.mark.thorough

TREE = pathlib.Path(__file__).parents[3] / ".cache" / "tree"

STRINGS = {
    "number": " 0x10 ",
    "template": "{{ 1+1 }}",
    "boolean": "yes",
    "float": "1e3",
    "quotes": """it's "quoted" \\ and 'more'""",
    "long": "x" * 4094,
    "lines": "two\nlines ",
    "null": "null",
    "list": "[1, 2]",
    "tagged": "!unsafe {% raw %}",
}


def _parent(strings: dict[str, str]) -> dict[str, t.Any]:
    types = {f"nv-{name}": {"name": name, "string": string, "rule": "exact"} for name, string in strings.items()}
    return {"driver": "nv", "driver_version": "1.0", "vendor": "10de", "types": types, "capacity": {"total": 64}}


SCENARIO: dict[str, t.Any] = {
    "version": 1,
    "name": "loop",
    "hosts": {
        name: {
            "parents": {"0000:3b:00.0": _parent(STRINGS)},
            "mdevs": [
                {
                    "uuid": f"{number}0000000-0000-4000-8000-0000000000{index:02d}",
                    "parent": "0000:3b:00.0",
                    "type": kind,
                }
                for index, kind in enumerate(f"nv-{name}" for name in STRINGS)
            ],
        }
        for number, name in ((1, "hv1"), (2, "hv2"))
    },
}


class Playbook:
    """Runs the playbook with a fact cache of its own."""

    def __init__(self, fleet: Fleet, folder: pathlib.Path) -> None:
        self.fleet = fleet
        self.cache = folder / "facts"
        self.dest = folder / "readiness.json"
        self.inventory = [fleet.inventory]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(TREE),
            "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.cache),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
        }
        command = [sys.executable, "-m", "ansible", "playbook", "vfio.migration.readiness"]
        for inventory in self.inventory:
            command += ["-i", str(inventory)]
        command += ["-e", "readiness_hosts=hypervisors", "-e", f"report_dest={self.dest}", *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL
        )

    def result(self, *words: str) -> dict[str, t.Any]:
        """Run it, expect success, read what it wrote."""
        done = self.run(*words)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return t.cast("dict[str, t.Any]", json.loads(self.dest.read_text()))

    def facts(self, host: str) -> dict[str, t.Any]:
        """What the cache keeps of a host."""
        return t.cast("dict[str, t.Any]", json.loads(json.loads(self._file(host).read_text())["__payload__"]))

    def spoil(self, host: str, change: t.Callable[[dict[str, t.Any]], None]) -> None:
        """Change a host's cached facts."""
        facts = self.facts(host)
        change(facts)
        self._file(host).write_text(json.dumps({"__payload__": json.dumps(facts)}))

    def _file(self, host: str) -> pathlib.Path:
        return self.cache / f"s1_{host}"


@pytest.fixture(scope="module")
def loop() -> t.Iterator[Fleet]:
    with simulated_fleet(SCENARIO) as fleet:
        yield fleet


@pytest.fixture
def playbook(loop: Fleet, tmp_path: pathlib.Path) -> Playbook:
    loop.client("reset_counters")
    return Playbook(loop, tmp_path)


def _counts(fleet: Fleet, what: str) -> dict[tuple[str, str], int]:
    return {
        (host, node): counts[what]
        for host, nodes in fleet.client("counters").items()
        for node, counts in nodes.items()
        if counts[what]
    }


@pytest.mark.fault("R12", "R13")
def test_strings_go_round_the_whole_loop_byte_for_byte(playbook: Playbook) -> None:
    """Driver, facts, cache, action, module parameters, and back into the driver, which compares exactly."""
    found = playbook.result()
    accepted, rejected = _counts(playbook.fleet, "accepts"), _counts(playbook.fleet, "rejects")
    assert sorted({node.split("/")[3] for _host, node in accepted if node.startswith("parents/")}) == sorted(
        f"nv-{name}" for name in STRINGS
    )
    assert sum(count for (_host, node), count in accepted.items() if node.startswith("parents/")) == 2 * len(STRINGS)
    assert not [node for _host, node in rejected if node.startswith("parents/")], "each type is asked its own string"
    for host in ("hv1", "hv2"):
        types = playbook.facts(host)["vfio_migration"]["parents"][0]["types"]
        assert {type_["id"][3:]: type_["migration_version"]["value"] for type_ in types} == STRINGS
    types_of = {each["id"]: each["type"] for each in found["sources"] + found["targets"]}
    assert len(found["pairings"]) >= len(STRINGS) ** 2
    for pair in found["pairings"]:
        same = types_of[pair["source"]] == types_of[pair["target"]]
        assert pair["verdict"] == ("compatible" if same else "incompatible"), pair
    shown = {source["type"][3:]: source["device_version"]["value"] for source in found["sources"]}
    assert shown == STRINGS


@pytest.mark.fault("P12")
def test_writes_are_the_distinct_pairs_of_string_and_node(playbook: Playbook) -> None:
    playbook.result()
    # Two hosts; each type node is asked the one string of its type, each instance the strings of all.
    expected = 2 * (len(STRINGS) + len(STRINGS) ** 2)
    assert sum(_counts(playbook.fleet, "writes").values()) == expected


def test_steady_run_asks_nothing_and_changes_nothing(playbook: Playbook) -> None:
    first = playbook.result()
    playbook.fleet.client("reset_counters")
    done = playbook.run()
    assert _counts(playbook.fleet, "writes") == {}
    assert "changed=1" not in done.stdout
    second = json.loads(playbook.dest.read_text())
    assert second["pairings"] == first["pairings"]
    assert second["targets"] == first["targets"]


@pytest.mark.fault("P7")
def test_new_driver_is_asked_again(playbook: Playbook) -> None:
    playbook.result()
    playbook.fleet.client("reset_counters")
    playbook.fleet.client("set_driver", host="hv2", driver="nv", version="1.1")
    playbook.result()
    written = _counts(playbook.fleet, "writes")
    playbook.fleet.client("set_driver", host="hv2", driver="nv", version="1.0")
    assert {host for host, _node in written} == {"hv2"}
    # Each type node its one string, each instance the strings of all: as if it had never been asked.
    types = {node for _host, node in written if node.startswith("parents/")}
    assert {node.split("/")[3] for node in types} == {f"nv-{name}" for name in STRINGS}
    assert sum(written.values()) == len(STRINGS) + len(STRINGS) ** 2


@pytest.mark.fault("P10")
def test_check_mode_writes_to_no_driver(playbook: Playbook) -> None:
    done = playbook.run("--check")
    assert done.returncode == 0, done.stdout[-3000:]
    assert _counts(playbook.fleet, "writes") == {}
    assert not playbook.dest.exists()
    assert len(playbook.facts("hv1")["vfio_migration_verdicts"]["would_write"]) > len(STRINGS)


@pytest.mark.fault("P10")
def test_check_mode_pairs_with_earlier_answers(playbook: Playbook) -> None:
    """Nothing is written, on hosts or controller, and still the fleet is reported from what was asked before."""
    first = playbook.result()
    playbook.dest.unlink()
    done = playbook.run("--check", "-e", f"readiness_dest={playbook.dest.with_name('matrix.json')}")
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{len(first['devices'])} devices" in done.stdout
    assert not list(playbook.dest.parent.glob("*.json"))


def test_hosts_may_be_a_list(playbook: Playbook) -> None:
    found = playbook.result("-e", '{"readiness_hosts": ["hv1", "hypervisors", "!hv2"]}')
    assert [host["host"] for host in found["hosts"]] == ["hv1"]


def test_limit_takes_the_rest_from_the_cache(playbook: Playbook) -> None:
    playbook.result()
    found = playbook.result("--limit", "hv1")
    assert {host["host"]: host["state"] for host in found["hosts"]} == {"hv1": "fresh", "hv2": "cached"}
    assert not found["partial"]
    assert "unknown" not in {pair["verdict"] for pair in found["pairings"]}


def _with_dead_host(playbook: Playbook, folder: pathlib.Path) -> None:
    """A host behind a port where nobody listens."""
    dead = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    more = folder / "dead.yml"
    more.write_text(yaml.safe_dump({"hypervisors": {"hosts": {"hv3": dead}}}))
    playbook.inventory.append(more)


def test_unreachable_host_is_unknown_not_absent(playbook: Playbook, tmp_path: pathlib.Path) -> None:
    _with_dead_host(playbook, tmp_path)
    found = playbook.result()
    assert {host["host"]: host["state"] for host in found["hosts"]} == {
        "hv1": "fresh",
        "hv2": "fresh",
        "hv3": "unreachable",
    }
    assert found["partial"]
    assert "hv3" in str([finding for finding in found["findings"] if finding["kind"] == "unreachable"])


def test_unreachable_host_with_a_past_is_cached(playbook: Playbook, tmp_path: pathlib.Path) -> None:
    playbook.result()
    _with_dead_host(playbook, tmp_path)
    (playbook.cache / "s1_hv3").write_text((playbook.cache / "s1_hv2").read_text())
    found = playbook.result()
    assert {host["host"]: host["state"] for host in found["hosts"]}["hv3"] == "cached"


def test_unreachable_host_costs_its_time_out_once(playbook: Playbook, tmp_path: pathlib.Path) -> None:
    playbook.result()
    _with_dead_host(playbook, tmp_path)
    (playbook.cache / "s1_hv3").write_text((playbook.cache / "s1_hv2").read_text())
    playbook.spoil("hv3", lambda facts: facts.pop("vfio_migration_verdicts"))
    done = playbook.run()
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.count("[hv3]: UNREACHABLE!") == 1


@pytest.mark.fault("L8", "L10")
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda facts: facts["vfio_migration"].update(schema_version=99), "schema_version must be 1, not 99"),
        (
            lambda facts: facts["vfio_migration"]["parents"][0].update(address=17),
            "parents[0].address must be a string, not int",
        ),
        (lambda facts: facts["vfio_migration"]["parents"][0].update(address="../../x"), "parents[0].address"),
        (lambda facts: facts.update(vfio_migration="gone"), "must be a mapping, not string"),
    ],
)
def test_host_with_malformed_facts_is_left_out_by_name(
    playbook: Playbook, change: t.Callable[[dict[str, t.Any]], None], error: str
) -> None:
    playbook.result()
    playbook.spoil("hv2", change)
    found = playbook.result("--limit", "hv1")
    states = {host["host"]: host for host in found["hosts"]}
    assert (states["hv1"]["state"], states["hv2"]["state"]) == ("fresh", "excluded")
    assert error in str(states["hv2"]["errors"])
    assert "hv2" in str([finding for finding in found["findings"] if finding["kind"] == "excluded"])


def test_failure_only_when_asked_for(playbook: Playbook, tmp_path: pathlib.Path) -> None:
    _with_dead_host(playbook, tmp_path)
    assert playbook.run().returncode == 0
    done = playbook.run("-e", '{"report_fail_on": ["unreachable"]}')
    assert done.returncode != 0
    assert "unreachable" in done.stdout
