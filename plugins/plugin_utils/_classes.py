# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folds the nodes of a fleet into classes of targets that answered alike and of sources that look alike.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import dataclasses
import operator
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
    answers,
    expired,
    latest,
    nodes,
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

_NOTHING: t.Final[dict[str, Timed]] = {}

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


class _Row(t.NamedTuple):
    """What a node said to the strings of its pool."""

    answers: tuple[Answer, ...]
    times: tuple[str, ...]
    expired: int
    """How many of its answers no longer hold."""
    not_probed: tuple[str, ...]
    """Errno of each string that could not be written."""


class _Known(t.NamedTuple):
    """What nodes that are alike came to."""

    target: Target
    row: _Row
    time: str
    """Of their answers, where those of one node have the same: no node before was asked earlier."""


_Alike = dict[t.Hashable, _Known]
"""Nodes mostly differ in their host, parent or name only; such are classed once."""


class _Heard(t.NamedTuple):
    """What one host's nodes were asked."""

    answers: t.Mapping[NodeKey, t.Sequence[Verdict]]
    asked: t.Collection[NodeKey]
    """Devices that are asked in every run; another one speaks for the rest."""
    places: dict[Place, dict[str, Timed]]
    """What the devices of a place said, the strictest of them."""
    alike: _Alike
    """Nodes whose answers hold for this host only."""


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
        self._alike: _Alike = {}
        """Nodes of all hosts that said nothing, or whose answers hold and are of one time."""
        self._targets: dict[t.Hashable, Target] = {}
        self._sources: dict[t.Hashable, Source] = {}
        self._sources_of: dict[tuple[Target, Target | None], Source] = {}
        self.expired: dict[str, int] = {}
        """Host -> number of its answers that no longer hold."""
        self.not_probed: dict[str, dict[str, int]] = {}
        """Host -> errno -> number of strings that could not be written there."""
        for host in sorted(hosts, key=lambda each: each.name):
            self._add(host)
        self.targets = _numbered(self._targets.values(), "t")
        self.sources = _numbered(self._sources.values(), "s")

    def _add(self, host: Host) -> None:
        """In order of its nodes, so that the members of each class are in order too."""
        own = list(nodes(host))
        instances = [node for node in own if node.scope == "device"]
        heard = _Heard(answers(host), _asking.to_ask(instances).keys(), {}, {})
        homes: dict[Place, Target] = {}
        # What devices say outranks what their type says, so they come first.
        devices = [(node, self._add_target(node, heard)) for node in instances]
        for node in own:
            if node.scope == "type":
                homes[node.parent, node.type] = self._add_target(node, heard)
        workloads = _workloads(host)
        for node, target in devices:
            home = homes.get((node.parent, node.type)) if node.kind == "mdev" else target
            workload = workloads.get(node.device)
            self._source(target, home).members.append(
                {"host": host.name, "parent": node.parent, "device": node.device, "workload": workload}
            )
        if self._with_types:
            for (parent, _type), home in homes.items():
                self._source(home, home).members.append(
                    {"host": host.name, "parent": parent, "device": None, "workload": None}
                )

    def _add_target(self, node: Node, heard: _Heard) -> Target:
        said = heard.answers.get(node.key, ())
        place = heard.places.get((node.parent, node.type), _NOTHING) if node.scope == "type" else _NOTHING
        is_asked = node.scope == "type" or node.key in heard.asked
        speaks = bool(said) and node.scope == "device" and node.kind == "mdev"
        look = (node.scope, node.kind, node.vendor, node.type, _key(node.attribute), node.state)
        words = tuple(map(_WORDS, said))
        key: tuple[t.Hashable, ...] = (look, is_asked, words)
        alike, time = self._alike, NEVER
        if said and not place and not speaks and self._is_firm(node, said):
            time = said[0]["evidence"]["time"]
        elif said or place:
            alike, key = heard.alike, (*key, node.driven, tuple(map(_BASIS, map(_EVIDENCE, said))), *place.items())
        known = alike.get(key)
        if known is None or time < known.time:
            row = self._row(node, latest(said), is_asked)
            known = alike[key] = _Known(self._target(node, look, row, place), row, time)
        target, row, _time = known
        if row.expired:
            self.expired[node.host] = self.expired.get(node.host, 0) + row.expired
        for errno in row.not_probed:
            errnos = self.not_probed.setdefault(node.host, {})
            errnos[errno] = errnos.get(errno, 0) + 1
        if speaks:
            self._hear(node, row, heard.places.setdefault((node.parent, node.type), {}))
        # There is one for each node of the fleet, and to call the class takes three times as long.
        target.members.append({"host": node.host, "parent": node.parent, "device": node.device, "room": node.room})
        return target

    def _is_firm(self, node: Node, said: t.Sequence[Verdict]) -> bool:
        """Whether all answers rest on the same, which holds: then what they say is all that matters."""
        return len({*map(_BASIS, map(_EVIDENCE, said))}) == 1 and not expired(said[0], node, self._max_age, self._now)

    def _hear(self, node: Node, row: _Row, place: dict[str, Timed]) -> None:
        """An instance speaks for all of its parent and type."""
        for string, answer, time in zip(self._pools.get(node.pool, ()), row.answers, row.times, strict=True):
            if is_evidence(answer):
                place[string] = _merged(place.get(string), (answer, time))

    def _row(self, node: Node, said: t.Mapping[str, Verdict], is_asked: bool) -> _Row:
        pool = self._pools.get(node.pool, {})
        if not node.can_be_asked:
            return _Row((NOT_ASKED,) * len(pool), (NEVER,) * len(pool), 0, ())
        missing = (NOT_ASKED if is_asked else IN_USE, NEVER)
        if not said:
            return _Row((missing[0],) * len(pool), (NEVER,) * len(pool), 0, ())
        row: list[Timed] = []
        for string, origin in pool.items():
            verdict = said.get(string)
            timed = None if verdict is None else self._answer(node, verdict, is_asked and origin.asks(node.host))
            row.append(timed or missing)
        answers = tuple([answer for answer, _time in row])
        return _Row(
            answers,
            tuple([time for _answer, time in row]),
            sum(answer is EXPIRED for answer in answers),
            tuple([answer.errno or "no errno" for answer in answers if answer.reason == "not_probed"]),
        )

    def _answer(self, node: Node, verdict: Verdict, asked_again: bool) -> Timed | None:
        """None for what no longer holds and will not be asked again: that is not missing, it is over."""
        time = verdict["evidence"]["time"]
        if expired(verdict, node, self._max_age, self._now):
            return (EXPIRED, time) if asked_again else None
        if verdict["verdict"] == "compatible":
            return Answer("compatible", None, None), time
        return Answer(verdict["verdict"], verdict["reason"], verdict["errno"]), time

    def _target(self, node: Node, look: t.Hashable, row: _Row, place: t.Mapping[str, Timed]) -> Target:
        answered = tuple(sorted((string, answer) for string, (answer, _time) in place.items()))
        key = (look, row.answers, answered)
        target = self._targets.get(key)
        if target is None:
            place_asked = {string: time for string, (_answer, time) in place.items()}
            positions = self._positions.get(node.pool, {})
            target = Target(node, positions, row.answers, list(row.times), dict(answered), place_asked)
            self._targets[key] = target
            return target
        if any(time != NEVER for time in row.times):
            target.asked = list(map(min, target.asked, row.times))
        for string, (_answer, time) in place.items():
            target.place_asked[string] = min(time, target.place_asked[string])
        return target

    def _source(self, target: Target, home: Target | None) -> Source:
        """The class of what is a node of this class, or of what such a type could make."""
        known = self._sources_of.get((target, home))
        if known is None:
            known = self._sources_of[target, home] = self._new_source(target, home)
        return known

    def _new_source(self, target: Target, home: Target | None) -> Source:
        device_version = target.version if target.scope == "device" else None
        type_version = None
        if target.kind == "mdev" and target.type is not None:
            type_version = home.version if home else _GONE
        source = Source(target.kind, target.vendor, target.type, device_version, type_version, home)
        key = (source.kind, source.vendor, source.type, _key(device_version), _key(type_version), home)
        return self._sources.setdefault(key, source)


_GONE = Attribute(status="unknown", value=None, reason="gone", errno=None, raw=None)
"""Of the type of an mdev whose parent is not there any more."""


_C = t.TypeVar("_C", Target, Source)


def _numbered(classes: t.Iterable[_C], prefix: str) -> list[_C]:
    """Sort classes by names only, so that ids depend on nothing but the facts."""
    ordered = sorted(classes, key=_class_order)
    for number, each in enumerate(ordered, 1):
        each.id = f"{prefix}{number}"
    return ordered


def _class_order(each: Target | Source) -> tuple[str, ...]:
    # Members are in one class only, so the first of them decides whatever the rest leaves open.
    first = each.members[0]
    return (each.vendor, each.kind, each.type or "", first["host"], first["parent"] or "", first["device"] or "")


_WORDS = operator.itemgetter("string", "verdict", "reason", "errno")
_EVIDENCE = operator.itemgetter("evidence")
_BASIS = operator.itemgetter("boot_id", "driver", "driver_version", "time")


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
    return None if attribute is None else _FIELDS(attribute)


_FIELDS: t.Final[t.Callable[[Attribute], AttributeKey]] = operator.itemgetter(
    "status", "value", "reason", "errno", "raw"
)
