# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading all hosts' facts."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.plugin_utils import _fleet
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError


class HostVars(dict[str, t.Any]):
    """``hostvars`` of a fleet; reading a host the templating way is an error."""

    def raw_get(self, host: str) -> t.Any:
        return super().__getitem__(host)

    def __getitem__(self, host: str) -> t.Any:
        raise AssertionError(f"templated {host}")


TASK_VARS = {
    "hostvars": HostVars(
        hv1={"ansible_facts": {"vfio_migration": 1, "vfio_migration_verdicts": 2, "kernel": 3}, "secret": 4},
        hv2={"ansible_facts": {}},
        hv3={},
    ),
    "ansible_play_hosts_all": ["hv1", "hv2"],
    "ansible_play_hosts": ["hv2"],
}


def test_only_own_facts_are_read_and_each_host_once() -> None:
    found = _fleet.read(TASK_VARS, ["hv1", "hv2", "hv3"])
    assert found == {"hv1": {"vfio_migration": 1, "vfio_migration_verdicts": 2}, "hv2": {}, "hv3": {}}


def test_strangers_are_named() -> None:
    with pytest.raises(ContractError, match=r"not: hv8, hv9$"):
        _fleet.read(TASK_VARS, ["hv1", "hv8", "hv9"])


def test_hosts_of_the_play() -> None:
    assert _fleet.every_host(TASK_VARS) == ["hv1", "hv2"]
    assert _fleet.reached(TASK_VARS) == ["hv2"]
