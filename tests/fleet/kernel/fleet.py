# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop guests from a program: ``with kernel_fleet([Guest("hv1", "6.1"), ...]) as fleet: ...``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import typing as t

from ansible_collections.vfio.migration.tests.fleet import guarded
from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError

from . import image
from .machine import Guest

LIFETIME = 2 * 3600.0
MOST_GUESTS = 4
ALTERNATELY = ("6.1", "6.12", "6.12", "6.1")
LAB = "/sys/kernel/debug/mdev_lab"


class Count(t.NamedTuple):
    """What the driver was asked at one node, by its own word."""

    reads: int
    writes: int
    accepts: int
    rejects: int


class Node(t.NamedTuple):
    """``level``: ``type`` for a type's own node, ``device`` for its instances' together, ``instance`` for one of them,
    whose UUID is the ``name`` then."""

    parent: str
    name: str
    level: str


@dataclasses.dataclass(frozen=True)
class KernelFleet:
    """Running guests."""

    directory: pathlib.Path

    @property
    def inventory(self) -> pathlib.Path:
        """Ansible inventory with the group ``hypervisors``."""
        return self.directory / "inventory.yml"

    def ssh(self, host: str, *options: str) -> list[str]:
        """Command prefix that runs a shell's words on a host."""
        return ["ssh", "-F", str(self.directory / "ssh_config"), *options, host]

    def try_to(self, host: str, script: str, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run a shell script on a host, whatever comes of it."""
        return subprocess.run(
            [*self.ssh(host), "sh -s"], input=script, capture_output=True, text=True, check=False, timeout=seconds
        )

    def run(self, host: str, script: str) -> str:
        """Output of a shell script on a host; a failure is a FleetError."""
        done = self.try_to(host, script)
        if done.returncode:
            raise FleetError(f"{host}: {script!r} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def set(self, host: str, file: str, text: str) -> None:
        """Turn one of the driver's knobs; ``file`` is below debugfs/mdev_lab."""
        self.run(host, f"printf %s '{text}' >{LAB}/{file}")

    def counters(self, host: str) -> dict[Node, Count]:
        """What the driver was asked since it was loaded, or since the last ``reset_counters``."""
        return parse_counters(self.run(host, f"cat {LAB}/counters"))

    def reset_counters(self, host: str) -> None:
        self.set(host, "counters", "0")

    def boots(self, host: str) -> int:
        """How often a host has come up."""
        return (self.directory / "guests" / host / "console").read_bytes().count(b"guest is up")


def parse_counters(text: str) -> dict[Node, Count]:
    """``0000:00:10.0 mdev_lab-A1 type reads=1 writes=0 accepts=0 rejects=0``, line by line."""
    found = {}
    for line in text.splitlines():
        parent, name, level, *numbers = line.split()
        found[Node(parent, name, level)] = Count(*(int(number.partition("=")[2]) for number in numbers))
    return found


def parse_guest(number: int, text: str) -> Guest:
    """``KERNEL[:OPTIONS]``: ``6.1``, ``6.12:version=4.3,rule=exact``."""
    kernel, _colon, options = text.partition(":")
    if kernel not in image.SUITES:
        raise FleetError(f"There is no guest with kernel {kernel!r}, only with {' and '.join(image.SUITES)}.")
    return Guest(f"hv{number}", kernel, options.replace(",", " "))


def alternating(count: int) -> list[Guest]:
    """So many guests of both kernels."""
    if not 1 <= count <= MOST_GUESTS:
        raise FleetError(f"There can be 1 to {MOST_GUESTS} guests, and not {count}.")
    return [Guest(f"hv{number}", kernel) for number, kernel in enumerate(ALTERNATELY[:count], 1)]


def start(
    guests: t.Sequence[Guest],
    *,
    warm: bool = False,
    owner: int | None = None,
    lifetime: float = LIFETIME,
    directory: pathlib.Path | None = None,
) -> KernelFleet:
    """Start guests, built first where need be; raise FleetError with one clear sentence when that is impossible."""
    problem = image.missing()
    if problem is not None:
        raise FleetError(problem)
    if not 1 <= len(guests) <= MOST_GUESTS:
        raise FleetError(f"There can be 1 to {MOST_GUESTS} guests, and not {len(guests)}.")
    directory = guarded.new_directory(directory)
    words = ["--guests", json.dumps(guests), "--lifetime", str(lifetime)]
    words += (["--warm"] if warm else []) + ([] if owner is None else ["--owner-pid", str(owner)])
    guarded.launch(__package__ or "", directory, words)
    return KernelFleet(directory)


@contextlib.contextmanager
def kernel_fleet(guests: t.Sequence[Guest], **options: t.Any) -> t.Iterator[KernelFleet]:
    """Guests for the length of a ``with`` block; they end with this process, however that ends."""
    fleet = start(guests, owner=os.getpid(), **options)
    try:
        yield fleet
    finally:
        guarded.stop(fleet.directory)
