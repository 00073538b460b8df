# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates of a release: what the tools of the ecosystem make of the tarball that Galaxy gets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import typing as t
from pathlib import Path

import yaml

from ansible_collections.vfio.migration.tests.fleet.simulated import inplace

from . import ansible_test, release, setup
from .steps import Failed, LeftOut, Session, Step

if t.TYPE_CHECKING:
    from ansible_collections.vfio.migration.tests.fleet.simulated.fleet import Fleet

ROOT = setup.ROOT
EXAMPLE = ROOT / "docs" / "examples" / "execution-environment.yml"
SMALL_PLAN = ROOT / "tests" / "plans" / "small.json"
# What a playbook cannot do without. One move of the small plan is refused by a driver.
OPTIONS: dict[str, tuple[str, ...]] = {
    "plan_evacuation": ('{"evacuation_drain": ["hv2"]}',),
    "prepare_targets": (f"targets_plan={SMALL_PLAN}", "targets_revalidate=true", "targets_fail=false"),
    "release_targets": (f"release_plan={SMALL_PLAN}",),
}


@contextlib.contextmanager
def small_fleet() -> t.Iterator[Fleet]:
    problem = inplace.missing()
    if problem:
        raise LeftOut(problem)
    from ansible_collections.vfio.migration.tests.fleet.simulated import fleet  # finds no FUSE elsewhere

    with fleet.simulated_fleet("small") as running:
        yield running


def fresh(name: str) -> Path:
    """An empty folder below .cache."""
    folder = setup.CACHE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def tools(name: str) -> Path:
    """A virtual environment of its own: these tools pin what the others want newer."""
    return setup.venv(f"venv/{name}", getattr(sys, "_base_executable", sys.executable), f"{name}.txt")


def elsewhere(venv: Path | None = None) -> dict[str, str]:
    """The environment without the checkout's import tree: only what is installed may answer. With a home of its own,
    because these tools leave things there."""
    env = ansible_test.environment(venv) if venv else dict(os.environ)
    env.pop("PYTHONPATH", None)
    env.pop("ANSIBLE_COLLECTIONS_PATH", None)
    return {**env, "HOME": str(fresh("home"))}


# ------------------------------------------------------------------------------------------------------- the tarball


def build(session: Session) -> Path:
    return release.build(lambda words, cwd: session.run(*words, cwd=cwd), ansible_test.copy_of_checkout(release.COPY))


def install(session: Session, tarball: Path) -> Path:
    """Install it where nothing else is; return that folder."""
    folder = fresh("installed")
    words = ("ansible-galaxy", "collection", "install", "--offline", "--no-deps", "--collections-path", folder)
    session.run(*words, tarball, cwd=folder, env=elsewhere())
    return folder


def reproducible(session: Session) -> None:
    """Built twice, from places where files have other times and other permissions for others."""
    first = build(session)
    copy = ansible_test.copy_of_checkout(setup.CACHE / "release-again")
    for file in copy.rglob("*"):
        if not file.is_symlink():
            file.chmod(file.stat().st_mode & 0o700)
            os.utime(file, (0, 0))
    second = release.build(lambda words, cwd: session.run(*words, cwd=cwd), copy, setup.CACHE / "build-again")
    sums = [release.sha256(tarball) for tarball in (first, second)]
    if sums[0] != sums[1]:
        raise Failed(f"two builds of the same files differ: {' and '.join(sums)}.")
    session.remark = f"{first.name} twice, sha256 {sums[0]}"


def installs(session: Session) -> None:
    """The tarball installs elsewhere, is what its manifest says, and its playbooks are found by their full name."""
    tarball = build(session)
    folder = install(session, tarball)
    verify = ("ansible-galaxy", "collection", "verify", "--offline", "--collections-path", folder, "vfio.migration")
    session.run(*verify, cwd=folder, env=elsewhere())
    names = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
    env = {**elsewhere(), "ANSIBLE_COLLECTIONS_PATH": str(folder)}
    with small_fleet() as running:
        for name in names:
            options = [word for option in OPTIONS.get(name, ()) for word in ("-e", option)]
            playbook = ("ansible-playbook", "-i", running.inventory, f"vfio.migration.{name}")
            session.run(*playbook, *options, cwd=folder, env=env)
    session.remark = f"{tarball.name} installed; playbooks run by full name: {', '.join(names)}"


