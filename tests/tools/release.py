# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``./dev build``: the tarball that Galaxy gets. The same commit gives the same bytes, wherever and whenever."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

from . import ansible_test, setup

BUILT = setup.CACHE / "build"
COPY = setup.CACHE / "release" / "ansible_collections" / "vfio" / "migration"
Run = t.Callable[[list[str], Path], object]
"""Runs a command in a folder; raises when it fails."""


def epoch() -> int:
    """The time that all files get: SOURCE_DATE_EPOCH, else that of the commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or _git("log", "-1", "--format=%ct"))


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=setup.ROOT, check=True, capture_output=True, text=True).stdout.strip()


def build(run: Run, copy: Path, folder: Path = BUILT) -> Path:
    """Build the collection that ``copy`` holds; return its tarball, the only one in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.tar.gz"):
        old.unlink()
    run(["ansible-galaxy", "collection", "build", "--output-path", str(folder)], copy)
    (tarball,) = folder.glob("vfio-migration-*.tar.gz")
    normalise(tarball, epoch())
    return tarball


def normalise(tarball: Path, when: int) -> None:
    """Take out of a collection's tarball what differs from build to build: times, and the order in which the file
    system happened to list files."""
    with tarfile.open(tarball) as archive:
        entries = {entry.name: (entry, _content(archive, entry)) for entry in archive.getmembers()}
    files = json.loads(entries["FILES.json"][1])
    files["files"].sort(key=lambda file: file["name"])
    manifest = json.loads(entries["MANIFEST.json"][1])
    listed = _dump(files)
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(listed).hexdigest()
    first = {"MANIFEST.json": _dump(manifest), "FILES.json": listed}
    new = tarball.with_suffix(".new")
    with (
        new.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, when) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name in [*first, *sorted(set(entries) - set(first))]:
            entry, content = entries[name]
            content = first.get(name, content)
            entry.size, entry.mtime, entry.pax_headers = len(content), when, {}
            archive.addfile(entry, io.BytesIO(content))
    new.replace(tarball)


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(entry) if entry.isreg() else None
    return file.read() if file else b""


def _dump(content: t.Any) -> bytes:
    """As ansible-galaxy writes it."""
    return json.dumps(content, indent=1).encode()


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def main() -> int:
    def run(words: list[str], cwd: Path) -> None:
        subprocess.run(words, cwd=cwd, check=True, stdout=subprocess.DEVNULL)

    try:
        tarball = build(run, ansible_test.copy_of_checkout(COPY))
        changed = len(_git("status", "--porcelain").splitlines())
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"./dev build: {error}; it needs git, and a checkout with a commit.", file=sys.stderr)
        return 1
    print(f"{sha256(tarball)}  {tarball.relative_to(setup.ROOT)}")
    if changed:
        print(f"Not of a commit: {changed} files of this checkout are changed or new.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
