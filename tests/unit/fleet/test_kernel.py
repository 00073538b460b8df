# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the real guests that need no guest."""

from __future__ import annotations

import gzip
import itertools
import lzma
import pathlib
import struct
import subprocess
import typing as t

import pytest

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError
from ansible_collections.vfio.migration.tests.fleet.kernel import fleet, image, machine, vmlinux
from ansible_collections.vfio.migration.tests.fleet.kernel.machine import Guest
from ansible_collections.vfio.migration.tests.tools import setup

DUMP = """\
Acquire "";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::https "";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
APT::Architecture "amd64";
"""
TARGETS = """\
Example|Example|http://packages.example/
Debian|Debian-Security|http://mirror.example/debian-security/
Debian|Debian|http://mirror.example/debian/
Debian|Debian|http://other.example/debian/
"""


def test_apt_is_set_up_as_on_this_machine() -> None:
    assert image.apt_settings(DUMP) == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::Check-Valid-Until "false";',
    ]


@pytest.mark.parametrize(
    ("targets", "mirror"),
    [(TARGETS, "http://mirror.example/debian/"), ("Example|Example|http://packages.example/\n", None), ("", None)],
)
def test_the_mirror_is_that_of_this_machine(targets: str, mirror: str | None) -> None:
    assert image.debian_mirror(targets) == mirror