# ------------------------------------------------------------------------------------------------------------ Galaxy

DOCUMENTED = ("callback", "filter", "module")


def complaints(output: str) -> list[str]:
    """What galaxy-importer has to say, which it also does where it ends well."""
    return [line for line in output.splitlines() if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]


def unseen(result: t.Any, root: Path) -> list[str]:
    """Content that a Galaxy page would not show: what the importer did not find, or found no documentation in."""
    found = {(one["content_type"], one["name"].removesuffix(".yml")): one for one in result["contents"]}
    documented = {
        (one["content_type"], one["content_name"]) for one in result["docs_blob"]["contents"] if one["doc_strings"]
    }
    wanted = [(kind, file.stem) for kind in DOCUMENTED for file in folder_of(root, kind).glob("*.py")]
    missing = [one for one in wanted if one not in found or one not in documented]
    others = [("role", path.name) for path in (root / "roles").iterdir()]
    others += [("playbook", path.stem) for path in (root / "playbooks").glob("*.yml")]
    missing += [one for one in others if one not in found]
    return [f"{kind} {name}" for kind, name in sorted(missing)]


def folder_of(root: Path, kind: str) -> Path:
    return root / "plugins" / ("modules" if kind == "module" else kind)


def importer(session: Session) -> None:
    """Galaxy takes the tarball, shows all that is in it, and finds nothing to say."""
    tarball, venv, folder = build(session), tools("importer"), fresh("importer")
    output = session.run("python", "-m", "galaxy_importer.main", tarball, cwd=folder, env=elsewhere(venv))
    said = complaints(output)
    if said or "Importer processing completed successfully" not in output:
        raise Failed(f"galaxy-importer has something to say: {'; '.join(said) or 'it did not end.'}")
    result = json.loads((folder / "importer_result.json").read_text())
    missing = unseen(result, ROOT)
    if missing:
        raise Failed(f"Galaxy would not show the documentation of {', '.join(missing)}.")
    session.remark = f"{len(result['contents'])} pieces of content, no warning"


# -------------------------------------------------------------------------------------------- execution environments


def wanted(file: Path) -> list[str]:
    """The lines of a list of requirements that say something."""
    return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]


def execution_environment(session: Session) -> None:
    """ansible-builder makes a build context of the example, and what that context runs in the container finds what the
    collection needs. The example as it is, but for the collection, which comes from the tarball."""
    tarball, env, folder = build(session), elsewhere(tools("execution")), fresh("execution-environment")
    example = yaml.safe_load(EXAMPLE.read_text())
    (collection,) = example["dependencies"]["galaxy"]["collections"]
    collection.update(name=f"collections/{tarball.name}", type="file")
    example["additional_build_files"] = [{"src": str(tarball), "dest": "collections"}]
    (folder / "execution-environment.yml").write_text(yaml.safe_dump(example))
    session.run("ansible-builder", "create", cwd=folder, env=env)
    context, installed = folder / "context" / "_build", folder / "collections"
    install = ("ansible-galaxy", "collection", "install", "--offline", "-r", "requirements.yml")
    session.run(*install, "--collections-path", installed, cwd=context, env=env)
    found = [folder / "requirements.txt", folder / "bindep.txt"]
    wishes = (f"--write-pip={found[0]}", f"--write-bindep={found[1]}")
    session.run("ansible-builder", "introspect", *wishes, installed, cwd=folder, env=env)
    inside = ("python", context / "scripts" / "introspect.py", "introspect", installed)
    session.run(*inside, *(wish + ".inside" for wish in wishes), cwd=folder, env=env)
    for file in found:
        missing = [
            f"{line} ({where.name})"
            for line in wanted(ROOT / file.name)
            for where in (file, file.with_name(f"{file.name}.inside"))
            if line not in where.read_text()
        ]
        if missing:
            raise Failed(f"ansible-builder would not install {', '.join(missing)}.")
    total = sum(len(wanted(ROOT / file.name)) for file in found)
    session.remark = f"ansible-builder create and introspect: {total} requirements reach the container"


