# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pattern of hosts with a typing error is an error: Ansible itself would do nothing, and call that a success."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from ansible_collections.vfio.migration.tests.tools.setup import TREE

pytestmark = pytest.mark.thorough

INVENTORY = "hypervisors:\n  hosts:\n    hv1:\n      ansible_connection: local\n"
MISTYPED = {
    "readiness": ["readiness_hosts=hypervisor"],
    "plan_evacuation": ["evacuation_hosts=hypervisor", "evacuation_drain=hv1"],
    "release_targets": ["release_hosts=hypervisor", "release_all=true"],
}


@pytest.mark.parametrize(
    ("playbook", "words"),
    [
        *((name, []) for name in MISTYPED),
        ("readiness", ["--limit", "hv1"]),
        ("plan_evacuation", ["-e", "evacuation_live=false"]),
        ("readiness", ["-e", '{"readiness_hosts": ["hypervisor"]}']),
    ],
)
def test_pattern_that_no_host_matches_is_an_error(tmp_path: pathlib.Path, playbook: str, words: list[str]) -> None:
    (tmp_path / "inventory.yml").write_text(INVENTORY)
    options = [word for option in MISTYPED[playbook] for word in ("-e", option)]
    command = [sys.executable, "-m", "ansible", "playbook", f"vfio.migration.{playbook}", "-i", "inventory.yml"]
    done = subprocess.run(
        [*command, *options, *words],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(TREE), "ANSIBLE_NOCOLOR": "1"},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    pattern = MISTYPED[playbook][0].partition("=")[0]
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{pattern}: no host of the inventory matches hypervisor. Name hosts or groups" in done.stdout
