# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection has on this host, in a file that survives being killed at any moment.

An entry is written before the step it announces, so that whatever exists because of us is named in the file. The file
is replaced as a whole (rename(2) is atomic), by one process at a time (flock(2) ends with its process, however it
ends).

This file is private to the collection.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._claims import OWNER
from ansible_collections.vfio.migration.plugins.module_utils._model import (
    SCHEMA_VERSION,
    DeviceAttribute,
    LedgerEntry,
    name_error,
)
from ansible_collections.vfio.migration.plugins.module_utils._order import attribute_error

FILE = "ledger.json"
_LOCK_PAUSE = 0.05
_KEYS = frozenset(LedgerEntry.__annotations__)
_NEWER = frozenset(("wished", "attributes"))
"""Keys that the first ledgers did not have."""
_STATES = ("creating", "created", "removing")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_TIME = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\dZ\Z", re.ASCII)


class LedgerError(Exception):
    """The ledger cannot be had, or cannot be trusted; the text says why and what to do."""


class LedgerFile:
    """The entries by UUID. Open it as a context manager to have it alone; otherwise it can only be read."""

    def __init__(self, folder: str, wait: float = 5.0) -> None:
        """``wait``: seconds for another process to let go of it."""
        self.folder = folder
        self._path = os.path.join(folder, FILE)
        self._wait = wait
        self._lock = -1
        self._entries: t.Dict[str, LedgerEntry] = {}

    def __enter__(self) -> LedgerFile:
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            self._lock = os.open(os.path.join(self.folder, OWNER), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._take_lock()
            self.read()
        except OSError as exc:
            self.__exit__()
            raise LedgerError(
                "the ledger in %s cannot be opened: %s; run with become: true, or name another folder in the option "
                "ledger" % (self.folder, exc.strerror)
            ) from None
        except LedgerError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._lock >= 0:
            os.close(self._lock)

    def _take_lock(self) -> None:
        end = time.monotonic() + self._wait
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise LedgerError(
                        "the ledger in %s is in use by process %s; another controller is preparing or releasing this "
                        "host, wait for it and run again" % (self.folder, self._holder())
                    ) from None
                time.sleep(_LOCK_PAUSE)
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)

    def _holder(self) -> str:
        return os.pread(self._lock, 32, 0).decode("ascii", "replace").strip() or "(unknown)"

    def read(self) -> LedgerFile:
        """Take the entries from the file; none when there is no file yet."""
        try:
            with open(self._path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            self._entries = {}
            return self
        except OSError as exc:
            raise LedgerError(
                "the ledger %s cannot be read: %s; run with become: true" % (self._path, exc.strerror)
            ) from None
        self._entries = {entry["uuid"]: entry for entry in parse(data, self._path)}
        return self

    @property
    def entries(self) -> t.List[LedgerEntry]:
        """All entries, in the order of their UUIDs."""
        return [self._entries[uuid] for uuid in sorted(self._entries)]

    def get(self, uuid: str) -> t.Optional[LedgerEntry]:
        return self._entries.get(uuid)

    def taken_for(self, uuid: str) -> t.Optional[LedgerEntry]:
        """The free instance that was taken where this UUID was asked for."""
        return next((entry for entry in self.entries if entry["reused"] and entry["wished"] == uuid), None)

    def update(self, entries: t.Sequence[LedgerEntry] = (), forget: t.Sequence[str] = ()) -> None:
        """Forget some, then add or replace others, all in one step; on disk when this returns."""
        kept = {uuid: entry for uuid, entry in self._entries.items() if uuid not in forget}
        self._save(dict(kept, **{entry["uuid"]: entry for entry in entries}))

    def put(self, *entries: LedgerEntry) -> None:
        self.update(entries)

    def drop(self, *uuids: str) -> None:
        self.update((), uuids)

    def _save(self, entries: t.Dict[str, LedgerEntry]) -> None:
        if entries == self._entries:
            return
        # Always the same name: what a killed process left of it is overwritten by the next.
        draft = self._path + ".new"
        try:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(dump([entries[uuid] for uuid in sorted(entries)]))
                file.flush()
                os.fsync(fd)
            os.replace(draft, self._path)
            _sync_folder(self.folder)
        except OSError as exc:
            raise LedgerError("the ledger %s cannot be written: %s" % (self._path, exc.strerror)) from None
        self._entries = entries


def _sync_folder(folder: str) -> None:
    """The rename itself is on disk only after its folder is."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def dump(entries: t.Sequence[LedgerEntry]) -> str:
    """A ``Ledger`` with an entry a line, for the person who has to look into it."""
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    return '{"schema_version": %d, "entries": [\n%s\n]}\n' % (SCHEMA_VERSION, lines)


def parse(data: bytes, path: str) -> t.List[LedgerEntry]:
    """Entries of a ledger file. Raises ``LedgerError`` that names the file: a damaged ledger is never overwritten,
    because nobody could tell any more what is ours."""
    try:
        found = json.loads(data.decode("utf-8"))
        version = found.get("schema_version") if isinstance(found, dict) else None
        if version != SCHEMA_VERSION:
            raise ValueError("it is of version %r, not %d" % (version, SCHEMA_VERSION))
        if not isinstance(found.get("entries"), list):
            raise ValueError("it has no list of entries")
        entries = [_completed(entry) for entry in found["entries"]]
        for entry in entries:
            _check(entry)
    except ValueError as exc:
        raise LedgerError(
            "the ledger %s is damaged: %s; put it right, or move it away after removing by hand what it names"
            % (path, exc)
        ) from None
    return t.cast("t.List[LedgerEntry]", entries)


def _completed(entry: object) -> t.Dict[str, t.Any]:
    """An entry as it is written today. Raises ``ValueError``."""
    if not isinstance(entry, dict) or "uuid" not in entry or "reused" not in entry:
        raise ValueError("an entry is %.200r" % (entry,))
    if _KEYS - set(entry) != _NEWER:
        return dict(entry)
    return dict({"wished": entry["uuid"], "attributes": [] if entry["reused"] else None}, **entry)


def _check(entry: t.Mapping[str, t.Any]) -> None:
    """Its names become paths and what is written to the kernel. Raises ``ValueError``."""
    if set(entry) != _KEYS:
        raise ValueError("an entry has the keys %s" % ", ".join(sorted(entry)))
    texts = ("uuid", "wished", "parent", "type", "plan", "workload", "state", "time")
    wrong = [key for key in texts if not isinstance(entry[key], str)]
    wrong += [key for key in ("persist", "reused") if not isinstance(entry[key], bool)]
    wrong += ["boot_id"] if not isinstance(entry["boot_id"], (str, type(None))) else []
    if not wrong:
        wrong += [key for key in ("uuid", "wished") if not _UUID.match(entry[key])]
        wrong += [key for key in ("parent", "type") if name_error(entry[key])]
        wrong += ["state"] if entry["state"] not in _STATES else []
        wrong += ["time"] if not _TIME.match(entry["time"]) else []
        wrong += ["attributes"] if not _are_attributes(entry["attributes"]) else []
    for key in wrong:
        raise ValueError("an entry has %r as its %s" % (entry[key], key))


def _are_attributes(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and all(
        isinstance(one, dict)
        and set(one) == {"name", "value"}
        and all(isinstance(text, str) for text in one.values())
        and attribute_error(t.cast(DeviceAttribute, one)) is None
        for one in value
    )
