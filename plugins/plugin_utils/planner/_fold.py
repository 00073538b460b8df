# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots, pairings and policy -> a problem in numbers, and the way back from its numbers to names.

The work grows with hosts and their parents: what depends on classes only is worked out once for each of them.

This file is private to the collection and pure.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import operator
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import (
    Note,
    Pairings,
    Snapshot,
    SourceClass,
    Stopped,
    Stuck,
    StuckReason,
    TargetClass,
)
from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _capacity
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._capacity import Model, Room, some
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._owners import Nature, Owner, owners
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import Apart, Policy, Spare
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import (
    Group,
    Host,
    Kind,
    Left,
    Parent,
    Problem,
    Seat,
    Vm,
)


@dataclasses.dataclass(frozen=True)
class Folded:
    """A problem and what its numbers mean."""

    problem: Problem
    """``hosts``: every host of the inventory in order of names, those of which nothing is known without parents. With
    ``policy.drain`` it is ready to be solved: those hosts are drained, and ``vms`` are what is on them. Of a rolling
    maintenance nobody is drained yet: every host is a target, and ``vms`` are all that some batch may have to move."""
    sources: tuple[SourceClass, ...]
    """By need."""
    targets: tuple[TargetClass, ...]
    """By the numbers of ``seats``."""
    seats: tuple[tuple[tuple[int, ...], ...], ...]
    """Host, index of its parents, seat -> index of ``targets``. (Kinds are merged across target classes that take the
    same needs, so the class belongs to the parent, not to the kind.)"""
    rooms: t.Mapping[tuple[str, str], Room]
    """Host and parent -> its room by its whole model, for the capacity records of a plan."""
    names: tuple[str | None, ...]
    """Name of each VM."""
    stuck: tuple[Stuck, ...]
    """Workloads that are not in ``vms``: skipped, or of which nothing is known to ask a driver."""
    stopped: tuple[Stopped, ...]
    notes: tuple[Note, ...]
    snapshots: t.Mapping[str, Snapshot]
    """Of the hosts that can be taken into account."""

    def target(self, host: int, parent: int, seat: int) -> TargetClass:
        """The class of a seat, to look up its pairings."""
        return self.targets[self.seats[host][parent][seat]]

    @functools.cached_property
    def _devices(self) -> dict[int, set[str]]:
        """Host -> what its VMs have; asked for host by host, so it is not looked for each time."""
        found: dict[int, set[str]] = {}
        for vm in self.problem.vms:
            found.setdefault(vm.host, set()).update(vm.devices)
        return found

    def left_after(self, host: int, gone: t.Collection[str]) -> tuple[Left, ...]:
        """What is left of each of its parents when these devices of its VMs have gone: between left and full."""
        here = self.problem.hosts[host]
        of_vms: t.AbstractSet[str] = self._devices.get(host, frozenset())
        going: dict[str, collections.Counter[str]] = {}
        staying: set[str] = set()
        for device in self.snapshots[here.name]["devices"] if here.parents else ():
            place = device["parent"] or device["id"]
            if device["id"] in gone:
                going.setdefault(place, collections.Counter())[device["type"] or ""] += 1
            elif device["id"] in of_vms:
                staying.add(place)
        found = []
        for number, parent in enumerate(here.parents):
            if parent.address not in going:
                found.append(parent.left)
            elif parent.address not in staying:
                found.append(parent.full)
            else:
                model, left, _full = self.rooms[here.name, parent.address]
                types = [self.targets[each]["type"] for each in self.seats[host][number]]
                found.append(_projected(model.given_back(left, going[parent.address]), _resources(model, types)))
        return tuple(found)


