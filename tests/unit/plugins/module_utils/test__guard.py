# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os
import signal
import time
import typing as t

import pytest

from ansible_collections.vfio.migration.plugins.module_utils import _guard as guard_module
from ansible_collections.vfio.migration.plugins.module_utils._guard import HUNG, LATE, Guard, Op, Outcome, WorkerError


def _fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


def _hang() -> None:
    # As deaf as a process may be without a driver's help: only SIGKILL ends it.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(60)


def _broken() -> None:
    raise KeyError("a defect")


def _open_files() -> t.List[str]:
    return [os.readlink("/proc/self/fd/" + name) for name in os.listdir("/proc/self/fd") if int(name) < 3]


HANDLERS: t.Dict[str, t.Callable[..., t.Any]] = {
    "echo": lambda value: value,
    "fail": _fail,
    "hang": _hang,
    "broken": _broken,
    "open_files": _open_files,
    "pid": os.getpid,
    "session": lambda: os.getsid(0),
    "die": lambda: os._exit(1),
    "sleep": time.sleep,
}


def _guard(timeout: float = 5.0, deadline: float = 20.0) -> Guard:
    return Guard(HANDLERS, timeout, deadline)


def test_outcomes_come_in_the_order_of_the_operations() -> None:
    values = [b"\0\xff", "text", 12, None, ["a", b"b"], "x" * 300000]
    with _guard() as guard:
        outcomes = guard.run([Op("g", "echo", (value,)) for value in values])
    assert outcomes == [Outcome("done", value) for value in values]


def test_what_fills_the_pipe_is_taken_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ["x" * length for length in (0, 1, 15, 16, 17, 100000)] * 3
    monkeypatch.setattr(guard_module, "_PIPE", 16)  # as on machines whose pipes hold more than is read at once
    with _guard(timeout=2.0) as guard:
        assert [outcome.value for outcome in guard.run([Op("g", "echo", (value,)) for value in values])] == values


def test_many_results_wake_the_caller_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: t.List[int] = []
    take = guard_module._Child._take

    def counted(child: t.Any) -> bool:
        looks.append(1)
        return take(child)

    monkeypatch.setattr(guard_module._Child, "_take", counted)
    with _guard() as guard:
        assert len(guard.run([Op("g", "echo", (number,)) for number in range(500)])) == 500
    assert len(looks) == 1


@pytest.mark.fault("R8")
def test_each_operation_has_its_own_time() -> None:
    """Nobody is woken for a result in the middle, and all the same the operation after it is timed from there."""
    begin = time.monotonic()
    with _guard(timeout=0.5) as guard:
        outcomes = guard.run([Op("slow", "sleep", (0.3,))] * 3 + [Op("bad", "hang", ()), Op("slow", "echo", (1,))])
    assert outcomes == [Outcome("done")] * 3 + [HUNG, Outcome("done", 1)]
    assert 3 * 0.3 + 0.5 <= time.monotonic() - begin < 3 * 0.3 + 2 * 0.5


def test_errno_is_an_answer() -> None:
    with _guard() as guard:
        outcomes = guard.run([Op("g", "fail", (errno.ENODEV,)), Op("g", "echo", (1,))])
    assert outcomes == [Outcome("errno", None, errno.ENODEV), Outcome("done", 1)]
    assert [outcome.errno_name for outcome in outcomes] == ["ENODEV", None]


def test_unnamed_errno_is_a_number() -> None:
    assert Outcome("errno", None, 4000).errno_name == "4000"


@pytest.mark.fault("R8")
def test_hang_costs_one_timeout_and_only_its_group() -> None:
    begin = time.monotonic()
    with _guard(timeout=0.5) as guard:
        outcomes = guard.run(
            [
                Op("good", "echo", (1,)),
                Op("bad", "hang", ()),
                Op("bad", "echo", (2,)),
                Op("good", "echo", (3,)),
                Op("bad", "hang", ()),
            ]
        )
        assert guard.hung_groups == {"bad"}
        assert guard.run([Op("bad", "echo", (4,))]) == [HUNG], "a later sweep leaves the group alone, too"
    assert outcomes == [Outcome("done", 1), HUNG, HUNG, Outcome("done", 3), HUNG]
    assert time.monotonic() - begin < 2 * 0.5, "the second hang of the group must not be waited for"


@pytest.mark.fault("R8", "R22")
def test_nothing_is_waited_for_beyond_the_deadline() -> None:
    begin = time.monotonic()
    with _guard(timeout=30.0, deadline=0.4) as guard:
        outcomes = guard.run([Op("a", "hang", ()), Op("b", "echo", (1,))])
        assert guard.run([Op("c", "echo", (1,))]) == [LATE]
        assert guard.time_left == 0
    assert outcomes == [LATE, LATE]
    assert time.monotonic() - begin < 5


def test_one_child_serves_many_sweeps() -> None:
    with _guard() as guard:
        pids = {guard.run([Op("g", "pid", ())])[0].value for _sweep in range(3)}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_child_keeps_nothing_of_the_caller_open() -> None:
    with _guard() as guard:
        assert guard.run([Op("g", "open_files", ())])[0].value == [os.devnull] * 3


def test_child_does_not_hear_the_terminal_of_the_caller() -> None:
    with _guard() as guard:
        pid, session = (outcome.value for outcome in guard.run([Op("g", "pid", ()), Op("g", "session", ())]))
    assert pid == session


@pytest.mark.parametrize("handler", ["broken", "die"])
def test_defect_of_the_child_is_no_fault_of_the_host(handler: str) -> None:
    with _guard() as guard, pytest.raises(WorkerError):
        guard.run([Op("g", handler, ())])


def test_no_child_is_left_when_all_went_well() -> None:
    with _guard() as guard:
        pid = guard.run([Op("g", "pid", ())])[0].value
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_host_without_room_for_a_process_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    before = len(os.listdir("/proc/self/fd"))
    with Guard(HANDLERS, 1.0, 5.0) as guard, pytest.raises(WorkerError, match="could not be started: Resource"):
        guard.run([Op("g", "echo", ("x",))])
    assert len(os.listdir("/proc/self/fd")) == before
