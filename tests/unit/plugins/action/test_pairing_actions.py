# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both faces inside a real ansible-playbook run, on facts from a fact cache."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _pairing
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data

ODD = [
    " 0x10 ",
    "{{ 1+1 }}",
    "{% if x %}",
    "yes",
    "1e3",
    "null",
    '"\'\\"`$(id)',
    "a\nb\n",
    "[1, 2]",
    "#!unsafe",
    "x" * 4094,
]
NOW = _clock.now()
DRIVEN = data.DRIVEN
MATRIX_KEYS = {"schema_version", "time", "partial", "hosts", "sources", "targets", "pairings", "findings"}


def odd_fleet() -> dict[str, t.Any]:
    """hv1 produces every odd string, hv2 was asked none yet; hv3 has no facts."""
    types = [data.mdev_type(f"t{number}", string) for number, string in enumerate(ODD)]
    other = [data.mdev_type(f"t{number}", "plain") for number in range(len(ODD))]
    device = data.device("u1", ODD[1], ("p1", "t0"), in_use=True)
    return {"hv1": data.host(data.parent("p1", *types), device, time=NOW), "hv2": data.host(data.parent("p1", *other))}


def answered(fleet: dict[str, t.Any]) -> dict[str, t.Any]:
    """The same after hv2 said yes to every string."""
    parts = fleet["hv2"]["vfio_migration"]["parents"]
    verdicts = [data.verdict(("p1", f"t{number}", None), each, time=NOW) for number, each in enumerate(ODD)]
    return {**fleet, "hv2": data.host(*parts, verdicts=verdicts, time=NOW)}


class Run(t.NamedTuple):
    output: str
    results: pathlib.Path

    def result(self, name: str) -> t.Any:
        """What a task saved."""
        return json.loads((self.results / f"{name}.json").read_text())


class Controller:
    """Runs a play with a fact cache of its own; ``hosts`` of the play are limited to hv2 when ``limit`` is set."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / "ansible.cfg").write_text("[defaults]\n")
        (folder / "inventory").write_text("[hypervisors]\nhv1\nhv2\nhv3\n[all:vars]\nansible_connection=local\n")

    def cache(self, fleet: dict[str, t.Any]) -> None:
        """Lay the facts where the jsonfile cache plugin of this ansible-core looks for them."""
        play = [
            {
                "hosts": "hypervisors",
                "gather_facts": False,
                "tasks": [
                    {
                        "name": "Facts as a module returns them",
                        "facts_of_tests": {"path": "{{ playbook_dir }}/facts/{{ inventory_hostname }}.json"},
                    }
                ],
            }
        ]
        facts = self.folder / "facts"
        facts.mkdir(exist_ok=True)
        for host in ("hv1", "hv2", "hv3"):
            (facts / f"{host}.json").write_text(json.dumps(fleet.get(host, {})))
        library = self.folder / "library"
        library.mkdir(exist_ok=True)
        (library / "facts_of_tests.py").write_text(MODULE)
        self.play(play)

    def play(self, plays: t.Any, *arguments: str, code: int = 0) -> Run:
        (self.folder / "play.json").write_text(json.dumps(plays))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "ANSIBLE_COLLECTIONS_PATH": str(pathlib.Path(_pairing.__file__).parents[5]),
            "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.folder / "cache"),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }
        command = [sys.executable, "-m", "ansible.cli.playbook", "-i", "inventory", "play.json", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        assert done.returncode == code, output
        return Run(output, self.folder)


MODULE = """#!/usr/bin/python
import json
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"path": {"type": "path"}}, supports_check_mode=True)
with open(module.params["path"]) as file:
    module.exit_json(ansible_facts=json.load(file))
