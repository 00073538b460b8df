# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerError, LedgerFile, dump, parse
from ansible_collections.vfio.migration.plugins.module_utils._model import LedgerEntry

LOCKER = """
import sys
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerFile
with LedgerFile(sys.argv[1]) as ledger:
    print("locked", flush=True)
    sys.stdin.read()
"""

WRITER = """
import sys
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerFile
for number in range(20):
    with LedgerFile(sys.argv[1], 30.0) as ledger:
        uuid = "%s-0000-4000-8000-%012d" % (sys.argv[2], number)
        ledger.put({
            "uuid": uuid, "parent": "p", "type": "t", "plan": "p", "workload": "w", "state": "created",
            "persist": False, "reused": False, "boot_id": None, "time": "2026-11-22T19:04:14Z",
            "wished": uuid, "attributes": [],
        })
"""


def uuid(name: str) -> str:
    """A UUID for a name."""
    return "%s-0000-4000-8000-%012d" % (name * 8, 0)


def entry(name: str, **changes: t.Any) -> LedgerEntry:
    made = {
        "uuid": uuid(name),
        "parent": "0000:3b:00.0",
        "type": "nv-1",
        "plan": "p1",
        "workload": 'web "1" \u00fc',
        "state": "creating",
        "persist": False,
        "reused": False,
        "wished": uuid(name),
        "attributes": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}],
        "boot_id": None,
        "time": "2026-11-22T19:04:14Z",
    }
    return t.cast(LedgerEntry, dict(made, **changes))


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        env=environment,
    )


def test_what_is_put_is_read_again(tmp_path: t.Any) -> None:
    folder = str(tmp_path / "ledger")
    with LedgerFile(folder) as ledger:
        assert ledger.entries == []
        ledger.put(entry("b"), entry("a"))
        ledger.put(entry("b", state="created"))
    found = LedgerFile(folder).read()
    assert found.entries == [entry("a"), entry("b", state="created")]
    with LedgerFile(folder) as ledger:
        ledger.drop(uuid("a"), "never there")
        assert ledger.get(uuid("a")) is None
    assert LedgerFile(folder).read().entries == [entry("b", state="created")]
    assert sorted(os.listdir(folder)) == ["ledger.json", "lock"]
    assert [os.stat(os.path.join(folder, name)).st_mode & 0o777 for name in ("ledger.json", "lock")] == [0o600] * 2


def test_reading_makes_nothing(tmp_path: t.Any) -> None:
    assert LedgerFile(str(tmp_path / "ledger")).read().entries == []
    assert os.listdir(str(tmp_path)) == []


def test_nothing_new_is_not_written(tmp_path: t.Any) -> None:
    with LedgerFile(str(tmp_path)) as ledger:
        ledger.put(entry("a"))
        before = os.stat(str(tmp_path / "ledger.json")).st_ino
        ledger.put(entry("a"))
        ledger.drop("b")
        assert os.stat(str(tmp_path / "ledger.json")).st_ino == before


def test_an_entry_is_a_line() -> None:
    text = dump([entry("a"), entry("b")])
    assert [line[:11] for line in text.splitlines()] == ['{"schema_ve', '{"uuid": "a', '{"uuid": "b', "]}"]
    assert parse(text.encode(), "f") == [entry("a"), entry("b")]


DAMAGED = [
    (b"", "Expecting value"),
    (dump([entry("a")]).encode()[:-20], "Unterminated"),
    (b"[]", "it is of version None, not 1"),
    (b'{"schema_version": 1}', "it has no list of entries"),
    (b'{"entries": []}', "it is of version None, not 1"),
    (b'{"schema_version": 1, "entries": [5]}', "an entry is 5"),
    (b'{"schema_version": 1, "entries": [{"uuid": "a"}]}', "an entry is {'uuid': 'a'}"),
    (b'{"schema_version": 2, "entries": []}', "it is of version 2, not 1"),
    (b'{"schema_version": 1, "entries": [{"uuid": "a", "reused": true}]}', "an entry has the keys reused, uuid"),
    (b"\xff", "utf-8"),
    (dump([entry("a", uuid=5)]).encode(), "has 5 as its uuid"),
    (dump([entry("a", uuid="../../../x")]).encode(), "as its uuid"),
    (dump([entry("a", uuid=uuid("a") + "\n")]).encode(), "as its uuid"),
    (dump([entry("a", parent="../x")]).encode(), "as its parent"),
    (dump([entry("a", type="..")]).encode(), "as its type"),
    (dump([entry("a", workload=None)]).encode(), "has None as its workload"),
    (dump([entry("a", state="foo")]).encode(), "has 'foo' as its state"),
    (dump([entry("a", persist="yes")]).encode(), "has 'yes' as its persist"),
    (dump([entry("a", reused=1)]).encode(), "has 1 as its reused"),
    (dump([entry("a", boot_id=1)]).encode(), "has 1 as its boot_id"),
    (dump([entry("a", time="x")]).encode(), "has 'x' as its time"),
    (dump([entry("a", wished="x")]).encode(), "has 'x' as its wished"),
    (dump([entry("a", attributes="x")]).encode(), "has 'x' as its attributes"),
    (dump([entry("a", attributes=[{"name": "a"}])]).encode(), "as its attributes"),
    (dump([entry("a", attributes=[{"name": "../a", "value": "1"}])]).encode(), "as its attributes"),
    (dump([entry("a", attributes=[{"name": "a", "value": 1}])]).encode(), "as its attributes"),
]


