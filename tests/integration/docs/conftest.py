# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a reader of the documentation sits: a folder with an inventory, a simulated fleet behind it, and a shell."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import typing as t

import pytest
import yaml

from ansible_collections.vfio.migration.tests.fleet.simulated import inplace
from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet
from ansible_collections.vfio.migration.tests.tools import packaging, setup

SCENARIOS = setup.ROOT / "tests" / "fleet" / "simulated" / "scenarios"
collect_ignore = [] if inplace.missing() is None else ["test_commands.py"]


def pytest_report_header() -> str:
    """Say what a machine lacks."""
    return f"fleet for the commands: {inplace.missing() or 'hosts in place'}"


def scenario() -> dict[str, t.Any]:
    """The six hosts of the demo, but for drivers that hang or lie: the documentation tells of good days, too."""
    found: dict[str, t.Any] = yaml.safe_load((SCENARIOS / "small.yml").read_text())
    for host in found["hosts"].values():
        host.pop("faults", None)
        for parent in host.get("parents", {}).values():
            if parent.get("rule") == "lying":
                parent["rule"] = "older_minor_accepted"
    return found


class Desk:
    """Runs what a document says, in its order."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.kept = ""
        """Variables of the shell that earlier commands set."""
        self._running = contextlib.ExitStack()
        self.renew()

    def renew(self) -> None:
        """A fleet to which nothing has happened yet, and nothing known of it."""
        self._running.close()
        self.fleet: Fleet = self._running.enter_context(simulated_fleet(scenario()))
        hosts = yaml.safe_load(self.fleet.inventory.read_text())
        for host in hosts["hypervisors"]["hosts"].values():
            host["spare"] = {"cpus": 16, "memory": 65536}
        hosts["maintenance"] = {"hosts": {"hv2": None}}
        (self.folder / "inventory.yml").write_text(yaml.safe_dump(hosts))
        for cached in (self.folder / "facts").glob("*"):
            cached.unlink()

    def close(self) -> None:
        self._running.close()

    def environment(self) -> dict[str, str]:
        tools = os.pathsep.join([os.environ["PATH"], str(packaging.tools("execution") / "bin")])
        return {
            **os.environ,
            "PATH": tools,
            "HOME": str(self.folder / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(setup.TREE),
            "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.folder / "facts"),
            "ANSIBLE_NOCOLOR": "1",
        }

    def shell(self, command: str, cwd: pathlib.Path | None = None, fails: bool = False) -> str:
        """Run a command and return all it says; it has to end well, or to fail where that is what it is shown for."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.kept + command],
            cwd=cwd or self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        assert (done.returncode != 0) == fails, f"{command}\n{done.stdout[-6000:]}"
        return done.stdout


@pytest.fixture
def desk(tmp_path: pathlib.Path) -> t.Iterator[Desk]:
    (tmp_path / "home").mkdir()
    shown = Desk(tmp_path)
    try:
        yield shown
    finally:
        shown.close()
