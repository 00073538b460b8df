# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contracts: the shape of everything that passes between two stages.

A contract is a ``TypedDict``: what travels (facts, fact cache, files) *is* the
value, so nothing is converted on the way and ``mypy`` still sees every field.
The controller checks incoming values against these same classes (see
``plugin_utils/_contracts.py``), hosts only produce them.

This file is private to the collection and knows nobody: no I/O, no Ansible.
"""

from __future__ import annotations

import typing as t

SCHEMA_VERSION = 1
"""Version of all contracts of one release; a reader refuses any other."""

Name = t.NewType("Name", str)
"""One path component as the kernel names it: no slash, not ``.`` or ``..``, no NUL, at most 255 characters."""

Timestamp = t.NewType("Timestamp", str)
"""UTC time, ``2026-11-22T19:04:14Z``."""

Scope = t.Literal["type", "device"]
"""Which kind of node was asked: below an mdev type (location 1) or below a device (locations 2 and 3)."""

Answer = t.Literal["compatible", "incompatible", "unknown"]
"""The three answers. ``unknown`` is never a yes and never an error."""


NO_TEXT = "must be text, in quotes where YAML takes it for something else"
"""End of a sentence. YAML makes 16 of an unquoted ``0x10``, and 2.0 of ``0000:00:02.0``."""


def name_error(text: object) -> t.Optional[str]:
    """What keeps ``text`` from being a Name, as the end of a sentence; null when it is one."""
    if not isinstance(text, str):
        return NO_TEXT
    if not text or len(text) > 255:
        return "must have 1 to 255 characters"
    if "/" in text or "\0" in text or text in (".", ".."):
        return "must be one name as the kernel gives it, without a slash and not '.' or '..'"
    return None


class Attribute(t.TypedDict):
    """What one ``migration_version`` node said when it was read."""

    status: t.Literal["ok", "unsupported", "unknown", "invalid"]
    value: t.Optional[str]
    """The exact text less one trailing newline when ``status`` is ``ok``, else null."""
    reason: t.Optional[str]
    """Stable code, null when ``ok``: absent, errno, permission, busy, hung, deadline, gone,
    incomplete, truncated, empty, not_ascii."""
    errno: t.Optional[str]
    """Name of the errno of the read (``ENODEV``), null when there was none."""
    raw: t.Optional[str]
    """Base64 of the bytes as read (at most 4096 of them) when ``invalid``, else null."""


class Type(t.TypedDict):
    """One directory of ``<parent>/mdev_supported_types``."""

    id: Name
    name: t.Optional[str]
    description: t.Optional[str]
    device_api: t.Optional[str]
    available_instances: t.Optional[int]
    """Null when it could not be read as a number that makes sense. Numbers of sibling types must never be added."""
    migration_version: Attribute


class Hardware(t.TypedDict):
    """Names from the udev hardware database; null without pyudev."""

    vendor: t.Optional[str]
    model: t.Optional[str]


class Parent(t.TypedDict):
    """A device that offers mdev types."""

    address: Name
    """Name of its directory: ``0000:3b:00.0``, ``0.0.0026``, ``matrix``, ``mtty``."""
    path: str
    """Real path below the sysfs root, without a leading slash."""
    subsystem: t.Optional[str]
    vendor: t.Optional[str]
    """Identity for the same-vendor rule: ``pci:8086``, or ``<subsystem>:<driver>`` where there is no vendor id. Null
    when it could not be read."""
    driver: t.Optional[str]
    driver_version: t.Optional[str]
    """``version`` of the driver's module, else its ``srcversion``, else null."""
    numa_node: t.Optional[int]
    hardware: Hardware
    state: t.Literal["ok", "gone", "hung", "unknown"]
    """gone: unplugged or unregistered while it was read. hung: its driver does not answer. unknown: vendor or types
    could not be read."""
    types: t.List[Type]


class Holder(t.TypedDict):
    """A process that holds a device, or a libvirt domain that names it."""

    pid: t.Optional[int]
    """Null for a domain without a process that was seen to hold it; nearly always it does not run."""
    command: str
    """Program of the process, or ``libvirt domain <name>``."""
    workload: t.Optional[str]
    """Id of the workload it belongs to."""


