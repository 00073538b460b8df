# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``./dev test``, ``./dev lint`` and ``./dev sanity``: the gates, each a named step."""

from __future__ import annotations

import functools
import itertools
import os
import re
import sys
import time
import typing as t
from pathlib import Path

from ansible_collections.vfio.migration.tests.fleet.kernel import image
from ansible_collections.vfio.migration.tests.fleet.simulated import inplace, namespace

from . import ansible_test, packaging, setup
from .steps import Failed, LeftOut, Session, Step, run_steps, table

ROOT = setup.ROOT
CORES = ansible_test.CORES


def command(*words: str) -> t.Callable[[Session], None]:
    """A step that is one command."""

    def work(session: Session) -> None:
        session.run(*words)

    return work


def unit(session: Session) -> None:
    session.run("pytest", "-q", "-n", "auto", "tests/unit")


ROUNDS = 10


def explore(session: Session) -> None:
    """The property tests over and over, each time with other examples; a gate always has the same."""
    words = ("pytest", "-q", "-n", "auto", "-m", "hypothesis", "--hypothesis-profile", "explore", "tests/unit")
    for _round in range(ROUNDS):
        session.run(*words)


NO_BINDING = "no Python here has libvirt's binding: install python3-libvirt."
QUICK = "not thorough"
"""Without whole playbooks and the crash at every step, which take minutes."""


def simulated(session: Session, *marks: str) -> None:
    """Real modules on simulated sysfs, as far as the marks of the tests fit; what a machine may lack is a step each."""
    problem = inplace.missing()
    if problem:
        raise LeftOut(problem)
    session.run("pytest", "-q", "-m", " and ".join(marks), "tests/integration/simulated")


def in_place(session: Session, *marks: str) -> None:
    simulated(session, "not over_ssh", "not libvirt", *marks)


def over_ssh(session: Session, *marks: str) -> None:
    problem = namespace.missing()
    if problem:
        raise LeftOut(problem)
    simulated(session, "over_ssh", *marks)


def with_libvirt(session: Session) -> None:
    """All of these are thorough."""
    if setup.libvirt_python() is None:
        raise LeftOut(NO_BINDING)
    simulated(session, "libvirt")


def quick(work: t.Callable[..., None]) -> t.Callable[[Session], None]:
    return lambda session: work(session, QUICK)


def conformance(session: Session) -> None:
    """The simulator next to real kernels, one at a time."""
    problem = inplace.missing() or namespace.missing() or image.missing()
    if problem:
        raise LeftOut(problem)
    session.run("pytest", "-q", "tests/integration/conformance")


def libvirt(session: Session) -> None:
    """A real libvirt, its test driver, with the Python that has its binding."""
    if setup.libvirt_python() is None:
        raise LeftOut(NO_BINDING)
    session.run("pytest", "-q", "tests/integration/libvirt")


def browser(session: Session) -> None:
    """The HTML report in a real browser; its pictures are kept below .cache/artefacts."""
    problem = setup.missing_browser() or inplace.missing()
    if problem:
        raise Failed(problem)
    session.run("pytest", "-q", "tests/integration/browser")


def workflows(session: Session) -> None:
    """GitHub's own schema, as check-jsonschema ships it, and the habits of this project's YAML."""
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    session.run("yamllint", "--strict", *files)
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    session.remark = f"{len(files)} files, as GitHub wants them"


def docs_site(session: Session) -> None:
    session.run("python", "-m", "ansible_collections.vfio.migration.tests.tools.site")


def docs_commands(session: Session) -> None:
    """Every command and every setting that the documentation shows, on a simulated fleet."""
    problem = inplace.missing()
    if problem:
        raise LeftOut(problem)
    session.run("pytest", "-q", "tests/integration/docs")


def faults(session: Session) -> None:
    session.run("python", "-m", "ansible_collections.vfio.migration.tests.tools.faults")


def molecule(session: Session) -> None:
    """All scenarios on the namespace fleet, over SSH."""
    problem = inplace.missing() or namespace.missing()
    if problem:
        raise LeftOut(problem)
    run_molecule(session, "--all", "--exclude", "kernel")


