# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For plain pytest, and for ansible-test, which reads no pyproject.toml. Python 3.8 syntax: tests of hosts load it."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "fault(id, ...): ids of tests/faults.yml that this test covers; ./dev faults lists them"
    )
    config.addinivalue_line("markers", "thorough: takes minutes as a whole; ./dev test quick leaves it to ./dev test")
    config.addinivalue_line("markers", "over_ssh: needs hosts behind SSH, so root; a step of its own in ./dev test")
    config.addinivalue_line("markers", "libvirt: needs libvirt's Python binding; a step of its own in ./dev test")
