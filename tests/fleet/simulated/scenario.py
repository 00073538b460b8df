# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenario file (YAML) -> typed values. README.md documents the format; pure but for ``load``."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import pathlib
import re
import typing as t
import uuid

import yaml

from ._reader import Reader, ScenarioError
from .faults import FaultSpec, read_fault

PARENT_KINDS = ("pci", "platform", "ccw", "ap", "virtual")
CAPACITY_MODELS = ("exclusive", "shared_units", "vector", "independent", "unknown")
RULES = ("exact", "older_minor_accepted", "i915", "asymmetric", "nvme", "lying")
STYLES = ("sysfsdev", "json", "host")
FULL_ERRNO = {"exclusive": "EINVAL", "vector": "EIO", "unknown": "EUSERS"}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}")


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a vendor driver answers on ``migration_version``."""

    name: str = "exact"
    string: bytes | None = None
    accepts: tuple[bytes, ...] = ()
    reject: int = errno.EINVAL
    newline: str = "any"
    remote: str = ""
    reaches: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Capacity:
    """What limits the number of instances of one parent."""

    model: str = "unknown"
    total: int = 0
    totals: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    full: int = errno.ENOSPC


@dataclasses.dataclass(frozen=True)
class MdevType:
    """One directory of ``mdev_supported_types``."""

    id: str
    name: str | None
    description: str | None
    device_api: str
    cost: int
    instances: int
    needs: t.Mapping[str, int]
    locations: frozenset[str]
    rule: Rule
    version: str
    attributes: t.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Pci:
    """Identity of a PCI function."""

    vendor: str = "0000"
    device: str = "0000"
    subsystem_vendor: str = "0000"
    subsystem_device: str = "0000"
    pci_class: str = "0x030000"
    numa_node: int = -1
    hardware_vendor: str | None = None
    hardware_model: str | None = None


@dataclasses.dataclass(frozen=True)
class Delays:
    """Seconds that things take on one parent."""

    create: float = 0.0
    bind: float = 0.0
    remove: float = 0.0
    udev: float = 0.0


@dataclasses.dataclass(frozen=True)
class Parent:
    """A device that offers mdev types."""

    address: str
    kind: str
    driver: str
    mdev_driver: str
    driver_version: str | None
    srcversion: str | None
    pci: Pci
    capacity: Capacity
    types: tuple[MdevType, ...]
    registered: bool
    delays: Delays


@dataclasses.dataclass(frozen=True)
class Vf:
    """A PCI function bound to vfio-pci or a variant driver."""

    address: str
    driver: str
    driver_version: str | None
    srcversion: str | None
    pci: Pci
    rule: Rule | None
    version: str
    physfn: str | None


@dataclasses.dataclass(frozen=True)
class Mdev:
    """An instance that is there from the start; transient ones are lost at reboot."""

    uuid: str
    parent: str
    type: str


@dataclasses.dataclass(frozen=True)
class Workload:
    """A process that holds devices."""

    name: str
    uuid: str | None
    pid: int
    kind: str
    style: str
    handle: str
    devices: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Host:
    """One hypervisor."""

    name: str
    kernel: str
    cdev: bool
    boot_id: str | None
    mdev: bool
    parents: tuple[Parent, ...]
    vfs: tuple[Vf, ...]
    mdevs: tuple[Mdev, ...]
    workloads: tuple[Workload, ...]
    faults: tuple[FaultSpec, ...]
    links: t.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A whole fleet."""

    name: str
    hosts: tuple[Host, ...]


def load(path: str | pathlib.Path) -> Scenario:
    """Read a scenario file, or one of ``scenarios/`` by its bare name; raise ScenarioError with all that is wrong."""
    file = pathlib.Path(path)
    if not file.is_file():
        file = pathlib.Path(__file__).parent / "scenarios" / f"{path}.yml"
    try:
        data = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as error:
        known = ", ".join(sorted(item.stem for item in file.parent.glob("*.yml")))
        raise ScenarioError([f"{path}: cannot be read ({error.strerror}); shipped scenarios: {known}"]) from error
    except yaml.YAMLError as error:
        raise ScenarioError([f"{file}: is not valid YAML: {error}"]) from error
    return parse(data)


def parse(data: object) -> Scenario:
    """Validate plain data and turn it into a Scenario."""
    errors: list[str] = []
    reader = Reader(data, "", errors)
    if data is None:
        reader.complain("", "is empty; it needs at least one host below hosts")
    if reader.number("version", 1) != 1:
        reader.complain("version", "this simulator reads version 1 only")
    if reader.has("generate"):
        from .generate import generate  # generate builds plain data for this very function

        reader.data["hosts"] = generate(reader.child("generate"))
    hosts = tuple(_host(name, child) for name, child in reader.children("hosts"))
    scenario = Scenario(reader.text("name", "fleet"), hosts)
    reader.done()
    if not hosts and not errors:
        reader.complain("hosts", "has no host; describe at least one")
    if errors:
        raise ScenarioError(errors)
    return scenario


