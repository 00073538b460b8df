# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strings -> verdicts: ask the drivers of this host.

One write a distinct (node, string). The driver alone decides; what it answers
is kept as data and never explained. Source: the migration_version interface
(patch series v5, April 2020, Documentation/driver-api/vfio-mediated-device.rst
therein).

This file is private to the collection.
"""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils import _sysfs
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Outcome
from ansible_collections.vfio.migration.plugins.module_utils._model import (
    NO_TEXT,
    SCHEMA_VERSION,
    Answer,
    Name,
    Note,
    Request,
    Verdict,
    VerdictSet,
    name_error,
)
from ansible_collections.vfio.migration.plugins.module_utils._reader import (
    Identity,
    Options,
    Reader,
    boot_id,
    device_attribute,
    timestamp,
)

Key = t.Tuple[str, t.Optional[str], t.Optional[str], t.Optional[str]]
"""A node: scope, parent, type, device."""


class Node(t.NamedTuple):
    """Where a node is, and who answers there. ``trouble`` is a reason code when it cannot be asked at all."""

    path: str
    owner: str
    """Directory of the type or device that the node is of."""
    group: str
    type: t.Optional[str]
    identity: t.Optional[Identity]
    trouble: t.Optional[str]


class Result(t.NamedTuple):
    """What came of one request."""

    verdict: Answer
    reason: t.Optional[str] = None
    errno: t.Optional[str] = None
    bytes_written: t.Optional[int] = None


def request_errors(requests: t.Sequence[Request]) -> t.List[str]:
    """Everything that is wrong with the requests as such, one sentence each; nothing may be touched before this is
    empty, because their names become paths."""
    errors = []
    for index, request in enumerate(requests):
        where = "requests[%d]" % index
        names = {key: request[key] for key in ("parent", "type", "device", "source_type")}
        for key in ("device",) if request["scope"] == "device" else ("parent", "type"):
            if names[key] is None:
                errors.append("%s.%s is needed to name a %s node" % (where, key, request["scope"]))
        string: t.Any = request["string"]
        if not isinstance(string, str):
            errors.append("%s.string %s, not %r" % (where, NO_TEXT, string))
        for key, value in names.items():
            error = name_error(value) if value is not None else None
            if error:
                errors.append("%s.%s %s, not %r" % (where, key, error, value))
    return errors


def node_key(request: Request) -> Key:
    """The node that a request is for; at a device node its parent and type do not matter."""
    if request["scope"] == "device":
        return ("device", None, None, request["device"])
    return ("type", request["parent"], request["type"], None)


def verdicts(options: Options, requests: t.Sequence[Request], max_writes: int, check_mode: bool) -> VerdictSet:
    """Ask, and return one verdict a distinct request, in the order of the requests. Nothing is written in check mode.
    Returns within the deadline of ``options``."""
    with Guard(_sysfs.HANDLERS, options.read_timeout, options.deadline) as guard:
        reader = Reader(options, guard)
        nodes = _find_nodes(reader, requests)
        results: t.List[t.Optional[Result]] = [
            _refusal(request, nodes[node_key(request)], options) for request in requests
        ]
        # The same string at the same node is written once, whoever asks.
        first: t.Dict[t.Tuple[Key, str], int] = {}
        for index, request in enumerate(requests):
            if results[index] is None:
                first.setdefault((node_key(request), request["string"]), index)
        chosen = list(first.values())[:max_writes]
        would_write = [requests[index] for index in chosen] if check_mode else []
        if check_mode:
            answers = {index: Result("unknown", "check_mode") for index in chosen}
        else:
            answers = _ask(reader, [(index, nodes[node_key(requests[index])], requests[index]) for index in chosen])
        for index, request in enumerate(requests):
            if results[index] is None:
                writer = first[(node_key(request), request["string"])]
                results[index] = answers.get(writer, Result("unknown", "write_limit"))
        return _verdict_set(reader, requests, nodes, t.cast("t.List[Result]", results), would_write)


def _verdict_set(
    reader: Reader,
    requests: t.Sequence[Request],
    nodes: t.Mapping[Key, Node],
    results: t.Sequence[Result],
    would_write: t.List[Request],
) -> VerdictSet:
    now, boot = timestamp(), boot_id(reader.options.proc_root)
    found: t.Dict[t.Tuple[t.Any, ...], Verdict] = {}
    writes: t.Set[t.Tuple[Key, str]] = set()
    for request, result in zip(requests, results):
        key = node_key(request)
        identity = nodes[key].identity
        if result.bytes_written is not None:
            writes.add((key, request["string"]))
        found[(key, request["string"], request["vendor"], request["source_type"])] = {
            "scope": request["scope"],
            "parent": request["parent"],
            "type": request["type"],
            "device": request["device"],
            "string": request["string"],
            "vendor": request["vendor"],
            "source_type": request["source_type"],
            "verdict": result.verdict,
            "reason": result.reason,
            "errno": result.errno,
            "bytes_written": result.bytes_written,
            "form": "without_newline" if result.bytes_written is not None else None,
            "evidence": {
                "boot_id": boot,
                "driver": identity.driver if identity else None,
                "driver_version": identity.driver_version if identity else None,
                "time": now,
            },
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "host": reader.options.host,
        "boot_id": boot,
        "time": now,
        "written": len(writes),
        "would_write": would_write,
        "verdicts": list(found.values()),
        "notes": _notes(reader, found.values()),
    }


def _notes(reader: Reader, found: t.Iterable[Verdict]) -> t.List[Note]:
    """One note a hung parent or device, and one when the limit cut the list."""
    for group in sorted(reader.guard.hung_groups):
        reader.note(group, "hung")
    cut = sum(1 for verdict in found if verdict["reason"] == "write_limit")
    if cut:
        reader.notes.append(
            {
                "item": "host",
                "reason": "write_limit",
                "detail": "%d strings were not asked because of max_writes; raise it or ask again." % cut,
            }
        )
    return reader.notes


# -------------------------------------------------------------------------------------------------------- finding nodes


def _find_nodes(reader: Reader, requests: t.Sequence[Request]) -> t.Dict[Key, Node]:
    """Every node that is asked for, looked up once."""
    keys = list(dict.fromkeys(node_key(request) for request in requests))
    parents = _find(reader, {key[1]: "class/mdev_bus/%s" % key[1] for key in keys if key[0] == "type" and key[1]})
    mdevs = _find(reader, {key[3]: "bus/mdev/devices/%s" % key[3] for key in keys if key[0] == "device" and key[3]})
    others = _find_others(reader, [key[3] for key in keys if key[3] and mdevs[key[3]].value is None])
    owners = dict.fromkeys(_paths(parents))
    owners.update((posixpath.dirname(path), None) for path in _paths(mdevs))
    owners.update((path, None) for path in _paths(others))
    identities = dict(zip(owners, reader.identify([(path, path) for path in owners])))
    nodes = {}
    for key in keys:
        if key[0] == "type":
            nodes[key] = _type_node(key, parents[key[1]], identities)
        elif mdevs[key[3]].value is not None:
            nodes[key] = _mdev_node(mdevs[key[3]].value, identities)
        else:
            nodes[key] = _other_node(reader.options, others[key[3]], identities)
    return nodes


def _find(reader: Reader, links: t.Mapping[t.Optional[str], str]) -> t.Dict[t.Optional[str], Outcome]:
    return dict(zip(links, reader.sysfs.links([("host", path) for path in links.values()])))


def _paths(found: t.Mapping[t.Optional[str], Outcome]) -> t.List[str]:
    return sorted({outcome.value for outcome in found.values() if outcome.value is not None})


def _find_others(reader: Reader, names: t.Sequence[str]) -> t.Dict[t.Optional[str], Outcome]:
    """Devices that are not mediated, on whatever bus they are; the first bus that has it."""
    found: t.Dict[t.Optional[str], Outcome] = {}
    if not names:
        return found
    buses = [bus for bus in reader.entries(["bus"])["bus"] if bus != "mdev"]
    for name in names:
        links = [("host", "bus/%s/devices/%s" % (bus, name)) for bus in buses]
        outcomes = reader.sysfs.links(links) or [_sysfs.MISSING]
        found[name] = next((outcome for outcome in outcomes if outcome.value is not None), outcomes[0])
    return found


def _trouble(outcome: Outcome) -> t.Optional[str]:
    if outcome.state == "errno":
        return "not_probed" if outcome.errno in _sysfs.DENIED else "absent"
    return outcome.state if outcome.state != "done" else None


def _type_node(key: Key, parent: Outcome, identities: t.Mapping[str, Identity]) -> Node:
    if parent.value is None:
        return Node("", "", "", key[2], None, _trouble(parent))
    owner = "%s/mdev_supported_types/%s" % (parent.value, key[2])
    return Node(owner + "/migration_version", owner, parent.value, key[2], identities[parent.value], None)


def _mdev_node(path: str, identities: t.Mapping[str, Identity]) -> Node:
    parent = posixpath.dirname(path)
    return Node(path + "/migration_version", path, parent, None, identities[parent], None)


def _other_node(options: Options, device: Outcome, identities: t.Mapping[str, Identity]) -> Node:
    if device.value is None:
        return Node("", "", "", None, None, _trouble(device))
    identity = identities[device.value]
    path = device_attribute(options.device_attribute, identity.bus or "pci", posixpath.basename(device.value))
    return Node(path, device.value, device.value, None, identity, None)


# --------------------------------------------------------------------------------------------------------------- asking


def ask_device(reader: Reader, group: str, path: str, string: str) -> Result:
    """Ask the device in the directory ``path`` now; that the source is of the same vendor is the caller's business."""
    request: Request = {
        "scope": "device",
        "parent": None,
        "type": None,
        "device": Name(posixpath.basename(path)),
        "string": string,
        "vendor": "",
        "source_type": None,
    }
    node = Node(path + "/migration_version", path, group, None, None, None)
    return _refusal(request, node, reader.options) or _ask(reader, [(0, node, request)])[0]


