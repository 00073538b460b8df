#!/usr/bin/python
# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain_xml
short_description: Write the domain XML that VMs shall have on their target
version_added: 0.1.0
author: The vfio.migration authors (@vfio-migration)
description:
  - Takes the XML of VMs from libvirt on the host that they leave, puts the UUIDs of the mediated devices of their
    target in the place of their own, and writes one file a VM on that same host. Nothing else is changed, byte for
    byte.
  - The file is for C(virsh migrate --xml), and for C(--persistent-xml) where the target keeps the VM.
  - Libvirt validates the result against its schema, in its test driver, which keeps everything in memory. Where this
    libvirt has none, the file is written all the same, and the result says so.
  - The VM itself is not touched. Only reading needs more than a read-only connection, because the passwords of the VM
    (VNC, say) migrate with it. They are in the file, so only its owner may read it. Remove it after the migration.
  - What is wrong with one VM is told for that VM. The task fails only if its own options are wrong.
requirements:
  - libvirt's Python binding (C(python3-libvirt)) on the host
options:
  domains:
    description: The VMs.
    type: list
    elements: dict
    required: true
    suboptions:
      workload:
        description: UUID of the VM, or its name in libvirt.
        type: str
        required: true
      mdevs:
        description: All of its mediated devices that get another UUID on the target.
        type: list
        elements: dict
        required: true
        suboptions:
          source:
            description: UUID on this host.
            type: str
            required: true
          target:
            description: UUID on the target.
            type: str
            required: true
  dest:
    description:
      - Folder on the host, which is created if it is missing. Each file is named after its VM's UUID, with C(.xml) at
        the end.
    type: path
    required: true
  libvirt_uri:
    description: The libvirt that runs the VMs.
    type: str
    default: qemu:///system
  timeout:
    description: Seconds that libvirt has for each VM.
    type: float
    default: 10.0
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: Reads from libvirt and validates as usual, and writes no file.
  diff_mode:
    support: none
    details: The XML holds passwords.
  platform:
    support: full
    platforms: linux
seealso:
  - module: vfio.migration.vfio_facts
  - module: vfio.migration.plan_results
"""

EXAMPLES = r"""
- name: Write what web2 is to be on its target
  vfio.migration.domain_xml:
    domains:
      - workload: aaaaaaaa-0000-4000-8000-000000000003
        mdevs:
          - source: 22222222-0000-4000-8000-000000000001
            target: eeeeeeee-0000-4000-8000-000000000001
    dest: /root/migration
  become: true
  register: written

- name: Show the files
  ansible.builtin.debug:
    msg: "{{ written.domains | map(attribute='path') }}"
"""

RETURN = r"""
domains:
  description: What became of each VM, in the order of the option.
  returned: success
  type: list
  elements: dict
  contains:
    workload:
      description: As given.
      type: str
      returned: always
    ok:
      description: Whether there is a file.
      type: bool
      returned: always
    path:
      description: The file, null when there is none.
      type: str
      returned: always
    changed:
      description: Whether the file was written, or in check mode would be.
      type: bool
      returned: always
    validated:
      description: Whether libvirt found the XML valid.
      type: bool
      returned: always
    reason:
      description:
        - Null when all is well. V(no_binding), V(nobody), V(denied), V(hung) and V(refused) say why libvirt could not
          be asked, V(no_domain) that it does not know the VM, V(devices) that the VM does not have these devices (or
          names one where it cannot be replaced), V(invalid) that libvirt refuses the result, V(unwritable) that the
          file could not be written. With V(not_validated) there is a file.
      type: str
      returned: always
    msg:
      description: The reason in one sentence, null when all is well.
      type: str
      returned: always
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.vfio.migration.plugins.module_utils._domain_xml import parse, write
from ansible_collections.vfio.migration.plugins.module_utils._libvirt import DEFAULT_URI

NAME = "vfio.migration.domain_xml"


def main() -> None:
    module = AnsibleModule(argument_spec=_arguments(), supports_check_mode=True)
    params = module.params
    wishes, errors = parse(params["domains"])
    if not os.path.isabs(params["dest"]):
        errors.append("dest must be an absolute path, not %r" % params["dest"])
    if not 0 < params["timeout"] < float("inf"):
        errors.append("timeout must be a number of seconds above 0, not %r" % params["timeout"])
    if errors:
        module.fail_json(msg="%s: nothing was written: %s" % (NAME, "; ".join(errors)), errors=errors)
    domains = write(wishes, params["dest"], params["libvirt_uri"], params["timeout"], module.check_mode)
    module.exit_json(changed=any(one["changed"] for one in domains), domains=domains)


def _arguments() -> t.Dict[str, t.Any]:
    needed = {"type": "str", "required": True}
    mdevs = {"type": "list", "elements": "dict", "required": True, "options": {"source": needed, "target": needed}}
    domain = {"workload": needed, "mdevs": mdevs}
    return {
        "domains": {"type": "list", "elements": "dict", "required": True, "options": domain},
        "dest": {"type": "path", "required": True},
        "libvirt_uri": {"type": "str", "default": DEFAULT_URI},
        "timeout": {"type": "float", "default": 10.0},
    }


if __name__ == "__main__":
    main()