def run_molecule(session: Session, *selection: str) -> None:
    folder = setup.CACHE / "molecule"
    folder.mkdir(parents=True, exist_ok=True)
    session.env["MOLECULE_EPHEMERAL_DIRECTORY"] = str(folder)
    session.env["NO_COLOR"] = "1"
    output = session.run("molecule", "test", *selection)
    executed = re.search(r"Molecule executed \d+ scenarios?.*", output)
    session.remark = executed[0] if executed else None


def real_kernel(session: Session) -> None:
    """Whole playbooks on guests with Debian's kernels, and faults that only a real driver has."""
    problem = image.missing()
    if problem:
        raise LeftOut(problem)
    session.run("pytest", "-q", "tests/integration/kernel")


def molecule_kernel(session: Session) -> None:
    """The scenario that has guests with a real kernel of its own."""
    problem = image.missing()
    if problem:
        raise LeftOut(problem)
    run_molecule(session, "--scenario-name", "kernel")


RUFF = Step("ruff", command("ruff", "check", "--output-format", "concise", "."))
LINT = (
    RUFF,
    Step("mypy strict", command("mypy")),
    Step("reuse", command("reuse", "lint")),
    Step("documentation", command("antsibull-docs", "lint-collection-docs", "--plugin-docs", ".")),
    Step("changelog", command("antsibull-changelog", "lint")),
    Step("workflows", workflows),
    Step("ansible-lint production", command("ansible-lint", "--offline", "--nocolor")),
)
UNIT = Step("unit, property and import tests", unit)
SANITY = {
    core: Step(f"ansible-test sanity, core {core.version}", functools.partial(ansible_test.sanity, core))
    for core in CORES
}
UNITS = {
    core: Step(f"ansible-test units, core {core.version}", functools.partial(ansible_test.units, core))
    for core in CORES
}
# What CI runs, part by part; the workflow has a job for each.
PARTS: dict[str, tuple[Step, ...]] = {
    "lint": LINT,
    "unit": (Step("faults", faults), UNIT),
    "docs": (Step("docs site", docs_site), Step("commands of the docs", docs_commands)),
    "simulated": (
        Step("simulated fleet", in_place),
        Step("simulated fleet, over SSH", over_ssh),
        Step("simulated fleet, with libvirt", with_libvirt),
        Step("libvirt", libvirt),
        Step("browser", browser),
    ),
    **{f"core-{core.version}": (SANITY[core], UNITS[core]) for core in CORES},
    "molecule": (Step("molecule", molecule),),
    "kernel": (
        Step("molecule, real kernel", molecule_kernel),
        Step("real kernel", real_kernel),
        Step("simulator and kernels alike", conformance),
    ),
    "release": packaging.RELEASE,
}
SUITES: dict[str, tuple[Step, ...]] = {
    "quick": (
        RUFF,
        UNIT,
        Step("simulated fleet, less the thorough tests", quick(in_place)),
        Step("simulated fleet, over SSH, less the thorough tests", quick(over_ssh)),
    ),
    "sanity": tuple(SANITY.values()),
    "explore": (Step("property tests with new examples", explore),),
    **PARTS,
    "all": tuple(itertools.chain.from_iterable(PARTS.values())),
}


def main(suite: str) -> int:
    if suite not in SUITES:
        print(f"./dev test: there is no suite '{suite}', only {', '.join(SUITES)}.", file=sys.stderr)
        return 2
    start = time.monotonic()
    tested = ", ".join(map(ansible_test.dotted, setup.pythons()))
    print(f"{len(SUITES[suite])} steps; Pythons at hand: {tested}", flush=True)
    results = run_steps(SUITES[suite], Path(setup.CACHE / "logs" / suite), ROOT, strict=bool(os.environ.get("CI")))
    print(f"\nTook {time.monotonic() - start:.0f} s.")
    print("\n".join(table(results)))
    return int(any(result.status == "failed" for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