def fold(pairings: Pairings, hosts: t.Sequence[_nodes.Host], policy: Policy) -> Folded:
    """What the search works on."""
    fleet = _Fleet(pairings, hosts, policy)
    cast = _Cast(fleet)
    capacities = _capacity.derive(fleet.usable, policy.capacity, cast.devices)
    floor = _Floor(fleet, cast, capacities.rooms)
    built, seats = floor.hosts()
    notes = [*fleet.notes(), *cast.notes, *capacities.notes]
    if not any(host.target for host in built):
        detail = "no host is left that could take anything: every one is drained, unreachable or excluded"
        notes.append(Note(item="hosts", reason="no_targets", detail=detail))
    return Folded(
        problem=Problem(tuple(built), tuple(floor.kinds), tuple(cast.vms), cast.groups),
        sources=tuple(pairings["sources"]),
        targets=tuple(pairings["targets"]),
        seats=tuple(seats),
        rooms=capacities.rooms,
        names=tuple(cast.names),
        stuck=tuple(cast.stuck),
        stopped=tuple(cast.stopped),
        notes=tuple(notes),
        snapshots=fleet.snapshots,
    )


class _Fleet:
    """The hosts, and which of them can be taken into account."""

    def __init__(self, pairings: Pairings, hosts: t.Sequence[_nodes.Host], policy: Policy) -> None:
        self.pairings = pairings
        self.policy = policy
        self.all = sorted(hosts, key=lambda host: host.name)
        self.number = {host.name: number for number, host in enumerate(self.all)}
        self.state = {each["host"]: each["state"] for each in pairings["hosts"]}
        self.usable = [host for host in self.all if host.snapshot and self.state.get(host.name) in ("fresh", "cached")]
        self.snapshots = {host.name: host.snapshot for host in self.usable if host.snapshot}
        batches = policy.rolling.batches if policy.rolling else (policy.drain,)
        everyone = policy.rolling is not None and not policy.rolling.batches
        self.cleared = frozenset(self.number if everyone else [name for batch in batches for name in batch])
        """Hosts that are to be emptied, now or later on."""

    def domain(self, host: str) -> str:
        return self.policy.domains.get(host, host)

    def notes(self) -> t.Iterator[Note]:
        """What nobody knows cannot be moved away."""
        for host in self.all:
            if host.name in self.cleared and host.name not in self.snapshots:
                state = self.state.get(host.name, "not in the pairings")
                detail = f"it is {state}, so what is on it is not known in full and it does not count as emptied"
                yield Note(item=f"hosts/{host.name}", reason="unknown_host", detail=detail)


class _Cast:
    """Who has to move, who does not, and why."""

    def __init__(self, fleet: _Fleet) -> None:
        self._fleet = fleet
        self._policy = fleet.policy
        self._needs = _needs(fleet)
        self._member = _members(fleet.policy.apart)
        self.vms: list[Vm] = []
        self.names: list[str | None] = []
        self.stuck: list[Stuck] = []
        self.stopped: list[Stopped] = []
        self.notes: list[Note] = []
        self.held: set[str] = set()
        self.devices: dict[str, frozenset[str]] = {}
        """Host -> its devices that are to move."""
        for host in fleet.all:
            if host.name in fleet.cleared:
                self._add_host(host)
        # Who stops starts again where it was.
        moving = {(fleet.all[vm.host].name, vm.id) for vm in self.vms}
        self.groups = tuple(
            Group(
                each.name,
                each.across == "domain",
                frozenset(
                    fleet.domain(host) if each.across == "domain" else host
                    for host, workload in each.workloads
                    if (host, workload) not in moving
                ),
            )
            for each in fleet.policy.apart
        )

    def _add_host(self, host: _nodes.Host) -> None:
        snapshot = self._fleet.snapshots.get(host.name)
        if snapshot is None:
            self.held.add(host.name)
            return
        own = owners(snapshot)
        first = len(self.vms)
        for owner in own:
            self._add(host.name, owner)
        self.devices[host.name] = frozenset(device for vm in self.vms[first:] for device in vm.devices)
        self.notes += _remarks(host.name, snapshot, own)

    def _add(self, host: str, owner: Owner) -> None:
        conduct = self._policy.conduct.get((host, owner.id), "migrate")
        if conduct == "stop":
            self.stopped.append(Stopped(workload=owner.id, name=owner.name, host=host))
            return
        if conduct == "skip":
            self._stays(host, owner, "skipped", "the policy says that it is to stay where it is")
            return
        if not owner.devices:
            return
        needs = self._needs.get(host, {})
        lost = [device for device in owner.devices if device not in needs]
        if lost:
            detail = f"vendor or type of {some(lost)} are not known, so no driver can be asked: see the host's notes"
            self._stays(host, owner, "source_unknown", detail)
            return
        pairs = sorted((needs[device], device) for device in owner.devices)
        demand = self._policy.demand.get((host, owner.id), _NOTHING_SAID)
        vm = Vm(
            owner.id,
            self._fleet.number[host],
            tuple([need for need, _device in pairs]),
            tuple([device for _need, device in pairs]),
            demand.cpus or 0,
            demand.memory or 0,
            self._member.get((host, owner.id), ()),
        )
        self.vms.append(vm)
        self.names.append(owner.name)

    def _stays(self, host: str, owner: Owner, reason: StuckReason, detail: str) -> None:
        self.held.add(host)
        self.stuck.append(
            Stuck(
                workload=owner.id,
                name=owner.name,
                host=host,
                reason=reason,
                detail=detail,
                rivals=[],
                hosts=[host],
                remedies=[],
            )
        )


