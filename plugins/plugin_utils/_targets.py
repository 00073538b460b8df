# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan held against what the hosts say now: what each target has to be asked, what may be created there, and which
workloads drifted and are left alone.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import collections
import functools
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _plan
from ansible_collections.vfio.migration.plugins.plugin_utils._nodes import Host
from ansible_collections.vfio.migration.plugins.plugin_utils._reasons import sentence


class Instance(t.TypedDict):
    """What ``vfio.migration.mdev`` takes for one instance."""

    workload: str
    uuid: str
    parent: str | None
    type: str | None
    """Null where the kernel does not tell it of what is to be freed."""
    attributes: list[_model.DeviceAttribute]
    accepts: str | None


class Work(t.TypedDict):
    """Of one target host."""

    requests: list[_model.Request]
    instances: list[Instance]


class Dropped(t.TypedDict):
    """A workload that nothing is created for."""

    workload: str
    reason: str
    detail: str
    """One sentence: which device, where, and why."""


class Targets(t.TypedDict):
    """What is to be done for a plan."""

    hosts: dict[str, Work]
    dropped: list[Dropped]
    unseen: list[str]
    """Hosts of the fleet without facts, whose UUIDs could not be compared."""


class Now(t.NamedTuple):
    """What is known of the fleet, and what of it counts."""

    hosts: t.Mapping[str, Host]
    fresh: t.Collection[str]
    """Hosts that were read in this run."""
    time: str
    max_age: int
    """Seconds for which what a source said holds."""
    allow_unknown: bool = False
    """Create for devices that no driver can be asked about, too."""
    reuse: bool = False
    """Free instances may be taken, so that a full type is no obstacle."""
    again: t.Collection[tuple[str, int]] = ()
    """(workload, wave) of moves that begin where an earlier one of the plan ends."""

    def snapshot(self, host: str) -> _model.Snapshot | None:
        return self.hosts[host].snapshot if host in self.hosts else None


class _Drift(t.NamedTuple):
    reason: str
    errno: str | None = None


def targets(moves: list[_model.Move], now: Now) -> Targets:
    """For each target host its questions and its instances, in the order of the plan.

    A workload stands with all of its devices or is dropped with all of them. Questions are those of every workload
    that did not drift; instances only of those whose target said yes after it was read last.
    """
    owners = _owners(now.hosts.values())
    rooms = _Rooms(now)
    work: dict[str, Work] = {}
    dropped: list[Dropped] = []
    for planned in moves:
        move = _caught_up(planned, now)
        found = _first(move, functools.partial(_device_drift, move, now, owners))
        found = found or rooms.lacking(move)
        if found is None:
            host = work.setdefault(move["target"], Work(requests=[], instances=[]))
            wanted = [request for request in map(_request, _parts(move)) if request]
            host["requests"] += [
                one for number, one in enumerate(wanted) if one not in host["requests"] + wanted[:number]
            ]
            found = _first(move, functools.partial(_verdict, move, now))
        if found is None:
            rooms.take(move)
            work[move["target"]]["instances"] += [_instance(move, device) for device in move["devices"]]
        else:
            dropped.append(_dropped(move, *found))
    unseen = sorted(name for name, host in now.hosts.items() if host.snapshot is None)
    return Targets(hosts=work, dropped=dropped, unseen=unseen)


_Part = _model.PlanDevice | _model.PlanPassthrough
_Found = tuple[_Part, _Drift]


def _parts(move: _model.Move) -> list[_Part]:
    """Everything of a workload, whether it is to be made or is there already."""
    return [*move["devices"], *move["passthrough"]]


def _new(part: _Part) -> t.TypeGuard[_model.PlanDevice]:
    return "uuid" in part


def _passed(part: _Part) -> _model.PlanPassthrough:
    return t.cast("_model.PlanPassthrough", part)