def _refusal(request: Request, node: Node, options: Options) -> t.Optional[Result]:
    """An answer that needs no write; null when the driver has to be asked."""
    string = request["string"]
    if node.identity is not None and node.identity.vendor is None:
        return Result("unknown", "vendor_unknown")
    if node.identity is not None and request["vendor"] != node.identity.vendor:
        return Result("incompatible", "vendor")
    if request["scope"] == "type" and request["source_type"] != request["type"]:
        # The kernel leaves this rule to userspace: at a type node only the same type may be asked for.
        return Result("incompatible", "type")
    if not string:
        # A write of nothing returns 0 without reaching the driver and would look like a yes.
        return Result("unknown", "empty")
    if not string.isascii() or not _sysfs.is_probeable(string.encode("ascii")):
        return Result("unknown", "not_ascii")
    if len(string) > options.page_size:
        return Result("unknown", "too_long")
    return Result("unknown", node.trouble) if node.trouble else None


def _ask(reader: Reader, questions: t.Sequence[t.Tuple[int, Node, Request]]) -> t.Dict[int, Result]:
    """Write every string to its node once, then make sure that the nodes which said no were really there, or that
    those which are not there are lacking on devices and types that are."""
    outcomes = reader.sysfs.write(
        [(node.group, node.path, request["string"].encode("ascii")) for _index, node, request in questions]
    )
    refused = sorted({(node.group, node.path) for (_i, node, _r), outcome in zip(questions, outcomes) if outcome.errno})
    again = {item[1]: outcome for item, outcome in zip(refused, reader.sysfs.read(refused))}
    missing = sorted({(node.group, node.owner) for _i, node, _r in questions if _is_missing(again.get(node.path))})
    there = {item[1] for item, outcome in zip(missing, reader.sysfs.exists(missing)) if outcome.state == "done"}
    return {
        index: _result(outcome, len(request["string"]), again.get(node.path), node.owner in there)
        for (index, node, request), outcome in zip(questions, outcomes)
    }


