# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a contract to a file."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.plugin_utils import _files

CONTRACT: dict[str, t.Any] = {"version": 1, "none": [], "some": [{"a": "{{ 1 }}"}, "ü\n"], "end": None}


def test_what_was_written_is_read_back(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.json"
    _files.write_json(path, CONTRACT)
    assert _files.read_json(path) == CONTRACT
    assert path.read_text().splitlines()[3:6] == ['"some": [', '{"a": "{{ 1 }}"},', '"\\u00fc\\n"']
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_mode_of_the_old_file_is_kept(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    path.chmod(0o640)
    _files.write_json(path, CONTRACT)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        _files.write_json(path, {"good": [1], "bad": object()})
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]


def test_only_a_regular_file_is_replaced(tmp_path: pathlib.Path) -> None:
    names = ["new", "old", "link", "pipe", "folder", "missing/new"]
    (tmp_path / "old").write_text("{}")
    (tmp_path / "link").symlink_to("old")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    other = "there is a link, a device or a folder of that name; name a regular file"
    assert {name: _files.obstacle(tmp_path / name) for name in names} == {
        "new": None, "old": None, "link": other, "pipe": other, "folder": other,
        "missing/new": f"the folder {tmp_path}/missing does not exist",
    }  # fmt: skip


@pytest.mark.parametrize("text", [None, "", "{", "\N{SNOWMAN}"])
def test_no_json_is_none(tmp_path: pathlib.Path, text: str | None) -> None:
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert _files.read_json(path) is None


def test_lists_in_json_stay_lists(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.json"
    _files.write_json(path, {"a": [[1, 2], []]})
    assert json.loads(path.read_text()) == {"a": [[1, 2], []]}
