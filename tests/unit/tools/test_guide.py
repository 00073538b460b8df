# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guides to planning and to capacity explain every code that a plan can have, and their examples are taken."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _policy
from ansible_collections.vfio.migration.tests.tools import schema
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data

ROOT = Path(__file__).parents[3]
GUIDES = ROOT / "docs" / "docsite" / "rst"
GUIDE = (GUIDES / "guide_evacuation.rst").read_text(encoding="utf-8")
CAPACITY = (GUIDES / "guide_capacity.rst").read_text(encoding="utf-8")


def section(title: str, guide: str = GUIDE) -> str:
    """The text below one heading."""
    (text,) = re.findall(rf"^{title}\n-+\n(.*?)(?=^[^\n]+\n-{{3,}}$|\Z)", guide, re.MULTILINE | re.DOTALL)
    return str(text)


def terms(text: str) -> set[str]:
    """What a list of definitions defines."""
    lines = [line for line in text.splitlines() if re.fullmatch(r"``\w+``(, ``\w+``)*", line)]
    return {word for line in lines for word in re.findall(r"\w+", line)}


def choices(contract: type, field: str) -> set[str]:
    return set(t.get_args(t.get_type_hints(contract)[field]))


STUCK, _sep, FREED = section("Why a VM is stuck").partition("Each line ``free it``")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (STUCK, choices(_model.Stuck, "reason")),
        (FREED, choices(_model.Remedy, "kind")),
        (section("Capacity"), choices(_model.Capacity, "model")),
        (section("The models", CAPACITY), choices(_model.Capacity, "model")),
        (section("Say better", CAPACITY), {"costs", "totals", "most"}),
    ],
    ids=["stuck", "remedies", "capacity", "models", "numbers of a model"],
)
def test_every_code_is_explained_and_no_other(text: str, known: set[str]) -> None:
    assert terms(text) == known


def test_every_origin_of_a_model_is_named() -> None:
    assert all(f"``{each}``" in section("Capacity") for each in choices(_model.Capacity, "origin"))
    table = re.findall(r"^   \* - ``(\w+)``$", section("Where a model comes from", CAPACITY), re.MULTILINE)
    assert set(table) == choices(_model.Capacity, "origin")


def test_every_note_of_a_plan_is_explained() -> None:
    planning = schema.schema(_model.Plan)["properties"]["planning"]["anyOf"][0]
    note = planning["properties"]["notes"]["items"]["properties"]["reason"]["description"]
    assert terms(section("Notes")) == set(re.findall(r"\w+", note.partition("Of a plan: ")[2]))


def test_every_option_is_one_of_the_role() -> None:
    spec = yaml.safe_load((ROOT / "roles" / "evacuation" / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    known = {*spec["argument_specs"]["main"]["options"], "evacuation_hosts"}
    assert set(re.findall(r"\bevacuation_\w+", GUIDE)) <= known


def examples() -> list[dict[str, t.Any]]:
    blocks = re.findall(r"code-block:: yaml\n\n((?:  .*\n|\n)+)", GUIDE + CAPACITY)
    return [yaml.safe_load(block) for block in blocks]


@pytest.mark.parametrize("example", examples(), ids=["options", "capacity", "more capacity"])
def test_examples_are_taken(example: dict[str, t.Any]) -> None:
    names = {f"hv{number}": data.host() for number in range(1, 8)}
    names["hv1"] = data.host(*(data.workload(name) for name in ("db1", "db2", "batch1", "lab7")))
    options = {name.removeprefix("evacuation_"): value for name, value in example.items()}
    options.pop("hosts", None)
    if not {"drain", "rolling"} & set(options):
        options["drain"] = ["hv1"]
    _policy.read(options, _nodes.load(names))


def test_there_are_examples() -> None:
    assert [next(iter(example)) for example in examples()] == ["evacuation_hosts"] + 2 * ["evacuation_capacity"]
