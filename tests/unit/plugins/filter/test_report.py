# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter is the same text, for pairings at hand."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.vfio.migration.plugins.filter import report as plugin
from ansible_collections.vfio.migration.plugins.plugin_utils import _report
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import report_data as data

FILTER: t.Final = plugin.FilterModule().filters()["report"]


def test_it_renders_the_text() -> None:
    assert FILTER(data.small()) == _report.render_text(_report.build(data.small()))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "vfio.migration.report: pairings must be a mapping, not string"),
        ({**data.small(), "time": "noon"}, "vfio.migration.report: pairings.time must be a UTC time"),
        ({**data.small(), "schema_version": 2}, "vfio.migration.report: pairings.schema_version must be 1, not 2"),
    ],
)
def test_what_is_no_matrix_is_refused(value: object, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        FILTER(value)
