# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairings at hand -> the summary as text."""

from __future__ import annotations

DOCUMENTATION = r"""
name: report
short_description: Render pairings as a text for a person
version_added: "0.1.0"
author:
  - The vfio.migration authors (@vfio-migration)
description:
  - Renders what M(vfio.migration.pairings) wrote, or P(vfio.migration.pairings#filter) returned, as the summary that
    M(vfio.migration.report) prints.
options:
  _input:
    description: The pairings.
    type: dict
    required: true
seealso:
  - module: vfio.migration.report
"""

EXAMPLES = r"""
- name: Read last night's matrix again
  ansible.builtin.debug:
    msg: "{{ (lookup('ansible.builtin.file', 'pairings.json') | from_json | vfio.migration.report).splitlines() }}"
"""

RETURN = r"""
_value:
  description: The summary; no line is wider than 100 characters.
  type: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _contracts, _report

NAME = "vfio.migration.report"


def report(pairings: object) -> str:
    """Check the contract, then render it."""
    errors = _contracts.check(_model.Pairings, pairings, "pairings")
    if errors:
        raise AnsibleFilterError(f"{NAME}: {'; '.join(errors)}")
    return _report.render_text(_report.build(t.cast("_model.Pairings", pairings)))


class FilterModule:
    """What ansible-core looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name -> filter."""
        return {"report": report}
