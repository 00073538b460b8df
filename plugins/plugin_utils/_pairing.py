# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots and verdicts of a fleet -> the directed matrix of what may move where.

The work grows with hosts, nodes and distinct strings; only classes are paired, never their members.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import (
    SCHEMA_VERSION,
    Attribute,
    HostState,
    Pairing,
    Pairings,
    SourceClass,
    TargetClass,
    Timestamp,
)
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _findings
from ansible_collections.vfio.migration.plugins.plugin_utils._classes import NEVER, Classes, Source, Target
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import Seconds, require
from ansible_collections.vfio.migration.plugins.plugin_utils._nodes import Facts, Host, load, unread
from ansible_collections.vfio.migration.plugins.plugin_utils._verdict import (
    EXPIRED,
    NOT_ASKED,
    VENDOR_UNKNOWN,
    Answer,
    disagree,
    judge,
    says_unsupported,
)

Sources = t.Literal["devices", "all"]


class _Options(t.TypedDict):
    max_age: Seconds
    now: Timestamp
    sources: Sources
    fresh_hosts: list[str] | None


class Decision(t.NamedTuple):
    """The answer to one pair, and what it rests on."""

    answer: Answer
    scope: t.Literal["type", "device"] | None
    asked: str
    inconsistent: bool = False


def pairings(
    facts: Facts,
    max_age: int,
    now: str,
    sources: Sources = "devices",
    fresh_hosts: list[str] | None = None,
) -> Pairings:
    """The matrix of a fleet.

    :arg facts: host name -> its ansible_facts (``vfio_migration``, ``vfio_migration_verdicts``) or None.
    :arg max_age: seconds after which an answer counts as unknown.
    :arg now: a Timestamp.
    :arg sources: ``devices``: those that exist. ``all``: also what each type of each parent could make.
    :arg fresh_hosts: hosts whose facts were gathered in this run, None for all.
    """
    check_options(max_age, now, sources, fresh_hosts)
    return of_hosts(load(facts), max_age, now, sources, fresh_hosts)


def check_options(max_age: int, now: str, sources: Sources, fresh_hosts: list[str] | None) -> None:
    """Raises ContractError with everything that is wrong."""
    require(_Options, {"max_age": max_age, "now": now, "sources": sources, "fresh_hosts": fresh_hosts})


def of_hosts(
    hosts: t.Sequence[Host], max_age: int, now: str, sources: Sources, fresh_hosts: list[str] | None
) -> Pairings:
    """As ``pairings``, for hosts whose facts were checked already."""
    fresh = None if fresh_hosts is None else frozenset(fresh_hosts)
    states = [_host_state(host, now, fresh) for host in hosts]
    usable = [host for host in hosts if host.snapshot and not host.verdict_errors]
    classes = Classes(usable, max_age, now, with_types=sources == "all")
    matrix = [_pairing(source, target) for source, target in _pairs(classes)]
    return Pairings(
        schema_version=SCHEMA_VERSION,
        time=Timestamp(now),
        partial=any(state["state"] in ("unreachable", "excluded") for state in states) or any(map(unread, usable)),
        hosts=states,
        sources=[_source_class(source) for source in classes.sources],
        targets=[_target_class(target) for target in classes.targets],
        pairings=matrix,
        findings=_findings.collect(states, usable, classes, matrix),
    )


def same_but_for_times(before: object, after: Pairings) -> bool:
    """Whether two matrices say the same; when it was asked and how old the facts are does not count."""
    return before is not None and _timeless(before) == _timeless(after)


def _timeless(value: object) -> object:
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in ("time", "age", "asked")}
    return value


def decide(source: Source, target: Target) -> Decision:
    """May a device of this source class move to a target of this class?"""
    if not source.vendor or not target.vendor:
        return Decision(VENDOR_UNKNOWN, None, NEVER)
    device = source.device_version
    if target.scope == "device":
        return _ask(device, target)
    if device is None:
        return _ask(source.type_version, target)
    if says_unsupported(device):
        return Decision(Answer("incompatible", "source_unsupported", device["errno"]), None, NEVER)
    by_type = _ask(_type_version(source, device), target)
    string = device["value"]
    if string is None or string not in target.place:
        return by_type
    # Location 2 does not depend on location 1, comes later and is stricter: it wins.
    evidence = target.place[string]
    return Decision(evidence, "device", target.place_asked[string], disagree(by_type.answer, evidence))


