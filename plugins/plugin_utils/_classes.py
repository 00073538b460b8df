# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folds the nodes of a fleet into classes of targets that answered alike and of sources that look alike.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import (
    Attribute,
    Name,
    Scope,
    SourceMember,
    TargetMember,
    Verdict,
)
from ansible_collections.vfio.migration.plugins.plugin_utils import _asking
from ansible_collections.vfio.migration.plugins.plugin_utils._nodes import (
    Host,
    Node,
    NodeKey,
    PoolKey,
    expired,
    nodes,
    verdicts,
)
from ansible_collections.vfio.migration.plugins.plugin_utils._verdict import (
    EXPIRED,
    IN_USE,
    NOT_ASKED,
    Answer,
    is_evidence,
    strictest,
)

NEVER = "~"
"""Sorts after every timestamp: no verdict."""

Timed = tuple[Answer, str]
"""An answer and the time of its verdict."""

Place = tuple[Name | None, Name | None]
"""Parent and type, where an mdev comes back to."""

AttributeKey = tuple[str, str | None, str | None, str | None, str | None]


@dataclasses.dataclass(eq=False)
class Target:
    """Nodes that gave the same answers to every string of the fleet that they may be asked."""

    sample: Node
    """One of them, for what all have in common."""
    strings: t.Mapping[str, int]
    """Position of each string in ``row``."""
    row: tuple[Answer, ...]
    asked: list[str]
    """Time of the oldest verdict behind each answer of ``row``, or NEVER."""
    place: dict[str, Answer]
    """Type nodes: what devices of this parent and type said to device strings. It outranks ``row``."""
    place_asked: dict[str, str]
    members: list[TargetMember] = dataclasses.field(default_factory=list)
    id: str = ""

    @property
    def scope(self) -> Scope:
        """Which location its nodes are of."""
        return self.sample.scope

    @property
    def kind(self) -> t.Literal["mdev", "vfio"]:
        """What a device of it is."""
        return self.sample.kind

    @property
    def vendor(self) -> str:
        """Identity for the same-vendor rule, empty when it is not known."""
        return self.sample.vendor

    @property
    def type(self) -> Name | None:
        """Its mdev type."""
        return self.sample.type

    @property
    def version(self) -> Attribute:
        """The node's own attribute."""
        return self.sample.attribute

    @property
    def state(self) -> str:
        """Of its parent."""
        return self.sample.state

    def answer(self, string: str) -> Answer:
        """What its nodes said to a string; NOT_ASKED for one that nothing in the fleet produces for it."""
        position = self.strings.get(string)
        return NOT_ASKED if position is None else self.row[position]

    def time(self, string: str) -> str:
        """When they said it, or NEVER."""
        position = self.strings.get(string)
        return NEVER if position is None else self.asked[position]


@dataclasses.dataclass(eq=False)
class Source:
    """Devices that no driver could tell apart, with the same way back."""

    kind: t.Literal["mdev", "vfio"]
    vendor: str
    type: Name | None
    device_version: Attribute | None
    type_version: Attribute | None
    home: Target | None
    """Where its devices go back to: their own parent and type, or for kind ``vfio`` their own node."""
    members: list[SourceMember] = dataclasses.field(default_factory=list)
    id: str = ""


class _Heard(t.NamedTuple):
    """What one host's nodes were asked."""

    answers: t.Mapping[NodeKey, t.Mapping[str, Verdict]]
    asked: frozenset[NodeKey]
    """Nodes that are asked in every run; another device speaks for the rest."""
    places: dict[Place, dict[str, Timed]]
    """What the devices of a place said, the strictest of them."""