def test_an_image_is_keyed_by_what_it_is_made_of(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    for name in ("image.py", "vmlinux.py", "driver/a.c", "guest/rc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(image, "HERE", tmp_path)
    before = image.inputs("6.1")
    assert image.inputs("6.1") == before
    assert image.inputs("6.12") != before
    for name in ("driver/a.c", "guest/rc", "image.py"):
        (tmp_path / name).write_text("other")
        assert image.inputs("6.1") != before
        before = image.inputs("6.1")


def test_an_unknown_kernel_is_named() -> None:
    with pytest.raises(FleetError, match=r"no guest with kernel 5\.10, only with 6\.1 and 6\.12"):
        image.image("5.10")


def test_what_is_missing_is_what_setup_installs() -> None:
    installed = {**setup.FLEET_COMMANDS, **setup.KERNEL_COMMANDS}
    assert image.PROGRAMS.items() <= installed.items()


def test_every_missing_package_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda program, path: None if program in {"cpio", "mke2fs"} else path)
    assert image.missing() == "Guests with a real kernel need what this machine lacks: install cpio e2fsprogs."
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert str(image.missing()).endswith("which needs root: run as root.")


def bzimage(packed: bytes) -> bytes:
    """The parts of a bzImage that matter; its payload ends with the size that it unpacks to."""
    data = bytearray(vmlinux.SECTOR * 3)
    data[vmlinux.SETUP_SECTS] = 1
    data[vmlinux.MAGIC : vmlinux.MAGIC + 4] = b"HdrS"
    struct.pack_into("<II", data, vmlinux.PAYLOAD, vmlinux.SECTOR, len(packed) + 4)
    return bytes(data) + packed + b"size" + b"what follows"


ELF = b"\x7fELF and the rest"


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_the_kernel_is_taken_out_of_its_image(pack: object, tmp_path: pathlib.Path) -> None:
    assert callable(pack)
    (tmp_path / "vmlinuz").write_bytes(bzimage(pack(ELF)))
    vmlinux.extract(tmp_path / "vmlinuz", tmp_path / "vmlinux")
    assert (tmp_path / "vmlinux").read_bytes() == ELF


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\0" * 4096, "no bzImage"),
        (bzimage(b"LZ4 or so"), "packed in a way that is not known here"),
        (bzimage(gzip.compress(b"no ELF")), "packed in a way that is not known here"),
    ],
)
def test_what_is_no_kernel_is_refused(data: bytes, error: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(data)
    with pytest.raises(FleetError, match=error):
        vmlinux.extract(tmp_path / "vmlinuz", tmp_path / "vmlinux")
    assert not (tmp_path / "vmlinux").exists()


@pytest.mark.parametrize(
    ("outcome", "chosen"),
    [
        (machine.FIRMWARE_RAN, "kvm"),
        (0, machine.EMULATION),
        (1, machine.EMULATION),
        (subprocess.TimeoutExpired("qemu", 10), machine.EMULATION),
        (FileNotFoundError("qemu"), machine.EMULATION),
    ],
)
def test_hardware_is_used_only_where_a_virtual_cpu_ran(
    outcome: int | Exception, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(words: list[str], **options: t.Any) -> subprocess.CompletedProcess[bytes]:
        assert "-S" not in words
        assert options["timeout"] > 0
        if isinstance(outcome, Exception):
            raise outcome
        return subprocess.CompletedProcess(words, outcome, b"", b"")

    monkeypatch.setattr("subprocess.run", run)
    assert machine.accelerator.__wrapped__() == chosen


def test_the_first_instructions_are_where_a_cpu_begins() -> None:
    assert len(machine.FIRMWARE) == 65536
    assert machine.FIRMWARE[-16:].startswith(machine.RESET_VECTOR)


BOOTED = image.Image("6.1", pathlib.Path("/images/6.1"))
RUN = pathlib.Path("/run/hv1")


def options(words: list[str], option: str) -> list[str]:
    return [value for key, value in itertools.pairwise(words) if key == option]


def test_a_cold_guest_boots_from_a_disk_that_forgets() -> None:
    words = machine.command(BOOTED, machine.Disk(BOOTED.root, "raw", True), 2201, RUN, "tcg")
    assert options(words, "-drive") == [
        "if=none,id=disk,file=/images/6.1/root.ext4,format=raw,cache=unsafe,snapshot=on"
    ]
    assert options(words, "-netdev") == ["user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:2201-:22"]
    assert options(words, "-m") == ["512"]
    assert options(words, "-incoming") == []


@pytest.mark.parametrize(("share", "mapped", "incoming"), [(True, "share=on", []), (False, "share=off", ["defer"])])
def test_a_warm_guest_maps_the_memory_of_the_one_that_went_to_sleep(
    share: bool, mapped: str, incoming: list[str]
) -> None:
    memory = machine.Memory(pathlib.Path("/images/6.1/warm/memory"), share)
    words = machine.command(BOOTED, machine.Disk(pathlib.Path("/d"), "qcow2", not share), 2201, RUN, "tcg", memory)
    (backend,) = options(words, "-object")
    assert backend.endswith(f"mem-path=/images/6.1/warm/memory,{mapped}")
    assert options(words, "-M") == ["pc,memory-backend=memory"]
    assert options(words, "-incoming") == incoming


def test_counters_are_read_as_the_driver_prints_them() -> None:
    text = (
        "0000:00:10.0 mdev_lab-A1 type reads=3 writes=2 accepts=1 rejects=1\n"
        "0000:00:10.0 11111111-0000-4000-8000-000000000001 instance reads=1 writes=0 accepts=0 rejects=0\n"
    )
    assert fleet.parse_counters(text) == {
        ("0000:00:10.0", "mdev_lab-A1", "type"): (3, 2, 1, 1),
        ("0000:00:10.0", "11111111-0000-4000-8000-000000000001", "instance"): (1, 0, 0, 0),
    }
    assert fleet.parse_counters("") == {}


@pytest.mark.parametrize(
    ("text", "guest"),
    [
        ("6.1", Guest("hv1", "6.1", "")),
        ("6.12:version=4.3", Guest("hv1", "6.12", "version=4.3")),
        ("6.12:version=4.3,rule=exact", Guest("hv1", "6.12", "version=4.3 rule=exact")),
    ],
)
def test_a_guest_is_told_in_one_word(text: str, guest: Guest) -> None:
    assert fleet.parse_guest(1, text) == guest


def test_both_kernels_take_turns() -> None:
    assert [guest.kernel for guest in fleet.alternating(3)] == ["6.1", "6.12", "6.12"]


@pytest.mark.parametrize("count", [0, 5])
def test_there_are_one_to_four_guests(count: int) -> None:
    with pytest.raises(FleetError, match=f"1 to 4 guests, and not {count}"):
        fleet.alternating(count)
