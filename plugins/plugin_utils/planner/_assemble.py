# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the search found -> the plan that people review and roles carry out.

This file is private to the collection and pure.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t
import uuid

from ansible_collections.vfio.migration.plugins.module_utils._model import (
    SCHEMA_VERSION,
    Attribute,
    Batch,
    Capacity,
    HostState,
    Move,
    Name,
    Note,
    Pairing,
    Pairings,
    ParentRoom,
    Plan,
    PlanBound,
    PlanDevice,
    PlanEvidence,
    PlanGap,
    PlanInputs,
    Planning,
    PlanPassthrough,
    Share,
    Stuck,
    Timestamp,
    TypeNeed,
)
from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils._plan import uuid as normal_uuid
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._capacity import Model
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._fold import Folded
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._ground import Step
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import (
    Override,
    Policy,
    Rolling,
    Spare,
    WorkloadKey,
)
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Bound

_NAMESPACE = uuid.UUID("6f2a1f5e-8f0b-5d0c-9c55-6a1f3c0f7b1d")


class Stage(t.NamedTuple):
    """One batch of the plan."""

    hosts: tuple[int, ...]
    emptied: tuple[int, ...]
    waves: tuple[tuple[Step, ...], ...]


@dataclasses.dataclass(frozen=True)
class Made:
    """All that a plan is made of."""

    folded: Folded
    policy: Policy
    pairings: Pairings
    id: str
    fingerprint: str
    now: str
    stages: tuple[Stage, ...]
    stuck: tuple[Stuck, ...]
    bound: Bound | None
    bound_reason: str | None
    notes: tuple[Note, ...]

    @property
    def steps(self) -> t.Iterator[Step]:
        """All moves, in order."""
        return (step for stage in self.stages for wave in stage.waves for step in wave)


class Uuids:
    """UUIDs of new instances: the same for the same plan, and never one that the fleet has already."""

    def __init__(self, plan: str, policy: Policy, folded: Folded, hosts: t.Iterable[_nodes.Host]) -> None:
        self._plan = plan
        self._keep = policy.uuid_policy == "same"
        self._vms = folded.problem.vms
        self._hosts = folded.problem.hosts
        self._used = set() if self._keep else known_uuids(hosts)

    def name(self, vm: int, device: str, move: int) -> str:
        """The UUID of one device after the n-th move of its VM."""
        if self._keep:
            return normal_uuid(device) or device
        owner = self._vms[vm]
        parts = [self._plan, self._hosts[owner.host].name, owner.id, device, move]
        attempt = 0
        while True:
            found = str(uuid.uuid5(_NAMESPACE, json.dumps([*parts, attempt])))
            if found not in self._used:
                self._used.add(found)
                return found
            attempt += 1


def known_uuids(hosts: t.Iterable[_nodes.Host]) -> set[str]:
    """Of every mdev in the fleet, in the kernel's spelling; nearly all have it, and need no text of their own."""
    found = (
        device["id"]
        for host in hosts
        for device in (host.snapshot["devices"] if host.snapshot else ())
        if device["kind"] == "mdev"
    )
    return {ident if (word := normal_uuid(ident)) in (None, ident) else word for ident in found}


def fingerprint(pairings: Pairings, folded: Folded, policy: Policy) -> str:
    """Of all that decides a plan. When it was read or asked does not: facts that say the same give the same plan."""
    digest = hashlib.sha256()
    for text in _texts(_decisive(pairings, folded, policy)):
        digest.update(text.encode())
    return digest.hexdigest()


def _decisive(pairings: Pairings, folded: Folded, policy: Policy) -> t.Iterator[object]:
    problem = folded.problem
    yield {**policy_record(policy), "id": None}
    yield pairings["sources"]
    yield pairings["targets"]
    yield [{**one, "asked": None} for one in pairings["pairings"]]
    yield [[one["host"], one["state"] == "excluded", one["time"] is None] for one in pairings["hosts"]]
    yield [[host.name, host.domain, host.target, host.held, host.cpus, host.memory] for host in problem.hosts]
    yield [[vm.id, vm.host, vm.needs, vm.devices, vm.cpus, vm.memory, vm.groups] for vm in problem.vms]
    yield folded.names
    yield [[*place, room.left, room.full] for place, room in folded.rooms.items()]
    yield [dataclasses.asdict(model) for model in _models(folded)]
    yield folded.stuck
    yield folded.stopped


