# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that all modules for hosts share (documented in doc_fragments/host.py), checked.

This file is private to the collection.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._reader import Options, device_attribute, domain_folders

ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "sysfs_root": {"type": "path", "default": "/sys"},
    "proc_root": {"type": "path", "default": "/proc"},
    "read_timeout": {"type": "float", "default": 2.0},
    "deadline": {"type": "float", "default": 30.0},
    "device_attribute": {"type": "str", "default": "bus/{bus}/devices/{address}/migration_version"},
}


def options(params: t.Mapping[str, t.Any]) -> Options:
    """Options from a module's parameters. Raises ``ValueError`` that names the option and what to do."""
    for name in ("sysfs_root", "proc_root"):
        if not os.path.isabs(params[name]):
            raise ValueError("%s must be an absolute path, not %r" % (name, params[name]))
        if not os.path.isdir(params[name]):
            raise ValueError(
                "%s is not a directory on this host: %s; name the folder where it is mounted" % (name, params[name])
            )
    for name in ("read_timeout", "deadline"):
        if not 0 < params[name] < float("inf"):
            raise ValueError("%s must be a number of seconds above 0, not %r" % (name, params[name]))
    try:
        device_attribute(params["device_attribute"], "pci", "0000:00:00.0")
    except ValueError as exc:
        raise ValueError("device_attribute %r: %s" % (params["device_attribute"], exc)) from None
    uname = os.uname()
    return Options(
        sysfs_root=params["sysfs_root"],
        proc_root=params["proc_root"],
        read_timeout=params["read_timeout"],
        deadline=params["deadline"],
        device_attribute=params["device_attribute"],
        host=uname.nodename,
        kernel=uname.release,
        page_size=os.sysconf("SC_PAGE_SIZE"),
        libvirt_roots=domain_folders(params["proc_root"]),
        libvirt_uri=params.get("libvirt_uri") or "",
    )
