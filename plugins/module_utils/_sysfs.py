# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only code that opens sysfs.

Paths are relative to the sysfs root and have no leading slash. The functions
above the line run in the child process of a ``Guard``; ``Sysfs`` is the face
that everybody else uses. Sources: Documentation/filesystems/sysfs.rst,
fs/kernfs/file.c, fs/sysfs/file.c.

This file is private to the collection.
"""

from __future__ import annotations

import base64
import errno
import os
import posixpath
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._claims import Claim
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Handler, Op, Outcome
from ansible_collections.vfio.migration.plugins.module_utils._model import Attribute

TRANSIENT = frozenset(
    (errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ETIMEDOUT, errno.ENOMEM, errno.ENFILE, errno.EMFILE)
)
"""Answers that say nothing yet: ask again, then call it unknown. The last three are of a system that is short of memory
or files, before any driver is asked (fs/kernfs/file.c)."""

DENIED = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
"""Answers of the operating system, not of the driver."""

VANISHED = frozenset((errno.ENOENT, errno.ENODEV, errno.ENXIO))
"""What a node answers when it is gone; ENODEV is also a driver's "does not migrate"."""

MISSING = Outcome("errno", None, errno.ENOENT)
"""Outcome of asking for what is not there."""

_CORE = "host"
"""Group of what the kernel's core answers without any driver, and without which a host is lost."""
_CORE_PATIENCE = 10.0
"""Seconds: a machine that is short of memory or processors may take longer than a driver may."""

_RETRIES = 3
_RETRY_PAUSE = 0.05
_READ_BYTES = (1 << 16) + 1
_TRUNCATED = (4095, 65535)
_RAW_KEPT = 4096
_TEXT = frozenset(bytes(range(0x20, 0x7F)) + b"\t\n")


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # One read: a sysfs attribute never exceeds a page, and a second read could run the driver again.
        return os.read(fd, _READ_BYTES)
    finally:
        os.close(fd)


def _write(path: str, data: bytes) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        # One unbuffered write: the kernel cuts at a page, and sending the rest would be a new string to the driver.
        return os.write(fd, data)
    finally:
        os.close(fd)


def _list(path: str) -> t.List[str]:
    # Bytes that are no text cannot be reported. Escaped they name something that is not there, which can.
    return sorted(os.fsencode(name).decode("utf-8", "backslashreplace") for name in os.listdir(path))


def _link(path: str) -> str:
    return os.readlink(path)


def _stat(path: str) -> bool:
    os.stat(path)
    return True


HANDLERS: t.Dict[str, Handler] = {"read": _read, "write": _write, "list": _list, "link": _link, "stat": _stat}

Kind = t.Literal["read", "list", "link", "stat"]
Question = t.Tuple[Kind, str, str]
"""How to look, the group, and the path."""

# ----------------------------------------------------------------------------------------------------------------


class Sysfs:
    """Many nodes at once, each answer an ``Outcome`` (errors are answers too, nothing raises for the host's sake).

    ``root`` is an absolute path. Every call takes pairs of (group, path): after a hang the group is left alone.
    """

    def __init__(self, root: str, guard: Guard) -> None:
        self._root = root.rstrip("/")
        self.guard = guard

    def ask(self, questions: t.Sequence[Question]) -> t.List[Outcome]:
        """Any of what follows, together, in their order."""
        ops = [
            Op(group, kind, (self._root + "/" + path,), _CORE_PATIENCE if group == _CORE else 0.0)
            for kind, group, path in questions
        ]
        return _answers(questions, self._retry(ops, [op.handler == "read" for op in ops]))

    def sweeps(self, items: t.Sequence[t.Tuple[str, str]], *nodes: t.Tuple[Kind, str]) -> t.Iterator[t.List[Outcome]]:
        """The same nodes, (kind, name), of many directories: the first of all of them, then the second of all."""
        found = self.ask([(kind, group, path + "/" + name) for kind, name in nodes for group, path in items])
        return (found[number * len(items) : (number + 1) * len(items)] for number in range(len(nodes)))

    def list(self, items: t.Sequence[t.Tuple[str, str]]) -> t.List[Outcome]:
        """Sorted names of the entries of directories."""
        return self.ask([("list", group, path) for group, path in items])

    def exists(self, items: t.Sequence[t.Tuple[str, str]]) -> t.List[Outcome]:
        """Done when it is there, else the errno."""
        return self.ask([("stat", group, path) for group, path in items])

    def links(self, items: t.Sequence[t.Tuple[str, str]]) -> t.List[Outcome]:
        """Where symlinks point, as a path below the root. sysfs links name the real directory, so nothing is
        resolved twice and a loop cannot catch us; a link out of the root counts as ENOENT."""
        return self.ask([("link", group, path) for group, path in items])

    def read(self, items: t.Sequence[t.Tuple[str, str]]) -> t.List[Outcome]:
        """Bytes of attributes, each read once, transient errors retried."""
        return self.ask([("read", group, path) for group, path in items])

    def write(self, items: t.Sequence[t.Tuple[str, str, bytes]]) -> t.List[Outcome]:
        """Write each value with a single write(2); the count that the kernel returned."""
        ops = [Op(group, "write", (self._root + "/" + path, data)) for group, path, data in items]
        return self._retry(ops, [True] * len(ops))

    def write_once(
        self,
        group: str,
        path: str,
        data: bytes,
        claim: Claim,
        patience: float = 0.0,
        then: t.Sequence[Question] = (),
    ) -> t.List[Outcome]:
        """One write(2), whatever the answer: creating and removing must be looked into before they are tried again.
        What came of it, and what was asked right after it. ``claim``: of the instance, for as long as the write takes.
        ``patience``: seconds that it may take where that is more than for a read."""
        ops = [claim.wrap(Op(group, "write", (self._root + "/" + path, data), patience))]
        ops += [Op(group, kind, (self._root + "/" + path,)) for kind, group, path in then]
        written, *answers = self.guard.run(ops)
        return [written, *_answers(then, answers)]

    def _retry(self, ops: t.Sequence[Op], may: t.Sequence[bool]) -> t.List[Outcome]:
        """``may``: which of them are tried again where the answer says nothing yet."""
        outcomes = self.guard.run(ops)
        for _attempt in range(_RETRIES):
            again = [index for index, outcome in enumerate(outcomes) if outcome.errno in TRANSIENT and may[index]]
            if not again or not self.guard.time_left:
                break
            self.guard.pause(_RETRY_PAUSE)
            for index, outcome in zip(again, self.guard.run([ops[index] for index in again])):
                # A retry that comes too late must not hide what the driver said before.
                if outcome.state != "deadline":
                    outcomes[index] = outcome
        return outcomes


