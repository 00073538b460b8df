# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all actions that look at a whole fleet from the controller can and can not do."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  action:
    support: full
    description: It is an action plugin and does everything on the controller.
  async:
    support: none
    description: It can not run in the background.
  become:
    support: none
    description: It does not use O(ignore:become).
  bypass_host_loop:
    support: none
    description: It runs for every host of the play; use it with C(run_once), it looks at all hosts at once.
  check_mode:
    support: full
    description: In check mode nothing is written.
  delegation:
    support: none
    description: It always runs on the controller.
  diff_mode:
    support: none
    description: It shows no differences.
  platform:
    support: full
    platforms: all
    description: It runs wherever ansible-core does.
"""
