# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a contract to a file on the controller.

This file is private to the collection.
"""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
import typing as t


def obstacle(path: pathlib.Path) -> str | None:
    """Why no file may be put there, as far as it can be told before anything is written."""
    try:
        if not path.parent.is_dir():
            return f"the folder {path.parent} does not exist"
        # The file replaces what has its name, and nobody wants that of /dev/stdout.
        if path.is_symlink() or (path.exists() and not path.is_file()):
            return "there is a link, a device or a folder of that name; name a regular file"
    except OSError as error:
        return error.strerror
    return None


def read_json(path: pathlib.Path) -> object:
    """What the file holds, None when it is not there or no JSON."""
    try:
        return json.loads(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


def write_json(path: pathlib.Path, contract: t.Mapping[str, t.Any]) -> None:
    """Replace the file in one step: a reader sees the old one or the new one, whatever breaks in between."""
    write_text(path, _lines(contract), "ascii")


def write_text(path: pathlib.Path, text: t.Iterable[str], encoding: str = "utf-8") -> None:
    """The same for any text, given in pieces."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    new = pathlib.Path(name)
    try:
        with open(handle, "w", encoding=encoding, newline="\n") as file:
            file.writelines(text)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o600)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _lines(contract: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """JSON with each item of each list on its own line: people read and compare it, and it is made at C's speed."""
    before = "{\n"
    for key, value in contract.items():
        yield f"{before}{json.dumps(key)}: "
        before = ",\n"
        if isinstance(value, list) and value:
            yield from (f"{',' if number else '['}\n{json.dumps(item)}" for number, item in enumerate(value))
            yield "\n]"
        else:
            yield json.dumps(value)
    yield "\n}\n"
