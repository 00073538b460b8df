# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few system calls that the standard library does not have."""

from __future__ import annotations

import ctypes
import os
import pathlib
import signal
import subprocess

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Be killed when the parent ends, however it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def unmount(path: pathlib.Path) -> None:
    """Take a mount out of sight at once; whoever is inside keeps it until he leaves."""
    if _libc.umount2(os.fsencode(path), MNT_DETACH) != 0 and os.geteuid() != 0:
        subprocess.run(["fusermount3", "-u", "-z", str(path)], check=False, capture_output=True)


def mounted(path: pathlib.Path) -> bool:
    """Whether something is mounted exactly there, dead or alive."""
    lines = pathlib.Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    return any(line.split()[4] == str(path) for line in lines)
