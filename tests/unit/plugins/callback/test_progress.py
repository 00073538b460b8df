# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plugin as ansible-core calls it, with a clock of our own."""

from __future__ import annotations

import os
import sys
import types
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.callback import progress


class Task:
    """As much of ansible-core's task as a callback needs."""

    def __init__(self, name: str, run_once: bool = False, ignore_unreachable: bool | None = None) -> None:
        self.name = name
        self.action = "vfio.migration.vfio_facts"
        self.run_once = run_once
        self.ignore_unreachable = ignore_unreachable
        self._uuid = f"{name}-{id(self)}"


class Player:
    """ansible-core, a clock, and all that was said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: t.Any) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.warnings: list[str] = []
        self.plugin: t.Any = progress.CallbackModule()
        chosen = {"mode": "auto", "percent": 10.0, "interval": 10.0, "silence": 60.0, **options}
        monkeypatch.setattr(self.plugin, "get_option", chosen.__getitem__)
        monkeypatch.setattr(self.plugin, "clock", lambda: self.now)
        self.plugin._display = types.SimpleNamespace(
            display=lambda text, stderr: self.said.append(text) if stderr else None, warning=self.warnings.append
        )

    def begin(self, hosts: int) -> None:
        names = {"ansible_play_batch": [f"h{number}" for number in range(hosts)]}
        manager = types.SimpleNamespace(get_vars=lambda play: names if play else {})
        self.plugin.v2_playbook_on_start(None)
        self.plugin.v2_playbook_on_play_start(types.SimpleNamespace(get_variable_manager=lambda: manager))

    def task(self, task: Task, hosts: int, seconds: float, **bad: range) -> None:
        """All hosts, one after the other; ``bad`` names an event and the hosts it happens to."""
        self.plugin.v2_playbook_on_task_start(task, False)
        self.results(task, hosts, seconds, **bad)

    def results(self, task: Task, hosts: int, seconds: float, **bad: range) -> None:
        for number in range(hosts):
            self.now += seconds / hosts
            events = (event for event, numbers in bad.items() if number in numbers)
            host = types.SimpleNamespace(get_name=lambda name=f"h{number}": name)
            result = types.SimpleNamespace(task=task, host=host)
            getattr(self.plugin, f"v2_runner_on_{next(events, 'ok')}")(result)

    def end(self) -> None:
        self.plugin.v2_playbook_on_stats(None)


def test_stages_of_a_fleet_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player(monkeypatch, percent=50.0)
    player.begin(1000)
    player.task(Task("Gather", ignore_unreachable=True), 1000, 40, failed=range(997, 1000), unreachable=range(2))
    player.task(Task("Find out", run_once=True), 1, 1)
    player.task(Task("", ignore_unreachable=True), 997, 20, skipped=range(500))
    player.end()
    assert player.said == [
        "progress: Gather: 500 of 1000 hosts, 2 unreachable, 25/s, 20 s left",
        "progress: Gather: 1000 of 1000 hosts, 3 failed, 2 unreachable, 25/s, took 40 s",
        "progress: vfio.migration.vfio_facts: 499 of 997 hosts, 3 failed, 2 unreachable, 50/s, 10 s left",
        "progress: vfio.migration.vfio_facts: 997 of 997 hosts, 3 failed, 2 unreachable, 50/s, took 20 s",
        "progress: all stages: 1000 hosts, 3 failed, 2 unreachable, took 1 min 1 s",
    ]


def test_failure_that_is_ignored_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player(monkeypatch, interval=0.0, percent=100.0)
    player.begin(1)
    task = Task("Try")
    player.plugin.v2_playbook_on_task_start(task, False)
    host = types.SimpleNamespace(get_name=lambda: "h0")
    player.plugin.v2_runner_on_failed(types.SimpleNamespace(task=task, host=host), ignore_errors=True)
    assert player.said == ["progress: Try: 1 of 1 hosts"]


def test_nothing_is_said_of_a_run_without_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player(monkeypatch, interval=0.0, silence=0.0)
    player.begin(0)
    player.plugin.v2_playbook_on_task_start(Task("Gather"), False)
    player.plugin.v2_playbook_on_handler_task_start(Task("Handler"))
    player.end()
    assert player.said == player.warnings == []


def test_host_that_runs_ahead_counts_for_its_own_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with strategy free."""
    player = Player(monkeypatch, interval=0.0, percent=100.0)
    player.begin(2)
    first, second = Task("First"), Task("Second")
    player.task(first, 1, 1)
    player.task(second, 1, 1)
    player.plugin.v2_runner_on_ok(types.SimpleNamespace(task=first, host=types.SimpleNamespace(get_name=lambda: "h1")))
    assert player.said == ["progress: First: 2 of 2 hosts, 1.0/s, took 2 s"]


