# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""./dev bench planner: how good the plans are, and what they cost, on a published suite of made-up fleets.

Each fleet is drained in several ways: by the standard library alone, with HiGHS, and by two baselines as a user would
write them. Every way works on a fleet of its own in a process of its own, so that memory and time are of that way
only. ``plan`` is all that evacuation_plan does, reasons and UUIDs included; the checker looks at each of its plans.

Seconds are of CPU; MiB are the peak above the facts. A missed target is reported as such; it never fails the run.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import typing as t

from ansible_collections.vfio.migration.plugins.plugin_utils import _nodes, _pairing
from ansible_collections.vfio.migration.plugins.plugin_utils.planner import _evacuation, _fold, _policy
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._bound import improve
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._checker import violations
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._problem import Bound, Problem, Solution, emptied
from ansible_collections.vfio.migration.plugins.plugin_utils.planner._solve import solve
from ansible_collections.vfio.migration.tests.benchmarks import _baselines, _fleets
from ansible_collections.vfio.migration.tests.benchmarks._fleets import Spec

MODULE = "ansible_collections.vfio.migration.tests.benchmarks.planner"

SUITE = (
    Spec(100, 0.50, 0.05, "gpu", 2),
    Spec(100, 0.80, 0.10, "all", 4),
    Spec(100, 0.90, 0.05, "gpus", 3),
    Spec(100, 0.95, 0.05, "all", 2),
    Spec(100, 0.95, 0.10, "igpu", 5),
    Spec(100, 0.95, 0.10, "gpu", 5),
    Spec(1000, 0.50, 0.05, "all", 4),
    Spec(1000, 0.70, 0.10, "gpus", 3),
    Spec(1000, 0.85, 0.05, "all", 2),
    Spec(1000, 0.90, 0.10, "all", 4),
    Spec(1000, 0.90, 0.02, "gpu", 15),
    Spec(1000, 0.95, 0.05, "gpus", 10),
    Spec(1000, 0.95, 0.05, "all", 3),
    Spec(1000, 0.95, 0.10, "gpus", 2),
    Spec(1000, 0.95, 0.02, "igpu", 2),
    Spec(1000, 0.95, 0.10, "all", 4),
    Spec(10000, 0.50, 0.02, "all", 2),
    Spec(10000, 0.80, 0.05, "gpus", 3),
    Spec(10000, 0.90, 0.05, "all", 4),
    Spec(10000, 0.90, 0.10, "gpus", 5),
    Spec(10000, 0.95, 0.05, "gpus", 10),
    Spec(10000, 0.95, 0.05, "all", 4),
    Spec(10000, 0.95, 0.10, "all", 2),
    Spec(10000, 0.95, 0.02, "gpu", 5),
)
CACHED = Spec(10000, 0.95, 0.05, "all", 2)
"""Planned from files, too."""
WAYS = ("library", "highs", "plan", "first fit", "milp")
MILP = _baselines.Limits(nodes=1000, seconds=100.0)
MILP_HOSTS = 1000
LARGE = 10000


@dataclasses.dataclass(frozen=True)
class Row:
    """One fleet, drained in one way."""

    fleet: str
    way: str
    hosts: int
    used: float
    devices: int
    drained: int
    vms: int
    """On the drained hosts."""
    emptied: int
    moved: int
    bound: tuple[int, int] | None
    """Hosts and VMs."""
    pair: float
    fold: float
    solve: float
    memory: float
    wrong: list[str]
    """What is not valid."""

    @property
    def gap(self) -> tuple[int, int] | None:
        """Hosts and VMs."""
        return None if self.bound is None else (self.bound[0] - self.emptied, self.bound[1] - self.moved)

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.pair + self.fold + self.solve


class Result(t.NamedTuple):
    """What a way came to."""

    emptied: int
    moved: int
    bound: tuple[int, int] | None
    wrong: list[str]


def _of_solution(problem: Problem, solution: Solution | None, bound: Bound | None = None) -> Result:
    if solution is None:
        return Result(len(emptied(problem, ())), 0, None, [])
    placed = {one.vm for one in solution.placements}
    limits = None if bound is None else (bound.hosts, bound.vms)
    return Result(len(emptied(problem, placed)), len(placed), limits, _baselines.errors(problem, solution))


def _solve(way: str, problem: Problem) -> tuple[Solution | None, Bound | None]:
    if way == "library":
        return solve(problem), None
    if way == "highs":
        proof = improve(problem, solve(problem), solve)
        return proof.solution, proof.bound
    if way == "first fit":
        return _baselines.first_fit(problem), None
    return _baselines.host_level_milp(problem, MILP), None


