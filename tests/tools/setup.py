# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set up what ./dev needs: system packages, the import tree and virtual environments below .cache.

Runs on a bare Python 3.11 (standard library only) and does nothing twice.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
TREE = CACHE / "tree"
REQUIREMENTS = ROOT / "tests" / "requirements"

Version = tuple[int, int]

# Command -> Debian package.
FLEET_COMMANDS = {
    "fusermount3": "fuse3",
    "ip": "iproute2",
    "mdevctl": "mdevctl",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "unshare": "util-linux",
}
BROWSER_COMMANDS = {"chromium": "chromium", "chromedriver": "chromium-driver"}
KERNEL_COMMANDS = {
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "zstd": "zstd",
}
LINT_COMMANDS = {"git": "git", "shellcheck": "shellcheck", "visudo": "sudo"}
DEV_COMMANDS = {**FLEET_COMMANDS, **BROWSER_COMMANDS, **KERNEL_COMMANDS, **LINT_COMMANDS}
COMMANDS = {"fleet": FLEET_COMMANDS, "dev": DEV_COMMANDS}


class SetupError(Exception):
    """One sentence that says what could not be set up and why."""


def say(text: str) -> None:
    print(text, flush=True)


def run(command: t.Sequence[t.Union[str, Path]], what: str) -> None:
    """Run a command quietly; its output matters only when it fails."""
    start = time.monotonic()
    say(f"setup: {what} ...")
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace")[-3000:])
        raise SetupError(f"{what} failed (exit code {done.returncode}; its last lines are above).")
    say(f"setup: {what}: {time.monotonic() - start:.0f} s")


def import_tree() -> None:
    """Show the checkout as ansible_collections/vfio/migration, which is how everything imports it."""
    link = TREE / "ansible_collections" / "vfio" / "migration"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to("../../../..")


def has(command: str) -> bool:
    """Also true of commands that only root has on PATH."""
    return bool(shutil.which(command, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])))


def missing_browser() -> str | None:
    """One sentence that says what a test in a real browser lacks here."""
    missing = [package for command, package in BROWSER_COMMANDS.items() if not shutil.which(command)]
    return f"no browser to look at the report with: install {' and '.join(missing)}." if missing else None


def browser() -> tuple[Path, Path]:
    """The browser and what drives it."""
    chromium, driver = (Path(str(shutil.which(command))) for command in BROWSER_COMMANDS)
    return chromium, driver


def system_packages(needs: str) -> None:
    """Install missing commands where that is possible, else say in one sentence what is missing and go on."""
    missing = {command: package for command, package in COMMANDS[needs].items() if not has(command)}
    if not importlib.util.find_spec("ensurepip"):
        missing["python3 -m venv"] = "python3-venv"
    if needs == "dev" and not libvirt_python():
        missing["libvirt's Python binding"] = "python3-libvirt"
    if not missing:
        return
    packages = sorted(set(missing.values()))
    if os.geteuid() == 0 and shutil.which("apt-get"):
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        run(["apt-get", "update", "-q"], "apt-get update")
        install = ["apt-get", "install", "-qy", "--no-install-recommends"]
        run([*install, *packages], f"apt-get install {' '.join(packages)}")
        return
    names = ", ".join(sorted(missing))
    say(f"setup: without {names} what needs them is left out; an administrator installs {' '.join(packages)}.")


@functools.cache
def libvirt_python() -> Path | None:
    """An interpreter that has libvirt's binding; a distribution builds it for its own only."""
    candidates = (Path(sys.executable), Path("/usr/bin/python3"))
    probe = "import sys, libvirt; sys.exit(sys.version_info < (3, 8))"
    return next((path for path in candidates if path.is_file() and _succeeds(path, probe)), None)


def _succeeds(python: Path, probe: str) -> bool:
    return subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0


@functools.cache
def pythons() -> dict[Version, Path]:
    """Interpreters that really run, by version: on PATH and those of pyenv, but no shims, which may point nowhere."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    folders = [folder for folder in folders if folder.name != "shims" and CACHE not in folder.parents]
    folders += sorted(pyenv.glob("versions/*/bin"), reverse=True) + [Path("/usr/local/bin"), Path("/usr/bin")]
    found: dict[Version, Path] = {}
    for minor in range(8, 15):
        candidates = (folder / f"python3.{minor}" for folder in folders)
        working = next((path for path in candidates if path.is_file() and _runs(path, minor)), None)
        if working:
            found[(3, minor)] = working
    return found


def _runs(python: Path, minor: int) -> bool:
    probe = f"import sys, ensurepip, venv; sys.exit(sys.version_info[:2] != (3, {minor}))"
    return _succeeds(python, probe)


def venv(name: str, python: t.Union[str, Path], *requirements: str) -> Path:
    """A virtual environment below .cache holding the requirements; made again when either changes."""
    folder = CACHE / name
    stamp = folder / "stamp"
    wanted = hashlib.sha256(repr((str(python), *map(_expand, requirements))).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    if not (folder / "bin" / "python").exists() or _home(folder) != str(Path(python).parent):
        shutil.rmtree(folder, ignore_errors=True)
        run([python, "-m", "venv", folder], f"virtual environment {folder.relative_to(ROOT)}")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, *_as_arguments(requirements)], f"pip install into {folder.relative_to(ROOT)}: {' '.join(requirements)}")
    stamp.write_text(wanted)
    return folder


def _home(folder: Path) -> str:
    lines = (folder / "pyvenv.cfg").read_text().splitlines()
    return next((line.partition("=")[2].strip() for line in lines if line.startswith("home")), "")


def _as_arguments(requirements: t.Sequence[str]) -> t.Iterator[str]:
    for requirement in requirements:
        yield from ("-r", str(REQUIREMENTS / requirement)) if requirement.endswith(".txt") else (requirement,)


def _expand(requirement: str) -> str:
    """The text that decides whether an environment is up to date."""
    if not requirement.endswith(".txt"):
        return requirement
    text = (REQUIREMENTS / requirement).read_text()
    included = [line.split()[1] for line in text.splitlines() if line.startswith("-r ")]
    return text + "".join(map(_expand, included))


def main(needs: str) -> None:
    import_tree()
    system_packages(needs)
    venv(f"venv/{needs}", getattr(sys, "_base_executable", sys.executable), f"{needs}.txt")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except SetupError as error:
        sys.exit(f"./dev: {error}")
