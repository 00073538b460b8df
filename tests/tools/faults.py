# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``./dev faults``: which fault of tests/faults.yml is covered by which test.

Reads the ``pytest.mark.fault`` decorators without running anything.
"""

from __future__ import annotations

import ast
import sys
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


class Catalogue(t.NamedTuple):
    required: dict[str, str]
    planned: dict[str, str]


def catalogue(text: str) -> Catalogue:
    data = yaml.safe_load(text)
    return Catalogue(data["required"], data["planned"])


def marked(source: str, filename: str) -> dict[str, list[str]]:
    """Fault id -> tests of one file that name it, on a function, a class, a table's row or as ``pytestmark``."""
    found: dict[str, list[str]] = {}

    def visit(node: ast.AST, name: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{name}::{node.name}"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.fault"):
            for argument in node.args:
                if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                    raise ValueError(f"{name}: fault ids are written out, not computed: {ast.unparse(argument)}")
                tests = found.setdefault(argument.value, [])
                if name not in tests:
                    tests.append(name)
        for child in ast.iter_child_nodes(node):
            visit(child, name)

    visit(ast.parse(source, filename), filename)
    return found


def coverage(root: Path) -> dict[str, list[str]]:
    """Fault id -> all tests that name it."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        if "output" in path.relative_to(root).parts:
            continue
        name = path.relative_to(root).as_posix()
        for fault, tests in marked(path.read_text(encoding="utf-8"), name).items():
            found.setdefault(fault, []).extend(tests)
    return found


def report(faults: Catalogue, tests: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """Lines to print, and what is wrong."""
    lines: list[str] = []
    for fault, title in {**faults.required, **faults.planned}.items():
        state = "" if fault in tests else "  - planned" if fault in faults.planned else "  - NO TEST"
        lines.append(f"{fault:4} {title}{state}")
        lines.extend(f"       {test}" for test in tests.get(fault, []))
    known = {**faults.required, **faults.planned}
    errors = [f"{fault} has no test." for fault in faults.required if fault not in tests]
    strays = [fault for fault in tests if fault not in known]
    errors += [f"{fault} is not in tests/faults.yml, but {tests[fault][0]} names it." for fault in strays]
    return lines, errors


def main() -> int:
    faults = catalogue((ROOT / "tests" / "faults.yml").read_text(encoding="utf-8"))
    tests = coverage(ROOT)
    lines, errors = report(faults, tests)
    covered = sum(fault in tests for fault in faults.required)
    print("\n".join([*lines, "", *errors]))
    print(f"{covered} of {len(faults.required)} required faults have a test.")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
