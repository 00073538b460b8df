# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop a fleet from a program: ``with simulated_fleet("small") as fleet: ...``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import typing as t

import yaml

from . import inplace, namespace
from .control import FleetClient, FleetError
from .daemon import remove_directory

LIFETIME = 4 * 3600.0
STOP_SECONDS = 20.0
START_SECONDS = 120.0


@dataclasses.dataclass(frozen=True)
class HostAccess:
    """Where one host's trees are seen from here."""

    name: str
    sysfs_root: pathlib.Path
    proc_root: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Fleet:
    """A running fleet."""

    directory: pathlib.Path
    client: FleetClient

    @property
    def inventory(self) -> pathlib.Path:
        """Ansible inventory with the group ``hypervisors``."""
        return self.directory / "inventory.yml"

    @property
    def mount(self) -> pathlib.Path:
        """Where the trees of all hosts are mounted."""
        return self.directory / "mnt"

    def host(self, name: str) -> HostAccess:
        """One host's roots."""
        return HostAccess(name, self.mount / name / "sys", self.mount / name / "proc")

    def run(self, host: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on a namespace host, without SSH."""
        return subprocess.run(self.inside(host, *command), capture_output=True, text=True, check=False, timeout=60)

    def inside(self, host: str, *command: str) -> list[str]:
        """The words that run a command on a namespace host, without SSH."""
        return namespace.enter(self.client("host_pid", host=host)) + list(command)


def start(
    scenario: str | pathlib.Path | dict[str, t.Any],
    *,
    reach: str = "in_place",
    owner: int | None = None,
    lifetime: float = LIFETIME,
    directory: pathlib.Path | None = None,
) -> Fleet:
    """Start a fleet; raise FleetError with one clear sentence when that is impossible."""
    problem = inplace.missing() or (namespace.missing() if reach == "namespace" else None)
    if problem is not None:
        raise FleetError(problem)
    directory = _directory(directory)
    if isinstance(scenario, dict):
        (directory / "scenario.yml").write_text(json.dumps(scenario))
        scenario = directory / "scenario.yml"
    words = [
        sys.executable,
        "-m",
        __package__ or "",
        "serve",
        "--directory",
        str(directory),
        "--scenario",
        str(scenario),
    ]
    words += ["--reach", reach, "--lifetime", str(lifetime)] + ([] if owner is None else ["--owner-pid", str(owner)])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment)
    with process:
        line = process.stdout.readline() if process.stdout is not None else b""
        answer = json.loads(line) if line else {"error": _last_words(directory)}
        if "error" in answer:
            process.wait()
            remove_directory(directory)
            raise FleetError(answer["error"])
        # The guard lives on: leaving the block must not wait for it.
        process.wait = lambda timeout=None: 0  # type: ignore[method-assign]  # noqa: ARG005
    return Fleet(directory, FleetClient(directory / "control.sock"))


def _directory(directory: pathlib.Path | None) -> pathlib.Path:
    if directory is None:
        return pathlib.Path(tempfile.mkdtemp(prefix="vfio-fleet-"))
    if directory.exists():
        raise FleetError(f"{directory} is there already: give another directory, or end the fleet in it with down.")
    directory.mkdir(parents=True)
    return directory.resolve()


def _last_words(directory: pathlib.Path) -> str:
    with contextlib.suppress(OSError, IndexError):
        return (directory / "log").read_text().strip().splitlines()[-1]
    return "The simulated fleet ended before it was ready."


def stop(directory: pathlib.Path) -> None:
    """End a fleet and wait until nothing of it is left; clean up after one that was killed."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((directory / "guard.pid").read_text())
        if _is_guard(pid, directory):
            os.kill(pid, signal.SIGTERM)
            end = time.monotonic() + STOP_SECONDS
            while _is_guard(pid, directory) and time.monotonic() < end:
                time.sleep(0.02)
    remove_directory(directory)
    if directory.exists():
        raise FleetError(f"{directory} could not be removed: see which process is still in it, end it, run down again.")


def _is_guard(pid: int, directory: pathlib.Path) -> bool:
    with contextlib.suppress(OSError):
        return os.fsencode(directory) in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@contextlib.contextmanager
def simulated_fleet(
    scenario: str | pathlib.Path | dict[str, t.Any], *, reach: str = "in_place", **options: t.Any
) -> t.Iterator[Fleet]:
    """A fleet for the length of a ``with`` block; it ends with this process, however that ends."""
    fleet = start(scenario, reach=reach, owner=os.getpid(), **options)
    try:
        yield fleet
    finally:
        fleet.client.close()
        stop(fleet.directory)


def hosts(fleet: Fleet) -> dict[str, dict[str, t.Any]]:
    """Host variables of the fleet's inventory."""
    data = yaml.safe_load(fleet.inventory.read_text())
    return t.cast("dict[str, dict[str, t.Any]]", data["hypervisors"]["hosts"])
