# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories, links and files as a kernel shows them, and one access to a file.

Directories are filled at the first look and again after the host's state changed, so that a thousand hosts that
nobody looks at cost nothing.
"""

from __future__ import annotations

import dataclasses
import errno
import typing as t

from .driver import HostState
from .faults import PAGE_SIZE, Fault

Show = t.Callable[[], bytes]
Store = t.Callable[[bytes, t.Optional[Fault]], None]


class Link:
    """A symbolic link."""

    __slots__ = ("id", "private", "target")

    def __init__(self, target: str, ident: str = "", *, private: bool = False) -> None:
        self.target = target
        self.id = ident
        self.private = private


class File:
    """An attribute; ``id`` is its name for faults and counters."""

    __slots__ = ("failed", "gone", "id", "mode", "show", "size", "store")

    def __init__(
        self,
        mode: int,
        show: Show | None = None,
        store: Store | None = None,
        ident: str = "",
        gone: t.Callable[[], bool] | None = None,
        size: int = PAGE_SIZE,
        failed: t.Callable[[bytes], None] | None = None,
    ) -> None:
        self.mode = mode
        self.show = show
        self.store = store
        self.id = ident
        self.gone = gone
        self.size = size
        self.failed = failed


class Dir:
    """A directory, filled when it is first looked into."""

    __slots__ = ("_children", "_fill", "_generation", "id", "mode")

    def __init__(self, fill: t.Callable[[], dict[str, Node]], ident: str = "", mode: int = 0o755) -> None:
        self._fill = fill
        self._children: dict[str, Node] = {}
        self._generation = 0
        self.id = ident
        self.mode = mode

    def children(self, generation: int) -> dict[str, Node]:
        """What is in it at this generation of the host."""
        if self._generation != generation:
            self._children = self._fill()
            self._generation = generation
        return self._children


Node = t.Union[Dir, Link, File]


def text(value: str | bytes) -> File:
    """A read-only attribute that never changes while its directory lives."""
    data = value if isinstance(value, bytes) else value.encode()
    return File(0o444, lambda: data)


def folder(children: dict[str, Node]) -> Dir:
    """A directory with fixed content."""
    return Dir(lambda: children)


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    """Everything one host shows: ``sys`` and ``proc``."""

    host: HostState
    root: Dir
    links: t.Mapping[str, t.Mapping[str, Link]] = dataclasses.field(default_factory=dict)
    """Further links that the scenario wants: directory -> name -> link."""

    def find(self, parts: list[str]) -> Node:
        """Walk to a node; raise ENOENT or ENOTDIR."""
        node: Node = self.root
        generation = self.host.generation
        faults = self.host.faults
        for depth, part in enumerate(parts):
            if not isinstance(node, Dir):
                raise OSError(errno.ENOTDIR, "")
            child = node.children(generation).get(part)
            if child is None and self.links:
                child = self.links.get("/".join(parts[:depth]), {}).get(part)
            if child is None:
                raise OSError(errno.ENOENT, "")
            if faults.active and child.id and (faults.hidden(child.id) or faults.vanished(child.id)):
                raise OSError(errno.ENOENT, "")
            node = child
        return node

    def listing(self, directory: Dir, path: str) -> t.Iterator[tuple[str, Node]]:
        """Names and nodes of a directory, without those that a fault hides."""
        faults = self.host.faults
        for name, node in [*directory.children(self.host.generation).items(), *self.links.get(path, {}).items()]:
            if not (faults.active and node.id and faults.hidden(node.id)):
                yield name, node

    def read(self, file: File) -> bytes:
        """One call of the attribute's show function, with the faults that sit on it."""
        host, fault = self.host, None
        if file.id:
            host.counter(file.id).reads += 1
            if host.faults.active:
                fault = host.faults.strike(file.id, "read")
        if fault is not None and fault.spec.kind == "trigger":
            host.trigger(fault, file.id)
        self.still_there(file)
        if fault is not None and fault.spec.kind == "value":
            return fault.spec.value[: PAGE_SIZE - 1]
        if file.show is None:
            raise OSError(errno.EIO, "")
        return file.show()[: PAGE_SIZE - 1]

    def still_there(self, file: File) -> None:
        """What a read at the end of a file asks for; raise ENODEV."""
        if file.gone is not None and file.gone():
            raise OSError(errno.ENODEV, "")

    def write(self, file: File, data: bytes) -> int:
        """One call of the attribute's store function; sysfs hands over at most one page."""
        data = data[:PAGE_SIZE]
        host, fault, counter = self.host, None, self.host.counter(file.id)
        counter.writes += 1
        if host.faults.active:
            try:
                fault = host.faults.strike(file.id, "write")
            except OSError:
                if file.failed is not None:
                    file.failed(data)
                raise
        if fault is not None and fault.spec.kind == "trigger":
            host.trigger(fault, file.id)
        self.still_there(file)
        if fault is not None and fault.spec.kind == "short_write":
            return min(fault.spec.count, len(data))
        if file.store is None:
            raise OSError(errno.EIO, "")
        try:
            file.store(data, fault)
        except OSError:
            counter.rejects += 1
            raise
        counter.accepts += 1
        return len(data)