def _answers(questions: t.Sequence[Question], outcomes: t.Sequence[Outcome]) -> t.List[Outcome]:
    return [
        _below_root(path, outcome) if kind == "link" else outcome
        for (kind, _group, path), outcome in zip(questions, outcomes)
    ]


def _below_root(path: str, outcome: Outcome) -> Outcome:
    if outcome.state != "done":
        return outcome
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), outcome.value))
    if target.startswith(("/", "..")):
        return MISSING
    return Outcome("done", target)


def without_newline(raw: bytes) -> bytes:
    """Less exactly one trailing newline: the one that ``show`` functions add. Nothing else is ever stripped."""
    return raw[:-1] if raw.endswith(b"\n") else raw


def text(outcome: Outcome, limit: int = 4096) -> t.Optional[str]:
    """A description for people: bounded, undecodable bytes escaped; null when it could not be read."""
    if outcome.state != "done":
        return None
    return without_newline(outcome.value)[:limit].decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def is_probeable(raw: bytes) -> bool:
    """Only ASCII text may be carried as a version string ("should only contain ascii characters")."""
    return _TEXT.issuperset(raw)


def attribute(outcome: Outcome, page_size: int) -> Attribute:
    """A read of ``migration_version`` as its contract; ``page_size`` in bytes."""
    if outcome.state == "errno":
        return _unread(outcome)
    if outcome.state != "done":
        return _attribute("unknown", outcome.state)
    raw: bytes = outcome.value
    value = without_newline(raw)
    reason = None
    # A driver that fills its page is clipped to one byte less than the page (sysfs_emit, fs/sysfs/file.c).
    if not raw.endswith(b"\n") and (len(raw) in _TRUNCATED or len(raw) >= page_size - 1):
        reason = "truncated"
    elif not value:
        reason = "empty"
    elif not is_probeable(value):
        reason = "not_ascii"
    if reason is not None:
        return _attribute("invalid", reason, raw=base64.b64encode(raw[:_RAW_KEPT]).decode("ascii"))
    return _attribute("ok", value=value.decode("ascii"))


def unknown(reason: str) -> Attribute:
    """Nothing could be learned, for a reason other than the read itself."""
    return _attribute("unknown", reason)


def _unread(outcome: Outcome) -> Attribute:
    if outcome.errno == errno.ENOENT:
        return _attribute("unsupported", "absent", outcome.errno_name)
    if outcome.errno in TRANSIENT:
        return _attribute("unknown", "busy", outcome.errno_name)
    if outcome.errno in DENIED:
        return _attribute("unknown", "permission", outcome.errno_name)
    return _attribute("unsupported", "errno", outcome.errno_name)


def _attribute(
    status: t.Literal["ok", "unsupported", "unknown", "invalid"],
    reason: t.Optional[str] = None,
    errno_name: t.Optional[str] = None,
    value: t.Optional[str] = None,
    raw: t.Optional[str] = None,
) -> Attribute:
    return {"status": status, "value": value, "reason": reason, "errno": errno_name, "raw": raw}