def _texts(parts: t.Iterable[object]) -> t.Iterator[str]:
    """JSON, of a list item by item: that of a whole fleet at once would be larger than all that planning needs."""
    write = json.JSONEncoder(separators=(",", ":")).encode
    for part in parts:
        if isinstance(part, (list, tuple)):
            yield "["
            for number, item in enumerate(part):
                yield "," + write(item) if number else write(item)
            yield "]"
        else:
            yield write(part)


def _models(folded: Folded) -> t.Iterable[Model]:
    return dict.fromkeys(room.model for room in folded.rooms.values())


def plan(made: Made) -> Plan:
    """The contract."""
    waves = [wave for stage in made.stages for wave in stage.waves]
    matrix = {(one["source"], one["target"]): one for one in made.pairings["pairings"]}
    return Plan(
        schema_version=SCHEMA_VERSION,
        id=Name(made.id),
        created=Timestamp(made.now),
        uuid_policy=made.policy.uuid_policy,
        persist=made.policy.persist,
        partial=made.pairings["partial"],
        moves=[_move(made, matrix, step, number) for number, wave in enumerate(waves, 1) for step in wave],
        stuck=sorted(made.stuck, key=lambda one: (one["host"], one["workload"])),
        planning=Planning(
            inputs=_inputs(made),
            policy=policy_record(made.policy),
            batches=_batches(made),
            stopped=list(made.folded.stopped),
            capacity=_capacity(made),
            bound=None if made.bound is None else _bound(made.bound),
            bound_reason=made.bound_reason,
            gap=None if made.bound is None else _gap(made, made.bound),
            notes=list(made.notes),
        ),
    )


_Matrix = t.Mapping[tuple[str, str], Pairing]


def _move(made: Made, matrix: _Matrix, step: Step, wave: int) -> Move:
    folded = made.folded
    hosts, vm = folded.problem.hosts, folded.problem.vms[step.vm]
    move = Move(
        workload=vm.id,
        name=folded.names[step.vm],
        source=hosts[step.source].name,
        target=hosts[step.target].name,
        wave=wave,
        devices=[],
        passthrough=[],
    )
    for number in sorted(range(len(step.devices)), key=lambda each: step.devices[each]):
        place, seat = step.seats[number]
        parent = hosts[step.target].parents[place]
        source = folded.sources[step.needs[number]]
        evidence = _evidence(matrix[source["id"], folded.target(step.target, place, seat)["id"]])
        kind = folded.problem.kinds[parent.kind].seats[seat].type
        own, of_type = _string(source["device_version"]), _string(source["type_version"])
        if kind is None:
            passed = PlanPassthrough(
                source=Name(step.devices[number]),
                source_type=source["type"],
                vendor=source["vendor"],
                device_string=own,
                device=Name(step.made[number]),
                evidence=evidence,
            )
            move["passthrough"].append(passed)
            continue
        device = PlanDevice(
            source=Name(step.devices[number]),
            source_type=source["type"],
            vendor=source["vendor"],
            type_string=of_type,
            device_string=own,
            parent=Name(parent.address),
            type=Name(kind),
            uuid=Name(step.made[number]),
            attributes=[],
            evidence=evidence,
        )
        move["devices"].append(device)
    return move


def _string(attribute: Attribute | None) -> str | None:
    return None if attribute is None else attribute["value"]


def _evidence(pairing: Pairing) -> PlanEvidence:
    return PlanEvidence(
        verdict=pairing["verdict"],
        scope=pairing["scope"],
        reason=pairing["reason"],
        asked=pairing["asked"],
        warnings=list(pairing["warnings"]),
    )


def _batches(made: Made) -> list[Batch]:
    hosts = made.folded.problem.hosts
    found: list[Batch] = []
    wave = 0
    for number, stage in enumerate(made.stages, 1):
        batch = Batch(
            batch=number,
            hosts=[hosts[each].name for each in stage.hosts],
            emptied=[hosts[each].name for each in stage.emptied],
            waves=list(range(wave + 1, wave + 1 + len(stage.waves))),
        )
        wave += len(stage.waves)
        found.append(batch)
    return found


