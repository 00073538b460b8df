# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds which device, and which VM that is: from /proc and from libvirt's files.

A device counts as held when a process has its VFIO group or its VFIO character
device open, when a QEMU command line names it, or when a libvirt domain does,
running or not. Sources: proc(5), Documentation/driver-api/vfio.rst, qemu(1)
(``-name``, ``-uuid``, ``-device``), https://libvirt.org/formatdomain.html.

This file is private to the collection.
"""

from __future__ import annotations

import json
import os
import typing as t

if t.TYPE_CHECKING:
    from xml.etree.ElementTree import Element

from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Handler, Op, Outcome
from ansible_collections.vfio.migration.plugins.module_utils._model import Holder, Name, Workload

_VFIO = "/dev/vfio/"
_CDEV = "/dev/vfio/devices/"
_DELETED = " (deleted)"
_CMDLINE_BYTES = 1 << 20
_NAME_LENGTH = 256
_DOMAIN_BYTES = 4 << 20
_MOST_DOMAINS = 10000

_DomainFile = t.Tuple[str, str, t.List[str]]


def _pids(proc_root: str) -> t.List[int]:
    return sorted(int(name) for name in os.listdir(proc_root) if name.isdigit())


def _open_vfio(directory: str) -> t.Optional[t.List[str]]:
    """Targets of the file descriptors that lead to VFIO; null when we may not look."""
    found = set()
    try:
        names = os.listdir(directory)
    except PermissionError:
        return None
    for name in names:
        try:
            target = os.readlink(os.path.join(directory, name))
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
    return cmdline, _open_vfio(os.path.join(directory, "fd"))


def _domain_files(root: str) -> t.Tuple[t.List[str], bool]:
    """Paths of the domain files, and whether that is all of them."""
    names = sorted(name for name in os.listdir(root) if name.endswith(".xml"))
    return [os.path.join(root, name) for name in names[:_MOST_DOMAINS]], len(names) <= _MOST_DOMAINS


def _domain(path: str) -> t.Optional[_DomainFile]:
    """Name, UUID and devices of the domain in a file; null when it cannot be made sense of."""
    # Whatever lies there instead of a file must not keep us waiting.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        data: t.Optional[bytes] = file.read(_DOMAIN_BYTES + 1)
    try:
        return parse_domain(data) if data is not None and len(data) <= _DOMAIN_BYTES else None
    except (ValueError, SyntaxError):
        return None


def parse_domain(data: bytes) -> _DomainFile:
    """Read libvirt's XML of a domain or of its state. Raises ``ValueError`` or ``ParseError``, a ``SyntaxError``.
    Imported here, in the child: hosts without libvirt need no parser, and it takes long to load."""
    import xml.etree.ElementTree as ET

    text = data.decode("utf-8")
    # Libvirt writes none, and only there could entities be declared that grow without end.
    if "<!DOCTYPE" in text:
        raise ValueError("has a document type")
    root = ET.fromstring(text)
    domain = root.find("domain") if root.tag == "domstatus" else root
    if domain is None or domain.tag != "domain":
        raise ValueError("is no domain")
    name, uuid = ((domain.findtext(key) or "").strip()[:_NAME_LENGTH] for key in ("name", "uuid"))
    if not name or not uuid:
        raise ValueError("names no domain")
    devices = {_source_name(address) for address in domain.iterfind("devices/*/source/address")}
    return name, uuid.lower(), sorted(device for device in devices if device)


def _source_name(address: Element) -> t.Optional[str]:
    """An mdev's UUID or a PCI address of the host; null for what is neither (USB, SCSI). Raises ``ValueError``."""
    if address.get("uuid"):
        return address.get("uuid", "").lower()
    if address.get("slot") is None:
        return None
    numbers = tuple(int(address.get(key, "0"), 0) for key in ("domain", "bus", "slot", "function"))
    return "%04x:%02x:%02x.%x" % numbers


HANDLERS: t.Dict[str, Handler] = {
    "pids": _pids,
    "process": _process,
    "domain_files": _domain_files,
    "domain": _domain,
}


class Process(t.NamedTuple):
    """What /proc says of one process. ``open_vfio`` is null when we may not look."""

    pid: int
    argv: t.List[str]
    open_vfio: t.Optional[t.List[str]]


class Domain(t.NamedTuple):
    """A VM that libvirt knows, running or not."""

    name: str
    uuid: str
    devices: t.List[str]


class Users(t.NamedTuple):
    """All that may hold a device. ``complete``: nothing was hidden from us."""

    processes: t.List[Process]
    complete: bool
    domains: t.List[Domain]


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
    """All processes and libvirt domains."""
    running, saw_all = processes(proc_root, guard)
    defined, read_all = domains(libvirt_roots, guard)
    return Users(running, saw_all and read_all, defined)


def domains(roots: t.Sequence[str], guard: Guard) -> t.Tuple[t.List[Domain], bool]:
    """All domains of libvirt, and whether none of its files stayed unread. No libvirt, no domains."""
    found: t.List[Domain] = []
    complete = True
    for root, listing in zip(roots, guard.run([Op(root, "domain_files", (root,)) for root in roots])):
        if listing.state != "done":
            complete = complete and _absent(listing)
            continue
        paths, all_listed = listing.value
        complete = complete and all_listed
        for outcome in guard.run([Op(root, "domain", (path,)) for path in paths]):
            if outcome.state == "done" and outcome.value is not None:
                found.append(Domain(*outcome.value))
            else:
                complete = complete and _absent(outcome)
    return found, complete


def _absent(outcome: Outcome) -> bool:
    return outcome.errno_name in ("ENOENT", "ENOTDIR")


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
            by_node.setdefault(_VFIO + str(device.group), []).append(device.id)
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
    _add_domains(holders, known, defined)
    unsure = frozenset(device.id for device in devices if not (complete and device.sure))
    return Found(holders, workloads, unsure)


def _add_domains(
    holders: t.Dict[str, t.List[Holder]], known: t.Mapping[str, Name], defined: t.Sequence[Domain]
) -> None:
    """Domains hold what they name, even while they do not run; those that run are known by their QEMU already."""
    for domain in defined:
        for device in sorted({known[name] for name in domain.devices if name in known}):
            by = holders.setdefault(device, [])
            if all(one["workload"] != domain.uuid for one in by):
                by.append({"pid": None, "command": "libvirt domain " + domain.name, "workload": domain.uuid})


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