def _needs(fleet: _Fleet) -> dict[str, dict[str, int]]:
    """Host -> device -> number of its source class. Devices whose vendor or type nobody knows are left out: any driver
    might take them for something else."""
    found: dict[str, dict[str, int]] = {name: {} for name in fleet.cleared}
    for number, source in enumerate(fleet.pairings["sources"]):
        if not source["vendor"] or (source["kind"] == "mdev" and source["type"] is None):
            continue
        for member in source["members"]:
            own = found.get(member["host"])
            if own is not None and member["device"] is not None:
                own[member["device"]] = number
    return found


def _members(apart: t.Sequence[Apart]) -> dict[tuple[str, str], tuple[int, ...]]:
    found: dict[tuple[str, str], tuple[int, ...]] = {}
    for number, each in enumerate(apart):
        for workload in each.workloads:
            found[workload] = (*found.get(workload, ()), number)
    return found


_NATURES: t.Final[t.Mapping[Nature, tuple[str, str]]] = {
    "unknown": ("owner_unknown", "nobody knows whose devices these are, so each is planned as a workload of its own"),
    "process": ("process", "these are no VMs; whether they can move is for their operator to know"),
    "defined": ("not_running", "these VMs are defined but do not run; they are planned like the others"),
}


def _remarks(host: str, snapshot: Snapshot, own: t.Sequence[Owner]) -> t.Iterator[Note]:
    """What a person should know before this host is emptied."""
    for nature, (reason, detail) in _NATURES.items():
        names = [owner.id for owner in own if owner.nature == nature]
        if names:
            yield Note(item=f"hosts/{host}", reason=reason, detail=f"{detail}: {some(names)}")
    for owner in own:
        if owner.shared:
            detail = f"{some(owner.shared)} belong to another workload as well, which counts as the owner"
            yield Note(item=f"hosts/{host}/workloads/{owner.id}", reason="shared", detail=detail)
    taken = {device for owner in own for device in owner.devices}
    idle = [each["id"] for each in snapshot["devices"] if each["kind"] == "mdev" and each["id"] not in taken]
    if idle:
        detail = "these instances are idle and nobody's, so they are left alone; a reboot of the host loses them"
        yield Note(item=f"hosts/{host}", reason="idle", detail=f"{detail}: {some(sorted(idle))}")


Offer = tuple[int, ...]
"""Target classes of the seats of one parent, in order of types."""


class _Shape(t.NamedTuple):
    """Parents that only their address tells apart."""

    kind: int
    left: Left
    full: Left
    targets: Offer


