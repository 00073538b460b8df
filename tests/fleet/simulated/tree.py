# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /sys shows of a host: the same paths, links, modes and contents as a kernel's.

Directory names follow drivers/vfio/mdev/mdev_sysfs.c, drivers/pci/pci-sysfs.c and Documentation/ABI.
"""

from __future__ import annotations

import errno
import functools
import typing as t

from .driver import DeviceState, HostState, ParentState, Subject, number, synthetic
from .faults import MIGRATION_VERSION, Fault
from .nodes import Dir, File, Link, Node, Tree, folder, text
from .procfs import proc_tree
from .scenario import MdevType, Parent, Pci, Vf

BUS = {"pci": "pci", "platform": "platform", "ccw": "css", "ap": "matrix"}
VFIO_DEV_SINCE = (6, 1)
VFIO_DEV_GOES_FIRST_SINCE = (6, 6)
CLASS_ALWAYS_SINCE = (6, 5)
ANY_GENERATION = -1
VFIO_MAJOR, GROUP_MAJOR = 511, 243
NAMES_END = "\n"
"""What a name that is written to ``bind`` and ``unbind`` may end with (sysfs_streq)."""


def host_tree(host: HostState) -> Tree:
    """The whole host."""
    shown = SysTree(host)
    root: dict[str, Node] = {"sys": Dir(shown.root), "proc": proc_tree(host)}
    links: dict[str, dict[str, Link]] = {}
    for path, target in host.spec.links.items():
        directory, _slash, name = path.rpartition("/")
        links.setdefault(f"sys/{directory}".rstrip("/"), {})[name] = Link(target)
    return Tree(host, folder(root), links)


def parent_path(spec: Parent) -> str:
    """Real path of a parent below /sys."""
    if spec.kind == "pci":
        return pci_path(spec.address)
    middle = {"platform": "platform", "ccw": "css0", "ap": "vfio_ap", "virtual": f"virtual/{spec.driver}"}[spec.kind]
    return f"devices/{middle}/{spec.address}"


def pci_path(address: str) -> str:
    """Real path of a PCI function below /sys."""
    return f"devices/pci{address.rsplit(':', 1)[0]}/{address}"


def device_path(device: DeviceState) -> str:
    """Real path of an mdev or a VF below /sys."""
    if device.parent is None:
        return pci_path(device.id)
    return f"{parent_path(device.parent.spec)}/{device.id}"


def relative(start: str, target: str) -> str:
    """Link text in directory ``start`` that leads to ``target``, both below /sys."""
    return "../" * (start.count("/") + 1) + target


class SysTree:
    """Builds the directories of one host's /sys."""

    def __init__(self, host: HostState) -> None:
        self.host = host
        self.kernel = host.kernel

    # ------------------------------------------------ top

    def root(self) -> dict[str, Node]:
        """/sys itself."""
        return {
            "bus": Dir(self.buses),
            "class": Dir(self.classes),
            "devices": Dir(self.devices),
            "kernel": folder({"iommu_groups": Dir(self.groups)}),
            "module": Dir(self.modules),
        }

    def _parents(self) -> list[ParentState]:
        return [parent for parent in list(self.host.parents.values()) if parent.alive]

    def _registered(self) -> list[ParentState]:
        there = [parent for parent in self._parents() if parent.registered]
        return [parent for parent in there if not parent.leaving or self.host.is_making(parent)]

    def _loaded(self) -> list[ParentState]:
        """Parents whose driver is there."""
        return [parent for parent in self._parents() if parent.spec.driver not in self.host.unloaded]

    def _devices(self, parent: ParentState | None = None) -> list[DeviceState]:
        return [item for item in list(self.host.devices.values()) if item.parent is parent]

    def _mdevs(self) -> list[DeviceState]:
        return [item for item in list(self.host.devices.values()) if item.parent is not None]

    def _bound(self) -> list[DeviceState]:
        """Devices that their driver has made files for."""
        return [item for item in list(self.host.devices.values()) if item.bound]

    def _with_vfio_dev(self) -> list[DeviceState]:
        return [item for item in self._bound() if shows_vfio_dev(self.host, item)]

    # ------------------------------------------------ /sys/bus

    def buses(self) -> dict[str, Node]:
        """/sys/bus."""
        kinds = {"pci"} | {BUS[item.spec.kind] for item in self._parents() if item.spec.kind in BUS}
        shown: dict[str, Node] = {name: Dir(functools.partial(self._bus, name)) for name in sorted(kinds)}
        if self.host.spec.mdev:
            shown["mdev"] = Dir(functools.partial(self._bus, "mdev"))
        return shown

    def _bus(self, name: str) -> dict[str, Node]:
        shown: dict[str, Node] = {
            "devices": Dir(functools.partial(self._bus_devices, name)),
            "drivers": Dir(functools.partial(self._bus_drivers, name)),
            "drivers_autoprobe": File(0o644, lambda: b"1\n", lambda _data, _fault: None),
            "drivers_probe": File(0o200),
            "uevent": _told_to_nobody(0o200),
        }
        if name == "pci":
            shown["rescan"] = File(0o200, None, lambda data, _fault: self.host.rescan() if number(data) else None)
        return shown

    def _on_bus(self, name: str) -> list[tuple[str, str, str, str]]:
        """Address, real path, driver and module of each device on a bus."""
        if name == "mdev":
            return [
                (item.id, device_path(item), item.parent.spec.mdev_driver, item.parent.spec.driver)
                for item in self._mdevs()
                if item.parent is not None and not item.going
            ]
        found = [
            (item.spec.address, parent_path(item.spec), item.spec.driver, item.spec.driver)
            for item in self._parents()
            if BUS.get(item.spec.kind) == name
        ]
        if name == "pci":
            vfs = [(item.id, item.vf) for item in self._devices()]
            found += [(ident, pci_path(ident), vf.driver, _module(vf.driver)) for ident, vf in vfs if vf is not None]
        return found

    def _bus_devices(self, name: str) -> dict[str, Node]:
        here = f"bus/{name}/devices"
        return {
            ident: Link(relative(here, path), f"devices/{ident}" if name == "mdev" else "")
            for ident, path, _driver, _owner in self._on_bus(name)
        }

    def _bus_drivers(self, name: str) -> dict[str, Node]:
        bound: dict[str, dict[str, Node]] = {}
        if name == "mdev":
            for parent in self._loaded():
                self._driver(bound, name, parent.spec.mdev_driver, parent.spec.driver)
        undriven = {item.spec.address for item in self._parents() if not item.driven or item.leaving}
        for ident, path, driver, module in self._on_bus(name):
            if driver in self.host.unloaded:
                continue
            shown = self._driver(bound, name, driver, module)
            if ident not in undriven:
                shown[ident] = Link(relative(f"bus/{name}/drivers/{driver}", path))
        return {driver: folder(children) for driver, children in bound.items()}

    def _driver(self, bound: dict[str, dict[str, Node]], bus: str, driver: str, module: str) -> dict[str, Node]:
        here = f"bus/{bus}/drivers/{driver}"
        fresh: dict[str, Node] = {
            "module": Link(relative(here, f"module/{module}")),
            "uevent": _told_to_nobody(0o200),
            "bind": self._attach(driver, self.host.bind_driver),
            "unbind": self._attach(driver, self.host.unbind_driver),
        }
        if bus == "pci":
            fresh.update(new_id=File(0o200), remove_id=File(0o200))
        return bound.setdefault(driver, fresh)

    def _attach(self, driver: str, attach: t.Callable[[str], None]) -> File:
        """``bind`` or ``unbind`` of a driver: whoever is written to it gets or loses that."""

        def store(data: bytes, _fault: Fault | None) -> None:
            name = data.decode(errors="replace").removesuffix(NAMES_END)
            parent = self.host.parents.get(name)
            if parent is None or parent.spec.driver != driver:
                raise OSError(errno.ENODEV, "")
            attach(name)

        return File(0o200, None, store)

    # ------------------------------------------------ /sys/class

    def classes(self) -> dict[str, Node]:
        """/sys/class; before 6.5 mdev_bus appears with the first parent."""
        shown: dict[str, Node] = {}
        seen = self.host.had_parents
        if self.host.spec.mdev and (seen or self.kernel >= CLASS_ALWAYS_SINCE):
            shown["mdev_bus"] = folder(
                {
                    item.spec.address: Link(
                        relative("class/mdev_bus", parent_path(item.spec)), f"parents/{item.spec.address}"
                    )
                    for item in self._registered()
                }
            )
        bound = self._bound()
        if bound or seen:
            shown["vfio"] = folder(
                {
                    str(item.group): Link(relative("class/vfio", f"devices/virtual/vfio/{item.group}"))
                    for item in bound
                }
            )
        if self.kernel >= VFIO_DEV_SINCE and (bound or seen):
            shown["vfio-dev"] = folder(
                {
                    self.host.cdev(item): Link(
                        relative("class/vfio-dev", f"{device_path(item)}/vfio-dev/{self.host.cdev(item)}")
                    )
                    for item in self._with_vfio_dev()
                }
            )
        for item in self._parents():
            if item.spec.kind == "virtual":
                name = item.spec.driver
                link = Link(relative(f"class/{name}", parent_path(item.spec)))
                shown[name] = folder({item.spec.address: link})
        return shown

    # ------------------------------------------------ /sys/devices

    def devices(self) -> dict[str, Node]:
        """/sys/devices."""
        nested: dict[str, Node] = {"virtual": folder({}), "system": folder({})}
        for parent in self._parents():
            path = parent_path(parent.spec).split("/")[1:]
            _graft(nested, path, Dir(functools.partial(self._parent, parent), f"parents/{parent.spec.address}"))
        for device in self._devices():
            path = pci_path(device.id).split("/")[1:]
            _graft(nested, path, Dir(functools.partial(self._vf, device), f"devices/{device.id}"))
        for device in self._bound():
            _graft(nested, ["virtual", "vfio", str(device.group)], Dir(functools.partial(_group, device)))
        return nested

    def _parent(self, parent: ParentState) -> dict[str, Node]:
        spec = parent.spec
        here = parent_path(spec)
        prefix = f"parents/{spec.address}"
        shown: dict[str, Node] = {}
        if spec.kind == "pci":
            shown = _pci_files(spec.address, spec.pci, prefix)
            shown["remove"] = File(0o220, None, lambda data, _fault: self._unplug(parent, data))
        bus = BUS.get(spec.kind)
        shown["subsystem"] = Link(relative(here, f"bus/{bus}" if bus is not None else f"class/{spec.driver}"))
        if bus is not None and parent.driven and not parent.leaving:
            shown["driver"] = Link(relative(here, f"bus/{bus}/drivers/{spec.driver}"))
        shown["uevent"] = self._uevent(parent, parent_variables(parent), lambda: not parent.alive)
        if parent.registered:
            shown["mdev_supported_types"] = Dir(functools.partial(self._types, parent))
        for device in self._devices(parent):
            shown[device.id] = Dir(functools.partial(self._mdev, device), f"devices/{device.id}")
        return shown

    def _unplug(self, parent: ParentState, data: bytes) -> None:
        if number(data):
            self.host.take_out(parent.spec.address)

    def _uevent(self, subject: Subject, variables: t.Mapping[str, str], gone: t.Callable[[], bool]) -> File:
        """Says what the kernel would say of it now, and has it said when it is written to."""
        data = _variables(variables)
        return File(0o644, lambda: data, lambda written, _fault: self.host.synthesize(subject, written), gone=gone)

    def _types(self, parent: ParentState) -> dict[str, Node]:
        prefix = f"parents/{parent.spec.address}/types"
        return {
            name: Dir(functools.partial(self._type, parent, item), f"{prefix}/{name}")
            for name, item in list(parent.types.items())
        }

    def _type(self, parent: ParentState, mdev_type: MdevType) -> dict[str, Node]:
        host = self.host
        prefix = f"parents/{parent.spec.address}/types/{mdev_type.id}"

        era = parent.era

        def gone() -> bool:
            there = parent.alive and parent.registered and parent.era == era
            return not there or mdev_type.id not in parent.types

        def attribute(name: str, mode: int, show: t.Callable[[], bytes]) -> None:
            shown[name] = File(mode, show, None, f"{prefix}/{name}", gone)

        def create(data: bytes, fault: Fault | None) -> None:
            host.create(parent, mdev_type, data, fault if fault and fault.spec.kind == "create_lies" else None)

        def failed(data: bytes) -> None:
            host.fail_create(parent, mdev_type, data)

        shown: dict[str, Node] = {
            "create": File(0o200, None, create, f"{prefix}/create", gone, failed=failed),
            "devices": Dir(functools.partial(self._type_devices, parent, mdev_type)),
        }
        attribute("available_instances", 0o444, lambda: b"%d\n" % host.available(parent, mdev_type))
        attribute("device_api", 0o444, f"{mdev_type.device_api}\n".encode)
        if mdev_type.name is not None:
            attribute("name", 0o444, f"{mdev_type.name}\n".encode)
        if mdev_type.description is not None:
            attribute("description", 0o444, f"{mdev_type.description}\n".encode)
        if "type" in mdev_type.locations and not parent.leaving:
            shown[MIGRATION_VERSION] = File(
                0o644,
                lambda: host.show_type(parent, mdev_type),
                lambda data, _fault: host.store_type(parent, mdev_type, data),
                f"{prefix}/{MIGRATION_VERSION}",
                gone,
            )
        return shown

    def _type_devices(self, parent: ParentState, mdev_type: MdevType) -> dict[str, Node]:
        # <parent>/mdev_supported_types/<type>/devices/<uuid> -> <parent>/<uuid>
        devices = [item for item in self._devices(parent) if item.type is mdev_type and item.bound and not item.going]
        return {item.id: Link(f"../../../{item.id}") for item in devices}

    def _mdev(self, device: DeviceState) -> dict[str, Node]:
        host, parent, mdev_type = self.host, device.parent, device.type
        if parent is None or mdev_type is None:
            return {}
        here, prefix = device_path(device), f"devices/{device.id}"
        driver = parent.spec.mdev_driver
        if device.going:
            return self._vfio_files(device)

        def gone() -> bool:
            return device.going or not device.alive

        shown: dict[str, Node] = {"power": POWER, "subsystem": Link(relative(here, "bus/mdev"))}
        shown["uevent"] = self._uevent(device, {"DRIVER": driver}, gone)
        shown["driver"] = Link(relative(here, f"bus/mdev/drivers/{driver}"), f"{prefix}/driver")
        if not device.spent:
            shown["remove"] = File(
                0o200,
                None,
                lambda data, _fault: host.remove(device, data),
                f"{prefix}/remove",
                lambda: device.spent or not device.alive,
            )
        if not device.bound:
            return shown
        shown.update(self._vfio_files(device))
        shown["mdev_type"] = Link(f"../mdev_supported_types/{mdev_type.id}", f"{prefix}/mdev_type")
        if "device" in mdev_type.locations:
            shown[MIGRATION_VERSION] = self._device_version(device)
        for name in device.attributes:
            shown[name] = _stored(device, name)
        return shown

    def _vf(self, device: DeviceState) -> dict[str, Node]:
        vf = device.vf
        if vf is None:
            return {}
        here = device_path(device)
        shown = _pci_files(vf.address, vf.pci, f"devices/{vf.address}")
        variables = {"DRIVER": vf.driver, **pci_variables(vf.address, vf.pci)}
        shown["uevent"] = self._uevent(device, variables, lambda: not device.alive)
        shown.update(self._vfio_files(device))
        shown["power"] = POWER
        shown["driver"] = Link(relative(here, f"bus/pci/drivers/{vf.driver}"), f"devices/{vf.address}/driver")
        shown["subsystem"] = Link(relative(here, "bus/pci"))
        if vf.physfn is not None:
            shown["physfn"] = Link(relative(here, pci_path(vf.physfn)))
        if vf.rule is not None:
            shown[MIGRATION_VERSION] = self._device_version(device)
        return shown

    def _device_version(self, device: DeviceState) -> File:
        host = self.host
        return File(
            0o644,
            lambda: host.show_device(device),
            lambda data, _fault: host.store_device(device, data),
            f"devices/{device.id}/{MIGRATION_VERSION}",
            lambda: device.going or not device.alive,
        )

    def _vfio_files(self, device: DeviceState) -> dict[str, Node]:
        """What the vfio core and the iommu core add to a device's directory."""
        here, name = device_path(device), self.host.cdev(device)
        ident = f"devices/{device.id}/iommu_group"
        shown: dict[str, Node] = {
            "iommu_group": Link(relative(here, f"kernel/iommu_groups/{device.group}"), ident),
        }
        if shows_vfio_dev(self.host, device):
            below = f"{here}/vfio-dev/{name}"
            variables = cdev_variables(self.host, device)
            cdev: dict[str, Node] = {
                "device": Link(f"../../../{device.id}"),
                "power": POWER,
                "subsystem": Link(relative(below, "class/vfio-dev")),
                "uevent": _told_to_nobody(0o644, variables),
            }
            if variables:
                cdev["dev"] = text(f"{VFIO_MAJOR}:{name[4:]}\n")
            shown["vfio-dev"] = Dir(lambda: {name: folder(cdev)}, f"devices/{device.id}/vfio-dev")
        return shown

    # ------------------------------------------------ /sys/kernel/iommu_groups and /sys/module

    def groups(self) -> dict[str, Node]:
        """/sys/kernel/iommu_groups."""
        shown: dict[str, Node] = {}
        for item in self._bound():
            here = f"kernel/iommu_groups/{item.group}/devices"
            files: dict[str, Node] = {
                "devices": folder({item.id: Link(relative(here, device_path(item)))}),
                "type": _fixed(0o644, b"DMA-FQ\n" if item.parent is None else b"unknown\n"),
                "reserved_regions": text(""),
            }
            if item.parent is not None:  # no IOMMU stands behind an mdev: vfio makes up a group
                files["name"] = text("vfio-noiommu\n")
            shown[str(item.group)] = folder(files)
        return shown

    def modules(self) -> dict[str, Node]:
        """/sys/module."""
        shown: dict[str, Node] = {}
        drivers: list[Parent | Vf] = [*(parent.spec for parent in self._loaded()), *self.host.spec.vfs]
        for item in drivers:
            name = _module(item.driver)
            if name not in shown:
                shown[name] = Dir(functools.partial(self._module_files, item))
        if self.host.spec.mdev:
            shown["mdev"] = folder({"refcnt": text("1\n")})
        return shown

    def _module_files(self, item: Parent | Vf) -> dict[str, Node]:
        shown: dict[str, Node] = {
            "refcnt": File(0o444, lambda: b"%d\n" % self.host.users(item.driver)),
            "initstate": text("live\n"),
        }
        version = self.host.versions.get(item.driver)
        if version is not None:
            shown["version"] = text(f"{version}\n")
        if item.srcversion is not None:
            shown["srcversion"] = text(f"{item.srcversion}\n")
        here = f"module/{_module(item.driver)}/drivers"
        drivers: list[tuple[str, str]] = []
        all_of_them: list[Parent | Vf] = [*(parent.spec for parent in self._parents()), *self.host.spec.vfs]
        for one in all_of_them:
            if one.driver != item.driver:
                continue
            bus = "pci" if isinstance(one, Vf) else BUS.get(one.kind)
            drivers += [(bus, one.driver)] if bus is not None else []
            drivers += [("mdev", one.mdev_driver)] if isinstance(one, Parent) else []
        shown["drivers"] = folder(
            {f"{bus}:{name}": Link(relative(here, f"bus/{bus}/drivers/{name}")) for bus, name in drivers}
        )
        return shown


