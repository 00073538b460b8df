# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairings -> how ready each device and each VM is to leave its host now.

This file is private to the collection and pure. The matrix is made of classes;
what counts here is the individual, because only for a given device it is known
which host is "elsewhere". Sets of hosts are kept per class, so the work grows
with devices plus pairings, not with their product.
"""

from __future__ import annotations

import collections
import functools
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model

State = t.Literal["ready", "no_room", "unknown", "blocked"]
"""``no_room``: a driver elsewhere accepts it, but nothing is known to be free there."""

STATES: t.Final[tuple[State, ...]] = ("ready", "no_room", "unknown", "blocked")
HOST_STATES: t.Final = ("fresh", "cached", "unreachable", "excluded")


class Standing(t.TypedDict):
    """One device, or one VM, and whether it can leave its host now."""

    host: str
    device: str | None
    """Null for a VM."""
    type: str | None
    workload: str | None
    state: State
    reason: str | None
    """Null when ready, else a code of ``_reasons.py``."""
    errno: str | None


class Summary(t.TypedDict):
    """The fleet in numbers; every key is always there."""

    hosts: dict[str, int]
    devices: dict[str, int]
    workloads: dict[str, int]
    findings: dict[str, int]


Levels = tuple[frozenset[str], frozenset[str], frozenset[str]]
"""Hosts for ready, no_room and unknown, each level holding those before."""


class _Reach(t.NamedTuple):
    """Where members of one source class could go, as sets of hosts."""

    levels: Levels
    room_unknown: frozenset[str]
    """Hosts that accept, but do not say how much room they have."""
    why: tuple[tuple[_model.Answer, str | None, str | None, frozenset[str]], ...]
    """(verdict, reason, errno, hosts) of every pairing that is not compatible."""


_NOWHERE = _Reach((frozenset(), frozenset(), frozenset()), frozenset(), ())


def standings(pairings: _model.Pairings) -> tuple[list[Standing], list[Standing]]:
    """Judge every device and every VM of the fleet; both lists are sorted by host."""
    missing = _missing(pairings)
    reaches = _reaches(pairings)
    devices: list[Standing] = []
    vms: dict[tuple[str, str], list[tuple[Standing, str]]] = {}
    for source in pairings["sources"]:
        reach = reaches.get(source["id"], _NOWHERE)
        # Devices of one class on one host share their fate.
        judge = functools.cache(functools.partial(_judge, reach, missing))
        for member in source["members"]:
            if member["device"] is None:
                continue
            standing = _device(member, source["type"], *judge(member["host"]))
            devices.append(standing)
            if member["workload"] is not None:
                vms.setdefault((member["host"], member["workload"]), []).append((standing, source["id"]))
    devices.sort(key=lambda one: (one["host"], one["device"] or ""))

    @functools.cache
    def together(sources: frozenset[str]) -> Levels:
        levels = [reaches.get(source, _NOWHERE).levels for source in sources]
        ready, no_room, unknown = (frozenset.intersection(*same) for same in zip(*levels, strict=True))
        return ready, no_room, unknown

    return devices, [_vm(vms[key], together, missing) for key in sorted(vms)]


def _missing(pairings: _model.Pairings) -> frozenset[str]:
    """Hosts that may have targets nobody knows of."""
    lost = {host["host"] for host in pairings["hosts"] if host["state"] in ("unreachable", "excluded")}
    return frozenset(lost.union(*(one["hosts"] for one in pairings["findings"] if one["kind"] == "incomplete")))


def summary(pairings: _model.Pairings, devices: list[Standing], vms: list[Standing]) -> Summary:
    """Count it all."""

    def count(values: t.Iterable[str], known: t.Iterable[str]) -> dict[str, int]:
        counted = collections.Counter(values)
        return {**dict.fromkeys(known, 0), **{key: counted[key] for key in sorted(counted)}}

    return {
        "hosts": count((host["state"] for host in pairings["hosts"]), HOST_STATES),
        "devices": count((one["state"] for one in devices), STATES),
        "workloads": count((one["state"] for one in vms), STATES),
        "findings": count((finding["kind"] for finding in pairings["findings"]), ()),
    }


def _reaches(pairings: _model.Pairings) -> dict[str, _Reach]:
    rooms = {target["id"]: _rooms(target) for target in pairings["targets"]}
    by_source: dict[str, list[_model.Pairing]] = {}
    for pairing in pairings["pairings"]:
        # A device in use is not asked: another device of its parent and type speaks for it.
        if pairing["reason"] == "in_use":
            continue
        by_source.setdefault(pairing["source"], []).append(pairing)
    return {source: _reach(found, rooms) for source, found in by_source.items()}


def _rooms(target: _model.TargetClass) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Split a class's hosts into: with room, without, and not known. A host counts by its best member."""
    room = frozenset(member["host"] for member in target["members"] if member["room"])
    null = frozenset(member["host"] for member in target["members"] if member["room"] is None) - room
    full = frozenset(member["host"] for member in target["members"]) - room - null
    return room, full, null


