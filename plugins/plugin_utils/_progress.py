# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run over a fleet is, in one line: counted at the same small cost for each result, however large the fleet.

This file is private to the collection. It knows neither Ansible nor the clock: time comes in as seconds.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils._report import plain

_NAME_LENGTH = 60
_SOON = 1.0
"""Seconds that a stage runs before a rate can be told, or is worth telling."""
_REDRAW = 0.2
"""Seconds between two drawings of the line on a terminal; a person reads no faster."""


@dataclasses.dataclass
class Stage:
    """One task of one play, on all hosts."""

    name: str
    hosts: int
    began: float
    done: int = 0
    told: int = 0
    """Hosts that were done when it was last told of."""


class Run:
    """Counts. A host is lost when it leaves the play, and found again when a rescue takes it back."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.failed: set[str] = set()
        self.unreachable: set[str] = set()
        self._lost: set[str] = set()
        self._batch: set[str] = set()
        self._seen: set[str] = set()

    def begin_play(self, hosts: t.Iterable[str]) -> None:
        """Of a play, or of one of its batches."""
        self._batch = set(hosts)
        self._seen |= self._batch

    def begin(self, name: str, single: bool, now: float) -> Stage:
        """The next task; ``single``: it runs once for all hosts."""
        return Stage(plain(name, _NAME_LENGTH), 1 if single else len(self._batch - self._lost), now)

    def count(self, stage: Stage, host: str, bad: t.Literal["failed", "unreachable"] | None, lost: bool) -> None:
        """A host is done with a task. ``lost``: it takes no further part."""
        stage.done += 1
        # Tasks that include others, or run on some hosts only, are told of by more or fewer hosts than expected.
        stage.hosts = max(stage.hosts, stage.done)
        if bad == "failed":
            self.failed.add(host)
        elif bad == "unreachable":
            self.unreachable.add(host)
        if lost:
            self._lost.add(host)
        else:
            self._lost.discard(host)

    def line(self, stage: Stage, now: float) -> str:
        """What, how far, what went wrong, how fast, how long it will take."""
        parts = [f"{stage.done} of {stage.hosts} hosts", *self._bad()]
        seconds = now - stage.began
        if stage.done and seconds >= _SOON:
            parts.append(_rate(stage.done / seconds))
            if stage.done < stage.hosts:
                parts.append(f"{span((stage.hosts - stage.done) * seconds / stage.done)} left")
            else:
                parts.append(f"took {span(seconds)}")
        return f"{stage.name}: {', '.join(parts)}"

    def end(self, now: float) -> str:
        """The whole run."""
        return ", ".join([f"all stages: {len(self._seen)} hosts", *self._bad(), f"took {span(now - self.began)}"])

    def _bad(self) -> list[str]:
        numbers = (len(self.failed), "failed"), (len(self.unreachable), "unreachable")
        return [f"{number} {what}" for number, what in numbers if number]


def _rate(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"


def span(seconds: float) -> str:
    """A time in two units at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Place(t.Protocol):
    """Where progress is shown."""

    def show(self, run: Run, stage: Stage, now: float) -> None:
        """After each host that is done."""

    def close_stage(self, run: Run, stage: Stage, now: float) -> None:
        """Before the next stage."""

    def close(self, run: Run, now: float) -> None:
        """At the end."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """How often plain lines come: once this share of a stage's hosts (percent) is done, but no sooner than
    ``interval`` seconds after the last; and after ``silence`` seconds in any case."""

    percent: float
    interval: float
    silence: float


class Lines:
    """Plain lines, for logs. Stages that end sooner than any line is due leave none."""

    def __init__(self, write: t.Callable[[str], None], limits: Limits, now: float) -> None:
        self._write = write
        self._limits = limits
        self._last = now
        self._told = False

    def show(self, run: Run, stage: Stage, now: float) -> None:
        waited = now - self._last
        if waited < self._limits.interval:
            return
        step = (stage.done - stage.told) * 100 >= self._limits.percent * stage.hosts
        if step or waited >= self._limits.silence:
            self._tell(run, stage, now)

    def close_stage(self, run: Run, stage: Stage, now: float) -> None:
        if 0 < stage.told < stage.done:
            self._tell(run, stage, now)

    def close(self, run: Run, now: float) -> None:
        if self._told:
            self._write(run.end(now))

    def _tell(self, run: Run, stage: Stage, now: float) -> None:
        self._write(run.line(stage, now))
        self._last, stage.told, self._told = now, stage.done, True


class StatusLine:
    """One line at the bottom of a terminal. The rest of the screen scrolls above it, so that it does not mix with what
    Ansible prints (DECSTBM, as apt does it; see console_codes(4))."""

    def __init__(self, write: t.Callable[[str], None], size: t.Callable[[], tuple[int, int]], now: float) -> None:
        """``size`` gives columns and rows."""
        self._write = write
        self._size = size
        self._rows = 0
        self._due = now + _SOON

    def show(self, run: Run, stage: Stage, now: float) -> None:
        if now < self._due:
            return
        self._due = now + _REDRAW
        columns, rows = self._size()
        text = run.line(stage, now)[: max(columns - 1, 1)]
        # Without automatic wrapping, should some letters be wider than one column.
        self._write(f"{self._reserve(rows)}\x1b7\x1b[{rows};1H\x1b[2K\x1b[?7l{text}\x1b[?7h\x1b8")

    def _reserve(self, rows: int) -> str:
        if rows == self._rows:
            return ""
        self._rows = rows
        # Scroll first, so that what stands in the last row is not lost.
        return f"\n\x1b7\x1b[1;{rows - 1}r\x1b8\x1b[1A"

    def close_stage(self, run: Run, stage: Stage, now: float) -> None:
        pass

    def close(self, run: Run | None = None, now: float = 0.0) -> None:  # noqa: ARG002
        """Give the row back; needs no numbers, because it also ends a run that breaks."""
        if self._rows:
            self._write(f"\x1b7\x1b[{self._rows};1H\x1b[2K\x1b[r\x1b8")
            self._rows = 0