class Device(t.TypedDict):
    """A mediated device, or a device bound to a VFIO driver."""

    id: Name
    """UUID of an mdev, bus address of another VFIO device."""
    kind: t.Literal["mdev", "vfio"]
    path: str
    bus: str
    parent: t.Optional[Name]
    """Address of the mdev parent; null for kind ``vfio``."""
    type: t.Optional[Name]
    vendor: t.Optional[str]
    driver: t.Optional[str]
    """Driver that answers for the device: the parent's for an mdev, its own for kind ``vfio``."""
    driver_version: t.Optional[str]
    numa_node: t.Optional[int]
    hardware: Hardware
    iommu_group: t.Optional[int]
    in_use_by: t.Optional[t.List[Holder]]
    """Null when it is not known who holds it (not root, /proc unreadable)."""
    migration_version: Attribute


class Workload(t.TypedDict):
    """A VM (or another process) and the devices it was given."""

    id: str
    """UUID of the VM, else its name, else ``pid:<number>``."""
    kind: t.Literal["qemu", "process"]
    name: t.Optional[str]
    uuid: t.Optional[str]
    pid: t.Optional[int]
    """Null for a VM whose process was not seen; what libvirt says of it is in ``state``."""
    state: t.Literal["running", "inactive"]
    """inactive: libvirt has it defined, and it does not run."""
    devices: t.List[Name]
    """What it has now; of an inactive VM what it will have when it starts."""


class Note(t.TypedDict):
    """Something that was dropped, or is not known, and why."""

    item: str
    """What it is about: ``parents/<address>/types/<id>``, ``devices/<id>``, ``workloads/<id>``, ``libvirt``, ``host``,
    or the path of a file; in a plan ``hosts``, ``hosts/<name>``, ``hosts/<name>/workloads/<id>``,
    ``capacity[<number>]``."""
    reason: str
    """Stable code. Of a host: those of Attribute, and not_a_number, holders, domain_file, no_device, no_pyudev,
    other_root, libvirt, missing_device. Of a plan: unreachable, excluded, unknown_host, no_targets, owner_unknown,
    process, not_running, shared, idle, room_unknown, no_cost, capacity."""
    detail: str
    """One sentence for a person."""


class Snapshot(t.TypedDict):
    """``ansible_facts.vfio_migration``: what one host's sysfs says."""

    schema_version: int
    host: str
    boot_id: t.Optional[str]
    kernel: str
    page_size: int
    """Bytes; the size of the buffer behind every sysfs attribute."""
    time: Timestamp
    """When it was read; the controller's clock, since ages are reckoned by it."""
    parents: t.List[Parent]
    devices: t.List[Device]
    workloads: t.List[Workload]
    notes: t.List[Note]


class Request(t.TypedDict):
    """Ask one node whether it accepts one string."""

    scope: Scope
    parent: t.Optional[Name]
    """Scope ``type``: the parent. Scope ``device``: the mdev's parent, null for other VFIO devices."""
    type: t.Optional[Name]
    device: t.Optional[Name]
    """Scope ``device``: id of the device to ask, else null."""
    string: str
    vendor: str
    """Vendor identity of the source; another vendor's node is never asked."""
    source_type: t.Optional[Name]
    """mdev type of the source; at a type node another type is never asked."""


class Evidence(t.TypedDict):
    """Under which circumstances a verdict holds; it expires when one of them changes."""

    boot_id: t.Optional[str]
    driver: t.Optional[str]
    driver_version: t.Optional[str]
    time: Timestamp


class Verdict(t.TypedDict):
    """A request and what the driver answered."""

    scope: Scope
    parent: t.Optional[Name]
    type: t.Optional[Name]
    device: t.Optional[Name]
    string: str
    vendor: str
    source_type: t.Optional[Name]
    verdict: Answer
    reason: t.Optional[str]
    """Null when compatible, else a stable code: errno, vendor, type, not_probed, check_mode, busy, hung, deadline,
    gone, unreadable, vendor_unknown, short_write, too_long, empty, not_ascii, write_limit, absent."""
    errno: t.Optional[str]
    bytes_written: t.Optional[int]
    """Count the kernel returned; null when nothing was written."""
    form: t.Optional[t.Literal["without_newline"]]
    """Which form of the string was written; null when nothing was written."""
    evidence: Evidence


