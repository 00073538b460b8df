# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts over SSH: own network, mount and process namespaces, /sys and boot id of their own, an sshd."""

from __future__ import annotations

import os
import pathlib
import typing as t

from .driver import HostState


def missing() -> str | None:
    """One sentence on what keeps this user from running namespace hosts, or None."""
    if os.geteuid() != 0:
        return "Hosts over SSH need root for their namespaces: run as root, or use hosts in place (--reach in_place)."
    return None


def enter(pid: int) -> list[str]:
    """Command prefix that runs a program inside a host."""
    return ["nsenter", "--target", str(pid), "--all", "--"]


class NamespaceHosts:
    """All namespace hosts of a fleet."""

    def __init__(self, directory: pathlib.Path, hosts: dict[str, HostState]) -> None:
        self.directory = directory
        self.hosts = hosts

    def commands(self) -> dict[str, t.Callable[..., t.Any]]:
        """Further control commands."""
        return {}

    def start(self, report: t.Callable[..., None]) -> None:
        """Start them all, then report."""
        report(error="namespace hosts are not there yet")
