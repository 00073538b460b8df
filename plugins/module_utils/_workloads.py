# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds which device, and which VM that is: from /proc and from libvirt (``_libvirt.py``).

A device counts as held when a process has its VFIO group or its VFIO character
device open, when a QEMU command line names it, or when a libvirt domain does,
running or not. Sources: proc(5), Documentation/driver-api/vfio.rst, qemu(1)
(``-name``, ``-uuid``, ``-device``).

This file is private to the collection.
"""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _libvirt
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Handler, Op
from ansible_collections.vfio.migration.plugins.module_utils._libvirt import Domain
from ansible_collections.vfio.migration.plugins.module_utils._model import Holder, Name, Workload

_VFIO = "/dev/vfio/"
_CDEV = "/dev/vfio/devices/"
_DELETED = " (deleted)"
_CMDLINE_BYTES = 1 << 20
_NAME_LENGTH = 256


def _pids(proc_root: str) -> t.List[int]:
    return sorted(int(name) for name in os.listdir(proc_root) if name.isdigit())


def _descriptors(process: str) -> t.List[str]:
    """Paths of a process's file descriptors. One whose first thread has ended has them at its other threads only."""
    found = _paths(process + "/fd")
    for thread in () if found else _left(process + "/task"):
        found += _left(thread + "/fd")
    return found


def _paths(directory: str) -> t.List[str]:
    return ["%s/%s" % (directory, name) for name in os.listdir(directory)]


def _left(directory: str) -> t.List[str]:
    """The same; nothing of a thread that ended meanwhile."""
    try:
        return _paths(directory)
    except (FileNotFoundError, ProcessLookupError):
        return []


def _open_vfio(process: str) -> t.Optional[t.List[str]]:
    """Targets of the file descriptors that lead to VFIO; null when we may not look."""
    found = set()
    try:
        descriptors = _descriptors(process)
    except PermissionError:
        return None
    for descriptor in descriptors:
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:
            continue
        except PermissionError:
            return None
        if target.startswith(_VFIO):
            # What the kernel says of an open node whose name is gone; the device is held all the same.
            found.add(target[: -len(_DELETED)] if target.endswith(_DELETED) else target)
    return sorted(found)


