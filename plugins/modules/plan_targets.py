#!/usr/bin/python
# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: plan_targets
short_description: Hold a plan against what the hosts say now
version_added: "0.1.0"
author:
  - The vfio.migration authors (@vfio-migration)
description:
  - Reads a plan, checks it as a whole, compares it with the facts of the fleet, and returns what is to be done on each
    host. It changes nothing; M(vfio.migration.mdev) does.
  - A plan with a mistake is refused before anything is touched, with all mistakes in RV(errors). A plan is also refused
    when it is older than O(max_age), unless O(revalidate) is set.
  - A workload that no longer fits is left out with all of its devices, and is in RV(dropped) with the reason. The
    others go on.
  - With O(state=present), call it twice. After M(vfio.migration.vfio_facts) has read the hosts, C(requests) of each
    host is what M(vfio.migration.compatibility_facts) has to ask there. After that, C(instances) of each host is what
    M(vfio.migration.mdev) may create. Only answers given since the host was read count.
  - A UUID that another host has is accepted only on the source of its own move. All others are left out.
options:
  plan:
    description:
      - Path on the controller of the plan's JSON file, or the plan itself. C(docs/schemas/plan.schema.json) in the
        collection is its JSON schema.
    type: raw
    required: true
  state:
    description: V(present) is the work before a migration, V(absent) the work after it, or after giving it up.
    type: str
    choices: [present, absent]
    default: present
  workloads:
    description: Only these workloads, given by id or name. All of the plan when it is empty.
    type: list
    elements: str
    default: []
  waves:
    description: Only the workloads of these waves. All waves when it is empty.
    type: list
    elements: int
    default: []
  hosts:
    description:
      - Names of the hosts of the fleet, whose UUIDs must not clash with those of the plan. Facts of hosts that this run
        does not reach come from the fact cache, and RV(unseen) names those without any.
      - The default is all hosts of the play. The hosts of the plan are always among them.
    type: list
    elements: str
  gathered:
    description:
      - Name of the variable in which the task that gathered the facts was registered. Needed where
        C(ignore_unreachable) keeps hosts in the play that could not be reached.
    type: str
  max_age:
    description: Seconds for which a plan holds, and for which the facts of a source host do.
    type: int
    default: 86400
  revalidate:
    description:
      - Take a plan of any age. The facts of its sources must still be younger than O(max_age), and every workload
        is compared with them.
    type: bool
    default: false
  allow_unknown:
    description:
      - Also create for devices that no driver can be asked about, because neither their type nor they themselves have a
        C(migration_version). Nobody knows whether such a device can migrate.
    type: bool
    default: false
  reuse:
    description: Whether free instances may be taken. A type without room is no obstacle then.
    type: bool
    default: false
extends_documentation_fragment:
  - vfio.migration.controller
attributes:
  check_mode:
    support: full
    details: It changes nothing.
seealso:
  - module: vfio.migration.mdev
  - module: vfio.migration.plan_results
  - plugin: vfio.migration.plan_hosts
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Find out what the targets have to be asked
  vfio.migration.plan_targets:
    plan: /srv/plans/rack7.json
    hosts: "{{ groups['hypervisors'] }}"
  run_once: true
  register: work

- name: Ask the drivers
  vfio.migration.compatibility_facts:
    requests: "{{ work.hosts[inventory_hostname].requests }}"
  become: true
  when: inventory_hostname in work.hosts
"""

RETURN = r"""
plan:
  description: Id of the plan.
  returned: success
  type: str
persist:
  description: Whether the plan wants its instances to outlive a reboot.
  returned: success
  type: bool
hosts:
  description:
    - Work of each target host that has any. With O(state=present) a mapping of C(requests) and C(instances). With
      O(state=absent) the list of workloads whose instances are to be taken back.
  returned: success
  type: dict
  sample:
    hv1:
      requests: []
      instances:
        - workload: aaaaaaaa-0000-4000-8000-000000000003
          uuid: eeeeeeee-0000-4000-8000-000000000001
          parent: "0000:3b:00.0"
          type: nvidia-35
          attributes: []
          accepts: 10de-20b5-35-550.2
sources:
  description:
    - With O(state=absent), for each source host the old instances that can be freed, because nobody holds them and
      somebody holds all new ones of their workload. Empty with O(state=present).
  returned: success
  type: dict
dropped:
  description: Workloads that nothing is to be created for.
  returned: success
  type: list
  elements: dict
  contains:
    workload:
      description: Its id.
      type: str
      returned: success
    reason:
      description:
        - Stable code. V(uuid_clash), V(source_unread), V(source_gone), V(source_changed), V(target_unread),
          V(parent_gone), V(type_gone), V(no_room), V(nobody_to_ask), V(not_asked), or the reason of a verdict of
          M(vfio.migration.compatibility_facts).
      type: str
      returned: success
    detail:
      description: One sentence that names the device and its target.
      type: str
      returned: success
unseen:
  description: Hosts of the fleet without facts, whose UUIDs could not be compared.
  returned: success
  type: list
  elements: str
errors:
  description: All mistakes of the plan, one sentence each. Empty if there are none.
  returned: always
  type: list
  elements: str
"""
