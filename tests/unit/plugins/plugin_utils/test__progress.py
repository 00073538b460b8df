# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
import re
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.plugins.plugin_utils import _progress
from ansible_collections.vfio.migration.plugins.plugin_utils._progress import Lines, Place, Run, Stage, StatusLine

SPANS: list[t.Any] = [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")]


@pytest.mark.parametrize(("seconds", "text"), SPANS)
def test_spans(seconds: float, text: str) -> None:
    assert _progress.span(seconds) == text


def hosts(number: int) -> list[str]:
    return [f"h{one}" for one in range(number)]


def started(number: int, name: str = "Gather", single: bool = False) -> tuple[Run, Stage]:
    run = Run(0.0)
    run.begin_play(hosts(number))
    return run, run.begin(name, single, 0.0)


def test_line_tells_what_how_far_how_fast_and_how_long() -> None:
    run, stage = started(1000)
    for number in range(250):
        bad: t.Any = "failed" if number < 3 else "unreachable" if number < 5 else None
        run.count(stage, f"h{number}", bad, lost=False)
    line = "Gather: 250 of 1000 hosts, 3 failed, 2 unreachable"
    assert run.line(stage, 0.5) == line, "too soon for a rate"
    assert run.line(stage, 10.0) == line + ", 25/s, 30 s left"
    assert run.line(stage, 100.0) == line + ", 2.5/s, 5 min 0 s left"
    assert run.line(stage, 1000.0) == line + ", 15.0/min, 50 min 0 s left"


def test_host_that_failed_twice_is_one_host() -> None:
    run, stage = started(2)
    for _time in range(2):
        run.count(stage, "h0", "failed", lost=False)
    assert run.line(stage, 0.0) == "Gather: 2 of 2 hosts, 1 failed"


def test_lost_hosts_are_not_waited_for_in_later_stages_and_plays() -> None:
    run, stage = started(10)
    for number in range(10):
        run.count(stage, f"h{number}", "unreachable" if number < 4 else None, lost=number < 4)
    assert run.begin("Ask", False, 1.0).hosts == 6
    run.begin_play(hosts(5))
    stage = run.begin("Report", False, 2.0)
    assert stage.hosts == 1
    run.count(stage, "h0", None, lost=False)
    assert run.begin("after a rescue", False, 3.0).hosts == 2
    assert run.end(60.0) == "all stages: 10 hosts, 4 unreachable, took 1 min 0 s"


def test_task_that_runs_once_has_one_host() -> None:
    run, stage = started(1000, single=True)
    run.count(stage, "h0", None, lost=False)
    assert run.line(stage, 2.0) == "Gather: 1 of 1 hosts, 30.0/min, took 2 s"


def test_names_do_no_harm() -> None:
    _run, stage = started(1, "\x1b[2Jclear\n" + "x" * 999)
    assert "\x1b" not in stage.name
    assert "\n" not in stage.name
    assert len(stage.name) < 100


def play(place: Place, pace: t.Sequence[float], stages: int = 1) -> None:
    """Hosts that are done at these times after their stage began."""
    run, now = Run(0.0), 0.0
    run.begin_play(hosts(len(pace)))
    for number in range(stages):
        stage, began = run.begin(f"S{number}", False, now), now
        for host, seconds in enumerate(pace):
            now = began + seconds
            run.count(stage, f"h{host}", None, lost=False)
            place.show(run, stage, now)
        place.close_stage(run, stage, now)
    place.close(run, now)


def lines(pace: t.Sequence[float], percent: float = 10, interval: float = 10, silence: float = 60) -> list[str]:
    written: list[str] = []
    play(Lines(written.append, _progress.Limits(percent, interval, silence), 0.0), pace)
    return written


def test_lines_come_with_hosts_but_not_too_often() -> None:
    """1000 hosts in 100 seconds: each tenth of them takes ten."""
    written = lines([one / 10 for one in range(1, 1001)])
    assert [line.split(",")[0] for line in written] == [
        *(f"S0: {done} of 1000 hosts" for done in range(100, 1001, 100)),
        "all stages: 1000 hosts",
    ]


def test_interval_goes_before_percent() -> None:
    assert len(lines([one / 10 for one in range(1, 1001)], interval=40)) == 4


def test_slow_fleet_shows_a_sign_of_life() -> None:
    """Ten hours for 10,000 hosts: a tenth would be an hour of silence."""
    written = lines([one * 3.6 for one in range(1, 1001)])
    assert 58 <= len(written) <= 64


def test_short_run_says_nothing() -> None:
    assert lines([one / 1000 for one in range(1, 1001)]) == []


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.integers(1, 3))
def test_lines_keep_their_distance_and_their_order(pace: list[float], stages: int) -> None:
    times: list[float] = []
    clock = [0.0]

    class Timed(Lines):
        def show(self, run: Run, stage: Stage, now: float) -> None:
            clock[0] = now
            super().show(run, stage, now)

    play(Timed(lambda _text: times.append(clock[0]), _progress.Limits(10, 10, 60), 0.0), sorted(pace), stages)
    closing = stages + 1
    assert len([1 for one, two in itertools.pairwise(times) if two - one < 10]) <= closing


class Screen:
    """A terminal as far as it matters here: what is in its last row, and where the rest may scroll."""

    def __init__(self, rows: int, columns: int) -> None:
        self.size = (columns, rows)
        self.region: tuple[int, int] | None = None
        self.text = ""
        self.draws = 0

    def write(self, data: str) -> None:
        for match in re.finditer(r"\x1b\[(\d+);(\d+)r|\x1b\[r|\x1b\[(\d+);1H\x1b\[2K(?:\x1b\[\?7l([^\x1b]*))?", data):
            if match[1]:
                self.region = (int(match[1]), int(match[2]))
            elif match[0] == "\x1b[r":
                self.region = None
            else:
                assert int(match[3]) == self.size[1], "only the last row is ours"
                self.text, self.draws = match[4] or "", self.draws + 1
        saved, restored = data.count("\x1b7"), data.count("\x1b8")
        assert saved == restored, "what Ansible prints goes on where it was"


def test_line_on_a_terminal_stays_in_the_last_row_and_goes_away() -> None:
    screen = Screen(24, 80)
    place = StatusLine(screen.write, lambda: screen.size, 0.0)
    run, stage = started(10)
    run.count(stage, "h0", None, lost=False)
    place.show(run, stage, 0.5)
    assert screen.draws == 0, "a short run leaves the terminal alone"
    place.show(run, stage, 2.0)
    assert (screen.region, screen.text) == ((1, 23), "Gather: 1 of 10 hosts, 30.0/min, 18 s left")
    place.show(run, stage, 2.1)
    assert screen.draws == 1, "no faster than anybody reads"
    screen.size = (20, 30)
    place.show(run, stage, 3.0)
    assert (screen.region, screen.text) == ((1, 29), "Gather: 1 of 10 hos")
    place.close(run, 4.0)
    assert (screen.region, screen.text) == (None, "")
    drawn = screen.draws
    place.close()
    assert screen.draws == drawn


def test_terminal_that_was_never_used_is_not_touched() -> None:
    screen = Screen(24, 80)
    StatusLine(screen.write, lambda: screen.size, 0.0).close()
    assert screen.draws == 0
