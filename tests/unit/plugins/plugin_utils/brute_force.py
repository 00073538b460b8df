# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the matrix has to say, pair by pair, straight from the rules and without any folding.

Everything is looked up by walking the facts, slowly on purpose: nothing here is shared with the collection's code.
"""

from __future__ import annotations

import datetime
import typing as t

Facts = dict[str, t.Any]
Said = tuple[str, str | None]
"""Word and reason."""


class Spot(t.NamedTuple):
    """A member of a class: a device, or (without one) a type of a parent."""

    host: str
    parent: str | None
    type: str | None
    device: str | None
    kind: str
    vendor: str
    """Empty when it could not be read."""


def spots(facts: Facts) -> list[Spot]:
    """All nodes of a fleet."""
    found = []
    for host, own in facts.items():
        snapshot = own["vfio_migration"]
        for parent in snapshot["parents"]:
            found += [
                Spot(host, parent["address"], one["id"], None, "mdev", parent["vendor"] or "")
                for one in parent["types"]
            ]
        found += [
            Spot(host, one["parent"], one["type"], one["id"], one["kind"], one["vendor"] or "")
            for one in snapshot["devices"]
        ]
    return found


def _parent(facts: Facts, spot: Spot) -> t.Any:
    parents = facts[spot.host]["vfio_migration"]["parents"]
    return next((one for one in parents if one["address"] == spot.parent), None)


def _device(facts: Facts, spot: Spot) -> t.Any:
    return next(one for one in facts[spot.host]["vfio_migration"]["devices"] if one["id"] == spot.device)


def _attribute(facts: Facts, spot: Spot) -> t.Any:
    if spot.device:
        return _device(facts, spot)["migration_version"]
    parent = _parent(facts, spot)
    types = parent["types"] if parent else []
    gone = {"status": "unknown", "value": None, "reason": "gone", "errno": None}
    return next((one["migration_version"] for one in types if one["id"] == spot.type), gone)


def _state(facts: Facts, spot: Spot) -> str:
    if spot.kind == "vfio":
        return "ok"
    parent = _parent(facts, spot)
    return parent["state"] if parent else "gone"


def _said(facts: Facts, spot: Spot, string: str, max_age: int, now: str) -> Said | None:
    """The latest answer of exactly this node to exactly this string; None when there is none, or none any more and
    nobody asks again."""
    latest = None
    for one in facts[spot.host].get("vfio_migration_verdicts", {"verdicts": []})["verdicts"]:
        if one["scope"] != ("device" if spot.device else "type") or one["string"] != string:
            continue
        if (one["parent"], one["type"], one["device"]) != (spot.parent, spot.type, spot.device):
            continue
        if one["vendor"] != spot.vendor:
            continue  # another vendor's string: no answer at all, whatever it says
        if not spot.device and one["source_type"] != spot.type:
            continue  # another type's string
        if latest is None or one["evidence"]["time"] >= latest["evidence"]["time"]:
            latest = one
    if latest is None:
        return None
    driver = _device(facts, spot) if spot.device else _parent(facts, spot)
    boot = facts[spot.host]["vfio_migration"]["boot_id"]
    was = latest["evidence"]
    fresh = (was["boot_id"], was["driver"], was["driver_version"]) == (boot, driver["driver"], driver["driver_version"])
    age = datetime.datetime.fromisoformat(now) - datetime.datetime.fromisoformat(was["time"])
    if not fresh or boot is None or not -300 <= age.total_seconds() <= max_age:
        return ("unknown", "expired") if (spot, string) in _questions(facts) else None
    return latest["verdict"], latest["reason"]


def _by_attributes(source: t.Any, target: t.Any, state: str) -> Said | None:
    """What is decided before any driver is asked."""
    for one, reason in ((source, "source_unsupported"), (target, "errno")):
        if one and one["status"] == "unsupported" and one["reason"] != "absent":
            return "incompatible", reason
    if source is None or target is None:
        return "unknown", "no_device"
    for one, prefix in ((source, "source"), (target, "target")):
        if one["status"] != "ok":
            return "unknown", f"{prefix}_{one['reason']}"
    return None if state == "ok" else ("unknown", state)


def _at_node(facts: Facts, source: t.Any, spot: Spot, max_age: int, now: str) -> Said:
    early = _by_attributes(source, _attribute(facts, spot), _state(facts, spot))
    if early:
        return early
    said = _said(facts, spot, source["value"], max_age, now)
    if said:
        return said
    return "unknown", "not_asked" if _is_asked(facts, spot) else "in_use"


def _at_place(facts: Facts, string: str, place: Spot, max_age: int, now: str) -> Said | None:
    """What devices of this parent and type said to a device string, the strictest of them; None: nothing."""
    heard = []
    for spot in spots(facts):
        here = (spot.host, spot.parent, spot.type) == (place.host, place.parent, place.type)
        if not here or not spot.device or spot.vendor != place.vendor or _state(facts, spot) != "ok":
            continue
        if _attribute(facts, spot)["status"] == "ok":
            said = _said(facts, spot, string, max_age, now)
            if said and (said[0] != "unknown" or said[1] == "expired"):
                heard.append(said)
    order = {"incompatible": 0, "unknown": 1, "compatible": 2}
    return min(heard, key=lambda said: order[said[0]]) if heard else None


def forward(facts: Facts, source: Spot, target: Spot, max_age: int, now: str) -> tuple[Said, set[str]]:
    """Answer and warnings (but for the way back) for one device and one target."""
    untyped = source.kind == "mdev" and source.type is None
    if source.vendor and target.vendor and source.vendor != target.vendor:
        return ("incompatible", None), set()
    if not target.device and source.type != target.type and not untyped:
        return ("incompatible", None), set()
    if not source.vendor or not target.vendor:
        return ("unknown", "vendor_unknown"), set()
    own = _attribute(facts, source) if source.device else None
    if target.device:
        said = _at_node(facts, own, target, max_age, now)
        return said, {"expired"} & {said[1] or ""}
    of_type = _attribute(facts, source._replace(device=None))
    if own and own["status"] == "ok" and of_type["status"] == "unsupported" and of_type["reason"] != "absent":
        of_type = {**of_type, "status": "unknown"}
    by_type = _at_node(facts, own if untyped else of_type, target, max_age, now)
    if own and own["status"] == "unsupported" and own["reason"] != "absent":
        return ("incompatible", "source_unsupported"), set()
    evidence = _at_place(facts, own["value"], target, max_age, now) if own and own["status"] == "ok" else None
    said = evidence or by_type
    warnings = {"expired"} & {said[1] or ""}
    if evidence and {evidence[0], by_type[0]} == {"compatible", "incompatible"}:
        warnings.add("inconsistent")
    return said, warnings


def back(facts: Facts, source: Spot, target: Spot, max_age: int, now: str) -> str:
    """Would the place that the device left take what the target produces?"""
    produced = _attribute(facts, target)
    if not source.vendor or not target.vendor:
        return "unknown"
    if source.kind == "vfio":
        return _at_node(facts, produced, source, max_age, now)[0]
    home = source._replace(device=None)
    if home not in spots(facts):
        return "unknown"
    if not target.device:
        return _at_node(facts, produced, home, max_age, now)[0]
    own = _attribute(facts, source) if source.device else None
    early = _by_attributes(produced, own, _state(facts, home))
    if early:
        return early[0]
    said = _at_place(facts, produced["value"], home, max_age, now)
    return said[0] if said else "unknown"


def _can_be_asked(facts: Facts, node: Spot) -> bool:
    return bool(node.vendor) and _attribute(facts, node)["status"] == "ok" and _state(facts, node) == "ok"


def _is_asked(facts: Facts, node: Spot) -> bool:
    """Whether a node that could be asked is: for an mdev in use another device of its parent and type may speak."""
    if not node.device or node.kind != "mdev" or not _device(facts, node)["in_use_by"]:
        return True
    peers = [
        one
        for one in spots(facts)
        if one.device and (one.host, one.parent, one.type) == (node.host, node.parent, node.type)
    ]
    peers = [one for one in peers if _can_be_asked(facts, one)]
    if any(not _device(facts, one)["in_use_by"] for one in peers):
        return False
    return node.device == min(one.device or "" for one in peers)


def _questions(facts: Facts) -> set[tuple[Spot, str]]:
    """Each node with each string it has to be asked: all pairs walked."""
    everything = spots(facts)
    found = set()
    for node in everything:
        if not _can_be_asked(facts, node) or not _is_asked(facts, node):
            continue
        for other in everything:
            same_location = bool(other.device) == bool(node.device) and other.vendor == node.vendor
            string = _attribute(facts, other)["value"]
            if same_location and other.host != node.host and string and (node.device or other.type == node.type):
                found.add((node, string))
    return found


def requests(facts: Facts) -> set[tuple[t.Any, ...]]:
    """(host, parent, type, device, string) that have to be asked when nothing was asked before."""
    return {(node.host, node.parent, node.type, node.device, string) for node, string in _questions(facts)}
