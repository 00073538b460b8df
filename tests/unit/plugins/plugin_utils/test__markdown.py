# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Markdown of a report: all that the page says, short enough for a ticket, and harmless in one."""

from __future__ import annotations

import itertools
import re
import typing as t

import markdown_it
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.plugin_utils import _markdown, _reasons, _report
from ansible_collections.vfio.migration.tests.unit.plugins.plugin_utils import page_data, report_data

SECTIONS = [
    "At a glance",
    "What to do next",
    "Which hosts can be emptied now",
    "VMs and devices that are not ready",
    "Who may move where",
    "Capacity",
    "Evacuation plan",
    "Findings",
    "Notes of hosts",
]


def test_it_has_every_section() -> None:
    text = _markdown.render(page_data.large(60), "1")
    assert re.findall("^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert "exclusive): free places are alternatives" in text
    assert "| `hv00059` | not known | 0 |" in text
    assert "`hv00003`, `hv00004` and 53 more | `host` | `Names need pyudev.` |" in text
    assert text.endswith("<!-- fingerprint 1 -->\n")


def test_without_facts_and_plan_it_has_the_rest() -> None:
    text = _markdown.render(_report.build(report_data.small()), "1")
    assert re.findall("^## (.*)$", text, re.MULTILINE) == [*SECTIONS[:5], "Findings"]
    assert text.startswith("# VFIO migration readiness, `2026-11-22T19:04:14Z`, **PARTIAL**\n")
    assert "| `hv2` | no room | 1 |  | 1: accepted elsewhere, but no host has room |" in text


@pytest.mark.parametrize(
    ("rooms", "said"),
    [([3, 4], "7"), ([0], "0"), ([None, None], "not known"), ([3, None, 4, None], "7, and 2 not known")],
    ids=str,
)
def test_room_that_is_not_known_is_no_zero(rooms: list[int | None], said: str) -> None:
    assert _markdown._free([{"type": "t1", "used": 1, "room": room} for room in rooms]) == said


def test_a_thousand_hosts_fit_into_a_ticket() -> None:
    text = _markdown.render(page_data.large(), "1")
    assert len(text) < 65536
    assert "more rows are in the HTML and JSON files." in text


def cells(text: str) -> list[list[t.Any]]:
    """What stands in the cells of all tables, as a tracker reads it: the pieces of each."""
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(text)
    pairs = itertools.pairwise(tokens)
    return [after.children or [] for before, after in pairs if before.type in ("td_open", "th_open")]


@given(st.text(max_size=_markdown.CELL) | st.sampled_from(page_data.HOSTILE))
@pytest.mark.fault("L10")
def test_what_hosts_say_is_shown_as_it_is_and_is_nothing_but_code(said: str) -> None:
    shown = _report.plain(said, _markdown.CELL)
    (_head, cell) = cells(f"| x |\n| --- |\n| {_markdown.text(said)} |")
    assert [(piece.type, piece.content) for piece in cell] == ([("code_inline", shown)] if shown else [])


@pytest.mark.fault("L10")
def test_outside_of_code_trackers_find_nobody_to_call_and_nothing_to_link() -> None:
    """They look at the text that Markdown leaves, so an entity or a backslash would not help."""
    text = _markdown.render(page_data.hostile(), "1")
    pieces = [piece for cell in cells(text) for piece in cell]
    assert {piece.type for piece in pieces} == {"text", "code_inline"}
    assert any("@everyone" in piece.content for piece in pieces)
    plain = "".join(piece.content for piece in pieces if piece.type == "text")
    assert re.fullmatch(r"[\w ,.:;()'-]*", plain), plain


def test_our_own_words_are_no_markup() -> None:
    known = (*_reasons.REASONS.values(), *_reasons.FINDINGS.values())
    words = " ".join(f"{one.says} {one.do}" for one in known)
    assert re.fullmatch(r"[\w ,.:;*()'-]*", words), words


@pytest.mark.fault("L10")
def test_hostile_texts_break_neither_tables_nor_fences() -> None:
    text = _markdown.render(page_data.hostile(), "1")
    fence = 0
    heads = 0
    for line in text.splitlines():
        if line.startswith("```"):
            fence = len(line) - len(line.lstrip("`")) if not fence else 0
        elif line.startswith("|") and not fence:
            bars = len(re.findall(r"(?<!\\)\|", line))
            heads = heads or bars
            assert bars == heads, line
        elif not fence:
            heads = 0
            assert "<" not in re.sub("`.*`", "", line).replace("<!-- fingerprint", "")
    assert not fence
