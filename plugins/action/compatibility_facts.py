# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module, and keep the answers of earlier runs that it did not ask again."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.vfio.migration.plugins.plugin_utils import _clock
from ansible_collections.vfio.migration.plugins.plugin_utils._evidence import merge

SNAPSHOT = "vfio_migration"
FACT = "vfio_migration_verdicts"


class ActionModule(ActionBase):
    """The facts of the host are at hand only here; sending them there and back would double the traffic."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars))
        # Every question is in its verdict; carrying them along a second time costs a large fleet seconds.
        result.pop("invocation", None)
        latest = (result.get("ansible_facts") or {}).get(FACT)
        if latest is not None:
            facts = (task_vars or {}).get("ansible_facts") or {}
            result["ansible_facts"][FACT] = merge(facts.get(FACT), latest, facts.get(SNAPSHOT), _clock.now())
        return result
