# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One guest as a QEMU process: its command line, its control socket (QMP), its console.

A warm guest goes on from a state that was saved once, with the memory it had mapped privately. What costs seconds at a
boot costs nothing then. Sources: docs/interop/qmp-spec.rst and qapi/migration.json of QEMU (``x-ignore-shared``).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError
from ansible_collections.vfio.migration.tests.fleet.simulated import _linux

from .image import CACHE, PATH, Image

MEMORY_MIB = 512
UP = "guest is up"
"""What /etc/rc of a guest says on its console at the end."""
BOOT_SECONDS = 180.0
STEP = 0.05
EMULATION = "tcg,thread=multi,tb-size=256"

# Nothing that only costs time under emulation.
KERNEL_OPTIONS = (
    "console=ttyS0 quiet loglevel=3 net.ifnames=0 mitigations=off audit=0 apparmor=0 random.trust_cpu=on "
    "no_timer_check tsc=reliable cryptomgr.notests panic=-1"
)


# What a CPU begins with, in real mode: write 16 to the port of isa-debug-exit, whereupon QEMU ends with 2 * 16 + 1.
RESET_VECTOR = bytes.fromhex("ba0105 b010 ee f4ebfd")  # mov dx, 0x501; mov al, 16; out dx, al; hlt, for ever
FIRMWARE = RESET_VECTOR.rjust(65536 - 16 + len(RESET_VECTOR), b"\0").ljust(65536, b"\0")
FIRMWARE_RAN = 33
PROBE_SECONDS = 10.0


@functools.cache
def accelerator() -> str:
    """Hardware virtualisation where a virtual CPU really runs with it, else emulation."""
    return "kvm" if runs("kvm") else EMULATION


def runs(accel: str) -> bool:
    """Whether a virtual CPU gets to its first instructions, within seconds: /dev/kvm alone promises nothing."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired), tempfile.NamedTemporaryFile() as firmware:
        firmware.write(FIRMWARE)
        firmware.flush()
        words = ["qemu-system-x86_64", "-accel", accel, "-M", "pc", "-cpu", "max", "-m", "16", "-nodefaults"]
        words += ["-no-user-config", "-display", "none", "-bios", firmware.name, "-device", "isa-debug-exit"]
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), timeout=PROBE_SECONDS, check=False
        )
        return done.returncode == FIRMWARE_RAN
    return False


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": PATH}


class Guest(t.NamedTuple):
    """One host to be."""

    name: str
    kernel: str
    options: str = ""
    """Parameters of the driver, for each boot: ``version=4.1 rule=exact``."""


class Disk(t.NamedTuple):
    """What is written to it is forgotten at the end, if it is a snapshot."""

    path: pathlib.Path
    format: str
    snapshot: bool


class Memory(t.NamedTuple):
    """The file that a warm guest's memory is mapped from. Only the guest that makes it shares it."""

    path: pathlib.Path
    share: bool


def command(
    image: Image, disk: Disk, port: int, folder: pathlib.Path, accel: str, memory: Memory | None = None
) -> list[str]:
    """QEMU's command line. ``port`` of loopback leads to the guest's sshd; ``folder`` gets console and socket."""
    machine = "pc" if memory is None else "pc,memory-backend=memory"
    drive = f"if=none,id=disk,file={disk.path},format={disk.format},cache=unsafe"
    words = ["qemu-system-x86_64", "-M", machine, "-accel", accel, "-cpu", "max", "-m", str(MEMORY_MIB)]
    words += ["-nodefaults", "-no-user-config", "-display", "none"]
    words += ["-kernel", str(image.vmlinux), "-initrd", str(image.initrd), "-append", KERNEL_OPTIONS]
    words += ["-drive", drive + (",snapshot=on" if disk.snapshot else ""), "-device", "virtio-blk-pci,drive=disk"]
    words += ["-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"]
    words += ["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"]
    words += ["-device", "edu,addr=0x10", "-device", "pci-testdev,addr=0x11"]
    words += ["-device", "vmgenid,guid=auto"]
    words += ["-serial", f"file:{folder / 'console'}", "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"]
    if memory is not None:
        share = "on" if memory.share else "off"
        size = f"memory-backend-file,id=memory,size={MEMORY_MIB}M,mem-path={memory.path},share={share}"
        words += ["-object", size] + ([] if memory.share else ["-incoming", "defer"])
    return words


