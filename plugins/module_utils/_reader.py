# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What everything that looks at a host begins with: its options, reading many nodes, who answers for a device.

Sources: Documentation/driver-api/vfio-mediated-device.rst, Documentation/ABI/testing/sysfs-bus-vfio-mdev.

This file is private to the collection.
"""

from __future__ import annotations

import os
import posixpath
import re
import time
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _sysfs
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Outcome
from ansible_collections.vfio.migration.plugins.module_utils._model import Attribute, Note, Timestamp

_HOST = "host"
_VERSION = "migration_version"

_LIBVIRT_ROOTS = ("/etc/libvirt/qemu", "/run/libvirt/qemu")
"""Where libvirt's QEMU driver keeps the domains that are defined, and the state of those that run."""

ESSENTIAL = frozenset(("class/mdev_bus", "bus/mdev/devices"))
"""Without these nothing can be said of a host, and nothing said would look like nothing there."""

DETAILS = {
    "gone": "It disappeared while it was read; run the module again.",
    "hung": "The driver did not answer within read_timeout; the node, and all others of its parent, were left alone. "
    "Look at the kernel log of the host.",
    "deadline": "The time for this host (deadline) was over before this could be read.",
    "permission": "Reading was refused; run with become: true.",
    "busy": "The driver kept answering that it is busy, or the host that it is short of memory; run the module again.",
    "truncated": "The string fills a whole page without a newline, so its end is missing; it is never probed with.",
    "empty": "The driver answered with an empty string, which proves nothing; it is never probed with.",
    "not_ascii": "The string holds bytes that are not ASCII text; it is kept as base64 and never probed with.",
    "incomplete": "The device has no mdev_type link yet; it is probably being created. Run the module again.",
    "not_a_number": "The kernel's answer is no number of instances, so the capacity is unknown.",
    "no_device": "The link does not lead to a device, so it was left out.",
    "errno": "The kernel refused to read this.",
    "no_pyudev": "Names of the hardware need pyudev for the Python that Ansible uses on the host; "
    "the role vfio.migration.bootstrap installs it.",
    "other_root": "Names of the hardware need sysfs at /sys, because libudev looks nowhere else.",
    "vendor_unknown": "The vendor, subsystem or driver could not be read, so it may not be compared with any other.",
    "holders": "Not every process and every libvirt domain could be looked at, so a device without a known holder may "
    "still be in use; run with become: true.",
    "domain_file": "This file of libvirt's domains could not be read, or made sense of, and may name any device; run "
    "with become: true, and check it with virt-xml-validate.",
}


def domain_folders(proc_root: str) -> t.Tuple[str, ...]:
    """In a container that has the host's /proc elsewhere, libvirt's files are those that the host's first process
    sees."""
    proc_root = proc_root.rstrip("/")
    host = "" if proc_root == "/proc" else proc_root + "/1/root"
    return tuple(host + root for root in _LIBVIRT_ROOTS)


class Options(t.NamedTuple):
    """How to look at a host. Times in seconds, ``page_size`` in bytes, roots absolute."""

    sysfs_root: str
    proc_root: str
    read_timeout: float
    deadline: float
    device_attribute: str
    """Path of location 3 below the root, with ``{bus}`` and ``{address}``."""
    host: str
    kernel: str
    page_size: int
    libvirt_roots: t.Tuple[str, ...] = domain_folders("/proc")
    """Directories with the files of libvirt's domains."""
    libvirt_uri: str = ""
    """Which libvirt to ask as well; none when it is empty."""


class HostError(Exception):
    """The host cannot be described at all."""


class Identity(t.NamedTuple):
    """Who answers for a device directory. ``vendor`` is null when what it is made of could not be read."""

    bus: t.Optional[str]
    vendor: t.Optional[str]
    driver: t.Optional[str]
    driver_version: t.Optional[str]
    numa_node: t.Optional[int]


