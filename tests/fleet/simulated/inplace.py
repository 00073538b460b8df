# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts in place: a sub-directory of the mount each, inventoried over connection local."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
import typing as t

FUSE_DEVICE = pathlib.Path("/dev/fuse")


def missing() -> str | None:
    """One sentence on what keeps this user from mounting a FUSE file system, or None."""
    if not FUSE_DEVICE.exists():
        return "There is no /dev/fuse here: load the module fuse (modprobe fuse), or give the container that device."
    if not os.access(FUSE_DEVICE, os.R_OK | os.W_OK):
        return "This user may not open /dev/fuse: ask for read and write permission on it, or run as root."
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        return "fusermount3 is missing, without which only root can mount: install the package fuse3."
    try:
        import mfusepy  # noqa: F401 - only asked whether it is there
    except ImportError:
        return "The Python library mfusepy is missing: install it with pip install mfusepy."
    except OSError as error:
        return f"mfusepy finds no libfuse ({error}): install the package fuse3 or libfuse3."
    return None


def host_vars(mount: pathlib.Path, host: str) -> dict[str, t.Any]:
    """Inventory variables of one host in place."""
    return {
        "ansible_connection": "local",
        "ansible_become": False,  # the user who started the fleet plays root
        "ansible_python_interpreter": sys.executable,
        "vfio_migration_sysfs_root": str(mount / host / "sys"),
        "vfio_migration_proc_root": str(mount / host / "proc"),
        "vfio_migration_ledger": str(mount.parent / "ledgers" / host),
    }