class VerdictSet(t.TypedDict):
    """``ansible_facts.vfio_migration_verdicts``: all that this host's drivers were asked."""

    schema_version: int
    host: str
    boot_id: t.Optional[str]
    time: Timestamp
    written: int
    """Writes that reached a node in the run of ``time``."""
    would_write: t.List[Request]
    """Check mode only: what would be written."""
    verdicts: t.List[Verdict]
    notes: t.List[Note]


class HostState(t.TypedDict):
    """How far one inventory host could be taken into account."""

    host: str
    state: t.Literal["fresh", "cached", "unreachable", "excluded"]
    """cached: facts of an earlier run. unreachable: no facts at all. excluded: its facts break their contract."""
    time: t.Optional[Timestamp]
    age: t.Optional[int]
    """Seconds between its snapshot and the pairing run."""
    errors: t.List[str]
    """Every contract violation found, each naming host and path."""


class SourceMember(t.TypedDict):
    """One device of a class of identical sources; ``device`` null: any instance this parent could have of the type."""

    host: str
    parent: t.Optional[Name]
    device: t.Optional[Name]
    workload: t.Optional[str]


class SourceClass(t.TypedDict):
    """Sources that no driver could tell apart: same vendor (empty where it could not be read), kind, type, strings."""

    id: str
    kind: t.Literal["mdev", "vfio"]
    vendor: str
    type: t.Optional[Name]
    device_version: t.Optional[Attribute]
    """The device's own node (locations 2 and 3); null for members without a device."""
    type_version: t.Optional[Attribute]
    """The type's node (location 1); null for kind ``vfio``, and where the type of an mdev is not known."""
    members: t.List[SourceMember]


class TargetMember(t.TypedDict):
    """One node that may receive: a type on a parent (``device`` null) or an existing free device."""

    host: str
    parent: t.Optional[Name]
    device: t.Optional[Name]
    room: t.Optional[int]
    """Instances that fit now, by this type alone (never add sibling types); 1 for a free device, 0 for one in use,
    null when unknown."""


class TargetClass(t.TypedDict):
    """Targets that gave the same answers to every string they were asked."""

    id: str
    scope: Scope
    kind: t.Literal["mdev", "vfio"]
    vendor: str
    type: t.Optional[Name]
    version: Attribute
    """The node's own string."""
    members: t.List[TargetMember]


class Pairing(t.TypedDict):
    """May a device of this source class move to a target of this class? Directed."""

    source: str
    target: str
    verdict: Answer
    reason: t.Optional[str]
    """Null when compatible, else a stable code."""
    errno: t.Optional[str]
    scope: t.Optional[Scope]
    """Which kind of node decided: the device node wins over the type node; null when none was asked."""
    way_back: Answer
    """Would the source's own node accept what the target's node produces?"""
    warnings: t.List[str]
    """Stable codes: no_way_back, inconsistent, expired."""
    asked: t.Optional[Timestamp]
    """Time of the oldest verdict behind it."""


class Finding(t.TypedDict):
    """Something about the fleet that a person should look at."""

    kind: str
    """Stable code: uuid_clash, no_way_back, inconsistent, expired, unreachable, cached, excluded, incomplete, hung,
    not_probed."""
    hosts: t.List[str]
    item: str
    detail: str
    """One sentence: what, where, and what to do."""


class Pairings(t.TypedDict):
    """The directed matrix of a fleet. A pair that is not listed is incompatible: another vendor, or (for a type
    node) another type; no driver was asked for those."""

    schema_version: int
    time: Timestamp
    partial: bool
    """True when a host of the inventory could not be taken into account, or not in full."""
    hosts: t.List[HostState]
    sources: t.List[SourceClass]
    targets: t.List[TargetClass]
    pairings: t.List[Pairing]
    findings: t.List[Finding]


class DeviceAttribute(t.TypedDict):
    """One attribute to write below a new instance, ``assign_adapter`` = ``5``; the order of a list of them matters."""

    name: str
    """Path below the device's directory, as mdevctl takes it."""
    value: str


