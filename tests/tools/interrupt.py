# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command and kill it with all of its children at a given moment: ``interrupt WHEN COMMAND...``.

The moment is when the command ``WHEN``, which is asked again and again, succeeds. To end before it is a failure: then
nothing was interrupted.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time

PATIENCE = 120.0
"""Seconds until the moment has to come."""


def interrupt(when: list[str], command: list[str]) -> str | None:
    """Null, or why it could not be killed at that moment."""
    end = time.monotonic() + PATIENCE
    running = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
    try:
        while subprocess.run(when, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode:
            if running.poll() is not None:
                return f"it ended by itself with {running.returncode} before the moment came"
            if time.monotonic() > end:
                return f"the moment did not come within {PATIENCE:.0f} s"
        if running.poll() is not None:
            return f"it ended by itself with {running.returncode} just before it could be killed"
        return None
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def main(when: str, *command: str) -> int:
    problem = interrupt(shlex.split(when), list(command))
    if problem:
        print(f"interrupt: {shlex.join(command)}: {problem}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
