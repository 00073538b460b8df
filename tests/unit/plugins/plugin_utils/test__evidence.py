# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.plugin_utils._evidence import merge


def _verdict(string: str, verdict: str = "compatible", reason: str | None = None, **changes: t.Any) -> dict[str, t.Any]:
    return {
        "scope": "type",
        "parent": "p",
        "type": "T",
        "device": None,
        "string": string,
        "vendor": "pci:8086",
        "source_type": "T",
        "verdict": verdict,
        "reason": reason,
        "errno": None,
        "bytes_written": 1,
        "form": "without_newline",
        "evidence": {"boot_id": "b", "driver": "d", "driver_version": "1", "time": "2026-01-01T00:00:00Z"},
        **changes,
    }


def _set(*verdicts: dict[str, t.Any], boot: str | None = "b", version: int = 1) -> t.Any:
    return {
        "schema_version": version,
        "host": "h",
        "boot_id": boot,
        "time": "2026-01-01T00:00:00Z",
        "written": 0,
        "would_write": [],
        "verdicts": list(verdicts),
        "notes": [],
    }


def _answers(found: t.Any) -> list[tuple[str, str]]:
    return [(verdict["string"], verdict["verdict"]) for verdict in found["verdicts"]]


def test_first_run_has_nothing_to_keep() -> None:
    latest = _set(_verdict("a"))
    assert merge(None, latest) is latest


def test_answers_that_were_not_asked_again_are_kept() -> None:
    found = merge(_set(_verdict("a"), _verdict("b")), _set(_verdict("b", "incompatible", "errno"), _verdict("c")))
    assert _answers(found) == [("a", "compatible"), ("b", "incompatible"), ("c", "compatible")]


@pytest.mark.fault("P10")
def test_check_mode_does_not_wipe_out_answers() -> None:
    found = merge(
        _set(_verdict("a")), _set(_verdict("a", "unknown", "check_mode"), _verdict("b", "unknown", "check_mode"))
    )
    assert _answers(found) == [("a", "compatible"), ("b", "unknown")]


@pytest.mark.fault("P7")
@pytest.mark.parametrize("boots", [("b", "c"), (None, None), (None, "b")])
def test_reboot_ends_earlier_answers(boots: tuple[str | None, str | None]) -> None:
    assert _answers(merge(_set(_verdict("a"), boot=boots[0]), _set(_verdict("b"), boot=boots[1]))) == [
        ("b", "compatible")
    ]


@pytest.mark.fault("L8")
@pytest.mark.parametrize("spoiled", ["text", ["list"], {"verdicts": 3}, {**_set(), "verdicts": [{"scope": "x"}]}])
def test_spoiled_answers_are_as_good_as_none(spoiled: t.Any) -> None:
    assert _answers(merge(spoiled, _set(_verdict("b")))) == [("b", "compatible")]


@pytest.mark.fault("L8")
def test_answers_of_another_schema_version_are_not_mixed_in() -> None:
    assert _answers(merge(_set(_verdict("a"), version=2), _set(_verdict("b")))) == [("b", "compatible")]


def test_device_nodes_are_told_apart_by_the_device_alone() -> None:
    early = _verdict("a", scope="device", parent=None, type=None, device="u")
    late = _verdict("a", "incompatible", "errno", scope="device", parent="p", type="T", device="u")
    other = _verdict("a", scope="device", device="v")
    assert _answers(merge(_set(early, other), _set(late))) == [("a", "incompatible"), ("a", "compatible")]