class PlanEvidence(t.TypedDict):
    """Why a planner put a device there."""

    verdict: Answer
    """``unknown`` only where the plan's policy allows it."""
    scope: t.Optional[Scope]
    """Which kind of node decided."""
    reason: t.Optional[str]
    """Null when compatible, else a stable code."""
    asked: t.Optional[Timestamp]
    """Time of the oldest verdict behind it; null when no driver was asked."""
    warnings: t.List[str]
    """Stable codes: no_way_back, inconsistent, expired."""


class PlanDevice(t.TypedDict):
    """One device of a move: what it is on the source, and what has to be on the target."""

    source: Name
    """Id of the device on the source host."""
    source_type: t.Optional[Name]
    vendor: str
    type_string: t.Optional[str]
    """The string of the source's type node, to ask the target's type node again; null when it has none."""
    device_string: t.Optional[str]
    """The string of the source's device node, for the new instance's own node; null when it has none, and for a
    device that an earlier move of the plan makes, which says it then."""
    parent: Name
    """Parent on the target host."""
    type: Name
    """mdev type on the target host."""
    uuid: Name
    """UUID of the instance on the target; the source's own under policy ``same``."""
    attributes: t.List[DeviceAttribute]
    evidence: t.Optional[PlanEvidence]
    """Null in a plan that was made by hand."""


class PlanPassthrough(t.TypedDict):
    """One device of a move whose place is a VFIO device that is there already; nothing is created for it."""

    source: Name
    """Id of the device on the source host."""
    source_type: t.Optional[Name]
    vendor: str
    device_string: t.Optional[str]
    """The string of the source's device node, to ask the target device's node again; null when it has none."""
    device: Name
    """Bus address of the free device on the target host."""
    evidence: t.Optional[PlanEvidence]


class Move(t.TypedDict):
    """One workload, all of its devices, from one host to another. In a rolling plan a workload may move twice: the
    source of its second move is the target of its first."""

    workload: str
    name: t.Optional[str]
    source: str
    target: str
    wave: int
    """1 is the first."""
    devices: t.List[PlanDevice]
    """Instances to make on the target."""
    passthrough: t.List[PlanPassthrough]


class Remedy(t.TypedDict):
    """One change that was tried in the planner and frees a workload."""

    kind: t.Literal["instance", "allow_unknown", "host", "limit", "anti_affinity", "order"]
    """instance: one more of this type on this parent. allow_unknown: let this host be used. host: take this host out
    of maintenance, or bring it back. limit, anti_affinity: relax that one. order: drain them one after the other."""
    host: t.Optional[str]
    parent: t.Optional[Name]
    type: t.Optional[Name]
    detail: str
    """One sentence."""


StuckReason = t.Literal[
    "no_compatible_host",
    "no_capacity",
    "contention",
    "limit",
    "anti_affinity",
    "maintenance",
    "unknown",
    "skipped",
    "source_unknown",
    "uuid_clash",
    "ambiguous",
    "name",
]
"""Why a workload stays; docs/docsite/rst/guide_evacuation.rst tells an operator what to do about each."""


class Stuck(t.TypedDict):
    """A workload that cannot move, and why."""

    workload: str
    name: t.Optional[str]
    host: str
    reason: StuckReason
    """Stable code; the guide to planning a maintenance says what each means."""
    detail: str
    """One sentence."""
    rivals: t.List[str]
    """Workloads that have what it needs; for contention."""
    hosts: t.List[str]
    """The hosts the reason is about."""
    remedies: t.List[Remedy]
    """Each alone frees it; the planner was run again with it."""


class Stopped(t.TypedDict):
    """A workload that its policy lets stop with its host instead of moving."""

    workload: str
    name: t.Optional[str]
    host: str


class Batch(t.TypedDict):
    """Hosts that are in maintenance together."""

    batch: int
    """1 is the first."""
    hosts: t.List[str]
    emptied: t.List[str]
    """Nothing is left on these after the batch's waves; the others have stuck workloads."""
    waves: t.List[int]
    """To be prepared, migrated and released one after the other, before the maintenance begins."""


