# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each host of a fleet has to be asked; documented in ``modules/probe_requests.py``."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _fleet, _requests
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError


class ActionModule(ActionBase):
    """Runs once, on the controller only, and reads every host's facts."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Read the fleet, return the requests."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(
            {"hosts": {"type": "list", "elements": "str"}, "max_age": {"type": "int", "default": 86400}}
        )
        fleet = task_vars or {}
        hosts = _fleet.every_host(fleet) if args["hosts"] is None else args["hosts"]
        try:
            requests = _requests.probe_requests(_fleet.read(fleet, hosts), args["max_age"], _clock.now())
        except ContractError as error:
            raise AnsibleActionFail(
                f"vfio.migration.probe_requests: {error}."
            ) from None  # ansible-core would say it twice
        count = sum(map(len, requests.values()))
        result.update(changed=False, requests=requests, hosts=list(requests), count=count, covered=not count)
        return result
