# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback: append wall time and module runs of every task to the file that VFIO_BENCH_SECONDS names, as JSON lines."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: seconds
type: aggregate
short_description: Wall time of every task
description:
  - Appends the name and the wall time of every task to a file, and how often its module ran on all hosts together.
requirements:
  - VFIO_BENCH_SECONDS names the file.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """A task's time ends where the next one's begins."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "seconds"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._task: str | None = None
        self._since = 0.0
        self._results = 0
        self._items = 0

    def _next(self, name: str | None) -> None:
        now = time.monotonic()
        if self._task is not None:
            with open(os.environ["VFIO_BENCH_SECONDS"], "a", encoding="utf-8") as file:
                line = {"task": self._task, "seconds": now - self._since, "module_runs": self._items or self._results}
                file.write(json.dumps(line) + "\n")
        self._task, self._since, self._results, self._items = name, now, 0, 0

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:  # noqa: ARG002
        self._next(task.get_name())

    def v2_runner_on_ok(self, result: t.Any) -> None:  # noqa: ARG002
        self._results += 1

    def v2_runner_item_on_ok(self, result: t.Any) -> None:  # noqa: ARG002
        self._items += 1

    def v2_playbook_on_stats(self, stats: t.Any) -> None:  # noqa: ARG002
        self._next(None)
