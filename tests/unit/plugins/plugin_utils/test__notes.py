# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What many hosts note is said once, with all of them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _model
from ansible_collections.vfio.migration.plugins.plugin_utils import _html, _markdown, _notes, _report, _view
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import page_data, report_data


def noted(facts: t.Mapping[str, t.Sequence[tuple[str, str, str]]]) -> dict[str, t.Any]:
    """Host -> what has its notes: (item, reason, detail)."""
    return {
        host: {"notes": [{"item": item, "reason": reason, "detail": detail} for item, reason, detail in own]}
        for host, own in facts.items()
    }


PYUDEV = ("host", "no_pyudev", "Names need pyudev.")

NOTES: dict[str, tuple[dict[str, list[tuple[str, str, str]]], list[tuple[list[str], list[str], int]]]] = {
    "none": ({"hv1": []}, []),
    "one line for all hosts": ({"hv2": [PYUDEV], "hv1": [PYUDEV]}, [(["hv1", "hv2"], ["host"], 1)]),
    "other words are another line, after those of more hosts": (
        {"hv1": [("libvirt", "libvirt", "no"), PYUDEV], "hv2": [PYUDEV], "hv3": [("libvirt", "libvirt", "silent")]},
        [(["hv1", "hv2"], ["host"], 1), (["hv1"], ["libvirt"], 1), (["hv3"], ["libvirt"], 1)],
    ),
    "what most hosts name comes first": (
        {"hv1": [("class/vfio", "errno", "no"), ("bus/mdev", "errno", "no")], "hv2": [("class/vfio", "errno", "no")]},
        [(["hv1", "hv2"], ["class/vfio", "bus/mdev"], 2)],
    ),
    "a driver that hangs": (
        {"hv1": [(f"devices/{number:02}", "hung", "silent") for number in range(25)]},
        [(["hv1"], [f"devices/{number:02}" for number in range(20)], 25)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTES)
def test_the_same_words_are_one_line(name: str) -> None:
    facts, wanted = NOTES[name]
    assert [(one["hosts"], one["items"], one["count"]) for one in _notes.collect(noted(facts))] == wanted


def test_notes_of_asking_are_notes_too() -> None:
    found = _notes.collect(noted({"hv1": [PYUDEV]}), noted({"hv1": [("host", "write_limit", "3 strings")]}))
    assert [one["reason"] for one in found] == ["no_pyudev", "write_limit"]


def test_files_are_written_again_when_only_a_note_is_new() -> None:
    snapshots = {"hv1": report_data.snapshot("hv1", {})}
    before = _report.fingerprint(_report.build(report_data.small(), snapshots))
    snapshots["hv1"]["notes"] = page_data.notes("hv1", 1)
    assert _report.fingerprint(_report.build(report_data.small(), snapshots)) != before


@pytest.mark.parametrize(
    ("count", "said"), [(0, ""), (5, "`1`, `2`, `3`, `4`, `5`"), (25, "`1`, `2`, `3`, `4`, `5` and 20 more")], ids=str
)
def test_a_ticket_names_the_first_and_how_many_more(count: int, said: str) -> None:
    items = [str(number) for number in range(1, count + 1)]
    assert _markdown._some([_markdown.text(item) for item in items[: _notes.ITEMS]], count) == said


def test_a_page_says_how_many_notes_it_leaves_out() -> None:
    report = _report.build(report_data.small())
    report["notes"] = _notes.collect(
        noted({f"hv{number}": [("libvirt", "libvirt", str(number))] for number in range(_view.NOTES + 3)})
    )
    view = _view.build(report)
    assert (len(view["notes"]), view["unshown"]) == (_view.NOTES, 3)
    assert len(_html.embedded(view)) < 2**20


def test_a_thousand_hosts_have_one_line_for_what_all_note() -> None:
    notes = page_data.large()["notes"]
    assert (notes[0]["reason"], len(notes[0]["hosts"]), notes[0]["items"]) == ("no_pyudev", 998, ["host"])
    assert {len(one["hosts"]) for one in notes[1:]} == {1}
    found: list[_model.Note] = page_data.notes("hv00000", 0)
    assert found[1]["detail"] in {one["detail"] for one in notes}
