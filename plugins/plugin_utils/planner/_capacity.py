# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much room each parent of a fleet has, and how its types share it.

The numbers of sibling types cannot be added: each driver couples them in its own way, and only some say how. What is
concluded here never promises more than what is known allows; who knows better says so in the policy.

This file is private to the collection and pure.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Note, Parent, Snapshot
from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _drivers
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._drivers import Alike, Origin, Rule, Seen
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import ModelName, Override
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Left

Place = tuple[str, str]
"""Host and parent."""

Leaving = t.Mapping[str, t.Collection[str]]
"""Host -> its devices that belong to workloads which are to move."""

SHOWN = 5
"""Names in one note."""

_SENSIBLE = 1 << 32


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """How the types of some parents share them. One object for all parents that are alike."""

    name: ModelName
    origin: Origin
    detail: str
    """One sentence: what it was derived from."""
    driver: str
    types: tuple[str, ...]
    """In the order of their ids; those without a known room are not in it."""
    resources: tuple[str, ...]
    """Of exclusive parents: the types."""
    costs: tuple[Left, ...]
    """For each type the units of each resource that an instance takes. Empty for an exclusive parent."""
    most: tuple[int | None, ...]
    """For each type the instances that an empty parent takes; null when nobody knows."""

    @property
    def exclusive(self) -> bool:
        """Whether the first instance fixes the type; so plans what nobody knows."""
        return self.name in ("exclusive", "unknown")

    def given_back(self, left: Left, gone: t.Mapping[str, int]) -> Left:
        """What is left when so many instances of these types have gone while others stay: at least this much."""
        if self.exclusive:
            return tuple(count + gone.get(name, 0) for name, count in zip(self.types, left, strict=True))
        return _more(left, dict(zip(self.types, self.costs, strict=True)), gone)


class Room(t.NamedTuple):
    """What is left of one parent. One object for all parents that are alike and in the same state."""

    model: Model
    left: Left
    """Units of each resource, with everything that is on it."""
    full: Left
    """The same with none of the instances that can be evacuated."""


class Capacities(t.NamedTuple):
    """The room of a fleet."""

    rooms: t.Mapping[Place, Room]
    """Of parents that answer; of the others nothing is known."""
    notes: tuple[Note, ...]


class _State(t.NamedTuple):
    """All that the room of a parent depends on."""

    alike: Alike
    seen: Seen
    leaving: tuple[int, ...]
    override: int | None


def derive(hosts: t.Iterable[_nodes.Host], overrides: t.Sequence[Override], leaving: Leaving) -> Capacities:
    """The room of every parent of these hosts."""
    numbers: dict[_State, int] = {}
    places: list[tuple[Place, int]] = []
    for host in hosts:
        if host.snapshot is not None:
            own = _states(host.name, host.snapshot, overrides, leaving.get(host.name, ()))
            for address, state in sorted(own, key=operator.itemgetter(0)):
                places.append(((host.name, address), numbers.setdefault(state, len(numbers))))
    observed: dict[Alike, set[Seen]] = {}
    for state in numbers:
        observed.setdefault(state.alike, set()).add(state.seen)
    groups = {alike: _Group(alike, seen) for alike, seen in observed.items()}
    states = list(numbers)
    rooms = [groups[state.alike].room(state, overrides) for state in states]
    return Capacities({place: rooms[number] for place, number in places}, _notes(places, states, rooms, overrides))


def _states(
    host: str, snapshot: Snapshot, overrides: t.Sequence[Override], leaving: t.Collection[str]
) -> t.Iterator[tuple[str, _State]]:
    used: dict[str, dict[str | None, int]] = {}
    gone: dict[str, dict[str | None, int]] = {}
    for device in snapshot["devices"]:
        parent, kind_of = device["parent"], device["type"]
        if device["kind"] == "mdev" and parent is not None:
            counts = used.setdefault(parent, {})
            counts[kind_of] = counts.get(kind_of, 0) + 1
            if device["id"] in leaving:
                counts = gone.setdefault(parent, {})
                counts[kind_of] = counts.get(kind_of, 0) + 1
    for each in snapshot["parents"]:
        if each["state"] == "ok" and each["types"]:
            address = each["address"]
            alike, room = _alike(each)
            counts = used.get(address, {})
            own = _counted(counts, alike.types)
            # Of a type that is not there any more, or not known: whatever it takes, it is somebody's.
            seen = Seen(room, own, sum(counts.values()) - sum(own))
            chosen = next((n for n, one in enumerate(overrides) if _fits(one, host, each)), None) if overrides else None
            yield address, _State(alike, seen, _counted(gone.get(address, {}), alike.types), chosen)


