# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be made to go wrong at one node: read from the scenario or set at run time, released at run time.

A fault sits on a node pattern and an operation. Ids of the fault catalogue (``R8``) are shorthands for the kinds.
"""

from __future__ import annotations

import dataclasses
import errno
import fnmatch
import functools
import threading
import time
import typing as t

from ._reader import Reader, ScenarioError

KINDS = ("errno", "hang", "slow", "value", "absent", "vanish", "permission", "short_write", "trigger", "create_lies")
OPERATIONS = ("read", "write", "open", "any")
ACTIONS = ("unplug", "remove_type", "remove_device", "reboot")
MIGRATION_VERSION = "migration_version"
PAGE_SIZE = 4096

PRESETS: dict[str, dict[str, t.Any]] = {
    "R2": {"kind": "absent"},
    "R3": {"kind": "errno", "op": "read", "errno": "ENODEV"},
    "R4": {"kind": "errno", "op": "read", "errno": "EAGAIN"},
    "R5": {"kind": "vanish"},
    "R6": {"kind": "trigger", "op": "read", "action": "unplug"},
    "R7": {"kind": "trigger", "op": "read", "action": "remove_type"},
    "R8": {"kind": "hang", "op": "read"},
    "R9": {"kind": "value", "value": "x" * (PAGE_SIZE - 1)},
    "R10": {"kind": "value", "value": "\n"},
    "R11": {"kind": "value", "base64": "//7DKAABCg=="},
    "R12": {"kind": "value", "value": " two\nlines \n"},
    "R13": {"kind": "value", "value": "{{ 1+1 }}\n"},
    "R14": {"kind": "permission"},
    "R15": {"kind": "value", "value": "many\n"},
    "R16": {"kind": "value", "value": "a line\n" * 500},
    "R18": {"kind": "absent"},
    "P1": {"kind": "errno", "op": "write", "errno": "EINVAL"},
    "P2": {"kind": "errno", "op": "open", "errno": "EROFS"},
    "P3": {"kind": "short_write", "op": "write", "count": 8},
    "P6": {"kind": "hang", "op": "write"},
    "C1": {"kind": "errno", "op": "write", "errno": "ENOSPC"},
    "C5": {"kind": "errno", "op": "write", "errno": "EINVAL"},
    "C6": {"kind": "create_lies", "op": "write", "made": True, "errno": "EIO"},
    "C8": {"kind": "trigger", "op": "write", "action": "unplug"},
    "C12": {"kind": "errno", "op": "write", "errno": "EAGAIN", "times": 2},
}
"""What a bare id of the catalogue means. Ids that are a state of the scenario and not a fault (R1, R17, R19, R21, R22,
P5, P8, P9, P11, P13, C2, C3, C7, C11, C13, C15, C19) are listed in README.md with the scenario that shows them."""


@dataclasses.dataclass(frozen=True)
class FaultSpec:
    """One fault as it is written."""

    node: str
    kind: str
    op: str = "any"
    error: int = errno.EIO
    seconds: float = 0.0
    value: bytes = b""
    count: int = 0
    made: bool = True
    action: str = "unplug"
    times: int | None = None
    after: int = 0


def read_fault(reader: Reader) -> FaultSpec:
    """Read one entry of ``faults``."""
    preset = reader.maybe_text("fault")
    if preset is not None:
        if preset not in PRESETS:
            reader.complain("fault", f"{preset!r} has no shorthand; use one of {', '.join(PRESETS)}, or write kind")
        reader.data = {**PRESETS.get(preset, {"kind": "errno"}), **reader.data}
    spec = FaultSpec(
        node=reader.text("node"),
        kind=reader.choice("kind", KINDS, "errno"),
        op=reader.choice("op", OPERATIONS, "any"),
        error=reader.error_name("errno", "EIO"),
        seconds=reader.seconds("seconds"),
        value=reader.raw("value", "base64") or b"",
        count=reader.number("count"),
        made=reader.flag("made", default=True),
        action=reader.choice("action", ACTIONS, "unplug"),
        times=reader.number("times") if reader.has("times") else None,
        after=reader.number("after"),
    )
    reader.seen |= {"times", "base64", "value"}
    if not spec.node:
        reader.complain("node", "is missing; write for example parents/0000:3b:00.0/types/nv-1/migration_version")
    reader.done()
    return spec


def parse_fault(data: object) -> FaultSpec:
    """Validate one fault given at run time; raise ScenarioError."""
    errors: list[str] = []
    spec = read_fault(Reader(data, "fault", errors))
    if errors:
        raise ScenarioError(errors)
    return spec


@dataclasses.dataclass(eq=False)
class Fault:
    """A fault at work: how often it may still strike, and who is stuck in it."""

    id: int
    spec: FaultSpec
    left: int | None = None
    skip: int = 0
    stuck: int = 0
    released: threading.Event = dataclasses.field(default_factory=threading.Event)

    def strikes(self, op: str) -> bool:
        """Whether it strikes this access, counting it."""
        if self.left == 0 or not self._meant(op):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True

    def _meant(self, op: str) -> bool:
        if self.spec.kind == "permission":
            return op == "open"
        if op == "open":
            return self.spec.op == "open"
        return op == "look" or self.spec.op in {op, "any"}

    def hold(self) -> None:
        """Keep the caller until released."""
        self.stuck += 1
        self.released.wait()
        self.stuck -= 1


class Faults:
    """All faults of one host; a node without any costs one dictionary look-up."""

    def __init__(self, specs: t.Iterable[FaultSpec]) -> None:
        self._lock = threading.Lock()
        self._next = 0
        self.active: list[Fault] = []
        self._by_node: dict[str, list[Fault]] = {}
        for spec in specs:
            self.add(spec)

    def add(self, spec: FaultSpec) -> Fault:
        """Set a fault."""
        with self._lock:
            self._next += 1
            fault = Fault(self._next, spec, spec.times, spec.after)
            self.active.append(fault)
            self._by_node.clear()
            return fault

    def clear(self, node: str | None = None, ident: int | None = None) -> int:
        """Take away the faults of a node pattern, of an id, or all, and let go whoever hangs in them."""
        with self._lock:
            gone = [
                fault
                for fault in self.active
                if (node is None or fault.spec.node == node) and (ident is None or fault.id == ident)
            ]
            self.active = [fault for fault in self.active if fault not in gone]
            self._by_node.clear()
        for fault in gone:
            fault.released.set()
        return len(gone)

    def at(self, node: str) -> list[Fault]:
        """Faults whose pattern fits this node."""
        if not self.active:
            return []
        found = self._by_node.get(node)
        if found is None:
            found = [fault for fault in self.active if _fits(fault.spec.node, node)]
            self._by_node[node] = found
        return found

    def hidden(self, node: str) -> bool:
        """Neither listed nor there."""
        return any(fault.spec.kind == "absent" and fault.strikes("look") for fault in self.at(node))

    def vanished(self, node: str) -> bool:
        """Listed, but gone when one looks."""
        return any(fault.spec.kind == "vanish" and fault.strikes("look") for fault in self.at(node))

    def strike(self, node: str, op: str) -> Fault | None:
        """Suffer what hangs, is slow or fails; return the fault that changes the answer instead, if any."""
        changed = None
        for fault in self.at(node):
            kind = fault.spec.kind
            if kind in {"absent", "vanish"} or not fault.strikes(op):
                continue
            if kind == "hang":
                fault.hold()
            elif kind == "slow":
                time.sleep(fault.spec.seconds)
            elif kind == "errno":
                raise OSError(fault.spec.error, "")
            elif kind == "permission":
                raise OSError(errno.EACCES, "")
            else:
                changed = fault
        return changed


@functools.lru_cache(4096)
def _fits(pattern: str, node: str) -> bool:
    return pattern == node or fnmatch.fnmatchcase(node, pattern)