def _module(driver: str) -> str:
    """A module's name: the kernel writes underscores."""
    return driver.replace("-", "_")


def _variables(variables: t.Mapping[str, str]) -> bytes:
    return "".join(f"{key}={value}\n" for key, value in variables.items()).encode()


def _told_to_nobody(mode: int, variables: t.Mapping[str, str] | None = None) -> File:
    """An ``uevent`` file of what nobody waits for: what is written is looked at, and nothing is said."""
    data = _variables(variables or {})

    def store(written: bytes, _fault: Fault | None) -> None:
        synthetic(written)

    return File(mode, lambda: data, store)


def shows_vfio_dev(host: HostState, device: DeviceState) -> bool:
    """Whether ``vfio-dev`` is there. Since 6.6 it goes before the driver waits for whoever holds the device."""
    return host.kernel >= VFIO_DEV_SINCE and not (device.going and host.kernel >= VFIO_DEV_GOES_FIRST_SINCE)


def cdev_variables(host: HostState, device: DeviceState) -> dict[str, str]:
    """What the kernel says of a device's character device in its uevents; nothing when it has none."""
    if not host.has_cdevs:
        return {}
    name = host.cdev(device)
    return {"MAJOR": str(VFIO_MAJOR), "MINOR": name[4:], "DEVNAME": f"vfio/devices/{name}"}