class _Floor:
    """The parents of the fleet as kinds."""

    def __init__(self, fleet: _Fleet, cast: _Cast, rooms: t.Mapping[tuple[str, str], Room]) -> None:
        self._fleet = fleet
        self._cast = cast
        self._targets = fleet.pairings["targets"]
        self._rooms = rooms
        self._yes, self._unknown = _answers(fleet, cast)
        self._types, self._devices = self._offered()
        self._becoming = _becoming(fleet) if fleet.policy.rolling else {}
        self._kinds: dict[Kind, int] = {}
        self._shapes: dict[t.Hashable, _Shape | None] = {}
        self._parents: dict[tuple[str, int, Left, Left], Parent] = {}

    @property
    def kinds(self) -> t.Iterable[Kind]:
        """In the order of their numbers."""
        return self._kinds

    def hosts(self) -> tuple[list[Host], list[tuple[Offer, ...]]]:
        """All hosts, and the target classes of their seats."""
        built, seats = [], []
        policy = self._fleet.policy
        for host in self._fleet.all:
            shapes = sorted(self._shapes_of(host.name), key=lambda each: each[0])
            spare = policy.headroom.get(host.name, _NOTHING_SAID)
            drained = policy.rolling is None and host.name in self._fleet.cleared
            built.append(
                Host(
                    name=host.name,
                    parents=tuple([self._parent(address, shape) for address, shape in shapes]),
                    target=host.name in self._fleet.snapshots and not drained,
                    drained=drained,
                    domain=self._fleet.domain(host.name),
                    incoming=policy.incoming,
                    cpus=spare.cpus,
                    memory=spare.memory,
                    held=host.name in self._cast.held,
                )
            )
            seats.append(tuple([shape.targets for _address, shape in shapes]))
        return built, seats

    def _offered(self) -> tuple[dict[str, dict[str, list[int]]], dict[str, dict[str, int]]]:
        """Host -> parent -> target classes of its types, and host -> VFIO device -> its target class; without those
        that have nothing to say to any need. Existing mdev instances are somebody's, so they are no targets."""
        types: dict[str, dict[str, list[int]]] = {name: {} for name in self._fleet.snapshots}
        devices: dict[str, dict[str, int]] = {}
        for number, target in enumerate(self._targets):
            if number not in self._yes and number not in self._unknown:
                continue
            if target["scope"] == "type":
                for member in target["members"]:
                    parent = member["parent"]
                    if parent is not None and member["host"] in types:
                        types[member["host"]].setdefault(parent, []).append(number)
            elif target["kind"] == "vfio":
                for member in target["members"]:
                    if member["device"] is not None:
                        devices.setdefault(member["host"], {})[member["device"]] = number
        return types, devices

    def _shapes_of(self, host: str) -> t.Iterator[tuple[str, _Shape]]:
        snapshot = self._fleet.snapshots.get(host)
        if snapshot is None:
            return
        allowed = host in self._fleet.policy.allow_unknown
        becoming = self._becoming.get(host, {})
        for parent, offer in self._types[host].items():
            room = self._rooms.get((host, parent))
            becomes = tuple([becoming.get((parent, self._targets[each]["type"])) for each in offer] if becoming else ())
            # Rooms are shared by all parents that are alike, and live as long as this does.
            key = (id(room), tuple(offer), becomes, allowed)
            if key not in self._shapes:
                self._shapes[key] = None if room is None else self._shape(room, offer, becomes, allowed)
            shape = self._shapes[key]
            if shape is not None:
                yield parent, shape
        devices = self._devices.get(host, {})
        for device, left, full in _passthrough(snapshot, self._cast.devices.get(host, ())) if devices else ():
            if device in devices:
                yield device, self._vfio(devices[device], becoming.get((device, None)), left, full, allowed)

    def _shape(
        self, room: Room, offer: t.Sequence[int], becomes: t.Sequence[int | None], allowed: bool
    ) -> _Shape | None:
        model = room.model
        targets, seats, costs, types = [], [], [], []
        for place, number in enumerate(offer):
            type_id = self._targets[number]["type"]
            if type_id in model.types:
                targets.append(number)
                types.append(type_id)
                seats.append(self._seat(number, becomes[place] if becomes else None, allowed))
        if not seats:
            return None
        resources = _resources(model, types)
        if not model.exclusive:
            costs = [_projected(model.costs[model.types.index(each)], resources) for each in types]
        kind = self._number(Kind(model.exclusive, tuple(seats), tuple(costs)))
        return _Shape(kind, _projected(room.left, resources), _projected(room.full, resources), tuple(targets))

    def _vfio(self, target: int, becomes: int | None, left: int, full: int, allowed: bool) -> _Shape:
        kind = Kind(False, (dataclasses.replace(self._seat(target, becomes, allowed), type=None),), ((1,),))
        return _Shape(self._number(kind), (left,), (full,), (target,))

    def _seat(self, target: int, becomes: int | None, allowed: bool) -> Seat:
        unknown = self._unknown.get(target, _NONE)
        return Seat(
            type=self._targets[target]["type"],
            yes=self._yes.get(target, _NONE),
            maybe=unknown if allowed else _NONE,
            barred=_NONE if allowed else unknown,
            becomes=becomes,
        )

    def _number(self, kind: Kind) -> int:
        return self._kinds.setdefault(kind, len(self._kinds))

    def _parent(self, address: str, shape: _Shape) -> Parent:
        key = (address, shape.kind, shape.left, shape.full)
        parent = self._parents.get(key)
        if parent is None:
            parent = self._parents[key] = Parent(*key)
        return parent