def _caught_up(move: _model.Move, now: Now) -> _model.Move:
    """A second move with what its devices say: when the plan was made, the first move had not made them."""
    if (move["workload"], move["wave"]) not in now.again:
        return move

    def said(part: _Part) -> str | None:
        found = _on(now, move["source"], part["source"])
        return found["migration_version"]["value"] if found and not part["device_string"] else part["device_string"]

    return _model.Move(
        {
            **move,
            "devices": [_model.PlanDevice({**one, "device_string": said(one)}) for one in move["devices"]],
            "passthrough": [_model.PlanPassthrough({**one, "device_string": said(one)}) for one in move["passthrough"]],
        }
    )


def _first(move: _model.Move, look: t.Callable[[_Part], _Drift | None]) -> _Found | None:
    """The first device with something in the way."""
    return next(((part, drift) for part in _parts(move) if (drift := look(part))), None)


def _dropped(move: _model.Move, part: _Part, drift: _Drift) -> Dropped:
    place = f"{part['parent']}/{part['type']}" if _new(part) else _passed(part)["device"]
    where = f"{part['source']} to {move['target']} {place}"
    return Dropped(
        workload=move["workload"], reason=drift.reason, detail=f"{where}: {sentence(drift.reason, drift.errno)}"
    )


def _owners(hosts: t.Iterable[Host]) -> dict[str, set[str]]:
    """Device -> hosts that have it."""
    owners: dict[str, set[str]] = collections.defaultdict(set)
    for host in hosts:
        for device in host.snapshot["devices"] if host.snapshot else ():
            if device["kind"] == "mdev":
                owners[_plan.uuid(device["id"]) or device["id"]].add(host.name)
    return owners


def _device_drift(move: _model.Move, now: Now, owners: t.Mapping[str, set[str]], device: _Part) -> _Drift | None:
    """What differs from the plan, apart from room and answers; the cheapest and gravest first."""
    if not _new(device):
        return _source_drift(move, device, now) or _passed_drift(move, _passed(device), now)
    legal = {move["target"]} | ({move["source"]} if device["uuid"] == device["source"] else set())
    if owners.get(device["uuid"], set()) - legal:
        return _Drift("uuid_clash")
    return _source_drift(move, device, now) or _target_drift(move["target"], device, now)


def _source_drift(move: _model.Move, device: _Part, now: Now) -> _Drift | None:
    snapshot = now.snapshot(move["source"])
    if snapshot is None or not _clock.within(snapshot["time"], now.max_age, now.time):
        return _Drift("source_unread")
    found = _found(snapshot, device["source"])
    if found is None:
        return _Drift("source_gone")
    strings = [(device["device_string"], found["migration_version"])]
    if _new(device):
        strings += [
            (device["type_string"], one["migration_version"])
            for parent in snapshot["parents"]
            if parent["address"] == found["parent"]
            for one in parent["types"]
            if one["id"] == found["type"]
        ]
    held = [one["devices"] for one in snapshot["workloads"] if one["id"] == move["workload"]]
    planned = {one["source"] for one in _parts(move)}
    if (
        (found["type"], found["vendor"]) != (device["source_type"], device["vendor"])
        or any(planned_string != node["value"] for planned_string, node in strings if node["status"] == "ok")
        or any({_plan.uuid(one) or one for one in devices} != planned for devices in held)
    ):
        return _Drift("source_changed")
    if any(planned_string is not None and node["status"] != "ok" for planned_string, node in strings):
        return _Drift("source_unread")
    return None


def _found(snapshot: _model.Snapshot, ident: str) -> _model.Device | None:
    return next((one for one in snapshot["devices"] if (_plan.uuid(one["id"]) or one["id"]) == ident), None)


def _target_drift(host: str, device: _model.PlanDevice, now: Now) -> _Drift | None:
    snapshot = now.snapshot(host)
    if snapshot is None or host not in now.fresh:
        return _Drift("target_unread")
    parent = next((one for one in snapshot["parents"] if one["address"] == device["parent"]), None)
    if parent is None or parent["state"] == "gone":
        return _Drift("parent_gone")
    if parent["state"] == "hung":
        return _Drift("hung")
    if device["type"] not in {one["id"] for one in parent["types"]}:
        return _Drift("type_gone")
    if parent["vendor"] != device["vendor"]:
        return _Drift("vendor")
    return None


