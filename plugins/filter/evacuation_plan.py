# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts at hand -> the plan of an evacuation."""

from __future__ import annotations

DOCUMENTATION = r"""
name: evacuation_plan
short_description: Plan which VM goes where before hosts go into maintenance
version_added: "0.1.0"
author:
  - The vfio.migration authors (@vfio-migration)
description:
  - Plans how the VMs of some hosts, or of all hosts batch by batch, get out of the way of a maintenance. All devices of
    a VM go to one host, each to a parent and type whose driver accepted it, under the true capacity of the parents.
  - Wants, in this order, most hosts emptied, most VMs moved, fewest moves, even load.
  - A VM that can not move is listed with the reason and with what would free it, and never spoils the rest.
  - An answer V(unknown) is never used unless O(allow_unknown) says so.
extends_documentation_fragment:
  - vfio.migration.evacuation
options:
  _input:
    description:
      - For each host of the fleet its C(ansible_facts), of which C(vfio_migration) and C(vfio_migration_verdicts) are
        used; an empty or null value for hosts without facts, which then receive nothing.
    type: dict
    required: true
  max_age:
    description: Seconds for which what hosts and drivers said holds; older facts of a host are refused.
    type: int
    default: 86400
  now:
    description: Time that ages are reckoned to, like V(2026-11-22T19:04:14Z). The default is the current time.
    type: str
  fresh_hosts:
    description: Hosts whose facts were gathered in this run; all others count as cached. The default is all hosts.
    type: list
    elements: str
notes:
  - The plan of a drain comes with a proven bound. With the Python package C(highspy) on the controller the bound is
    mostly reached, and the plan is often better; without it the bound is a rough one where a VM is stuck.
seealso:
  - module: vfio.migration.evacuation_plan
    description: The same for a whole fleet, faster, and into a file.
  - plugin: vfio.migration.pairings
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Which VMs would be stuck if hv1 were drained?
  ansible.builtin.debug:
    msg: "{{ (facts | vfio.migration.evacuation_plan(drain=['hv1'])).stuck }}"
  vars:
    facts:
      hv1: "{{ hostvars.hv1.ansible_facts }}"
      hv2: "{{ hostvars.hv2.ansible_facts }}"
"""

RETURN = r"""
_value:
  description:
    - The plan. C(moves) says which workload goes where and in which wave, C(stuck) who stays, why, and what would free
      it, C(planning) how the plan came about. C(docs/schemas/plan.schema.json) in the collection is its JSON schema.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.vfio.migration.plugins.module_utils._model import Plan
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _evacuation
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import DefectError


def evacuation_plan(
    facts: t.Mapping[str, object],
    max_age: int = 86400,
    now: str | None = None,
    fresh_hosts: list[str] | None = None,
    **options: object,
) -> Plan:
    """See DOCUMENTATION."""
    try:
        return _evacuation.plan(facts, options, _clock.now() if now is None else now, max_age, fresh_hosts)
    except (ContractError, DefectError) as error:
        # ansible-core would say it twice
        raise AnsibleFilterError(f"vfio.migration.evacuation_plan: {error}") from None


class FilterModule:
    """What ansible-core looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name -> filter."""
        return {"evacuation_plan": evacuation_plan}