BROKEN: list[t.Any] = [
    ("v2_playbook_on_play_start", (None,)),
    ("v2_playbook_on_task_start", (None, False)),
    ("v2_playbook_on_handler_task_start", (None,)),
    ("v2_runner_on_ok", (types.SimpleNamespace(task=None),)),
]


@pytest.mark.parametrize(("method", "arguments"), BROKEN)
def test_mistake_costs_one_warning_and_never_the_run(
    monkeypatch: pytest.MonkeyPatch, method: str, arguments: tuple[t.Any, ...]
) -> None:
    player = Player(monkeypatch)
    player.begin(3)
    for _time in range(2):
        getattr(player.plugin, method)(*arguments)
    player.task(Task("Gather"), 3, 100)
    player.end()
    assert len(player.warnings) == 1
    assert player.warnings[0].startswith("vfio.migration.progress is off for the rest of this run: ")
    assert player.plugin.disabled
    assert player.said == []


class Terminal:
    """Standard error."""

    def __init__(self, tty: bool) -> None:
        self.tty = tty
        self.text = ""

    def isatty(self) -> bool:
        return self.tty

    def fileno(self) -> int:
        return 2

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


MODES: list[t.Any] = [
    pytest.param({}, True, "xterm", 24, None, True, id="terminal"),
    pytest.param({}, False, "xterm", 24, None, False, id="file"),
    pytest.param({}, True, "dumb", 24, None, False, id="cannot place its cursor"),
    pytest.param({}, True, "xterm", 3, None, False, id="too small"),
    pytest.param({}, True, "xterm", 24, "/runner", False, id="ansible-runner"),
    pytest.param({"mode": "lines"}, True, "xterm", 24, None, False, id="lines wanted"),
    pytest.param({"mode": "line"}, False, "xterm", 24, None, True, id="line wanted"),
]


@pytest.mark.parametrize(("options", "tty", "term", "rows", "runner", "drawn"), MODES)
def test_line_is_drawn_on_terminals_only(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, t.Any],
    tty: bool,
    term: str,
    rows: int,
    runner: str | None,
    drawn: bool,
) -> None:
    terminal = Terminal(tty)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((80, rows)))
    monkeypatch.setenv("TERM", term)
    monkeypatch.delenv("AWX_ISOLATED_DATA_DIR", raising=False)
    if runner:
        monkeypatch.setenv("AWX_ISOLATED_DATA_DIR", runner)
    player = Player(monkeypatch, **options)
    player.begin(100)
    player.task(Task("Gather"), 100, 100)
    player.end()
    assert ("Gather: 100 of 100 hosts" in terminal.text) == drawn
    assert bool(player.said) != drawn
    assert terminal.text.endswith("\x1b[r\x1b8" if drawn else "")
    assert player.warnings == []


def test_terminal_is_given_back_when_it_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((80, 24)))
    player = Player(monkeypatch, mode="line")
    player.begin(100)
    player.task(Task("Gather"), 100, 100)
    assert "\x1b[1;23r" in terminal.text
    player.plugin.v2_runner_on_ok(None)
    assert terminal.text.endswith("\x1b[r\x1b8")


class Closed(set[str]):
    """Hosts that can be asked for and added, but not gone through."""

    def _refuse(self, *_others: object) -> t.NoReturn:
        raise AssertionError("somebody went through all hosts")

    __iter__ = __sub__ = __rsub__ = __or__ = __ror__ = __and__ = __rand__ = copy = _refuse


def test_one_result_costs_no_more_in_a_large_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player(monkeypatch)
    player.begin(10000)
    task = Task("Gather")
    player.plugin.v2_playbook_on_task_start(task, False)
    run = player.plugin._run
    closed = {name: Closed(hosts) for name, hosts in vars(run).items() if isinstance(hosts, set)}
    assert len(closed["_batch"]) == 10000
    vars(run).update(closed)
    player.results(task, 10000, 1000, unreachable=range(5000))
    assert player.warnings == []
    assert player.said[-1].startswith("progress: Gather: 9603 of 10000 hosts, 5000 unreachable, ")
    # It would have been noticed.
    player.plugin.v2_playbook_on_task_start(Task("Next"), False)
    assert ["somebody went through all hosts" in warning for warning in player.warnings] == [True]