"""


def play(*tasks: dict[str, t.Any], hosts: str = "hypervisors") -> list[t.Any]:
    return [{"hosts": hosts, "gather_facts": False, "tasks": list(tasks)}]


def run_once(name: str, action: str, **options: t.Any) -> list[dict[str, t.Any]]:
    """Call an action once and save what it returned."""
    return [
        {f"vfio.migration.{action}": options, "run_once": True, "delegate_to": "localhost", "register": name},
        save(name, f"{{{{ {name} }}}}"),
    ]


def save(name: str, value: str) -> dict[str, t.Any]:
    return {
        "ansible.builtin.copy": {"content": "{{ value | to_json }}", "dest": f"{{{{ playbook_dir }}}}/{name}.json"},
        "vars": {"value": value},
        "run_once": True,
        "check_mode": False,
    }


FLEET = "{{ groups['hypervisors'] }}"


@pytest.fixture(name="controller")
def fixture_controller(tmp_path: pathlib.Path) -> Controller:
    return Controller(tmp_path)


@pytest.mark.fault("R13", "R12", "C16")
def test_odd_strings_pass_both_faces_byte_for_byte(controller: Controller) -> None:
    controller.cache(odd_fleet())
    facts = "{{ dict(groups['hypervisors'] | zip(groups['hypervisors'] | map('extract', hostvars, 'ansible_facts'))) }}"
    run = controller.play(
        play(
            *run_once("asked", "probe_requests", hosts=FLEET),
            {**save("filtered", "{{ facts | vfio.migration.probe_requests }}"), "vars": {
                "facts": facts, "value": "{{ facts | vfio.migration.probe_requests }}"}},
            {"ansible.builtin.copy": {
                "content": "{{ asked.requests[inventory_hostname] | to_json }}",
                "dest": "{{ playbook_dir }}/{{ inventory_hostname }}.json"},
             "when": "inventory_hostname in asked.requests"},
        )
    )  # fmt: skip
    asked = run.result("asked")
    assert [one["string"] for one in asked["requests"]["hv2"]] == [each for _number, each in sorted_by_type()]
    assert (asked["hosts"], asked["count"], asked["covered"]) == (["hv1", "hv2"], 2 * len(ODD), False)
    assert run.result("filtered") == asked["requests"]
    assert run.result("hv1") == asked["requests"]["hv1"]
    assert run.result("hv2") == asked["requests"]["hv2"]


def sorted_by_type() -> list[tuple[str, str]]:
    return sorted((f"t{number}", each) for number, each in enumerate(ODD))


@pytest.mark.fault("R13", "R12")
def test_the_matrix_of_odd_strings_is_written_returned_and_filtered_alike(controller: Controller) -> None:
    fleet = answered(odd_fleet())
    controller.cache(fleet)
    facts = "{{ dict(groups['hypervisors'] | zip(groups['hypervisors'] | map('extract', hostvars, 'ansible_facts'))) }}"
    filtered = "{{ facts | vfio.migration.pairings(sources='all') }}"
    run = controller.play(
        play(
            *run_once("written", "pairings", hosts=FLEET, sources="all", dest="{{ playbook_dir }}/matrix.json"),
            *run_once("whole", "pairings", hosts=FLEET, sources="all"),
            {**save("filtered", filtered), "vars": {"facts": facts, "value": filtered}},
        )
    )
    matrix = run.result("matrix")
    expected = _pairing.pairings({**fleet, "hv3": {}}, 86400, matrix["time"], "all")
    assert matrix == expected
    assert {one["version"]["value"] for one in matrix["targets"]} == {*ODD, "plain"}
    whole = run.result("whole")
    assert set(whole["pairings"]) == MATRIX_KEYS
    assert _pairing.same_but_for_times(matrix, whole["pairings"])
    assert _pairing.same_but_for_times(matrix, run.result("filtered"))
    written = run.result("written")
    assert (written["changed"], written["pairings"], written["partial"]) == (True, None, True)
    assert written["dest"] == str(controller.folder / "matrix.json")
    assert written["summary"] == whole["summary"]
    assert written["summary"]["hosts"] == {"fresh": 2, "cached": 0, "unreachable": 1, "excluded": 0}


def test_a_limit_leaves_the_rest_of_the_fleet_in_the_matrix_as_cached(controller: Controller) -> None:
    controller.cache(answered(odd_fleet()))
    tasks = [*run_once("fleet", "pairings", hosts=FLEET), *run_once("play", "pairings")]
    run = controller.play(play(*tasks), "--limit", "hv2")
    states = {host["host"]: host["state"] for host in run.result("fleet")["pairings"]["hosts"]}
    assert states == {"hv1": "cached", "hv2": "fresh", "hv3": "unreachable"}
    assert [host["host"] for host in run.result("play")["pairings"]["hosts"]] == ["hv2"]


def test_a_host_that_failed_before_is_cached(controller: Controller) -> None:
    controller.cache(answered(odd_fleet()))
    fail = {"ansible.builtin.fail": None, "when": "inventory_hostname == 'hv1'"}
    run = controller.play(play(fail, *run_once("found", "pairings")), code=2)
    states = {host["host"]: host["state"] for host in run.result("found")["pairings"]["hosts"]}
    assert states["hv1"] == "cached"


def test_a_rerun_changes_nothing_and_check_mode_writes_nothing(controller: Controller) -> None:
    controller.cache(odd_fleet())
    plays = play(*run_once("found", "pairings", hosts=FLEET, dest="{{ playbook_dir }}/matrix.json"))
    matrix = controller.folder / "matrix.json"

    assert controller.play(plays, "--check").result("found")["changed"]
    assert not matrix.exists()
    assert controller.play(plays).result("found")["changed"]
    assert not controller.play(plays).result("found")["changed"]
    matrix.write_text("{}")
    assert controller.play(plays, "--check").result("found")["changed"]
    assert matrix.read_text() == "{}"


@pytest.mark.fault("L8")
@pytest.mark.parametrize(
    ("action", "options", "error"),
    [
        ("pairings", {"hosts": ["hv1", "hv9"]}, "vfio.migration.pairings: hosts must be in the inventory"),
        ("probe_requests", {"hosts": ["hv9"]}, "must be in the inventory, these are not: hv9."),
        ("pairings", {"dest": "/nowhere/x.json"}, "the folder /nowhere does not exist."),
        ("pairings", {"sources": "some"}, "value of sources must be one of: devices, all"),
        ("probe_requests", {"max_age": "day"}, "max_age"),
        ("probe_requests", {"max_age": -1}, "vfio.migration.probe_requests: max_age must not be negative, not -1."),
        ("pairings", {"max_age": -1}, "vfio.migration.pairings: max_age must not be negative, not -1."),
        ("report", {"pairings": "/nowhere/x.json"}, 'pairings /nowhere/x.json: No such file or directory."}'),
        ("report", {"pairings": "{{ playbook_dir }}/inventory"}, 'Expecting value: line 1 column 2 (char 1)."}'),
    ],
)
def test_mistakes_are_named(controller: Controller, action: str, options: dict[str, t.Any], error: str) -> None:
    run = controller.play(play(*run_once("found", action, **options)), code=2)
    assert error in " ".join(run.output.split()), run.output


def test_the_report_without_a_matrix_says_where_to_get_one(controller: Controller) -> None:
    role = {"ansible.builtin.include_role": {"name": "vfio.migration.report"}, "run_once": True}
    run = controller.play(play(role), code=2)
    assert "there is no matrix: run the role vfio.migration.readiness before in the same play" in run.output


def test_defaults_of_the_action_group_are_for_those_that_look_at_a_host(controller: Controller) -> None:
    controller.cache(odd_fleet())
    [only] = play(*run_once("found", "pairings"), *run_once("asked", "probe_requests"))
    defaults = {"group/vfio.migration.migration": {"sysfs_root": "/mnt/sys"}}
    run = controller.play([{**only, "module_defaults": defaults}])
    assert run.result("asked")["count"] > 0
