# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module, and date what it read by the controller's clock."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.vfio.migration.plugins.plugin_utils import _clock

FACT = "vfio_migration"


class ActionModule(ActionBase):
    """Ages are reckoned by the controller's clock, as those of answers are; a host's own may be years off."""

    _requires_connection = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val))
        snapshot = (result.get("ansible_facts") or {}).get(FACT)
        if snapshot is not None:
            snapshot["time"] = _clock.now()
        return result
