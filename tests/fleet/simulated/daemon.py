# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two processes of a running fleet, and how they end.

The *server* mounts and answers. The *guard* is its parent: it waits for the server, the owner, the lifetime or
SIGTERM, whichever ends first, then kills the server, unmounts, reaps what is left and removes the directory. The
server is always killed, never asked: closing /dev/fuse ends every hung access at once (the kernel aborts the
connection).
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import time
import typing as t

from . import _linux, fs, inventory
from ._reader import ScenarioError
from .control import Commands, ControlServer
from .driver import HostState
from .namespace import NamespaceHosts
from .scenario import Scenario, load
from .tree import host_tree

REAP_SECONDS = 10.0
REAP_STEP = 0.02
WATCH_SECONDS = 1.0


class Report:
    """The one line that whoever started the fleet waits for."""

    def __init__(self) -> None:
        self.descriptor = os.dup(1)

    def __call__(self, **line: t.Any) -> None:
        """Say it, once."""
        with contextlib.suppress(OSError):
            os.write(self.descriptor, json.dumps(line).encode() + b"\n")
            os.close(self.descriptor)


def guard(directory: pathlib.Path, scenario_file: str, reach: str, owner: int | None, lifetime: float) -> int:
    """Run a fleet in ``directory`` until its end."""
    report = Report()
    detach(directory)
    try:
        scenario = load(scenario_file)
        owner_fd = None if owner is None else os.pidfd_open(owner)
    except ScenarioError as error:
        report(error="\n".join(error.errors))
        shutil.rmtree(directory, ignore_errors=True)
        return 1
    except OSError:
        report(error=f"The owner, process {owner}, is gone already.")
        shutil.rmtree(directory, ignore_errors=True)
        return 1
    _linux.adopt_orphans()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    server = os.fork()
    if server == 0:
        _server(directory, scenario, reach, report)
    os.close(report.descriptor)
    try:
        _wait([os.pidfd_open(server)] + ([] if owner_fd is None else [owner_fd]), owner, lifetime)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _clean_up(directory, server)
    return 0


def detach(directory: pathlib.Path) -> None:
    """Go to the background; what is said goes to the log from here."""
    with contextlib.suppress(OSError):
        os.setsid()
    log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    (directory / "guard.pid").write_text(f"{os.getpid()}\n")


def _wait(descriptors: list[int], owner: int | None, lifetime: float) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    end = time.monotonic() + lifetime
    while (left := end - time.monotonic()) > 0:
        if poll.poll(min(left, WATCH_SECONDS) * 1000) or (owner is not None and _doomed(owner)):
            return


def _doomed(owner: int) -> bool:
    """Whether the owner was killed but cannot die: it hangs in this very fleet, which therefore has to go first."""
    for path in pathlib.Path(f"/proc/{owner}/task").glob("*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
            pending = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
            if pending >> (signal.SIGKILL - 1) & 1:
                return True
    return False


def hang_up(directory: pathlib.Path) -> None:
    """End the ssh connections that ControlPersist keeps; without the network they would wait for minutes."""
    for path in directory.glob("cp/*"):
        words = ["ssh", "-F", "none", "-o", f"ControlPath={path}", "-O", "exit", "fleet"]
        subprocess.run(words, check=False, capture_output=True, timeout=5)


def _clean_up(directory: pathlib.Path, server: int) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        hang_up(directory)
    with contextlib.suppress(ProcessLookupError):
        os.kill(server, signal.SIGKILL)
    end = time.monotonic() + REAP_SECONDS
    while time.monotonic() < end:
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if not pid:
            time.sleep(REAP_STEP)
    remove_directory(directory)


def remove_directory(directory: pathlib.Path) -> None:
    """Unmount what is mounted in a fleet's directory and remove it."""
    mount = directory / "mnt"
    if _linux.mounted(mount):
        _linux.unmount(mount)
    if not _linux.mounted(mount):
        shutil.rmtree(directory, ignore_errors=True)


def _server(directory: pathlib.Path, scenario: Scenario, reach: str, report: Report) -> t.NoReturn:
    _linux.die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    status = 1
    try:
        _serve(directory, scenario, reach, report)
        status = 0
    except OSError as error:
        report(error=f"The simulated fleet could not start: {error.strerror or error}; see {directory / 'log'}.")
    finally:
        sys.stderr.flush()
        os._exit(status)


def _serve(directory: pathlib.Path, scenario: Scenario, reach: str, report: Report) -> None:
    mount = directory / "mnt"
    mount.mkdir()
    hosts = {host.name: HostState(host) for host in scenario.hosts}
    spaces = NamespaceHosts(directory, hosts) if reach == "namespace" else None
    commands = Commands(hosts, spaces.commands() if spaces is not None else None)
    control = ControlServer(directory / "control.sock", commands)

    def ready() -> None:
        control.start()
        if spaces is None:
            inventory.write(directory, inventory.in_place(mount, hosts))
            report(ready=True)
        else:
            spaces.start(report)

    fs.serve({name: host_tree(host) for name, host in hosts.items()}, str(mount), ready)
