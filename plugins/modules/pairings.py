#!/usr/bin/python
# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pairings
short_description: Pair the devices of a whole fleet with the targets that their drivers accept
version_added: "0.1.0"
author:
  - The vfio.migration authors (@vfio-migration)
description:
  - Brings together what M(vfio.migration.vfio_facts) and M(vfio.migration.compatibility_facts) learned on all hosts,
    in a directed matrix of sources and targets.
  - There are three answers, V(compatible), V(incompatible) and V(unknown), each of the last two with a reason. An
    answer is never derived from another one, and V(unknown) is never a yes.
  - Devices that no driver could tell apart are one source class, targets that gave the same answers are one target
    class, and the matrix pairs classes. A pair that is not in it is incompatible, because vendors or types differ.
  - What a device node says outranks what the type node said. Answers from before a reboot, of another driver version,
    or older than O(max_age) are V(unknown).
  - Reads the facts of all hosts at once and untemplated, which takes seconds for thousands of hosts.
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
    description: Seconds for which an answer holds, 0 or more.
    type: int
    default: 86400
  sources:
    description:
      - V(devices) are the devices that exist. V(all) adds an imagined instance of every type on every parent, to
        compare hosts before any device exists.
    type: str
    choices: [devices, all]
    default: devices
  dest:
    description:
      - Path on the controller of the JSON file to write the matrix to. Its folder has to exist.
      - The file is replaced in one step, so a reader never sees half of it.
    type: path
extends_documentation_fragment:
  - vfio.migration.controller
notes:
  - It reports no change if the new matrix differs from the one in the file only in times and ages. The file is written
    then too, so that its times are those of the last run.
seealso:
  - module: vfio.migration.vfio_facts
  - module: vfio.migration.compatibility_facts
  - module: vfio.migration.probe_requests
  - module: vfio.migration.report
  - plugin: vfio.migration.pairings
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write the matrix of the fleet to a file
  vfio.migration.pairings:
    hosts: "{{ groups['hypervisors'] }}"
    dest: "{{ playbook_dir }}/pairings.json"
  run_once: true
  register: readiness
"""

RETURN = r"""
summary:
  description: The fleet in numbers. The same keys whatever the fleet.
  returned: success
  type: dict
  contains:
    hosts:
      description: Number of hosts in each state.
      type: dict
      returned: success
      sample: {fresh: 5, cached: 0, unreachable: 1, excluded: 0}
    devices:
      description: Number of devices in each state.
      type: dict
      returned: success
      sample: {ready: 7, no_room: 2, unknown: 3, blocked: 1}
    workloads:
      description: Number of VMs in each state.
      type: dict
      returned: success
      sample: {ready: 4, no_room: 1, unknown: 1, blocked: 1}
    findings:
      description: Number of findings of each kind that was found.
      type: dict
      returned: success
      sample: {uuid_clash: 1}
partial:
  description: Whether a host of the fleet could not be taken into account, or not in full.
  returned: success
  type: bool
dest:
  description: The file that was written, or would be; null without O(dest).
  returned: success
  type: str
pairings:
  description:
    - The matrix itself, but null where O(dest) was written, since what is registered by a C(run_once) task lands on
      every host.
  returned: success
  type: dict
"""
