#!/usr/bin/python
# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compatibility_facts
short_description: Ask a host's drivers whether they accept devices of other hosts
version_added: 0.1.0
author: The vfio.migration authors (@vfio-migration)
description:
  - Writes each string once to the C(migration_version) node it is meant for. The driver accepts the write if, and only
    if, a device that produced the string may migrate there.
  - Writing to the node is a question; it changes nothing on the host. Root is needed, because the kernel lets nobody
    else write there.
  - There are three answers, V(compatible), V(incompatible) and V(unknown), each but the first with a reason.
  - A source of another vendor, or at a type node of another type, is incompatible without a write.
  - Verdicts of an earlier run that this run did not ask again are kept, as long as the host has not been rebooted.
options:
  requests:
    description:
      - What to ask. The filter and the action P(vfio.migration.probe_requests#filter) make this list for a whole fleet.
    type: list
    elements: dict
    required: true
    suboptions:
      scope:
        description: V(type) asks the node of an mdev type, V(device) that of an existing device.
        type: str
        choices: [type, device]
        required: true
      parent:
        description:
          - Address of the parent, needed for scope V(type), in quotes. YAML takes V(0000:00:02.0) for a
            number, which is refused.
        type: raw
      type:
        description: Id of the mdev type, needed for scope V(type).
        type: raw
      device:
        description: UUID or bus address of the device, needed for scope V(device), in quotes.
        type: raw
      string:
        description:
          - The source's string, byte for byte, without the newline that ended it. It has to be text; a YAML number or
            boolean is refused.
        type: raw
        required: true
      vendor:
        description: Vendor identity of the source, as in the snapshot (V(pci:8086)).
        type: str
        required: true
      source_type:
        description: mdev type of the source, for scope V(type).
        type: raw
  max_writes:
    description:
      - Most writes in one run, as a guard for hosts whose driver logs every question. What is left out is V(unknown)
        with reason V(write_limit), and is asked by the next run.
    type: int
    default: 10000
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - ansible.builtin.action_common_attributes.facts
  - vfio.migration.host
attributes:
  check_mode:
    support: full
    details: Nothing is written. RV(ansible_facts.vfio_migration_verdicts.would_write) lists what would be.
  diff_mode:
    support: none
  facts:
    support: full
  platform:
    support: full
    platforms: linux
seealso:
  - module: vfio.migration.vfio_facts
  - plugin: vfio.migration.probe_requests
    plugin_type: filter
  - plugin: vfio.migration.pairings
    plugin_type: filter
"""

EXAMPLES = r"""
- name: May an instance with this string move to this parent?
  vfio.migration.compatibility_facts:
    requests:
      - scope: type
        parent: '0000:3b:00.0'
        type: i915-GVTg_V5_4
        string: 8086-591d-GVTg_V5_4-00000001
        vendor: pci:8086
        source_type: i915-GVTg_V5_4
  become: true

- name: Show the answers
  ansible.builtin.debug:
    var: ansible_facts.vfio_migration_verdicts.verdicts
"""

RETURN = r"""
ansible_facts:
  description: Facts to add to ansible_facts.
  returned: always
  type: dict
  contains:
    vfio_migration_verdicts:
      description: What the drivers of this host answered.
      returned: always
      type: dict
      contains:
        schema_version:
          description: Version of this structure.
          type: int
          returned: always
          sample: 1
        host:
          description: Name the host gives itself.
          type: str
          returned: always
        boot_id:
          description: Boot in which the questions were asked.
          type: str
          returned: always
        time:
          description: When, in UTC.
          type: str
          returned: always
        written:
          description: Distinct strings that reached a node in this run.
          type: int
          returned: always
        would_write:
          description: In check mode the requests that would be written, else empty.
          type: list
          elements: dict
          returned: always
        verdicts:
          description: One for each distinct request, of this run and of earlier ones that still hold.
          type: list
          elements: dict
          returned: always
          contains:
            scope:
              description: Which kind of node was asked, V(type) or V(device).
              type: str
              returned: always
            parent:
              description: Parent of the node that was asked.
              type: str
              returned: always
            type:
              description: mdev type of the node that was asked.
              type: str
              returned: always
            device:
              description: Device whose node was asked, null for a type node.
              type: str
              returned: always
            string:
              description: The string of the source.
              type: str
              returned: always
            vendor:
              description: Vendor identity of the source.
              type: str
              returned: always
            source_type:
              description: mdev type of the source.
              type: str
              returned: always
            verdict:
              description: V(compatible), V(incompatible) or V(unknown).
              type: str
              returned: always
            reason:
              description: Stable code, null when compatible.
              type: str
              returned: always
            errno:
              description:
                - Name of the errno that the write gave. Drivers choose it freely, so it explains nothing; the kernel
                  log of the host may.
              type: str
              returned: always
            bytes_written:
              description: Count that the kernel returned, 0 when it refused, null when nothing was written.
              type: int
              returned: always
            form:
              description: V(without_newline) when the string was written, else null.
              type: str
              returned: always
            evidence:
              description: Boot, driver, its version and the time for which the verdict holds.
              type: dict
              returned: always
        notes:
          description: What could not be asked, and why.
          type: list
          elements: dict
          returned: always
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.vfio.migration.plugins.module_utils import _host
from ansible_collections.vfio.migration.plugins.module_utils._guard import WorkerError
from ansible_collections.vfio.migration.plugins.module_utils._probe import parse_requests, request_errors, verdicts

NAME = "vfio.migration.compatibility_facts"


def main() -> None:
    module = AnsibleModule(argument_spec=_arguments(), supports_check_mode=True)
    requests = parse_requests(module.params["requests"])
    errors = request_errors(requests)
    if module.params["max_writes"] < 0:
        errors.append("max_writes must not be negative")
    if errors:
        module.fail_json(msg="%s: nothing was asked: %s" % (NAME, "; ".join(errors)), errors=errors)
    try:
        options = _host.options(module.params)
        facts = verdicts(options, requests, module.params["max_writes"], module.check_mode)
    except (ValueError, WorkerError) as exc:
        module.fail_json(msg="%s: %s" % (NAME, exc), errors=[str(exc)])
    module.exit_json(changed=False, ansible_facts={"vfio_migration_verdicts": facts})


def _arguments() -> t.Dict[str, t.Any]:
    # Not str: that would turn an unquoted 0x10 of a playbook into another string without a word.
    exact = {"type": "raw"}
    return dict(
        _host.ARGUMENTS,
        requests={
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "scope": {"type": "str", "choices": ["type", "device"], "required": True},
                "parent": exact,
                "type": exact,
                "device": exact,
                "string": dict(exact, required=True),
                "vendor": {"type": "str", "required": True},
                "source_type": exact,
            },
        },
        max_writes={"type": "int", "default": 10000},
    )


if __name__ == "__main__":
    main()
