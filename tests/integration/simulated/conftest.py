# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets for the tests of the simulator, and the few ways they touch a file."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet, simulated_fleet

CARD = "0000:3b:00.0"
HOST = "h1"


def card(**keys: t.Any) -> dict[str, t.Any]:
    """A PCI parent with two types."""
    return {
        "driver": "lab",
        "driver_version": "4.2",
        "vendor": "10de",
        "device": "20b5",
        "capacity": {"model": "shared_units", "total": 4},
        "types": {"lab-A1": {"name": "A-1Q", "description": "one\ntwo", "cost": 1}, "lab-A2": {"cost": 2}},
        **keys,
    }


def one_host(**keys: t.Any) -> dict[str, t.Any]:
    """A scenario of one host, by default with one card."""
    return {"version": 1, "hosts": {HOST: {"parents": {CARD: card()}, **keys}}}


@pytest.fixture
def run_fleet() -> t.Iterator[t.Callable[..., Fleet]]:
    """Start fleets that end with the test."""
    running: list[t.ContextManager[Fleet]] = []

    def run(scenario: t.Any, **options: t.Any) -> Fleet:
        context = simulated_fleet(scenario, **options)
        fleet = context.__enter__()
        running.append(context)
        return fleet

    try:
        yield run
    finally:
        for context in running:
            context.__exit__(None, None, None)


def read(path: pathlib.Path) -> bytes:
    """One open, one read, as the collection does it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 65536)
    finally:
        os.close(descriptor)


def write(path: pathlib.Path, data: bytes) -> int:
    """One open, one write; the count that the kernel returned."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        return os.write(descriptor, data)
    finally:
        os.close(descriptor)


def type_dir(fleet: Fleet, name: str = "lab-A1", parent: str = CARD, host: str = HOST) -> pathlib.Path:
    """Directory of a type, by the class link."""
    return fleet.host(host).sysfs_root / "class/mdev_bus" / parent / "mdev_supported_types" / name


def device_dir(fleet: Fleet, ident: str, bus: str = "mdev", host: str = HOST) -> pathlib.Path:
    """Directory of a device, by the bus link."""
    return fleet.host(host).sysfs_root / "bus" / bus / "devices" / ident
