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
import subprocess
import typing as t

import yaml

from ansible_collections.vfio.migration.tests.fleet import guarded
from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError

from . import inplace, namespace
from .control import FleetClient
from .daemon import remove_directory

LIFETIME = 4 * 3600.0


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
    directory = guarded.new_directory(directory)
    if isinstance(scenario, dict):
        (directory / "scenario.yml").write_text(json.dumps(scenario))
        scenario = directory / "scenario.yml"
    words = ["--scenario", str(scenario), "--reach", reach, "--lifetime", str(lifetime)]
    words += [] if owner is None else ["--owner-pid", str(owner)]
    guarded.launch(__package__ or "", directory, words, remove_directory)
    return Fleet(directory, FleetClient(directory / "control.sock"))


def stop(directory: pathlib.Path) -> None:
    """End a fleet and wait until nothing of it is left; clean up after one that was killed."""
    guarded.stop(directory, remove_directory)


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
