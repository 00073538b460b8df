# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of hardware from udev's database, and waiting for its events, through pyudev where the host has it.

Only udev's own properties are taken from libudev: it keeps sysfs attributes in
a cache and turns ENODEV into nothing, so those are read in ``_sysfs``.

This file is private to the collection.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Handler, Op
from ansible_collections.vfio.migration.plugins.module_utils._model import Hardware

UNKNOWN: Hardware = {"vendor": None, "model": None}

_EVENT_SLICE = 0.25
_POLL = 0.02

_context: t.Any = None
_monitor: t.Any = None


def _hardware(path: str) -> t.Optional[t.Tuple[t.Optional[str], t.Optional[str]]]:
    """(vendor, model); null when this Python has no pyudev. Imported here, in the child: it takes long to load, and
    libudev's files are then closed with the child."""
    global _context  # one libudev context for the life of the child
    try:
        import pyudev  # type: ignore[import-untyped,unused-ignore]

        # Loads libudev, whose absence is an ImportError, too.
        _context = _context or pyudev.Context()
    except ImportError:
        return None
    try:
        properties = pyudev.Devices.from_sys_path(_context, path).properties
        return properties.get("ID_VENDOR_FROM_DATABASE"), properties.get("ID_MODEL_FROM_DATABASE")
    except (pyudev.DeviceNotFoundError, ValueError):
        # A name is never worth a host's report, not even when the database holds bytes that are no text.
        return None, None


def _event(seconds: float) -> t.Optional[bool]:
    """Wait for the next event of mdev: a device that was bound, a parent that registered. Null when this Python has no
    pyudev. The first call only begins to listen and returns at once, so that the caller can look again: what happened
    before that was seen by looking, what happens after it is heard."""
    global _context, _monitor
    try:
        import pyudev
    except ImportError:
        return None
    if _monitor is None:
        _context = _context or pyudev.Context()
        _monitor = pyudev.Monitor.from_netlink(_context)
        _monitor.start()
        return False
    end = time.monotonic() + seconds
    while True:
        device = _monitor.poll(max(0.0, end - time.monotonic()))
        if device is None:
            return False
        if device.subsystem == "mdev" or "MDEV_STATE" in device.properties:
            return True


HANDLERS: t.Dict[str, Handler] = {"hardware": _hardware, "event": _event}


def wait_until(look: t.Callable[[], bool], seconds: float, sysfs_root: str, guard: Guard) -> bool:
    """Whether ``look`` came true within ``seconds``. sysfs decides: it is looked at after every event of udev, and
    every quarter of a second in case an event got lost; without pyudev, or below another root than /sys, more often.
    """
    end = time.monotonic() + seconds
    listening = sysfs_root.rstrip("/") == "/sys"
    while not look():
        left = min(end - time.monotonic(), guard.time_left)
        if left <= 0:
            return False
        pause = min(_EVENT_SLICE, left)
        if listening:
            heard = guard.run([Op("udev", "event", (pause,), 2 * _EVENT_SLICE)])[0]
            listening = heard.state == "done" and heard.value is not None
        else:
            guard.pause(min(_POLL, left))
    return True


def hardware(sysfs_root: str, paths: t.Sequence[str], guard: Guard) -> t.Tuple[t.List[Hardware], t.Optional[str]]:
    """Names for paths below the root, and why they are unknown: null, ``no_pyudev`` or
    ``other_root`` (libudev looks at /sys and nowhere else)."""
    if sysfs_root.rstrip("/") != "/sys":
        return [UNKNOWN] * len(paths), "other_root" if paths else None
    # A group of its own: a slow database says nothing about a driver.
    outcomes = guard.run([Op("udev", "hardware", ("/sys/" + path,)) for path in paths])
    names: t.List[Hardware] = []
    missing = False
    for outcome in outcomes:
        missing = missing or (outcome.state == "done" and outcome.value is None)
        vendor, model = outcome.value if outcome.state == "done" and outcome.value else (None, None)
        names.append({"vendor": vendor, "model": model})
    return names, "no_pyudev" if missing else None
