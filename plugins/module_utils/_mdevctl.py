# Copyright (c) 2026 The vfio.migration authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions that make an instance come back after a reboot, kept by the real mdevctl.

It runs in the child process of a ``Guard``: mdevctl looks into sysfs too, and a hung driver hangs it as well.
Source: mdevctl(8).

This file is private to the collection.
"""

from __future__ import annotations

import json
import subprocess
import typing as t

from ansible_collections.vfio.migration.plugins.module_utils._claims import Claim
from ansible_collections.vfio.migration.plugins.module_utils._guard import Guard, Handler, Op
from ansible_collections.vfio.migration.plugins.module_utils._model import DeviceAttribute

PATIENCE = 10.0
"""Seconds for one call."""


class MdevctlError(Exception):
    """What mdevctl said, or that there is none."""


class NoMdevctlError(MdevctlError):
    """There is none, so nothing is defined."""


Place = t.Tuple[str, str]
"""Parent and UUID: mdevctl keeps one UUID on as many parents as it is told to."""


class Definition(t.NamedTuple):
    """How one instance is defined. ``attributes``: names and values, in their order."""

    parent: str
    type: str
    start: str = "auto"
    attributes: t.Tuple[t.Tuple[str, str], ...] = ()


def _mdevctl(arguments: t.List[str], text: str) -> t.Tuple[int, str, str]:
    # This runs in the guard's child, where there is no module whose run_command could be called.
    done = subprocess.run(  # pylint: disable=ansible-bad-function
        ["mdevctl", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


HANDLERS: t.Dict[str, Handler] = {"mdevctl": _mdevctl}


def _run(guard: Guard, arguments: t.List[str], text: str = "", claim: t.Optional[Claim] = None) -> str:
    op = Op("mdevctl", "mdevctl", (arguments, text), PATIENCE)
    outcome = guard.run([claim.wrap(op) if claim else op])[0]
    if outcome.errno_name == "ENOENT":
        raise NoMdevctlError("mdevctl is not installed; the role vfio.migration.bootstrap installs it")
    if outcome.state != "done":
        raise MdevctlError("mdevctl %s gave no answer (%s)" % (arguments[0], outcome.errno_name or outcome.state))
    code, output, errors = outcome.value
    if code:
        raise MdevctlError("mdevctl %s failed: %s" % (arguments[0], errors.strip()[:500] or "exit code %d" % code))
    return str(output)


def definitions(guard: Guard) -> t.Dict[Place, Definition]:
    """All that is defined on this host. Raises ``MdevctlError``."""
    output = _run(guard, ["list", "--defined", "--dumpjson"])
    try:
        return {
            (parent, uuid.lower()): _definition(parent, device)
            for group in json.loads(output or "[]")
            for parent, devices in group.items()
            for entry in devices
            for uuid, device in entry.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise MdevctlError("mdevctl list gave something else than its JSON: %s" % exc) from None


def _definition(parent: str, device: t.Mapping[str, t.Any]) -> Definition:
    pairs = tuple((name, str(value)) for one in device.get("attrs") or () for name, value in one.items())
    return Definition(parent, device["mdev_type"], device.get("start", "manual"), pairs)


def wanted(parent: str, type_id: str, attributes: t.Iterable[DeviceAttribute]) -> Definition:
    """A definition that starts by itself, with its attributes in their order."""
    return Definition(parent, type_id, "auto", tuple((one["name"], one["value"]) for one in attributes))


def define(guard: Guard, uuid: str, definition: Definition, claim: Claim) -> None:
    """Define an instance, with its attributes in their order. Raises ``MdevctlError``."""
    # A file carries all attributes at once; by options it would take a call for each.
    text = {
        "mdev_type": definition.type,
        "start": definition.start,
        "attrs": [{name: value} for name, value in definition.attributes],
    }
    words = ["define", "--uuid", uuid, "--parent", definition.parent, "--jsonfile", "/dev/stdin"]
    try:
        _run(guard, words, json.dumps(text), claim)
    except MdevctlError:
        # It may fail, or be given up on, after it was written; what counts is what is kept.
        if _kept(guard, (definition.parent, uuid)) != [definition]:
            raise


def undefine(guard: Guard, uuid: str, parent: str, claim: Claim) -> None:
    """Forget the definition of an instance; the instance itself is not touched. Raises ``MdevctlError``."""
    try:
        _run(guard, ["undefine", "--uuid", uuid, "--parent", parent], "", claim)
    except MdevctlError:
        if _kept(guard, (parent, uuid)) != []:
            raise


def _kept(guard: Guard, place: Place) -> t.Optional[t.List[Definition]]:
    """What is defined there; null when nobody can tell."""
    try:
        return [definition for key, definition in definitions(guard).items() if key == place]
    except MdevctlError:
        return None
