# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows how far a run is; the counting is in ``plugin_utils/_progress.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: aggregate
short_description: Show how far a run over a large fleet is
version_added: 0.1.0
author: The vfio.migration authors (@vfio-migration)
description:
  - Says for the current stage, which is a task, how many hosts are done, how many failed or could not be reached so
    far, how many are done in a second, and how long the stage will still take.
  - On a terminal this is one line at the bottom, drawn again as hosts get done, below whatever else Ansible prints.
    Otherwise it is a plain line now and then.
  - Goes to standard error, so that standard output stays as it is. A short run shows nothing.
  - Works with any playbook. A mistake inside of it costs one warning and its own output, never the run.
requirements:
  - To be enabled, with C(callbacks_enabled = vfio.migration.progress) below C([defaults]) of C(ansible.cfg), or with
    E(ANSIBLE_CALLBACKS_ENABLED).
options:
  mode:
    description:
      - V(auto) is V(line) if standard error is a terminal that can place its cursor, else V(lines). Below
        ansible-runner and AWX, whose terminal is a file, it is V(lines).
    type: str
    choices: [auto, line, lines]
    default: auto
    env:
      - name: VFIO_MIGRATION_PROGRESS_MODE
    ini:
      - section: callback_vfio_migration_progress
        key: mode
  percent:
    description: Share of a stage's hosts after which the next plain line is due.
    type: float
    default: 10
    env:
      - name: VFIO_MIGRATION_PROGRESS_PERCENT
    ini:
      - section: callback_vfio_migration_progress
        key: percent
  interval:
    description: Least number of seconds between two plain lines.
    type: float
    default: 10
    env:
      - name: VFIO_MIGRATION_PROGRESS_INTERVAL
    ini:
      - section: callback_vfio_migration_progress
        key: interval
  silence:
    description: Number of seconds without a plain line after which the next host that is done brings one in any case.
    type: float
    default: 60
    env:
      - name: VFIO_MIGRATION_PROGRESS_SILENCE
    ini:
      - section: callback_vfio_migration_progress
        key: silence
"""

EXAMPLES = r"""
ansible.cfg: |
  [defaults]
  callbacks_enabled = vfio.migration.progress

  [callback_vfio_migration_progress]
  interval = 30
"""

import atexit
import functools
import os
import sys
import time
import typing as t

from ansible.plugins.callback import CallbackBase

from ansible_collections.vfio.migration.plugins.plugin_utils import _progress

NAME = "vfio.migration.progress"
_FEWEST_ROWS = 4

Method = t.Callable[..., None]


def _careful(method: Method) -> Method:
    """Whatever goes wrong in a method ends the progress, not the run."""

    @functools.wraps(method)
    def call(self: CallbackModule, *args: t.Any, **kwargs: t.Any) -> None:
        if self.disabled:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001
            self.disabled = True
            self.give_back()
            self._display.warning(f"{NAME} is off for the rest of this run: {type(error).__name__}: {error}")

    return call


class CallbackModule(CallbackBase):
    """Turns events of Ansible into counts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = NAME
    CALLBACK_NEEDS_ENABLED = True

    clock: t.Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self) -> None:
        super().__init__()
        self._run: _progress.Run | None = None
        self._place: _progress.Place | None = None
        self._stages: dict[str, _progress.Stage] = {}
        self._current: _progress.Stage | None = None
        self._pid = os.getpid()

    def _terminal(self) -> bool:
        mode = self.get_option("mode")
        if mode != "auto":
            return bool(mode == "line")
        if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb" or "AWX_ISOLATED_DATA_DIR" in os.environ:
            return False
        return os.get_terminal_size(sys.stderr.fileno()).lines >= _FEWEST_ROWS

    def _draw(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def _say(self, text: str) -> None:
        self._display.display(f"progress: {text}", stderr=True)

    @staticmethod
    def _size() -> tuple[int, int]:
        size = os.get_terminal_size(sys.stderr.fileno())
        return size.columns, size.lines

    def give_back(self) -> None:
        """Leave the terminal as it was; not from a worker, which has inherited it."""
        if isinstance(self._place, _progress.StatusLine) and os.getpid() == self._pid:
            self._place.close()

    @_careful
    def v2_playbook_on_start(self, playbook: t.Any) -> None:  # noqa: ARG002
        """Find out where to write."""
        now = self.clock()
        self._run = _progress.Run(now)
        if self._terminal():
            self._place = _progress.StatusLine(self._draw, self._size, now)
            atexit.register(self.give_back)
        else:
            limits = _progress.Limits(*(self.get_option(name) for name in ("percent", "interval", "silence")))
            self._place = _progress.Lines(self._say, limits, now)

    @_careful
    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """Learn how many hosts there are; the only step that looks at all of them, once in a play."""
        self._end_stage()
        self._stages.clear()
        variables = play.get_variable_manager().get_vars(play=play)
        self._started().begin_play(variables["ansible_play_batch"])

    @_careful
    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:  # noqa: ARG002
        """A new stage."""
        self._end_stage()
        self._current = self._started().begin(task.name or task.action, task.run_once is True, self.clock())
        # Some strategies let hosts run ahead, so results are counted with their own task.
        self._stages[task._uuid] = self._current  # noqa: SLF001  # the only name of a task that is unique

    def v2_playbook_on_handler_task_start(self, task: t.Any) -> None:
        self.v2_playbook_on_task_start(task, is_conditional=False)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._count(result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._count(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._count(result, None if ignore_errors else "failed", lost=not ignore_errors)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._count(result, "unreachable", lost=result.task.ignore_unreachable is not True)

    @_careful
    def v2_playbook_on_stats(self, stats: t.Any) -> None:  # noqa: ARG002
        """The end."""
        self._end_stage()
        if self._place is not None:
            self._place.close(self._started(), self.clock())

    @_careful
    def _count(self, result: t.Any, bad: t.Literal["failed", "unreachable"] | None = None, lost: bool = False) -> None:
        stage = self._stages.get(result.task._uuid)  # noqa: SLF001
        if stage is None or self._place is None:
            return
        run = self._started()
        run.count(stage, result.host.get_name(), bad, lost)
        self._place.show(run, stage, self.clock())

    def _end_stage(self) -> None:
        if self._current is not None and self._place is not None:
            self._place.close_stage(self._started(), self._current, self.clock())
        self._current = None

    def _started(self) -> _progress.Run:
        if self._run is None:
            self._run = _progress.Run(self.clock())
        return self._run
