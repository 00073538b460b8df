# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the performer reports from two hosts, side by side; pure."""

from __future__ import annotations

import re
import typing as t

from .table import ANY, Differs, Row, Step

Json = t.Any
GROUP = re.compile(r"(?<=/iommu_groups/)\d+|(?<=/vfio/)\d+|(?<=^vfio/)\d+")
SUBSYSTEMS = frozenset(("mdev", "pci", "platform", "vfio", "vfio-dev"))
"""Whose uevents count: a host in a namespace hears of its machine's disks and mounts, too."""
SHOWN = 400
"""Characters of a value in a sentence."""


def comparable(report: Json, first_group: int) -> Json:
    """A report with group numbers that begin at 0, and without major numbers, which a kernel hands out as they come."""

    def number(found: str) -> str:
        return str(int(found) - first_group)

    def clean(value: Json) -> Json:
        if isinstance(value, str):
            return GROUP.sub(lambda match: number(match[0]), value)
        if isinstance(value, list):
            return [clean(item) for item in value]
        if not isinstance(value, dict):
            return value
        cleaned = {clean(key): clean(item) for key, item in value.items()}
        if cleaned.get("SUBSYSTEM") == "vfio":
            cleaned.update(MAJOR="a number", MINOR=number(cleaned["MINOR"]))
        return cleaned

    def names(listing: list[str]) -> list[str]:
        return [number(name) if name.isdigit() else name for name in listing]

    cleaned = clean(report)
    for row in cleaned["rows"].values():
        row["answers"] = [names(answer) if isinstance(answer, list) else answer for answer in row["answers"]]
        row["events"] = [event for event in row["events"] if event["SUBSYSTEM"] in SUBSYSTEMS]
    return cleaned


def differences(row: Row, kernel: Json, simulated: Json) -> list[str]:
    """How the two differ in one row beyond what has to, a sentence each. Where they have to and do not, that is one."""
    excused = row.differs or Differs("", {})
    found = []
    for number, ((step, _answer), one, other) in enumerate(
        zip(row.steps, kernel["answers"], simulated["answers"], strict=True)
    ):
        if number in excused.answers and one == other:
            found.append(f"{told(step)}: both are alike now, strike from the table that {excused.why}")
        elif other != excused.answers.get(number, one):
            found.append(f"{told(step)}: the kernel answers {shown(one)}, the simulator {shown(other)}")
    if kernel["counted"] != simulated["counted"]:
        counted = f"{shown(kernel['counted'])}, the simulator {shown(simulated['counted'])}"
        found.append(f"the kernel's driver counted {counted}")
    for what in ("came", "changed"):
        found += differing(f"afterwards {what}", kernel[what], simulated[what])
    found += [f"only in the kernel went {path}" for path in kernel["went"] if path not in simulated["went"]]
    found += [f"only in the simulator went {path}" for path in simulated["went"] if path not in kernel["went"]]
    for number, (one, other) in enumerate(zip(kernel["events"], simulated["events"], strict=False)):
        if one != other:
            found.append(f"event {number + 1}: the kernel says {shown(one)}, the simulator {shown(other)}")
    if len(kernel["events"]) != len(simulated["events"]):
        found.append(f"the kernel says {len(kernel['events'])} events, the simulator {len(simulated['events'])}")
    return found


def differing(what: str, kernel: t.Mapping[str, str], simulated: t.Mapping[str, str]) -> list[str]:
    """The same for entries: path and what it is."""
    return [
        f"{what} {path}: in the kernel {shown(kernel.get(path))}, in the simulator {shown(simulated.get(path))}"
        for path in sorted({*kernel, *simulated})
        if kernel.get(path) != simulated.get(path)
    ]


def unexpected(row: Row, report: Json) -> list[str]:
    """Where a host does not answer as the table says."""
    return [
        f"{told(step)}: {shown(said)} and not {shown(answer)}"
        for (step, answer), said in zip(row.steps, report["answers"], strict=True)
        if answer is not ANY and said != answer
    ]


def told(step: Step) -> str:
    """A step in a few words."""
    return " ".join(shown(value) if key != "do" else str(value) for key, value in step.items())


def shown(value: Json) -> str:
    words = repr(value)
    return words if len(words) <= SHOWN else f"{words[:SHOWN]} ..."
