# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan held against the facts of a whole fleet; documented in ``modules/plan_targets.py``."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _fleet, _nodes, _plan, _targets
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError

NAME = "vfio.migration.plan_targets"

ARGUMENTS: t.Final[dict[str, dict[str, t.Any]]] = {
    "plan": {"type": "raw", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "workloads": {"type": "list", "elements": "str", "default": []},
    "waves": {"type": "list", "elements": "int", "default": []},
    "hosts": {"type": "list", "elements": "str"},
    "gathered": {"type": "str"},
    "max_age": {"type": "int", "default": 86400},
    "revalidate": {"type": "bool", "default": False},
    "allow_unknown": {"type": "bool", "default": False},
    "reuse": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Runs once, on the controller only, and reads every host's facts."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Check the plan, compare it with the fleet, return the work of each host."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(ARGUMENTS)
        try:
            work = _work(task_vars or {}, args)
        except ContractError as error:
            errors = error.errors if isinstance(error, _plan.PlanError) else [str(error)]
            result.update(failed=True, msg=f"{NAME}: nothing was touched: {'; '.join(errors)}.", errors=errors)
        else:
            result.update(changed=False, errors=[], **work)
        return result


def _work(fleet: dict[str, t.Any], args: dict[str, t.Any]) -> dict[str, t.Any]:
    plan = _plan.load(args["plan"])
    moves = _plan.select(plan, args["workloads"], args["waves"])
    now = _clock.now()
    if args["state"] == "present" and not args["revalidate"]:
        too_old = _plan.age_error(plan, args["max_age"], now)
        if too_old:
            raise _plan.PlanError([too_old])
    everyone = _fleet.every_host(fleet) if args["hosts"] is None else args["hosts"]
    facts = _fleet.read(fleet, sorted({*everyone, *_plan.hosts(moves)}))
    known = _targets.Now(
        hosts={host.name: host for host in _nodes.load(facts)},
        fresh=frozenset(_fleet.reached(fleet, args["gathered"])),
        time=now,
        max_age=args["max_age"],
        allow_unknown=args["allow_unknown"],
        reuse=args["reuse"],
        again=_plan.again(plan),
    )
    about = {"plan": plan["id"], "persist": plan["persist"]}
    if args["state"] == "present":
        return {**about, **_targets.targets(moves, known), "sources": {}}
    return {**about, **_targets.release(moves, known), "dropped": [], "unseen": []}
