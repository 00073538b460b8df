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