def runners(session: Session) -> None:
    """ansible-navigator and ansible-runner run the playbook readiness, and find what ansible-playbook finds."""
    tarball, venv, folder = build(session), tools("execution"), fresh("runners")
    env = {**elsewhere(venv), "ANSIBLE_COLLECTIONS_PATH": str(install(session, tarball))}
    playbook = "vfio.migration.readiness"
    reports = [folder / f"{name}.json" for name in ("plain", "navigator", "runner")]
    plain, navigator, runner = (f"report_dest={report}" for report in reports)
    with small_fleet() as running:
        hosts = running.inventory
        session.run("ansible-playbook", playbook, "-i", hosts, "-e", plain, cwd=folder, env=env)
        own = ("--ee", "false", "-m", "stdout", "--pae", "false", "--lf", folder / "navigator.log")
        session.run("ansible-navigator", "run", playbook, *own, "-i", hosts, "-e", navigator, cwd=folder, env=env)
        data = folder / "data"
        (data / "inventory").mkdir(parents=True)
        shutil.copy(hosts, data / "inventory" / "hosts.yml")
        session.run("ansible-runner", "run", data, "-p", playbook, "--cmdline", f"-e {runner}", cwd=folder, env=env)
    states = [devices(json.loads(report.read_text())) for report in reports]
    if not states[0] or states[1:] != states[:1] * 2:
        raise Failed(f"they do not find what ansible-playbook finds; see the reports in {folder.relative_to(ROOT)}.")
    session.remark = f"ansible-navigator and ansible-runner find the same {len(states[0])} devices as ansible-playbook"


def devices(report: t.Any) -> list[tuple[str, str, str]]:
    return [(one["host"], one["device"], one["state"]) for one in report["devices"]]


# --------------------------------------------------------------------------------------------------------- changelog


def changelog(session: Session) -> None:
    """Before a release, antsibull-changelog can make it of the fragments; after it, the changelog is what it would
    write again, and no fragment was left out."""
    copy = ansible_test.copy_of_checkout(release.COPY)
    version = yaml.safe_load((copy / "galaxy.yml").read_text())["version"]
    releases = yaml.safe_load((copy / "changelogs" / "changelog.yaml").read_text())["releases"]
    fragments = sorted((copy / "changelogs" / "fragments").glob("*.yml"))
    if version in releases:
        if fragments:
            raise Failed(f"{version} was released without {fragments[0].name}: raise the version in galaxy.yml.")
        session.run("antsibull-changelog", "generate", cwd=copy)
        if (copy / "CHANGELOG.rst").read_bytes() != (ROOT / "CHANGELOG.rst").read_bytes():
            raise Failed("CHANGELOG.rst is not what antsibull-changelog writes: run antsibull-changelog generate.")
        session.remark = f"CHANGELOG.rst is that of {version}"
        return
    session.run("antsibull-changelog", "release", cwd=copy)
    made = yaml.safe_load((copy / "changelogs" / "changelog.yaml").read_text())["releases"]
    if set(made) != {*releases, version} or f"v{version}\n" not in (copy / "CHANGELOG.rst").read_text():
        raise Failed(f"antsibull-changelog made no release {version}.")
    if re.search(r"\b[A-Z]\(", (copy / "CHANGELOG.rst").read_text()):
        raise Failed("a fragment has the markup of DOCUMENTATION, such as C(), which a changelog shows as it is.")
    left = {fragment.name for fragment in fragments} - set(made[version]["fragments"])
    if left or not fragments:
        raise Failed(f"release {version} would be without {', '.join(sorted(left)) or 'any change'}.")
    session.remark = f"{version} can be released with {len(fragments)} fragments"


RELEASE = (
    Step("build, twice the same bytes", reproducible),
    Step("install and run elsewhere", installs),
    Step("galaxy-importer", importer),
    Step("execution environment", execution_environment),
    Step("ansible-navigator and ansible-runner", runners),
    Step("changelog of the next release", changelog),
)
