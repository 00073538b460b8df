# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sign that a process is at work on an instance, seen by every later run until that process is truly at its end.

A write to ``create`` or ``remove`` may stay in the kernel for as long as the driver likes, long after the module that
wanted it was killed. So the process that writes has a lock meanwhile: fcntl(2) keeps it until the process is gone, and
a killed process is gone only after the kernel has let go of it. Nobody has the lock: nothing will come any more.

This file is private to the collection.
"""

from __future__ import annotations

import fcntl
import functools
import os
import struct
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._guard import Handler, Op, Value

FILE = "busy"
OWNER = "lock"
"""File beside it, which names the process that has the ledger."""
_PRIME = (1 << 61) - 1
_FLOCK = "hhqqi"
"""struct flock: type, whence, start, length, pid."""


class Claim:
    """The lock of one instance: one byte, somewhere in the file that all of them share."""

    def __init__(self, path: str, uuid: str) -> None:
        self._path = path
        self._start = int(uuid.replace("-", ""), 16) % _PRIME

    def wrap(self, op: Op) -> Op:
        """The same operation, done by a process that has the lock."""
        return op._replace(handler="claimed", args=(self._path, self._start, os.getpid(), op.handler, op.args))

    def holder(self) -> t.Optional[int]:
        """The process that is at work on it, 0 if it is in a container that we do not see into; null: there is none."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, self._start, 1, 0)
            answer = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        finally:
            os.close(fd)
        return None if answer[0] == fcntl.F_UNLCK else int(answer[4])


class Claims:
    """The locks of all instances of a host, in the folder of the ledger."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, FILE)

    def of(self, uuid: str) -> Claim:
        return Claim(self._path, uuid)


def handlers(known: t.Mapping[str, Handler]) -> t.Dict[str, Handler]:
    """The known ones, and the one that does what any of them does under a lock."""
    return {**known, "claimed": functools.partial(_claimed, known)}


def _claimed(
    known: t.Mapping[str, Handler], path: str, start: int, sender: int, handler: str, args: t.Tuple[t.Any, ...]
) -> Value:
    fd = _lock(path, start)
    try:
        # A run that comes after a killed one writes its name to the file of the owner, and looks for locks after that.
        # So it sees this one, or the question below has yet to be put, and its answer is no. The parent alone does not
        # tell: a process that ends lets go of the ledger a moment before its children are told.
        if os.getppid() != sender or _owner(os.path.dirname(path)) != b"%d" % sender:
            raise RuntimeError("whoever asked for this is gone")
        return known[handler](*args)
    finally:
        os.close(fd)


def _owner(folder: str) -> bytes:
    try:
        with open(os.path.join(folder, OWNER), "rb") as file:
            return file.read().strip()
    except OSError:
        return b""


def _lock(path: str, start: int) -> int:
    # An errno would be taken for the driver's.
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.lockf(fd, fcntl.LOCK_EX, 1, start)
    except OSError as exc:
        raise RuntimeError("%s cannot be locked: %s" % (path, exc.strerror)) from None
    return fd