@pytest.mark.parametrize(("reused", "attributes"), [(False, None), (True, [])])
def test_a_ledger_of_the_first_days_is_read_and_not_lost(tmp_path: t.Any, reused: bool, attributes: t.Any) -> None:
    """It says neither what was asked for nor what was written to it."""
    old = {key: value for key, value in entry("a", reused=reused).items() if key not in ("wished", "attributes")}
    text = dump([t.cast(LedgerEntry, old)])
    assert "wished" not in text
    (tmp_path / "ledger.json").write_text(text)
    with LedgerFile(str(tmp_path)) as ledger:
        assert ledger.entries == [entry("a", reused=reused, attributes=attributes)]
        ledger.put(entry("b"))
    assert parse((tmp_path / "ledger.json").read_bytes(), "f")[0]["attributes"] == attributes


def test_what_was_taken_is_found_by_what_was_asked_for(tmp_path: t.Any) -> None:
    with LedgerFile(str(tmp_path)) as ledger:
        taken = entry("b", reused=True, wished=uuid("c"))
        ledger.put(entry("a"), taken)
        assert (ledger.taken_for(uuid("c")), ledger.taken_for(uuid("a"))) == (taken, None)


@pytest.mark.fault("C9")
def test_what_is_renamed_is_on_disk_before_and_its_folder_after(
    tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may otherwise leave an empty file under the ledger's name."""
    steps: t.List[str] = []
    sync, rename = os.fsync, os.replace

    def fsync(fd: int) -> None:
        path = os.readlink("/proc/self/fd/%d" % fd)
        steps.append("%s: %d bytes" % (os.path.basename(path), os.path.getsize(path)) if os.path.isfile(path) else path)
        sync(fd)

    def replace(source: str, target: str) -> None:
        steps.append("rename")
        rename(source, target)

    with LedgerFile(str(tmp_path)) as ledger:
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)
        ledger.put(entry("a"))
    size = len(dump([entry("a")]).encode())
    assert steps == ["ledger.json.new: %d bytes" % size, "rename", str(tmp_path)]


@pytest.mark.parametrize(("data", "cause"), DAMAGED)
def test_damaged_ledger_is_refused_and_never_overwritten(tmp_path: t.Any, data: bytes, cause: str) -> None:
    path = tmp_path / "ledger.json"
    path.write_bytes(data)
    with pytest.raises(LedgerError, match=cause) as error, LedgerFile(str(tmp_path)):
        pass
    assert str(path) in str(error.value)
    assert path.read_bytes() == data
    path.write_bytes(dump([]).encode())
    with LedgerFile(str(tmp_path)):
        pass


def test_folder_that_cannot_be_made_is_named(tmp_path: t.Any) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LedgerError, match=r"ledger in .*/file/x cannot be opened: Not a directory"), LedgerFile(
        str(tmp_path / "file" / "x")
    ):
        pass


def test_disk_that_is_full_is_named_and_changes_nothing(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_source: str, _target: str) -> None:
        raise OSError(28, "No space left on device")

    with LedgerFile(str(tmp_path)) as ledger:
        ledger.put(entry("a"))
        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(LedgerError, match="No space left on device"):
            ledger.put(entry("b"))
        assert ledger.entries == [entry("a")]
    assert LedgerFile(str(tmp_path)).read().entries == [entry("a")]


LOCKING = [
    (os, "pwrite", "No space left on device"),
    (fcntl, "flock", "No locks available"),
]
"""What a full disk, and a folder on NFS without a lock daemon, refuse."""


@pytest.mark.parametrize(("module", "name", "said"), LOCKING)
def test_folder_that_cannot_be_locked_is_named(
    tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch, module: t.Any, name: str, said: str
) -> None:
    def refused(*_arguments: t.Any) -> None:
        raise OSError(28, said)

    monkeypatch.setattr(module, name, refused)
    with pytest.raises(LedgerError, match="ledger in .* cannot be opened: " + said), LedgerFile(str(tmp_path)):
        pass


@pytest.mark.fault("C9")
def test_second_controller_is_told_who_is_at_work_and_gets_in_after_it(tmp_path: t.Any) -> None:
    other = python(LOCKER, str(tmp_path))
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(LedgerError, match="in use by process %d; another controller" % other.pid), LedgerFile(
            str(tmp_path), 0.2
        ):
            pass
        assert LedgerFile(str(tmp_path)).read().entries == [], "check mode needs no lock"
        other.kill()
        with LedgerFile(str(tmp_path), 10.0) as ledger:
            ledger.put(entry("a"))
    finally:
        other.kill()
        other.communicate()


@pytest.mark.fault("C9")
def test_two_writers_at_once_lose_nothing(tmp_path: t.Any) -> None:
    writers = [python(WRITER, str(tmp_path), name) for name in ("a" * 8, "b" * 8)]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(LedgerFile(str(tmp_path)).read().entries) == 40
    assert json.loads((tmp_path / "ledger.json").read_text())["schema_version"] == 1
