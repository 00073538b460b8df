# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report says beyond the matrix: which hosts can be emptied now, and how much of every parent is used and free.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes, _readiness
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _capacity, _policy

DrainState = t.Literal["ready", "no_room", "unknown", "blocked", "idle", "lost"]

DRAIN_STATES: t.Final[tuple[DrainState, ...]] = ("ready", "idle", "no_room", "unknown", "blocked", "lost")


class Obstacle(t.TypedDict):
    """One reason why something cannot leave a host now, and how many it keeps there."""

    state: t.Literal["no_room", "unknown", "blocked"]
    reason: str | None
    """A code; ``crowded``: each fits by itself, but there is not room for all at once."""
    errno: str | None
    count: int
    """VMs, and devices in use without one; of ``crowded`` the devices that share a class, of ``unlisted`` the folders
    of sysfs that may hold more of them."""


class Drain(t.TypedDict):
    """Whether a host can be emptied now."""

    host: str
    state: DrainState
    """The worst of what has to leave; each VM is judged by itself, and whether all fit together only a plan tells.
    idle: nothing has to leave. lost: unreachable or excluded, so that nobody knows."""
    leaving: int
    """VMs, and devices in use (or perhaps in use) that belong to none."""
    why: list[Obstacle]
    """What stands in the way, the worst first."""
    emptied: bool | None
    """Whether the plan empties it; null when it is no host of the plan."""


class TypeUse(t.TypedDict):
    """One type of one parent."""

    type: str | None
    """Null: instances whose type is not known."""
    used: int
    room: int | None
    """Instances that fit now, by this type alone; null when unknown. Never add those of sibling types."""


class ParentUse(t.TypedDict):
    """How much of a parent is used, and what is left of it."""

    host: str
    parent: str
    left: list[_model.Share]
    """For an exclusive parent the resource is the type, the units are instances."""
    types: list[TypeUse]


class Usage(t.TypedDict):
    """Parents whose types share them in the same way, and where this is known from."""

    model: str
    """exclusive, shared_units, vector, independent or unknown, which is planned like exclusive; silent: these parents
    do not answer."""
    origin: str
    """operator, driver, description, siblings or default."""
    detail: str
    """One sentence: what it was derived from."""
    driver: str | None
    types: list[_model.TypeNeed]
    parents: list[ParentUse]


Snapshots = t.Mapping[str, _model.Snapshot]
Group = tuple[int, str, str | None, str | None]


def drains(
    pairings: _model.Pairings,
    devices: t.Iterable[_readiness.Standing],
    workloads: t.Iterable[_readiness.Standing],
    snapshots: Snapshots,
    plan: _model.Plan | None,
) -> list[Drain]:
    """Judge every host of the fleet, in the order of the pairings."""
    idle = {
        (host, device["id"])
        for host, snapshot in snapshots.items()
        for device in snapshot["devices"]
        if device["in_use_by"] == []
    }
    leaving: dict[str, list[_readiness.Standing]] = {}
    for one in (*workloads, *devices):
        if one["device"] is None or (one["workload"] is None and (one["host"], one["device"]) not in idle):
            leaving.setdefault(one["host"], []).append(one)
    crowded = _crowded(pairings, idle)
    emptied = _emptied(plan)
    unlisted = {name: len(_nodes.unlisted(snapshot)) for name, snapshot in snapshots.items()}
    return [
        _drain(
            host,
            leaving.get(host["host"], []),
            crowded[host["host"]],
            unlisted.get(host["host"], 0),
            emptied.get(host["host"]),
        )
        for host in pairings["hosts"]
    ]


def _drain(
    host: _model.HostState, leaving: list[_readiness.Standing], crowd: int, unlisted: int, emptied: bool | None
) -> Drain:
    found: collections.Counter[Group] = collections.Counter(
        (-_readiness.STATES.index(one["state"]), one["state"], one["reason"], one["errno"])
        for one in leaving
        if one["state"] != "ready"
    )
    if crowd and not found:
        found[-1, "no_room", "crowded", None] = crowd
    if unlisted:
        found[-_readiness.STATES.index("unknown"), "unknown", "unlisted", None] = unlisted
    groups = sorted(found.items(), key=lambda group: (group[0][0], -group[1], group[0][2] or "", group[0][3] or ""))
    state: str = groups[0][0][1] if groups else "ready" if leaving else "idle"
    if host["state"] in ("unreachable", "excluded"):
        state = "lost"
    return Drain(
        host=host["host"],
        state=t.cast("DrainState", state),
        leaving=len(leaving),
        why=[
            Obstacle(state=t.cast("t.Any", said), reason=reason, errno=errno, count=count)
            for (_rank, said, reason, errno), count in groups
        ],
        emptied=emptied,
    )


