# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts at hand -> the directed matrix."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pairings
short_description: Pair devices with the targets that their drivers accept
version_added: "0.1.0"
author:
  - The vfio.migration authors (@vfio-migration)
description:
  - Brings together what M(vfio.migration.vfio_facts) and M(vfio.migration.compatibility_facts) learned on all hosts,
    in a directed matrix of sources and targets.
  - There are three answers, V(compatible), V(incompatible) and V(unknown), each of the last two with a reason. An
    answer is never derived from another one, and V(unknown) is never a yes.
  - Devices that no driver could tell apart are one source class, targets that gave the same answers are one target
    class, and the matrix pairs classes. A pair that is not in it is incompatible, because vendors or types differ.
  - What a device node says outranks what the type node said. Answers from before a reboot, of another driver version,
    or older than O(max_age) are V(unknown).
options:
  _input:
    description:
      - For each host of the fleet its C(ansible_facts), of which C(vfio_migration) and C(vfio_migration_verdicts) are
        used; an empty or null value for hosts without facts, which then are unknown.
      - A host whose facts break their contract is excluded and named in a finding.
    type: dict
    required: true
  max_age:
    description: Seconds for which an answer holds, 0 or more.
    type: int
    default: 86400
  now:
    description: Time that ages are reckoned to, like V(2026-11-22T19:04:14Z). The default is the current time.
    type: str
  sources:
    description:
      - V(devices) are the devices that exist. V(all) adds an imagined instance of every type on every parent.
    type: str
    choices: [devices, all]
    default: devices
  fresh_hosts:
    description: Hosts whose facts were gathered in this run; all others count as cached. The default is all hosts.
    type: list
    elements: str
seealso:
  - module: vfio.migration.pairings
    description: The same for a whole fleet, faster, and into a file.
  - plugin: vfio.migration.report
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Pair the devices of two hosts
  ansible.builtin.debug:
    msg: "{{ (facts | vfio.migration.pairings).pairings }}"
  vars:
    facts:
      hv1: "{{ hostvars.hv1.ansible_facts }}"
      hv2: "{{ hostvars.hv2.ansible_facts }}"
"""

RETURN = r"""
_value:
  description:
    - The matrix. C(hosts) says how far each host could be taken into account, C(sources) and C(targets) are the classes
      with their members, C(pairings) the answers, and C(findings) what a person should look at.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.vfio.migration.plugins.module_utils._model import Pairings
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _pairing
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError


def pairings(
    facts: t.Mapping[str, object],
    max_age: int = 86400,
    now: str | None = None,
    sources: _pairing.Sources = "devices",
    fresh_hosts: list[str] | None = None,
) -> Pairings:
    """See DOCUMENTATION."""
    try:
        return _pairing.pairings(facts, max_age, _clock.now() if now is None else now, sources, fresh_hosts)
    except ContractError as error:
        raise AnsibleFilterError(f"vfio.migration.pairings: {error}") from None  # ansible-core would say it twice


class FilterModule:
    """What ansible-core looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name -> filter."""
        return {"pairings": pairings}
