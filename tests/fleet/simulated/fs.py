# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The FUSE face: paths to nodes, nodes to system call answers. Thin on purpose; the model knows nothing of it.

Entries are cached by the kernel (``entry_timeout``), attributes and contents never: every stat, open, read and write of
a node that is gone still comes here and gets its ENOENT or ENODEV, but a path is walked without asking again.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import stat
import threading
import typing as t

import mfusepy

from .nodes import Dir, File, Link, Node, Tree

ENTRY_TIMEOUT = 3600
ACCESS = os.O_ACCMODE
MAX_THREADS = 4096
"""Every hung access keeps one thread of the daemon."""


_known = threading.local()


def _keep_thread() -> None:
    """Let Python remember this thread of libfuse. Otherwise it sets a new one up for each call and tears it down again,
    which takes longer than most answers; the threads live as long as the process."""
    if not hasattr(_known, "kept"):
        _known.kept = True
        ctypes.pythonapi.PyGILState_Ensure()


class Handle:
    """One open file: what it read stays as long as it is read on from where the last read ended, as seq_file does."""

    __slots__ = ("content", "end", "file", "tree")

    def __init__(self, tree: Tree, file: File) -> None:
        self.tree = tree
        self.file = file
        self.content = b""
        self.end = 0


class FleetOperations(mfusepy.Operations):
    """All hosts of a fleet below one mount: ``/<host>/sys`` and ``/<host>/proc``."""

    use_ns = True

    def __init__(self, trees: dict[str, Tree], ready: t.Callable[[], None]) -> None:
        self.trees = trees
        self.ready = ready
        self.owner = os.geteuid()
        self.handles: dict[int, Handle] = {}
        self.numbers = itertools.count(1)
        self.stats: dict[tuple[int, int], dict[str, int]] = {}

    def init(self, path: str) -> None:  # noqa: ARG002 - the library's signature
        """Mounted."""
        self.ready()

    def _find(self, path: str) -> tuple[Tree, Node]:
        _keep_thread()
        parts = path.split("/")
        tree = self.trees.get(parts[1])
        if tree is None:
            raise OSError(errno.ENOENT, "")
        return tree, tree.find(parts[2:])

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:  # noqa: ARG002
        """stat()."""
        if path == "/":
            return self._stat(stat.S_IFDIR | 0o755, 0)
        node = self._find(path)[1]
        if isinstance(node, Dir):
            return self._stat(stat.S_IFDIR | node.mode, 0)
        if isinstance(node, File):
            return self._stat(stat.S_IFREG | node.mode, node.size)
        return self._stat(stat.S_IFLNK | 0o777, 0)

    def _stat(self, mode: int, size: int) -> dict[str, int]:
        found = self.stats.get((mode, size))
        if found is None:
            links = 2 if stat.S_ISDIR(mode) else 1
            found = {"st_mode": mode, "st_nlink": links, "st_size": size, "st_uid": self.owner, "st_gid": 0}
            self.stats[mode, size] = found
        return found

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, int], int]]:  # noqa: ARG002
        """List a directory."""
        dots = [(".", self._stat(stat.S_IFDIR | 0o755, 0), 0), ("..", self._stat(stat.S_IFDIR | 0o755, 0), 0)]
        if path == "/":
            return dots + [(name, self._stat(stat.S_IFDIR | 0o755, 0), 0) for name in self.trees]
        tree, node = self._find(path)
        if not isinstance(node, Dir):
            raise OSError(errno.ENOTDIR, "")
        inner = path.split("/", 2)[2:]
        return dots + [(name, self._kind(item), 0) for name, item in tree.listing(node, inner[0] if inner else "")]

    def _kind(self, node: Node) -> dict[str, int]:
        if isinstance(node, Dir):
            return self._stat(stat.S_IFDIR | 0o755, 0)
        return self._stat(stat.S_IFLNK | 0o777 if isinstance(node, Link) else stat.S_IFREG | 0o644, 0)

    def opendir(self, path: str) -> int:
        """Directories such as /proc/<pid>/fd are not for everyone."""
        if path != "/":
            tree, node = self._find(path)
            if isinstance(node, Dir) and not node.mode & 0o005 and not self._privileged():
                raise OSError(errno.EACCES, "")
            if node.id and tree.host.faults.active:
                tree.host.faults.strike(node.id, "open")
        return 0

    def readlink(self, path: str) -> str:
        """Where a link leads."""
        node = self._find(path)[1]
        if not isinstance(node, Link):
            raise OSError(errno.EINVAL, "")
        if node.private and not self._privileged():
            raise OSError(errno.EACCES, "")
        return node.target

    def _privileged(self) -> bool:
        return mfusepy.fuse_get_context()[0] in {0, self.owner}

    def open(self, path: str, flags: int) -> int:
        """sysfs refuses what a file's mode does not have even to root (KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK)."""
        tree, node = self._find(path)
        if not isinstance(node, File):
            raise OSError(errno.EISDIR, "")
        wanted = flags & ACCESS
        allowed = node.mode | (node.mode >> 6 & 0o7 if self._privileged() else 0)
        if (wanted != os.O_WRONLY and not allowed & 0o4) or (wanted != os.O_RDONLY and not allowed & 0o2):
            raise OSError(errno.EACCES, "")
        if node.id and tree.host.faults.active:
            tree.host.faults.strike(node.id, "open")
        number = next(self.numbers)
        self.handles[number] = Handle(tree, node)
        return number

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:  # noqa: ARG002
        """read()."""
        handle = self.handles[fh]
        if offset == 0 or offset != handle.end:
            handle.content = handle.tree.read(handle.file)
        data = handle.content[offset : offset + size]
        if not data:
            handle.tree.still_there(handle.file)
        handle.end = offset + len(data)
        return data

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:  # noqa: ARG002
        """write(); like sysfs it does not care about the offset."""
        handle = self.handles[fh]
        return handle.tree.write(handle.file, data)

    def release(self, path: str, fh: int) -> int:  # noqa: ARG002
        """close()."""
        self.handles.pop(fh, None)
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:  # noqa: ARG002
        """O_TRUNC of a shell's ``>`` means nothing here."""
        return 0

    def create(self, path: str, mode: int, fi: t.Any = None) -> int:  # noqa: ARG002
        """No file can be made in sysfs."""
        raise OSError(errno.EACCES, "")

    def mkdir(self, path: str, mode: int) -> int:  # noqa: ARG002
        """No directory either."""
        raise OSError(errno.EPERM, "")

    def unlink(self, path: str) -> int:  # noqa: ARG002
        """Nothing can be unlinked."""
        raise OSError(errno.EPERM, "")

    def rmdir(self, path: str) -> int:  # noqa: ARG002
        """No directory either."""
        raise OSError(errno.EPERM, "")

    def rename(self, old: str, new: str) -> int:  # noqa: ARG002
        """Everything keeps its name."""
        raise OSError(errno.EPERM, "")

    def symlink(self, target: str, source: str) -> int:  # noqa: ARG002
        """Only the kernel makes links."""
        raise OSError(errno.EPERM, "")

    def link(self, target: str, source: str) -> int:  # noqa: ARG002
        """No hard ones either."""
        raise OSError(errno.EPERM, "")


def serve(trees: dict[str, Tree], mountpoint: str, ready: t.Callable[[], None]) -> None:
    """Mount and answer until unmounted; ``ready`` is called once mounted. Raise OSError when it cannot be mounted."""
    options: dict[str, t.Any] = {
        "foreground": True,
        "direct_io": True,
        "fsname": "simulated-sysfs",
        "entry_timeout": ENTRY_TIMEOUT,
        "attr_timeout": 0,
        "negative_timeout": 0,
    }
    if os.geteuid() == 0:
        options["allow_other"] = True
    if (mfusepy.fuse_version_major, mfusepy.fuse_version_minor) >= (3, 12):
        options["max_threads"] = MAX_THREADS  # before 3.12 there was no limit
    try:
        mfusepy.FUSE(FleetOperations(trees, ready), mountpoint, **options)
    except RuntimeError as error:
        raise OSError(errno.EIO, f"FUSE did not mount (status {error})", mountpoint) from error
