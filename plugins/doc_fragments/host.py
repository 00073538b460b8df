# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that all modules for hosts share; module_utils/_host.py checks them."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  sysfs_root:
    description:
      - Folder where the host's sysfs is mounted.
      - Leave it alone unless the module runs in a container that sees the host's sysfs somewhere else.
    type: path
    default: /sys
  proc_root:
    description:
      - Folder where the host's C(/proc) is mounted. The boot id and the processes that hold a device come from there.
      - In a container this must be the host's, or every device looks unused.
      - The files of libvirt's domains are looked for where the host's first process sees them, in C(1/root) below this
        folder, unless this is C(/proc). That takes the right to trace processes (C(CAP_SYS_PTRACE)).
    type: path
    default: /proc
  read_timeout:
    description:
      - Seconds to wait for one node, for a read or a write.
      - A driver that has not answered by then counts as hung. Its other nodes are skipped, so it costs this time once,
        and the rest of the host is still reported.
      - Lists and links that no driver has a part in have ten seconds at least, because without them a busy host would
        be lost as a whole.
      - Raise it only if a healthy driver is reported as hung.
    type: float
    default: 2.0
  deadline:
    description:
      - Seconds for the whole host. What was not reached by then is V(unknown) with reason V(deadline).
      - Raise it for hosts with hundreds of virtual functions if that reason shows up in the notes.
    type: float
    default: 30.0
  device_attribute:
    description:
      - Where a VFIO device that is not mediated keeps its C(migration_version), below O(sysfs_root).
      - V({bus}) stands for the bus (V(pci)) and V({address}) for the device's address on it.
      - No kernel fixes this path. Change it if the driver's vendor names another one.
    type: str
    default: bus/{bus}/devices/{address}/migration_version
"""
