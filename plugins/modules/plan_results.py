#!/usr/bin/python
# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: plan_results
short_description: Show what became of each workload of a plan
version_added: "0.1.0"
author:
  - The vfio.migration authors (@vfio-migration)
description:
  - Brings together what M(vfio.migration.plan_targets) left out and what M(vfio.migration.mdev) did on all hosts. It
    prints one line for each workload, with the reason if it has no target, and what to do about it.
  - An instance counts as ready only if its host, read once more after everything was created, still has it with its
    parent, its type and a driver.
  - Fails, after everything was shown, if a workload was left out or failed, see O(fail).
options:
  state:
    description: V(present) after instances were created, V(absent) after they were taken back.
    type: str
    choices: [present, absent]
    default: present
  registered:
    description: Names of the variables in which the tasks with M(vfio.migration.mdev) were registered.
    type: list
    elements: str
    required: true
  plan:
    description: Path on the controller of the plan's JSON file, or the plan itself. Needed with O(state=present);
      with O(state=absent) it is only for the names of workloads.
    type: raw
  workloads:
    description: The same as for M(vfio.migration.plan_targets).
    type: list
    elements: str
    default: []
  waves:
    description: The same as for M(vfio.migration.plan_targets).
    type: list
    elements: int
    default: []
  dropped:
    description: What M(vfio.migration.plan_targets) returned under this name.
    type: list
    elements: dict
    default: []
  unseen:
    description: What M(vfio.migration.plan_targets) returned under this name.
    type: list
    elements: str
    default: []
  verified:
    description:
      - Name of the variable in which the task that read the hosts after everything was created was registered. Needed
        with O(state=present).
    type: str
  domains:
    description:
      - Name of the variable in which the task with M(vfio.migration.domain_xml) was registered on the source hosts; its
        files are then shown with their workloads. A file that is missing is no failure.
    type: str
  fail:
    description: Whether to fail if a workload was left out or failed. An instance in use is no failure of releasing.
    type: bool
    default: true
  show:
    description: Whether to print the lines. Turn it off where standard output has to stay machine readable.
    type: bool
    default: true
extends_documentation_fragment:
  - vfio.migration.controller
attributes:
  check_mode:
    support: full
    details: It changes nothing.
seealso:
  - module: vfio.migration.mdev
  - module: vfio.migration.domain_xml
  - module: vfio.migration.plan_targets
"""

EXAMPLES = r"""
- name: Show what became of each workload
  vfio.migration.plan_results:
    plan: /srv/plans/rack7.json
    dropped: "{{ work.dropped }}"
    registered: [created]
    verified: read_again
  run_once: true
"""

RETURN = r"""
workloads:
  description: What became of each workload.
  returned: always
  type: list
  elements: dict
  contains:
    workload:
      description: Its id; V(all) where a host failed as a whole.
      type: str
      returned: always
    name:
      description: Its name, null when it has none or the plan is not at hand.
      type: str
      returned: always
    source:
      description: The host it is to leave, null with O(state=absent).
      type: str
      returned: always
    host:
      description: The host on which something was done for it.
      type: str
      returned: always
    state:
      description:
        - V(ready), V(dropped) (nothing was created), V(failed), V(released), V(kept) (in use, so it stays), V(nothing)
          (there was nothing to take back), or in check mode V(planned).
      type: str
      returned: always
    reason:
      description: Stable code, null when all is well.
      type: str
      returned: always
    msg:
      description: The reason in one sentence, null when all is well.
      type: str
      returned: always
    instances:
      description: Its instances, each with C(uuid), C(parent), C(type), and the C(action) that was taken.
      type: list
      elements: dict
      returned: always
    domain_xml:
      description:
        - File on the source host with the domain XML that the VM shall have on its target, null when there is none.
      type: str
      returned: always
    domain_note:
      description: Why there is no such file, or why libvirt could not validate it; null when all is well.
      type: str
      returned: always
domains:
  description:
    - Names of source hosts, and for each what M(vfio.migration.domain_xml) takes there, of the workloads that are
      V(ready) or V(planned). Empty with O(state=absent).
  returned: always
  type: dict
text:
  description: What is printed, line by line; null if it was printed.
  returned: always
  type: list
  elements: str
"""
