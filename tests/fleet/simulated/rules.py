# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How vendor drivers answer on ``migration_version``: pure functions of who is asked and what is written.

The strings of every rule but ``nvme`` look like those of the reference driver: vendor, device, type, version.
"""

from __future__ import annotations

import dataclasses
import errno

from .scenario import Rule


@dataclasses.dataclass(frozen=True)
class Node:
    """Who is asked."""

    scope: str
    vendor: str
    device: str
    type: str
    version: str


def show(rule: Rule, node: Node) -> bytes:
    """What the node prints, without the newline; raise the driver's OSError."""
    if rule.name == "i915":
        raise OSError(errno.ENODEV, "")
    if rule.string is not None:
        return rule.string
    if rule.name == "nvme":
        return f"{node.vendor}-{node.device}-nvme-{rule.remote}".encode()
    return f"{node.vendor}-{node.device}-{node.type}-{node.version}".encode()


def store(rule: Rule, node: Node, data: bytes) -> None:
    """Accept the string (return) or refuse it (raise the driver's OSError)."""
    if rule.name == "i915":
        raise OSError(errno.ENODEV, "")
    newline = data.endswith(b"\n")
    if (rule.newline == "required" and not newline) or (rule.newline == "refused" and newline):
        raise OSError(rule.reject, "")
    if not _accepts(rule, node, data.removesuffix(b"\n")):
        raise OSError(rule.reject, "")


def _accepts(rule: Rule, node: Node, text: bytes) -> bool:
    if rule.name == "lying" and node.scope == "device":
        return False
    if text in rule.accepts:
        return True
    if rule.name == "asymmetric":
        return False
    if rule.name == "nvme":
        return text in {f"{node.vendor}-{node.device}-nvme-{remote}".encode() for remote in rule.reaches}
    own = show(rule, node)
    return text == own or (rule.name in {"older_minor_accepted", "lying"} and _older_minor(text, own))


def _older_minor(text: bytes, own: bytes) -> bool:
    """Same head and major version, and a minor version that is not newer."""
    head, _dash, version = text.rpartition(b"-")
    own_head, _dash, own_version = own.rpartition(b"-")
    major, _dot, minor = version.partition(b".")
    own_major, _dot, own_minor = own_version.partition(b".")
    return (
        head == own_head
        and major == own_major
        and minor.isdigit()
        and own_minor.isdigit()
        and int(minor) <= int(own_minor)
    )
