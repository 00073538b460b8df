# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator may ask of a plan; plugin_utils/planner/_policy.py checks it."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  drain:
    description:
      - Names of the hosts that are to be emptied, all in one batch. They never receive anything.
      - Give either this or O(rolling).
    type: list
    elements: str
    default: []
  rolling:
    description: Plan the maintenance of many hosts, a batch of them at a time. Hosts that had theirs receive again.
    type: dict
    suboptions:
      max_unavailable:
        description: All hosts, so many at a time, those with the fewest VMs first. Either this or O(rolling.batches).
        type: int
      batches:
        description: These hosts in this order; each batch is a list of host names.
        type: list
        elements: list
  incoming:
    description: Most VMs that one host may take in one batch. No limit without it.
    type: int
  concurrent:
    description: Most VMs that are on their way at the same time; a batch is split into waves. No limit without it.
    type: int
  anti_affinity:
    description: Groups of workloads that must not be together, those that do not move included.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What to call the group in sentences.
        type: str
      across:
        description: Whether not on one host, or not in one failure domain.
        type: str
        choices: [host, domain]
        default: host
      workloads:
        description: Ids or names, two or more.
        type: list
        elements: str
        required: true
  failure_domains:
    description: Name of a domain -> list of its hosts. A host in none is one of its own.
    type: dict
    default: {}
  headroom:
    description: Host -> C(cpus) and C(memory) (MiB) that are free on it. A host that is not named is not limited.
    type: dict
    default: {}
  demand:
    description: Workload (id or name) -> C(cpus) and C(memory) (MiB) that it takes; nothing where it is not named.
    type: dict
    default: {}
  workloads:
    description:
      - Workload (id or name) -> V(migrate), V(stop) or V(skip). The default is V(migrate).
      - One that stops goes down with its host and is listed up front. One that is skipped stays, and so its host is not
        emptied.
    type: dict
    default: {}
  uuid_policy:
    description:
      - V(new) gives each target instance a UUID of its own, the same in every run. V(same) keeps that of the source,
        which some drivers need (vfio_ap).
    type: str
    choices: [new, same]
    default: new
  allow_unknown:
    description:
      - Whether a device may go where no driver could be asked; V(true) for all hosts, or a list of hosts. Such a move
        is marked, and nobody knows whether it works.
    type: raw
    default: false
  capacity:
    description:
      - How the types of a parent share it, where the collection can not know or is wrong. The first entry that fits a
        parent counts, so put the special ones first.
    type: list
    elements: dict
    default: []
    suboptions:
      model:
        description:
          - V(exclusive) - the first instance fixes the type of a parent. V(shared_units) - one number of units, of
            which each type takes some. V(vector) - several such resources. V(independent) - types do not touch each
            other. V(unknown) is planned like V(exclusive).
        type: str
        required: true
        choices: [exclusive, shared_units, vector, independent, unknown]
      driver:
        description: Fits parents of this driver.
        type: str
      vendor:
        description: Fits parents of this vendor, C(pci:10de).
        type: str
      type:
        description: Fits parents that offer this type.
        type: str
      host:
        description: Fits parents of this host.
        type: str
      parent:
        description: Fits parents of this address.
        type: str
      costs:
        description: Type -> units that an instance takes, or resource -> units for V(vector).
        type: dict
      totals:
        description: Resource -> units of an empty parent; C(units) is the resource of V(shared_units).
        type: dict
      most:
        description: Type -> instances that an empty V(exclusive) parent takes.
        type: dict
  persist:
    description: Whether the new instances are to survive a reboot of their hosts.
    type: bool
    default: false
  id:
    description:
      - Name of the plan in the ledgers of the hosts, of letters, digits, dots, dashes and underscores. The default is
        made of what the plan was made of.
    type: str
"""
