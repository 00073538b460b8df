# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of an evacuation for a whole fleet; documented in ``modules/evacuation_plan.py``."""

from __future__ import annotations

import pathlib
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _files, _fleet, _itinerary
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _evacuation, _policy
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import DefectError

NAME = "vfio.migration.evacuation_plan"

POLICY: t.Final[dict[str, dict[str, t.Any]]] = {
    "drain": {"type": "list", "elements": "str"},
    "rolling": {"type": "dict"},
    "incoming": {"type": "int"},
    "concurrent": {"type": "int"},
    "anti_affinity": {"type": "list", "elements": "dict"},
    "failure_domains": {"type": "dict"},
    "headroom": {"type": "dict"},
    "demand": {"type": "dict"},
    "workloads": {"type": "dict"},
    "uuid_policy": {"type": "str"},
    "allow_unknown": {"type": "raw"},
    "capacity": {"type": "list", "elements": "dict"},
    "persist": {"type": "bool"},
    "id": {"type": "str"},
}
"""What ``_policy.py`` takes; it knows the defaults, and names all mistakes at once."""

ARGUMENTS: t.Final[dict[str, dict[str, t.Any]]] = {
    **{key: {**spec, "default": _policy.DEFAULTS[key]} for key, spec in POLICY.items()},
    "hosts": {"type": "list", "elements": "str"},
    "fresh_hosts": {"type": "list", "elements": "str"},
    "gathered": {"type": "str"},
    "max_age": {"type": "int", "default": 86400},
    "dest": {"type": "path"},
    "show": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):
    """Runs once, on the controller only, and reads every host's facts."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Read the fleet, plan, write the plan and show it."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(ARGUMENTS)
        dest = args["dest"]
        problem = _files.obstacle(pathlib.Path(dest)) if dest else None
        if problem:
            raise AnsibleActionFail(f"{NAME}: cannot write {dest}: {problem}.")
        plan = _plan(task_vars or {}, args)
        lines = _itinerary.lines(plan)
        if args["show"]:
            # A result with line breaks is shown as escaped JSON; this is shown as it is.
            Display().display("\n".join(lines))
        result.update(
            changed=_write(pathlib.Path(dest), plan, dry=self._task.check_mode) if dest else False,
            summary=_itinerary.summary(plan),
            partial=plan["partial"],
            id=plan["id"],
            dest=dest,
            text=None if args["show"] else lines,
            # Where nothing was written, because there is no file or this is check mode, the plan itself is needed.
            plan=None if dest and not self._task.check_mode else plan,
        )
        return result


def _plan(fleet: dict[str, t.Any], args: dict[str, t.Any]) -> _model.Plan:
    hosts = _fleet.every_host(fleet) if args["hosts"] is None else args["hosts"]
    fresh = _fleet.reached(fleet, args["gathered"]) if args["fresh_hosts"] is None else args["fresh_hosts"]
    options = {key: args[key] for key in POLICY}
    if isinstance(options["allow_unknown"], str):
        options["allow_unknown"] = from_text(options["allow_unknown"])
    try:
        return _evacuation.plan(_fleet.read(fleet, hosts), options, _clock.now(), args["max_age"], fresh)
    except (ContractError, DefectError, TypeError) as error:
        raise AnsibleActionFail(f"{NAME}: {error}.") from None  # ansible-core would say it twice


def from_text(allowed: str) -> bool | list[str]:
    """A boolean or hosts, as a command line or a survey gives them."""
    try:
        return bool(boolean(allowed))
    except TypeError:
        return [name.strip() for name in allowed.split(",") if name.strip()]


def _write(dest: pathlib.Path, plan: _model.Plan, *, dry: bool) -> bool:
    """Write the plan; say whether it differs from the one before in more than times."""
    try:
        before = _files.read_json(dest)
        if not dry:
            _files.write_json(dest, t.cast("dict[str, t.Any]", plan))
    except OSError as error:
        raise AnsibleActionFail(f"{NAME}: cannot write {dest}: {error.strerror}.") from None
    return not _itinerary.same_but_for_times(before, plan)
