# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a plan keep what it promises? Walks it move by move through the facts, and finds every violation.

It knows the contracts, and the policy as it was read, and shares nothing else with what makes plans: one that passes
here is valid whatever the search did.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import (
    Batch,
    Device,
    Move,
    Pairing,
    Pairings,
    Plan,
    PlanDevice,
    PlanEvidence,
    Planning,
    PlanPassthrough,
    Snapshot,
    SourceClass,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._checker_rooms import Rooms
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import Policy, Spare, WorkloadKey

Spot = tuple[str, str | None, str | None, str | None]
"""Host and device; or host, parent and type of an instance that is not there yet: (host, parent, type, device)."""


class _Part(t.NamedTuple):
    """One device of a workload where it is now."""

    spot: Spot
    """To look up its source class."""
    parent: str | None
    type: str | None


@dataclasses.dataclass
class _Resident:
    """A workload where it is now."""

    key: WorkloadKey
    """Host and id at the beginning."""
    name: str | None
    host: str
    parts: dict[str, _Part]


def violations(plan: Plan, snapshots: t.Mapping[str, Snapshot], pairings: Pairings, policy: Policy) -> list[str]:
    """All that is wrong with a plan, one sentence each; nothing when it is valid.

    :arg snapshots: of every host whose facts count.
    :arg pairings: of the same facts; with ``sources="all"`` where a workload moves twice.
    """
    planning = plan["planning"]
    if planning is None:
        return ["the plan does not say how it was made, so there is nothing to check it against"]
    walk = _Walk(plan, planning, snapshots, pairings, policy)
    for batch in planning["batches"]:
        walk.batch(batch)
    return [
        *walk.found,
        *walk.rooms.found,
        *_batch_errors(plan, planning, snapshots, policy),
        *_strangers(plan, planning),
        *_uuid_errors(plan, snapshots, policy),
        *_sums(plan, planning),
        *_frame_errors(plan, pairings, policy),
    ]


class _Walk:
    """The fleet while the plan goes on, batch by batch."""

    def __init__(
        self,
        plan: Plan,
        planning: Planning,
        snapshots: t.Mapping[str, Snapshot],
        pairings: Pairings,
        policy: Policy,
    ) -> None:
        self.found: list[str] = []
        self.rooms = Rooms(planning["capacity"], snapshots)
        self._plan, self._planning, self._snapshots, self._policy = plan, planning, snapshots, policy
        self._matrix = _Matrix(pairings, _wanted(plan))
        hosts = {host for batch in planning["batches"] for host in batch["hosts"]}
        self._residents = {
            host: {one.key[1]: one for one in _residents(host, snapshots[host], policy)}
            for host in sorted(hosts)
            if host in snapshots
        }
        self._passed = _held(snapshots, {move["target"] for move in plan["moves"] if move["passthrough"]})
        self._load: dict[str, list[int]] = {}
        """Host -> CPUs and memory that came less those that went."""
        self._where: dict[WorkloadKey, str] = {}
        """Who has moved, and where to."""

    def batch(self, batch: Batch) -> None:
        """Replay the moves of one batch, then look at what has become of its hosts."""
        waves = set(batch["waves"])
        numbered = enumerate(self._plan["moves"])
        moves = [move for _wave, _number, move in sorted((m["wave"], n, m) for n, m in numbered if m["wave"] in waves)]
        left: dict[str, list[_Part]] = {}
        moved = []
        for move in moves:
            self._hosts_of(move, batch)
            resident = self._residents.get(move["source"], {}).get(move["workload"])
            if resident is None or resident.host != move["source"]:
                self.found.append(f"{_who(move)} is moved from {move['source']}, and is not there")
                continue
            parts = self._parts_of(move, resident)
            left.setdefault(move["source"], []).extend(resident.parts.values())
            self._arrive(move, resident, parts)
            moved.append(resident)
        self._limits(batch, moves)
        self._apart(moved)
        self._left_behind(batch)
        for host in batch["hosts"]:
            gone = left.get(host, [])
            self.rooms.give_back(host, [(one.parent, one.type) for one in gone if one.parent and one.type])
            self._passed -= {one.spot for one in gone if one.parent is None}

    def _hosts_of(self, move: Move, batch: Batch) -> None:
        who, target = _who(move), move["target"]
        if move["source"] not in batch["hosts"]:
            self.found.append(f"{who} leaves {move['source']}, which is not drained in batch {batch['batch']}")
        if target in batch["hosts"]:
            self.found.append(f"{who} goes to {target}, which is drained in the same batch")
        if target not in self._snapshots:
            self.found.append(f"{who} goes to {target}, of which there are no facts")

    def _parts_of(self, move: Move, resident: _Resident) -> dict[str, _Part]:
        """Check every device of a move; what the workload has afterwards."""
        who = _who(move)
        if move["name"] != resident.name:
            self.found.append(f"{who} is called {move['name']} in the plan, and {resident.name} by its host")
        conduct = self._policy.conduct.get(resident.key)
        if conduct is not None:
            self.found.append(f"{who} is moved, and its policy is {conduct}")
        planned = [one["source"] for one in (*move["devices"], *move["passthrough"])]
        if sorted(planned) != sorted(resident.parts):
            has = ", ".join(sorted(resident.parts))
            self.found.append(f"{who} is moved with {', '.join(sorted(planned))}, and has {has}")
        after: dict[str, _Part] = {}
        for device in move["devices"]:
            spot: Spot = (move["target"], device["parent"], device["type"], None)
            self._device(move, resident, device, spot)
            self.rooms.create((move["target"], device["parent"]), device["type"], who)
            after[device["uuid"]] = _Part(spot, device["parent"], device["type"])
        for passed in move["passthrough"]:
            spot = (move["target"], None, None, passed["device"])
            self._device(move, resident, passed, spot)
            self._pass(move, spot)
            after[passed["device"]] = _Part(spot, None, None)
        return after

    def _device(self, move: Move, resident: _Resident, device: PlanDevice | PlanPassthrough, spot: Spot) -> None:
        """One device: is it told right, and does the target's driver take it?"""
        part = resident.parts.get(device["source"])
        if part is None:
            return  # said of the whole move
        what = f"{_who(move)} device {device['source']}"
        source = self._matrix.sources.get(part.spot)
        target = self._matrix.targets.get(spot)
        if source is None or target is None:
            missing = _place(part.spot) if source is None else _place(spot)
            self.found.append(f"{what}: the pairings do not know {missing}")
            return
        self.found += (f"{what}: {end}" for end in _told_wrong(device, source))
        pairing = self._matrix.pairings.get((source["id"], target))
        verdict = pairing["verdict"] if pairing else "incompatible"
        if verdict == "incompatible" or pairing is None:
            self.found.append(f"{what} goes to {_place(spot)}, which does not take it")
        elif verdict == "unknown" and spot[0] not in self._policy.allow_unknown:
            self.found.append(f"{what} goes to {_place(spot)}, whose answer is unknown, and the policy forbids that")
        elif device["evidence"] != _evidence(pairing):
            self.found.append(f"{what}: its evidence is not what the pairings say of {_place(spot)}")

    def _pass(self, move: Move, spot: Spot) -> None:
        """A device that has to be there already, and free."""
        snapshot = self._snapshots.get(spot[0])
        devices = snapshot["devices"] if snapshot else []
        there = next((one for one in devices if one["id"] == spot[3]), None)
        if there is None or there["kind"] != "vfio":
            self.found.append(f"{_who(move)} is given {_place(spot)}, and there is no such VFIO device")
        elif spot in self._passed:
            self.found.append(f"{_who(move)} is given {_place(spot)}, which is not free")
        self._passed.add(spot)

    def _arrive(self, move: Move, resident: _Resident, parts: dict[str, _Part]) -> None:
        demand = self._policy.demand.get(resident.key, Spare(None, None))
        for host, sign in ((move["source"], -1), (move["target"], 1)):
            load = self._load.setdefault(host, [0, 0])
            load[0] += sign * (demand.cpus or 0)
            load[1] += sign * (demand.memory or 0)
        self._residents[move["source"]].pop(move["workload"])
        there = self._residents.setdefault(move["target"], {})
        if move["workload"] in there:
            self.found.append(f"{_who(move)} goes to {move['target']}, where there is one of that id already")
        there[move["workload"]] = resident
        resident.host, resident.parts = move["target"], parts
        self._where[resident.key] = move["target"]

    def _limits(self, batch: Batch, moves: t.Sequence[Move]) -> None:
        incoming = collections.Counter(move["target"] for move in moves)
        waves = collections.Counter(move["wave"] for move in moves)
        number, most = batch["batch"], self._policy.incoming
        for host, count in sorted(incoming.items()):
            if most is not None and count > most:
                self.found.append(f"{host} is to take {count} workloads in batch {number}, and the limit is {most}")
            spare = self._policy.headroom.get(host, Spare(None, None))
            for what, have, need in zip(
                ("CPUs", "MiB"), (spare.cpus, spare.memory), self._load.get(host, (0, 0)), strict=True
            ):
                if have is not None and need > have:
                    self.found.append(f"{host} is to take {need} {what} more in batch {number}, and has {have} free")
        for wave, count in sorted(waves.items()):
            if self._policy.concurrent is not None and count > self._policy.concurrent:
                limit = self._policy.concurrent
                self.found.append(f"wave {wave} has {count} migrations at once, and the limit is {limit}")

    def _apart(self, moved: t.Sequence[_Resident]) -> None:
        """Members of a group that this batch brought together; those that were together before are not its doing."""
        keys = {one.key for one in moved}
        for group in self._policy.apart:
            places: dict[str, list[WorkloadKey]] = {}
            for key in sorted(set(group.workloads)):
                host = self._where.get(key, key[0])
                place = host if group.across == "host" else self._policy.domains.get(host, host)
                places.setdefault(place, []).append(key)
            for place, members in sorted(places.items()):
                if len(members) > 1 and not keys.isdisjoint(members):
                    who = ", ".join(f"{ident} of {host}" for host, ident in members)
                    self.found.append(f"{who} come together on {group.across} {place}, against group {group.name}")

    def _left_behind(self, batch: Batch) -> None:
        """Whoever is still on a host of the batch has to be accounted for, once."""
        stopped = collections.Counter((one["host"], one["workload"]) for one in self._planning["stopped"])
        stuck = collections.Counter((one["host"], one["workload"]) for one in self._plan["stuck"])
        reasons = {(one["host"], one["workload"]): one["reason"] for one in self._plan["stuck"]}
        empty = []
        for host in batch["hosts"]:
            there = self._residents.get(host, {})
            for ident, resident in sorted(there.items()):
                conduct = self._policy.conduct.get(resident.key)
                at = (host, ident)
                expected = (0, 1) if conduct == "stop" else (1, 0)
                if (stuck[at], stopped[at]) != expected:
                    self.found.append(
                        f"{ident} stays on {host} with policy {conduct or 'migrate'}, and is listed {stuck[at]} times "
                        f"as stuck and {stopped[at]} times as stopped"
                    )
                elif conduct == "skip" and reasons[at] != "skipped":
                    self.found.append(f"{ident} on {host} is to be skipped, and is stuck for {reasons[at]}")
            told = [at for at in (*stuck, *stopped) if at[0] == host and at[1] not in there]
            self.found += (f"{ident} is listed as staying on {host}, and is not there then" for host, ident in told)
            if host in self._snapshots and all(self._policy.conduct.get(one.key) == "stop" for one in there.values()):
                empty.append(host)
        if sorted(empty) != sorted(batch["emptied"]):
            said = ", ".join(sorted(batch["emptied"])) or "none"
            self.found.append(
                f"batch {batch['batch']} says that it empties {said}, and it empties {', '.join(empty) or 'none'}"
            )


class _Matrix:
    """The part of the pairings that a plan touches."""

    def __init__(self, pairings: Pairings, wanted: t.Collection[Spot]) -> None:
        self.sources: dict[Spot, SourceClass] = {}
        self.targets: dict[Spot, str] = {}
        for source in pairings["sources"]:
            for member in source["members"]:
                spot = _spot(member["host"], member["parent"], source["type"], member["device"])
                if spot in wanted:
                    self.sources[spot] = source
        for target in pairings["targets"]:
            for place in target["members"]:
                spot = _spot(place["host"], place["parent"], target["type"], place["device"])
                if spot in wanted:
                    self.targets[spot] = target["id"]
        sources = {source["id"] for source in self.sources.values()}
        targets = set(self.targets.values())
        self.pairings: dict[tuple[str, str], Pairing] = {
            (one["source"], one["target"]): one
            for one in pairings["pairings"]
            if one["source"] in sources and one["target"] in targets
        }


def _spot(host: str, parent: str | None, kind: str | None, device: str | None) -> Spot:
    return (host, parent, kind, None) if device is None else (host, None, None, device)


def _place(spot: Spot) -> str:
    return " ".join(word for word in spot if word is not None)


def _who(move: Move) -> str:
    return f"{move['workload']} of {move['source']}"


def _wanted(plan: Plan) -> set[Spot]:
    wanted: set[Spot] = set()
    for move in plan["moves"]:
        wanted.update((move["source"], None, None, one["source"]) for one in (*move["devices"], *move["passthrough"]))
        wanted.update((move["target"], one["parent"], one["type"], None) for one in move["devices"])
        wanted.update((move["target"], None, None, one["device"]) for one in move["passthrough"])
    return wanted


def _residents(host: str, snapshot: Snapshot, policy: Policy) -> t.Iterator[_Resident]:
    """The workloads of a host. A device that two claim is the first one's; one that nobody claims is its own. Who has
    no device matters only where the policy names it."""
    names = {workload["id"]: workload["name"] for workload in snapshot["workloads"]}
    owners: dict[str, str] = {}
    for workload in snapshot["workloads"]:
        for device in workload["devices"]:
            owners[device] = min(workload["id"], owners.get(device, workload["id"]))
    places: dict[str, tuple[str | None, str | None]] = {
        each["id"]: (each["parent"], each["type"]) for each in snapshot["devices"]
    }
    for each in snapshot["devices"]:
        if each["id"] not in owners and each["in_use_by"] != []:
            claims = [holder["workload"] for holder in each["in_use_by"] or () if holder["workload"]]
            owners[each["id"]] = min(claims, default=each["id"])
    found: dict[str, dict[str, _Part]] = {ident: {} for ident in names if (host, ident) in policy.conduct}
    for name, owner in owners.items():
        found.setdefault(owner, {})[name] = _Part((host, None, None, name), *places.get(name, (None, None)))
    for ident, parts in found.items():
        yield _Resident((host, ident), names.get(ident), host, parts)


def _held(snapshots: t.Mapping[str, Snapshot], hosts: t.Collection[str]) -> set[Spot]:
    """VFIO devices of these hosts that somebody has, or may have."""
    return {
        (host, None, None, device["id"])
        for host in hosts
        if host in snapshots
        for device in snapshots[host]["devices"]
        if _is_held(device, snapshots[host])
    }


def _is_held(device: Device, snapshot: Snapshot) -> bool:
    claimed = any(device["id"] in workload["devices"] for workload in snapshot["workloads"])
    return device["kind"] == "vfio" and (claimed or device["in_use_by"] != [])


def _told_wrong(device: PlanDevice | PlanPassthrough, source: SourceClass) -> t.Iterator[str]:
    """Where the plan's description of a device differs from the pairings'."""
    own = source["device_version"]
    of_type = source["type_version"]
    expected: dict[str, str | None] = {
        "source_type": source["type"],
        "vendor": source["vendor"],
        "device_string": own["value"] if own else None,
    }
    if "uuid" in device:
        expected["type_string"] = of_type["value"] if of_type else None
    for key, value in expected.items():
        if device.get(key) != value:
            yield f"its {key} is {device.get(key)!r} in the plan, and {value!r} in the pairings"


def _evidence(pairing: Pairing) -> PlanEvidence:
    return PlanEvidence(
        verdict=pairing["verdict"],
        scope=pairing["scope"],
        reason=pairing["reason"],
        asked=pairing["asked"],
        warnings=pairing["warnings"],
    )


def _batch_errors(plan: Plan, planning: Planning, snapshots: t.Iterable[str], policy: Policy) -> t.Iterator[str]:
    """Whether the batches are those of the policy, and every wave is of one of them."""
    batches = planning["batches"]
    hosts = [host for batch in batches for host in batch["hosts"]]
    waves = [wave for batch in batches for wave in batch["waves"]]
    if [batch["batch"] for batch in batches] != list(range(1, len(batches) + 1)):
        yield "the batches are not numbered 1, 2, 3 and so on"
    yield from (f"{host} is in two batches" for host, count in collections.Counter(hosts).items() if count > 1)
    if sorted(set(waves)) != waves:
        yield f"the waves of the batches are not in order: {waves}"
    strangers = sorted({move["wave"] for move in plan["moves"]} ^ set(waves))
    yield from (f"wave {wave} is not both of a batch and of a move" for wave in strangers)
    rolling = policy.rolling
    if rolling is None:
        if sorted(hosts) != sorted(set(policy.drain)) or len(batches) > 1:
            yield f"the plan drains {', '.join(hosts)}, and it should drain {', '.join(policy.drain)}"
    elif rolling.batches:
        if [sorted(batch["hosts"]) for batch in batches] != [sorted(batch) for batch in rolling.batches]:
            yield "the batches are not those that were asked for"
    else:
        yield from (f"{host} is in no batch" for host in sorted(set(snapshots) - set(hosts)))
        most = rolling.max_unavailable or 1
        for batch in batches:
            if len(batch["hosts"]) > most:
                yield f"batch {batch['batch']} has {len(batch['hosts'])} hosts in maintenance, and the limit is {most}"


def _strangers(plan: Plan, planning: Planning) -> t.Iterator[str]:
    """Who stays on hosts that nobody drains is none of the plan's business."""
    hosts = {host for batch in planning["batches"] for host in batch["hosts"]}
    for one in (*plan["stuck"], *planning["stopped"]):
        if one["host"] not in hosts:
            yield f"{one['workload']} is listed as staying on {one['host']}, which is never drained"


def _uuid_errors(plan: Plan, snapshots: t.Mapping[str, Snapshot], policy: Policy) -> t.Iterator[str]:
    """New UUIDs are nowhere else in the fleet or in the plan; under policy same it is the source's own."""
    chosen: dict[str, str] = {}
    sources = set[tuple[str, str]]()
    for move in plan["moves"]:
        for device in move["devices"]:
            ident, who = device["uuid"].lower(), _who(move)
            if policy.uuid_policy == "same":
                sources.add((move["source"], device["source"].lower()))
                if ident != device["source"].lower():
                    yield f"{who} gets {device['uuid']}, and should keep the UUID of {device['source']}"
                if chosen.get(ident, move["workload"]) != move["workload"]:
                    yield f"{who} gets {device['uuid']}, which the plan gives to {chosen[ident]} as well"
            elif ident in chosen:
                yield f"{who} gets {device['uuid']}, which the plan uses twice"
            chosen[ident] = move["workload"]
    for host, snapshot in snapshots.items():
        for there in snapshot["devices"]:
            ident = there["id"].lower()
            if ident in chosen and (host, ident) not in sources:
                yield f"{chosen[ident]} gets {there['id']}, which {host} has already"


def _sums(plan: Plan, planning: Planning) -> t.Iterator[str]:
    """Bound and gap."""
    bound, gap = planning["bound"], planning["gap"]
    if (bound is None) != (gap is None) or (bound is None) != (planning["bound_reason"] is not None):
        yield "the plan has to have bound and gap, or the reason why there is none"
    if bound is None or gap is None:
        return
    hosts = sum(len(batch["emptied"]) for batch in planning["batches"])
    moves = len({move["workload"] for move in plan["moves"]})
    for what, most, have, less in (
        ("hosts", bound["hosts"], hosts, gap["hosts"]),
        ("workloads", bound["workloads"], moves, gap["workloads"]),
    ):
        if most < have:
            yield f"the plan has {have} {what}, more than its bound of {most}"
        if less != most - have:
            yield f"the gap of {what} is {less}, and bound {most} less plan {have} is {most - have}"


def _frame_errors(plan: Plan, pairings: Pairings, policy: Policy) -> t.Iterator[str]:
    """What the plan says of itself."""
    missing = sorted(one["host"] for one in pairings["hosts"] if one["state"] in ("unreachable", "excluded"))
    if missing and not plan["partial"]:
        yield f"the plan does not say that it is partial, and {', '.join(missing)} could not be taken into account"
    if (plan["uuid_policy"], plan["persist"]) != (policy.uuid_policy, policy.persist):
        yield "the plan's uuid_policy and persist are not those that were asked for"
