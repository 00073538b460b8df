# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison that the molecule scenario rests on must see a difference."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils._model import Pairings
from ansible_collections.vfio.migration.tests.tools import matrix

PAIRINGS = t.cast(
    Pairings,
    {
        "sources": [
            {"id": "s1", "type": "a", "members": [{"host": "hv1", "parent": "p", "device": "d1", "workload": None}]}
        ],
        "targets": [
            {"id": "t1", "type": "a", "members": [{"host": "hv2", "parent": "p", "device": None, "room": 1}]},
            {"id": "t2", "type": None, "members": [{"host": "hv3", "parent": None, "device": "d2", "room": 1}]},
        ],
        "pairings": [
            {"source": "s1", "target": "t1", "verdict": "compatible", "reason": None, "warnings": ["no_way_back"]}
        ],
    },
)

ROWS: list[tuple[dict[str, t.Any], list[str]]] = [
    ({"source": "hv1/d1", "target": "hv2/p/a", "verdict": "compatible", "warnings": ["no_way_back"]}, []),
    ({"source": "hv1/d1", "target": "hv3/d2", "verdict": "incompatible", "reason": "unlisted"}, []),
    ({"source": "hv1/d1", "target": "hv2/p/a", "verdict": "unknown"},
     ["hv1/d1 -> hv2/p/a: verdict is compatible, not unknown."]),
    ({"source": "hv1/d1", "target": "hv2/p/a", "warnings": []},
     ["hv1/d1 -> hv2/p/a: warnings is ['no_way_back'], not []."]),
    ({"source": "hv9/d1", "target": "hv2/p/a", "verdict": "unknown"}, ["hv9/d1 or hv2/p/a is not in the matrix."]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_differences(row: dict[str, t.Any], expected: list[str]) -> None:
    assert matrix.differences(PAIRINGS, [row]) == expected
