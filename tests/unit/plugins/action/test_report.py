# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin: what it reads, writes and refuses."""

from __future__ import annotations

import json
import pathlib
import types
import typing as t

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.vfio.migration.plugins.action import report as action
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import page_data, plan_data
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import report_data as data


class HostVars(dict[str, t.Any]):
    """Facts may only be fetched the way that does not template them."""

    def raw_get(self, name: str) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", dict.__getitem__(self, name))

    def __getitem__(self, name: str) -> t.Any:
        raise AssertionError(f"{name} was templated")


def run(
    args: dict[str, t.Any], facts: dict[str, dict[str, t.Any]] | None = None, check: bool = False
) -> dict[str, t.Any]:
    task = types.SimpleNamespace(
        args=args, async_val=0, check_mode=check, diff=False, action="vfio.migration.report", delegate_to=None
    )
    connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None), _remote_is_local=True)
    module = action.ActionModule(task, connection, types.SimpleNamespace(), None, None, None)
    hostvars = HostVars({host: {"ansible_facts": found} for host, found in (facts or {}).items()})
    return module.run(task_vars={"hostvars": hostvars})


@pytest.fixture
def pairings(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "pairings.json"
    path.write_text(json.dumps(data.small()), encoding="utf-8")
    return str(path)


def test_it_shows_the_text_and_returns_little(pairings: str, capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"hv1": {"vfio_migration": data.snapshot("hv1", {"vm-1": "web1"})}, "hv2": {}}
    result = run({"pairings": pairings}, facts)
    assert "VFIO migration readiness" in capsys.readouterr().out
    assert result["changed"] is False
    assert result["dest"] is None
    assert result["summary"]["devices"] == {"ready": 2, "no_room": 1, "unknown": 1, "blocked": 0}
    assert result["text"] is None
    assert not result.get("failed")


def test_it_takes_pairings_as_they_are_or_from_its_own_file(pairings: str, tmp_path: pathlib.Path) -> None:
    dest = str(tmp_path / "readiness.json")
    given = [data.small(), pairings, dest]
    texts = [run({"pairings": one, "dest": dest, "show": False})["text"] for one in given]
    assert texts[0] == texts[1] == texts[2]


def test_an_earlier_report_is_made_again_with_its_own_facts_and_plan(pairings: str, tmp_path: pathlib.Path) -> None:
    dest, ticket = tmp_path / "readiness.json", tmp_path / "ticket.md"
    then, now = ({"hv2": {"vfio_migration": data.snapshot("hv2", {"vm-2": name})}} for name in ("db-then", "db-now"))
    files = {"dest": str(dest), "markdown": str(ticket), "show": False}
    first = run({"pairings": pairings, "plan": plan_data.two(), **files}, then)["text"]
    before = dest.read_text(encoding="ascii"), ticket.read_text(encoding="utf-8")
    assert "db-then" in before[1]
    for facts in ({}, now):
        assert run({"pairings": str(dest), **files}, facts)["text"] == first
        assert (dest.read_text(encoding="ascii"), ticket.read_text(encoding="utf-8")) == before


@pytest.mark.fault("L8")
def test_facts_of_another_version_in_a_report_are_one_clear_error(tmp_path: pathlib.Path) -> None:
    dest = tmp_path / "readiness.json"
    facts = [{"host": "hv2", "snapshot": {**data.snapshot("hv2", {}), "schema_version": 7}, "verdicts": None}]
    dest.write_text(json.dumps({**data.small(), "facts": facts}), encoding="ascii")
    with pytest.raises(AnsibleActionFail, match=r"hosts\.hv2\.schema_version must be 1, not 7"):
        run({"pairings": str(dest), "show": False})


def test_it_can_be_silent(pairings: str, capsys: pytest.CaptureFixture[str]) -> None:
    run({"pairings": pairings, "show": False})
    assert capsys.readouterr().out == ""


def test_the_file_is_replaced_in_one_step_and_times_alone_are_no_change(pairings: str, tmp_path: pathlib.Path) -> None:
    dest = tmp_path / "out" / "readiness.json"
    dest.parent.mkdir()
    args = {"pairings": pairings, "dest": str(dest), "show": False}
    assert run(args)["changed"] is True
    assert dest.stat().st_mode & 0o777 == 0o600
    dest.chmod(0o640)

    later = {**data.small(), "time": "2026-11-23T19:04:14Z"}
    pathlib.Path(pairings).write_text(json.dumps(later), encoding="utf-8")
    assert run(args)["changed"] is False
    assert json.loads(dest.read_text(encoding="ascii"))["time"] == later["time"]
    assert dest.stat().st_mode & 0o777 == 0o640

    pathlib.Path(pairings).write_text(json.dumps({**later, "findings": []}), encoding="utf-8")
    assert run(args)["changed"] is True
    assert [path.name for path in dest.parent.iterdir()] == [dest.name]


def test_a_damaged_file_is_a_change(pairings: str, tmp_path: pathlib.Path) -> None:
    dest = tmp_path / "readiness.json"
    args = {"pairings": pairings, "dest": str(dest), "show": False}
    run(args)
    dest.write_bytes(dest.read_bytes()[:-100] + b"\xff")
    assert run(args)["changed"] is True
    assert json.loads(dest.read_text(encoding="ascii"))["schema_version"] == 1


@pytest.mark.fault("P10")
def test_check_mode_writes_nothing(pairings: str, tmp_path: pathlib.Path) -> None:
    dest = tmp_path / "readiness.json"
    assert run({"pairings": pairings, "dest": str(dest), "show": False}, check=True)["changed"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairings.json"]


def test_it_fails_only_if_asked(pairings: str, tmp_path: pathlib.Path) -> None:
    dest = tmp_path / "readiness.json"
    result = run({"pairings": pairings, "dest": str(dest), "fail_on": ["blocked", "unknown", "no_way_back"]})
    assert result["failed"] is True
    assert result["msg"] == "The fleet meets conditions of fail_on: 1 unknown, 1 no_way_back."
    assert dest.exists()


@pytest.mark.fault("L8")
def test_broken_facts_of_one_host_are_left_out(pairings: str, tmp_path: pathlib.Path) -> None:
    dest = tmp_path / "readiness.json"
    good = data.snapshot("hv2", {})
    facts: dict[str, dict[str, t.Any]] = {
        "hv1": {"vfio_migration": {"schema_version": 1, "host": 7}},
        "hv2": {"vfio_migration": good},
    }
    run({"pairings": pairings, "dest": str(dest), "show": False}, facts)
    assert json.loads(dest.read_text(encoding="ascii"))["facts"] == [
        {"host": "hv2", "snapshot": good, "verdicts": None}
    ]


PAGES = ("html", "markdown")


def test_it_writes_a_page_and_a_ticket(pairings: str, tmp_path: pathlib.Path) -> None:
    args = {"pairings": pairings, "show": False, **{key: str(tmp_path / f"report.{key}") for key in PAGES}}
    result = run(args)
    assert {key: result[key] for key in (*PAGES, "dest")} == {**{key: args[key] for key in PAGES}, "dest": None}
    assert result["changed"] is True
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / "report.markdown").read_text(encoding="utf-8").startswith("# VFIO migration readiness")
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairings.json", "report.html", "report.markdown"]


@pytest.mark.parametrize("key", PAGES)
def test_a_page_that_says_the_same_later_is_no_change(key: str, pairings: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "report"
    args = {"pairings": pairings, "show": False, key: str(path)}
    assert run(args)["changed"] is True
    first = path.read_bytes()
    assert run(args)["changed"] is False
    assert path.read_bytes() == first  # the same facts give the same bytes
    later = {**data.small(), "time": "2026-11-23T19:04:14Z"}
    assert run({**args, "pairings": later})["changed"] is False
    assert b"2026-11-23T19:04:14Z" in path.read_bytes()
    assert run({**args, "pairings": {**later, "findings": []}})["changed"] is True
    path.write_text("damaged")
    assert run({**args, "pairings": {**later, "findings": []}})["changed"] is True


def test_the_name_of_a_vm_is_a_change(pairings: str, tmp_path: pathlib.Path) -> None:
    args = {"pairings": pairings, "show": False, "html": str(tmp_path / "report.html")}
    run(args)
    assert run(args, {"hv1": {"vfio_migration": data.snapshot("hv1", {"vm-1": "web1"})}})["changed"] is True


@pytest.mark.fault("P10")
@pytest.mark.parametrize("key", PAGES)
def test_check_mode_writes_no_page(key: str, pairings: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "report"
    assert run({"pairings": pairings, key: str(path), "show": False}, check=True)["changed"] is True
    assert not path.exists()


def test_it_shows_a_plan_from_a_file_or_as_it_is(pairings: str, tmp_path: pathlib.Path) -> None:
    plan, dest = plan_data.two(), tmp_path / "report.json"
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    ticket = tmp_path / "report.md"
    args = {"pairings": pairings, "dest": str(dest), "markdown": str(ticket), "show": False}
    for given in (plan, str(path)):
        run({**args, "plan": given})
        assert json.loads(dest.read_text(encoding="ascii"))["plan"]["id"] == plan["id"]
        assert f"Plan {plan['id']}: " in ticket.read_text(encoding="utf-8")
    for nothing in (None, ""):
        run({**args, "plan": nothing})
        assert json.loads(dest.read_text(encoding="ascii"))["plan"] is None
    # What reads pairings reads this file too.
    assert run({"pairings": str(dest), "show": False})["summary"]


@pytest.mark.fault("L9")
@pytest.mark.parametrize("change", [{"schema_version": 7}, {"moves": 3}])
def test_a_plan_of_another_version_is_one_clear_error(
    change: dict[str, t.Any], pairings: str, tmp_path: pathlib.Path
) -> None:
    args = {"pairings": pairings, "plan": {**plan_data.two(), **change}, "html": str(tmp_path / "report.html")}
    said = r"^vfio\.migration\.report: plan\.(schema_version must be 1, not 7: make a new plan|moves must be a list)"
    with pytest.raises(AnsibleActionFail, match=said):
        run(args)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("key", ["dest", *PAGES])
def test_one_bad_place_leaves_no_file_at_all(key: str, check: bool, pairings: str, tmp_path: pathlib.Path) -> None:
    places = {name: str(tmp_path / f"report.{name}") for name in ("dest", *PAGES)}
    for bad, why in ((tmp_path / "missing" / "x", "the folder .* does not exist"), (tmp_path, "name a regular file")):
        with pytest.raises(AnsibleActionFail, match=f"cannot write {bad}: .*{why}"):
            run({"pairings": pairings, **places, key: str(bad), "show": False}, check=check)
    assert [path.name for path in tmp_path.iterdir()] == ["pairings.json"]


@pytest.mark.fault("L9")
@pytest.mark.parametrize("capacity", [7, [7], [{"driver": "nvidia", "model": "bottomless"}]])
def test_capacity_in_a_plan_that_makes_no_sense_is_one_clear_error(capacity: object, pairings: str) -> None:
    snapshot = data.snapshot("hv2", {})
    plan = page_data.plan({"hv2": snapshot}, ["hv2"])
    assert plan["planning"]
    plan["planning"]["policy"] = {"capacity": capacity}
    with pytest.raises(AnsibleActionFail, match=r"the plan's planning\.policy: capacity"):
        run({"pairings": pairings, "plan": plan, "show": False}, {"hv2": {"vfio_migration": snapshot}})


REFUSED = {
    "not there": (None, "cannot read the pairings"),
    "not JSON": ("{", "is not JSON"),
    "another version": (
        json.dumps({**data.small(), "schema_version": 7}),
        "schema_version must be 1, not 7: run the readiness playbook again",
    ),
    "wrong type": (json.dumps({**data.small(), "hosts": 3}), ".hosts must be a list, not int"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_no_matrix_is_refused(name: str, tmp_path: pathlib.Path) -> None:
    content, message = REFUSED[name]
    path = tmp_path / "pairings.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(AnsibleActionFail, match=message):
        run({"pairings": str(path)})


@pytest.mark.parametrize(
    "args", [{}, {"pairings": "x", "fail_on": ["everything"]}, {"pairings": "x", "unknown_option": 1}]
)
def test_wrong_arguments_are_refused(args: dict[str, t.Any]) -> None:
    with pytest.raises(AnsibleActionFail):
        run(args)
