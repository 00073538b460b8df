# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's sysfs and /proc as plain files: enough for every path that needs no errno of a driver."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.vfio.migration.plugins.module_utils._reader import Options

UUID = "11111111-2222-3333-4444-555555555555"
PARENT = "0000:00:02.0"
PARENT_PATH = "devices/pci0000:00/" + PARENT
TYPE = "i915-GVTg_V5_4"


class Tree:
    """Builds the tree; every path is below the sysfs root."""

    def __init__(self, root: Path) -> None:
        self.sys = root / "sys"
        self.proc = root / "proc"
        self.sys.mkdir()
        self.proc.mkdir()

    def file(self, path: str, content: bytes) -> None:
        place = self.sys / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def link(self, path: str, target: str) -> None:
        place = self.sys / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(str(self.sys / target), str(place.parent)))

    def device(self, path: str, bus: str, driver: t.Optional[str], vendor: t.Optional[str] = None) -> None:
        """A device directory with the links every device has."""
        (self.sys / path).mkdir(parents=True, exist_ok=True)
        self.link(path + "/subsystem", "bus/" + bus)
        if vendor:
            self.file(path + "/vendor", vendor.encode() + b"\n")
        if driver:
            directory = "bus/%s/drivers/%s" % (bus, driver)
            (self.sys / directory).mkdir(parents=True, exist_ok=True)
            self.link(path + "/driver", directory)

    def parent(self, path: str, bus: str = "pci", driver: str = "i915", vendor: t.Optional[str] = "0x8086") -> None:
        self.device(path, bus, driver, vendor)
        (self.sys / path / "mdev_supported_types").mkdir()
        self.link("class/mdev_bus/" + os.path.basename(path), path)

    def type(self, parent: str, type_id: str, **files: bytes) -> None:
        """One mdev type; a file given as empty keyword is left out by not naming it."""
        directory = "%s/mdev_supported_types/%s" % (parent, type_id)
        (self.sys / directory).mkdir(parents=True)
        for key, content in files.items():
            self.file("%s/%s" % (directory, key), content)

    def mdev(self, parent: str, uuid: str, type_id: t.Optional[str], group: int, version: t.Optional[bytes]) -> str:
        path = parent + "/" + uuid
        self.device(path, "mdev", "vfio_mdev")
        self.link("bus/mdev/devices/" + uuid, path)
        self.link(path + "/iommu_group", "kernel/iommu_groups/%d" % group)
        if type_id:
            self.link(path + "/mdev_type", "%s/mdev_supported_types/%s" % (parent, type_id))
        if version is not None:
            self.file(path + "/migration_version", version)
        return path

    def process(self, pid: int, argv: t.Sequence[str], open_files: t.Sequence[str] = ()) -> None:
        directory = self.proc / str(pid)
        (directory / "fd").mkdir(parents=True)
        (directory / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))
        for number, target in enumerate(open_files):
            (directory / "fd" / str(number)).symlink_to(target)

    def options(self, **changes: t.Any) -> Options:
        options = Options(
            sysfs_root=str(self.sys),
            proc_root=str(self.proc),
            read_timeout=5.0,
            deadline=30.0,
            device_attribute="bus/{bus}/devices/{address}/migration_version",
            host="hv1",
            kernel="6.12.0",
            page_size=4096,
        )
        return options._replace(**changes)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def host(tree: Tree) -> Tree:
    """One PCI parent, one type, one instance."""
    tree.process(1, ["/sbin/init"])
    tree.parent(PARENT_PATH)
    tree.type(
        PARENT_PATH,
        TYPE,
        name=b"GVTg_V5_4\n",
        description=b"low_gm_size: 64MB\nhigh_gm_size: 384MB\n",
        device_api=b"vfio-pci\n",
        available_instances=b"2\n",
        migration_version=b"8086-591d-GVTg_V5_4-00000001\n",
    )
    tree.mdev(PARENT_PATH, UUID, TYPE, 7, b"8086-591d-GVTg_V5_4-00000001\n")
    return tree
