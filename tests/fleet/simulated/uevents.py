# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's kernel and its udevd say over netlink when a device or a parent changes; pure.

hostinit.py sends it. The kernel's message is ``add@<devpath>`` and variables; udevd's has the header of
struct monitor_netlink_header (systemd, src/libsystemd/sd-device/device-monitor.c) before them, whose hashes the
socket filters of libudev and pyudev look at.
"""

from __future__ import annotations

import dataclasses
import socket
import struct
import typing as t

from .driver import DeviceState, HostState, ParentState, Subject, Synthetic
from .tree import (
    BUS,
    VFIO_DEV_GOES_FIRST_SINCE,
    VFIO_DEV_SINCE,
    cdev_variables,
    device_path,
    group_variables,
    parent_path,
    parent_variables,
    pci_variables,
)

PREFIX, MAGIC = b"libudev\0", 0xFEEDCAFE
HEADER = struct.Struct("=8s8I")
MURMUR = 0x5BD1E995


@dataclasses.dataclass(frozen=True)
class Uevent:
    """One uevent."""

    action: str
    devpath: str
    subsystem: str
    variables: t.Mapping[str, str]


def uevents(
    state: HostState, happening: str, subject: Subject, synthetic: Synthetic | None = None
) -> list[Uevent]:
    """What the kernel says when something happens, or when it is asked to (``synthetic``: the variables for that)."""
    if isinstance(subject, ParentState):
        return [_of_parent(happening, subject, synthetic)]
    if synthetic is not None:
        return [_of_device(happening, subject, synthetic, driven=subject.bound)]
    leaves_first = state.kernel >= VFIO_DEV_GOES_FIRST_SINCE
    own = [] if happening == "leave" else [_of_device(happening, subject, {}, driven=happening == "bind")]
    vfio = {"bind": "add", "unbind": "remove"}.get(happening)
    groups = [_of_group(vfio, subject)] if vfio is not None else []
    if happening == "bind":
        return groups + _of_cdev(state, "add", subject) + own
    cdevs = _of_cdev(state, "remove", subject) if happening == ("leave" if leaves_first else "unbind") else []
    return cdevs + groups + own


def _of_device(action: str, device: DeviceState, variables: t.Mapping[str, str], *, driven: bool) -> Uevent:
    path = f"/{device_path(device)}"
    if device.vf is not None:
        own = pci_variables(device.id, device.vf.pci)
        return Uevent(action, path, "pci", {"DRIVER": device.vf.driver, **own, **variables})
    driver = device.parent.spec.mdev_driver if device.parent is not None else ""
    return Uevent(action, path, "mdev", {**({"DRIVER": driver} if driven else {}), **variables})


def _of_group(action: str, device: DeviceState) -> Uevent:
    return Uevent(action, f"/devices/virtual/vfio/{device.group}", "vfio", group_variables(device))


def _of_cdev(state: HostState, action: str, device: DeviceState) -> list[Uevent]:
    if state.kernel < VFIO_DEV_SINCE:
        return []
    path = f"/{device_path(device)}/vfio-dev/{state.cdev(device)}"
    return [Uevent(action, path, "vfio-dev", cdev_variables(state, device))]


def _of_parent(happening: str, parent: ParentState, synthetic: Synthetic | None) -> Uevent:
    spec = parent.spec
    registration = happening in {"registered", "unregistered"}
    action = "change" if registration else happening
    variables = {**parent_variables(parent), **(synthetic or {})}
    if synthetic is None and action in {"add", "remove", "unbind"}:
        variables.pop("DRIVER", None)
    if action == "unbind":
        variables.pop("MODALIAS", None)  # zap_modalias_env(): nobody is to load a driver for it again
    if registration:
        variables["MDEV_STATE"] = happening
    return Uevent(action, f"/{parent_path(spec)}", BUS.get(spec.kind, spec.driver), variables)


def kernel_message(event: Uevent) -> bytes:
    """What goes to the kernel's listeners; the kernel adds SEQNUM itself."""
    return b"%s@%s\0" % (event.action.encode(), event.devpath.encode()) + _block(_basic(event))


def udev_message(event: Uevent, seqnum: int, usec: int) -> bytes:
    """What goes to the listeners of udevd."""
    block = _block({**_basic(event), "SEQNUM": str(seqnum), "USEC_INITIALIZED": str(usec)})
    numbers = (socket.htonl(MAGIC), HEADER.size, HEADER.size, len(block))
    subsystem, devtype, tags = socket.htonl(murmur2(event.subsystem.encode())), 0, (0, 0)
    return HEADER.pack(PREFIX, *numbers, subsystem, devtype, *tags) + block


def database_name(event: Uevent) -> str | None:
    """Name of a device's entry in udev's database; of those that udevd makes one for here."""
    return f"+mdev:{event.devpath.rpartition('/')[2]}" if event.subsystem == "mdev" else None


def murmur2(data: bytes) -> int:
    """MurmurHash2 with seed 0, the hash of libudev's filters."""
    value = len(data)
    whole = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = word * MURMUR & 0xFFFFFFFF
        mixed = (mixed ^ mixed >> 24) * MURMUR & 0xFFFFFFFF
        value = (value * MURMUR & 0xFFFFFFFF) ^ mixed
    rest = data[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * MURMUR & 0xFFFFFFFF
    value = (value ^ value >> 13) * MURMUR & 0xFFFFFFFF
    return value ^ value >> 15


def _basic(event: Uevent) -> dict[str, str]:
    return {"ACTION": event.action, "DEVPATH": event.devpath, "SUBSYSTEM": event.subsystem, **event.variables}


def _block(variables: t.Mapping[str, str]) -> bytes:
    return b"".join(f"{key}={value}\0".encode() for key, value in variables.items())
