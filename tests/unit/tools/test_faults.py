# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of faults and their tests is read from the tests themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.vfio.migration.tests.tools import faults

ROOT = Path(__file__).resolve().parents[3]

SOURCE = """
ROWS = [pytest.param(1, marks=pytest.mark.fault("R3"))]

@pytest.mark.fault("R1", "R2")
def test_a(): ...

class TestB:
    @pytest.mark.fault("R1")
    def test_c(self): ...
"""

CATALOGUE = faults.Catalogue(required={"R1": "One", "R2": "Two"}, planned={"C1": "Later"})

ERRORS: list[tuple[dict[str, list[str]], list[str]]] = [
    ({"R1": ["a"], "R2": ["a"]}, []),
    ({"R1": ["a"], "R2": ["a"], "C1": ["b"]}, []),
    ({"R1": ["a"]}, ["R2 has no test."]),
    ({"R1": ["a"], "R2": ["a"], "R99": ["b"]}, ["R99 is not in tests/faults.yml, but b names it."]),
]


def test_marks_are_found_on_functions_methods_and_rows() -> None:
    assert faults.marked(SOURCE, "f.py") == {
        "R3": ["f.py"],
        "R1": ["f.py::test_a", "f.py::TestB::test_c"],
        "R2": ["f.py::test_a"],
    }


def test_computed_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="written out"):
        faults.marked("@pytest.mark.fault(NAME)\ndef test_a(): ...", "f.py")


@pytest.mark.parametrize(("tests", "errors"), ERRORS)
def test_what_is_missing_is_an_error(tests: dict[str, list[str]], errors: list[str]) -> None:
    assert faults.report(CATALOGUE, tests)[1] == errors


def test_the_catalogue_is_whole() -> None:
    found = faults.catalogue((ROOT / "tests" / "faults.yml").read_text(encoding="utf-8"))
    reading = {f"R{number}" for number in range(1, 23)} - {"R20"}
    probing = {f"P{number}" for number in range(1, 14)}
    creating = {f"C{number}" for number in range(1, 20)} - {"C14"}
    virtual_machines = {"V1", "V2", "V3"}
    planning = {f"L{number}" for number in range(1, 11)}
    assert set(found.required) == reading | probing | creating | planning | virtual_machines
    assert not set(found.required) & set(found.planned)
