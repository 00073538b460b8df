# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small hand-made pairings for the tests of the report."""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model

NOW = _model.Timestamp("2026-11-22T19:04:14Z")
TYPE = _model.Name("i915-GVTg_V5_4")
STRING = "8086-591d-GVTg_V5_4-00000001"

Where = t.Tuple[str, t.Optional[int]]


def attribute(value: str | None = STRING, reason: str | None = None) -> _model.Attribute:
    status: t.Literal["ok", "unsupported"] = "ok" if value is not None else "unsupported"
    return {"status": status, "value": value, "reason": reason, "errno": None, "raw": None}


def source(number: str, *members: tuple[str, str | None, str | None]) -> _model.SourceClass:
    """A class of identical sources; a member is (host, device, VM)."""
    return {
        "id": number,
        "kind": "mdev",
        "vendor": "pci:8086",
        "type": TYPE,
        "device_version": attribute(),
        "type_version": attribute(),
        "members": [
            {
                "host": host,
                "parent": _model.Name("0000:00:02.0"),
                "device": _model.Name(device) if device else None,
                "workload": vm,
            }
            for host, device, vm in members
        ],
    }


def target(number: str, *members: Where) -> _model.TargetClass:
    """A class of type nodes that answered alike; a member is (host, room)."""
    return {
        "id": number,
        "scope": "type",
        "kind": "mdev",
        "vendor": "pci:8086",
        "type": TYPE,
        "version": attribute(),
        "members": [
            {"host": host, "parent": _model.Name("0000:00:02.0"), "device": None, "room": room}
            for host, room in members
        ],
    }


def pairing(
    source_id: str,
    target_id: str,
    verdict: _model.Answer = "compatible",
    reason: str | None = None,
    errno: str | None = None,
    warnings: t.Sequence[str] = (),
) -> _model.Pairing:
    return {
        "source": source_id,
        "target": target_id,
        "verdict": verdict,
        "reason": reason,
        "errno": errno,
        "scope": "type",
        "way_back": "incompatible" if "no_way_back" in warnings else "compatible",
        "warnings": list(warnings),
        "asked": NOW,
    }


def host(name: str, state: t.Literal["fresh", "cached", "unreachable", "excluded"] = "fresh") -> _model.HostState:
    known = state in ("fresh", "cached")
    errors = [f"hosts.{name}.schema_version must be 1, not 7"] if state == "excluded" else []
    age = {"fresh": 3, "cached": 7300}.get(state)
    return {"host": name, "state": state, "time": NOW if known else None, "age": age, "errors": errors}


def pairings(
    hosts: t.Sequence[_model.HostState],
    sources: t.Sequence[_model.SourceClass] = (),
    targets: t.Sequence[_model.TargetClass] = (),
    found: t.Sequence[_model.Pairing] = (),
    findings: t.Sequence[_model.Finding] = (),
) -> _model.Pairings:
    return {
        "schema_version": _model.SCHEMA_VERSION,
        "time": NOW,
        "partial": any(one["state"] in ("unreachable", "excluded") for one in hosts),
        "hosts": list(hosts),
        "sources": list(sources),
        "targets": list(targets),
        "pairings": list(found),
        "findings": list(findings),
    }


def small() -> _model.Pairings:
    """Five hosts with one of everything: ready, full, unknown, a VM that fits nowhere as a whole."""
    return pairings(
        [host("hv1"), host("hv2"), host("hv3", "cached"), host("hv4", "unreachable"), host("hv5", "excluded")],
        [
            source("a", ("hv1", "dev-a1", "vm-1"), ("hv1", "dev-a2", None)),
            source("b", ("hv2", "dev-b1", "vm-2"), ("hv2", None, None)),
            source("c", ("hv3", "dev-c1", "vm-3")),
        ],
        [target("x", ("hv1", 0), ("hv2", 2)), target("y", ("hv1", 0))],
        [
            pairing("a", "x", warnings=["no_way_back"]),
            pairing("a", "y", "incompatible", "errno", "EINVAL"),
            pairing("b", "x", "unknown", "not_probed", "EROFS"),
            pairing("b", "y"),
            pairing("c", "x", "incompatible", "errno", "EINVAL"),
        ],
        [
            {
                "kind": "no_way_back",
                "hosts": ["hv1", "hv2"],
                "item": "a -> x",
                "detail": "hv1 to hv2 is a one-way street.",
            },
            {"kind": "unreachable", "hosts": ["hv4"], "item": "host", "detail": "hv4 has no facts."},
        ],
    )


def snapshot(name: str, vms: t.Mapping[str, str | None]) -> _model.Snapshot:
    """A host of which only the VMs (id -> name) are of interest."""
    return {
        "schema_version": _model.SCHEMA_VERSION,
        "host": name,
        "boot_id": "b",
        "kernel": "6.1.0",
        "page_size": 4096,
        "time": NOW,
        "parents": [],
        "devices": [],
        "workloads": [
            {"id": vm, "kind": "qemu", "name": called, "uuid": None, "pid": 7, "state": "running", "devices": []}
            for vm, called in vms.items()
        ],
        "notes": [],
    }
