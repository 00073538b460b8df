# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes, on the host a VM leaves, the domain XML that it shall have on its target.

This file is private to the collection.
"""

from __future__ import annotations

import os
import re
import tempfile
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _libvirt

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")

SENTENCES = {
    "no_domain": "libvirt on this host does not know the VM",
    "invalid": "libvirt refuses the result",
    "devices": "its XML on this host",
    "unwritable": "the file could not be written",
}


class Wish(t.NamedTuple):
    """A VM, by the UUID or the name libvirt knows it by, and its mdevs: old UUID -> new UUID."""

    workload: str
    mdevs: t.Dict[str, str]


class Result(t.TypedDict):
    """What became of one VM."""

    workload: str
    ok: bool
    path: t.Optional[str]
    changed: bool
    validated: bool
    reason: t.Optional[str]
    """Stable code, null when all is well: those of ``_libvirt.Asked``, the keys of ``SENTENCES``, not_validated."""
    msg: t.Optional[str]


def parse(items: t.Sequence[t.Mapping[str, t.Any]]) -> t.Tuple[t.List[Wish], t.List[str]]:
    """Wishes from a module's parameters, and all that is wrong with them."""
    wishes, errors = [], []
    for number, item in enumerate(items):
        mdevs = {}
        for place, mdev in enumerate(item["mdevs"]):
            mdevs[mdev["source"].lower()] = mdev["target"].lower()
            if not _UUID.match(mdev["target"].lower()):
                errors.append("domains[%d].mdevs[%d].target must be a UUID, not %r" % (number, place, mdev["target"]))
        if not item["workload"]:
            errors.append("domains[%d].workload must name a VM" % number)
        wishes.append(Wish(item["workload"], mdevs))
    return wishes, errors


def write(wishes: t.Sequence[Wish], folder: str, uri: str, timeout: float, check_mode: bool) -> t.List[Result]:
    """A file for each VM, named after its UUID; what is wrong with one VM is its own business."""
    exports = _libvirt.export(uri, wishes, timeout)
    return [_result(wish, export, folder, check_mode) for wish, export in zip(wishes, exports)]


def _result(wish: Wish, export: _libvirt.Export, folder: str, check_mode: bool) -> Result:
    if export.reason is not None:
        return _failed(wish, export.reason, _sentence(export.reason, export.said or ""))
    path = os.path.join(folder, export.uuid + ".xml")
    try:
        changed = _read(path) != export.data
        if changed and not check_mode:
            _replace(folder, path, export.data)
    except OSError as exc:
        return _failed(wish, "unwritable", _sentence("unwritable", "%s: %s" % (path, exc.strerror)))
    doubt = export.said and "libvirt could not validate it (%s)" % export.said
    return {
        "workload": wish.workload,
        "ok": True,
        "path": path,
        "changed": changed,
        "validated": not doubt,
        "reason": "not_validated" if doubt else None,
        "msg": doubt or None,
    }


def _failed(wish: Wish, reason: str, msg: str) -> Result:
    return {
        "workload": wish.workload,
        "ok": False,
        "path": None,
        "changed": False,
        "validated": False,
        "reason": reason,
        "msg": msg,
    }


def _sentence(reason: str, said: str) -> str:
    if reason == "devices":
        return "%s %s" % (SENTENCES[reason], said)
    if reason in SENTENCES:
        return "%s (%s)" % (SENTENCES[reason], said)
    return "libvirt could not be asked: " + _libvirt.why(reason, said)


def _read(path: str) -> t.Optional[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _replace(folder: str, path: str, data: bytes) -> None:
    """For root only: passwords of the VM are in it."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=".domain-", dir=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