def _process(proc_root: str, pid: int) -> t.Tuple[bytes, t.Optional[t.List[str]]]:
    directory = os.path.join(proc_root, str(pid))
    fd = os.open(os.path.join(directory, "cmdline"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        cmdline = os.read(fd, _CMDLINE_BYTES)
    finally:
        os.close(fd)
    # Also without a command line: any process can empty its own.
    return cmdline, _open_vfio(directory)


HANDLERS: t.Dict[str, Handler] = {"pids": _pids, "process": _process, **_libvirt.FILE_HANDLERS}


class Process(t.NamedTuple):
    """What /proc says of one process. ``open_vfio`` is null when we may not look."""

    pid: int
    argv: t.List[str]
    open_vfio: t.Optional[t.List[str]]


class Users(t.NamedTuple):
    """All that may hold a device. ``complete``: nothing was hidden from us; ``unread``: files of domains that were."""

    processes: t.List[Process]
    complete: bool
    domains: t.Sequence[Domain] = ()
    unread: t.Sequence[str] = ()


class Found(t.NamedTuple):
    """Who holds what, and which workloads there are. ``unsure``: ids of devices that may have a holder unseen."""

    holders: t.Dict[str, t.List[Holder]]
    workloads: t.List[Workload]
    unsure: t.FrozenSet[str]

    def of(self, device: str) -> t.Optional[t.List[Holder]]:
        """Holders of a device, an empty list when nobody holds it, null when that is not known."""
        return self.holders.get(device) or (None if device in self.unsure else [])


class DeviceKey(t.NamedTuple):
    """By what a process can name a device. ``sure``: all of it could be read, so that no holder is missed."""

    id: Name
    group: t.Optional[int]
    cdevs: t.List[str]
    """Names below /dev/vfio/devices: ``vfio0``."""
    sure: bool = True


def users(proc_root: str, libvirt_roots: t.Sequence[str], guard: Guard) -> Users:
    """All processes, and the domains in libvirt's files."""
    running, complete = processes(proc_root, guard)
    defined, unread = _libvirt.from_files(libvirt_roots, guard)
    return Users(running, complete and not unread, defined, unread)


def processes(proc_root: str, guard: Guard) -> t.Tuple[t.List[Process], bool]:
    """All processes, and whether none was hidden from us or hung."""
    listing = guard.run([Op("proc", "pids", (proc_root,))])[0]
    if listing.state != "done":
        return [], False
    pids: t.List[int] = listing.value
    # Whoever does not see process 1 is shown their own processes only (proc(5), hidepid).
    complete = 1 in pids
    outcomes = guard.run([Op("proc/%d" % pid, "process", (proc_root, pid)) for pid in pids])
    found = []
    for pid, outcome in zip(pids, outcomes):
        if outcome.state == "done":
            cmdline, open_vfio = outcome.value
            found.append(Process(pid, _argv(cmdline), open_vfio))
            complete = complete and open_vfio is not None
        elif outcome.state != "errno" or outcome.errno_name not in ("ENOENT", "ESRCH"):
            complete = False
    return found, complete


def _argv(cmdline: bytes) -> t.List[str]:
    return [part.decode("utf-8", "backslashreplace") for part in cmdline.rstrip(b"\0").split(b"\0")]


def match(
    devices: t.Sequence[DeviceKey], found: t.Sequence[Process], complete: bool, defined: t.Sequence[Domain] = ()
) -> Found:
    """Bring processes, domains and devices together; pure."""
    by_node: t.Dict[str, t.List[Name]] = {}
    for device in devices:
        for cdev in device.cdevs:
            by_node.setdefault(_CDEV + cdev, []).append(device.id)
        if device.group is not None:
            # Where there is no IOMMU the same group has another name (vfio_create_group, drivers/vfio/group.c).
            for name in ("%d", "noiommu-%d"):
                by_node.setdefault(_VFIO + name % device.group, []).append(device.id)
    known = {device.id.lower(): device.id for device in devices}
    holders: t.Dict[str, t.List[Holder]] = {}
    workloads = []
    for process in found:
        vm = _qemu(process.argv)
        ids = {device for node in process.open_vfio or () for device in by_node.get(node, ())}
        ids.update(known[name] for name in (vm.devices if vm else ()) if name in known)
        if not ids:
            continue
        workload = _workload(process, vm, sorted(ids))
        workloads.append(workload)
        for device_id in sorted(ids):
            holder: Holder = {"pid": process.pid, "command": process.argv[0][:_NAME_LENGTH], "workload": workload["id"]}
            holders.setdefault(device_id, []).append(holder)
    _add_holders(holders, known, defined)
    _add_workloads(workloads, known, defined)
    unsure = frozenset(device.id for device in devices if not (complete and device.sure))
    return Found(holders, workloads, unsure)


def _add_holders(
    holders: t.Dict[str, t.List[Holder]], known: t.Mapping[str, Name], defined: t.Sequence[Domain]
) -> None:
    """Domains hold what they name, even while they do not run; those that run are known by their QEMU already."""
    for domain in defined:
        for device in sorted({known[name] for name in domain.devices if name in known}):
            by = holders.setdefault(device, [])
            if all(one["workload"] != domain.uuid for one in by):
                by.append({"pid": None, "command": "libvirt domain " + domain.name, "workload": domain.uuid})


def _add_workloads(workloads: t.List[Workload], known: t.Mapping[str, Name], defined: t.Sequence[Domain]) -> None:
    """What libvirt tells of VMs, of those without a process, too. A VM that runs has the devices it has now, whatever
    its next start will give it."""
    by_id = {workload["id"]: workload for workload in workloads}
    active = {domain.uuid for domain in defined if domain.running} | set(by_id)
    for domain in sorted(defined, key=lambda one: one.uuid):
        running = domain.uuid in active
        ids = {known[name] for name in domain.devices if name in known}
        if running and not domain.running:
            ids = set()
        workload = by_id.get(domain.uuid)
        if workload is not None:
            workload["name"] = domain.name
            workload["devices"] = sorted(ids.union(workload["devices"]))
        elif ids:
            by_id[domain.uuid] = {
                "id": domain.uuid,
                "kind": "qemu",
                "name": domain.name,
                "uuid": domain.uuid,
                "pid": None,
                "state": "running" if running else "inactive",
                "devices": sorted(ids),
            }
            workloads.append(by_id[domain.uuid])


def missing(domains: t.Sequence[Domain], present: t.Collection[str]) -> t.List[t.Tuple[Domain, t.List[str]]]:
    """Domains that name mdevs which are not there, each once. A PCI device may be at its own driver until its VM
    starts, so nothing is said of those."""
    there = {name.lower() for name in present}
    lacking: t.Dict[str, t.Tuple[Domain, t.Set[str]]] = {}
    for domain in sorted(domains, key=lambda one: one.uuid):
        absent = {device for device in domain.devices if _libvirt.is_mdev(device) and device not in there}
        if absent:
            lacking.setdefault(domain.uuid, (domain, set()))[1].update(absent)
    return [(domain, sorted(absent)) for domain, absent in lacking.values()]


class _Qemu(t.NamedTuple):
    name: t.Optional[str]
    uuid: t.Optional[str]
    devices: t.List[str]


def _workload(process: Process, vm: t.Optional[_Qemu], ids: t.List[Name]) -> Workload:
    name, uuid = (vm.name, vm.uuid) if vm else (None, None)
    return {
        "id": uuid or name or "pid:%d" % process.pid,
        "kind": "qemu" if vm else "process",
        "name": name,
        "uuid": uuid,
        "pid": process.pid,
        "state": "running",
        "devices": ids,
    }


def _qemu(argv: t.Sequence[str]) -> t.Optional[_Qemu]:
    """Name, UUID and devices of a QEMU command line; null for any other program."""
    program = os.path.basename(argv[0])
    if not program.startswith("qemu") and program != "kvm":
        return None
    name: t.Optional[str] = None
    uuid: t.Optional[str] = None
    devices: t.List[str] = []
    for option, value in zip(argv, argv[1:]):
        # QEMU takes one dash or two.
        key = option[1:] if option.startswith("--") else option
        if key == "-name":
            values = _options(value)
            name = (values.get("guest") or values.get("") or "")[:_NAME_LENGTH] or None
        elif key == "-uuid":
            uuid = value.lower()[:_NAME_LENGTH]
        elif key == "-device":
            devices.extend(_device_names(_options(value)))
    return _Qemu(name, uuid, devices)


def _options(value: str) -> t.Dict[str, str]:
    """``a=b,c`` or a JSON object, as QEMU's own option parser takes them; a first word without ``=`` is key ``""``."""
    if value.startswith("{"):
        try:
            return {str(key): str(item) for key, item in json.loads(value).items()}
        except (ValueError, RecursionError):
            return {}
    options: t.Dict[str, str] = {}
    # QEMU writes a comma within a value twice.
    for index, part in enumerate(value.replace(",,", "\0").split(",")):
        key, equals, item = part.replace("\0", ",").partition("=")
        if equals:
            options[key] = item
        elif index == 0:
            options[""] = key
    return options


def _device_names(options: t.Mapping[str, str]) -> t.Iterator[str]:
    if options.get("sysfsdev"):
        yield os.path.basename(options["sysfsdev"].rstrip("/")).lower()
    host = options.get("host", "").lower()
    if host:
        # QEMU lets the PCI domain be left out when it is 0000.
        yield host if host.count(":") == 2 else "0000:" + host
