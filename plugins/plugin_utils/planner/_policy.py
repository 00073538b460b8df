# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator asked for: options -> one checked value.

This file is private to the collection and pure.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError, kind
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._owners import owners

Conduct = t.Literal["migrate", "stop", "skip"]
"""What becomes of a workload whose host is drained."""

ModelName = t.Literal["exclusive", "shared_units", "vector", "independent", "unknown"]

WorkloadKey = tuple[str, str]
"""Host and id: processes of two hosts may have the same id."""

UNITS: t.Final = "units"
"""The one resource of shared_units."""

_T = t.TypeVar("_T")
_UuidPolicy = t.Literal["new", "same"]
_Across = t.Literal["host", "domain"]
_PLAN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclasses.dataclass(frozen=True)
class Rolling:
    """Maintenance of many hosts, some at a time. One of the two says which."""

    max_unavailable: int | None
    """All hosts, so many at a time."""
    batches: tuple[tuple[str, ...], ...]
    """These hosts, in this order."""


@dataclasses.dataclass(frozen=True)
class Spare:
    """CPUs and MiB: what is free on a host, or what a VM takes; null where nobody said."""

    cpus: int | None
    memory: int | None


@dataclasses.dataclass(frozen=True)
class Apart:
    """Workloads that must not be together."""

    name: str
    across: _Across
    workloads: tuple[WorkloadKey, ...]


@dataclasses.dataclass(frozen=True)
class Override:
    """The operator's word on the capacity of parents; the first that fits a parent counts."""

    model: ModelName
    driver: str | None
    vendor: str | None
    type: str | None
    """Fits parents that offer it."""
    host: str | None
    parent: str | None
    costs: t.Mapping[str, t.Mapping[str, int]]
    """Type -> resource -> units an instance takes."""
    totals: t.Mapping[str, int]
    """Resource -> units of an empty parent."""
    most: t.Mapping[str, int]
    """Type -> instances that an empty parent takes."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """The options of a plan, defaults included. Hosts and workloads in it exist."""

    drain: tuple[str, ...]
    rolling: Rolling | None
    incoming: int | None
    """VMs that one host may take in one batch; null without a limit."""
    concurrent: int | None
    """Migrations of one wave; null without a limit."""
    apart: tuple[Apart, ...]
    domains: t.Mapping[str, str]
    """Host -> its failure domain; the others are one each."""
    headroom: t.Mapping[str, Spare]
    demand: t.Mapping[WorkloadKey, Spare]
    conduct: t.Mapping[WorkloadKey, Conduct]
    """Those that do not migrate."""
    uuid_policy: _UuidPolicy
    allow_unknown: frozenset[str]
    """Hosts that may be tried although their drivers' answer is unknown."""
    capacity: tuple[Override, ...]
    persist: bool
    id: str | None
    """Of the plan; null: derived from its inputs."""


DEFAULTS: t.Final[t.Mapping[str, object]] = {
    "drain": [],
    "rolling": None,
    "incoming": None,
    "concurrent": None,
    "anti_affinity": [],
    "failure_domains": {},
    "headroom": {},
    "demand": {},
    "workloads": {},
    "uuid_policy": "new",
    "allow_unknown": False,
    "capacity": [],
    "persist": False,
    "id": None,
}
"""Of every option."""


def read(options: t.Mapping[str, object], hosts: t.Sequence[_nodes.Host]) -> Policy:
    """Check the options against each other and against the fleet.

    Raises ContractError with every mistake at once.
    """
    wrong: list[str] = []
    given = {**DEFAULTS, **_mapping(dict(options), "options", wrong, DEFAULTS)}
    fleet = _Fleet(hosts, wrong)
    policy = Policy(
        drain=tuple(sorted(set(fleet.hosts(given["drain"], "drain")))),
        rolling=_rolling(given["rolling"], fleet, wrong),
        incoming=_maybe_count(given["incoming"], "incoming", wrong, 0),
        concurrent=_maybe_count(given["concurrent"], "concurrent", wrong, 1),
        apart=_apart(given["anti_affinity"], fleet, wrong),
        domains=_domains(given["failure_domains"], fleet, wrong),
        headroom=_headroom(given["headroom"], fleet, wrong),
        demand=_demand(given["demand"], fleet, wrong),
        conduct=_conduct(given["workloads"], fleet, wrong),
        uuid_policy=_choice(given["uuid_policy"], "uuid_policy", wrong, t.get_args(_UuidPolicy)),
        allow_unknown=fleet.allowed(given["allow_unknown"], "allow_unknown"),
        capacity=_overrides(given["capacity"], fleet, wrong),
        persist=_flag(given["persist"], "persist", wrong),
        id=_plan_id(given["id"], wrong),
    )
    if not policy.drain and policy.rolling is None and not wrong:
        wrong.append("drain names no host, and there is no rolling: say which hosts are to be emptied")
    if policy.drain and policy.rolling is not None:
        wrong.append("drain and rolling are two plans: give one of them")
    if wrong:
        raise ContractError("; ".join(wrong))
    return policy


