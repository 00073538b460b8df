# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts, files and options that break their contract."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _contracts
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data

PLACE = ("0000:3b:00.0", "drv-1")


def facts() -> t.Any:
    parent = data.parent("0000:3b:00.0", data.mdev_type("drv-1", "v1"))
    return data.host(
        parent,
        data.device("u1", "v1", PLACE),
        data.workload("vm", "u1"),
        verdicts=[data.verdict((*PLACE, None), "v1"), data.verdict((*PLACE, "u1"), "v1")],
    )


def change(value: t.Any, path: str, new: t.Any) -> None:
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in way:
        value = value[step]
    if new is KeyError:
        del value[last]
    else:
        value[last] = new


NAME = "must have 1 to 255 characters"
ONE_NAME = "must be one name as the kernel gives it, without a slash and not '.' or '..'"
PLAIN = "must be a name without control characters and shell text"

MDEV = "of kind mdev must have a parent, and a type when its migration_version is ok"

SNAPSHOTS: list[tuple[str, t.Any, str]] = [
    ("parents.0.address", 1, ".parents[0].address must be a string, not int"),
    ("parents.0.types.0.id", None, ".parents[0].types[0].id must be a string, not null"),
    ("parents", {}, ".parents must be a list, not mapping"),
    ("parents.0", "x", ".parents[0] must be a mapping, not string"),
    ("devices", KeyError, ".devices is missing"),
    ("page_size", "4096", ".page_size must be an int, not string"),
    ("page_size", True, ".page_size must be an int, not boolean"),
    ("parents.0.numa_node", 1.5, ".parents[0].numa_node must be an int, not float"),
    ("parents.0.state", "fine", ".parents[0].state must be one of ok, gone, hung, unknown, not 'fine'"),
    ("parents.0.state", ["ok"], ".parents[0].state must be one of ok, gone, hung, unknown, not list"),
    ("time", "yesterday", ".time must be a UTC time like 2026-11-22T19:04:14Z, not 'yesterday'"),
    ("time", "2026-02-30T00:00:00Z", ".time must be a UTC time like 2026-11-22T19:04:14Z, not '2026-02-30T00:00:00Z'"),
    ("schema_version", 2, ".schema_version must be 1, not 2: gather these facts again"),
    ("schema_version", "1", ".schema_version must be an int, not string"),
    ("schema_version", KeyError, ".schema_version is missing"),
    ("devices.0.parent", None, f".devices[0] {MDEV}"),
    ("devices.0.type", None, f".devices[0] {MDEV}"),
    (
        "devices.0.migration_version.value",
        None,
        ".devices[0].migration_version.value must be a string that is not empty when status is ok",
    ),
]

HOSTILE = [
    ("parents.0.address", "../../x", f".parents[0].address {ONE_NAME}, not '../../x'"),
    ("parents.0.address", "/etc", f".parents[0].address {ONE_NAME}, not '/etc'"),
    ("parents.0.address", "..", f".parents[0].address {ONE_NAME}, not '..'"),
    ("parents.0.address", "", f".parents[0].address {NAME}, not ''"),
    ("parents.0.types.0.id", "x" * 256, f".parents[0].types[0].id {NAME}, not '{'x' * 60}...'"),
    ("devices.0.id", "a\0b", f".devices[0].id {ONE_NAME}, not 'a\\x00b'"),
    ("devices.0.id", "$(reboot)", f".devices[0].id {PLAIN}, not '$(reboot)'"),
    ("devices.0.id", "u; reboot", f".devices[0].id {PLAIN}, not 'u; reboot'"),
    ("devices.0.type", "drv\n1", f".devices[0].type {PLAIN}, not 'drv\\n1'"),
    ("workloads.0.devices.0", "../u1", f".workloads[0].devices[0] {ONE_NAME}, not '../u1'"),
    ("parents.0.path", "/sys/devices", ".parents[0].path must be below the sysfs root, not '/sys/devices'"),
    ("devices.0.path", "a/../../b", ".devices[0].path must be below the sysfs root, not 'a/../../b'"),
]


@pytest.mark.fault("L8")
@pytest.mark.parametrize(("path", "value", "error"), SNAPSHOTS)
def test_each_violation_is_named_with_its_path(path: str, value: t.Any, error: str) -> None:
    snapshot = facts()["vfio_migration"]
    change(snapshot, path, value)
    assert _contracts.check(_model.Snapshot, snapshot, "hosts.hv1") == [f"hosts.hv1{error}"]


@pytest.mark.fault("L10")
@pytest.mark.parametrize(("path", "value", "error"), HOSTILE)
def test_hostile_names_are_refused(path: str, value: t.Any, error: str) -> None:
    snapshot = facts()["vfio_migration"]
    change(snapshot, path, value)
    assert _contracts.check(_model.Snapshot, snapshot, "hosts.hv1") == [f"hosts.hv1{error}"]


