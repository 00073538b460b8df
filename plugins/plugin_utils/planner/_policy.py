# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator asked for: options -> one checked value.

This file is private to the collection and pure.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes

Conduct = t.Literal["migrate", "stop", "skip"]
"""What becomes of a workload whose host is drained."""

ModelName = t.Literal["exclusive", "shared_units", "vector", "independent", "unknown"]

WorkloadKey = tuple[str, str]
"""Host and id: processes of two hosts may have the same id."""


@dataclasses.dataclass(frozen=True)
class Rolling:
    """Maintenance of many hosts, some at a time. One of the two says which."""

    max_unavailable: int | None
    """All hosts, so many at a time."""
    batches: tuple[tuple[str, ...], ...]
    """These hosts, in this order."""
    after: t.Literal["same", "newer"]
    """newer: a device that was made on a host after its maintenance goes only to such hosts."""


@dataclasses.dataclass(frozen=True)
class Spare:
    """CPUs and MiB: what is free on a host, or what a VM takes; null where nobody said."""

    cpus: int | None
    memory: int | None


@dataclasses.dataclass(frozen=True)
class Apart:
    """Workloads that must not be together."""

    name: str
    across: t.Literal["host", "domain"]
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
    """Type -> resource -> units an instance takes; ``units`` is the resource of shared_units."""
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
    uuid_policy: t.Literal["new", "same"]
    allow_unknown: frozenset[str]
    """Hosts that may be tried although their drivers' answer is unknown."""
    capacity: tuple[Override, ...]
    persist: bool
    id: str | None
    """Of the plan; null: derived from its inputs."""

    @property
    def rolled(self) -> bool:
        """Whether hosts come back after their maintenance."""
        return self.rolling is not None


def read(options: t.Mapping[str, object], hosts: t.Sequence[_nodes.Host]) -> Policy:
    """Check the options against each other and against the fleet.

    Raises ContractError with every mistake at once. Absent options have their defaults: drain [], rolling null,
    incoming null, concurrent null, anti_affinity [], failure_domains {}, headroom {}, demand {}, workloads {},
    uuid_policy new, allow_unknown false, capacity [], persist false, id null.
    """
    raise NotImplementedError
