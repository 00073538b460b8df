# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run operations that may never return, and return all the same.

A read of a sysfs attribute runs code of a driver. When that code waits for
dead hardware the reader sits in state D and not even SIGKILL ends it. So the
operations run in a forked child, one after the other, and the child streams
every result back. When a result does not come in time the child is left
behind, and a fresh one takes the rest of the work.

Waking a process costs more than most operations do. So the child puts every
result into a pipe at once, where it is safe from whatever comes next, but
rings a bell only when it is done with all of them, or when the pipe is full.
Every result carries the time at which it was there: by that the caller knows,
whenever it looks, since when the operation after it runs.

This file is private to the collection.
"""

from __future__ import annotations

import collections
import errno as errno_module
import marshal
import os
import select
import signal
import struct
import time
import typing as t

Value = t.Any
"""What an operation gives: anything ``marshal`` can carry (text, bytes, numbers, lists, tuples, None)."""

Handler = t.Callable[..., Value]

_HEADER = struct.Struct("=BId")
"""Kind, length of what follows, and the monotonic clock at which it was written."""
_REQUEST, _DONE, _ERRNO, _BROKEN = range(4)
_PIPE = 1 << 16
_DIED = "the process that reads sysfs ended unexpectedly; was it killed for lack of memory?"

_KERNEL_NAMES = {95: "EOPNOTSUPP", 517: "EPROBE_DEFER", 524: "ENOTSUPP"}
"""Python calls 95 ENOTSUP, and does not know the numbers that the kernel should keep to itself but drivers leak
(include/linux/errno.h)."""


class Op(t.NamedTuple):
    """One operation: ``handler`` by name, its arguments, and the group that must not be touched after a hang.

    ``patience``: seconds that this one may take where that is more than the guard allows for any.
    """

    group: str
    handler: str
    args: t.Tuple[t.Any, ...]
    patience: float = 0.0


class Outcome(t.NamedTuple):
    """What became of an operation.

    state: ``done`` (see value), ``errno`` (see errno), ``hung`` (it, or an earlier one of its group, did not come
    back in time), ``deadline`` (not started: the time for this host is over).
    """

    state: str
    value: Value = None
    errno: int = 0

    @property
    def errno_name(self) -> t.Optional[str]:
        """``ENODEV``, or null when there was no errno."""
        if self.state != "errno":
            return None
        return _KERNEL_NAMES.get(self.errno) or errno_module.errorcode.get(self.errno, str(self.errno))


HUNG = Outcome("hung")
LATE = Outcome("deadline")


class WorkerError(Exception):
    """The child broke for a reason that is no errno, or could not be had at all."""


class Guard:
    """Runs operations under two limits.

    ``timeout``: seconds until one operation counts as hung. ``deadline``: seconds, counted from the construction,
    after which nothing is started or waited for any more. ``handlers`` run in the child; they raise ``OSError`` for
    the errno that the kernel gave.
    """

    def __init__(self, handlers: t.Mapping[str, Handler], timeout: float, deadline: float) -> None:
        self._handlers = handlers
        self._timeout = timeout
        self._end = time.monotonic() + deadline
        self._child: t.Optional[_Child] = None
        self._abandoned: t.List[int] = []
        self.hung_groups: t.Set[str] = set()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def time_left(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self._end - time.monotonic())

    def pause(self, seconds: float) -> None:
        """Wait before a retry, but not beyond the deadline."""
        time.sleep(min(seconds, self.time_left))

    def run(self, ops: t.Sequence[Op]) -> t.List[Outcome]:
        """Outcomes in the order of ``ops``; takes as many children as there are hung groups, plus one."""
        outcomes: t.List[Outcome] = [LATE] * len(ops)
        pending = list(range(len(ops)))
        while pending:
            for index in pending:
                if ops[index].group in self.hung_groups:
                    outcomes[index] = HUNG
            pending = [index for index in pending if ops[index].group not in self.hung_groups]
            if not pending or self.time_left <= 0:
                break
            pending = self._run_batch(ops, pending, outcomes)
        return outcomes

    def _run_batch(self, ops: t.Sequence[Op], pending: t.List[int], outcomes: t.List[Outcome]) -> t.List[int]:
        """Give ``pending`` to one child; the indexes it left undone, because it hung or because time is over."""
        child = self._child or _Child(self._handlers)
        self._child = child
        child.send([(ops[index].handler, ops[index].args) for index in pending])
        began = time.monotonic()
        for position, index in enumerate(pending):
            answer = child.receive(min(began + max(self._timeout, ops[index].patience), self._end))
            if answer is not None:
                outcomes[index], began = answer
                continue
            self._abandon()
            # A driver that is merely slower than what was left of the deadline is not called hung.
            if self.time_left > 0:
                outcomes[index] = HUNG
                self.hung_groups.add(ops[index].group)
                return pending[position + 1 :]
            return []
        return []

    def _abandon(self) -> None:
        if self._child is not None:
            self._child.abandon()
            self._abandoned.append(self._child.pid)
            self._child = None

    def close(self) -> None:
        """Let the child go; never waits for one that hangs."""
        if self._child is not None:
            self._child.finish()
            self._child = None
        for pid in self._abandoned:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
        self._abandoned = []


class _Child:
    """The forked process and the pipes to it."""

    def __init__(self, handlers: t.Mapping[str, Handler]) -> None:
        fds: t.List[int] = []
        try:
            for _pipe in range(3):
                fds += os.pipe()
            self.pid = os.fork()
        except OSError as exc:
            for fd in fds:
                os.close(fd)
            raise WorkerError(
                "the process that reads sysfs could not be started: %s; look what takes up the host" % exc.strerror
            ) from None
        task_read, task_write, result_read, result_write, bell_read, bell_write = fds
        if self.pid == 0:
            _serve(handlers, task_read, _Teller(result_write, bell_write))
        for fd in (task_read, result_write, bell_write):
            os.close(fd)
        os.set_blocking(result_read, False)
        self._tasks = task_write
        self._results = result_read
        self._bell = bell_read
        self._poll = select.poll()
        self._poll.register(bell_read, select.POLLIN)
        self._frames: t.Deque[t.Tuple[int, Value, float]] = collections.deque()
        self._rest = b""
        self._unanswered = 0

    def send(self, calls: t.List[t.Tuple[str, t.Tuple[t.Any, ...]]]) -> None:
        self._unanswered += len(calls)
        try:
            _write(self._tasks, _frame(_REQUEST, calls))
        except BrokenPipeError:
            raise WorkerError(_DIED) from None

    def receive(self, end: float) -> t.Optional[t.Tuple[Outcome, float]]:
        """The next outcome and when it was there; null when it is not there at the time ``end``."""
        while not self._frames:
            rung = self._poll.poll(max(0.0, end - time.monotonic()) * 1000)
            if rung and rung[0][1] & select.POLLIN:
                os.read(self._bell, _PIPE)
            alive = self._take()
            if not self._frames and not alive:
                raise WorkerError(_DIED)
            if not self._frames and not rung:
                return None
        self._unanswered -= 1
        kind, value, when = self._frames.popleft()
        return _outcome(kind, value), when

    def _take(self) -> bool:
        """Take what lies in the pipe; whether more can come."""
        parts, part = [self._rest], None
        try:
            # What does not fill its place was the last: a pipe may hold more than that, where pages are large.
            while part is None or len(part) == _PIPE:
                part = os.read(self._results, _PIPE)
                parts.append(part)
        except BlockingIOError:
            pass
        data, start = b"".join(parts), 0
        while len(data) >= start + _HEADER.size:
            kind, length, when = _HEADER.unpack_from(data, start)
            body = start + _HEADER.size
            if len(data) < body + length:
                break
            start = body + length
            self._frames.append((kind, marshal.loads(data[body:start]), when))
        self._rest = data[start:]
        return part != b""

    def abandon(self) -> None:
        """Leave it behind, and what it started: kill them if that helps, wait for nothing."""
        os.kill(self.pid, signal.SIGKILL)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            # It did not come as far as to have a group of its own.
            pass
        self._close()

    def finish(self) -> None:
        """When it is idle, closing its pipe ends it at once."""
        if self._unanswered:
            self.abandon()
            return
        self._close()
        os.waitpid(self.pid, 0)

    def _close(self) -> None:
        for fd in (self._tasks, self._results, self._bell):
            os.close(fd)


class _Teller:
    """The child's end of the pipes that lead back."""

    def __init__(self, results: int, bell: int) -> None:
        os.set_blocking(results, False)
        self.fds = (results, bell)
        self._room = select.poll()
        self._room.register(results, select.POLLOUT)

    def tell(self, kind: int, value: Value) -> None:
        """Put it where the caller finds it, without waking the caller."""
        results, _bell = self.fds
        view = memoryview(_frame(kind, value))
        while view:
            try:
                view = view[os.write(results, view) :]
            except BlockingIOError:
                self.ring()
                self._room.poll()

    def ring(self) -> None:
        os.write(self.fds[1], b"!")


