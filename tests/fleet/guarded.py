# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet is a directory and the process that guards it: how they begin, and how they end.

The guard is called with ``--directory``. In there it writes its process id to ``guard.pid`` and what it has to say to
``log``; on its standard output it says one line of JSON when it is ready, or ``{"error": "..."}``.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t

STOP_SECONDS = 20.0

Remove = t.Callable[[pathlib.Path], None]
"""Removes a fleet's directory, as far as that is possible."""


class FleetError(Exception):
    """The fleet could not do what it was asked."""


def remove_tree(directory: pathlib.Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def new_directory(directory: pathlib.Path | None) -> pathlib.Path:
    """The one that is wanted, or one of its own. Raises FleetError."""
    if directory is None:
        return pathlib.Path(tempfile.mkdtemp(prefix="vfio-fleet-"))
    if directory.exists():
        raise FleetError(f"{directory} is there already: give another directory, or end the fleet in it with down.")
    directory.mkdir(parents=True)
    return directory.resolve()


def launch(module: str, directory: pathlib.Path, words: t.Sequence[str], remove: Remove = remove_tree) -> None:
    """Start ``python -m MODULE serve`` as the guard and wait until it is ready. Raises FleetError with what it says."""
    command = [sys.executable, "-m", module, "serve", "--directory", str(directory), *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment)
    with process:
        try:
            line = process.stdout.readline() if process.stdout is not None else b""
        except BaseException:
            # Whoever loses patience leaves no fleet behind.
            process.terminate()
            raise
        answer = json.loads(line) if line else {"error": _last_words(directory)}
        if "error" in answer:
            process.wait()
            remove(directory)
            raise FleetError(answer["error"])
        # The guard lives on: leaving the block must not wait for it.
        process.wait = lambda timeout=None: 0  # type: ignore[method-assign]  # noqa: ARG005


def _last_words(directory: pathlib.Path) -> str:
    with contextlib.suppress(OSError, IndexError):
        return (directory / "log").read_text().strip().splitlines()[-1]
    return "The fleet ended before it was ready."


def stop(directory: pathlib.Path, remove: Remove = remove_tree) -> None:
    """End a fleet and wait until nothing of it is left; clean up after one that was killed. Raises FleetError."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((directory / "guard.pid").read_text())
        if _is_guard(pid, directory):
            os.kill(pid, signal.SIGTERM)
            end = time.monotonic() + STOP_SECONDS
            while _is_guard(pid, directory) and time.monotonic() < end:
                time.sleep(0.02)
    remove(directory)
    if directory.exists():
        raise FleetError(f"{directory} could not be removed: see which process is still in it, end it, run down again.")


def _is_guard(pid: int, directory: pathlib.Path) -> bool:
    with contextlib.suppress(OSError):
        return os.fsencode(directory) in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
