# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of how drivers share a parent among their types: rules, each with where it comes from.

Sources: drivers/gpu/drm/i915/gvt/kvmgt.c (description), samples/vfio-mdev/mtty.c (ports), drivers/s390/crypto and
drivers/s390/cio (one type each), NVIDIA's vGPU documentation (framebuffer, max_instance, one type a card).

This file is private to the collection and pure.
"""

from __future__ import annotations

import dataclasses
import math
import re
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import UNITS, ModelName, Override
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Left

Origin = t.Literal["operator", "driver", "description", "siblings", "default"]


@dataclasses.dataclass(frozen=True)
class Rule:
    """How the types of a parent share it."""

    name: ModelName
    origin: Origin
    detail: str
    resources: tuple[str, ...] = ()
    costs: t.Mapping[str, Left] = dataclasses.field(default_factory=dict)
    """Type -> units of each resource. Empty for an exclusive parent; other types have no room."""
    totals: Left | None = None
    """Units of an empty parent, where they are known."""
    most: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Type -> instances that an empty parent takes, where that is known."""
    rounded: bool = False
    """Costs are too high on purpose, so only what they leave of the totals counts."""

    @property
    def exclusive(self) -> bool:
        """Whether the first instance fixes the type; so plans what nobody knows."""
        return self.name in ("exclusive", "unknown")


class Seen(t.NamedTuple):
    """What one parent said: per type what it still takes and how many it has."""

    room: tuple[int | None, ...]
    used: tuple[int, ...]
    untyped: int
    """Instances that do not say of which type they are."""

    @property
    def mixed(self) -> bool:
        """Instances of two types live on it at once."""
        return sum(count > 0 for count in self.used) > 1

    @property
    def empty(self) -> bool:
        """Nothing is on it."""
        return not any(self.used) and not self.untyped


class Alike(t.NamedTuple):
    """What parents of one driver and hardware have in common."""

    driver: str | None
    vendor: str | None
    hardware: tuple[str | None, str | None]
    types: tuple[str, ...]
    """In the order of their ids."""
    descriptions: tuple[str | None, ...]

    @property
    def called(self) -> str:
        """Its driver."""
        return called(self.driver, self.types)


def called(driver: str | None, types: t.Sequence[str]) -> str:
    """A driver's name. Virtual parents have no link to it, but it stands in front of the ids of their types."""
    return driver or types[0].partition("-")[0]


UNKNOWN: t.Final = Rule(
    "unknown", "default", "nobody says how its types share it, so it is planned as one type at a time"
)


def by_operator(override: Override, alike: Alike) -> Rule:
    """The operator's word."""
    detail = "the policy's capacity says so"
    if override.model in ("exclusive", "unknown"):
        return Rule(override.model, "operator", detail, most=override.most)
    if override.model == "independent":
        return _independent(alike.types, "operator", detail)
    resources = tuple(sorted({name for needs in override.costs.values() for name in needs}))
    costs = {
        name: tuple(needs.get(resource, 0) for resource in resources)
        for name, needs in override.costs.items()
        if name in alike.types
    }
    # A resource whose total nobody gave has no total that could be counted down.
    known = [override.totals[each] for each in resources if each in override.totals]
    totals = tuple(known) if len(known) == len(resources) else None
    return Rule(override.model, "operator", detail, resources, costs, totals)


def by_driver(alike: Alike) -> Rule | None:
    """What is known of this driver, None when nothing is."""
    described = _i915(alike) if alike.called in ("i915", "kvmgt") else None
    if described is not None:
        return described
    if alike.called == "mtty" and set(alike.types) <= set(_MTTY_PORTS):
        costs = {name: (_MTTY_PORTS[name],) for name in alike.types}
        return Rule("shared_units", "driver", "mtty divides one pool of ports", ("ports",), costs)
    if len(alike.types) == 1:
        return _independent(alike.types, "driver" if alike.called in _ONE_TYPE else "siblings", _one_type(alike))
    if alike.called in _NVIDIA:
        most = {name: number for name, number in _read(alike, _MAX_INSTANCE).items() if number is not None}
        return Rule("exclusive", "driver", "the first instance on an NVIDIA card fixes the type", most=most)
    return None


