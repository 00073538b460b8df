# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Pythons are really tested, and that nobody takes fewer for all of them."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.vfio.migration.tests.tools import ansible_test, setup, steps

OLD, NEW = ansible_test.CORES[0], ansible_test.CORES[-1]


def test_every_python_of_hosts_is_tested_by_some_core() -> None:
    tested = {version for core in ansible_test.CORES for version in core.units}
    assert tested == set(ansible_test.minors(8, 13))
    for core in ansible_test.CORES:
        assert set(core.units) <= set(core.hosts)
        assert core.controller in core.controllers
        assert core.controller in core.units, "the controller's code is tested, too"
        assert core.units[0] == core.hosts[0], "the oldest that this core can reach"


def test_the_oldest_core_is_the_one_that_the_collection_asks_for() -> None:
    runtime = (setup.ROOT / "meta" / "runtime.yml").read_text()
    assert f'requires_ansible: ">={OLD.version}.0"' in runtime


HERE: list[t.Any] = [
    (OLD, ansible_test.minors(8, 13), False, OLD.units),
    (OLD, ((3, 8), (3, 11)), False, ((3, 8), (3, 11))),
    (NEW, ((3, 8), *ansible_test.minors(10, 12)), False, ((3, 10), (3, 12))),
    (NEW, ((3, 11),), False, ((3, 11),)),
    (NEW, ((3, 8),), False, steps.LeftOut),
    (OLD, ansible_test.minors(8, 13), True, OLD.units),
    (OLD, (*ansible_test.minors(8, 11), (3, 13)), True, steps.Failed),
    (NEW, ansible_test.minors(10, 13), True, steps.Failed),
]


@pytest.mark.parametrize(("core", "here", "strict", "expected"), HERE)
def test_pythons_of_hosts(
    monkeypatch: pytest.MonkeyPatch, core: ansible_test.Core, here: t.Any, strict: bool, expected: t.Any
) -> None:
    monkeypatch.setattr(setup, "pythons", lambda: dict.fromkeys(here, Path("/usr/bin/python3")))
    monkeypatch.delenv("CI", raising=False)
    if strict:
        monkeypatch.setenv("CI", "true")
    if isinstance(expected, tuple):
        assert ansible_test.host_pythons(core) == expected
    else:
        with pytest.raises(expected):
            ansible_test.host_pythons(core)
