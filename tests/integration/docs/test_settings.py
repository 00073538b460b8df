# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation tells a reader to write down: settings, playbooks and names, all of which there are."""

from __future__ import annotations

import configparser
import functools
import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest
import yaml

from ansible_collections.vfio.migration.tests.integration.docs import snippets
from ansible_collections.vfio.migration.tests.tools import setup

TEXTS = {snippets.name(path): path.read_text(encoding="utf-8") for path in snippets.DOCUMENTS}
BLOCKS = [(document, block) for document, text in TEXTS.items() for block in snippets.blocks(text)]
LANGUAGES = {"console", "ini", "json", "python", "text", "yaml"}

# What a play or the inventory says beside the options of the roles, and what roles leave behind.
MORE = {
    *("readiness_hosts", "evacuation_hosts", "release_hosts"),
    *("readiness_result", "evacuation_result", "targets_result", "release_result", "report_result"),
    *("vfio_migration", "vfio_migration_verdicts"),
    *("vfio_migration_libvirt_uri", "vfio_migration_sysfs_root", "vfio_migration_proc_root"),
}


def of(language: str) -> list[t.Any]:
    return [pytest.param(block, id=f"{place}:{block.line}") for place, block in BLOCKS if block.language == language]


def run(*words: str, cwd: pathlib.Path) -> str:
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(setup.TREE), "ANSIBLE_NOCOLOR": "1", "HOME": str(cwd)}
    done = subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@functools.cache
def content() -> frozenset[str]:
    """Names of plugins and playbooks, and of what they are made of."""
    paths = [*(setup.ROOT / "plugins").glob("*/*"), *(setup.ROOT / "playbooks").iterdir()]
    return frozenset(path.stem for path in paths)


@functools.cache
def options() -> frozenset[str]:
    """Of all roles."""
    specs = (setup.ROOT / "roles").glob("*/meta/argument_specs.yml")
    return frozenset(name for spec in specs for name in _spec(spec))


def _spec(path: pathlib.Path) -> t.Iterable[str]:
    entries: dict[str, t.Any] = yaml.safe_load(path.read_text())["argument_specs"]
    return {name for entry in entries.values() for name in entry.get("options", {})}


def test_every_block_says_what_it_is() -> None:
    assert {block.language for _place, block in BLOCKS} == LANGUAGES


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Sections and keys of ansible.cfg."""
    words = ("ansible-config", "init", "--disabled", "--type", "all", "--format", "ini")
    section, found = "", set()
    for line in run(*words, cwd=tmp_path_factory.mktemp("home")).splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif match := re.match(r";?(\w+)=", line):
            found.add((section, match[1]))
    return found


@pytest.mark.parametrize("block", of("ini"))
def test_settings_are_those_of_ansible(block: snippets.Block, known: set[tuple[str, str]]) -> None:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=None)
    parser.read_string(block.text)
    given = {(section, key) for section in parser.sections() for key in parser[section]}
    assert given
    assert given <= known


@pytest.mark.parametrize("block", of("json"))
def test_json_is_json(block: snippets.Block) -> None:
    assert json.loads(block.text)


def playbooks() -> list[str]:
    """Blocks that are whole playbooks."""
    loaded = [(block, yaml.safe_load(block.text)) for _place, block in BLOCKS if block.language == "yaml"]
    return [
        block.text
        for block, content in loaded
        if isinstance(content, list) and any(key in content[0] for key in ("hosts", "ansible.builtin.import_playbook"))
    ]


def test_playbooks_are_playbooks(tmp_path: pathlib.Path) -> None:
    files = []
    for number, text in enumerate(playbooks()):
        files.append(f"{number}.yml")
        (tmp_path / files[-1]).write_text(text)
    assert len(files) > 5
    run("ansible-playbook", "--syntax-check", "-i", "localhost,", *files, cwd=tmp_path)


@pytest.mark.parametrize("document", TEXTS)
def test_every_option_is_one_of_a_role(document: str) -> None:
    roles = "|".join(path.name for path in (setup.ROOT / "roles").iterdir())
    names = set(re.findall(rf"\b(?:{roles}|vfio_migration)_\w+", TEXTS[document]))
    assert names - options() - MORE - content() == set()


@pytest.mark.parametrize("document", TEXTS)
def test_everything_that_is_called_by_its_full_name_is_there(document: str) -> None:
    names = set(re.findall(r"\bvfio\.migration\.(?!docsite\b)([a-z]\w*)", TEXTS[document]))
    roles = {path.name for path in (setup.ROOT / "roles").iterdir()}
    assert names - content() - roles - {"tests"} == set()


@pytest.mark.parametrize("document", TEXTS)
def test_files_and_functions_that_are_named_are_there(document: str) -> None:
    """Paths below the checkout, in literals and links."""
    literal = r"(?:`|\()((?:docs|plugins|playbooks|roles|tests|extensions|meta|changelogs|\.github)/[\w./-]+)(?:`|\))"
    missing = [path for path in re.findall(literal, TEXTS[document]) if not (setup.ROOT / path).exists()]
    assert missing == []