def _passed_drift(move: _model.Move, passed: _model.PlanPassthrough, now: Now) -> _Drift | None:
    """A VFIO device is there, is of the vendor, and nobody else holds it."""
    host = move["target"]
    if now.snapshot(host) is None or host not in now.fresh:
        return _Drift("target_unread")
    found = _on(now, host, passed["device"])
    if found is None or found["kind"] != "vfio":
        return _Drift("device_gone")
    if found["vendor"] != passed["vendor"]:
        return _Drift("vendor")
    if found["in_use_by"] is None:
        return _Drift("holders_unknown")
    if any(holder["workload"] != move["workload"] for holder in found["in_use_by"]):
        return _Drift("device_taken")
    return None


class _Rooms:
    """How much room is left for each type of each parent.

    Siblings are not reckoned: what one type takes from another only its driver knows, so ``vfio.migration.mdev`` looks
    again after each instance. This only spares workloads that cannot fit in any case a rollback.
    """

    def __init__(self, now: Now) -> None:
        self.now = now
        self.taken: collections.Counter[tuple[str, str, str]] = collections.Counter()

    def _needed(self, move: _model.Move) -> t.Iterator[tuple[_model.PlanDevice, tuple[str, str, str]]]:
        """What is not there already from an earlier run."""
        snapshot = self.now.snapshot(move["target"])
        for device in move["devices"]:
            found = _found(snapshot, device["uuid"]) if snapshot else None
            if found is None or (found["parent"], found["type"]) != (device["parent"], device["type"]):
                yield device, (move["target"], device["parent"], device["type"])

    def _left(self, place: tuple[str, str, str]) -> int | None:
        host, address, kind = place
        snapshot = self.now.snapshot(host)
        for parent in snapshot["parents"] if snapshot else ():
            for one in parent["types"] if parent["address"] == address else ():
                if one["id"] == kind and one["available_instances"] is not None:
                    return one["available_instances"] - self.taken[place]
        return None

    def lacking(self, move: _model.Move) -> tuple[_model.PlanDevice, _Drift] | None:
        """The first device that has no room, with those before it of the same workload."""
        wanted: collections.Counter[tuple[str, str, str]] = collections.Counter()
        for device, place in self._needed(move):
            wanted[place] += 1
            left = self._left(place)
            if left is not None and wanted[place] > left and not self.now.reuse:
                return device, _Drift("no_room")
        return None

    def take(self, move: _model.Move) -> None:
        """The workload is going to be created."""
        self.taken.update(place for _device, place in self._needed(move))


def _request(device: _Part) -> _model.Request | None:
    """The question to the target's type node, or to the node of a device that is there already; None where the rule of
    equal types forbids it, or nothing is at hand."""
    if not _new(device):
        return _device_request(_passed(device))
    if device["type_string"] is None or device["source_type"] != device["type"]:
        return None
    return _model.Request(
        scope="type",
        parent=device["parent"],
        type=device["type"],
        device=None,
        string=device["type_string"],
        vendor=device["vendor"],
        source_type=device["source_type"],
    )


def _device_request(passed: _model.PlanPassthrough) -> _model.Request | None:
    if passed["device_string"] is None:
        return None
    return _model.Request(
        scope="device",
        parent=None,
        type=None,
        device=passed["device"],
        string=passed["device_string"],
        vendor=passed["vendor"],
        source_type=passed["source_type"],
    )