class Classes:
    """The classes of a fleet, and what was seen while its hosts were folded in one after the other."""

    def __init__(self, hosts: t.Sequence[Host], max_age: int, now: str, with_types: bool) -> None:
        self._max_age = max_age
        self._now = now
        self._with_types = with_types
        self._pools = _asking.pools(hosts)
        self._positions = {
            key: {string: place for place, string in enumerate(pool)} for key, pool in self._pools.items()
        }
        self._silent: dict[tuple[PoolKey, bool], tuple[tuple[Answer, ...], tuple[str, ...]]] = {}
        """The rows of nodes that said nothing; most devices of a fleet are in use and never asked."""
        self._targets: dict[t.Hashable, Target] = {}
        self._sources: dict[t.Hashable, Source] = {}
        self.expired: dict[str, int] = {}
        """Host -> number of its answers that no longer hold."""
        self.not_probed: dict[str, dict[str, int]] = {}
        """Host -> errno -> number of strings that could not be written there."""
        for host in hosts:
            self._add(host)
        self.targets = _numbered(self._targets.values(), "t")
        self.sources = _numbered(self._sources.values(), "s")

    def _add(self, host: Host) -> None:
        own = list(nodes(host))
        heard = _Heard(verdicts(host), frozenset(node.key for node in _asking.asked(own)), {})
        homes: dict[Place, Target] = {}
        devices = []
        for node in own:
            if node.scope == "device":
                target = self._add_device_target(node, heard)
                devices.append((node, target))
        for node in own:
            if node.scope == "type":
                homes[node.parent, node.type] = self._add_type_target(node, heard)
        workloads = _workloads(host)
        for node, target in devices:
            home = homes.get((node.parent, node.type)) if node.kind == "mdev" else target
            self._add_source(node, home, workloads.get(node.device))
        if self._with_types:
            for (parent, kind_of), home in homes.items():
                self._add_source(home.sample._replace(host=host.name, parent=parent, type=kind_of), home, None)

    def _add_device_target(self, node: Node, heard: _Heard) -> Target:
        row, times = self._row(node, heard)
        if node.kind == "mdev" and heard.answers.get(node.key):
            place = heard.places.setdefault((node.parent, node.type), {})
            for string, answer, time in zip(self._pools.get(node.pool, ()), row, times, strict=True):
                if is_evidence(answer):
                    place[string] = _merged(place.get(string), (answer, time))
        return self._add_target(node, row, times, {})

    def _add_type_target(self, node: Node, heard: _Heard) -> Target:
        row, times = self._row(node, heard)
        return self._add_target(node, row, times, heard.places.get((node.parent, node.type), {}))

    def _row(self, node: Node, heard: _Heard) -> tuple[tuple[Answer, ...], tuple[str, ...]]:
        pool = self._pools.get(node.pool, {})
        if not node.can_be_asked:
            return (NOT_ASKED,) * len(pool), (NEVER,) * len(pool)
        answers = heard.answers.get(node.key, {})
        is_asked = node.key in heard.asked
        if not answers:
            key = (node.pool, is_asked)
            if key not in self._silent:
                self._silent[key] = ((NOT_ASKED if is_asked else IN_USE,) * len(pool), (NEVER,) * len(pool))
            return self._silent[key]
        missing = (NOT_ASKED if is_asked else IN_USE, NEVER)
        row = []
        for string, origin in pool.items():
            verdict = answers.get(string)
            timed = None if verdict is None else self._answer(node, verdict, is_asked and origin.asks(node.host))
            row.append(timed or missing)
        return tuple(answer for answer, _time in row), tuple(time for _answer, time in row)

    def _answer(self, node: Node, verdict: Verdict, asked_again: bool) -> Timed | None:
        """None for what no longer holds and will not be asked again: that is not missing, it is over."""
        time = verdict["evidence"]["time"]
        if expired(verdict, node, self._max_age, self._now):
            if not asked_again:
                return None
            self.expired[node.host] = self.expired.get(node.host, 0) + 1
            return EXPIRED, time
        if verdict["verdict"] == "compatible":
            return Answer("compatible", None, None), time
        if verdict["reason"] == "not_probed":
            errnos = self.not_probed.setdefault(node.host, {})
            errno = verdict["errno"] or "no errno"
            errnos[errno] = errnos.get(errno, 0) + 1
        return Answer(verdict["verdict"], verdict["reason"], verdict["errno"]), time

    def _add_target(
        self, node: Node, row: tuple[Answer, ...], times: tuple[str, ...], place: t.Mapping[str, Timed]
    ) -> Target:
        answered = tuple(sorted((string, answer) for string, (answer, _time) in place.items()))
        key = (node.scope, node.kind, node.vendor, node.type, _key(node.attribute), node.state, row, answered)
        target = self._targets.get(key)
        if target is None:
            place_asked = {string: time for string, (_answer, time) in place.items()}
            target = Target(node, self._positions.get(node.pool, {}), row, list(times), dict(answered), place_asked)
            self._targets[key] = target
        else:
            if any(time != NEVER for time in times):
                target.asked = list(map(min, target.asked, times))
            for string, (_answer, time) in place.items():
                target.place_asked[string] = min(time, target.place_asked[string])
        target.members.append(TargetMember(host=node.host, parent=node.parent, device=node.device, room=node.room))
        return target

    def _add_source(self, node: Node, home: Target | None, workload: str | None) -> None:
        device_version = node.attribute if node.scope == "device" else None
        type_version = None
        if node.kind == "mdev" and node.type is not None:
            type_version = home.version if home else _GONE
        key = (node.kind, node.vendor, node.type, _key(device_version), _key(type_version), id(home))
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = Source(node.kind, node.vendor, node.type, device_version, type_version, home)
        source.members.append(SourceMember(host=node.host, parent=node.parent, device=node.device, workload=workload))


_GONE = Attribute(status="unknown", value=None, reason="gone", errno=None, raw=None)
"""Of the type of an mdev whose parent is not there any more."""


_C = t.TypeVar("_C", Target, Source)


def _numbered(classes: t.Iterable[_C], prefix: str) -> list[_C]:
    """Sort members and classes, by names only, so that ids depend on nothing but the facts."""
    for each in classes:
        each.members.sort(key=_member_order)
    ordered = sorted(classes, key=_class_order)
    for number, each in enumerate(ordered, 1):
        each.id = f"{prefix}{number}"
    return ordered


def _class_order(each: Target | Source) -> tuple[str, ...]:
    # Members are in one class only, so the first of them decides whatever the rest leaves open.
    return (each.vendor, each.kind, each.type or "", *_member_order(each.members[0]))


def _member_order(member: TargetMember | SourceMember) -> tuple[str, ...]:
    return (member["host"], member["parent"] or "", member["device"] or "")


def _merged(known: Timed | None, new: Timed) -> Timed:
    if known is None:
        return new
    return strictest(known[0], new[0]), min(known[1], new[1])


def _workloads(host: Host) -> dict[str | None, str]:
    """Device -> id of the workload it was given to. Should several claim it, one that runs goes first, then the order
    of ids."""
    owners: dict[str | None, str] = {}
    workloads = host.snapshot["workloads"] if host.snapshot else []
    for workload in sorted(workloads, key=lambda one: (one["state"] != "running", one["id"])):
        for device in workload["devices"]:
            owners.setdefault(device, workload["id"])
    return owners


def _key(attribute: Attribute | None) -> AttributeKey | None:
    if attribute is None:
        return None
    return (attribute["status"], attribute["value"], attribute["reason"], attribute["errno"], attribute["raw"])
