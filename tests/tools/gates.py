# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``./dev test``, ``./dev lint`` and ``./dev sanity``: the gates, each a named step."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import time
import typing as t
from pathlib import Path

from ansible_collections.vfio.migration.tests.fleet.kernel import image
from ansible_collections.vfio.migration.tests.fleet.simulated import fleet, inplace, namespace

from . import ansible_test, setup
from .steps import Failed, LeftOut, Session, Step, run_steps, table

ROOT = setup.ROOT


def command(*words: str) -> t.Callable[[Session], None]:
    """A step that is one command."""

    def work(session: Session) -> None:
        session.run(*words)

    return work


def unit(session: Session) -> None:
    session.run("pytest", "-q", "-n", "auto", "tests/unit")


@contextlib.contextmanager
def small_fleet() -> t.Iterator[fleet.Fleet]:
    problem = inplace.missing()
    if problem:
        raise LeftOut(problem)
    with fleet.simulated_fleet("small") as running:
        yield running


def simulated(session: Session, *selection: str) -> None:
    """Real modules on simulated sysfs; what needs root and SSH says so itself."""
    problem = inplace.missing()
    if problem:
        raise LeftOut(problem)
    session.run("pytest", "-q", *selection, "tests/integration/simulated")


def simulated_quick(session: Session) -> None:
    """Without whole playbooks and the crash at every step, which take minutes."""
    simulated(session, "-m", "not thorough")


def conformance(session: Session) -> None:
    """The simulator next to real kernels, one at a time."""
    problem = inplace.missing() or namespace.missing() or image.missing()
    if problem:
        raise LeftOut(problem)
    session.run("pytest", "-q", "tests/integration/conformance")


def libvirt(session: Session) -> None:
    """A real libvirt, its test driver, with the Python that has its binding."""
    if setup.libvirt_python() is None:
        raise LeftOut("no Python here has libvirt's binding: install python3-libvirt.")
    session.run("pytest", "-q", "tests/integration/libvirt")


def browser(session: Session) -> None:
    """The HTML report in a real browser; its pictures are kept below .cache/artefacts."""
    problem = setup.missing_browser() or inplace.missing()
    if problem:
        raise Failed(problem)
    session.run("pytest", "-q", "tests/integration/browser")


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


SMALL_PLAN = ROOT / "tests" / "plans" / "small.json"
# What a playbook cannot do without. One move of the small plan is refused by a driver.
OPTIONS: dict[str, tuple[str, ...]] = {
    "plan_evacuation": ('{"evacuation_drain": ["hv2"]}',),
    "prepare_targets": (f"targets_plan={SMALL_PLAN}", "targets_revalidate=true", "targets_fail=false"),
    "release_targets": (f"release_plan={SMALL_PLAN}",),
}


def build_and_install(session: Session) -> None:
    """The tarball installs elsewhere, and its playbooks are found there by their full name."""
    built, installed = setup.CACHE / "build", setup.CACHE / "installed"
    for tarball in built.glob("*.tar.gz"):
        tarball.unlink()
    copy = ansible_test.copy_of_checkout()
    session.run("ansible-galaxy", "collection", "build", "--output-path", built, cwd=copy)
    tarball = next(built.glob("vfio-migration-*.tar.gz"))
    install = ("ansible-galaxy", "collection", "install", "--offline", "--force", "--no-deps")
    session.run(*install, "--collections-path", installed, tarball)
    names = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
    # Elsewhere, and without the checkout's import tree: only what was installed may answer.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["ANSIBLE_COLLECTIONS_PATH"] = str(installed)
    with small_fleet() as running:
        for name in names:
            options = [word for option in OPTIONS.get(name, ()) for word in ("-e", option)]
            playbook = ("ansible-playbook", "-i", running.inventory, f"vfio.migration.{name}")
            session.run(*playbook, *options, cwd=built, env=env)
    session.remark = f"{tarball.name} installed; playbooks run by full name: {', '.join(names)}"


RUFF = Step("ruff", command("ruff", "check", "--output-format", "concise", "."))
LINT = (
    RUFF,
    Step("mypy strict", command("mypy")),
    Step("reuse", command("reuse", "lint")),
    Step("documentation", command("antsibull-docs", "lint-collection-docs", "--plugin-docs", ".")),
    Step("changelog", command("antsibull-changelog", "lint")),
    Step("ansible-lint production", command("ansible-lint", "--offline", "--nocolor")),
)
UNIT = Step("unit, property and import tests", unit)
SIMULATED = Step("simulated fleet", simulated)
SANITY = tuple(
    Step(f"ansible-test sanity, core {core.version}", functools.partial(ansible_test.sanity, core))
    for core in ansible_test.CORES
)
UNITS = tuple(
    Step(f"ansible-test units, core {core.version}", functools.partial(ansible_test.units, core))
    for core in ansible_test.CORES
)
SUITES: dict[str, tuple[Step, ...]] = {
    "quick": (RUFF, UNIT, Step("simulated fleet, less the thorough tests", simulated_quick)),
    "lint": LINT,
    "sanity": SANITY,
    "all": (
        *LINT,
        Step("faults", faults),
        UNIT,
        SIMULATED,
        Step("libvirt", libvirt),
        Step("browser", browser),
        *SANITY,
        *UNITS,
        Step("molecule", molecule),
        Step("molecule, real kernel", molecule_kernel),
        Step("real kernel", real_kernel),
        Step("simulator and kernels alike", conformance),
        Step("build and install", build_and_install),
    ),
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