def group_variables(device: DeviceState) -> dict[str, str]:
    """What the kernel says of a device's group in its uevents."""
    return {"MAJOR": str(GROUP_MAJOR), "MINOR": str(device.group), "DEVNAME": f"vfio/{device.group}"}


def pci_variables(address: str, pci: Pci) -> dict[str, str]:
    """What the kernel says of a PCI function in its uevents."""
    vendor, device, number = pci.vendor.upper(), pci.device.upper(), pci.pci_class.removeprefix("0x").upper()
    by, card = pci.subsystem_vendor.upper(), pci.subsystem_device.upper()
    kind = f"bc{number[:2]}sc{number[2:4]}i{number[4:]}"
    return {
        "PCI_CLASS": f"{int(number, 16):04X}",
        "PCI_ID": f"{vendor}:{device}",
        "PCI_SUBSYS_ID": f"{by}:{card}",
        "PCI_SLOT_NAME": address,
        "MODALIAS": f"pci:v0000{vendor}d0000{device}sv0000{by}sd0000{card}{kind}",
    }


def parent_variables(parent: ParentState) -> dict[str, str]:
    """What the kernel says of a parent in its uevents."""
    spec = parent.spec
    driven = {"DRIVER": spec.driver} if parent.driven and spec.kind in BUS else {}
    if spec.kind == "pci":
        return {**driven, **pci_variables(spec.address, spec.pci)}
    return {**driven, "MODALIAS": f"platform:{spec.driver}"} if spec.kind == "platform" else driven


