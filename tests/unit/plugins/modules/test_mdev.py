# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module mdev as Ansible runs it, on a host of plain files, where a write to ``create`` makes nothing."""

from __future__ import annotations

import json
import os
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.vfio.migration.plugins.modules import mdev

PARENT = "0000:00:02.0"
TYPE = "i915-GVTg_V5_4"
THERE, NEW = "11111111-2222-3333-4444-555555555555", "6f7bd1a2-9c43-4f4c-8c53-0d8f6d3c2b10"
DIRECTORY = "devices/pci0000:00/%s/" % PARENT
CREATE = DIRECTORY + "mdev_supported_types/%s/create" % TYPE
KEYS = ["changed", "ledger", "workloads"]


def wish(uuid: str, **changes: t.Any) -> t.Dict[str, t.Any]:
    return dict({"uuid": uuid, "parent": PARENT, "type": TYPE, "workload": "vm1"}, **changes)


class Run(t.NamedTuple):
    code: t.Any
    result: t.Dict[str, t.Any]


Runner = t.Callable[..., Run]


@pytest.fixture
def run(host: t.Any, tmp_path: t.Any, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Runs the module; names with an underscore are Ansible's own."""
    host.file(CREATE, b"")
    boot_id = host.proc / "sys/kernel/random/boot_id"
    boot_id.parent.mkdir(parents=True)
    boot_id.write_text("b0075a1d-0000-4000-8000-000000000001\n")

    def start(**params: t.Any) -> Run:
        roots = {"sysfs_root": str(host.sys), "proc_root": str(host.proc), "ledger": str(tmp_path / "ledger")}
        with patch_module_args(dict(roots, bind_timeout=0.2, **params)), pytest.raises(SystemExit) as end:
            mdev.main()
        return Run(end.value.code, json.loads(capsys.readouterr().out))

    return start


def test_instance_that_is_there_is_unchanged(run: Runner) -> None:
    code, result = run(plan="p1", instances=[wish(THERE)])
    assert (code, result["changed"], result["ledger"]) == (0, False, [])
    # Up to core 2.20 the parameters come along.
    assert sorted(set(result) - {"invocation"}) == KEYS
    instance = result["workloads"][0]["instances"][0]
    assert (instance["action"], instance["device"]["id"], instance["device"]["type"]) == ("unchanged", THERE, TYPE)


@pytest.mark.fault("P10")
def test_check_and_diff_mode_return_the_same_shape_and_write_nothing(run: Runner, host: t.Any, tmp_path: t.Any) -> None:
    code, result = run(plan="p1", instances=[wish(NEW)], _ansible_check_mode=True, _ansible_diff=True)
    assert (code, result["changed"]) == (0, True)
    assert sorted(set(result) - {"invocation"}) == sorted([*KEYS, "diff"])
    place = {"uuid": NEW, "parent": PARENT, "type": TYPE, "owner": "p1: vm1", "attributes": []}
    assert result["diff"] == {"before": {"instances": []}, "after": {"instances": [place]}}
    assert result["workloads"][0]["instances"][0]["device"] is None
    assert (host.sys / CREATE).read_bytes() == b""
    assert not (tmp_path / "ledger").exists()


@pytest.mark.fault("C6")
def test_failure_comes_with_everything_and_only_when_wanted(run: Runner, host: t.Any, tmp_path: t.Any) -> None:
    code, result = run(plan="p1", instances=[wish(NEW)])
    assert (code, result["failed"], result["workloads"][0]["reason"]) == (1, True, "not_created")
    assert result["msg"].startswith("vfio.migration.mdev: 1 of 1 workloads failed: instance %s" % NEW)
    assert (host.sys / CREATE).read_bytes() == NEW.encode() + b"\n"
    again = run(plan="p1", instances=[wish(NEW)], fail_on_error=False)
    assert (again.code, again.result["workloads"]) == (0, result["workloads"])
    assert json.loads((tmp_path / "ledger" / "ledger.json").read_text())["entries"] == []


@pytest.mark.fault("L10")
def test_hostile_options_are_all_listed_and_nothing_is_touched(run: Runner, host: t.Any, tmp_path: t.Any) -> None:
    code, result = run(plan="../x", instances=[wish(NEW, parent="../../x"), wish("$(reboot)")])
    assert (code, len(result["errors"])) == (1, 3)
    assert result["msg"].startswith("vfio.migration.mdev: nothing was touched: instances[0].parent must be")
    assert (result["changed"], result["workloads"], result["ledger"]) == (False, [], [])
    assert (host.sys / CREATE).read_bytes() == b""
    assert not (tmp_path / "ledger").exists()


def test_option_of_the_host_that_is_wrong(run: Runner) -> None:
    code, result = run(plan="p1", instances=[wish(NEW)], read_timeout=0)
    assert (code, result["msg"][:39]) == (1, "vfio.migration.mdev: read_timeout must ")


def test_ledger_that_is_damaged_stops_everything(run: Runner, host: t.Any, tmp_path: t.Any) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "ledger.json").write_text("{")
    code, result = run(plan="p1", instances=[wish(NEW)])
    assert code == 1
    assert "ledger.json is damaged" in result["msg"]
    assert (host.sys / CREATE).read_bytes() == b""


def test_strings_reach_the_device_byte_for_byte(run: Runner, host: t.Any) -> None:
    strings = [" 0x10 ", "{{ 1+1 }}", "yes", "1e3", "null", "[1]", '{"a": 1}']
    for string in strings:
        host.file(DIRECTORY + THERE + "/migration_version", b"")
        assert run(plan="p1", instances=[wish(THERE, accepts=string)]).code == 0
        assert (host.sys / DIRECTORY / THERE / "migration_version").read_bytes() == string.encode()


@pytest.mark.fault("R13")
@pytest.mark.parametrize("changes", [{"accepts": 16}, {"parent": 2.0}, {"attributes": [{"name": "a", "value": 171}]}])
def test_what_is_no_text_is_refused_not_rewritten(run: Runner, changes: t.Dict[str, t.Any]) -> None:
    code, result = run(plan="p1", instances=[wish(NEW, **changes)])
    assert (code, len(result["errors"])) == (1, 1)
    assert "must be text, in quotes" in result["msg"]


@pytest.mark.parametrize("params", [{"plan": "p1"}, {"all_ours": True}])
def test_absent_without_a_ledger_is_nothing_and_leaves_none(run: Runner, tmp_path: t.Any, params: t.Any) -> None:
    code, result = run(state="absent", **params)
    assert (code, result["changed"], result["workloads"]) == (0, False, [])
    assert not (tmp_path / "ledger").exists()


@pytest.mark.fault("C19")
def test_foreign_instance_is_refused(run: Runner, host: t.Any) -> None:
    host.file(DIRECTORY + THERE + "/remove", b"")
    code, result = run(state="absent", instances=[{"uuid": THERE}])
    assert (code, result["workloads"][0]["reason"]) == (1, "foreign")
    assert os.stat(str(host.sys / DIRECTORY / THERE / "remove")).st_size == 0
