# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timestamps and ages."""

from __future__ import annotations

import pytest

from ansible_collections.vfio.migration.plugins.plugin_utils import _clock


@pytest.mark.parametrize(
    ("timestamp", "at", "age"),
    [
        ("2026-11-22T11:00:00Z", "2026-11-22T12:00:00Z", 3600),
        ("2024-02-28T23:59:59Z", "2024-03-01T00:00:00Z", 86401),
        ("2026-11-22T12:00:01Z", "2026-11-22T12:00:00Z", 0),
    ],
)
def test_age(timestamp: str, at: str, age: int) -> None:
    assert _clock.age(timestamp, at) == age


@pytest.mark.parametrize(
    ("timestamp", "holds"),
    [
        ("2026-11-22T11:59:00Z", True),
        ("2026-11-22T11:58:59Z", False),
        ("2026-11-22T12:05:00Z", True),
        ("2026-11-22T12:05:01Z", False),
    ],
)
def test_within(timestamp: str, holds: bool) -> None:
    assert _clock.within(timestamp, 60, "2026-11-22T12:00:00Z") is holds


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "^$"),
        ("now", "^now$"),
        ("2026-11-22", "^2026-11-22$"),
        ("2026-11-22T11:00:00", "00$"),
        ("2026-11-22T11:00:00+01:00", r"\+01:00$"),
        ("2026-13-01T00:00:00Z", "month"),
    ],
)
def test_what_is_no_timestamp(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        _clock.seconds(text)


def test_now_is_one() -> None:
    assert _clock.age(_clock.now(), _clock.now()) < 5
