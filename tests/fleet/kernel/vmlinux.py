# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the kernel proper out of a bzImage: emulated, it would take seconds to unpack itself at every boot.

Source: Documentation/arch/x86/boot.rst (setup_sects, payload_offset, payload_length).
"""

from __future__ import annotations

import gzip
import lzma
import pathlib
import struct
import subprocess
import typing as t

from ansible_collections.vfio.migration.tests.fleet.guarded import FleetError

SECTOR = 512
MAGIC = 0x202
SETUP_SECTS = 0x1F1
PAYLOAD = 0x248


def _zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout


def _xz(data: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(data)


UNPACKERS: dict[bytes, t.Callable[[bytes], bytes]] = {
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\xfd7zXZ": _xz,
    b"\x1f\x8b": gzip.decompress,
}


def payload(image: bytes) -> bytes:
    """The compressed kernel; the last four bytes, the size that it unpacks to, are not part of it."""
    if image[MAGIC : MAGIC + 4] != b"HdrS":
        raise FleetError("The kernel is no bzImage.")
    offset, length = struct.unpack_from("<II", image, PAYLOAD)
    start = ((image[SETUP_SECTS] or 4) + 1) * SECTOR + offset
    return image[start : start + length - 4]


def extract(source: pathlib.Path, target: pathlib.Path) -> None:
    """Write the ELF file. Raises FleetError."""
    packed = payload(source.read_bytes())
    unpack = next((unpack for magic, unpack in UNPACKERS.items() if packed.startswith(magic)), None)
    kernel = unpack(packed) if unpack is not None else b""
    if not kernel.startswith(b"\x7fELF"):
        raise FleetError(f"{source.name} is packed in a way that is not known here (it begins {packed[:6].hex()}).")
    target.write_bytes(kernel)
