# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test without containers: the copy it wants to stand in, its Pythons, and a pip where it cannot fetch one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import typing as t
import urllib.request
from pathlib import Path

from . import setup
from .steps import Failed, LeftOut, Session

COPY = setup.CACHE / "copy" / "ansible_collections" / "vfio" / "migration"


class Core(t.NamedTuple):
    """One supported ansible-core, and the Pythons that CI must see it with."""

    version: str
    controller: setup.Version
    controllers: tuple[setup.Version, ...]
    hosts: tuple[setup.Version, ...]
    units: tuple[setup.Version, ...]
    """Pythons that CI runs unit tests with: each of those of hosts with one core, the lowest and that of the controller
    with the others."""


def minors(first: int, last: int) -> tuple[setup.Version, ...]:
    return tuple((3, minor) for minor in range(first, last + 1))


CORES = (
    Core("2.19", (3, 11), minors(11, 13), minors(8, 13), minors(8, 13)),
    Core("2.20", (3, 12), minors(12, 14), minors(9, 14), ((3, 9), (3, 12))),
    Core("2.21", (3, 13), minors(12, 14), minors(9, 14), ((3, 9), (3, 13))),
)


HOST_TESTS = ("tests/unit/plugins/module_utils/", "tests/unit/plugins/modules/")


def dotted(version: setup.Version) -> str:
    return ".".join(map(str, version))


def copy_of_checkout(copy: Path = COPY) -> Path:
    """What git knows of the checkout, under the path ansible-test insists on; a repository of its own, because
    ansible-test would ask the one around it, which ignores the place."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=setup.ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    shutil.rmtree(copy, ignore_errors=True)
    for name in filter(None, listed):
        source = setup.ROOT / name
        if source.is_symlink() or source.is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy / name, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    return copy


def controller(core: Core) -> Path:
    """A virtual environment with this core; leaves the step out where no Python fits."""
    found = setup.pythons()
    version = next((one for one in (core.controller, *core.controllers) if one in found), None)
    if version is None:
        wanted = " or ".join(map(dotted, core.controllers))
        raise LeftOut(f"ansible-core {core.version} needs Python {wanted}, which is not here.")
    if os.environ.get("CI") and version != core.controller:
        raise Failed(f"CI tests ansible-core {core.version} with Python {dotted(core.controller)}, which is not here.")
    return setup.venv(f"core/{core.version}", found[version], f"ansible-core~={core.version}.0")


def host_pythons(core: Core) -> tuple[setup.Version, ...]:
    """Those that this core is tested with on hosts: in CI all it has to be, elsewhere what is here of them, else the
    ends of what is here."""
    here = [version for version in core.hosts if version in setup.pythons()]
    missing = [dotted(version) for version in core.units if version not in here]
    if os.environ.get("CI") and missing:
        raise Failed(f"CI tests hosts with Python {' and '.join(missing)}, which is not here.")
    if not here:
        raise LeftOut(f"none of the Pythons that ansible-core {core.version} supports on hosts is here.")
    return tuple(version for version in core.units if version in here) or tuple(sorted({here[0], here[-1]}))


def environment(venv: Path) -> dict[str, str]:
    """The environment without the checkout's import tree and without pyenv's shims."""
    path = [str(venv / "bin"), *(str(python.parent) for python in setup.pythons().values())]
    path += [entry for entry in os.environ["PATH"].split(os.pathsep) if Path(entry).name != "shims"]
    dropped = {"PYTHONPATH", "ANSIBLE_COLLECTIONS_PATH"}
    return {name: value for name, value in os.environ.items() if name not in dropped} | {"PATH": os.pathsep.join(path)}


def provide_get_pip(venv: Path) -> None:
    """Put a stand-in where ansible-test caches its get-pip, if there is none and it cannot be fetched."""
    package = next(venv.glob("lib/python3.*/site-packages/ansible_test"))
    version = re.search(r"pip='([\d.]+)'", (package / "_internal" / "python_requirements.py").read_text())
    url = re.search(r"'(https://\S+/get-pip-%s\.py)'", (package / "_util/target/setup/requirements.py").read_text())
    if not version or not url:
        return  # a core that does it in another way: its own message will say what is missing
    cached = Path.home() / ".ansible" / "test" / "cache" / f"get_pip_{version[1].replace('.', '_')}.py"
    if cached.exists() or _reachable(url[1] % version[1]):
        return
    cached.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(setup.ROOT / "tests" / "tools" / "get_pip.py", cached)


def _reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10):
            return True
    except OSError:
        return False


def sanity(core: Core, session: Session) -> None:
    venv = controller(core)
    provide_get_pip(venv)
    command = ("ansible-test", "sanity", "--venv", "--color", "no")
    output = session.run(*command, cwd=copy_of_checkout(), env=environment(venv))
    host_pythons(core)  # says what CI lacks
    for version in sorted(set(core.hosts) & set(setup.pythons())):
        if f'Running sanity test "import" on Python {dotted(version)}' not in output:
            raise Failed(f"the import test did not run with Python {dotted(version)}.")
    tests = set(re.findall(r'^Running sanity test "([^"]+)"', output, re.MULTILINE))
    versions = re.findall(r'^Running sanity test "import" on Python (\S+)', output, re.MULTILINE)
    session.remark = f"{len(tests)} sanity tests without a finding, Python {', '.join(versions)}"


def units(core: Core, session: Session) -> None:
    """Unit tests of what hosts run, with each of the Pythons; with the controller's own Python all unit tests."""
    venv = controller(core)
    provide_get_pip(venv)
    copy = copy_of_checkout()
    for version in host_pythons(core):
        selection = () if version == core.controller else HOST_TESTS
        command = ("ansible-test", "units", "--venv", "--color", "no", "--python", dotted(version), *selection)
        output = session.run(*command, cwd=copy, env=environment(venv))
        if f"Unit test module_utils with Python {dotted(version)}" not in output:
            raise Failed(f"no unit test ran with Python {dotted(version)}.")
