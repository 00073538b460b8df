# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that a running fleet is: parent of its guests, which end with it.

It ends at SIGTERM, with its owner, or when its lifetime is over, whichever comes first, and takes everything along.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import time
import typing as t

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError
from ansible_collections.vfio.migration.tests.fleet.simulated import inventory
from ansible_collections.vfio.migration.tests.fleet.simulated.daemon import Report, detach, hang_up

from . import image, machine
from .machine import Guest

WATCH_SECONDS = 1.0
SSH_CONFIG = """\
Host {name}
  HostName 127.0.0.1
  Port {port}
  IdentityFile {key}
"""
SSH_COMMON = """\
Host *
  User root
  IdentitiesOnly yes
  UserKnownHostsFile {directory}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  KexAlgorithms curve25519-sha256
  ConnectTimeout 10
  ServerAliveInterval 10
  ServerAliveCountMax 3
  ControlMaster auto
  ControlPath {directory}/cp/%n
  ControlPersist 120
  LogLevel ERROR
"""
# A warm guest has the clock and the boot id of the one it was cloned from, and nothing makes its kernel choose another.
OF_A_CLONE = """\
cat /proc/sys/kernel/random/uuid >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
"""
FIRST_WORDS = """\
set -e
date -u -s @{now} >/dev/null
echo {name} >/etc/hostname
hostname {name}
echo 'options mdev_lab {options}' >/etc/modprobe.d/mdev_lab.conf
modprobe mdev_lab
udevadm settle
"""


def guard(directory: pathlib.Path, guests: t.Sequence[Guest], warm: bool, owner: int | None, lifetime: float) -> int:
    """Run a fleet in ``directory`` until its end."""
    report = Report()
    detach(directory)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    machines: list[machine.Machine] = []
    try:
        owner_fd = None if owner is None else os.pidfd_open(owner)
        _start(directory, guests, warm, machines)
        report(ready=True)
        _wait(owner_fd, machines, lifetime)
    except FleetError as error:
        report(error=str(error))
        return 1
    except OSError as error:
        report(error=f"The guests could not start: {error}")
        return 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            hang_up(directory)
        for one in machines:
            one.kill()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def _wait(owner: int | None, machines: t.Sequence[machine.Machine], lifetime: float) -> None:
    poll = select.poll()
    if owner is not None:
        poll.register(owner, select.POLLIN)
    end = time.monotonic() + lifetime
    while (left := end - time.monotonic()) > 0 and any(one.process.poll() is None for one in machines):
        if poll.poll(min(left, WATCH_SECONDS) * 1000):
            return


def _start(directory: pathlib.Path, guests: t.Sequence[Guest], warm: bool, machines: list[machine.Machine]) -> None:
    images = image.build({guest.kernel for guest in guests})
    sleeping = {kernel: machine.warm(one) for kernel, one in images.items()} if warm else {}
    (directory / "guests").mkdir()
    for guest in guests:
        machines.append(_machine(directory, guest, images[guest.kernel], sleeping.get(guest.kernel)))
    _write_ssh(directory, machines)
    with concurrent.futures.ThreadPoolExecutor(len(guests)) as pool:
        work = (_greet, [directory] * len(guests), guests, machines, [sleeping.get(guest.kernel) for guest in guests])
        list(pool.map(*work))
    _write_inventory(directory, machines)


def _machine(directory: pathlib.Path, guest: Guest, one: image.Image, sleeping: machine.Warm | None) -> machine.Machine:
    folder = directory / "guests" / guest.name
    if sleeping is None:
        return machine.Machine(guest.name, one, machine.Disk(one.root, "raw", True), folder)
    disk = machine.Disk(sleeping.disk, "qcow2", True)
    return machine.Machine(guest.name, one, disk, folder, machine.Memory(sleeping.memory, False))


def _greet(directory: pathlib.Path, guest: Guest, one: machine.Machine, sleeping: machine.Warm | None) -> None:
    """Wait for a guest, and tell it who it is; not before, for an early connection would wait for seconds."""
    if sleeping is None:
        one.until(lambda: one.boots() > 0, "come up")
    else:
        one.wake(sleeping.state)
    script = FIRST_WORDS.format(now=int(time.time()), name=guest.name, options=guest.options)
    script += OF_A_CLONE if sleeping is not None else ""
    words = ["ssh", "-F", str(directory / "ssh_config"), guest.name, "sh -s"]
    done = subprocess.run(words, input=script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FleetError(f"Guest {guest.name} could not be set up: {done.stderr.strip()[-300:]}")


def _write_ssh(directory: pathlib.Path, machines: t.Sequence[machine.Machine]) -> None:
    (directory / "cp").mkdir(mode=0o700)
    for one in machines:
        # The image may be replaced by a newer one while this fleet runs.
        shutil.copy(one.image.user_key, one.folder)
    hosts = [SSH_CONFIG.format(name=one.name, port=one.port, key=one.folder / "user_key") for one in machines]
    (directory / "ssh_config").write_text("".join(hosts) + SSH_COMMON.format(directory=directory))
    keys = [f"[127.0.0.1]:{one.port} {one.image.host_key.read_text()}" for one in machines]
    (directory / "known_hosts").write_text("".join(keys))


def _write_inventory(directory: pathlib.Path, machines: t.Sequence[machine.Machine]) -> None:
    variables = {
        "ansible_connection": "ssh",
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_pipelining": True,
        "ansible_ssh_common_args": f"-F {directory / 'ssh_config'}",
        "ansible_control_path": f"{directory}/cp/%%n",
    }
    inventory.write(directory, {one.name: {"kernel_release": one.image.kernel} for one in machines}, variables)