@pytest.mark.fault("L10")
@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("verdicts.0.parent", "../x", f".verdicts[0].parent {ONE_NAME}, not '../x'"),
        ("verdicts.0.parent", None, ".verdicts[0] of scope type must have a parent and a type"),
        ("verdicts.1.device", None, ".verdicts[1] must name a device when its scope is device, and only then"),
        ("verdicts.0.verdict", "si", ".verdicts[0].verdict must be one of compatible, incompatible, unknown, not 'si'"),
        ("schema_version", 0, ".schema_version must be 1, not 0: gather these facts again"),
    ],
)  # fmt: skip
def test_verdicts_are_checked_alike(path: str, value: t.Any, error: str) -> None:
    verdicts = facts()["vfio_migration_verdicts"]
    change(verdicts, path, value)
    assert _contracts.check(_model.VerdictSet, verdicts, "hosts.hv1") == [f"hosts.hv1{error}"]


def test_many_are_good_together_unless_one_is_not() -> None:
    good = [facts()["vfio_migration"] for _time in range(3)]
    assert _contracts.all_good(_model.Snapshot, good)
    for path, value, _error in [*SNAPSHOTS, *HOSTILE]:
        bad = facts()["vfio_migration"]
        change(bad, path, value)
        assert not _contracts.all_good(_model.Snapshot, [*good, bad]), path
        assert _contracts.all_good(_model.Snapshot, good), "nothing bad is remembered as good"


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [("page_size", 1, True), ("page_size", 1, 1.0), ("kernel", "1", 1), ("devices.0.iommu_group", None, False)],
)
def test_what_python_takes_for_the_same_is_not(path: str, good: object, bad: object) -> None:
    for value, expected in ((good, True), (bad, False)):
        snapshot = facts()["vfio_migration"]
        change(snapshot, path, value)
        assert _contracts.all_good(_model.Snapshot, [snapshot]) is expected


@pytest.mark.fault("R18")
@pytest.mark.parametrize("string", ["?incomplete", "?hung", None, "!ENODEV", "~truncated"])
def test_an_mdev_that_gives_no_string_need_not_say_its_type(string: str | None) -> None:
    snapshot = data.snapshot(data.device("u1", string, ("p1", None)))
    assert _contracts.check(_model.Snapshot, snapshot, "hosts.hv1") == []
    change(snapshot, "devices.0.parent", None)
    assert _contracts.check(_model.Snapshot, snapshot, "hosts.hv1") == [f"hosts.hv1.devices[0] {MDEV}"]


def test_what_could_not_be_read_of_a_parent_may_be_null() -> None:
    snapshot = data.snapshot(data.parent("p1", vendor=None, state="unknown"), data.device("vf", "v1", vendor=None))
    assert _contracts.check(_model.Snapshot, snapshot, "hosts.hv1") == []


def test_good_facts_with_keys_of_a_later_release_pass() -> None:
    snapshot = facts()["vfio_migration"]
    snapshot["parents"][0]["more"] = {"what": "ever"}
    assert _contracts.check(_model.Snapshot, snapshot, "hosts.hv1") == []
    assert _contracts.check(_model.VerdictSet, facts()["vfio_migration_verdicts"], "hosts.hv1") == []


def test_subclasses_as_ansible_core_hands_them_out_pass() -> None:
    class Text(str):
        __slots__ = ()

    class Number(int):
        pass

    class Rows(list[t.Any]):
        pass

    class Row(dict[str, t.Any]):
        pass

    def tagged(value: t.Any) -> t.Any:
        if isinstance(value, dict):
            return Row({key: tagged(item) for key, item in value.items()})
        if isinstance(value, list):
            return Rows(map(tagged, value))
        if isinstance(value, str):
            return Text(value)
        return Number(value) if isinstance(value, int) and not isinstance(value, bool) else value

    assert _contracts.all_good(_model.Snapshot, [tagged(facts()["vfio_migration"])])


@pytest.mark.fault("L8")
def test_all_errors_are_collected_but_not_without_end() -> None:
    snapshot = facts()["vfio_migration"]
    parent = snapshot["parents"][0]
    snapshot["parents"] = [copy.deepcopy(parent) | {"address": 1, "driver": 2} for _time in range(50)]
    errors = _contracts.check(_model.Snapshot, snapshot, "hosts.hv1")
    assert errors[:2] == [
        "hosts.hv1.parents[0].address must be a string, not int",
        "hosts.hv1.parents[0].driver must be a string, not int",
    ]
    assert errors[20:] == ["hosts.hv1 has 80 more errors"]


class Options(t.TypedDict):
    age: int
    hosts: list[str] | None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"age": "1"}, "age must be an int, not string; hosts must be a list, not string"),
        ({"age": 1.0}, "age must be an int, not float; hosts must be a list, not string"),
        ({}, "age is missing; hosts must be a list, not string"),
    ],
)
def test_options_are_refused_by_name(options: dict[str, t.Any], error: str) -> None:
    with pytest.raises(_contracts.ContractError) as raised:
        _contracts.require(Options, {**options, "hosts": "all"})
    assert str(raised.value) == error
