# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import signal
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils._claims import OWNER, Claims, handlers
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Op, WorkerError
from ansible_collections.vfio.migration.plugins.module_utils._ledger import LedgerFile

ONE, TWO = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"


def _slow(path: str) -> str:
    with open(path, "w", encoding="ascii") as file:
        file.write("begun")
    time.sleep(1)
    return "done"


def _until(condition: t.Callable[[], t.Any]) -> t.Any:
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.fixture
def claims(tmp_path: t.Any) -> Claims:
    return Claims(str(tmp_path))


def _in_child(work: t.Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def _run(folder: t.Any, path: t.Any) -> t.Any:
    """What a run does that has the ledger."""
    with LedgerFile(str(folder)):
        return _do(Claims(str(folder)).of(ONE).wrap(Op("g", "slow", (str(path),))))


def _do(op: Op) -> t.Any:
    with Guard(handlers({"slow": _slow}), 5.0, 20.0) as guard:
        return guard.run([op])[0]


def test_only_who_is_at_work_has_it_and_only_that_one(claims: Claims, tmp_path: t.Any) -> None:
    assert claims.of(ONE).holder() is None, "and asking makes no file"
    assert os.listdir(str(tmp_path)) == []
    pid = _in_child(lambda: _run(tmp_path, tmp_path / "begun"))
    assert _until((tmp_path / "begun").exists)
    assert (claims.of(ONE).holder() or 0) > 0
    assert claims.of(TWO).holder() is None
    os.waitpid(pid, 0)
    assert claims.of(ONE).holder() is None


def test_what_it_gives_is_what_the_operation_gives(tmp_path: t.Any) -> None:
    assert _run(tmp_path, tmp_path / "begun").value == "done"
    assert _run(tmp_path, tmp_path / "no" / "begun").errno_name == "ENOENT"


@pytest.mark.fault("C9")
def test_it_survives_whoever_sent_it(claims: Claims, tmp_path: t.Any) -> None:
    pid = _in_child(lambda: _run(tmp_path, tmp_path / "begun"))
    assert _until((tmp_path / "begun").exists)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert claims.of(ONE).holder() is not None
    assert _until(lambda: claims.of(ONE).holder() is None)


@pytest.mark.fault("C9")
def test_what_was_sent_by_somebody_who_is_gone_is_not_begun(claims: Claims, tmp_path: t.Any) -> None:
    """A later run has seen no lock by then, and does not count on it."""
    op = claims.of(ONE).wrap(Op("g", "slow", (str(tmp_path / "begun"),)))
    path, start, sender, handler, args = op.args
    assert sender == os.getpid()
    (tmp_path / OWNER).write_text("%d\n" % (sender + 1))
    with pytest.raises(WorkerError, match="is gone"):
        _do(op._replace(args=(path, start, sender + 1, handler, args)))
    assert not (tmp_path / "begun").exists()


@pytest.mark.fault("C9")
def test_what_was_sent_before_another_run_took_the_ledger_is_not_begun(claims: Claims, tmp_path: t.Any) -> None:
    """A process that ends lets go of its files before it is gone, and is the parent for that long."""
    with LedgerFile(str(tmp_path)):
        op = claims.of(ONE).wrap(Op("g", "slow", (str(tmp_path / "begun"),)))
    os.waitpid(_in_child(LedgerFile(str(tmp_path)).__enter__), 0)
    with pytest.raises(WorkerError, match="is gone"):
        _do(op)
    assert not (tmp_path / "begun").exists()


def test_folder_without_room_is_not_taken_for_the_drivers_answer(tmp_path: t.Any) -> None:
    claim = Claims(str(tmp_path / "gone")).of(ONE)
    with pytest.raises(WorkerError, match="busy cannot be locked: No such file"):
        _do(claim.wrap(Op("g", "slow", (str(tmp_path / "begun"),))))
    assert not (tmp_path / "begun").exists()