def _worker(spec: Spec, way: str) -> Row:
    facts = _fleets.facts(spec)
    drain = _fleets.drain(spec)
    options = {"drain": drain}
    before = _settled()
    clock = time.process_time
    marks = [clock()]
    hosts = _nodes.load(facts)
    pairings = _pairing.of_hosts(hosts, _fleets.MAX_AGE, _fleets.TIME, "devices", None)
    marks.append(clock())
    policy = _policy.read(options, hosts)
    if way == "plan":
        marks.append(clock())
        plan = _evacuation.of_pairings(hosts, pairings, policy, _fleets.TIME)
        marks.append(clock())
        memory = _memory("VmHWM") - before
        snapshots = {host.name: host.snapshot for host in hosts if host.snapshot}
        planning = plan["planning"]
        assert planning
        bound = planning["bound"]
        limits = None if bound is None else (bound["hosts"], bound["workloads"])
        empty = sum(len(batch["emptied"]) for batch in planning["batches"])
        result = Result(empty, len(plan["moves"]), limits, violations(plan, snapshots, pairings, policy))
    else:
        problem = _fold.fold(pairings, hosts, policy).problem
        marks.append(clock())
        solution, proven = _solve(way, problem)
        marks.append(clock())
        memory = _memory("VmHWM") - before
        result = _of_solution(problem, solution, proven)
    snapshot = [facts[name]["vfio_migration"] for name in drain]
    return Row(
        fleet=spec.label,
        way=way,
        hosts=spec.hosts,
        used=spec.used,
        devices=sum(len(each["vfio_migration"]["devices"]) for each in facts.values()),
        drained=len(drain),
        vms=sum(len(each["workloads"]) for each in snapshot),
        emptied=result.emptied,
        moved=result.moved,
        bound=result.bound,
        pair=marks[1] - marks[0],
        fold=marks[2] - marks[1],
        solve=marks[3] - marks[2],
        memory=memory,
        wrong=result.wrong,
    )


def _settled() -> float:
    """Forget the peak so far; MiB that are in use now."""
    gc.collect()
    with contextlib.suppress(OSError):
        # Linux, proc(5); without it the number is too high, never too low.
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory("VmRSS")


def _memory(what: str) -> float:
    """MiB of this process as the kernel counts them."""
    for line in pathlib.Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(what)


class Cached(t.NamedTuple):
    """Planning from a fact cache."""

    mebibytes: float
    parse: float
    plan: float

    @property
    def ratio(self) -> float:
        """Planning by parsing."""
        return self.plan / self.parse


def _cache_worker(folder: pathlib.Path, spec: Spec) -> Cached:
    clock = time.process_time
    marks = [clock()]
    facts, size = {}, 0
    for path in sorted(folder.iterdir()):
        text = path.read_text(encoding="utf-8")
        size += len(text)
        facts[path.name.removeprefix("s1_")] = json.loads(json.loads(text)["__payload__"])
    marks.append(clock())
    _evacuation.plan(facts, {"drain": _fleets.drain(spec)}, _fleets.TIME, _fleets.MAX_AGE)
    marks.append(clock())
    return Cached(size / 2**20, marks[1] - marks[0], marks[2] - marks[1])