def _group(device: DeviceState) -> dict[str, Node]:
    """/sys/devices/virtual/vfio/<group>."""
    return {
        "dev": text(f"{GROUP_MAJOR}:{device.group}\n"),
        "power": POWER,
        "subsystem": Link(relative(f"devices/virtual/vfio/{device.group}", "class/vfio")),
        "uevent": _told_to_nobody(0o644, group_variables(device)),
    }


def _fixed(mode: int, data: bytes) -> File:
    return File(mode, lambda: data)


POWER = folder(
    {
        "async": _fixed(0o644, b"disabled\n"),
        "autosuspend_delay_ms": File(0o644),
        "control": _fixed(0o644, b"auto\n"),
        "runtime_active_kids": text("0\n"),
        "runtime_active_time": text("0\n"),
        "runtime_enabled": text("disabled\n"),
        "runtime_status": text("unsupported\n"),
        "runtime_suspended_time": text("0\n"),
        "runtime_usage": text("0\n"),
    }
)
"""Of whatever takes no part in power management."""


def _pci_files(address: str, pci: Pci, prefix: str) -> dict[str, Node]:
    """Attributes of every PCI function."""
    values = {
        "vendor": f"0x{pci.vendor}\n",
        "device": f"0x{pci.device}\n",
        "subsystem_vendor": f"0x{pci.subsystem_vendor}\n",
        "subsystem_device": f"0x{pci.subsystem_device}\n",
        "class": f"0x{pci.pci_class.removeprefix('0x')}\n",
        "revision": "0xa1\n",
        "numa_node": f"{pci.numa_node}\n",
        "modalias": f"{pci_variables(address, pci)['MODALIAS']}\n",
    }
    shown: dict[str, Node] = {}
    for name, value in values.items():
        data = value.encode()
        shown[name] = File(0o644 if name == "numa_node" else 0o444, _constant(data), None, f"{prefix}/{name}")
    return shown


def _constant(data: bytes) -> t.Callable[[], bytes]:
    return lambda: data


def _stored(device: DeviceState, name: str) -> File:
    """A vendor attribute of an instance that keeps what is written to it."""

    def store(data: bytes, _fault: Fault | None) -> None:
        device.attributes[name] = data.removesuffix(b"\n")

    return File(
        0o644,
        lambda: device.attributes[name] + b"\n",
        store,
        f"devices/{device.id}/{name}",
        lambda: device.going or not device.alive,
    )


def _graft(top: dict[str, Node], path: list[str], node: Node) -> None:
    """Put a node at a path below ``top``, making plain directories on the way."""
    for name in path[:-1]:
        found = top.get(name)
        if not isinstance(found, Dir):
            found = top[name] = folder({})
        top = found.children(ANY_GENERATION)
    top[path[-1]] = node