def _reach(
    found: list[_model.Pairing], rooms: dict[str, tuple[frozenset[str], frozenset[str], frozenset[str]]]
) -> _Reach:
    sets: dict[str, set[str]] = {"room": set(), "full": set(), "room_unknown": set(), "unknown": set()}
    why = []
    for pairing in found:
        room, full, null = rooms[pairing["target"]]
        if pairing["verdict"] == "compatible":
            sets["room"] |= room
            sets["full"] |= full
            sets["room_unknown"] |= null
            continue
        hosts = room | full | null
        if pairing["verdict"] == "unknown":
            sets["unknown"] |= hosts
        why.append((pairing["verdict"], pairing["reason"], pairing["errno"], hosts))
    ready = frozenset(sets["room"])
    no_room = ready | sets["full"] | sets["room_unknown"]
    return _Reach((ready, no_room, no_room | sets["unknown"]), frozenset(sets["room_unknown"]), tuple(why))


def _device(
    member: _model.SourceMember, kind: str | None, state: State, reason: str | None, errno: str | None
) -> Standing:
    return {
        "host": member["host"],
        "device": member["device"],
        "type": kind,
        "workload": member["workload"],
        "state": state,
        "reason": reason,
        "errno": errno,
    }


def _vm(
    parts: list[tuple[Standing, str]], together: t.Callable[[frozenset[str]], Levels], missing: frozenset[str]
) -> Standing:
    """Judge a VM: all its devices have to go to one host."""
    worst = max((standing for standing, _source in parts), key=lambda one: STATES.index(one["state"]))
    state = _state(together(frozenset(source for _standing, source in parts)), worst["host"], missing)
    alone = state == worst["state"]
    return {
        "host": worst["host"],
        "device": None,
        "type": None,
        "workload": worst["workload"],
        "state": state,
        "reason": worst["reason"] if alone else "split",
        "errno": worst["errno"] if alone else None,
    }


def _judge(reach: _Reach, missing: frozenset[str], host: str) -> tuple[State, str | None, str | None]:
    state = _state(reach.levels, host, missing)
    return state, *_reason(state, reach, host, missing)


def _state(levels: Levels, host: str, missing: frozenset[str]) -> State:
    """Find the best level at which another host takes it."""
    for state, hosts in zip(STATES, levels, strict=False):
        if _elsewhere(hosts, host):
            return state
    return "unknown" if _elsewhere(missing, host) else "blocked"


def _reason(state: State, reach: _Reach, host: str, missing: frozenset[str]) -> tuple[str | None, str | None]:
    if state == "ready":
        return None, None
    if state == "no_room":
        return ("room_unknown" if _elsewhere(reach.room_unknown, host) else "full"), None
    wanted = "unknown" if state == "unknown" else "incompatible"
    heard: collections.Counter[tuple[str, str]] = collections.Counter()
    for verdict, reason, errno, hosts in reach.why:
        if verdict == wanted and _elsewhere(hosts, host):
            heard[reason or "", errno or ""] += len(hosts)
    if heard:
        reason, errno = min(heard, key=lambda code: (-heard[code], code))
        return reason or None, errno or None
    return ("hosts_missing" if _elsewhere(missing, host) else "no_target"), None


def _elsewhere(hosts: frozenset[str], host: str) -> bool:
    return len(hosts) > (host in hosts)