def _counted(counts: t.Mapping[str | None, int], types: tuple[str, ...]) -> tuple[int, ...]:
    return tuple([counts.get(name, 0) for name in types]) if counts else (0,) * len(types)


_TYPE = operator.itemgetter("id", "description", "available_instances")


def _alike(parent: Parent) -> tuple[Alike, tuple[int | None, ...]]:
    hardware = parent["hardware"]
    model = (hardware["vendor"], hardware["model"])
    return _shown(parent["driver"], parent["vendor"], model, tuple(map(_TYPE, parent["types"])))


@functools.lru_cache(maxsize=4096)
def _shown(
    driver: str | None,
    vendor: str | None,
    hardware: tuple[str | None, str | None],
    types: tuple[tuple[str, str | None, int | None], ...],
) -> tuple[Alike, tuple[int | None, ...]]:
    """What parents have in common, and the room of one; the same few occur on all hosts."""
    by_id = {each[0]: each for each in types}
    names, descriptions, rooms = zip(*(by_id[name] for name in sorted(by_id)), strict=True)
    sensible = tuple([room if room is not None and 0 <= room < _SENSIBLE else None for room in rooms])
    return Alike(driver, vendor, hardware, names, descriptions), sensible


def _fits(override: Override, host: str, parent: Parent) -> bool:
    return (
        override.driver in (None, _drivers.called(parent["driver"], [each["id"] for each in parent["types"]]))
        and override.vendor in (None, parent["vendor"])
        and override.host in (None, host)
        and override.parent in (None, parent["address"])
        and (override.type is None or any(each["id"] == override.type for each in parent["types"]))
    )


class _Group:
    """Parents of one driver and hardware."""

    def __init__(self, alike: Alike, observed: t.Collection[Seen]) -> None:
        self._alike = alike
        self._rule = _drivers.by_driver(alike) or _drivers.by_siblings(alike, observed) or _drivers.UNKNOWN
        self._empty = _emptiest(alike, observed)
        self._models: dict[Model, Model] = {}

    def room(self, state: _State, overrides: t.Sequence[Override]) -> Room:
        rule = self._rule
        if state.override is not None:
            rule = _drivers.by_operator(overrides[state.override], self._alike)
        else:
            rule = _drivers.by_mode(self._alike, state.seen) or rule
        if rule.exclusive:
            return self._exclusive(rule, state)
        return self._additive(rule, state) or self._exclusive(_contradicted(rule), state)

    def _additive(self, rule: Rule, state: _State) -> Room | None:
        """None when the numbers that the parent shows cannot come from this rule."""
        shown = {
            name: room
            for name, room in zip(self._alike.types, state.seen.room, strict=True)
            if room is not None and name in rule.costs
        }
        for left in _guesses(rule, shown, state.seen, self._alike.types):
            if min(left) >= 0 and all(_number(left, rule.costs[name]) <= room for name, room in shown.items()):
                going = dict(zip(self._alike.types, state.leaving, strict=True))
                model = self._model(rule, tuple(shown), state.seen)
                # What a type that does not say its room gives back is in no record, so nobody could check it.
                return Room(model, left, model.given_back(left, going))
        return None

    def _exclusive(self, rule: Rule, state: _State) -> Room:
        types, left, full = [], [], []
        stays = state.seen.untyped or state.seen.used != state.leaving
        for name, room, going in zip(self._alike.types, state.seen.room, state.leaving, strict=True):
            if room is None:
                continue
            types.append(name)
            left.append(room)
            empty = 0 if stays or not any(state.leaving) else rule.most.get(name, self._empty.get(name, 0))
            full.append(max(room + going, empty))
        return Room(self._model(rule, tuple(types), state.seen), tuple(left), tuple(full))

    def _model(self, rule: Rule, types: tuple[str, ...], seen: Seen) -> Model:
        most: dict[str, int] = {**self._empty, **rule.most}
        if rule.totals is not None:
            most.update({name: _number(rule.totals, cost) for name, cost in rule.costs.items()})
        for name, room, used in zip(self._alike.types, seen.room, seen.used, strict=True):
            if most.get(name, 0) < (room or 0) + used:
                most.pop(name, None)  # this one shows more than others or its description say: nobody knows
        model = Model(
            rule.name,
            rule.origin,
            rule.detail,
            self._alike.called,
            types,
            types if rule.exclusive else rule.resources,
            () if rule.exclusive else tuple(rule.costs[name] for name in types),
            tuple(most.get(name) for name in types),
        )
        return self._models.setdefault(model, model)


