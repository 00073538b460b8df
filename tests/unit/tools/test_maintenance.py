# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a maintenance that the simulator plays: VMs that migrate as QEMU lets them, and hosts that restart."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _plan
from ansible_collections.vfio.migration.tests.fleet.simulated.control import FleetClient
from ansible_collections.vfio.migration.tests.tools import maintenance
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import plan_data


class Client:
    """Notes what a fleet is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, t.Any]]] = []

    def __call__(self, do: str, **arguments: t.Any) -> None:
        self.asked.append((do, arguments))


@pytest.fixture(name="client")
def fixture_client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """Whoever opens a control channel gets this one."""
    client = Client()
    monkeypatch.setattr(maintenance, "FleetClient", lambda _path: client)
    return client


def plan() -> plan_data.Plan:
    """vm1 in wave 1, with a device that is passed through; vm2 in wave 2."""
    made = plan_data.two()
    made["moves"][0]["passthrough"] = [plan_data.passthrough(7, "0000:01:00.1")]
    return made


def test_a_vm_opens_its_new_devices_before_it_lets_go_of_the_old_ones(client: Client) -> None:
    moves = _plan.load(plan())["moves"]
    lines = maintenance.migrate(t.cast(FleetClient, client), moves, {1})
    assert lines == ["name-of-vm1 runs on hv2 now, and no longer on hv1"]
    devices = [*(one["uuid"] for one in moves[0]["devices"]), "0000:01:00.1"]
    assert client.asked == [
        (
            "start_workload",
            {"host": "hv2", "workload": {"name": "name-of-vm1", "uuid": "vm1", "devices": devices}},
        ),
        ("stop_workload", {"host": "hv1", "name": "name-of-vm1"}),
    ]


def test_vms_stop_before_their_host_does(client: Client) -> None:
    stopped = [
        _model.Stopped(workload="vm1", name="db", host="hv1"),
        _model.Stopped(workload="vm2", name=None, host="hv1"),
        _model.Stopped(workload="vm3", name="web", host="hv2"),
    ]
    lines = maintenance.stop(t.cast(FleetClient, client), stopped, ["hv1"])
    assert [line.split(";")[0] for line in lines] == ["db is stopped on hv1", "vm2 is stopped on hv1"]
    assert client.asked == [("stop_workload", {"host": "hv1", "name": name}) for name in ("db", "vm2")]


def test_only_the_waves_that_were_named(client: Client) -> None:
    moves = _plan.load(plan())["moves"]
    maintenance.migrate(t.cast(FleetClient, client), moves, {2})
    assert [words["host"] for _do, words in client.asked] == ["hv3", "hv1"]


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["maintenance", *words])
    return maintenance.main()


def test_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, client: Client, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan()))
    assert run(monkeypatch, "migrate", "fleet", str(tmp_path / "plan.json"), "1", "2") == 0
    assert run(monkeypatch, "restart", "fleet", "hv1") == 0
    assert [do for do, _words in client.asked] == ["start_workload", "stop_workload"] * 2 + ["reboot"]
    assert capsys.readouterr().out.splitlines()[-1] == "hv1 was restarted"


@pytest.mark.parametrize(
    "words", [("restart", "hv1"), ("migrate", "no-such-plan.json", "1")], ids=["no fleet", "no plan"]
)
def test_what_is_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert run(monkeypatch, words[0], str(tmp_path), *words[1:]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"{words[0]}: ")
    assert len(said.err.splitlines()) == 1
