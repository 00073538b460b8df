# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What about a fleet a person should look at.

What has one cause on many hosts is one finding that lists them, so that findings stay readable on a large fleet.

This file is private to the collection: plain values in, plain values out.
"""

from __future__ import annotations

import collections
import itertools
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import Finding, HostState, Pairing
from ansible_collections.vfio.migration.plugins.plugin_utils._classes import Classes, Source, Target
from ansible_collections.vfio.migration.plugins.plugin_utils._nodes import Host, unread

SHOWN = 5
"""Names spelled out in one sentence; ``hosts`` always lists all."""


def collect(
    states: t.Sequence[HostState], hosts: t.Sequence[Host], classes: Classes, matrix: t.Sequence[Pairing]
) -> list[Finding]:
    """All findings of one pairing run, in a stable order."""
    found = [
        *_unusable(states),
        *_hung(hosts),
        *_incomplete(hosts),
        *_clashes(hosts),
        *_expired(classes),
        *_not_probed(classes),
        *_of_pairs(classes, matrix),
    ]
    return sorted(found, key=lambda finding: (finding["kind"], finding["item"], finding["hosts"]))


def _unusable(states: t.Iterable[HostState]) -> t.Iterator[Finding]:
    unreachable = [state["host"] for state in states if state["state"] == "unreachable"]
    cached = [state for state in states if state["state"] == "cached"]
    if unreachable:
        yield _finding(
            "unreachable",
            unreachable,
            "host",
            "No facts of this run and none in the fact cache: what these hosts have and accept is unknown."
            " Make them reachable, and run again without --limit.",
        )
    if cached:
        oldest = min(cached, key=lambda state: state["time"] or "")
        yield _finding(
            "cached",
            [state["host"] for state in cached],
            "host",
            f"Not reached in this run, facts come from the fact cache; the oldest are of {oldest['time']}"
            f" ({oldest['host']}). Run without a limit to renew them.",
        )
    for state in states:
        if state["state"] == "excluded":
            errors = state["errors"]
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            yield _finding("excluded", [state["host"]], "host", f"Its facts break their contract: {errors[0]}{more}.")


def _hung(hosts: t.Iterable[Host]) -> t.Iterator[Finding]:
    for host in hosts:
        for parent in host.snapshot["parents"] if host.snapshot else ():
            if parent["state"] == "hung":
                yield _finding(
                    "hung",
                    [host.name],
                    f"parents/{parent['address']}",
                    f"Driver {parent['driver']} did not answer in time and was left alone;"
                    " see the kernel log of the host.",
                )


def _incomplete(hosts: t.Iterable[Host]) -> t.Iterator[Finding]:
    found = {host.name: items for host in hosts if (items := unread(host))}
    if found:
        names = [f"{host} {item}" for host, items in found.items() for item in items]
        yield _finding(
            "incomplete",
            list(found),
            "host",
            f"Types, vendor or devices could not be read ({_some(names)}): what these hosts would accept is not known"
            " in full. See the notes of their snapshots.",
        )


def _clashes(hosts: t.Iterable[Host]) -> t.Iterator[Finding]:
    # The kernel compares UUIDs as numbers, so two spellings are one device.
    uuids = {
        host.name: [each["id"].lower() for each in host.snapshot["devices"] if each["kind"] == "mdev"]
        for host in hosts
        if host.snapshot
    }
    counts = collections.Counter(itertools.chain.from_iterable(uuids.values()))
    twice = {uuid for uuid, count in counts.items() if count > 1}
    seen: dict[str, list[str]] = {}
    for host, own in uuids.items() if twice else ():
        for uuid in own:
            if uuid in twice:
                seen.setdefault(uuid, []).append(host)
    for uuid, names in seen.items():
        places = "twice on one host" if len(set(names)) == 1 else "on more than one host"
        yield _finding(
            "uuid_clash",
            sorted(set(names)),
            f"devices/{uuid}",
            f"This mdev UUID exists {places} ({_some(names)}). That is right only for a device and its own"
            " migration target; otherwise give one of them another UUID.",
        )


def _expired(classes: Classes) -> t.Iterator[Finding]:
    if classes.expired:
        yield _finding(
            "expired",
            sorted(classes.expired),
            "host",
            f"{sum(classes.expired.values())} answers no longer hold, since the host was rebooted, the driver was"
            " changed or they are too old: they count as unknown until these hosts are asked again.",
        )


def _not_probed(classes: Classes) -> t.Iterator[Finding]:
    by_errno: dict[str, dict[str, int]] = {}
    for host, errnos in classes.not_probed.items():
        for errno, count in errnos.items():
            by_errno.setdefault(errno, {})[host] = count
    for errno, counts in by_errno.items():
        yield _finding(
            "not_probed",
            sorted(counts),
            f"errno/{errno}",
            f"{sum(counts.values())} strings could not be written ({errno}): run with become, on a host (not in a"
            " container) whose sysfs is mounted read-write.",
        )


def _of_pairs(classes: Classes, matrix: t.Iterable[Pairing]) -> t.Iterator[Finding]:
    disagreeing: dict[str, list[str]] = {}
    one_way: dict[str, list[str]] = {}
    for pair in matrix:
        if "inconsistent" in pair["warnings"]:
            disagreeing.setdefault(pair["target"], []).append(pair["source"])
        if "no_way_back" in pair["warnings"]:
            one_way.setdefault(pair["source"], []).append(pair["target"])
    for target in classes.targets:
        if target.id in disagreeing:
            yield _finding(
                "inconsistent",
                _hosts(target),
                f"targets/{target.id}",
                f"Type node and device nodes of {target.type} disagree about sources {_some(disagreeing[target.id])};"
                " the device nodes are believed. Report it to the vendor of the driver.",
            )
    for source in classes.sources:
        if source.id in one_way:
            yield _finding(
                "no_way_back",
                _hosts(source),
                f"sources/{source.id}",
                f"Targets {_some(one_way[source.id])} would take these devices, but nothing they produce is taken"
                " back: a rollback by migration is not possible.",
            )


def _hosts(members_of: Source | Target) -> list[str]:
    return sorted({member["host"] for member in members_of.members})


def _some(names: t.Sequence[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest


def _finding(kind: str, hosts: list[str], item: str, detail: str) -> Finding:
    return Finding(kind=kind, hosts=hosts, item=item, detail=detail)
