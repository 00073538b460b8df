# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback: append the wall time of every task to the file that VFIO_BENCH_SECONDS names, one JSON object a line."""

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
  - Appends the name and the wall time of every task to a file.
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

    def _next(self, name: str | None) -> None:
        now = time.monotonic()
        if self._task is not None:
            with open(os.environ["VFIO_BENCH_SECONDS"], "a", encoding="utf-8") as file:
                file.write(json.dumps({"task": self._task, "seconds": now - self._since}) + "\n")
        self._task, self._since = name, now

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:  # noqa: ARG002
        self._next(task.get_name())

    def v2_playbook_on_stats(self, stats: t.Any) -> None:  # noqa: ARG002
        self._next(None)
