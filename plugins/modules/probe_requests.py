#!/usr/bin/python
# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: probe_requests
short_description: Find out for a whole fleet which strings the drivers have to be asked
version_added: "0.1.0"
author:
  - The vfio.migration authors (@vfio-migration)
description:
  - From what M(vfio.migration.vfio_facts) gathered on all hosts, lists for each host which C(migration_version) strings
    of the other hosts its own nodes have to be asked. This is what M(vfio.migration.compatibility_facts) takes.
  - A string is asked for once per node, however many devices produce it. Answers of earlier runs that still hold are
    not asked for again, so a steady fleet needs no second round.
  - A type is asked the strings of the same vendor and type. A device is asked the strings of all devices of the same
    vendor, but of the devices in use only one for each parent and type.
  - Reads the facts of all hosts at once and untemplated, which takes seconds for thousands of hosts.
  - A host whose facts break their contract is left out; M(vfio.migration.pairings) names it.
options:
  hosts:
    description:
      - Names of the hosts of the fleet. The facts of those that this run does not reach come from the fact cache.
      - The default is all hosts of the play. C(--limit) shrinks those; name the hosts of a group to have all of it.
    type: list
    elements: str
  max_age:
    description:
      - Seconds after which an answer is asked for again, even though neither host nor driver was restarted; 0 or more.
    type: int
    default: 86400
extends_documentation_fragment:
  - vfio.migration.controller
attributes:
  check_mode:
    support: full
    details: It only reads facts.
seealso:
  - module: vfio.migration.vfio_facts
  - module: vfio.migration.compatibility_facts
  - module: vfio.migration.pairings
  - plugin: vfio.migration.probe_requests
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Find out what the drivers have not been asked yet
  vfio.migration.probe_requests:
    hosts: "{{ groups['hypervisors'] }}"
  run_once: true
  register: probe

- name: Ask the drivers
  vfio.migration.compatibility_facts:
    requests: "{{ probe.requests[inventory_hostname] }}"
  become: true
  when: inventory_hostname in probe.requests
"""

RETURN = r"""
requests:
  description: For each host that has to be asked anything, its list of requests. Other hosts are not in it.
  returned: success
  type: dict
  sample:
    hv2:
      - scope: type
        parent: "0000:3b:00.0"
        type: i915-GVTg_V5_4
        device: null
        string: 8086-591d-GVTg_V5_4-00000001
        vendor: pci:8086
        source_type: i915-GVTg_V5_4
hosts:
  description: The hosts that have to be asked anything.
  returned: success
  type: list
  elements: str
count:
  description: Number of requests of all hosts; each of them is one write on its host.
  returned: success
  type: int
covered:
  description: Whether nothing has to be asked, since the answers of the last run cover the fleet.
  returned: success
  type: bool
"""
