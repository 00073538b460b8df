# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator's README says what the code does: its tables of commands, delays and files."""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
import re
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.simulated import namespace, scenario
from ansible_collections.vfio.migration.tests.fleet.simulated.control import Command, Commands

FOLDER = pathlib.Path(namespace.__file__).parent
README = (FOLDER / "README.md").read_text()
CONTROL = README.split("## Control channel")[1].split("\n## ")[0]
ROWS = dict(re.findall(r"^\| `(\w+)` \|(.*?)\|", CONTROL, re.MULTILINE))


def arguments(command: Command) -> str:
    """A command's arguments as the README writes them."""
    words = []
    for item in inspect.signature(command).parameters.values():
        name = f"**{item.name}" if item.kind is item.VAR_KEYWORD else item.name
        optional = item.default is not item.empty
        words.append(f"`[{name}]`" if optional else f"`{name}`")
    return ", ".join(words)


def commands(tmp_path: pathlib.Path) -> dict[str, Command]:
    """All commands of both kinds of hosts; where both have one, the namespace's."""
    own = Commands({})
    found: dict[str, Command] = {
        name: t.cast(Command, command)
        for name, command in inspect.getmembers(own, inspect.ismethod)
        if not name.startswith("_") and name != "run"
    }
    return found | dict(namespace.NamespaceHosts(tmp_path, {}).commands())


def test_table_of_commands(tmp_path: pathlib.Path) -> None:
    assert {name: row.strip() for name, row in ROWS.items()} == {
        name: arguments(command) for name, command in commands(tmp_path).items()
    }


@pytest.mark.parametrize("name", ["reboot", "start_workload", "stop_workload"])
def test_both_kinds_of_hosts_take_the_same_arguments(tmp_path: pathlib.Path, name: str) -> None:
    assert arguments(getattr(Commands({}), name)) == arguments(commands(tmp_path)[name])


def test_delays_and_files_are_named() -> None:
    delays = ", ".join(field.name for field in dataclasses.fields(scenario.Delays))
    assert f"`{{{delays}}}`" in README
    files = {path.name for path in FOLDER.glob("*.py")} - {"__init__.py"}
    assert files == set(re.findall(r"`(\w+\.py)`", README.split("## The code")[1]))
