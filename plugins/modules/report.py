#!/usr/bin/python
# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: report
short_description: Show how ready a fleet is, and write it as HTML, Markdown and JSON
version_added: "0.1.0"
author:
  - The vfio.migration authors (@vfio-migration)
description:
  - Reads the matrix that M(vfio.migration.pairings) wrote and judges every device and every VM.
    It can leave its host now, a driver elsewhere accepts it but there is no room, it is unknown, or it is blocked.
  - Prints a summary for a person, with the reason in one sentence for all that is not ready.
  - Writes snapshots, verdicts, pairings and the judgement of every device to one JSON file, if O(dest) is given.
    It has the keys of the pairings, and C(summary), C(devices), C(workloads), C(drains), C(capacity), C(plan) and
    C(facts) besides; C(docs/schemas/report.schema.json) of the collection is its JSON schema.
  - Writes the same as one HTML file to look at, if O(html) is given, and in short as Markdown for a ticket, if
    O(markdown) is given.
  - Fails only if asked to, see O(fail_on).
  - Names and strings that come from hosts are escaped and shortened in the text. The file holds them unchanged.
options:
  pairings:
    description:
      - What M(vfio.migration.pairings) returned, or the path of the file on the controller that it, or O(dest), wrote.
      - A file that O(dest) wrote brings the facts of its hosts, and its plan where O(plan) names no other. Else the
        facts are those of this run or of the fact cache.
    type: raw
    required: true
  dest:
    description:
      - Path on the controller of the JSON file to write. Its folder has to exist.
      - The file is replaced in one step, so a reader never sees half of it.
    type: path
  html:
    description:
      - Path on the controller of the HTML file to write. Its folder has to exist.
      - The file holds all that it needs and loads nothing, so it may be mailed, attached or opened years later.
      - Whatever hosts say is shown as text. The page's own policy keeps a browser from running anything else than what
        the collection ships.
    type: path
  markdown:
    description:
      - Path on the controller of the Markdown file to write. Its folder has to exist.
      - Long tables are cut, as trackers limit the length of a ticket. What hosts say is shown as code, so it is no
        markup and mentions nobody.
    type: path
  plan:
    description:
      - Plan of an evacuation that the report shall show as well, what M(vfio.migration.evacuation_plan) returned or the
        path of the file on the controller that it wrote.
    type: raw
  fail_on:
    description:
      - Fail, after everything was shown and written, if the fleet meets one of these conditions.
      - V(unreachable), V(excluded) and V(cached) are states of hosts.
        V(blocked), V(unknown) and V(no_room) are states of devices, and of VMs whose devices fit one by one, but not
        all on one host.
        V(findings) is any finding at all, and each other word is one kind of finding.
    type: list
    elements: str
    default: []
    choices:
      - unreachable
      - excluded
      - cached
      - blocked
      - unknown
      - no_room
      - findings
      - uuid_clash
      - inconsistent
      - hung
      - incomplete
      - not_probed
      - expired
      - no_way_back
  show:
    description:
      - Whether to print the summary. Turn it off where standard output has to stay machine readable.
    type: bool
    default: true
extends_documentation_fragment:
  - vfio.migration.controller
notes:
  - It reports no change if the new file differs from the old one only in times, ages, counts of writes and process IDs.
    The file is written then too, so that its times are those of the last run. HTML and Markdown files carry a
    fingerprint of what they say for this comparison.
seealso:
  - module: vfio.migration.pairings
  - plugin: vfio.migration.report
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show how ready the fleet is, and stop the pipeline if a device cannot leave its host
  vfio.migration.report:
    pairings: "{{ playbook_dir }}/pairings.json"
    dest: "{{ playbook_dir }}/readiness.json"
    html: "{{ playbook_dir }}/readiness.html"
    fail_on:
      - blocked
      - uuid_clash
  run_once: true
"""

RETURN = r"""
text:
  description: The summary, line by line; null if it was printed.
  returned: always
  type: list
  elements: str
summary:
  description: The fleet in numbers. The same keys whatever the fleet.
  returned: always
  type: dict
  contains:
    hosts:
      description: Number of hosts in each state.
      type: dict
      returned: always
      sample: {fresh: 5, cached: 0, unreachable: 1, excluded: 0}
    devices:
      description: Number of devices in each state.
      type: dict
      returned: always
      sample: {ready: 7, no_room: 2, unknown: 3, blocked: 1}
    workloads:
      description: Number of VMs in each state.
      type: dict
      returned: always
      sample: {ready: 4, no_room: 1, unknown: 1, blocked: 1}
    findings:
      description: Number of findings of each kind that was found.
      type: dict
      returned: always
      sample: {uuid_clash: 1}
dest:
  description: The file that was written, or would be; null without O(dest).
  returned: always
  type: str
html:
  description: The HTML file that was written, or would be; null without O(html).
  returned: always
  type: str
markdown:
  description: The Markdown file that was written, or would be; null without O(markdown).
  returned: always
  type: str
"""
