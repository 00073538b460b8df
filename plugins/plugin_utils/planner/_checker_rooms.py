# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The capacity part of the checker: replays every create of a plan.

Twice: against what the plan itself says of its parents, and against what the drivers said. It shares nothing with the
code that made the plan, so that a mistake there is not made here as well.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Capacity, Parent, Snapshot

Place = tuple[str, str]
"""Host and parent."""


@dataclasses.dataclass
class _Room:
    """One parent while the plan is replayed."""

    record: Capacity
    left: dict[str, int]
    """By the record: units of each resource; of an exclusive parent instances of each type."""
    shown: dict[str, int | None]
    """Type -> available_instances."""
    before: collections.Counter[str]
    """Instances of each type that are there by the facts."""
    alive: collections.Counter[str]
    """The same now."""
    made: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """What the plan has made here, gone or not."""
    fresh: bool = True
    """Nothing was given back so far: what the driver shows holds."""

    @property
    def exclusive(self) -> bool:
        return self.record["model"] in ("exclusive", "unknown")

    @property
    def needs(self) -> dict[str, dict[str, int]]:
        """Type -> resource -> units."""
        return {
            one["type"]: {share["resource"]: share["units"] for share in one["needs"]} for one in self.record["types"]
        }

    @property
    def most(self) -> dict[str, int | None]:
        return {one["type"]: one["most"] for one in self.record["types"]}


class Rooms:
    """All parents that a plan creates something on."""

    def __init__(self, records: t.Iterable[Capacity], snapshots: t.Mapping[str, Snapshot]) -> None:
        self.found: list[str] = []
        """Violations so far."""
        self._rooms: dict[Place, _Room] = {}
        for record in records:
            for one in record["parents"]:
                left = {share["resource"]: share["units"] for share in one["left"]}
                self._add((one["host"], one["parent"]), record, left, snapshots.get(one["host"]))

    def _add(self, place: Place, record: Capacity, left: dict[str, int], snapshot: Snapshot | None) -> None:
        parent = _parent(snapshot, place[1])
        if place in self._rooms:
            self.found.append(f"{_named(place)} has two capacity records")
        elif parent is None or snapshot is None:
            self.found.append(f"{_named(place)} has a capacity record, but no facts say that it is there")
        else:
            before = collections.Counter[str](
                device["type"] for device in snapshot["devices"] if device["parent"] == place[1] and device["type"]
            )
            shown: dict[str, int | None] = {one["id"]: one["available_instances"] for one in parent["types"]}
            room = self._rooms[place] = _Room(record, left, shown, before, before.copy())
            self.found += (f"{_named(place)}: {end}" for end in _contradictions(room))

    def create(self, place: Place, kind: str, who: str) -> None:
        """One more instance of a type, for a workload."""
        room = self._rooms.get(place)
        if room is None:
            self.found.append(f"{who} gets an instance on {_named(place)}, of whose capacity the plan says nothing")
            return
        room.made[kind] += 1
        room.alive[kind] += 1
        if room.fresh:
            self.found += (f"{who} gets {kind} on {_named(place)}, {end}" for end in _shown_problems(room, kind))
        problem = _take(room, kind)
        if problem:
            self.found.append(f"{who} gets {kind} on {_named(place)}, {problem}")

    def give_back(self, host: str, gone: t.Iterable[tuple[str, str]]) -> None:
        """A host is back from its maintenance without these (parent, type)."""
        lost: dict[str, list[str]] = {}
        for parent, kind in gone:
            lost.setdefault(parent, []).append(kind)
        for parent, kinds in lost.items():
            room = self._rooms.get((host, parent))
            if room is not None:
                _give_back(room, kinds)


def _named(place: Place) -> str:
    return f"{place[0]} {place[1]}"


def _parent(snapshot: Snapshot | None, address: str) -> Parent | None:
    parents = snapshot["parents"] if snapshot else []
    return next((parent for parent in parents if parent["address"] == address and parent["state"] == "ok"), None)


def _contradictions(room: _Room) -> t.Iterator[str]:
    """Where the record promises what the driver does not. The operator may know better than a driver."""
    record = room.record
    if record["origin"] == "operator":
        return
    for one in record["types"]:
        kind, most = one["type"], one["most"]
        shown = room.shown.get(kind)
        if shown is None:
            continue
        fits = _fits(room, kind)
        if fits > shown:
            yield f"the plan's {record['model']} record has room for {fits} of {kind}, and its driver shows {shown}"
        if most is not None and most < shown:
            yield f"the plan's record lets at most {most} of {kind} onto it, and its driver shows {shown} more"


def _fits(room: _Room, kind: str) -> int:
    """Instances of one type that the record has room for, were there nothing else."""
    if room.exclusive:
        return room.left.get(kind, 0)
    counts = [room.left.get(resource, 0) // units for resource, units in room.needs[kind].items() if units > 0]
    return min(counts, default=0)


def _shown_problems(room: _Room, kind: str) -> t.Iterator[str]:
    """What the driver itself says against one more; it was counted already."""
    shown = room.shown.get(kind)
    if kind not in room.shown:
        yield "which has no such type"
    elif shown is None:
        if room.record["origin"] != "operator":
            yield "whose driver does not say how many fit"
    elif room.made[kind] > shown:
        yield f"whose driver shows room for {shown}, and the plan makes {room.made[kind]}"
    # What lives there already is in the driver's number: it shows no room for siblings, or it mixes types.
    others = set(room.made) - {kind}
    if room.exclusive and others:
        yield f"which takes one type only and has {', '.join(sorted(others))}"


def _take(room: _Room, kind: str) -> str | None:
    """Replay one create by the record; what is wrong with it."""
    if room.exclusive:
        have = room.left.get(kind, 0)
        room.left = {kind: have - 1}
        return None if have > 0 else "where the plan's own record has none left"
    needs = room.needs.get(kind)
    if needs is None:
        return "which the plan's own record does not know"
    lacking = [resource for resource, units in needs.items() if room.left.get(resource, 0) < units]
    for resource, units in needs.items():
        room.left[resource] = room.left.get(resource, 0) - units
    return f"where the plan's own record has too few {', '.join(sorted(lacking))} left" if lacking else None


def _give_back(room: _Room, kinds: t.Sequence[str]) -> None:
    room.fresh = False
    room.alive.subtract(kinds)
    room.alive = +room.alive
    if not room.exclusive:
        for kind in kinds:
            for resource, units in room.needs.get(kind, {}).items():
                room.left[resource] = room.left.get(resource, 0) + units
        return
    room.left = {kind: _after(room, kind) for kind in room.shown}


def _after(room: _Room, kind: str) -> int:
    """Instances of a type that an exclusive parent takes when some have gone."""
    others = {other for other, count in room.alive.items() if other != kind and count}
    if any(room.alive[other] > room.before[other] for other in others):
        return 0
    # What the driver showed then and what has gone since; a parent with nothing else on it has its full room again.
    have = (room.shown[kind] or 0) + room.before[kind]
    if not others:
        have = max(have, room.most.get(kind) or 0)
    return max(0, have - room.alive[kind])
