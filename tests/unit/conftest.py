# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How property tests find their examples."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Machines are shared: how long an example takes says nothing.
ANY_TIME = settings(deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("explore", ANY_TIME, print_blob=True)
# What a gate says of a commit must be the same tomorrow; what is new is for ./dev test explore to find.
settings.register_profile("gate", ANY_TIME, derandomize=True, database=None)
settings.load_profile("gate")