def by_mode(alike: Alike, seen: Seen) -> Rule | None:
    """What a card's own state shows: an NVIDIA card with two types at once is set to mix them."""
    if alike.called not in _NVIDIA or not seen.mixed:
        return None
    sizes = _read(alike, _FRAMEBUFFER)
    if not all(sizes.values()):
        return None
    costs = {name: (size,) for name, size in sizes.items() if size}
    detail = (
        "instances of two types live on the card, so it mixes them; its descriptions say how much memory each takes"
    )
    return Rule("shared_units", "description", detail, ("framebuffer",), costs)


def by_siblings(alike: Alike, observed: t.Collection[Seen]) -> Rule | None:
    """What all parents alike show together: an instance takes the share 1/n of a parent that holds n of its type.

    Where types share resources additively, that is never too little, however many resources there are: the largest of
    its needs is at most 1/n of the total. So only a parent with one type at a time can break it, and there a sibling
    has no room beside a living instance. Two different parents must have shown such room, and none a lack of it.
    """
    plain = [(seen.room, seen.used) for seen in observed if None not in seen.room and not seen.untyped]
    places = range(len(alike.types))
    largest = [max((_whole(room[each]) + used[each] for room, used in plain), default=0) for each in places]
    counted = [each for each in places if largest[each] > 0]
    total = math.lcm(*(largest[each] for each in counted))
    costs = {each: total // largest[each] for each in counted}
    shared = 0
    for room, used in plain:
        left = total - sum(costs[each] * used[each] for each in counted)
        if any(left // costs[each] > _whole(room[each]) for each in counted):
            return None
        shared += any(room[each] and sum(used) > used[each] for each in counted)
    if shared < 2:
        return None
    takes = ", ".join(f"{largest[each]} {alike.types[each]}" for each in counted)
    detail = (
        f"{shared} states of parents alike show room for types beside others, none shows that one keeps another out; "
        f"an empty one takes {takes}, and an instance is counted as its share of that"
    )
    return Rule(
        "shared_units",
        "siblings",
        detail,
        (UNITS,),
        {alike.types[each]: (costs[each],) for each in counted},
        (total,),
        rounded=True,
    )


_NVIDIA = frozenset({"nvidia", "nvidia_vgpu_vfio", "nvidia-vgpu-vfio"})
_MTTY_PORTS: t.Final = {"mtty-1": 1, "mtty-2": 2}
_ONE_TYPE: t.Final = {
    "vfio_ap": "the AP matrix counts generously: what an instance really takes is assigned to it after it was made",
    "vfio_ccw": "a subchannel is one device",
}
# At most nine digits: a description is a vendor's free text, and a number in it may be anything.
_MAX_INSTANCE = re.compile(r"\bmax_instance\s*[=:]\s*(\d{1,9})\b()")
_FRAMEBUFFER = re.compile(r"\bframebuffer\s*[=:]\s*(\d{1,9})\s*([MG]?)(?:i?B)?\b")
_GVT = {
    name: re.compile(rf"^{name}:\s*(\d{{1,9}})\s*()(?:MB)?\s*$", re.MULTILINE)
    for name in ("low_gm_size", "high_gm_size", "fence")
}


def _i915(alike: Alike) -> Rule | None:
    """Graphics memory in MB and fences; the room is the least of the three."""
    columns = [_read(alike, pattern) for pattern in _GVT.values()]
    costs = {}
    for name in alike.types:
        needs = [column[name] for column in columns]
        if None in needs or not any(needs):
            return None
        costs[name] = tuple(need or 0 for need in needs)
    detail = "the descriptions of GVT types say how much graphics memory and how many fences each takes"
    return Rule("vector", "description", detail, tuple(_GVT), costs)


def _read(alike: Alike, pattern: re.Pattern[str]) -> dict[str, int | None]:
    """The number that each type's description gives, in units of M."""
    found: dict[str, int | None] = {}
    for name, description in zip(alike.types, alike.descriptions, strict=True):
        match = pattern.search(description or "")
        found[name] = int(match[1]) * (1024 if match[2] == "G" else 1) if match else None
    return found


def _independent(types: tuple[str, ...], origin: Origin, detail: str) -> Rule:
    costs = {name: tuple(int(each == name) for each in types) for name in types}
    return Rule("independent", origin, detail, types, costs)


def _one_type(alike: Alike) -> str:
    return _ONE_TYPE.get(alike.called, "it offers one type only, so nothing shares it")


def _whole(number: int | None) -> int:
    return number or 0
