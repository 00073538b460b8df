# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does what a table says on the host that it runs on, by plain system calls, and reports what came of it.

Run as a script with the standard library only. In: one JSON object with

- ``rows``: name, steps, and what is done ``after`` them
- ``watched``: directories that are looked into before and after each row, each with a pattern of the entries that count
- ``fence``: an ``uevent`` file that is left alone otherwise
- ``reset`` and ``counted``: what sets the driver's counters to 0, and what tells them

Out: the entries before the ``first`` row, and for each of the ``rows`` the answers of its steps, what was counted, the
uevents, the entries that came, went and changed, and what it left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
import typing as t

Json = t.Dict[str, t.Any]
Entries = t.Dict[str, str]
NETLINK_KOBJECT_UEVENT = 15
KERNEL_GROUP = 1
WHOLE = 1 << 16
FENCE = "00000000-0000-0000-0000-00000000fe1c"
FENCE_SECONDS = 10.0
PAGE = 4096
NOBODY = 65534
FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY,
    "rw": os.O_RDWR,
    "wt": os.O_WRONLY | os.O_TRUNC,
    "wa": os.O_WRONLY | os.O_APPEND,
    "wc": os.O_WRONLY | os.O_CREAT,
    "d": os.O_RDONLY | os.O_DIRECTORY,
}
DEVICES = "/sys/bus/mdev/devices"
ROOM = "available_instances"


def answer_of(call: t.Callable[[], t.Any]) -> t.Any:
    """What a call returns, or the name of its errno."""
    try:
        return call()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))


class Listener:
    """Hears the kernel's uevents."""

    def __init__(self, fence: str) -> None:
        self.fence = fence
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.socket.bind((0, KERNEL_GROUP))

    def events(self) -> t.List[Json]:
        """All that was said so far. The fence makes its own event, behind which nothing can be missing."""
        heard: t.List[Json] = []
        write(self.fence, b"change %s" % FENCE.encode())
        self.socket.settimeout(FENCE_SECONDS)
        while True:
            message = self.socket.recv(WHOLE).decode("latin-1").rstrip("\0").split("\0")
            event = dict(item.partition("=")[::2] for item in message[1:])
            if event.get("SYNTH_UUID") == FENCE:
                return heard
            event.pop("SEQNUM", None)
            heard.append(event)


def read(path: str, size: int = WHOLE) -> bytes:
    """One open, one read."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def write(path: str, data: bytes) -> int:
    """One open, one write."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        return os.write(descriptor, data)
    finally:
        os.close(descriptor)


def walk(top: str, found: Entries, known: Entries, only: str = "") -> None:
    """Every entry below a directory: its kind, mode and size, where it leads, how much room a type has. What is known
    by its name and kind is not looked at again, but for the room: that takes most of the time in an emulated guest."""
    try:
        entries = sorted(os.scandir(top), key=lambda item: item.name)
    except OSError:
        return
    for item in entries:
        if not re.match(only, item.name):
            continue
        told = known.get(item.path)
        if told is None or kind(item) != told.split(" ", 1)[0] or item.name == ROOM:
            told = answer_of(lambda item=item: entry(item.path))  # type: ignore[misc]
        found[item.path] = told
        if item.is_dir(follow_symlinks=False):
            walk(item.path, found, known)


def kind(item: os.DirEntry[str]) -> str:
    """The first word that ``entry`` says of it."""
    if item.is_symlink():
        return "->"
    if item.is_dir(follow_symlinks=False):
        return "directory"
    return "file" if item.is_file(follow_symlinks=False) else "character"


def entry(path: str) -> str:
    """One entry in words."""
    seen = os.lstat(path)
    mode = stat.S_IMODE(seen.st_mode)
    if stat.S_ISLNK(seen.st_mode):
        return "-> %s" % os.readlink(path)
    if stat.S_ISDIR(seen.st_mode):
        return "directory %03o" % mode
    if stat.S_ISCHR(seen.st_mode):
        return "character device %03o" % mode
    words = "file %03o" % mode if seen.st_size == PAGE else "file %03o of %d bytes" % (mode, seen.st_size)
    return "%s: %s" % (words, text(read(path))) if path.endswith("/" + ROOM) else words


def text(data: bytes) -> str:
    """Bytes as JSON can have them."""
    return data.decode("latin-1")


