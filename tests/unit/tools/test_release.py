# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tarball says nothing of when and where it was built, and the gates of a release see what is wrong with one."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vfio.migration.tests.tools import packaging, release

CONTENT = {"README.md": b"read me\n", "plugins": None, "plugins/a.py": b"a\n", "plugins/empty.py": b""}


def tarball(path: Path, names: t.Sequence[str], when: int) -> Path:
    """As ansible-galaxy builds it, with files in the order of ``names``, at a time."""
    listed = [{"name": ".", "ftype": "dir"}, *({"name": name} for name in names)]
    files = json.dumps({"files": listed, "format": 1}, indent=True).encode()
    manifest = json.dumps({"file_manifest_file": {"chksum_sha256": hashlib.sha256(files).hexdigest()}}).encode()
    contents = {"MANIFEST.json": manifest, "FILES.json": files, **{name: CONTENT[name] for name in names}}
    with tarfile.open(path, "w:gz") as archive:
        for number, (name, content) in enumerate(contents.items()):
            entry = tarfile.TarInfo(name)
            entry.mtime = when + number
            entry.mode = 0o755 if content is None else 0o644
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.size = len(content or b"")
            archive.addfile(entry, io.BytesIO(content or b""))
    return path


@given(st.permutations(sorted(CONTENT)), st.integers(0, 2**31))
def test_neither_time_nor_order_of_files_is_left(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], when: int
) -> None:
    folder = tmp_path_factory.mktemp("tarballs")
    one, other = tarball(folder / "one.tar.gz", sorted(CONTENT), 5), tarball(folder / "two.tar.gz", names, when)
    for each in (one, other):
        release.normalise(each, 1234567890)
    assert one.read_bytes() == other.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["one.tar.gz", "two.tar.gz"]


def test_content_and_its_sums_stay_true(tmp_path: Path) -> None:
    made = tarball(tmp_path / "c.tar.gz", sorted(CONTENT, reverse=True), 7)
    release.normalise(made, 1234567890)
    with tarfile.open(made) as archive:
        entries = archive.getmembers()
        contents = {entry.name: release._content(archive, entry) for entry in entries}
    assert {name: contents[name] for name in CONTENT} == {name: content or b"" for name, content in CONTENT.items()}
    assert {entry.mtime for entry in entries} == {1234567890}
    assert [entry.name for entry in entries] == ["MANIFEST.json", "FILES.json", *sorted(CONTENT)]
    assert {entry.name: entry.mode for entry in entries if entry.name in CONTENT} == {
        name: 0o755 if content is None else 0o644 for name, content in CONTENT.items()
    }
    manifest, files = (json.loads(contents[name]) for name in ("MANIFEST.json", "FILES.json"))
    assert manifest["file_manifest_file"]["chksum_sha256"] == hashlib.sha256(contents["FILES.json"]).hexdigest()
    assert [file["name"] for file in files["files"]] == [".", *sorted(CONTENT)]
    assert gzip.decompress(made.read_bytes())


def test_epoch_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "17")
    assert release.epoch() == 17
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    monkeypatch.setattr(release, "_git", lambda *_words: "18")
    assert release.epoch() == 18


def test_what_the_importer_says_is_heard() -> None:
    said = ["WARNING: ERROR    Failed to find it.", "ERROR: The import failed", "[WARNING]: no pyudev"]
    quiet = ["Loading role warning_lights", "Importer processing completed successfully"]
    assert packaging.complaints("\n".join([*said, *quiet])) == said


CONTENTS = [
    ("module", "facts", "facts", True),
    ("filter", "pairs", "pairs", True),
    ("callback", "bar", "bar", True),
    ("role", "do", "do", False),
    ("playbook", "all.yml", "all.yml", False),
]
UNSEEN: list[t.Any] = [
    (CONTENTS, []),
    (CONTENTS[1:], ["module facts"]),
    ([("module", "facts", "facts", False), *CONTENTS[1:]], ["module facts"]),
    (CONTENTS[:3], ["playbook all", "role do"]),
]


@pytest.mark.parametrize(("contents", "missing"), UNSEEN)
def test_content_that_galaxy_would_not_show(tmp_path: Path, contents: t.Any, missing: list[str]) -> None:
    for name in ("plugins/modules/facts.py", "plugins/filter/pairs.py", "plugins/callback/bar.py", "playbooks/all.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "roles" / "do").mkdir(parents=True)
    result = {
        "contents": [{"content_type": kind, "name": name} for kind, name, *_other in contents],
        "docs_blob": {
            "contents": [
                {"content_type": kind, "content_name": name, "doc_strings": {"doc": 1} if documented else {}}
                for kind, _listed, name, documented in contents
            ]
        },
    }
    assert packaging.unseen(result, tmp_path) == missing