def _is_missing(reread: t.Optional[Outcome]) -> bool:
    return reread is not None and reread.errno_name == "ENOENT"


def _result(outcome: Outcome, length: int, reread: t.Optional[Outcome], owned: bool) -> Result:
    """The verdict of one write. A driver may use any errno for its no, so only what the operating system itself
    answers, and what a vanished node answers, is told apart. ``owned``: the node is missing where its owner is not."""
    if outcome.state == "done":
        if outcome.value == length:
            return Result("compatible", None, None, outcome.value)
        return Result("unknown", "short_write", None, outcome.value)
    if outcome.state != "errno":
        return Result("unknown", outcome.state)
    name = outcome.errno_name
    if outcome.errno in _sysfs.DENIED:
        return Result("unknown", "not_probed", name)
    if outcome.errno in _sysfs.TRANSIENT:
        return Result("unknown", "busy", name, 0)
    if name == "ENOENT" or reread is None or _is_missing(reread):
        return Result("unknown", "absent" if owned and name == "ENOENT" else "gone", name)
    if reread.state != "done":
        return Result("unknown", "unreadable", name, 0)
    return Result("incompatible", "errno", name, 0)


def parse_requests(items: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[Request]:
    """Module parameters as requests."""
    return [
        {
            "scope": item["scope"],
            "parent": _name(item.get("parent")),
            "type": _name(item.get("type")),
            "device": _name(item.get("device")),
            "string": item["string"],
            "vendor": item["vendor"],
            "source_type": _name(item.get("source_type")),
        }
        for item in items
    ]


def _name(value: t.Optional[str]) -> t.Optional[Name]:
    return None if value is None else Name(value)