def _host(name: str, reader: Reader) -> Host:
    if not HOST_NAME.fullmatch(name):
        reader.complain("", "a host name has letters, digits, dots and dashes only")
    pids = itertools.count(2001)
    host = Host(
        name=name,
        kernel=reader.text("kernel", "6.12.0"),
        cdev=reader.flag("cdev", default=True),
        boot_id=reader.maybe_text("boot_id"),
        mdev=reader.flag("mdev", default=True),
        parents=tuple(_parent(address, child) for address, child in reader.children("parents")),
        vfs=tuple(_vf(address, child) for address, child in reader.children("vfs")),
        mdevs=tuple(_mdev(child) for child in reader.items("mdevs")),
        workloads=tuple(_workload(child, next(pids)) for child in reader.items("workloads")),
        faults=tuple(read_fault(child) for child in reader.items("faults")),
        links=reader.strings("links"),
    )
    reader.done()
    _check_host(host, reader)
    return host


def _check_host(host: Host, reader: Reader) -> None:
    types = {parent.address: {item.id for item in parent.types} for parent in host.parents}
    if host.parents and not host.mdev:
        reader.complain("mdev", "is false, but the host has parents; drop one of the two")
    seen: set[str] = set()
    for index, mdev in enumerate(host.mdevs):
        where = f"mdevs[{index}]"
        if mdev.parent not in types:
            reader.complain(where, f"parent {mdev.parent!r} is not one of this host's parents: {', '.join(types)}")
        elif mdev.type not in types[mdev.parent]:
            reader.complain(where, f"{mdev.parent} has no type {mdev.type!r}; it has {', '.join(types[mdev.parent])}")
        if mdev.uuid in seen:
            reader.complain(where, f"UUID {mdev.uuid} is there twice; a kernel refuses that")
        seen.add(mdev.uuid)
    seen.update(vf.address for vf in host.vfs)
    for index, workload in enumerate(host.workloads):
        for device in workload.devices:
            if device not in seen:
                reader.complain(f"workloads[{index}].devices", f"{device!r} is neither an mdev nor a VF of this host")
    modules: dict[str, str | None] = {}
    drivers: list[Parent | Vf] = [*host.parents, *host.vfs]
    for item in drivers:
        if modules.setdefault(item.driver, item.driver_version) != item.driver_version:
            reader.complain("", f"driver {item.driver} has two versions; a kernel loads a module once")


def _pci(reader: Reader) -> Pci:
    hardware = reader.child("hardware")
    vendor = _hex4(reader, "vendor")
    pci = Pci(
        vendor=vendor,
        device=_hex4(reader, "device"),
        subsystem_vendor=_hex4(reader, "subsystem_vendor", vendor),
        subsystem_device=_hex4(reader, "subsystem_device"),
        pci_class=reader.text("class", "0x030000"),
        numa_node=reader.number("numa_node", -1, minimum=-1),
        hardware_vendor=hardware.maybe_text("vendor"),
        hardware_model=hardware.maybe_text("model"),
    )
    hardware.done()
    return pci


def _hex4(reader: Reader, key: str, default: str = "0000") -> str:
    value = reader.text(key, default).lower().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-f]{4}", value):
        reader.complain(key, f'{value!r} is not a PCI id; write four hex digits in quotes, "10de"')
        return "0000"
    return value


