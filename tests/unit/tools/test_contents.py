# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README and CONTRIBUTING.md list is what there is."""

from __future__ import annotations

import re
import subprocess

from ansible_collections.vfio.migration.tests.tools import gates

README = (gates.ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (gates.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
KIND = re.compile(r"((?:\w+ and )?\w+) `(\w+)`")


def stems(folder: str, pattern: str = "*.py") -> set[str]:
    return {path.stem for path in (gates.ROOT / folder).glob(pattern)}


# Actions that only add to their module, which is what people know.
BESIDE = {"compatibility_facts", "vfio_facts"}


def there_is() -> set[tuple[str, str]]:
    """Kind and name of all that a playbook can use. An action has a module of its name, which documents it."""
    actions, filters = stems("plugins/action"), stems("plugins/filter")
    named = {
        "playbook": stems("playbooks", "*.yml"),
        "role": stems("roles", "*"),
        # That of an action runs on the controller.
        "module": stems("plugins/modules") - (actions - BESIDE),
        "callback": stems("plugins/callback"),
        "action": actions - BESIDE,
        "filter": filters,
    }
    return {(kind, name) for kind, names in named.items() for name in names if not name.startswith("_")}


def test_the_table_of_contents_is_whole() -> None:
    section = README.split("\n## Content\n")[1].split("\n`ansible-doc ")[0]
    cells = re.findall(r"^\| (.*?`) \|", section, re.MULTILINE)
    listed = [(kind, name) for cell in cells for kinds, name in KIND.findall(cell) for kind in kinds.split(" and ")]
    assert sorted(listed) == sorted(there_is())


def test_the_parts_of_the_gates_are_named() -> None:
    (row,) = (line for line in CONTRIBUTING.splitlines() if line.startswith("| `./dev test PART` |"))
    cores = [part for part in gates.PARTS if part.startswith("core-")]
    assert re.findall(r"`([\w.-]+)`", row.split(" do: ")[1]) == [part for part in gates.PARTS if part not in cores[1:]]


def test_every_benchmark_is_listed() -> None:
    said = subprocess.run(["sh", str(gates.ROOT / "dev"), "help"], capture_output=True, text=True, check=True).stdout
    benchmarks = sorted(name for name in stems("tests/benchmarks") if not name.startswith("_"))
    for text in (said, CONTRIBUTING.replace("| `./dev ", "\n  ").replace("`", "")):
        assert sorted(re.findall(r"^  bench (\w+)", text, re.MULTILINE)) == benchmarks
