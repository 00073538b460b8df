# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be killed is killed at its moment, or the caller is told."""

from __future__ import annotations

import pathlib
import time

from ansible_collections.vfio.migration.tests.tools.interrupt import interrupt


def test_killed_with_its_children_at_the_moment(tmp_path: pathlib.Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    script = f"(sleep 1; touch {ended}) & touch {begun}; wait"
    assert interrupt(["test", "-e", str(begun)], ["sh", "-c", script]) is None
    time.sleep(1.5)
    assert not ended.exists()


def test_what_ends_by_itself_was_not_interrupted() -> None:
    assert interrupt(["false"], ["sh", "-c", "exit 3"]) == "it ended by itself with 3 before the moment came"
