# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between two reports is found and said; what only has other numbers is not."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.conformance.compare import comparable, differences, unexpected
from ansible_collections.vfio.migration.tests.fleet.conformance.table import ROWS, Differs, does, read, write

ROW = does("row", (write("/sys/x/create", "a"), 1), (read("/sys/x/name"), "n\n"))


def report(group: int = 0) -> dict[str, t.Any]:
    """Of a host whose groups begin at a number."""
    return {
        "first": {"/sys/kernel/iommu_groups/9": "directory 755"} if group else {},
        "rows": {
            "row": {
                "answers": [1, "n\n", [str(group), "vfio"]],
                "events": [
                    {"ACTION": "add", "SUBSYSTEM": "vfio", "MAJOR": str(240 + group), "MINOR": str(group)}
                    | {"DEVPATH": f"/devices/virtual/vfio/{group}", "DEVNAME": f"vfio/{group}"},
                    {"ACTION": "add", "SUBSYSTEM": "bdi", "DEVPATH": f"/devices/virtual/bdi/0:{group}"},
                ],
                "came": {"/sys/x/iommu_group": f"-> ../kernel/iommu_groups/{group}", f"/dev/vfio/{group}": "character"},
                "counted": {"p t": {"reads": 1, "writes": 0}},
                "changed": {"/sys/x/available_instances": "file 444: 3\n"},
                "went": ["/sys/x/remove"],
            }
        },
    }


def test_numbers_and_events_that_are_nobodys_business_make_no_difference() -> None:
    one, other = comparable(report(), 0)["rows"]["row"], comparable(report(11), 11)["rows"]["row"]
    assert one == other
    assert one["came"] == {"/sys/x/iommu_group": "-> ../kernel/iommu_groups/0", "/dev/vfio/0": "character"}
    assert [event["DEVNAME"] for event in one["events"]] == ["vfio/0"]


CHANGES: list[tuple[str, t.Any, str]] = [
    ("answers", [1, "EIO", ["0", "vfio"]], "read '/sys/x/name' 65536: the kernel answers 'n\\n', the simulator 'EIO'"),
    (
        "came",
        {"/sys/x/iommu_group": "-> ../kernel/iommu_groups/1", "/dev/vfio/0": "character"},
        "groups/0', in the simulator",
    ),
    ("changed", {}, "/sys/x/available_instances: in the kernel 'file 444: 3\\n', in the simulator None"),
    ("went", [], "only in the kernel went /sys/x/remove"),
    ("went", ["/sys/x/remove", "/sys/z"], "only in the simulator went /sys/z"),
    ("counted", {}, "the kernel's driver counted {'p t': {'reads': 1, 'writes': 0}}, the simulator {}"),
    ("events", [], "the kernel says 1 events, the simulator 0"),
]


@pytest.mark.parametrize(("what", "value", "sentence"), CHANGES)
def test_each_difference_is_said(what: str, value: t.Any, sentence: str) -> None:
    kernel = comparable(report(), 0)["rows"]["row"]
    kernel["answers"] = kernel["answers"][:2]
    simulated = copy.deepcopy(kernel)
    simulated[what] = value[:2] if what == "answers" else value
    assert differences(ROW, kernel, kernel) == []
    (found,) = differences(ROW, kernel, simulated)
    assert sentence in found


EXCUSED = does("row", *ROW.steps, differs=Differs("names are longer there", {1: "name\n"}))


@pytest.mark.parametrize(
    ("answers", "sentences"),
    [
        ([1, "name\n"], []),
        ([1, "n\n"], ["both are alike now, strike from the table that names are longer there"]),
        ([1, "EIO"], ["the kernel answers 'n\\n', the simulator 'EIO'"]),
        (["EPERM", "name\n"], ["the kernel answers 1, the simulator 'EPERM'"]),
    ],
)
def test_only_the_difference_that_the_table_names_is_excused(answers: list[t.Any], sentences: list[str]) -> None:
    kernel = comparable(report(), 0)["rows"]["row"]
    kernel["answers"] = kernel["answers"][:2]
    found = differences(EXCUSED, kernel, {**kernel, "answers": answers})
    assert [one.partition(": ")[2] for one in found] == sentences
    assert len(differences(EXCUSED, kernel, {**kernel, "answers": [1, "name\n"], "went": []})) == 1


def test_an_answer_that_the_table_does_not_know_is_said() -> None:
    assert unexpected(ROW, {"answers": [1, "n\n"]}) == []
    assert unexpected(ROW, {"answers": ["EPERM", "n\n"]}) == ["write '/sys/x/create' 'a': 'EPERM' and not 1"]


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
