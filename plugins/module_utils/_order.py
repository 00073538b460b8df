# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module parameters -> what is to be done on this host, checked.

This file is private to the collection and does no I/O.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._model import NO_TEXT, DeviceAttribute, Name, name_error

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_KERNELS_OWN = frozenset(
    ("remove", "uevent", "driver", "driver_override", "subsystem", "mdev_type", "iommu_group", "vfio-dev", "power")
)
_PLAN = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


@dataclasses.dataclass(frozen=True)
class Wish:
    """An instance as it is wanted. Parent, type and workload may be missing where one is to be removed."""

    uuid: Name
    parent: t.Optional[Name]
    type: t.Optional[Name]
    workload: t.Optional[str]
    attributes: t.List[DeviceAttribute]
    accepts: t.Optional[str]

    def __str__(self) -> str:
        place = " (%s on %s)" % (self.type or "any type", self.parent) if self.parent else ""
        return "instance %s%s" % (self.uuid, place)


class Order(t.NamedTuple):
    """What is to be done on this host."""

    plan: t.Optional[str]
    instances: t.List[Wish]
    workloads: t.Optional[t.List[str]]
    persist: bool
    reuse: bool
    force_foreign: bool
    all_ours: bool
    bind_timeout: float


def normal_uuid(text: str) -> t.Optional[Name]:
    """The UUID as the kernel writes it, from any usual spelling (capitals, braces, ``urn:uuid:``, a newline at the
    end); null when it is none. Any 8-4-4-4-12 hexadecimal digits count: not everybody follows RFC 4122."""
    word = text.strip().lower()
    if word.startswith("urn:uuid:"):
        word = word[len("urn:uuid:") :]
    if word.startswith("{") and word.endswith("}"):
        word = word[1:-1]
    return Name(word) if _UUID.match(word) else None


def parse(params: t.Mapping[str, t.Any]) -> t.Tuple[Order, t.List[str]]:
    """Module parameters as an order, and all that is wrong with them; nothing may be touched before that is nothing,
    because names become paths."""
    absent = params["state"] == "absent"
    errors: t.List[str] = []
    wishes = []
    for index, item in enumerate(params["instances"] or []):
        where = "instances[%d]" % index
        uuid = normal_uuid(item["uuid"])
        if uuid is None:
            errors.append("%s.uuid must be 8-4-4-4-12 hexadecimal digits, not %r" % (where, item["uuid"]))
        errors += ["%s.%s" % (where, error) for error in _item_errors(item, absent)]
        wishes.append(
            Wish(
                uuid or Name(""),
                item["parent"],
                item["type"],
                item["workload"],
                item["attributes"] or [],
                item["accepts"],
            )
        )
    seen: t.Set[str] = set()
    for wish in wishes:
        if wish.uuid and wish.uuid in seen:
            errors.append("instances: the UUID %s is there twice" % wish.uuid)
        seen.add(wish.uuid)
    errors += _order_errors(params, absent)
    order = Order(
        params["plan"],
        wishes,
        params["workloads"],
        params["persist"],
        params["reuse"],
        params["force_foreign"],
        params["all_ours"],
        params["bind_timeout"],
    )
    return order, errors


def _item_errors(item: t.Mapping[str, t.Any], absent: bool) -> t.Iterator[str]:
    for key in ("parent", "type"):
        error = name_error(item[key]) if item[key] is not None else None
        if error:
            yield "%s %s, not %r" % (key, error, item[key])
    for key in () if absent else ("parent", "type", "workload"):
        if not item[key]:
            yield "%s is needed" % key
    for number, attribute in enumerate(item["attributes"] or []):
        error = attribute_error(attribute)
        if error:
            yield "attributes[%d].%s" % (number, error)
    accepts = item["accepts"]
    if not isinstance(accepts, (str, type(None))):
        yield "accepts %s, not %r" % (NO_TEXT, accepts)
    elif accepts is not None and (not accepts or not accepts.isascii()):
        yield "accepts must be the source's string, ASCII and not empty, not %r" % accepts


def attribute_error(attribute: DeviceAttribute) -> t.Optional[str]:
    """What is wrong with an attribute, beginning with its key; null when nothing is. The one rule for orders and plans.
    Its name is a path below the device's own directory; the kernel's own files there are not for this."""
    parts = attribute["name"].split("/")
    if any(name_error(part) or part in _KERNELS_OWN or _CONTROL.search(part) for part in parts):
        return "name must be an attribute below the device, not %r" % attribute["name"]
    value: object = attribute["value"]
    if not isinstance(value, str):
        return "value %s, not %r" % (NO_TEXT, value)
    if not value or _CONTROL.search(value):
        return "value must be text without control characters and not empty, not %r" % value
    return None


def _order_errors(params: t.Mapping[str, t.Any], absent: bool) -> t.Iterator[str]:
    plan = params["plan"]
    if plan is not None and not _PLAN.match(plan):
        yield "plan must be letters, digits, dots, dashes and underscores, not %r" % plan
    if not 0 < params["bind_timeout"] < float("inf"):
        yield "bind_timeout must be a number of seconds above 0, not %r" % params["bind_timeout"]
    for key in ("persist", "reuse") if absent else ("force_foreign", "all_ours", "workloads"):
        if params[key]:
            yield "%s is for state %s only" % (key, "present" if absent else "absent")
    yield from _absent_errors(params) if absent else _present_errors(params)


def _present_errors(params: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    if params["plan"] is None:
        yield "plan is needed to remember whose the instances are"
    if not params["instances"]:
        yield "instances are needed with state present"


def _absent_errors(params: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    if not params["instances"] and params["plan"] is None and not params["all_ours"]:
        yield "state absent needs instances, a plan, or all_ours: true"
    if params["instances"] and (params["all_ours"] or params["workloads"]):
        yield "instances go neither with all_ours nor with workloads"
    if params["force_foreign"] and not params["instances"]:
        yield "force_foreign needs instances that name what is to be removed"
