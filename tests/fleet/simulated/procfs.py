# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /proc shows of a host in place: its boot id, and the processes that hold devices."""

from __future__ import annotations

import functools
import json

from .driver import DeviceState, HostState
from .nodes import Dir, File, Link, Node, folder, text
from .scenario import Workload

QEMU = "/usr/bin/qemu-system-x86_64"


def proc_tree(host: HostState) -> Dir:
    """/proc of one host."""
    return Dir(functools.partial(_root, host))


def _root(host: HostState) -> dict[str, Node]:
    release = host.spec.kernel
    random: dict[str, Node] = {"boot_id": File(0o444, f"{host.boot_id}\n".encode, size=0)}
    kernel: dict[str, Node] = {
        "random": folder(random),
        "osrelease": text(f"{release}\n"),
        "hostname": text(f"{host.spec.name}\n"),
    }
    shown: dict[str, Node] = {
        "sys": folder({"kernel": folder(kernel)}),
        "version": text(f"Linux version {release} (simulated)\n"),
        "1": _process(["/sbin/init"], []),
    }
    for workload in list(host.workloads.values()):
        shown[str(workload.pid)] = _process(command_line(host, workload), handles(host, workload))
    return shown


def _process(command: list[str], open_files: list[str]) -> Dir:
    comm = command[0].rsplit("/", 1)[-1][:15]
    links: dict[str, Node] = {
        str(number): Link(target, private=True) for number, target in enumerate(["/dev/null"] * 3 + open_files)
    }
    return folder(
        {
            "cmdline": text("".join(f"{word}\0" for word in command)),
            "comm": text(f"{comm}\n"),
            "status": text(f"Name:\t{comm}\nState:\tS (sleeping)\nUid:\t0\t0\t0\t0\n"),
            "fd": Dir(lambda: links, mode=0o500),
        }
    )


def _held(host: HostState, workload: Workload) -> list[DeviceState]:
    return [host.devices[name] for name in workload.devices if name in host.devices]


def handles(host: HostState, workload: Workload) -> list[str]:
    """Paths below /dev that the process holds open: the group (classic) or the device itself (iommufd)."""
    held = _held(host, workload)
    if workload.handle == "cdev":
        return ["/dev/iommu"] + [f"/dev/vfio/devices/{host.cdev(item)}" for item in held]
    return ["/dev/vfio/vfio"] + [f"/dev/vfio/{item.group}" for item in held]


def command_line(host: HostState, workload: Workload) -> list[str]:
    """What its /proc/<pid>/cmdline says; QEMU's as libvirt writes it."""
    if workload.kind == "process":
        return [workload.name]
    words = [QEMU, "-name", f"guest={workload.name},debug-threads=on", "-machine", "q35"]
    if workload.uuid is not None:
        words += ["-uuid", workload.uuid]
    for index, device in enumerate(_held(host, workload)):
        words += ["-device", _device_option(device, index, workload.style)]
    return words


def _device_option(device: DeviceState, index: int, style: str) -> str:
    driver = device.type.device_api if device.type is not None else "vfio-pci"
    place = {"sysfsdev": f"/sys/bus/{'pci' if device.parent is None else 'mdev'}/devices/{device.id}"}
    if device.parent is None and style != "sysfsdev":
        place = {"host": device.id}
    options = {"driver": driver, "id": f"hostdev{index}", **place, "bus": "pci.0", "addr": f"0x{index + 6:x}"}
    if style == "json":
        return json.dumps(options, separators=(",", ":"))
    return ",".join([driver] + [f"{key}={value}" for key, value in options.items() if key != "driver"])
