# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a mapping with all its errors, not only the first.

Every error names the object (``hosts.hv1.parents.0000:3b:00.0.capacity``), what is wrong and what to write instead.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import errno
import typing as t


class ScenarioError(Exception):
    """A scenario cannot be used; ``errors`` has one sentence for each reason."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class Reader:
    """A cursor over one mapping of the scenario; collects errors instead of raising them."""

    def __init__(self, value: object, path: str, errors: list[str]) -> None:
        self.path = path
        self.errors = errors
        self.seen: set[str] = set()
        self.data: dict[str, object] = {}
        if isinstance(value, dict):
            self.data = {str(key): item for key, item in value.items()}
        elif value is not None:
            self.complain("", f"must be a mapping, not {_kind(value)}")

    def complain(self, key: str, what: str) -> None:
        """Keep one error about ``key`` of this mapping."""
        self.errors.append(f"{self.at(key)}: {what}")

    def at(self, key: str) -> str:
        """Full path of one key."""
        if not key:
            return self.path or "scenario"
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """Whether the key is written (null counts as not written)."""
        return self.data.get(key) is not None

    def _get(self, key: str) -> object:
        self.seen.add(key)
        return self.data.get(key)

    def text(self, key: str, default: str = "") -> str:
        """A string; numbers are refused so that ``version: 1.10`` does not lose its zero."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.complain(key, f"must be a string, not {_kind(value)}; put it in quotes")
            return default
        return value

    def maybe_text(self, key: str) -> str | None:
        """A string or null."""
        self.seen.add(key)
        return self.text(key) if self.has(key) else None

    def number(self, key: str, default: int = 0, minimum: int | None = 0) -> int:
        """An integer, at least ``minimum``."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            self.complain(key, f"must be an integer, not {_kind(value)}")
            return default
        if minimum is not None and value < minimum:
            self.complain(key, f"must be at least {minimum}, not {value}")
            return default
        return value

    def seconds(self, key: str, default: float = 0.0) -> float:
        """A duration."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
            self.complain(key, f"must be a number of seconds, not {value!r}")
            return default
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.complain(key, f"must be true or false, not {value!r}")
            return default
        return value

    def choice(self, key: str, options: t.Iterable[str], default: str) -> str:
        """One of a few words."""
        value = self.text(key, default)
        known = list(options)
        if value not in known:
            self.complain(key, f"{value!r} is not known; use one of {', '.join(known)}")
            return default
        return value

    def error_name(self, key: str, default: str) -> int:
        """An errno by name."""
        value = self.text(key, default)
        number = getattr(errno, value, None) if value.startswith("E") else None
        if not isinstance(number, int):
            self.complain(key, f"{value!r} is not the name of an errno; write for example EINVAL")
            return errno.EINVAL
        return number

    def raw(self, text_key: str, base64_key: str) -> bytes | None:
        """Bytes, given as text or as base64."""
        if self.has(base64_key):
            try:
                return base64.b64decode(self.text(base64_key), validate=True)
            except (binascii.Error, ValueError):
                self.complain(base64_key, "is not valid base64")
        self.seen |= {text_key, base64_key}
        return self.text(text_key).encode() if self.has(text_key) else None

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.complain(key, "must be a list of strings")
            return ()
        return tuple(value)

    def numbers(self, key: str) -> dict[str, int]:
        """A mapping of names to non-negative integers."""
        child = self.child(key)
        return {name: child.number(name) for name in child.data}

    def strings(self, key: str) -> dict[str, str]:
        """A mapping of names to strings."""
        child = self.child(key)
        return {name: child.text(name) for name in child.data}

    def child(self, key: str) -> Reader:
        """The mapping below a key, empty when it is not written."""
        return Reader(self._get(key), self.at(key), self.errors)

    def children(self, key: str) -> t.Iterator[tuple[str, Reader]]:
        """Every mapping of a mapping of mappings, with its name."""
        outer = self.child(key)
        for name in outer.data:
            yield name, outer.child(name)

    def items(self, key: str) -> t.Iterator[Reader]:
        """Every mapping of a list of mappings."""
        value = self._get(key)
        if value is None:
            return
        if not isinstance(value, list):
            self.complain(key, f"must be a list, not {_kind(value)}")
            return
        for index, item in enumerate(value):
            yield Reader(item, f"{self.at(key)}[{index}]", self.errors)

    def done(self) -> None:
        """Complain about every key that nobody asked for."""
        for key in self.data:
            if key not in self.seen and not key.startswith("x-"):
                near = difflib.get_close_matches(key, self.seen, 1)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(self.seen))}"
                self.complain(key, f"is not a known key; {hint}")


def _kind(value: object) -> str:
    return {"dict": "a mapping", "list": "a list", "str": "a string"}.get(type(value).__name__, repr(value))
