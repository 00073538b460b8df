# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Ansible inventory of a fleet."""

from __future__ import annotations

import pathlib
import typing as t

import yaml

from . import inplace

GROUP = "hypervisors"


def in_place(mount: pathlib.Path, hosts: t.Iterable[str]) -> dict[str, dict[str, t.Any]]:
    """Host variables of hosts in place."""
    return {name: inplace.host_vars(mount, name) for name in hosts}


def write(
    directory: pathlib.Path, hosts: dict[str, dict[str, t.Any]], variables: dict[str, t.Any] | None = None
) -> None:
    """Write ``inventory.yml``: one group, with its variables."""
    # The libvirt of the machine that all this runs on knows nothing of the fleet.
    group: dict[str, t.Any] = {"hosts": hosts, "vars": {"vfio_migration_libvirt_uri": "", **(variables or {})}}
    text = yaml.dump({GROUP: group}, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)
    (directory / "inventory.yml").write_text(text)
