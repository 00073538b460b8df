#!/usr/bin/python
# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vfio_facts
short_description: Gather what a host's sysfs says about its VFIO devices and their migration
version_added: 0.1.0
author: The vfio.migration authors (@vfio-migration)
description:
  - Reads mdev parents of every kind, their types, mediated devices, and other devices bound to a VFIO driver.
  - Reads C(migration_version) at all three locations, under the mdev type, under the mediated device, and under a
    VFIO device that is not mediated. The strings are opaque and come out byte for byte.
  - Names the processes that hold a device open, and for QEMU the VM. VMs that do not run, their names and their devices
    come from libvirt, if the host has it, see O(libvirt_uri).
  - A driver that does not answer costs O(read_timeout) once. The host still reports, within O(deadline), and the note
    tells which node hung.
  - Works without root as far as permissions allow. What could not be seen is listed in
    RV(ansible_facts.vfio_migration.notes).
options:
  libvirt_uri:
    description:
      - Which libvirt to ask for its VMs, through a read-only connection, with the Python binding (C(python3-libvirt))
        of the host. It has to answer within a few seconds.
      - The files below C(/etc/libvirt/qemu) and C(/run/libvirt/qemu) are read in any case. For root they say the same
        as V(qemu:///system), so a host without the binding is missing nothing.
      - A libvirt that cannot be asked costs a note in RV(ansible_facts.vfio_migration.notes), and never the host. There
        is no note on a host without libvirt.
      - An empty string asks none.
    type: str
    default: qemu:///system
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - ansible.builtin.action_common_attributes.facts
  - vfio.migration.host
attributes:
  check_mode:
    support: full
    details: Reading is all this module ever does.
  diff_mode:
    support: none
  facts:
    support: full
  platform:
    support: full
    platforms: linux
seealso:
  - module: vfio.migration.compatibility_facts
  - name: Kernel documentation of VFIO mediated devices
    description: What parents, types and devices are, and how sysfs shows them.
    link: https://docs.kernel.org/driver-api/vfio-mediated-device.html
"""

EXAMPLES = r"""
- name: See what the host can migrate
  vfio.migration.vfio_facts:
  become: true

- name: Read a host whose sysfs is mounted elsewhere, with little patience
  vfio.migration.vfio_facts:
    sysfs_root: /host/sys
    proc_root: /host/proc
    read_timeout: 0.5
    deadline: 10

- name: Name the VMs of another libvirt
  vfio.migration.vfio_facts:
    libvirt_uri: qemu:///session

- name: Show what could not be seen, and why
  ansible.builtin.debug:
    var: ansible_facts.vfio_migration.notes
"""

RETURN = r"""
ansible_facts:
  description: Facts to add to ansible_facts.
  returned: always
  type: dict
  contains:
    vfio_migration:
      description: The snapshot of this host.
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
          description: Changes with every boot; null when C(/proc) does not say.
          type: str
          returned: always
        kernel:
          description: Release of the running kernel.
          type: str
          returned: always
          sample: 6.12.41-amd64
        page_size:
          description: Bytes of a memory page, the limit of every sysfs attribute.
          type: int
          returned: always
          sample: 4096
        time:
          description: When the host was read, in UTC, by the clock of the controller.
          type: str
          returned: always
          sample: '2026-03-01T03:00:00Z'
        parents:
          description:
            - Devices that offer mdev types, each with RV(ignore:address), path below sysfs, subsystem, vendor identity,
              driver and its version, NUMA node, hardware names, types, and state (V(ok), V(gone), V(hung), or
              V(unknown) where its vendor or its types could not be read).
            - Each type has RV(ignore:id), name, description, C(device_api), C(available_instances) (null when unknown)
              and C(migration_version). Numbers of sibling types share one capacity and must never be added.
          type: list
          elements: dict
          returned: always
        devices:
          description: Mediated devices (kind V(mdev)) and other VFIO devices (kind V(vfio)).
          type: list
          elements: dict
          returned: always
          contains:
            id:
              description: UUID, or address on the bus.
              type: str
              returned: always
            kind:
              description: V(mdev) or V(vfio).
              type: str
              returned: always
            path:
              description: Its directory, below the sysfs root.
              type: str
              returned: always
            bus:
              description: Bus that it is on, V(mdev) for a mediated device.
              type: str
              returned: always
            parent:
              description: Address of the parent of a mediated device.
              type: str
              returned: always
            type:
              description: mdev type, null when it is not known (yet).
              type: str
              returned: always
            vendor:
              description:
                - Vendor identity of who answers for it, the parent of a mediated device or itself (V(pci:8086)).
                  Null when it could not be read.
              type: str
              returned: always
            driver:
              description: Driver that answers for it, that of the parent for a mediated device.
              type: str
              returned: always
            driver_version:
              description: Version of that driver, else a checksum of its sources, else null.
              type: str
              returned: always
            numa_node:
              description: NUMA node, null when there is none.
              type: int
              returned: always
            hardware:
              description: Names of vendor and model in the hardware database of udev, null without pyudev.
              type: dict
              returned: always
            iommu_group:
              description: Number of the IOMMU group.
              type: int
              returned: always
            in_use_by:
              description:
                - Processes that hold it, and libvirt domains that name it, whether they run or not; empty when nobody
                  does, null when that could not be found out.
                - C(pid) is null for a domain that does not run, C(command) is then C(libvirt domain) with its name, and
                  C(workload) its UUID.
              type: list
              elements: dict
              returned: always
            migration_version:
              description:
                - What the node said. C(status) is V(ok), V(unsupported), V(unknown) or V(invalid), C(value) the exact
                  string, C(reason) and C(errno) say why there is none, C(raw) holds invalid bytes as base64.
              type: dict
              returned: always
        workloads:
          description:
            - VMs with their devices, and other processes that hold one. The same VM is there once, whether libvirt,
              C(/proc) or both know of it.
          type: list
          elements: dict
          returned: always
          contains:
            id:
              description: UUID of the VM, else its name, else V(pid:) and the number of the process.
              type: str
              returned: always
            kind:
              description: V(qemu) for a VM, V(process) for anything else.
              type: str
              returned: always
            name:
              description: Name of the VM, null when it has none.
              type: str
              returned: always
            uuid:
              description: UUID of the VM, null when it has none.
              type: str
              returned: always
            pid:
              description: Its process, null when none was seen.
              type: int
              returned: always
            state:
              description: V(running), or V(inactive) for a VM that libvirt has defined and that does not run.
              type: str
              returned: always
            devices:
              description:
                - What it has now, of an inactive VM what it will have when it starts; only devices of this host.
              type: list
              elements: str
              returned: always
        notes:
          description:
            - Every item that was dropped or is unknown, with a reason code and a sentence. Reason V(libvirt) says why
              libvirt could not be asked, V(domain_file) which file of a domain could not be read, V(missing_device)
              which VM names an mdev that is not there.
          type: list
          elements: dict
          returned: always
"""


from ansible.module_utils.basic import AnsibleModule

from ansible_collections.vfio.migration.plugins.module_utils import _host
from ansible_collections.vfio.migration.plugins.module_utils._guard import WorkerError
from ansible_collections.vfio.migration.plugins.module_utils._inventory import snapshot
from ansible_collections.vfio.migration.plugins.module_utils._libvirt import DEFAULT_URI
from ansible_collections.vfio.migration.plugins.module_utils._reader import HostError


def main() -> None:
    spec = dict(_host.ARGUMENTS, libvirt_uri={"type": "str", "default": DEFAULT_URI})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    try:
        facts = snapshot(_host.options(module.params))
    except (ValueError, HostError, WorkerError) as exc:
        module.fail_json(msg="vfio.migration.vfio_facts: %s" % exc)
    module.exit_json(changed=False, ansible_facts={"vfio_migration": facts})


if __name__ == "__main__":
    main()