class Machine:
    """A QEMU process that ends with the one that started it."""

    def __init__(self, name: str, image: Image, disk: Disk, folder: pathlib.Path, memory: Memory | None = None) -> None:
        self.name = name
        self.image = image
        self.folder = folder
        self.folder.mkdir()
        self.port = free_port()
        words = command(image, disk, self.port, folder, accelerator(), memory)
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                preexec_fn=_linux.die_with_parent,  # noqa: PLW1509 - one prctl, no lock can be held
            )

    def order(self, *orders: tuple[str, dict[str, t.Any]]) -> list[t.Any]:
        """What QEMU answers to orders over QMP, one after the other."""
        path = self.folder / "qmp"
        self.until(path.exists, "opened its control socket")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            with connection.makefile("rw") as stream:
                stream.readline()
                return [_answer(stream, *order) for order in (("qmp_capabilities", {}), *orders)][1:]

    def until(self, condition: t.Callable[[], bool], what: str) -> None:
        """Wait for what a guest does. Raises FleetError."""
        end = time.monotonic() + BOOT_SECONDS
        while not condition():
            if self.process.poll() is not None:
                said = (self.folder / "log").read_text(errors="replace").strip()
                raise FleetError(f"QEMU of guest {self.name} ended before it {what}: {said[-300:] or 'without a word'}")
            if time.monotonic() > end:
                late = f"has not {what} within {BOOT_SECONDS:.0f} seconds"
                raise FleetError(f"Guest {self.name} {late}: {self.last_words()}")
            time.sleep(STEP)

    def boots(self) -> int:
        """How often it has come up."""
        with contextlib.suppress(OSError):
            return (self.folder / "console").read_bytes().count(UP.encode())
        return 0

    def last_words(self) -> str:
        """The end of its console."""
        with contextlib.suppress(OSError):
            return (self.folder / "console").read_text(errors="replace").strip()[-300:] or "its console says nothing"
        return "it has no console"

    def wake(self, state: pathlib.Path) -> None:
        """Go on from a saved state."""
        self.order(_capability(), ("migrate-incoming", {"uri": f"exec:cat {state}"}))
        self.until(lambda: self.order(("query-status", {}))[0]["status"] == "running", "woken up")

    def save(self, state: pathlib.Path) -> None:
        """Write down all but the memory, which its file has, and end."""
        self.order(_capability(), ("migrate", {"uri": f"exec:cat >{state}"}))
        self.until(lambda: self.order(("query-migrate", {}))[0].get("status") == "completed", "written down its state")
        self.order(("quit", {}))
        self.process.wait()

    def kill(self) -> None:
        """End it, at once."""
        self.process.kill()
        self.process.wait()


def _capability() -> tuple[str, dict[str, t.Any]]:
    return "migrate-set-capabilities", {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}


def _answer(stream: t.IO[str], do: str, arguments: dict[str, t.Any]) -> t.Any:
    stream.write(json.dumps({"execute": do, "arguments": arguments}) + "\n")
    stream.flush()
    while line := stream.readline():
        answer = json.loads(line)
        if "error" in answer:
            raise FleetError(f"QEMU refuses {do}: {answer['error']['desc']}")
        if "return" in answer:
            return answer["return"]
    # It answers quit by leaving.
    return None


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Warm(t.NamedTuple):
    """A guest that was put to sleep right after it came up."""

    folder: pathlib.Path

    @property
    def memory(self) -> pathlib.Path:
        return self.folder / "memory"

    @property
    def state(self) -> pathlib.Path:
        return self.folder / "state"

    @property
    def disk(self) -> pathlib.Path:
        return self.folder / "disk.qcow2"


def warm(image: Image) -> Warm:
    """The sleeping guest of an image, put to sleep once for this QEMU."""
    words = ["qemu-system-x86_64", "--version"]
    version = subprocess.run(words, stdout=subprocess.PIPE, env=_environment(), check=True)
    key = version.stdout + accelerator().encode() + pathlib.Path(__file__).read_bytes()
    found = Warm(image.folder / f"warm-{hashlib.sha256(key).hexdigest()[:8]}")
    if found.folder.exists():
        return found
    work = Warm(pathlib.Path(tempfile.mkdtemp(prefix=f"{image.kernel}-", suffix=".part", dir=CACHE)))
    try:
        backing = ["-b", str(image.root), "-F", "raw"]
        words = ["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(work.disk)]
        subprocess.run(words, env=_environment(), check=True)
        run = work.folder / "run"
        machine = Machine("warm", image, Disk(work.disk, "qcow2", False), run, Memory(work.memory, True))
        try:
            machine.until(lambda: machine.boots() > 0, "come up")
            machine.save(work.state)
        finally:
            machine.kill()
        shutil.rmtree(run)
        with contextlib.suppress(OSError):  # somebody else was faster
            work.folder.rename(found.folder)
    finally:
        shutil.rmtree(work.folder, ignore_errors=True)
    return found