def capacity(value: object, hosts: t.Sequence[_nodes.Host]) -> tuple[Override, ...]:
    """Check the option of this name alone. Raises ContractError with every mistake at once."""
    wrong: list[str] = []
    found = _overrides(value, _Fleet(hosts, wrong), wrong)
    if wrong:
        raise ContractError("; ".join(wrong))
    return found


class _Fleet:
    """Looks up hosts and workloads, and notes those that do not exist."""

    def __init__(self, hosts: t.Sequence[_nodes.Host], wrong: list[str]) -> None:
        self._hosts = hosts
        self._names = frozenset(host.name for host in hosts)
        self._wrong = wrong
        self._words: dict[str, set[WorkloadKey]] | None = None

    def host(self, value: object, where: str) -> str | None:
        name = _maybe_text(value, where, self._wrong)
        if name is not None and name not in self._names:
            self._wrong.append(f"{where}: the inventory has no host {name}")
            return None
        return name

    def hosts(self, value: object, where: str) -> list[str]:
        found = []
        for number, each in enumerate(_items(value, where, self._wrong)):
            if each is None:
                _not(each, f"{where}[{number}]", "a string", self._wrong)
            name = self.host(each, f"{where}[{number}]")
            if name is not None:
                found.append(name)
        return found

    def has(self, name: str) -> bool:
        return name in self._names

    def allowed(self, value: object, where: str) -> frozenset[str]:
        if isinstance(value, bool):
            return self._names if value else frozenset()
        if not isinstance(value, list):
            _not(value, where, "a boolean or a list of hosts", self._wrong)
            return frozenset()
        return frozenset(self.hosts(value, where))

    def workload(self, value: object, where: str) -> WorkloadKey | None:
        """By id or name, with its host in front where several have it."""
        if not isinstance(value, str):
            _not(value, where, "a string", self._wrong)
            return None
        found = sorted(self._known().get(value, ()))
        if not found:
            self._wrong.append(f"{where}: no host has a workload {value!r}, neither by its id nor by its name")
        elif len(found) > 1:
            ways = ", ".join(f"{host}/{name}" for host, name in found)
            self._wrong.append(f"{where}: {value!r} are several workloads: write one of {ways}")
        return found[0] if len(found) == 1 else None

    def _known(self) -> dict[str, set[WorkloadKey]]:
        if self._words is None:
            self._words = {}
            for host in self._hosts:
                for owner in owners(host.snapshot) if host.snapshot else ():
                    for word in (owner.id, owner.name or owner.id):
                        for name in (word, f"{host.name}/{word}"):
                            self._words.setdefault(name, set()).add((host.name, owner.id))
        return self._words


def _rolling(value: object, fleet: _Fleet, wrong: list[str]) -> Rolling | None:
    if value is None:
        return None
    given = _mapping(value, "rolling", wrong, ("max_unavailable", "batches"))
    most = _maybe_count(given.get("max_unavailable"), "rolling.max_unavailable", wrong, 1)
    batches = tuple(
        tuple(sorted(set(fleet.hosts(each, f"rolling.batches[{number}]"))))
        for number, each in enumerate(
            _items([] if given.get("batches") is None else given["batches"], "rolling.batches", wrong)
        )
    )
    listed = given.get("batches") is not None
    if (given.get("max_unavailable") is not None) == listed:
        wrong.append("rolling needs either max_unavailable or batches")
    elif listed and not batches:
        wrong.append("rolling.batches names no host")
    seen: set[str] = set()
    for number, batch in enumerate(batches):
        if not batch:
            wrong.append(f"rolling.batches[{number}] names no host")
        twice = sorted(seen.intersection(batch))
        if twice:
            wrong.append(f"rolling.batches[{number}]: {', '.join(twice)} had their maintenance in an earlier batch")
        seen.update(batch)
    return Rolling(most, batches)


