# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.plugin_utils._evidence import merge
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import fleet_data as data

NOW = t.cast(t.Any, "2026-01-02T00:00:00Z")


def _verdict(
    string: str,
    verdict: str = "compatible",
    reason: str | None = None,
    time: str = "2026-01-01T00:00:00Z",
    **changes: t.Any,
) -> dict[str, t.Any]:
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
        "evidence": {"boot_id": "b", "driver": "d", "driver_version": "1", "time": time},
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


def _merge(earlier: t.Any, latest: t.Any, snapshot: t.Any = None) -> t.Any:
    return merge(earlier, latest, snapshot, NOW)


def _answers(found: t.Any) -> list[tuple[str, str]]:
    return [(verdict["string"], verdict["verdict"]) for verdict in found["verdicts"]]


def test_first_run_has_nothing_to_keep() -> None:
    assert _answers(_merge(None, _set(_verdict("a")))) == [("a", "compatible")]


def test_answers_that_were_not_asked_again_are_kept() -> None:
    found = _merge(_set(_verdict("a"), _verdict("b")), _set(_verdict("b", "incompatible", "errno"), _verdict("c")))
    assert _answers(found) == [("a", "compatible"), ("b", "incompatible"), ("c", "compatible")]


@pytest.mark.fault("P10")
def test_check_mode_does_not_wipe_out_answers() -> None:
    found = _merge(
        _set(_verdict("a")), _set(_verdict("a", "unknown", "check_mode"), _verdict("b", "unknown", "check_mode"))
    )
    assert _answers(found) == [("a", "compatible"), ("b", "unknown")]


@pytest.mark.fault("P7")
@pytest.mark.parametrize("boots", [("b", "c"), (None, None), (None, "b")])
def test_reboot_ends_earlier_answers(boots: tuple[str | None, str | None]) -> None:
    assert _answers(_merge(_set(_verdict("a"), boot=boots[0]), _set(_verdict("b"), boot=boots[1]))) == [
        ("b", "compatible")
    ]


@pytest.mark.fault("L8")
@pytest.mark.parametrize("spoiled", ["text", ["list"], {"verdicts": 3}, {**_set(), "verdicts": [{"scope": "x"}]}])
def test_spoiled_answers_are_as_good_as_none(spoiled: t.Any) -> None:
    assert _answers(_merge(spoiled, _set(_verdict("b")))) == [("b", "compatible")]


@pytest.mark.fault("L8")
def test_answers_of_another_schema_version_are_not_mixed_in() -> None:
    assert _answers(_merge(_set(_verdict("a"), version=2), _set(_verdict("b")))) == [("b", "compatible")]


def test_device_nodes_are_told_apart_by_the_device_alone() -> None:
    early = _verdict("a", scope="device", parent=None, type=None, device="u")
    late = _verdict("a", "incompatible", "errno", scope="device", parent="p", type="T", device="u")
    other = _verdict("a", scope="device", device="v")
    assert _answers(_merge(_set(early, other), _set(late))) == [("a", "incompatible"), ("a", "compatible")]


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:01Z", "2026-01-01T23:59:59Z", "2038-01-19T03:14:07Z"])
def test_the_controller_says_when_an_answer_came(clock: str) -> None:
    """Ages are reckoned by its clock; a host's own may have lost its battery."""
    found = _merge(_set(_verdict("a")), {**_set(_verdict("b", time=clock)), "time": clock})
    assert found["time"] == NOW
    assert [one["evidence"]["time"] for one in found["verdicts"]] == ["2026-01-01T00:00:00Z", NOW]


@pytest.mark.fault("P7")
@pytest.mark.parametrize(
    ("time", "kept"),
    [
        ("2025-12-03T00:00:00Z", True),
        ("2025-12-02T23:59:59Z", False),
        ("2026-01-02T00:05:00Z", True),
        ("2026-01-02T00:05:01Z", False),
    ],
)
def test_what_nobody_asks_for_again_is_forgotten_some_day(time: str, kept: bool) -> None:
    assert bool(_answers(_merge(_set(_verdict("a", time=time)), _set()))) is kept


SNAPSHOT = data.snapshot(data.parent("p", data.mdev_type("T", "a")), data.device("u", "a", ("p", "T")))
AT_DEVICE = {"scope": "device", "device": "u"}


@pytest.mark.fault("R5", "R7")
@pytest.mark.parametrize(
    ("changes", "snapshot", "kept"),
    [
        ({}, SNAPSHOT, True),
        ({"type": "T2"}, SNAPSHOT, False),
        ({"parent": "p2"}, SNAPSHOT, False),
        (AT_DEVICE, SNAPSHOT, True),
        ({**AT_DEVICE, "device": "v"}, SNAPSHOT, False),
        ({"parent": "p2"}, None, True),
        ({"parent": "p2"}, {"schema_version": 1}, True),
    ],
)
def test_answers_go_with_their_node(changes: dict[str, t.Any], snapshot: t.Any, kept: bool) -> None:
    assert bool(_answers(_merge(_set(_verdict("a", **changes)), _set(), snapshot))) is kept


def test_the_latest_answers_stay_whatever_the_snapshot_says() -> None:
    assert _answers(_merge(_set(), _set(_verdict("a", parent="new")), SNAPSHOT)) == [("a", "compatible")]
