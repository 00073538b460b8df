# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run named steps one after the other, keep their output, and say at the end what held and what did not."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
import traceback
import typing as t
from pathlib import Path

Status = t.Literal["ok", "failed", "left out"]

TAIL = 40
"""Lines of a failed step's output that are shown at once."""

# The closing line of a pytest run, of plain pytest and of ansible-test units.
WORDS = "passed|failed|errors?|skipped|deselected|warnings?|xfailed|xpassed"
PYTEST = re.compile(rf"^(?:=+ )?((?:\d+ (?:{WORDS})(?:, )?)+ in [\d.]+s.*?)(?: =+)?$")
PYTEST_COUNT = re.compile(r"(\d+) (passed|failed|error)")


class Failed(Exception):  # noqa: N818 - it reads as what happened
    """One sentence that says what did not hold."""


class LeftOut(Exception):  # noqa: N818 - no error at all
    """One sentence that says what this machine lacks for the step."""


class Session:
    """What a step runs its commands with: all output goes to one log file."""

    def __init__(self, log: Path, cwd: Path, env: t.Mapping[str, str]) -> None:
        self.log = log
        self.cwd = cwd
        self.env = dict(env)
        self.remark: str | None = None
        """Closing line of the step, if its tools' own last line says too little."""
        log.write_text("", encoding="utf-8")

    def run(self, *command: str | Path, cwd: Path | None = None, env: t.Mapping[str, str] | None = None) -> str:
        """Run a command; return its output. Raises Failed when its exit code is not 0."""
        line = " ".join(map(str, command))
        with self.log.open("a+", encoding="utf-8", errors="replace") as log:
            print(f"$ {line}", file=log, flush=True)
            start = log.tell()
            done = subprocess.run(
                [str(word) for word in command],
                cwd=cwd or self.cwd,
                env=self.env if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
            log.seek(start)
            output = log.read()
        if done.returncode:
            raise Failed(f"{Path(str(command[0])).name} ended with exit code {done.returncode}.")
        return output


class Step(t.NamedTuple):
    name: str
    work: t.Callable[[Session], None]


class Result(t.NamedTuple):
    name: str
    status: Status
    seconds: float
    message: str
    closing: tuple[str, ...]


def closing_lines(output: str) -> tuple[str, ...]:
    """The closing lines of all pytest runs in the output, else its last line."""
    noise = ("$ ", "FATAL: Command ")  # what was run, not what came of it
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith(noise)]
    matches = [match[1] for match in map(PYTEST.match, lines) if match]
    return tuple(matches or lines[-1:])


def telling(output: str) -> list[str]:
    """The lines that say what went wrong, where the tool marks them; else the last ones."""
    lines = output.splitlines()
    marked = [line for line in lines if re.match(r"(ERROR|FAILED|E  |\[ERROR\])", line)]
    return (marked or lines)[-TAIL:]


def counts(result: Result) -> tuple[int, int]:
    """Tests passed and failed; a step that is not a test run counts as one test."""
    numbers = {"passed": 0, "failed": 0, "error": 0}
    for line in result.closing:
        if PYTEST.match(line):
            for number, word in PYTEST_COUNT.findall(line):
                numbers[word] += int(number)
    failed = numbers["failed"] + numbers["error"]
    if result.status == "left out":
        return 0, 0
    if result.status == "failed":
        return numbers["passed"], max(failed, 1)
    return max(numbers["passed"], 1), failed


def run_step(step: Step, log: Path, cwd: Path, strict: bool) -> Result:
    """Run one step. On a strict machine (CI) nothing may be left out."""
    start = time.monotonic()
    session = Session(log, cwd, os.environ)
    status: Status = "ok"
    message = ""
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        try:
            step.work(session)
        except LeftOut as reason:
            status, message = "failed" if strict else "left out", str(reason)
        except Failed as reason:
            status, message = "failed", str(reason)
        except Exception as reason:  # noqa: BLE001 - a step that breaks down leaves the others their turn, too
            traceback.print_exc()
            status, message = "failed", str(reason)
    text = log.read_text(encoding="utf-8", errors="replace")
    closing = (session.remark,) if session.remark else closing_lines(text)
    return Result(step.name, status, time.monotonic() - start, message, closing)


def run_steps(steps: t.Sequence[Step], logs: Path, cwd: Path, strict: bool) -> list[Result]:
    """Run all steps, whatever becomes of one; show where it stands all the while."""
    logs.mkdir(parents=True, exist_ok=True)
    results = []
    for number, step in enumerate(steps, 1):
        print(f"[{number:2}/{len(steps)}] {step.name} ... ", end="", flush=True)
        log = logs / f"{number:02}-{re.sub('[^a-z0-9.]+', '-', step.name.lower()).strip('-')}.log"
        result = run_step(step, log, cwd, strict)
        print(f"{result.status} ({result.seconds:.0f} s)", *filter(None, [result.message]), sep=": ", flush=True)
        if result.status == "failed":
            lines = telling(log.read_text(encoding="utf-8", errors="replace"))
            print("\n".join(f"    | {line[:300]}" for line in lines))
            print(f"    all of it: {log.relative_to(cwd)}", flush=True)
        results.append(result)
    return results


def table(results: t.Sequence[Result]) -> list[str]:
    """What to print at the end: each step with its runner's closing lines, then one plain line with the sums."""
    width = max(len(result.name) for result in results)
    lines = [""]
    for result in results:
        closing = result.closing if result.status != "left out" else (result.message,)
        first, *more = closing or ("",)
        lines.append(f"{result.status:8}  {result.name:{width}}  {result.seconds:4.0f} s  {first}")
        lines.extend(f"{'':8}  {'':{width}}          {line}" for line in more)
    passed, failed = (sum(numbers) for numbers in zip(*map(counts, results), strict=True))
    lines += ["", f"{passed} passed, {failed} failed"]
    return lines
