# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a driver that does not answer."""

from __future__ import annotations

import pytest

from ansible_collections.vfio.migration.tests.integration.simulated.test_instances import (
    CREATE,
    Host,
    fresh,
    uuid,
    verdicts,
    wish,
)

__all__ = ["fresh"]


@pytest.mark.fault("C12")
def test_the_limit_that_was_waited_for_is_named(fresh: Host) -> None:
    fresh.fault(CREATE, kind="hang", op="write")
    said = fresh.run(wish(), bind_timeout=0.3).workloads[0]["msg"] or ""
    fresh.clear()
    assert "the driver did not answer within bind_timeout; it, and all else" in said
    assert ".." not in said


@pytest.mark.fault("C12")
def test_the_next_one_of_a_silent_parent_is_not_called_in_use(fresh: Host) -> None:
    fresh.run(wish(1), wish(2, "vm2"))
    fresh.fault(f"devices/{uuid(1)}/remove", kind="hang", op="write")
    back = fresh.absent(bind_timeout=0.3)
    fresh.clear()
    assert verdicts(back) == [("vm1", False, "hung"), ("vm2", False, "hung")]
    assert "the driver did not answer" in (back.workloads[1]["msg"] or "")