class PlanInputs(t.TypedDict):
    """What a plan was made of."""

    fingerprint: str
    """SHA-256 of the facts and the policy, in hexadecimal: the same inputs give the same plan."""
    oldest: t.Optional[Timestamp]
    """Time of the oldest snapshot."""
    age: t.Optional[int]
    """Its age in seconds when the plan was made."""
    hosts: t.List[HostState]


class Share(t.TypedDict):
    """How much of one resource something is."""

    resource: str
    units: int


class TypeNeed(t.TypedDict):
    """What an instance of a type takes of its parent."""

    type: Name
    most: t.Optional[int]
    """Instances that an otherwise empty parent takes; null when nobody knows."""
    needs: t.List[Share]


class ParentRoom(t.TypedDict):
    """What was left of a parent before the plan."""

    host: str
    parent: Name
    left: t.List[Share]
    """For an exclusive parent the resource is the type, the units are instances."""


class Capacity(t.TypedDict):
    """How the types of these parents share them, and where this is known from."""

    model: t.Literal["exclusive", "shared_units", "vector", "independent", "unknown"]
    """``unknown`` is planned like ``exclusive``."""
    origin: t.Literal["operator", "driver", "description", "siblings", "default"]
    detail: str
    """One sentence: what it was derived from."""
    driver: t.Optional[str]
    types: t.List[TypeNeed]
    parents: t.List[ParentRoom]
    """Those that the plan puts something on."""


class PlanBound(t.TypedDict):
    """What no plan can do better, proven."""

    hosts: int
    """No plan empties more hosts."""
    workloads: int
    """No plan that empties as many hosts as this one moves more workloads."""
    method: str
    """What proved it: ``everything`` (all were placed), ``nothing`` (no host takes any), ``flow`` (what fits into all
    hosts together, device by device), ``merged_lp`` and ``merged_milp`` (hosts that are alike taken for one, in
    fractions and in whole numbers), ``configurations`` (fractions of what fits into a host at once), ``paths`` (all
    that could be better was searched). Two joined by ``+`` where hosts and workloads were proven by different ones."""


class PlanGap(t.TypedDict):
    """Bound less plan; both 0: nothing better exists."""

    hosts: int
    workloads: int


class Planning(t.TypedDict):
    """How the planner came to a plan."""

    inputs: PlanInputs
    policy: t.Dict[str, t.Any]
    """The options in force, defaults included."""
    batches: t.List[Batch]
    stopped: t.List[Stopped]
    capacity: t.List[Capacity]
    bound: t.Optional[PlanBound]
    bound_reason: t.Optional[str]
    """Why there is no bound; null when there is one."""
    gap: t.Optional[PlanGap]
    notes: t.List[Note]


class Plan(t.TypedDict):
    """Who goes where, in which order. A file that a person reviews, and may write by hand."""

    schema_version: int
    id: Name
    """Names the plan in ledgers; letters, digits, dot, dash and underscore."""
    created: Timestamp
    uuid_policy: t.Literal["new", "same"]
    persist: bool
    partial: bool
    """True when a host of the inventory could not be taken into account."""
    moves: t.List[Move]
    stuck: t.List[Stuck]
    planning: t.Optional[Planning]
    """Null in a plan that was made by hand."""


class LedgerEntry(t.TypedDict):
    """One instance that the collection made, or is about to make or to remove."""

    uuid: Name
    parent: Name
    type: Name
    plan: str
    workload: str
    state: t.Literal["creating", "created", "removing"]
    """Written before the step it names is begun; ``created`` after everything about the instance was verified."""
    persist: bool
    reused: bool
    """True for a free instance that was found and taken; it is given back, never removed."""
    wished: Name
    """The UUID that was asked for: its own, except where a free instance was taken instead."""
    attributes: t.Optional[t.List[DeviceAttribute]]
    """What is, or was, written to it, in this order; null where an older ledger does not say."""
    boot_id: t.Optional[str]
    time: Timestamp


class Ledger(t.TypedDict):
    """What the collection has on this host; only this is ever taken back."""

    schema_version: int
    entries: t.List[LedgerEntry]