def _parent(address: str, reader: Reader) -> Parent:
    if "/" in address or address in {"", ".", ".."}:
        reader.complain("", "an address is one directory name, without a slash")
    driver = reader.text("driver", "lab")
    version = reader.maybe_text("driver_version")
    rule = _rule(reader)
    string_version = reader.text("version", version or "1.0")
    parent = Parent(
        address=address,
        kind=reader.choice("kind", PARENT_KINDS, "pci"),
        driver=driver,
        mdev_driver=reader.text("mdev_driver", driver),
        driver_version=version,
        srcversion=reader.maybe_text("srcversion"),
        pci=_pci(reader),
        capacity=_capacity(reader.child("capacity")),
        types=tuple(_type(name, child, rule, string_version) for name, child in reader.children("types")),
        registered=reader.flag("registered", default=True),
        delays=_delays(reader.child("delays"), Delays()),
    )
    if parent.kind == "pci" and not re.fullmatch(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", address):
        reader.complain("", "is of kind pci but no PCI address; write 0000:3b:00.0, or give another kind")
    _check_needs(parent, reader)
    reader.done()
    return parent


def _check_needs(parent: Parent, reader: Reader) -> None:
    for mdev_type in parent.types:
        unknown = sorted(set(mdev_type.needs) - set(parent.capacity.totals))
        if parent.capacity.model == "vector" and (unknown or not mdev_type.needs):
            what = f"names {', '.join(unknown)}" if unknown else "is empty"
            reader.complain(
                f"types.{mdev_type.id}.needs", f"{what}; capacity.totals has {list(parent.capacity.totals)}"
            )


def _capacity(reader: Reader) -> Capacity:
    model = reader.choice("model", CAPACITY_MODELS, "unknown")
    capacity = Capacity(
        model=model,
        total=reader.number("total", 16),
        totals=reader.numbers("totals"),
        full=reader.error_name("full_errno", FULL_ERRNO.get(model, "ENOSPC")),
    )
    reader.done()
    return capacity


def _delays(reader: Reader, usual: Delays) -> Delays:
    """What is not written stays as ``usual``."""
    names = [field.name for field in dataclasses.fields(Delays)]
    delays = Delays(**{name: reader.seconds(name, getattr(usual, name)) for name in names})
    reader.done()
    return delays


def parse_delays(data: object, usual: Delays) -> Delays:
    """Validate delays given at run time; raise ScenarioError."""
    errors: list[str] = []
    delays = _delays(Reader(data, "delays", errors), usual)
    if errors:
        raise ScenarioError(errors)
    return delays


def _type(name: str, reader: Reader, rule: Rule, version: str) -> MdevType:
    own = _rule(reader) if reader.has("rule") or reader.has("string") or reader.has("string_base64") else rule
    where = reader.texts("migration_version") if reader.has("migration_version") else ("type", "device")
    reader.seen |= {"rule", "string", "string_base64", "migration_version"}
    if not set(where) <= {"type", "device"}:
        reader.complain("migration_version", "lists where the attribute is: [], [type], [device] or [type, device]")
    mdev_type = MdevType(
        id=name,
        name=reader.maybe_text("name"),
        description=reader.maybe_text("description"),
        device_api=reader.text("device_api", "vfio-pci"),
        cost=reader.number("cost", 1, minimum=1),
        instances=reader.number("instances", 1),
        needs=reader.numbers("needs"),
        locations=frozenset(where),
        rule=own,
        version=reader.text("version", version),
        attributes=reader.strings("attributes"),
    )
    reader.done()
    return mdev_type


def _rule(reader: Reader) -> Rule:
    """``rule: exact`` or ``rule: {name: exact, ...}``; ``string`` beside it fixes the string itself."""
    value = reader.data.get("rule")
    if isinstance(value, str):
        reader.data["rule"] = {"name": value}
    child = reader.child("rule")
    rule = Rule(
        name=child.choice("name", RULES, "exact"),
        string=reader.raw("string", "string_base64"),
        accepts=tuple(text.encode() for text in child.texts("accepts")),
        reject=child.error_name("reject_errno", "EINVAL"),
        newline=child.choice("newline", ("any", "refused", "required"), "any"),
        remote=child.text("remote"),
        reaches=child.texts("reaches"),
    )
    reader.seen.add("string_base64")
    child.done()
    return rule


def _vf(address: str, reader: Reader) -> Vf:
    version = reader.maybe_text("driver_version")
    vf = Vf(
        address=address,
        driver=reader.text("driver", "vfio-pci"),
        driver_version=version,
        srcversion=reader.maybe_text("srcversion"),
        pci=_pci(reader),
        rule=_rule(reader) if reader.flag("migration_version", default=reader.has("rule")) else None,
        version=reader.text("version", version or "1.0"),
        physfn=reader.maybe_text("physfn"),
    )
    reader.seen |= {"rule", "string", "string_base64"}
    if not re.fullmatch(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", address):
        reader.complain("", "is no PCI address; write 0000:5e:00.1")
    reader.done()
    return vf


def _mdev(reader: Reader) -> Mdev:
    mdev = Mdev(reader.text("uuid").lower(), reader.text("parent"), reader.text("type"))
    if not UUID.fullmatch(mdev.uuid):
        reader.complain("uuid", f"{mdev.uuid!r} is not a UUID; write 8-4-4-4-12 hex digits")
    reader.done()
    return mdev


def _workload(reader: Reader, pid: int) -> Workload:
    workload = Workload(
        name=reader.text("name"),
        uuid=reader.maybe_text("uuid"),
        pid=reader.number("pid", pid, minimum=2),
        kind=reader.choice("kind", ("qemu", "process"), "qemu"),
        style=reader.choice("style", STYLES, "sysfsdev"),
        handle=reader.choice("handle", ("group", "cdev"), "group"),
        devices=reader.texts("devices"),
    )
    if not workload.name:
        reader.complain("name", "is missing; a workload has the name of its VM or command")
    reader.done()
    return workload


def parse_workload(data: object, pid: int) -> Workload:
    """Validate a workload given at run time; raise ScenarioError."""
    errors: list[str] = []
    workload = _workload(Reader(data, "workload", errors), pid)
    if errors:
        raise ScenarioError(errors)
    return workload


def boot_id(seed: str) -> str:
    """A boot id that is the same for the same seed."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"simulated-boot:{seed}"))
