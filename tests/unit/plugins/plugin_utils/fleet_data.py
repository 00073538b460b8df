# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of small fleets, written by hand in few words."""

from __future__ import annotations

import random
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model

NOW = "2026-11-22T12:00:00Z"
HOUR_AGO = "2026-11-22T11:00:00Z"
DAY = 86400
DRIVEN = ("boot-1", "drv", "1.0")
VENDOR = "pci:8086"

HOLDER = _model.Holder(pid=1, command="qemu", workload=None)

Facts = dict[str, t.Any]


def attribute(text: str | None) -> _model.Attribute:
    """``abc``: that string. ``!ENODEV``: that errno. ``?hung``: unknown. ``~empty``: invalid. None: absent."""
    status: t.Literal["ok", "unsupported", "unknown", "invalid"] = "ok"
    value, reason, errno = text, None, None
    if text is None:
        status, value, reason = "unsupported", None, "absent"
    elif text.startswith("!"):
        status, value, reason, errno = "unsupported", None, "errno", text[1:]
    elif text.startswith("?"):
        status, value, reason = "unknown", None, text[1:]
    elif text.startswith("~"):
        status, value, reason = "invalid", None, text[1:]
    return _model.Attribute(status=status, value=value, reason=reason, errno=errno, raw=None)


def mdev_type(name: str, string: str | None, room: int | None = 1) -> _model.Type:
    """One type of a parent."""
    return _model.Type(
        id=_model.Name(name),
        name=None,
        description=None,
        device_api="vfio-pci",
        available_instances=room,
        migration_version=attribute(string),
    )


def parent(
    address: str,
    *types: _model.Type,
    vendor: str | None = VENDOR,
    state: t.Literal["ok", "gone", "hung", "unknown"] = "ok",
    version: str = "1.0",
) -> _model.Parent:
    """One parent."""
    return _model.Parent(
        address=_model.Name(address),
        path=f"devices/{address}",
        subsystem="pci",
        vendor=vendor,
        driver=DRIVEN[1],
        driver_version=version,
        numa_node=0,
        hardware={"vendor": None, "model": None},
        state=state,
        types=list(types),
    )


def device(
    name: str,
    string: str | None,
    place: tuple[str, str | None] | None = None,
    in_use: bool | None = False,
    vendor: str | None = VENDOR,
    version: str = "1.0",
) -> _model.Device:
    """An mdev when ``place`` (parent, type) is given, else a physical device. A half-created one has no type."""
    return _model.Device(
        id=_model.Name(name),
        kind="mdev" if place else "vfio",
        path=f"devices/{name}",
        bus="mdev" if place else "pci",
        parent=_model.Name(place[0]) if place else None,
        type=_model.Name(place[1]) if place and place[1] else None,
        vendor=vendor,
        driver=DRIVEN[1],
        driver_version=version,
        numa_node=None,
        hardware={"vendor": None, "model": None},
        iommu_group=None,
        in_use_by=None if in_use is None else [HOLDER] if in_use else [],
        migration_version=attribute(string),
    )


def workload(name: str, *devices: str, state: t.Literal["running", "inactive"] = "running") -> _model.Workload:
    """A VM."""
    return _model.Workload(
        id=name,
        kind="qemu",
        name=name,
        uuid=None,
        pid=1 if state == "running" else None,
        state=state,
        devices=[_model.Name(each) for each in devices],
    )


def snapshot(
    *parts: _model.Parent | _model.Device | _model.Workload,
    boot: str | None = "boot-1",
    time: str = HOUR_AGO,
    notes: t.Sequence[_model.Note] = (),
) -> dict[str, t.Any]:
    """What one host says; parts are told apart by their keys."""
    return {
        "schema_version": 1,
        "host": "name-of-its-own",
        "boot_id": boot,
        "kernel": "6.12.0",
        "page_size": 4096,
        "time": time,
        "parents": [part for part in parts if "types" in part],
        "devices": [part for part in parts if "in_use_by" in part],
        "workloads": [part for part in parts if "pid" in part],
        "notes": list(notes),
    }


def verdict(
    node: tuple[str | None, str | None, str | None],
    string: str,
    answer: str = "yes",
    vendor: str = VENDOR,
    source_type: str | None = None,
    driven: tuple[str | None, str | None, str | None] = DRIVEN,
    time: str = HOUR_AGO,
) -> dict[str, t.Any]:
    """``node``: (parent, type, device). ``answer``: ``yes``, ``no``, or ``?reason``."""
    where, kind, name = node
    known: dict[str, tuple[str, str | None, str | None]] = {
        "yes": ("compatible", None, None),
        "no": ("incompatible", "errno", "EINVAL"),
    }
    word, reason, errno = known.get(answer) or ("unknown", answer[1:], None)
    return {
        "scope": "device" if name else "type",
        "parent": where,
        "type": kind,
        "device": name,
        "string": string,
        "vendor": vendor,
        "source_type": source_type if source_type or name else kind,
        "verdict": word,
        "reason": reason,
        "errno": errno,
        "bytes_written": None,
        "form": None,
        "evidence": {"boot_id": driven[0], "driver": driven[1], "driver_version": driven[2], "time": time},
    }


def host(*parts: t.Any, verdicts: t.Sequence[dict[str, t.Any]] = (), **more: t.Any) -> Facts:
    """The ansible_facts of one host."""
    facts: Facts = {"vfio_migration": snapshot(*parts, **more)}
    if verdicts:
        facts["vfio_migration_verdicts"] = {
            "schema_version": 1,
            "host": "name-of-its-own",
            "boot_id": "boot-1",
            "time": HOUR_AGO,
            "written": len(verdicts),
            "would_write": [],
            "verdicts": list(verdicts),
            "notes": [],
        }
    return facts


def mixed(facts: Facts, chance: random.Random) -> Facts:
    """The same facts in another order; only that of answers means something, for the later of two counts."""
    return t.cast("Facts", _mixed(facts, chance))


def _mixed(value: object, chance: random.Random, ordered: bool = False) -> object:
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: _mixed(value[key], chance, key == "verdicts") for key in keys}
    if isinstance(value, list):
        items = [_mixed(each, chance) for each in value]
        if not ordered:
            chance.shuffle(items)
        return items
    return value
