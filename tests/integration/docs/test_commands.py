# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command that the documentation tells a reader to type is run, on a simulated fleet."""

from __future__ import annotations

import json
import re

import pytest

from ansible_collections.vfio.migration.tests.integration.docs import snippets, table
from ansible_collections.vfio.migration.tests.integration.docs.conftest import Desk
from ansible_collections.vfio.migration.tests.tools import setup

COMMANDS = {snippets.name(path): snippets.commands(path.read_text(encoding="utf-8")) for path in snippets.DOCUMENTS}
WITH_COMMANDS = {name: found for name, found in COMMANDS.items() if found}

DONE: set[str] = set()


def run(desk: Desk, document: str, command: snippets.Command) -> None:
    """One command, as the tables say."""
    for (where, words), act in table.BEFORE.items():
        if where == document and words in command.text:
            act(desk)
    instead = table.INSTEAD.get(command.text, command.text)
    if callable(instead):
        instead(desk)
        return
    for word, own in table.PLACEHOLDERS.items():
        instead = instead.replace(word, own)
    if re.match(r"(export )?\w+=", instead):
        desk.kept += f"{instead}\n"
        return
    program = instead.split()[0]
    if program == "cat":
        table.write(desk.folder, command)
    known = command.text in table.INSTEAD or program in table.PROGRAMS
    assert known or program in ("cat", "$simulated"), f"in no table of {table.__file__}: {command.text}"
    if instead.startswith(table.LONG):
        once(desk, instead)
        return
    refusal = next((said for words, said in table.REFUSALS.items() if words in command.text), None)
    said = desk.shell(instead, fails=refusal is not None)
    assert refusal is None or refusal in said


def once(desk: Desk, command: str) -> None:
    if command not in DONE:
        desk.shell(command)
        DONE.add(command)


@pytest.mark.parametrize("document", WITH_COMMANDS)
def test_every_command_is_run(document: str, desk: Desk) -> None:
    for command in WITH_COMMANDS[document]:
        try:
            run(desk, document, command)
        except AssertionError as error:
            pytest.fail(f"{document}:{command.line}: {error}")


def test_the_tables_have_nothing_that_no_document_says() -> None:
    said = {command.text for commands in WITH_COMMANDS.values() for command in commands}
    assert set(table.INSTEAD) <= said
    text = {document: "\n".join(command.text for command in found) for document, found in WITH_COMMANDS.items()}
    assert [place for place in table.BEFORE if place[1] not in text[place[0]]] == []


KINDS = {"module": "modules", "filter": "filter", "callback": "callback", "role": "../roles"}


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_documented(kind: str, desk: Desk) -> None:
    entries = sorted((setup.ROOT / "plugins" / KINDS[kind]).iterdir())
    names = [path.stem for path in entries if path.suffix == ".py" or (path.is_dir() and path.stem.isalpha())]
    assert names
    for name in names if kind == "role" else [" vfio.migration.".join(names)]:
        said = desk.shell(f"ansible-doc -t {kind} vfio.migration.{name}")
        assert "ERROR" not in said
        assert "WARNING" not in said


def test_slices_that_ran_twice_know_what_one_run_knows(desk: Desk) -> None:
    """As the guide to large fleets says: the second round asks what the first one could not know of."""
    readiness = "ansible-playbook -i inventory.yml vfio.migration.readiness -e readiness_hosts=hypervisors"
    slices = ("hypervisors[0:0]", "hypervisors[1:5]")

    def matrix(file: str, *limits: str) -> object:
        for limit in limits:
            desk.shell(f"{readiness} -e readiness_dest={file} --limit '{limit}'")
        found = json.loads((desk.folder / file).read_text())
        return [(one["source"], one["target"], one["verdict"], one["reason"]) for one in found["pairings"]]

    first = matrix("first.json", *slices)
    second = matrix("second.json", *slices)
    desk.renew()
    whole = matrix("whole.json", "all")
    assert first != whole
    assert second == whole
