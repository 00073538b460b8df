#!/usr/bin/python
# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: evacuation_plan
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
  - Reads the facts of all hosts at once and untemplated, of this run or from the fact cache, so it also plans offline.
    Nothing on any host is touched.
extends_documentation_fragment:
  - vfio.migration.controller
  - vfio.migration.evacuation
options:
  hosts:
    description:
      - Names of the hosts of the fleet. The facts of those that this run does not reach come from the fact cache.
      - The default is all hosts of the play. C(--limit) shrinks those; name the hosts of a group to have all of it.
    type: list
    elements: str
  fresh_hosts:
    description:
      - Names of the hosts whose facts were gathered in this run. Those of all other hosts count as cached.
      - The default is all hosts of the play that have not failed and, with O(gathered), are not unreachable. Give an
        empty list to work from the fact cache only.
    type: list
    elements: str
  gathered:
    description:
      - Name of the variable in which the task that gathered the facts was registered. Needed where
        C(ignore_unreachable) keeps hosts in the play that could not be reached.
    type: str
  max_age:
    description:
      - Seconds for which what hosts and drivers said holds. Older answers of drivers are V(unknown), and with older
        facts of a host nothing is planned at all.
    type: int
    default: 86400
  dest:
    description:
      - Path on the controller of the JSON file to write the plan to. Its folder has to exist.
      - The file is replaced in one step, so a reader never sees half of it.
    type: path
  show:
    description: Whether to print the plan as a table, wave by wave.
    type: bool
    default: true
notes:
  - The plan of a drain comes with a proven bound. With the Python package C(highspy) on the controller the bound is
    mostly reached, and the plan is often better; without it the bound is a rough one where a VM is stuck.
  - The same facts and options give the same plan, but for the time it was made. It reports no change then.
seealso:
  - module: vfio.migration.pairings
  - module: vfio.migration.plan_targets
  - plugin: vfio.migration.evacuation_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Plan to empty two hosts
  vfio.migration.evacuation_plan:
    hosts: "{{ groups['hypervisors'] }}"
    drain: [hv1, hv2]
    concurrent: 4
    dest: "{{ playbook_dir }}/plan.json"
  run_once: true

- name: Plan a rolling maintenance, two hosts at a time, from the fact cache
  vfio.migration.evacuation_plan:
    hosts: "{{ groups['hypervisors'] }}"
    fresh_hosts: []
    rolling:
      max_unavailable: 2
    anti_affinity:
      - workloads: [db1, db2]
        across: domain
    failure_domains:
      rack1: [hv1, hv2, hv3]
      rack2: [hv4, hv5, hv6]
    workloads:
      batch1: stop
    dest: "{{ playbook_dir }}/plan.json"
  run_once: true
"""

RETURN = r"""
summary:
  description: The plan in numbers. The same keys whatever the plan.
  returned: success
  type: dict
  contains:
    batches:
      description: Maintenance batches.
      type: int
      returned: success
      sample: 1
    waves:
      description: Groups of VMs that migrate at the same time.
      type: int
      returned: success
      sample: 2
    hosts:
      description: Hosts that are to be emptied.
      type: int
      returned: success
      sample: 2
    emptied:
      description: Hosts that the plan empties.
      type: int
      returned: success
      sample: 1
    moves:
      description: Migrations. A VM may move twice in a rolling maintenance.
      type: int
      returned: success
      sample: 4
    unknown:
      description: Migrations that rely on an answer that nobody knows.
      type: int
      returned: success
      sample: 0
    stopped:
      description: VMs that stop with their hosts.
      type: int
      returned: success
      sample: 1
    stuck:
      description: VMs that can not move.
      type: int
      returned: success
      sample: 1
partial:
  description: Whether a host of the fleet could not be taken into account, or not in full.
  returned: success
  type: bool
id:
  description: Name of the plan.
  returned: success
  type: str
  sample: plan-0a1b2c3d4e5f
dest:
  description: The file that was written, or would be; null without O(dest).
  returned: success
  type: str
text:
  description: The table, line by line; null if it was printed.
  returned: success
  type: list
  elements: str
plan:
  description:
    - The plan itself, but null where O(dest) was written, since what is registered by a C(run_once) task lands on every
      host. C(docs/schemas/plan.schema.json) in the collection is its JSON schema.
  returned: success
  type: dict
"""
