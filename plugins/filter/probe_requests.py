# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts at hand -> what each host's drivers have to be asked."""

from __future__ import annotations

DOCUMENTATION = r"""
name: probe_requests
short_description: Find out which strings each host's drivers have to be asked
version_added: "0.1.0"
author:
  - The vfio.migration authors (@vfio-migration)
description:
  - From what M(vfio.migration.vfio_facts) gathered on all hosts, lists for each host which C(migration_version) strings
    of the other hosts its own nodes have to be asked. This is what M(vfio.migration.compatibility_facts) takes.
  - A string is asked for once per node, however many devices produce it. Answers of earlier runs that still hold are
    not asked for again.
  - A type is asked the strings of the same vendor and type. A device is asked the strings of all devices of the same
    vendor, but of the devices in use only one for each parent and type.
  - Strings are opaque. They are never parsed, trimmed, templated or compared to decide anything.
options:
  _input:
    description:
      - For each host its C(ansible_facts), of which C(vfio_migration) and C(vfio_migration_verdicts) are used; an empty
        or null value for hosts without facts.
      - A host whose facts break their contract is left out.
    type: dict
    required: true
  max_age:
    description:
      - Seconds after which an answer is asked for again, even though neither host nor driver was restarted; 0 or more.
    type: int
    default: 86400
  now:
    description: Time that ages are reckoned to, like V(2026-11-22T19:04:14Z). The default is the current time.
    type: str
seealso:
  - module: vfio.migration.probe_requests
    description: The same for a whole fleet, faster.
  - module: vfio.migration.compatibility_facts
  - plugin: vfio.migration.pairings
    plugin_type: filter
"""

EXAMPLES = r"""
- name: What would two hosts have to be asked?
  ansible.builtin.debug:
    msg: "{{ facts | vfio.migration.probe_requests }}"
  vars:
    facts:
      hv1: "{{ hostvars.hv1.ansible_facts }}"
      hv2: "{{ hostvars.hv2.ansible_facts }}"
"""

RETURN = r"""
_value:
  description:
    - For each host that has to be asked anything, its list of requests. Hosts with nothing to ask are not in it.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.vfio.migration.plugins.module_utils._model import Request
from ansible_collections.vfio.migration.plugins.plugin_utils import _clock, _requests
from ansible_collections.vfio.migration.plugins.plugin_utils._contracts import ContractError


def probe_requests(
    facts: t.Mapping[str, object], max_age: int = 86400, now: str | None = None
) -> dict[str, list[Request]]:
    """See DOCUMENTATION."""
    try:
        return _requests.probe_requests(facts, max_age, _clock.now() if now is None else now)
    except ContractError as error:
        raise AnsibleFilterError(f"vfio.migration.probe_requests: {error}") from None  # ansible-core would say it twice


class FilterModule:
    """What ansible-core looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name -> filter."""
        return {"probe_requests": probe_requests}
