# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a fleet that hold, or are asked for, a migration string: one flat view of all snapshots.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import (
    Attribute,
    Device,
    Name,
    Scope,
    Snapshot,
    Verdict,
    VerdictSet,
)
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError, all_good, check, kind

Facts = t.Mapping[str, t.Any]
"""Inventory host name -> its ``ansible_facts``, or None where there are none."""

SNAPSHOT: t.Final = "vfio_migration"
VERDICTS: t.Final = "vfio_migration_verdicts"

BATCH = 16
"""Hosts whose facts are checked together: more of them do not fit into a processor's cache."""

NodeKey = tuple[Name | None, Name | None, Name | None, str]
"""Parent, type, device (None at type nodes) and vendor."""

PoolKey = tuple[Scope, str, str | None]
"""Scope, vendor, and at type nodes the type."""


@dataclasses.dataclass(frozen=True)
class Host:
    """What one inventory host is known to say; without a snapshot it is unreachable, or excluded for its errors."""

    name: str
    snapshot: Snapshot | None = None
    verdicts: VerdictSet | None = None
    errors: tuple[str, ...] = ()
    """Of the snapshot, which then is dropped."""
    verdict_errors: tuple[str, ...] = ()
    """Of the verdicts, which then are dropped."""


Driven = tuple[str | None, str | None, str | None]
"""Boot id, driver and driver version: an answer holds as long as these do."""


class Node(t.NamedTuple):
    """A type of a parent (``device`` is None) or a device."""

    host: str
    scope: Scope
    kind: t.Literal["mdev", "vfio"]
    vendor: str
    """Empty when it could not be read."""
    parent: Name | None
    type: Name | None
    """None for devices that are no mdevs, and for an mdev that does not say."""
    device: Name | None
    attribute: Attribute
    state: str
    """Of the mdev parent: ok, gone, hung, unknown."""
    driven: Driven
    free: bool | None
    """Devices: whether nobody holds it open; None when that is not known."""
    room: int | None

    @property
    def key(self) -> NodeKey:
        """Where to find what this node was asked; what broke the vendor rule is not found."""
        return (self.parent, self.type, self.device, self.vendor)

    @property
    def pool(self) -> PoolKey:
        """Nodes of one pool may be asked each other's strings: one vendor, and at type nodes one type."""
        return (self.scope, self.vendor, self.type if self.scope == "type" else None)

    @property
    def can_be_asked(self) -> bool:
        """Nodes that cannot be read, or may be another vendor's, are not written either."""
        return bool(self.vendor) and self.attribute["status"] == "ok" and self.state == "ok"


def load(facts: Facts) -> list[Host]:
    """Check the facts of every host against the contracts; in order of names, one entry for each host.

    A host that breaks its contract costs only itself. Raises ContractError when ``facts`` is no mapping of hosts.
    """
    if not isinstance(facts, t.Mapping):
        raise ContractError(f"hosts must be a mapping of host names to their facts, not {kind(facts)}")
    for name in facts:
        if not isinstance(name, str):
            raise ContractError(f"hosts must have strings as keys, not {kind(name)}")
    names = sorted(facts)
    batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
    return [host for batch in batches for host in _load_batch({name: facts[name] for name in batch})]


def _load_batch(facts: Facts) -> list[Host]:
    """Nearly all facts are good, which is known soonest of some hosts together; if not, each is looked at."""
    mappings = [own for own in facts.values() if isinstance(own, dict)]
    snapshots = [own[SNAPSHOT] for own in mappings if own.get(SNAPSHOT)]
    verdict_sets = [own[VERDICTS] for own in mappings if own.get(VERDICTS)]
    doubted = not (all_good(Snapshot, snapshots) and all_good(VerdictSet, verdict_sets))
    return [_load_host(name, own, doubted) for name, own in facts.items()]


def _load_host(name: str, facts: object, doubted: bool) -> Host:
    if not facts:
        return Host(name)
    if not isinstance(facts, dict):
        return Host(name, errors=(f"hosts.{name} must be a mapping, not {kind(facts)}",))
    snapshot = facts.get(SNAPSHOT) or None
    verdicts = facts.get(VERDICTS) or None
    errors = check(Snapshot, snapshot, f"hosts.{name}") if doubted and snapshot else []
    bad_verdicts = check(VerdictSet, verdicts, f"hosts.{name}.{VERDICTS}") if doubted and verdicts else []
    return Host(
        name,
        None if errors else snapshot,
        None if bad_verdicts else verdicts,
        tuple(errors),
        tuple(bad_verdicts),
    )


