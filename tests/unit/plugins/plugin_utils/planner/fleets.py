# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random fleets of a few hosts, as facts, and random options for a plan.

Most parents couple their types as a driver does, some show any numbers.
"""

from __future__ import annotations

import dataclasses
import typing as t

from hypothesis import strategies as st

from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data

Facts = dict[str, t.Any]
Options = dict[str, t.Any]


class Case(t.NamedTuple):
    """What a planner is given."""

    facts: Facts
    options: Options


@dataclasses.dataclass(frozen=True)
class Sort:
    """One sort of parents."""

    driver: str
    exclusive: bool
    total: tuple[int, ...]
    costs: dict[str, tuple[int, ...]]
    descriptions: dict[str, str]
    vendor: str = fleet_data.VENDOR

    def room(self, taken: t.Sequence[str]) -> dict[str, int]:
        """available_instances of each type with these instances on it."""
        left = [total - sum(self.costs[kind][place] for kind in taken) for place, total in enumerate(self.total)]
        return {
            kind: 0
            if self.exclusive and set(taken) - {kind}
            else min(have // need for have, need in zip(left, cost, strict=True))
            for kind, cost in self.costs.items()
        }

    def grown(self, kind: str) -> Sort:
        """With room for one more instance of a type."""
        more = tuple(total + cost for total, cost in zip(self.total, self.costs[kind], strict=True))
        return dataclasses.replace(self, total=more)


def _gvt(low: int, high: int) -> str:
    return f"low_gm_size: {low}MB\nhigh_gm_size: {high}MB\nfence: 4\nresolution: 1920x1200\nweight: 4\n"


SORTS = (
    Sort(
        "nvidia", True, (2,), {"nvidia-1": (1,), "nvidia-2": (2,)},
        {"nvidia-1": "framebuffer=8192M, max_instance=2", "nvidia-2": "framebuffer=16384M, max_instance=1"},
        "pci:10de",
    ),
    Sort("i915", False, (128, 768, 8), {"i915-a": (128, 384, 4), "i915-b": (64, 384, 4)},
         {"i915-a": _gvt(128, 384), "i915-b": _gvt(64, 384)}),
    Sort("mtty", False, (3,), {"mtty-1": (1,), "mtty-2": (2,)}, {}),
    Sort("drv", False, (4,), {"drv-1": (1,), "drv-2": (1,)}, {}),
    Sort("one", False, (3,), {"one-1": (1,)}, {}),
)  # fmt: skip
ODD_ROOM = st.sampled_from([None, 0, 1, 2])
ANSWERS = st.sampled_from(["yes"] * 12 + ["no", "?busy"])
FILLED = st.sampled_from([(2, 3)] * 2 + [(0, 1)] * 3 + [(0, 3)])
"""Instances on the parents of a host, least and most: some are full and others have room, so that somebody can move."""
RELEASES = (1, 2)


@st.composite
def cases(draw: st.DrawFn, rolling: bool, odd: bool = True) -> Case:
    """Up to five hosts. ``odd``: some facts make no sense, or are missing."""
    sorts = draw(st.lists(st.sampled_from(SORTS), min_size=1, max_size=2, unique_by=lambda sort: sort.driver))
    names = [f"hv{number}" for number in range(1, draw(st.sampled_from([2, 3, 4, 4, 5])) + 1)]
    facts = {name: draw(_hosts(number, sorts, odd)) for number, name in enumerate(names)}
    wrong = draw(st.integers(0, 9)) if odd else None
    if wrong in (0, 1):
        name = draw(st.sampled_from(names))
        facts[name] = {**facts[name], "vfio_migration_verdicts": "?"} if wrong else {}
    return Case(facts, draw(_options(facts, rolling)))


@st.composite
def _hosts(draw: st.DrawFn, number: int, sorts: t.Sequence[Sort], odd: bool) -> Facts:
    parts: list[t.Any] = []
    devices: list[t.Any] = []
    verdicts: list[t.Any] = []
    release = draw(st.sampled_from(RELEASES))
    filled = st.integers(*draw(FILLED))
    for place in range(draw(st.sampled_from([1, 2, 2]))):
        sort = draw(st.sampled_from(sorts))
        address = f"p{place}"
        taken = _fill(draw, sort, draw(filled))
        parts.append(_parent(draw, sort, address, release, taken, odd))
        for kind in taken:
            devices.append(_with_driver(_mdev(number, len(devices), sort, address, kind, release), sort.driver))
        driven = ("boot-1", sort.driver, "1.0")
        for kind in sort.costs:
            for asked in RELEASES:
                node, string = (address, kind, None), f"{kind}-r{asked}"
                verdicts.append(
                    fleet_data.verdict(node, string, draw(ANSWERS), sort.vendor, source_type=None, driven=driven)
                )
    for place in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        name = f"0000:0{number}:0{place}.0"
        devices.append(fleet_data.device(name, f"vf-r{release}", None, draw(st.booleans())))
        for asked in RELEASES:
            verdicts.append(fleet_data.verdict((None, None, name), f"vf-r{asked}", draw(ANSWERS)))
    workloads = _workloads(draw, number, devices, odd)
    return fleet_data.host(*parts, *devices, *workloads, verdicts=verdicts)


def _fill(draw: st.DrawFn, sort: Sort, times: int) -> list[str]:
    taken: list[str] = []
    for _time in range(times):
        fitting = [kind for kind, room in sort.room(taken).items() if room]
        if fitting:
            taken.append(draw(st.sampled_from(fitting)))
    return taken


def _parent(draw: st.DrawFn, sort: Sort, address: str, release: int, taken: t.Sequence[str], odd: bool) -> t.Any:
    is_odd = odd and draw(st.integers(0, 7)) == 0
    types = []
    for kind, room in sort.room(taken).items():
        shown = draw(ODD_ROOM) if is_odd else room
        one = fleet_data.mdev_type(kind, f"{kind}-r{release}", shown)
        one["description"] = sort.descriptions.get(kind)
        types.append(one)
    state = draw(st.sampled_from(["ok"] * 9 + ["hung"])) if odd else "ok"
    return _with_driver(
        fleet_data.parent(address, *types, vendor=sort.vendor, state=t.cast("t.Any", state)), sort.driver
    )


def _with_driver(part: t.Any, driver: str) -> t.Any:
    part["driver"] = driver
    return part


def _mdev(host: int, number: int, sort: Sort, address: str, kind: str, release: int) -> t.Any:
    name = f"00000000-0000-0000-{host:04}-{number:012}"
    return fleet_data.device(name, f"{kind}-r{release}", (address, kind), True, sort.vendor)


def _workloads(draw: st.DrawFn, host: int, devices: t.Sequence[t.Any], odd: bool) -> list[t.Any]:
    """Most devices in use are a VM's, some have no owner that is known; what nobody holds is nobody's."""
    owned: dict[int, list[str]] = {}
    for device in devices:
        if odd and device["kind"] == "mdev":
            device["in_use_by"] = draw(st.sampled_from([device["in_use_by"]] * 7 + [[], None]))
        if device["in_use_by"] and not (odd and draw(st.integers(0, 9)) == 0):
            owned.setdefault(draw(st.integers(0, 5)), []).append(device["id"])
    return [fleet_data.workload(f"vm{host}{number}", *names) for number, names in sorted(owned.items())]


@st.composite
def _options(draw: st.DrawFn, facts: Facts, rolling: bool) -> Options:
    names = sorted(facts)
    some = st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)
    options: Options = {}
    if not rolling:
        held = {name: len((own.get("vfio_migration") or {"workloads": []})["workloads"]) for name, own in facts.items()}
        fullest = sorted(names, key=lambda name: -held[name])
        options["drain"] = draw(st.one_of(some, st.just(fullest[:1]), st.just(fullest[:2])))
    elif draw(st.booleans()):
        options["rolling"] = {"max_unavailable": draw(st.integers(1, 2))}
    else:
        order = draw(st.permutations(names))[: draw(st.integers(1, len(names)))]
        size = draw(st.integers(1, 2))
        options["rolling"] = {"batches": [order[first : first + size] for first in range(0, len(order), size)]}
    rarely = st.sampled_from([False, False, True])
    often = {"anti_affinity", "failure_domains"}
    limits: dict[str, st.SearchStrategy[t.Any]] = {
        "incoming": st.integers(0, 2),
        "concurrent": st.integers(1, 2),
        "uuid_policy": st.sampled_from(["new", "same"]),
        "allow_unknown": st.one_of(st.just(True), some),
        "headroom": st.dictionaries(st.sampled_from(names), _spare(0, 4), max_size=3),
        "failure_domains": st.sampled_from([{"east": names[:2]}, {"east": names[::2], "west": names[1::2]}]),
    }
    workloads = [
        one["id"] for own in facts.values() for one in (own.get("vfio_migration") or {"workloads": []})["workloads"]
    ]
    if len(workloads) > 1:
        word = st.sampled_from(workloads)
        limits["demand"] = st.dictionaries(word, _spare(0, 2))
        limits["workloads"] = st.dictionaries(word, st.sampled_from(["migrate", "stop", "skip"]), max_size=2)
        limits["anti_affinity"] = st.lists(_group(workloads), min_size=1, max_size=2)
    for key, strategy in limits.items():
        if draw(st.booleans() if key in often else rarely):
            options[key] = draw(strategy)
    return options


def _spare(least: int, most: int) -> st.SearchStrategy[t.Any]:
    number = st.integers(least, most)
    return st.fixed_dictionaries({"cpus": number, "memory": number})


def _group(workloads: t.Sequence[str]) -> st.SearchStrategy[t.Any]:
    members = st.lists(st.sampled_from(workloads), min_size=2, max_size=4, unique=True)
    return st.fixed_dictionaries({"workloads": members, "across": st.sampled_from(["host", "domain"])})
