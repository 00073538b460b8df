# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules for hosts return is documented key by key."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.vfio.migration.plugins.module_utils import _domain_xml, _jobs, _model
from ansible_collections.vfio.migration.plugins.modules import compatibility_facts, domain_xml, mdev, vfio_facts

RETURNED: t.List[t.Tuple[t.Any, str, t.Any]] = [
    (vfio_facts, "ansible_facts.vfio_migration", _model.Snapshot),
    (vfio_facts, "ansible_facts.vfio_migration.devices", _model.Device),
    (vfio_facts, "ansible_facts.vfio_migration.workloads", _model.Workload),
    (compatibility_facts, "ansible_facts.vfio_migration_verdicts", _model.VerdictSet),
    (compatibility_facts, "ansible_facts.vfio_migration_verdicts.verdicts", _model.Verdict),
    (mdev, "workloads", _jobs.WorkloadResult),
    (mdev, "workloads.instances", _jobs.InstanceResult),
    (mdev, "ledger", _model.LedgerEntry),
    (domain_xml, "domains", _domain_xml.Result),
]


@pytest.mark.parametrize(("module", "path", "contract"), RETURNED)
def test_every_key_is_documented_and_no_other(module: t.Any, path: str, contract: t.Any) -> None:
    found = yaml.safe_load(module.RETURN)
    for number, key in enumerate(path.split(".")):
        found = (found["contains"] if number else found)[key]
    assert set(found["contains"]) == set(contract.__annotations__)