def _outcome(kind: int, value: Value) -> Outcome:
    if kind == _DONE:
        return Outcome("done", value)
    if kind == _ERRNO:
        return Outcome("errno", None, value)
    raise WorkerError(str(value))


def _frame(kind: int, value: Value) -> bytes:
    body = marshal.dumps(value)
    return _HEADER.pack(kind, len(body), time.monotonic()) + body


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _read_exactly(fd: int, count: int) -> bytes:
    parts: t.List[bytes] = []
    while count:
        part = os.read(fd, count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _serve(handlers: t.Mapping[str, Handler], tasks: int, teller: _Teller) -> t.NoReturn:
    """The child's life. It leaves no trace of the caller: an abandoned child must not keep a terminal, a pipe to
    the controller or a lock open, or the task would not end before the driver does."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        first = 3
        for fd in sorted((tasks, *teller.fds)):
            os.closerange(first, fd)
            first = fd + 1
        os.closerange(first, 4096)
        while True:
            _kind, length, _when = _HEADER.unpack(_read_exactly(tasks, _HEADER.size))
            for name, args in marshal.loads(_read_exactly(tasks, length)):
                try:
                    teller.tell(_DONE, handlers[name](*args))
                except OSError as exc:
                    teller.tell(_ERRNO, exc.errno or errno_module.EIO)
            teller.ring()
    except (EOFError, BrokenPipeError):
        pass
    except BaseException as exc:  # noqa: BLE001  # nothing may return into the caller's program from here
        try:
            teller.tell(_BROKEN, "%s: %s" % (type(exc).__name__, exc))
            teller.ring()
        except OSError:
            pass
    finally:
        os._exit(0)