def _in_a_process(*words: str) -> t.Any:
    done = subprocess.run([sys.executable, "-m", MODULE, *words], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def measure(spec: Spec, way: str) -> Row:
    """One fleet in one way."""
    found = _in_a_process("--worker", json.dumps(dataclasses.asdict(spec)), way)
    return Row(**{**found, "bound": tuple(found["bound"]) if found["bound"] else None})


def measure_cache(spec: Spec) -> Cached:
    """Planning from files next to reading them."""
    with tempfile.TemporaryDirectory(prefix="fact-cache-") as folder:
        _fleets.lay_cache(pathlib.Path(folder), spec)
        return Cached(*_in_a_process("--cache-worker", json.dumps(dataclasses.asdict(spec)), folder))


HEAD = ("devices", "VMs", "way", "emptied", "moved", "bound", "gap", "pair s", "fold s", "solve s", "MiB")


def line(row: Row) -> str:
    """A row for a person."""
    bound = "-" if row.bound is None else f"{row.bound[0]}/{row.bound[1]}"
    gap = "-" if row.gap is None else f"{row.gap[0]}/{row.gap[1]}"
    cells = (
        f"{row.devices}", f"{row.vms}", row.way, f"{row.emptied}/{row.drained}", f"{row.moved}", bound, gap,
        f"{row.pair:.2f}", f"{row.fold:.2f}", f"{row.solve:.2f}", f"{row.memory:.0f}",
    )  # fmt: skip
    wrong = f"  {len(row.wrong)} VIOLATIONS, first: {row.wrong[0]}" if row.wrong else ""
    return f"{row.fleet:<24}" + "".join(f"{cell:>11}" for cell in cells) + wrong


class Target(t.NamedTuple):
    """One promise, and what became of it."""

    text: str
    found: str
    hit: bool


def targets(rows: t.Sequence[Row], cached: Cached | None) -> list[Target]:
    """What can be said of each target by these rows."""
    found = [*_costs(rows), *_quality(rows)]
    wrong = sum(len(row.wrong) for row in rows)
    found.append(Target("no plan breaks a rule", f"{wrong} violations", not wrong))
    if cached is not None:
        text = f"{CACHED.hosts} hosts: planning from the fact cache <= 3 x parsing it"
        seconds = f"{cached.plan:.1f} s / {cached.parse:.1f} s for {cached.mebibytes:.0f} MiB"
        found.append(Target(text, f"{cached.ratio:.2f} ({seconds})", cached.ratio <= 3))
    return found


def _costs(rows: t.Sequence[Row]) -> t.Iterator[Target]:
    large = [row for row in rows if row.hosts >= LARGE]
    for way, text, seconds in (
        ("library", "pairing, classes and the library's search < 2 CPU s", 2.0),
        ("highs", "the same with bound < 30 CPU s", 30.0),
        ("plan", "the whole plan, explained, with bound < 30 CPU s", 30.0),
    ):
        own = [row.seconds for row in large if row.way == way]
        if own:
            yield Target(f"{LARGE} hosts: {text}", f"{min(own):.1f} to {max(own):.1f} s", max(own) < seconds)
    for way, text in (("highs", "with bound"), ("plan", "the whole plan")):
        memory = [row.memory for row in large if row.way == way]
        if memory:
            span = f"{min(memory):.0f} to {max(memory):.0f} MiB"
            yield Target(f"{LARGE} hosts: {text} < 256 MiB above the facts", span, max(memory) < 256)


def _quality(rows: t.Sequence[Row]) -> t.Iterator[Target]:
    proven = {row.fleet: row for row in rows if row.way == "highs"}
    if not proven:
        return
    gaps = [row.gap for row in proven.values()]
    closed = sum(gap == (0, 0) for gap in gaps)
    yield Target("gap 0 on at least 90 %", f"{closed} of {len(gaps)}", closed >= 0.9 * len(gaps))
    worst = [row for row in proven.values() if not _is_close(row)]
    names = ", ".join(f"{row.fleet}: {row.gap}" for row in worst) or "none is"
    yield Target("gap never above max(1, 0.1 %)", names, not worst)
    short = [
        max(0.0, *((most - have) / max(1, most) for have, most in zip((row.emptied, row.moved), limit, strict=True)))
        for row in rows
        if row.way == "library" and row.used >= 0.95 and row.fleet in proven and (limit := proven[row.fleet].bound)
    ]
    if short:
        text = "the library alone <= 5 % below the bound at 95 % use, in hosts and in VMs"
        yield Target(text, f"{max(short):.1%} at worst", max(short) <= 0.05)


def _is_close(row: Row) -> bool:
    if row.bound is None or row.gap is None:
        return False
    return all(gap <= max(1, limit / 1000) for gap, limit in zip(row.gap, row.bound, strict=True))


class LeftOut(t.NamedTuple):
    """A fleet that was not drained in one way, and why."""

    fleet: str
    way: str
    reason: str


def why_left_out(spec: Spec, way: str, milp_hosts: int) -> LeftOut | None:
    """None for what is measured."""
    if way != "milp" or spec.hosts <= milp_hosts:
        return None
    return LeftOut(spec.label, way, f"more than {milp_hosts} hosts")


def run(arguments: argparse.Namespace) -> None:
    """Measure and print everything."""
    print(f"{'hosts used drained mix strings':<24}" + "".join(f"{each:>11}" for each in HEAD))
    rows, left_out = [], []
    for spec in (spec for spec in SUITE if spec.hosts in arguments.sizes):
        for way in arguments.ways:
            missing = why_left_out(spec, way, arguments.milp_hosts)
            if missing:
                left_out.append(missing)
                print(f"{spec.label:<24}{way:>33}  left out: {missing.reason}", flush=True)
            else:
                rows.append(measure(spec, way))
                print(line(rows[-1]), flush=True)
    cached = measure_cache(CACHED) if CACHED.hosts in arguments.sizes else None
    judged = targets(rows, cached)
    for target in judged:
        print(f"{'hit   ' if target.hit else 'MISSED'}  {target.text}: {target.found}")
    if arguments.json:
        report = {
            "rows": [{**dataclasses.asdict(row), "gap": row.gap, "seconds": row.seconds} for row in rows],
            "left_out": [each._asdict() for each in left_out],
            "cache": None if cached is None else {**cached._asdict(), "ratio": cached.ratio},
            "targets": [target._asdict() for target in judged],
        }
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run the suite, or one process of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = sorted({spec.hosts for spec in SUITE})
    parser.add_argument("--sizes", nargs="+", type=int, choices=sizes, default=sizes, help="fleets of so many hosts")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="ways to drain them")
    parser.add_argument("--json", type=pathlib.Path, help="write everything to this file as well")
    parser.add_argument(
        "--milp-hosts", type=int, default=MILP_HOSTS, help="largest fleet for the host-level integer programme"
    )
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--cache-worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        spec, way = arguments.worker
        json.dump(dataclasses.asdict(_worker(Spec(**json.loads(spec)), way)), sys.stdout)
    elif arguments.cache_worker:
        spec, folder = arguments.cache_worker
        json.dump(_cache_worker(pathlib.Path(folder), Spec(**json.loads(spec))), sys.stdout)
    else:
        run(arguments)


if __name__ == "__main__":
    main()
