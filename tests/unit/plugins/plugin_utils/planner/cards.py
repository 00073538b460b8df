# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parents that share their room in every known way, said in a few words, and the way to play with what was derived."""

from __future__ import annotations

import typing as t
from types import MappingProxyType

from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._capacity import Capacities, Model, Room, derive
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import Override
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Kind, Left, Seat
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data

MANY = 50
NOBODY: frozenset[int] = frozenset()

Rooms = t.Mapping[str, int | None]
Used = t.Mapping[str, int]
"""Type -> instances; those of the empty type do not say which they are."""


class Card(t.NamedTuple):
    """One parent: what its types say, and what lives on it."""

    rooms: Rooms
    used: Used = MappingProxyType({})
    leaving: Used = MappingProxyType({})
    """Of what lives on it, what is to move."""


SILENT: t.Final[t.Mapping[str, str]] = MappingProxyType({})
"""No type has a description."""


def fleet(
    cards: t.Sequence[Card], driver: str | None, descriptions: t.Mapping[str, str] = SILENT
) -> tuple[list[_nodes.Host], dict[str, set[str]]]:
    """One host for each card, and the devices that are to move."""
    facts: dict[str, t.Any] = {}
    leaving: dict[str, set[str]] = {}
    for number, card in enumerate(cards):
        parent = data.parent("p1", *(data.mdev_type(name, "s", room) for name, room in card.rooms.items()))
        parent["driver"] = driver
        for each in parent["types"]:
            each["description"] = descriptions.get(each["id"])
        name, devices = f"h{number}", []
        for kind, count in card.used.items():
            for place in range(count):
                ident = f"{kind}-{place}"
                devices.append(data.device(ident, "s" if kind else "?gone", ("p1", kind or None), in_use=True))
                if place < card.leaving.get(kind, 0):
                    leaving.setdefault(name, set()).add(ident)
        facts[name] = data.host(parent, *devices)
    hosts = _nodes.load(facts)
    assert [host.errors for host in hosts if host.errors] == []
    return hosts, leaving


def derived(
    cards: t.Sequence[Card],
    driver: str | None = "drv",
    descriptions: t.Mapping[str, str] = SILENT,
    overrides: t.Sequence[Override] = (),
) -> list[Room]:
    """The room of each card."""
    found = capacities(cards, driver, descriptions, overrides)
    return [found.rooms[f"h{number}", "p1"] for number in range(len(cards))]


def capacities(
    cards: t.Sequence[Card],
    driver: str | None = "drv",
    descriptions: t.Mapping[str, str] = SILENT,
    overrides: t.Sequence[Override] = (),
) -> Capacities:
    """The rooms and the notes."""
    hosts, leaving = fleet(cards, driver, descriptions)
    return derive(hosts, overrides, leaving)


def kind(model: Model) -> Kind:
    """What the search takes from."""
    seats = tuple(Seat(name, NOBODY, NOBODY, NOBODY, None) for name in model.types)
    return Kind(model.exclusive, seats, model.costs)


def fits(model: Model, left: Left) -> dict[str, int]:
    """How many more of each type alone, counted up to MANY."""
    found = {}
    for seat, name in enumerate(model.types):
        found[name], now = 0, kind(model).take(left, seat)
        while now is not None and found[name] < MANY:
            found[name], now = found[name] + 1, kind(model).take(now, seat)
    return found


def shape(room: Room) -> tuple[str, str, dict[str, int], dict[str, int]]:
    """Model, origin, what fits now and what fits when all that can has left."""
    return room.model.name, room.model.origin, fits(room.model, room.left), fits(room.model, room.full)


def override(model: t.Any, **keys: t.Any) -> Override:
    """The operator's word for all cards of a test."""
    usual: dict[str, t.Any] = {"vendor": None, "type": None, "host": None, "parent": None, "costs": {}, "totals": {}}
    return Override(**{"model": model, "driver": "drv", "most": {}, **usual, **keys})