def _emptiest(alike: Alike, observed: t.Iterable[Seen]) -> dict[str, int]:
    """Instances of each type that an empty parent takes, the least of what such parents show."""
    found: dict[str, int] = {}
    for seen in observed:
        for name, room in zip(alike.types, seen.room, strict=True):
            if seen.empty and room is not None:
                found[name] = min(room, found.get(name, room))
    return found


def _guesses(rule: Rule, shown: t.Mapping[str, int], seen: Seen, types: t.Sequence[str]) -> t.Iterator[Left]:
    """What may be left of each resource, best guess first. None is more than what really is left."""
    counted = all(name in rule.costs or not count for name, count in zip(types, seen.used, strict=True))
    if rule.totals is not None and counted and not seen.untyped:
        used = {name: -count for name, count in zip(types, seen.used, strict=True)}
        yield _more(rule.totals, rule.costs, used)
    if not rule.rounded:
        places = range(len(rule.resources))
        yield tuple(max((rule.costs[name][each] * room for name, room in shown.items()), default=0) for each in places)


def _more(left: Left, costs: t.Mapping[str, Left], gone: t.Mapping[str, int]) -> Left:
    back = [(costs[name], number) for name, number in gone.items() if name in costs]
    return tuple(count + sum(cost[place] * number for cost, number in back) for place, count in enumerate(left))


def _number(left: Left, cost: Left) -> int:
    """Instances that fit."""
    return min(have // need for have, need in zip(left, cost, strict=True) if need)


def _contradicted(rule: Rule) -> Rule:
    detail = f"{rule.detail}; what it shows contradicts that, so it is planned as one type at a time"
    return dataclasses.replace(_drivers.UNKNOWN, detail=detail)


def _notes(
    places: t.Sequence[tuple[Place, int]],
    states: t.Sequence[_State],
    rooms: t.Sequence[Room],
    overrides: t.Sequence[Override],
) -> tuple[Note, ...]:
    silent: dict[str, list[str]] = {}
    uncounted: dict[str, list[str]] = {}
    refused: dict[str, list[str]] = {}
    lacking = [len(room.model.types) < len(state.alike.types) for state, room in zip(states, rooms, strict=True)]
    for (host, parent), number in places:
        state, room = states[number], rooms[number]
        if lacking[number]:
            for name, shown in zip(state.alike.types, state.seen.room, strict=True):
                if shown is None:
                    silent.setdefault(host, []).append(f"{parent}/{name}")
                elif name not in room.model.types:
                    uncounted.setdefault(host, []).append(f"{parent}/{name}")
        if state.override is not None and room.model.origin != "operator":
            refused.setdefault(host, []).append(parent)
    chosen = {state.override for state in states}
    contradicted = (
        "what these parents show contradicts the policy's capacity, so they are planned as one type at a time"
    )
    return (
        *_by_host(silent, "room_unknown", "nothing is planned onto types that do not say how many more fit"),
        *_by_host(uncounted, "no_cost", "nothing is planned onto types that the policy's capacity has no costs for"),
        *_by_host(refused, "capacity", contradicted),
        *(
            Note(item=f"capacity[{number}]", reason="capacity", detail="it fits no parent that answers")
            for number in range(len(overrides))
            if number not in chosen
        ),
    )  # fmt: skip


def _by_host(found: t.Mapping[str, list[str]], reason: str, detail: str) -> t.Iterator[Note]:
    for host in sorted(found):
        yield Note(item=f"hosts/{host}", reason=reason, detail=f"{detail}: {some(sorted(found[host]))}")


def some(names: t.Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
