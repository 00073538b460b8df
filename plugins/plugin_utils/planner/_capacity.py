# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much room a parent has, and how its types share it.

The numbers of sibling types cannot be added: each driver couples them in its own way, and only some say how. What is
concluded here never promises more than what is known allows; who knows better says so in the policy.

This file is private to the collection and pure.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._policy import ModelName, Override
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Left

Origin = t.Literal["operator", "driver", "description", "siblings", "default"]


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """How the types of some parents share them. One object for all parents that are alike."""

    name: ModelName
    origin: Origin
    detail: str
    """One sentence: what it was derived from."""
    driver: str | None
    types: tuple[str, ...]
    """In the order of their ids; those without a known room are not in it."""
    resources: tuple[str, ...]
    """Of exclusive parents: the types."""
    costs: tuple[Left, ...]
    """For each type the units of each resource that an instance takes. Empty for an exclusive parent."""
    most: tuple[int | None, ...]
    """For each type the instances that an empty parent takes; null when nobody knows."""

    @property
    def exclusive(self) -> bool:
        """Whether the first instance fixes the type; so plans what nobody knows."""
        return self.name in ("exclusive", "unknown")


class Room(t.NamedTuple):
    """What is left of one parent."""

    model: Model
    left: Left
    """Units of each resource, with everything that is on it."""
    full: Left
    """The same with none of the instances that can be evacuated."""


Place = tuple[str, str]
"""Host and parent."""

Evacuable = t.Callable[[str, str], bool]
"""Whether this device of this host belongs to a workload that is to move."""


class Capacities(t.NamedTuple):
    """The room of a fleet."""

    rooms: t.Mapping[Place, Room]
    """Parents that answer; of the others nothing is known."""
    nulls: t.Mapping[str, tuple[str, ...]]
    """Host -> types (``<parent>/<type>``) that did not tell how many more fit."""


def derive(hosts: t.Iterable[_nodes.Host], overrides: t.Sequence[Override], evacuable: Evacuable) -> Capacities:
    """The room of every parent of a fleet."""
    raise NotImplementedError
