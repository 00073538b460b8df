# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run playbooks again and again, and make tables of how long they took."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import time
import typing as t

HERE = pathlib.Path(__file__).resolve().parent

CONFIG = """\
[defaults]
forks = {forks}
host_key_checking = False
inject_facts_as_vars = False
interpreter_python = auto_silent
fact_caching = ansible.builtin.jsonfile
fact_caching_connection = {cache}
callback_plugins = {plugins}
callbacks_enabled = seconds
retry_files_enabled = False
[ssh_connection]
pipelining = True
control_path_dir = {control}
"""


class BenchError(Exception):
    """One sentence that says why nothing can be measured."""


@dataclasses.dataclass
class Run:
    """One run of one playbook."""

    seconds: float
    tasks: dict[str, list[float]]
    """Task -> wall time of each time that it ran, in order."""
    module_runs: dict[str, int]
    """Task -> how often its module ran on the hosts; more often than the task where it loops."""

    def task(self, name: str) -> float:
        """Median wall time of a task."""
        return statistics.median(self.tasks[name])


class Runner:
    """Runs playbooks on one inventory, always with the same settings."""

    def __init__(self, work: pathlib.Path, inventory: pathlib.Path, forks: int) -> None:
        self.cache = work / "facts"
        self._seconds = work / "seconds.jsonl"
        self._inventory = inventory
        config = work / "ansible.cfg"
        # A socket's path must be short.
        control = work / "cp"
        control.mkdir(exist_ok=True)
        settings = {"forks": forks, "cache": self.cache, "plugins": HERE / "callback_plugins", "control": control}
        config.write_text(CONFIG.format(**settings), encoding="utf-8")
        self._environment = {**os.environ, "ANSIBLE_CONFIG": str(config), "VFIO_BENCH_SECONDS": str(self._seconds)}

    def forget(self) -> None:
        """Empty the fact cache: the next run is a first run."""
        for path in self.cache.glob("*"):
            path.unlink()

    def play(self, playbook: str | pathlib.Path, **variables: t.Any) -> Run:
        """Run a playbook; raise BenchError with its last lines when it fails."""
        self._seconds.unlink(missing_ok=True)
        command = ["ansible-playbook", "-i", str(self._inventory), str(playbook), "-e", json.dumps(variables)]
        start = time.monotonic()
        done = subprocess.run(
            command, env=self._environment, capture_output=True, check=False, stdin=subprocess.DEVNULL, text=True
        )
        seconds = time.monotonic() - start
        if done.returncode:
            raise BenchError(f"{playbook} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
        tasks: dict[str, list[float]] = collections.defaultdict(list)
        module_runs: collections.Counter[str] = collections.Counter()
        for line in self._seconds.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            name = one["task"].rpartition(" : ")[2]
            tasks[name].append(one["seconds"])
            module_runs[name] += one["module_runs"]
        return Run(seconds, dict(tasks), dict(module_runs))


def ratio(name: str, ours: t.Sequence[float], theirs: t.Sequence[float], target: float) -> bool:
    """Print medians, and the median of the ratios of neighbours in time against the target; return whether it was hit.

    Neighbours, because whatever else the machine does slows both of them down.
    """
    ratios = [one / two for one, two in zip(ours, theirs, strict=True)]
    middle = statistics.median(ratios)
    hit = middle <= target
    print(
        f"  {name:<42} {statistics.median(ours):6.2f} s / {statistics.median(theirs):5.2f} s  ratio {middle:5.2f}"
        f" ({min(ratios):.2f} to {max(ratios):.2f})  target {target:.1f}  {'hit' if hit else 'MISSED'}"
    )
    return hit


def profile(title: str, runs: t.Sequence[Run]) -> None:
    """Print where the seconds of a playbook went: median wall time of each task, and what is left around them."""
    print(f"  {title}:")
    names = dict.fromkeys(name for run in runs for name in run.tasks)
    inside = 0.0
    for name in names:
        seconds = statistics.median(sum(run.tasks.get(name, [0.0])) for run in runs)
        inside += seconds
        print(f"    {seconds:7.2f} s  {name[:80]}")
    print(f"    {statistics.median(run.seconds for run in runs) - inside:7.2f} s  start and end of ansible-playbook")