_NONE: t.Final[frozenset[int]] = frozenset()
_NOTHING_SAID: t.Final = Spare(None, None)


def _answers(fleet: _Fleet, cast: _Cast) -> tuple[dict[int, frozenset[int]], dict[int, frozenset[int]]]:
    """Target class -> needs that it takes, and needs that nobody could ask it about."""
    pairings = fleet.pairings
    needs = {each["id"]: number for number, each in enumerate(pairings["sources"])}
    targets = {each["id"]: number for number, each in enumerate(pairings["targets"])}
    # What an instance becomes on its way is a need too, whether or not anybody has it today.
    wanted = None if fleet.policy.rolling else {need for vm in cast.vms for need in vm.needs}
    found: dict[str, dict[int, set[int]]] = {"compatible": {}, "unknown": {}, "incompatible": {}}
    for pair in pairings["pairings"]:
        need = needs[pair["source"]]
        if wanted is None or need in wanted:
            found[pair["verdict"]].setdefault(targets[pair["target"]], set()).add(need)
    yes, unknown = found["compatible"], found["unknown"]
    return {key: frozenset(each) for key, each in yes.items()}, {key: frozenset(each) for key, each in unknown.items()}


def _becoming(fleet: _Fleet) -> dict[str, dict[tuple[str, str | None], int]]:
    """Host -> (parent and type, or VFIO device and null) -> need of an instance made there. Only hosts that are to be
    emptied later on: from the others nothing moves again."""
    found: dict[str, dict[tuple[str, str | None], int]] = {name: {} for name in fleet.cleared}
    for number, source in enumerate(fleet.pairings["sources"]):
        for member in source["members"]:
            own, device, parent = found.get(member["host"]), member["device"], member["parent"]
            if own is None:
                continue
            if device is None and parent is not None:
                own[parent, source["type"]] = number
            elif device is not None and source["kind"] == "vfio":
                own[device, None] = number
    return found


def _passthrough(snapshot: Snapshot, leaving: t.Collection[str]) -> t.Iterator[tuple[str, int, int]]:
    """VFIO devices with room, in order of their ids: now (1 or 0), and when those that are to move have gone."""
    taken = {device for workload in snapshot["workloads"] for device in workload["devices"]}
    there = (device for device in snapshot["devices"] if device["kind"] == "vfio")
    for device in sorted(there, key=operator.itemgetter("id")):
        free = device["in_use_by"] == [] and device["id"] not in taken
        if free or device["id"] in leaving:
            yield device["id"], int(free), 1


def _resources(model: Model, types: t.Iterable[str | None]) -> Left:
    """Which resources of a model these types take; for an exclusive one, the types themselves."""
    places = [model.types.index(each) for each in types if each is not None]
    if model.exclusive:
        return tuple(places)
    return tuple(each for each in range(len(model.resources)) if any(model.costs[place][each] for place in places))


def _projected(left: Left, resources: Left) -> Left:
    return tuple([left[each] for each in resources])