def _apart(value: object, fleet: _Fleet, wrong: list[str]) -> tuple[Apart, ...]:
    groups = []
    for number, each in enumerate(_items(value, "anti_affinity", wrong)):
        where = f"anti_affinity[{number}]"
        given = _mapping(each, where, wrong, ("name", "across", "workloads"))
        listed = _items(given.get("workloads", []), f"{where}.workloads", wrong)
        if len(listed) < 2:
            wrong.append(f"{where}.workloads names fewer than two: nobody is kept apart")
        members = [fleet.workload(one, f"{where}.workloads[{place}]") for place, one in enumerate(listed)]
        name = _maybe_text(given.get("name"), f"{where}.name", wrong) or f"group {number + 1}"
        across = _choice(given.get("across", "host"), f"{where}.across", wrong, t.get_args(_Across))
        groups.append(Apart(name, across, tuple(sorted({one for one in members if one is not None}))))
    return tuple(groups)


def _domains(value: object, fleet: _Fleet, wrong: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    given = _mapping(value, "failure_domains", wrong)
    for domain, members in given.items():
        for host in fleet.hosts(members, f"failure_domains.{domain}"):
            if found.setdefault(host, domain) != domain:
                wrong.append(f"failure_domains: {host} is in {found[host]} and in {domain}")
    for domain in given:
        # A host in no domain is a domain of its own name.
        if fleet.has(domain) and found.get(domain) != domain:
            wrong.append(f"failure_domains.{domain} has the name of a host that is not in it: call it something else")
    return found


def _headroom(value: object, fleet: _Fleet, wrong: list[str]) -> dict[str, Spare]:
    found = {}
    for name, each in _mapping(value, "headroom", wrong).items():
        host = fleet.host(name, "headroom")
        spare = _spare(each, f"headroom.{name}", wrong)
        if host is not None:
            found[host] = spare
    return found


def _demand(value: object, fleet: _Fleet, wrong: list[str]) -> dict[WorkloadKey, Spare]:
    found: dict[WorkloadKey, Spare] = {}
    for name, each in _mapping(value, "demand", wrong).items():
        workload = fleet.workload(name, "demand")
        spare = _spare(each, f"demand.{name}", wrong)
        if workload is not None and found.setdefault(workload, spare) != spare:
            wrong.append(f"demand.{name} is the same workload as another one that takes something else")
    return found


def _conduct(value: object, fleet: _Fleet, wrong: list[str]) -> dict[WorkloadKey, Conduct]:
    found: dict[WorkloadKey, Conduct] = {}
    for name, each in _mapping(value, "workloads", wrong).items():
        workload = fleet.workload(name, "workloads")
        conduct: Conduct = _choice(each, f"workloads.{name}", wrong, t.get_args(Conduct))
        if workload is not None and found.setdefault(workload, conduct) != conduct:
            wrong.append(f"workloads.{name} is the same workload as another one that is to do something else")
    return {key: conduct for key, conduct in found.items() if conduct != "migrate"}


def _spare(value: object, where: str, wrong: list[str]) -> Spare:
    given = _mapping(value, where, wrong, ("cpus", "memory"))
    return Spare(
        _maybe_count(given.get("cpus"), f"{where}.cpus", wrong, 0),
        _maybe_count(given.get("memory"), f"{where}.memory", wrong, 0),
    )


_SELECTORS = ("driver", "vendor", "type", "host", "parent")


def _overrides(value: object, fleet: _Fleet, wrong: list[str]) -> tuple[Override, ...]:
    entries = enumerate(_items(value, "capacity", wrong))
    return tuple(_override(each, f"capacity[{number}]", fleet, wrong) for number, each in entries)


def _override(value: object, where: str, fleet: _Fleet, wrong: list[str]) -> Override:
    given = _mapping(value, where, wrong, (*_SELECTORS, "model", "costs", "totals", "most"))
    if not any(given.get(key) is not None for key in _SELECTORS):
        wrong.append(f"{where} fits every parent: say which by {', '.join(_SELECTORS)}")
    override = Override(
        model=_choice(given.get("model"), f"{where}.model", wrong, t.get_args(ModelName)),
        driver=_maybe_text(given.get("driver"), f"{where}.driver", wrong),
        vendor=_maybe_text(given.get("vendor"), f"{where}.vendor", wrong),
        type=_maybe_text(given.get("type"), f"{where}.type", wrong),
        host=fleet.host(given.get("host"), f"{where}.host"),
        parent=_maybe_text(given.get("parent"), f"{where}.parent", wrong),
        costs={
            name: _units(each, f"{where}.costs.{name}", wrong)
            for name, each in _mapping(given.get("costs", {}), f"{where}.costs", wrong).items()
        },
        totals=_units(given.get("totals", {}), f"{where}.totals", wrong),
        most=_counts(given.get("most", {}), f"{where}.most", wrong),
    )
    wrong.extend(f"{where}{end}" for end in _mismatches(override))
    return override


def _mismatches(override: Override) -> t.Iterator[str]:
    """Between a model and the numbers given for it, as ends of sentences."""
    counted = override.model in ("shared_units", "vector")
    if counted and not override.costs:
        yield f".costs is missing: {override.model} needs the units that an instance of each type takes"
    if not counted and (override.costs or override.totals):
        yield f".costs and .totals are for shared_units and vector, not for {override.model}"
    if override.most and override.model not in ("exclusive", "unknown"):
        yield f".most is for exclusive, not for {override.model}"
    for name, needs in override.costs.items():
        if not any(needs.values()):
            yield f".costs.{name} takes nothing, so any number would fit"
        if override.model == "shared_units" and set(needs) != {UNITS}:
            yield f".costs.{name} must be a number of units for shared_units"
    if counted:
        needed = {resource for needs in override.costs.values() for resource in needs}
        for resource in sorted(set(override.totals) - needed):
            yield f".totals.{resource} is a resource that no type in costs takes"


def _units(value: object, where: str, wrong: list[str]) -> dict[str, int]:
    """A number of units, or units of several resources."""
    if isinstance(value, int):
        value = {UNITS: value}
    return _counts(value, where, wrong)


def _counts(value: object, where: str, wrong: list[str]) -> dict[str, int]:
    found = {key: _maybe_count(each, f"{where}.{key}", wrong, 0) for key, each in _mapping(value, where, wrong).items()}
    return {key: each for key, each in found.items() if each is not None}


def _plan_id(value: object, wrong: list[str]) -> str | None:
    name = _maybe_text(value, "id", wrong)
    if name is not None and not _PLAN_ID.fullmatch(name):
        wrong.append(f"id must be at most 128 letters, digits, dots, dashes and underscores, not {name!r}")
    return name


def _mapping(value: object, where: str, wrong: list[str], keys: t.Collection[str] | None = None) -> dict[str, t.Any]:
    if not isinstance(value, dict):
        _not(value, where, "a mapping", wrong)
        return {}
    strangers = [key for key in value if not isinstance(key, str) or (keys is not None and key not in keys)]
    if strangers:
        known = f", it takes {', '.join(keys)}" if keys is not None else ", keys must be strings"
        wrong.append(f"{where} does not know {', '.join(map(repr, strangers))}{known}")
    return {key: each for key, each in value.items() if key not in strangers}


def _items(value: object, where: str, wrong: list[str]) -> list[t.Any]:
    if not isinstance(value, list):
        _not(value, where, "a list", wrong)
        return []
    return value


def _maybe_text(value: object, where: str, wrong: list[str]) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    _not(value, where, "a string that is not empty", wrong)
    return None


def _maybe_count(value: object, where: str, wrong: list[str], least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        _not(value, where, "an int", wrong)
        return None
    if value < least:
        wrong.append(f"{where} must be at least {least}, not {value}")
    return value


def _flag(value: object, where: str, wrong: list[str]) -> bool:
    if not isinstance(value, bool):
        _not(value, where, "a boolean", wrong)
    return value is True


def _choice(value: object, where: str, wrong: list[str], choices: tuple[_T, ...]) -> _T:
    """One of the choices; the first of them stands in for a mistake."""
    for choice in choices:
        if value == choice:
            return choice
    shown = repr(value) if isinstance(value, str) else kind(value)
    wrong.append(f"{where} must be one of {', '.join(map(str, choices))}, not {shown}")
    return choices[0]


def _not(value: object, where: str, what: str, wrong: list[str]) -> None:
    wrong.append(f"{where} must be {what}, not {kind(value)}")
