# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real libvirt without a daemon: its test driver, which keeps domains in the memory of the process that asks.

The binding is built for the distribution's own Python only, so what is tested runs there.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.vfio.migration.tests.tools import setup
from ansible_collections.vfio.migration.tests.unit.plugins.conftest import Tree

DOMAINS = Path(__file__).parent / "domains"
UTILS = "ansible_collections.vfio.migration.plugins.module_utils"
PYTHON = setup.libvirt_python()
collect_ignore_glob = [] if PYTHON else ["test_*.py"]

_NAMESPACE = "http://libvirt.org/schemas/domain/test/1.0"
_SHUT_OFF = f"<test:runstate xmlns:test='{_NAMESPACE}'>5</test:runstate>"


def pytest_report_header() -> str:
    """Say with which interpreter libvirt is tested."""
    return f"libvirt: {PYTHON or 'left out, no Python here has its binding (python3-libvirt)'}"


class Libvirt:
    """The test driver's file of its domains, and a Python that can ask it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"test://{folder}/node.xml"

    def has(self, *running: str, inactive: t.Sequence[str] = ()) -> None:
        """Give it domains, by the names of their files."""
        texts = [self.text(name) for name in running]
        texts += [self.text(name).replace("</domain>", f"{_SHUT_OFF}</domain>") for name in inactive]
        (self.folder / "node.xml").write_text(f"<node>{''.join(texts)}</node>")

    @staticmethod
    def text(name: str) -> str:
        return (DOMAINS / f"{name}.xml").read_text()

    def run(self, code: str, **values: t.Any) -> t.Any:
        """``code``, with ``values`` and the private utilities at hand, sets ``result``."""
        program = (
            f"import json, os, sys\nfrom {UTILS} import _domain_xml, _inventory, _libvirt\n"
            f"globals().update(json.load(sys.stdin))\n{code}\njson.dump(result, sys.stdout)"
        )
        assert PYTHON is not None
        done = subprocess.run(
            [str(PYTHON), "-c", program],
            input=json.dumps(values),
            env={**os.environ, "PYTHONPATH": str(setup.TREE)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def snapshot(self, tree: Tree, uri: str | None = None, patience: float = 5.0) -> t.Any:
        """What vfio_facts says of a host made of plain files."""
        options = dict(tree.options()._asdict(), libvirt_uri=self.uri if uri is None else uri)
        code = "_libvirt._PATIENCE = patience\nresult = _inventory.snapshot(_inventory.Options(**options))"
        return self.run(code, options=options, patience=patience)


@pytest.fixture
def open_host() -> t.Iterator[Tree]:
    """The same where an ordinary user may look, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield populated(Path(name))


@pytest.fixture
def libvirt(tmp_path: Path) -> Libvirt:
    folder = tmp_path / "libvirt"
    folder.mkdir()
    return Libvirt(folder)


@pytest.fixture
def host(tmp_path: Path) -> Tree:
    return populated(tmp_path)


def populated(folder: Path) -> Tree:
    """Two instances and two functions of a network card."""
    tree = Tree(folder)
    tree.process(1, ["/sbin/init"])
    parent = "devices/pci0000:00/0000:00:02.0"
    tree.parent(parent)
    tree.type(parent, "lab-A1", name=b"A\n", device_api=b"vfio-pci\n", available_instances=b"2\n")
    for number in (1, 2):
        tree.mdev(parent, f"{str(number) * 8}-2222-3333-4444-555555555555", "lab-A1", number, b"string\n")
        function = f"devices/pci0000:3a/0000:3b:00.{number + 1}"
        tree.device(function, "pci", "vfio-pci", "0x15b3")
        tree.link(f"{function}/iommu_group", f"kernel/iommu_groups/{number + 2}")
        tree.link(f"bus/pci/drivers/vfio-pci/0000:3b:00.{number + 1}", function)
    return tree
