# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timestamps of the contracts, and how old they are.

This file is private to the collection.
"""

from __future__ import annotations

import datetime
import functools
import re

from ansible_collections.vfio.migration.plugins.module_utils._model import Timestamp

AHEAD = 300
"""Seconds that a clock may be ahead of the controller's; a time further in the future proves nothing."""

_SHAPE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


def now() -> Timestamp:
    """The time of the controller."""
    return Timestamp(datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


@functools.lru_cache(maxsize=65536)
def seconds(timestamp: str) -> int:
    """Seconds since 1970 of a ``2026-11-22T19:04:14Z``; ValueError for anything else.

    Cached, because all answers of one run of one host carry the same time.
    """
    if not _SHAPE.fullmatch(timestamp):
        raise ValueError(timestamp)
    return int(datetime.datetime.fromisoformat(timestamp).timestamp())


def age(timestamp: str, at: str) -> int:
    """Seconds from ``timestamp`` to ``at``; 0 when the host's clock is ahead of the controller's."""
    return max(0, seconds(at) - seconds(timestamp))


def within(timestamp: str, span: int, at: str) -> bool:
    """Whether ``timestamp`` is at most ``span`` seconds before ``at``, and not in its future."""
    return -AHEAD <= seconds(at) - seconds(timestamp) <= span
