# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan -> the hosts it speaks of."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plan_hosts
short_description: Name the hosts of a plan
version_added: "0.1.0"
author:
  - The vfio.migration authors (@vfio-migration)
description:
  - Reads and checks a plan, and returns every host it speaks of, sources and targets, once and in order of names. This
    is what a play needs to know whom to reach.
  - A plan with mistakes is refused, with all of them in the message. So is one with a host that is not in O(known).
options:
  _input:
    description: Path on the controller of the plan's JSON file, or the plan itself.
    type: raw
    required: true
  known:
    description:
      - Names of all hosts of the inventory. Ansible runs a play without a word for none of the hosts that it does not
        know; with this they are an error.
    type: list
    elements: str
  workloads:
    description: Only the hosts of these workloads, given by id or name. All of them when it is empty.
    type: list
    elements: str
    default: []
  waves:
    description: Only the hosts of these waves. All of them when it is empty.
    type: list
    elements: int
    default: []
  otherwise:
    description:
      - What to return for a plan that is refused, instead of failing. This is for C(hosts) of a play, which tools that
        check the syntax look at without any plan or inventory. The first task of the play then has to refuse the plan.
    type: str
seealso:
  - module: vfio.migration.plan_targets
  - plugin: vfio.migration.targets
    plugin_type: role
"""

EXAMPLES = r"""
- name: Work on the hosts of a plan
  hosts: "{{ plan | default('') | vfio.migration.plan_hosts(groups.all, otherwise='all:localhost') }}"
  gather_facts: false
  tasks:
    - name: Refuse a bad plan
      ansible.builtin.assert:
        that: plan | vfio.migration.plan_hosts(groups.all) is sequence
        quiet: true
      run_once: true
"""

RETURN = r"""
_value:
  description: Names of hosts.
  type: list
  elements: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.vfio.migration.plugins.plugin_utils import _plan

NAME = "vfio.migration.plan_hosts"


def plan_hosts(
    plan: object,
    known: t.Collection[str] | None = None,
    workloads: list[str] | str | None = None,
    waves: list[int] | str | None = None,
    otherwise: str | None = None,
) -> list[str] | str:
    """See DOCUMENTATION."""
    try:
        moves = _plan.select(_plan.load(plan), _listed(workloads), _numbers(waves))
        hosts = _plan.hosts(moves)
        strangers = [] if known is None else [host for host in hosts if host not in known]
        if strangers:
            raise _plan.PlanError([f"the plan names hosts that are not in the inventory: {', '.join(strangers)}"])
    except _plan.PlanError as error:
        if otherwise is not None:
            return otherwise
        raise AnsibleFilterError(f"{NAME}: nothing was touched: {error}") from None  # ansible-core would say it twice
    return hosts


def _numbers(words: t.Sequence[t.Any] | None) -> list[int]:
    try:
        return [int(word) for word in _listed(words)]
    except (TypeError, ValueError):
        raise _plan.PlanError([f"waves are numbers, not {words!r}"]) from None


def _listed(words: t.Sequence[t.Any] | None) -> list[t.Any]:
    """As options of a task are taken: ``-e targets_waves=1,2`` is text."""
    return [word.strip() for word in words.split(",") if word.strip()] if isinstance(words, str) else list(words or ())


class FilterModule:
    """What ansible-core looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name -> filter."""
        return {"plan_hosts": plan_hosts}