def _verdict(move: _model.Move, now: Now, device: _Part) -> _Drift | None:
    """What the type node said, if it can be asked; else the new instance's own node decides after it was created."""
    request = _request(device)
    if request is None:
        nobody = device["device_string"] is None and not now.allow_unknown
        return _Drift("nobody_to_ask") if nobody else None
    host = now.hosts[move["target"]]
    answer = _latest(host, request)
    if answer is None:
        return _Drift("not_asked")
    if answer["verdict"] == "compatible" or answer["reason"] == "check_mode":
        return None
    later = _new(device) and device["device_string"] is not None
    if answer["reason"] == "absent" and (later or now.allow_unknown):
        return None
    return _Drift(answer["reason"] or answer["verdict"], answer["errno"])


def _latest(host: Host, request: _model.Request) -> _model.Verdict | None:
    """The answer, given after the host was read last (by the controller's clock) or, in check mode, before."""
    verdicts, snapshot = host.verdicts, host.snapshot
    if verdicts is None or snapshot is None or verdicts["time"] < snapshot["time"]:
        return None
    asked = t.cast("dict[str, object]", request)
    for verdict in reversed(verdicts["verdicts"]):
        if all(verdict.get(key) == value for key, value in asked.items()):
            now = verdict["evidence"]["time"] >= snapshot["time"] or request in verdicts["would_write"]
            return verdict if now else None
    return None


def _instance(move: _model.Move, device: _model.PlanDevice) -> Instance:
    return Instance(
        workload=move["workload"],
        uuid=device["uuid"],
        parent=device["parent"],
        type=device["type"],
        attributes=device["attributes"],
        accepts=device["device_string"],
    )


class Release(t.TypedDict):
    """What to take back for a plan."""

    hosts: dict[str, list[str]]
    """Target host -> workloads whose instances it may remove, if it made them."""
    sources: dict[str, list[Instance]]
    """Source host -> old instances whose workload holds its new ones."""


def release(moves: list[_model.Move], now: Now) -> Release:
    """Per host what to take back.

    An old instance is only freed when nobody holds it and the same workload holds the new one: a VM that is merely
    shut down holds nothing either, and a stranger may hold what another plan made. Only what hosts said in this run
    counts, so the plan may be of any age.
    """
    hosts: dict[str, list[str]] = {}
    sources: dict[str, list[Instance]] = {}
    for move in moves:
        hosts.setdefault(move["target"], []).append(move["workload"])
        if all(_moved(move, part, now) for part in _parts(move)):
            for part in _parts(move):
                # Whatever takes its place on the target, only an instance can be freed.
                found = _on(now, move["source"], part["source"])
                if found and found["kind"] == "mdev":
                    sources.setdefault(move["source"], []).append(_left_behind(move, found))
    return Release(hosts=hosts, sources=sources)


def _left_behind(move: _model.Move, found: _model.Device) -> Instance:
    return Instance(
        workload=move["workload"],
        uuid=_plan.uuid(found["id"]) or found["id"],
        parent=found["parent"],
        type=found["type"],
        attributes=[],
        accepts=None,
    )


def _moved(move: _model.Move, device: _Part, now: Now) -> bool:
    there = device["uuid"] if _new(device) else _passed(device)["device"]
    old, new = _on(now, move["source"], device["source"]), _on(now, move["target"], there)
    left = old is None or (old["in_use_by"] is not None and not _running(old) and not _runs(move, now))
    return left and new is not None and move["workload"] in {holder["workload"] for holder in _running(new)}


def _running(device: _model.Device) -> list[_model.Holder]:
    """Processes that hold it: libvirt may keep a domain that no longer runs here."""
    return [holder for holder in device["in_use_by"] or () if holder["pid"] is not None]


def _runs(move: _model.Move, now: Now) -> bool:
    """Whether libvirt has the VM running on its source, also where its process could not be seen."""
    snapshot = now.snapshot(move["source"])
    workloads = snapshot["workloads"] if snapshot else []
    return any(one["id"] == move["workload"] and one["state"] == "running" for one in workloads)


def _on(now: Now, host: str, ident: str) -> _model.Device | None:
    """A device of a host that was read in this run."""
    snapshot = now.snapshot(host) if host in now.fresh else None
    return _found(snapshot, ident) if snapshot else None