def _inputs(made: Made) -> PlanInputs:
    hosts = made.pairings["hosts"]
    times = [(one["time"], one["age"]) for one in hosts if one["time"] is not None]
    oldest, age = min(times, key=lambda each: each[0]) if times else (None, None)
    return PlanInputs(
        fingerprint=made.fingerprint,
        oldest=oldest,
        age=age,
        hosts=[HostState({**one, "errors": list(one["errors"])}) for one in hosts],
    )


def _bound(bound: Bound) -> PlanBound:
    return PlanBound(hosts=bound.hosts, workloads=bound.vms, method=bound.method)


def _gap(made: Made, bound: Bound) -> PlanGap:
    emptied = sum(len(stage.emptied) for stage in made.stages)
    moved = len({step.vm for step in made.steps})
    return PlanGap(hosts=bound.hosts - emptied, workloads=bound.vms - moved)


def _capacity(made: Made) -> list[Capacity]:
    """The models of the parents that the plan puts something on, each with its parents."""
    hosts = made.folded.problem.hosts
    used = sorted({(step.target, place) for step in made.steps for place, _seat in step.seats})
    parents: dict[Model, list[ParentRoom]] = {}
    for host, place in used:
        key = (hosts[host].name, hosts[host].parents[place].address)
        room = made.folded.rooms.get(key)
        if room is not None:  # there is no model of a device that is there already
            left = _shares(room.model.resources, room.left)
            parents.setdefault(room.model, []).append(ParentRoom(host=key[0], parent=Name(key[1]), left=left))
    return [
        Capacity(
            model=model.name,
            origin=model.origin,
            detail=model.detail,
            driver=model.driver,
            types=_types(model),
            parents=rooms,
        )
        for model, rooms in parents.items()
    ]


def _types(model: Model) -> list[TypeNeed]:
    found = []
    for number, name in enumerate(model.types):
        needs = [Share(resource=name, units=1)] if model.exclusive else _shares(model.resources, model.costs[number])
        found.append(TypeNeed(type=Name(name), most=model.most[number], needs=needs))
    return found


def _shares(resources: t.Sequence[str], units: t.Sequence[int]) -> list[Share]:
    return [Share(resource=name, units=count) for name, count in zip(resources, units, strict=True)]


def policy_record(policy: Policy) -> dict[str, t.Any]:
    """The policy in the words of its options, so that it can be given again."""
    rolling = policy.rolling
    domains: dict[str, list[str]] = {}
    for host, domain in sorted(policy.domains.items()):
        domains.setdefault(domain, []).append(host)
    return {
        "drain": list(policy.drain),
        "rolling": None if rolling is None else _rolling_record(rolling),
        "incoming": policy.incoming,
        "concurrent": policy.concurrent,
        "anti_affinity": [
            {"name": each.name, "across": each.across, "workloads": [_word(key) for key in each.workloads]}
            for each in policy.apart
        ],
        "failure_domains": {domain: domains[domain] for domain in sorted(domains)},
        "headroom": {host: _spare(spare) for host, spare in sorted(policy.headroom.items())},
        "demand": {_word(key): _spare(spare) for key, spare in sorted(policy.demand.items())},
        "workloads": {_word(key): conduct for key, conduct in sorted(policy.conduct.items())},
        "uuid_policy": policy.uuid_policy,
        "allow_unknown": sorted(policy.allow_unknown),
        "capacity": [_override(each) for each in policy.capacity],
        "persist": policy.persist,
        "id": policy.id,
    }


def _rolling_record(rolling: Rolling) -> dict[str, t.Any]:
    if rolling.batches:
        return {"batches": [list(batch) for batch in rolling.batches]}
    return {"max_unavailable": rolling.max_unavailable}


def _word(key: WorkloadKey) -> str:
    return "/".join(key)


def _spare(spare: Spare) -> dict[str, int | None]:
    return {"cpus": spare.cpus, "memory": spare.memory}


def _override(override: Override) -> dict[str, t.Any]:
    """Without what was not said."""
    fields = {
        **dataclasses.asdict(override),
        "costs": {kind: dict(sorted(needs.items())) for kind, needs in sorted(override.costs.items())},
        "totals": dict(sorted(override.totals.items())),
        "most": dict(sorted(override.most.items())),
    }
    return {key: each for key, each in fields.items() if each is not None and each != {}}