def _crowded(pairings: _model.Pairings, idle: t.Container[tuple[str, str]]) -> collections.Counter[str]:
    """Host -> its devices of one class that are more than all other hosts together have room for.

    What is found is sure, and more than that only a plan tells: types share parents, and classes share targets.
    """
    rooms = {target["id"]: _rooms(target) for target in pairings["targets"]}
    accepted: dict[str, list[str]] = {}
    for pairing in pairings["pairings"]:
        if pairing["verdict"] == "compatible" and pairing["reason"] != "in_use":
            accepted.setdefault(pairing["source"], []).append(pairing["target"])
    crowded: collections.Counter[str] = collections.Counter()
    for source in pairings["sources"]:
        room: collections.Counter[str] = collections.Counter()
        boundless: set[str] = set()
        for name in accepted.get(source["id"], ()):
            room.update(rooms[name][0])
            boundless |= rooms[name][1]
        total = room.total()
        here = collections.Counter(
            member["host"]
            for member in source["members"]
            if member["device"] is not None and (member["host"], member["device"]) not in idle
        )
        for host, count in here.items():
            if count > total - room[host] and not boundless - {host}:
                crowded[host] += count
    return crowded


def _rooms(target: _model.TargetClass) -> tuple[collections.Counter[str], frozenset[str]]:
    """How much fits on each host, and the hosts that do not say it."""
    found: collections.Counter[str] = collections.Counter()
    for member in target["members"]:
        found[member["host"]] += member["room"] or 0
    return found, frozenset(member["host"] for member in target["members"] if member["room"] is None)


def _emptied(plan: _model.Plan | None) -> dict[str, bool]:
    planning = plan["planning"] if plan else None
    found: dict[str, bool] = {}
    for batch in planning["batches"] if planning else ():
        for host in batch["hosts"]:
            found[host] = found.get(host, True) and host in batch["emptied"]
    return found


def capacity(snapshots: Snapshots, plan: _model.Plan | None = None) -> list[Usage]:
    """What is used and free, grouped by how the types share a parent; the most parents first.

    :arg plan: whatever the operator said of capacity for it counts here too; ContractError for what can not be.
    """
    hosts = [_nodes.Host(name, snapshots[name]) for name in sorted(snapshots)]
    rooms = _capacity.derive(hosts, _overrides(plan, hosts), {}).rooms
    groups: dict[object, Usage] = {}
    for host in hosts:
        snapshot = snapshots[host.name]
        used = _used(snapshot)
        for parent in snapshot["parents"]:
            room = rooms.get((host.name, parent["address"]))
            key = room.model if room else parent["driver"]
            if key not in groups:
                groups[key] = _usage(room.model) if room else _silent(parent["driver"])
            groups[key]["parents"].append(_parent(host.name, parent, room, used.get(parent["address"], {})))
    return sorted(groups.values(), key=lambda one: (one["model"] == "silent", -len(one["parents"])))


def _overrides(plan: _model.Plan | None, hosts: list[_nodes.Host]) -> tuple[_policy.Override, ...]:
    """What a plan says of hosts that are not in the report fits none of its parents."""
    planning = plan["planning"] if plan else None
    said = (planning["policy"].get("capacity") if planning else None) or []
    known = {None, *(host.name for host in hosts)}
    if isinstance(said, list):
        said = [one for one in said if not isinstance(one, dict) or one.get("host") in known]
    return _policy.capacity(said, hosts)


def _used(snapshot: _model.Snapshot) -> dict[str | None, collections.Counter[str | None]]:
    used: dict[str | None, collections.Counter[str | None]] = {}
    for device in snapshot["devices"]:
        if device["kind"] == "mdev":
            used.setdefault(device["parent"], collections.Counter())[device["type"]] += 1
    return used


def _parent(
    host: str, parent: _model.Parent, room: _capacity.Room | None, used: t.Mapping[str | None, int]
) -> ParentUse:
    types = sorted(parent["types"], key=lambda one: one["id"])
    known = {one["id"] for one in types}
    others: collections.Counter[str | None] = collections.Counter()
    for name, count in used.items():
        if name not in known:
            others[name] += count
    uses = [
        TypeUse(type=one["id"], used=used.get(one["id"], 0), room=one["available_instances"] if room else None)
        for one in types
    ]
    uses += [TypeUse(type=name, used=others[name], room=None) for name in sorted(others, key=lambda name: name or "")]
    left = zip(room.model.resources, room.left, strict=True) if room else ()
    return ParentUse(
        host=host,
        parent=parent["address"],
        left=[_model.Share(resource=name, units=units) for name, units in left],
        types=uses,
    )


def _usage(model: _capacity.Model) -> Usage:
    needs = [
        _model.TypeNeed(
            type=_model.Name(name),
            most=model.most[number],
            needs=[
                _model.Share(resource=resource, units=units)
                for resource, units in (
                    [(name, 1)] if model.exclusive else zip(model.resources, model.costs[number], strict=True)
                )
            ],
        )
        for number, name in enumerate(model.types)
    ]
    return Usage(
        model=model.name, origin=model.origin, detail=model.detail, driver=model.driver, types=needs, parents=[]
    )


def _silent(driver: str | None) -> Usage:
    detail = "these parents do not answer, or offer no type"
    return Usage(model="silent", origin="default", detail=detail, driver=driver, types=[], parents=[])