def _type_version(source: Source, device: Attribute) -> Attribute | None:
    """What a device's type says for it."""
    if source.type is None:
        return device  # which of the types is its own is not known, so there is nothing but its own word
    version = source.type_version
    if version is not None and device["status"] == "ok" and says_unsupported(version):
        # The device does support it: then its type's no is no answer.
        return Attribute(status="unknown", value=None, reason="errno", errno=version["errno"], raw=None)
    return version


def way_back(source: Source, target: Target) -> Answer:
    """Would the source's own node accept what the target's node produces?"""
    home = source.home
    if not source.vendor or not target.vendor:
        return VENDOR_UNKNOWN
    if home is None or not home.vendor:
        return NOT_ASKED
    if target.scope == home.scope:
        return judge(target.version, home.version, home.state, home.answer)
    # An mdev that went to an existing device comes back to an instance of its type, for which devices there speak.
    return judge(target.version, source.device_version, home.state, lambda string: home.place.get(string, NOT_ASKED))


def _ask(source: Attribute | None, target: Target) -> Decision:
    answer = judge(source, target.version, target.state, target.answer)
    string = source["value"] if source is not None and target.sample.can_be_asked else None
    asked = NEVER if string is None else target.time(string)
    return Decision(answer, None if asked == NEVER else target.scope, asked)


def _pairing(source: Source, target: Target) -> Pairing:
    decision = decide(source, target)
    back = way_back(source, target)
    warnings = {
        "expired": decision.answer == EXPIRED,
        "inconsistent": decision.inconsistent,
        "no_way_back": decision.answer.verdict == "compatible" and back.verdict == "incompatible",
    }
    return Pairing(
        source=source.id,
        target=target.id,
        verdict=decision.answer.verdict,
        reason=decision.answer.reason,
        errno=decision.answer.errno,
        scope=decision.scope,
        way_back=back.verdict,
        warnings=[code for code, holds in warnings.items() if holds],
        asked=None if decision.asked == NEVER else Timestamp(decision.asked),
    )


def _pairs(classes: Classes) -> t.Iterator[tuple[Source, Target]]:
    """All that is not ruled out by vendor or type; what is not known rules nothing out."""
    by_vendor = _by_vendor(classes.targets)
    for source in classes.sources:
        same = [*by_vendor.get("", ()), *by_vendor.get(source.vendor, ())] if source.vendor else classes.targets
        untyped = source.kind == "mdev" and source.type is None
        for target in same:
            if target.scope == "device" or target.type == source.type or untyped:
                yield source, target


def _by_vendor(targets: t.Iterable[Target]) -> dict[str, list[Target]]:
    found: dict[str, list[Target]] = {}
    for target in targets:
        found.setdefault(target.vendor, []).append(target)
    return found


def _host_state(host: Host, now: str, fresh: frozenset[str] | None) -> HostState:
    errors = [*host.errors, *host.verdict_errors]
    time = host.snapshot["time"] if host.snapshot else None
    state: t.Literal["fresh", "cached", "unreachable", "excluded"] = "fresh"
    if errors:
        state = "excluded"
    elif host.snapshot is None:
        state = "unreachable"
    elif fresh is not None and host.name not in fresh:
        state = "cached"
    age = None if time is None else _clock.age(time, now)
    return HostState(host=host.name, state=state, time=time, age=age, errors=errors)


def _source_class(source: Source) -> SourceClass:
    return SourceClass(
        id=source.id,
        kind=source.kind,
        vendor=source.vendor,
        type=source.type,
        device_version=_plain(source.device_version),
        type_version=_plain(source.type_version),
        members=source.members,
    )


def _target_class(target: Target) -> TargetClass:
    return TargetClass(
        id=target.id,
        scope=target.scope,
        kind=target.kind,
        vendor=target.vendor,
        type=target.type,
        version=_copy(target.version),
        members=target.members,
    )


def _plain(attribute: Attribute | None) -> Attribute | None:
    return None if attribute is None else _copy(attribute)


def _copy(attribute: Attribute) -> Attribute:
    """Only what the contract names, and no part of the facts: a caller may change what it got."""
    return Attribute(
        status=attribute["status"],
        value=attribute["value"],
        reason=attribute["reason"],
        errno=attribute["errno"],
        raw=attribute["raw"],
    )