def nodes(host: Host) -> t.Iterator[Node]:
    """All nodes of a host, type nodes first; in order of parents and of devices."""
    snapshot = host.snapshot
    if snapshot is None:
        return
    boot_id = snapshot["boot_id"]
    states: dict[str | None, str] = {}
    for parent in sorted(snapshot["parents"], key=operator.itemgetter("address")):
        address, vendor = parent["address"], parent["vendor"] or ""
        state: str = parent["state"]
        states[address] = state
        driven = (boot_id, parent["driver"], parent["driver_version"])
        for kind_of in parent["types"]:
            instances = kind_of["available_instances"]
            room = instances if state == "ok" and instances is not None and instances >= 0 else None
            yield Node(
                host.name, "type", "mdev", vendor, address, kind_of["id"], None,
                kind_of["migration_version"], state, driven, None, room,
            )  # fmt: skip
    for device in sorted(snapshot["devices"], key=_place):
        holders = device["in_use_by"]
        free = None if holders is None else not holders
        # An mdev whose parent is not listed lost it while the host was read.
        state = states.get(device["parent"], "gone") if device["kind"] == "mdev" else "ok"
        yield Node(
            host.name, "device", device["kind"], device["vendor"] or "", device["parent"], device["type"],
            device["id"], device["migration_version"], state, (boot_id, device["driver"], device["driver_version"]),
            free, None if free is None else int(free),
        )  # fmt: skip


def strings(host: Host) -> set[tuple[PoolKey, Name | None, str]]:
    """What the nodes of a host produce for others to be asked: pool, mdev type and string."""
    found: set[tuple[PoolKey, Name | None, str]] = set()
    if host.snapshot is None:
        return found
    for parent in host.snapshot["parents"]:
        vendor = parent["vendor"]
        for kind_of in parent["types"]:
            attribute = kind_of["migration_version"]
            if vendor and attribute["status"] == "ok" and attribute["value"]:
                found.add((("type", vendor, kind_of["id"]), kind_of["id"], attribute["value"]))
    for device in host.snapshot["devices"]:
        vendor, attribute = device["vendor"], device["migration_version"]
        if vendor and attribute["status"] == "ok" and attribute["value"]:
            found.add((("device", vendor, None), device["type"], attribute["value"]))
    return found


def _place(device: Device) -> tuple[str, str]:
    return (device["parent"] or "", device["id"])


def unread(host: Host) -> list[str]:
    """What a host has and could not tell enough of: there may be targets that nobody knows."""
    if host.snapshot is None:
        return []
    parents = [
        parent["address"]
        for parent in host.snapshot["parents"]
        if not parent["vendor"] or parent["state"] == "unknown" or (parent["state"] == "hung" and not parent["types"])
    ]
    devices = [each["id"] for each in host.snapshot["devices"] if each["kind"] == "vfio" and not each["vendor"]]
    return [
        *(f"parents/{address}" for address in sorted(parents)),
        *(f"devices/{name}" for name in sorted(devices)),
        *unlisted(host.snapshot),
    ]


def unlisted(snapshot: Snapshot) -> list[str]:
    """Folders that could not be listed and links that could not be followed: what devices are behind them nobody
    knows."""
    return [
        note["item"]
        for note in snapshot["notes"]
        if note["item"].startswith(("bus/", "class/")) and note["reason"] not in ("gone", "no_device")
    ]


_NODE = operator.itemgetter("scope", "parent", "type", "device", "vendor", "source_type")


def answers(host: Host) -> dict[NodeKey, list[Verdict]]:
    """All that each node answered; without what broke the type rule."""
    found: dict[NodeKey, list[Verdict]] = {}
    # Those of one node mostly follow each other.
    for node, own in itertools.groupby(host.verdicts["verdicts"] if host.verdicts else (), _NODE):
        scope, parent, kind_of, device, vendor, source_type = node
        if scope == "device" or source_type == kind_of:
            found.setdefault((parent, kind_of, device, vendor), []).extend(own)
    return found


def latest(said: t.Iterable[Verdict]) -> dict[str, Verdict]:
    """The latest answer to each string, of all that one node answered."""
    found: dict[str, Verdict] = {}
    for verdict in said:
        string = verdict["string"]
        known = found.get(string)
        if known is None or known["evidence"]["time"] <= verdict["evidence"]["time"]:
            found[string] = verdict
    return found


def expired(verdict: Verdict, node: Node, max_age: int, now: str) -> bool:
    """Whether what the answer was based on has changed, or is too long ago. Nothing but its evidence tells."""
    evidence = verdict["evidence"]
    if evidence["boot_id"] is None:
        return True  # nothing shows that it was since the last boot
    if (evidence["boot_id"], evidence["driver"], evidence["driver_version"]) != node.driven:
        return True
    return not _clock.within(evidence["time"], max_age, now)