def unload(module: str) -> None:
    """What rmmod does; it does not wait until nobody uses the module."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.delete_module(module.encode(), os.O_NONBLOCK):
        raise OSError(ctypes.get_errno(), module)


def ask(act: Json) -> t.Any:
    """What a file says, or who listens on a socket."""
    if "read" in act:
        return text(read(act["read"]))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(act["ask"])
        client.sendall(json.dumps(act["line"]).encode() + b"\n")
        return json.loads(client.makefile("rb").readline())


class Row:
    """The steps of one row, with the files that they keep open and the processes that they leave waiting."""

    def __init__(self) -> None:
        self.files: t.Dict[str, int] = {}
        self.waiting: t.Dict[str, t.Tuple[int, int]] = {}

    def do(self, step: Json) -> t.Any:
        """One step; its answer."""
        return answer_of(lambda: getattr(self, "do_" + step["do"])(**{k: v for k, v in step.items() if k != "do"}))

    # ------------------------------------------------ on a path

    def do_read(self, path: str, size: int = WHOLE) -> str:
        return text(read(path, size))

    def do_write(self, path: str, data: str) -> int:
        return write(path, data.encode("latin-1"))

    def do_list(self, path: str) -> t.List[str]:
        return sorted(os.listdir(path))

    def do_entry(self, path: str) -> str:
        return entry(path)

    def do_real(self, path: str) -> str:
        os.stat(path)
        return os.path.realpath(path)

    def do_change(self, path: str, call: str) -> None:
        """What nobody may do in sysfs, or may."""
        calls: t.Dict[str, t.Callable[[], None]] = {
            "mkdir": lambda: os.mkdir(path),
            "rmdir": lambda: os.rmdir(path),
            "unlink": lambda: os.unlink(path),
            "rename": lambda: os.rename(path, path + "-new"),
            "symlink": lambda: os.symlink("x", path),
            "link": lambda: os.link(path, path + "-new"),
            "truncate": lambda: os.truncate(path, 0),
        }
        calls[call]()

    # ------------------------------------------------ on an open file

    def do_open(self, name: str, path: str, flags: str) -> None:
        self.files[name] = os.open(path, FLAGS[flags])

    def do_read_on(self, name: str, size: int = WHOLE) -> str:
        return text(os.read(self.files[name], size))

    def do_pread(self, name: str, size: int, offset: int) -> str:
        return text(os.pread(self.files[name], size, offset))

    def do_write_on(self, name: str, data: str) -> int:
        return os.write(self.files[name], data.encode("latin-1"))

    def do_pwrite(self, name: str, data: str, offset: int) -> int:
        return os.pwrite(self.files[name], data.encode("latin-1"), offset)

    def do_writev(self, name: str, parts: t.List[str]) -> int:
        return os.writev(self.files[name], [part.encode("latin-1") for part in parts])

    def do_seek(self, name: str, offset: int) -> int:
        return os.lseek(self.files[name], offset, os.SEEK_SET)

    # ------------------------------------------------ what takes its time

    def do_as_nobody(self, step: Json) -> t.Any:
        """Do a step as somebody without any rights."""
        self.do_start("nobody", step, NOBODY)
        return self.do_await("nobody", FENCE_SECONDS)

    def do_start(self, name: str, step: Json, user: int = 0) -> None:
        """Do a step in a process of its own."""
        ours, theirs = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                if user:
                    os.setgroups([])
                    os.setresgid(user, user, user)
                    os.setresuid(user, user, user)
                os.write(theirs, json.dumps(self.do(step)).encode())
            finally:
                os._exit(0)
        os.close(theirs)
        self.waiting[name] = (pid, ours)

    def do_await(self, name: str, seconds: float) -> t.Any:
        """Its answer, or that it waits for longer than that."""
        pid, pipe = self.waiting[name]
        if not select.select([pipe], [], [], seconds)[0]:
            return "waits"
        said = os.read(pipe, WHOLE)
        status = os.waitpid(pid, 0)[1]
        os.close(pipe)
        del self.waiting[name]
        return json.loads(said) if said else "ended by %s" % signal.Signals(os.WTERMSIG(status)).name

    def do_signal(self, name: str, number: str) -> None:
        os.kill(self.waiting[name][0], getattr(signal, number))

    def do_until(self, path: str, there: bool, seconds: float = 10.0) -> t.Any:
        """Wait for what comes or goes by itself."""
        end = time.monotonic() + seconds
        while os.path.lexists(path) is not there:
            if time.monotonic() > end:
                return "too late"
            time.sleep(0.005)
        return None

    # ------------------------------------------------ what is done to the host in another way

    def do_turn(self, acts: t.List[Json]) -> t.Any:
        """Turn knobs of the driver, or of the simulated host: write a file, run a command, unload a module,
        ask a socket."""
        for act in acts:
            if "write" in act:
                write(act["write"], act["data"].encode())
            elif "run" in act:
                done = subprocess.run(act["run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
                if done.returncode:
                    return text(done.stdout)
            elif "unload" in act:
                unload(act["unload"])
            else:
                said = ask(act)
                if not said["ok"]:
                    return said["error"]
        return None

    def end(self) -> t.List[str]:
        """Close, take back all instances, and name what is left waiting."""
        for descriptor in self.files.values():
            os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(DEVICES):
                self.do_start(name, {"do": "write", "path": "%s/%s/remove" % (DEVICES, name), "data": "1"})
                self.do_await(name, FENCE_SECONDS)
        return sorted(self.waiting)


def perform(task: Json) -> Json:
    """All rows, one after the other. ``left``: what a row did not put back."""
    ears = Listener(task["fence"])

    first: Entries = {}

    def look() -> Entries:
        found: Entries = {}
        for top, only in task["watched"].items():
            walk(top, found, first, only)
        return found

    results: Json = {}
    first.update(look())
    ears.events()
    for row in task["rows"]:
        work = Row()
        work.do_turn(task["reset"])
        answers = [work.do(step) for step in row["steps"]]
        counted, events, after = ask(task["counted"]), ears.events(), look()
        left = work.end() + [problem for problem in map(work.do, row["after"]) if problem]
        ears.events()
        came_of_it = difference(first, after)
        if row["after"] or any(came_of_it.values()):
            left += [str(item) for item in difference(first, look()).values() if item]
        results[row["name"]] = {"answers": answers, "counted": counted, "events": events, **came_of_it, "left": left}
    return {"rows": results, "first": first}


def difference(before: Entries, after: Entries) -> Json:
    """What came, went and changed."""
    return {
        "came": {path: told for path, told in after.items() if path not in before},
        "went": sorted(path for path in before if path not in after),
        "changed": {path: told for path, told in after.items() if before.get(path, told) != told},
    }


if __name__ == "__main__":
    json.dump(perform(json.load(sys.stdin)), sys.stdout)