def timestamp() -> Timestamp:
    """Now, in UTC."""
    return Timestamp(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def boot_id(proc_root: str) -> t.Optional[str]:
    """Changes with every boot; null when /proc does not say."""
    try:
        with open(os.path.join(proc_root, "sys/kernel/random/boot_id"), encoding="ascii") as file:
            return file.read().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def device_attribute(pattern: str, bus: str, address: str) -> str:
    """Location 3 for one device. Raises ``ValueError`` with what is wrong with the pattern."""
    path = pattern.replace("{bus}", bus).replace("{address}", address)
    if "{" in path or "}" in path:
        raise ValueError("only {bus} and {address} may stand in braces")
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise ValueError("must be a path below sysfs_root, without a leading slash and without '..'")
    return path


def vendor_identity(vendor_id: t.Optional[str], bus: t.Optional[str], driver: t.Optional[str]) -> t.Optional[str]:
    """``pci:8086``; subsystem and driver stand in where there is no vendor id (CCW, AP matrix, virtual parents). Null
    without a subsystem, or a PCI device's vendor id: it is being unplugged."""
    if bus == "pci":
        return "pci:" + vendor_id.lower().replace("0x", "", 1) if vendor_id else None
    return "%s:%s" % (bus, driver or "unknown") if bus else None


class Reader:
    """Reads one host. ``notes`` collects what was dropped or is unknown."""

    def __init__(self, options: Options, guard: Guard) -> None:
        self.options = options
        self.guard = guard
        self.sysfs = _sysfs.Sysfs(options.sysfs_root, guard)
        self.notes: t.List[Note] = []

    def note(self, item: str, reason: str, detail: t.Optional[str] = None) -> None:
        self.notes.append({"item": item, "reason": reason, "detail": detail or DETAILS[reason]})

    # ------------------------------------------------------------------------------------------------- directories

    def entries(self, directories: t.Sequence[str]) -> t.Dict[str, t.List[str]]:
        """Names in directories that may be absent: the classes and buses of VFIO come and go with their modules."""
        listed = {}
        for path, outcome in zip(directories, self.sysfs.list([(_HOST, path) for path in directories])):
            listed[path] = list(outcome.value) if outcome.state == "done" else []
            if not known(outcome):
                if path in ESSENTIAL:
                    raise HostError("%s: %s" % (path, DETAILS[reason(outcome)]))
                self.note(path, reason(outcome))
        return listed

    def identify(self, items: t.Sequence[t.Tuple[str, str]]) -> t.List[Identity]:
        """Identity of device directories, given as (group, path)."""
        buses, drivers, vendors, nodes = self.sysfs.sweeps(
            items, ("link", "subsystem"), ("link", "driver"), ("read", "vendor"), ("read", "numa_node")
        )
        versions = self._driver_versions({outcome.value for outcome in drivers if outcome.value})
        found = []
        for index in range(len(items)):
            bus, driver = base(buses[index]), base(drivers[index])
            numa_node = number(nodes[index])
            # Half an identity would be another identity, and another vendor is a definite no.
            sure = all(known(outcome) for outcome in (buses[index], drivers[index], vendors[index]))
            found.append(
                Identity(
                    bus=bus,
                    vendor=vendor_identity(word(vendors[index]), bus, driver) if sure else None,
                    driver=driver,
                    driver_version=versions.get(drivers[index].value or ""),
                    numa_node=numa_node if numa_node is not None and numa_node >= 0 else None,
                )
            )
        return found

    def _driver_versions(self, drivers: t.Set[str]) -> t.Dict[str, t.Optional[str]]:
        """By driver directory. A module without a version still has a checksum of its sources, as good for noticing
        that the driver was replaced."""
        paths = sorted(drivers)
        modules = [outcome.value for outcome in self.sysfs.links([(_HOST, path + "/module") for path in paths])]
        wanted = sorted({module for module in modules if module})
        items = [(_HOST, module) for module in wanted]
        version, checksum = self.sysfs.sweeps(items, ("read", "version"), ("read", "srcversion"))
        by_module = {module: word(version[index]) or word(checksum[index]) for index, module in enumerate(wanted)}
        return {path: by_module[module] for path, module in zip(paths, modules) if module}

    # ----------------------------------------------------------------------------------------- version strings

    def versions(self, nodes: t.Sequence[t.Tuple[str, str, str]]) -> t.List[t.Optional[Attribute]]:
        """Attributes of (group, directory that owns the node, path of the node); null when the owner is gone.

        A node that is missing or answers ENODEV is looked at again once, because that is also what a device looks
        like that is being removed.
        """
        outcomes = self.sysfs.read([(group, path) for group, _owner, path in nodes])
        doubtful = [index for index, outcome in enumerate(outcomes) if outcome.errno in _sysfs.VANISHED]
        owners = self.sysfs.exists([nodes[index][:2] for index in doubtful])
        gone = {index for index, owner in zip(doubtful, owners) if owner.errno in _sysfs.VANISHED}
        again = [index for index in doubtful if index not in gone and outcomes[index].errno_name != "ENOENT"]
        second = self.sysfs.read([(nodes[index][0], nodes[index][2]) for index in again])
        for index, outcome in zip(again, second):
            outcomes[index] = outcome
        return [
            None if index in gone else _sysfs.attribute(outcome, self.options.page_size)
            for index, outcome in enumerate(outcomes)
        ]

    def note_version(self, item: str, attribute: Attribute) -> None:
        """What is unknown or unusable is noted; what is plainly not supported is not news."""
        if attribute["status"] in ("unknown", "invalid") and attribute["reason"]:
            self.note(item + "/" + _VERSION, attribute["reason"])


def known(outcome: Outcome) -> bool:
    """Whether it is there, or surely not."""
    return outcome.state == "done" or outcome.errno_name == "ENOENT"


def base(link: Outcome) -> t.Optional[str]:
    return posixpath.basename(link.value) if link.value else None


def reason(outcome: Outcome) -> str:
    """Stable code for what could not be read."""
    if outcome.state != "errno":
        return outcome.state
    if outcome.errno in _sysfs.DENIED:
        return "permission"
    return "gone" if outcome.errno in _sysfs.VANISHED else "errno"


def word(outcome: Outcome) -> t.Optional[str]:
    found = _sysfs.text(outcome)
    return found.strip() or None if found is not None else None


def to_int(text: t.Optional[str]) -> t.Optional[int]:
    return int(text) if text is not None and re.match(r"-?[0-9]{1,9}\Z", text) else None


def number(outcome: Outcome) -> t.Optional[int]:
    """A number that was read, else null."""
    return to_int(word(outcome))
