# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each workload; documented in ``modules/plan_results.py``."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _fleet, _nodes, _plan, _results
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError

NAME = "vfio.migration.plan_results"


class ActionModule(ActionBase):
    """Runs once, on the controller only, and reads what tasks registered on every host."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Show a line for each workload, and fail only if asked to."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(
            {
                "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                "registered": {"type": "list", "elements": "str", "required": True},
                "plan": {"type": "raw"},
                "workloads": {"type": "list", "elements": "str", "default": []},
                "waves": {"type": "list", "elements": "int", "default": []},
                "dropped": {"type": "list", "elements": "dict", "default": []},
                "unseen": {"type": "list", "elements": "str", "default": []},
                "verified": {"type": "str"},
                "domains": {"type": "str"},
                "fail": {"type": "bool", "default": True},
                "show": {"type": "bool", "default": True},
            },
            required_if=[("state", "present", ("plan", "verified"))],
        )
        present = args["state"] == "present"
        try:
            plan = _plan.load(args["plan"]) if args["plan"] else None
            rows = (_prepared if present else _released)(task_vars or {}, args, plan, check_mode=self._task.check_mode)
        except ContractError as error:
            raise AnsibleActionFail(f"{NAME}: {error}.") from None  # ansible-core would say it twice
        moves = _plan.select(plan, args["workloads"], args["waves"]) if present and plan else []
        if args["domains"]:
            sources = sorted({move["source"] for move in moves})
            _results.add_domains(rows, _fleet.registered(task_vars or {}, args["domains"], sources))
        title = " ".join(["Targets" if present else "Release", *([f"of plan {plan['id']}"] if plan else [])])
        text = _results.render(title, rows, args["unseen"])
        if args["show"]:
            # A result with line breaks is shown as escaped JSON; this is shown as it is.
            Display().display(text)
        text_lines = None if args["show"] else text.splitlines()
        result.update(changed=False, workloads=rows, domains=_results.domains(moves, rows), text=text_lines)
        bad = _results.failures(rows, ("dropped", "failed"))
        if bad and args["fail"]:
            what = "have no verified target" if present else "could not be released"
            result.update(failed=True, msg=f"{NAME}: these workloads {what}: {', '.join(bad)}.")
        return result


def _prepared(
    fleet: dict[str, t.Any], args: dict[str, t.Any], plan: _model.Plan | None, *, check_mode: bool
) -> list[_results.Row]:
    moves = _plan.select(plan, args["workloads"], args["waves"]) if plan else []
    targets = sorted({move["target"] for move in moves})
    read = set(_fleet.reached(fleet, args["verified"]))
    facts = _nodes.load(_fleet.read(fleet, [host for host in targets if host in read]))
    seen = {host.name: host.snapshot for host in facts if host.snapshot}
    registered = _fleet.registered(fleet, args["registered"][0], targets)
    return _results.prepared(moves, args["dropped"], registered, seen, check_mode=check_mode)


def _released(
    fleet: dict[str, t.Any], args: dict[str, t.Any], plan: _model.Plan | None, *, check_mode: bool
) -> list[_results.Row]:
    everyone = _fleet.every_host(fleet)
    tasks = [_fleet.registered(fleet, name, everyone) for name in args["registered"]]
    names = {move["workload"]: move["name"] for move in (plan["moves"] if plan else ())}
    return _results.released(tasks, names, check_mode=check_mode)
